//! Both services authenticate at the issuer with signed assertions (RFC 7523), which a server that
//! nobody here wrote checks.

use anyhow::{Context as _, Result, ensure};
use issuers::{Basic, Issuer, RESOURCE, SERVICE_B, SIGNING_CLIENTS, SigningClient};
use serde_json::json;

use crate::{
    deployment::{Deployment, Host},
    service_a::{self, Ended},
    steps::expect,
};

/// A key that no client has: RFC 7515 appendix A.3.1.
const OTHER_KEY: &str = r#"{"kty":"EC","crv":"P-256","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

pub(crate) async fn assertions_are_accepted(host: Host, issuer: &Issuer) -> Result<()> {
    let token = service_a::token(issuer, Some(RESOURCE)).await?;
    let [es256, ..] = SIGNING_CLIENTS;
    for client in SIGNING_CLIENTS {
        check(host, issuer, client, "", &token, None).await?;
    }
    let other_key = SigningClient {
        credential: OTHER_KEY,
        ..es256
    };
    let (refused, other) = (Some("issuer_rejected_client"), "https://other.example");
    check(host, issuer, es256, issuer.url(), &token, None).await?;
    check(host, issuer, es256, other, &token, refused).await?;
    check(host, issuer, other_key, "", &token, refused).await
}

/// Service A, at the token endpoint.
pub(crate) async fn service_a_signs_assertions(issuer: &Issuer) -> Result<()> {
    let [es256, ..] = SIGNING_CLIENTS;
    for client in SIGNING_CLIENTS {
        let ended = token(issuer, client, &[]).await?;
        ensure!(ended.code == Some(0), "{}: {ended:?}", client.id);
        let answer = issuer.introspect(ended.output.trim(), SERVICE_B, Basic::Encoded);
        let facts = answer.await?.json();
        let got = (facts.get("active"), facts.get("client_id"));
        let expected = (json!(true), json!(client.id));
        ensure!(got == (Some(&expected.0), Some(&expected.1)), "{facts}");
    }
    let other_key = SigningClient {
        credential: OTHER_KEY,
        ..es256
    };
    let other = ["--assertion-audience", "https://other.example"];
    for (client, flags) in [(other_key, [].as_slice()), (es256, &other)] {
        let ended = token(issuer, client, flags).await?;
        ensure!(ended.code == Some(4), "{flags:?}: {ended:?}");
    }
    Ok(())
}

async fn token(issuer: &Issuer, client: SigningClient, more: &[&str]) -> Result<Ended> {
    let flags = ["--token-only", "--client-auth", client.client_auth];
    let flags = [&flags, more].concat();
    service_a::run_as(client.id, issuer, &flags, client.credential).await
}

/// `refused`: with this reason, else the token is granted.
async fn check(
    host: Host,
    issuer: &Issuer,
    client: SigningClient,
    audience: &str,
    token: &str,
    refused: Option<&str>,
) -> Result<()> {
    let (key, secret) = match client.client_auth {
        "private_key_jwt" => (client.credential, ""),
        _ => ("", client.credential),
    };
    let settings = [
        ("client_auth", client.client_auth),
        ("resource_client_id", client.id),
        ("resource_client_secret", secret),
        ("client_key", key),
        ("assertion_audience", audience),
        ("expected_aud", RESOURCE),
    ];
    let deployment = Deployment::start(host, issuer, &settings).await?;
    let url = deployment.data_url();
    let status = if refused.is_some() { 503 } else { 200 };
    // The server accepts each `jti` once.
    for _ in 0..2 {
        let seen = expect(&url, token, status, refused).await;
        seen.with_context(|| {
            let id = client.id;
            format!(
                "{id}, audience {audience:?}; Service B logged:\n{}",
                deployment.log()
            )
        })?;
    }
    Ok(())
}
