//! Tokens that a server which nobody here wrote binds to a key (RFC 9449), opaque and as JWTs. It
//! demands a nonce, and so does Service B.

use std::net::TcpListener;

use anyhow::{Context as _, Result, ensure};
use issuers::{Issuer, JWT_RESOURCE, RESOURCE, SERVICE_A};
use serde_json::Value;
use verify_stub::{DpopKey, SigningAlgorithm};

use crate::{
    deployment::{Deployment, Host, verifying},
    service_a,
    steps::expect,
};

pub(crate) async fn a_bound_token_is_good_for_its_key_alone(
    host: Host,
    issuer: &Issuer,
) -> Result<()> {
    // Proofs name the origin, which the settings have to say before there is a port. If another
    // process takes this free one meanwhile, the host says so.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let origin = format!("http://127.0.0.1:{port}");
    let verifying = verifying(issuer);
    let verifying = verifying.iter().map(|(key, value)| (*key, value.as_str()));
    let settings = verifying.chain([
        ("dpop", "accept"),
        ("dpop_nonce", "true"),
        ("public_origin", origin.as_str()),
    ]);
    let settings: Vec<_> = settings.collect();
    let deployment = Deployment::start_on(port, host, issuer, &settings).await?;
    let url = deployment.data_url();
    for resource in [RESOURCE, JWT_RESOURCE] {
        check(issuer, resource, &url)
            .await
            .with_context(|| format!("{resource}; Service B logged:\n{}", deployment.log()))?;
    }
    Ok(())
}

async fn check(issuer: &Issuer, resource: &str, url: &str) -> Result<()> {
    // The real caller, which is asked for a nonce by both.
    let flags = ["--use-dpop", "--resource", resource];
    let call = [&flags[..], &["--repeat", "3", "--service-b-url", url]].concat();
    let ended = service_a::run(issuer, &call, SERVICE_A.secret).await?;
    ensure!(ended.code == Some(0), "{ended:?}");

    // A token that is shown without the key, which is gone with its process.
    let only = [&flags[..], &["--token-only"]].concat();
    let ended = service_a::run(issuer, &only, SERVICE_A.secret).await?;
    ensure!(ended.code == Some(0), "{ended:?}");
    let stolen = ended.output.trim().to_owned();
    expect(url, &stolen, 401, Some("proof_of_possession_missing")).await?;
    let key = DpopKey::generate(SigningAlgorithm::Es256);
    let prove = |token: &str, nonce: &str| {
        let proof = key.proof("GET", url).token(token);
        proof.claim("nonce", nonce).sign()
    };
    let (_, nonce) = send(
        url,
        &stolen,
        &prove(&stolen, "unknown"),
        "dpop_nonce_needed",
    )
    .await?;
    let nonce = nonce.context("there is no nonce")?;
    send(url, &stolen, &prove(&stolen, &nonce), "dpop_key_mismatch").await?;

    // A token of that key.
    let at_issuer = |url: &str, nonce: Option<&str>| {
        let proof = key.proof("POST", url);
        proof.claim("nonce", nonce).sign()
    };
    let bound = issuer.bound_token(resource, at_issuer).await?;
    let proof = prove(&bound, &nonce);
    send(url, &bound, &prove(&stolen, &nonce), "dpop_proof_invalid").await?;
    send(url, &bound, &proof, "").await?;
    send(url, &bound, &proof, "dpop_proof_replayed").await?;
    send(url, &bound, &prove(&bound, &nonce), "").await?;
    Ok(())
}

/// Calls with a token and a proof. `reason`: of the refusal, or empty if there is none. Returns the
/// status and the nonce for the next proof.
async fn send(url: &str, token: &str, proof: &str, reason: &str) -> Result<(u16, Option<String>)> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()?;
    let request = client
        .get(url)
        .header("authorization", format!("DPoP {token}"))
        .header("dpop", proof);
    let response = request.send().await?;
    let status = response.status().as_u16();
    let nonce = response.headers().get("dpop-nonce");
    let nonce = nonce.and_then(|nonce| nonce.to_str().ok().map(str::to_owned));
    let body = response.text().await?;
    let json: Value = serde_json::from_str(&body).unwrap_or_default();
    let said = json.get("reason").and_then(Value::as_str);
    let expected = if reason.is_empty() { 200 } else { 401 };
    ensure!(
        (status, said.unwrap_or_default()) == (expected, reason),
        "expected {expected} {reason:?}, got {status} {body}"
    );
    Ok((status, nonce))
}
