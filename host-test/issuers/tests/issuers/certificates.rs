//! Tokens that a server which nobody here wrote binds to a client certificate (RFC 8705 section 3),
//! opaque and as JWTs. A proxy in front of Service B passes the certificate on in a header (RFC 9440).

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use issuers::{BOUND_CLIENT, Issuer, JWT_RESOURCE, RESOURCE};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::{
    deployment::{Deployment, Host, verifying},
    service_a,
};

pub(crate) async fn a_bound_token_is_good_with_its_certificate_alone(
    host: Host,
    issuer: &Issuer,
) -> Result<()> {
    let verifying = verifying(issuer);
    let verifying = verifying.iter().map(|(key, value)| (*key, value.as_str()));
    let settings = verifying.chain([
        ("certificate_binding", "header"),
        ("certificate_header", "client-cert"),
    ]);
    let settings: Vec<_> = settings.collect();
    let deployment = Deployment::start(host, issuer, &settings).await?;
    let url = deployment.data_url();
    for resource in [RESOURCE, JWT_RESOURCE] {
        check(issuer, resource, &url)
            .await
            .with_context(|| format!("{resource}; Service B logged:\n{}", deployment.log()))?;
    }
    Ok(())
}

async fn check(issuer: &Issuer, resource: &str, url: &str) -> Result<()> {
    let (ours, other) = (Certificate::make()?, Certificate::make()?);
    let flags = ["--token-only", "--resource", resource];
    // Without a certificate the issuer gives this client no token.
    let ended = service_a::run_as(BOUND_CLIENT.id, issuer, &flags, BOUND_CLIENT.secret).await?;
    ensure!(ended.code == Some(4), "{ended:?}");
    let path = ours.pem.path().to_str().context("a path of UTF-8")?;
    let flags = [&flags[..], &["--client-certificate", path]].concat();
    let ended = service_a::run_as(BOUND_CLIENT.id, issuer, &flags, BOUND_CLIENT.secret).await?;
    ensure!(ended.code == Some(0), "{ended:?}");
    let token = ended.output.trim();
    // Twice each: the second answer is from the cache.
    for (certificate, expected) in [
        (None, (401, "client_certificate_missing")),
        (Some(&other), (401, "client_certificate_mismatch")),
        (Some(&ours), (200, "")),
        (None, (401, "client_certificate_missing")),
        (Some(&other), (401, "client_certificate_mismatch")),
        (Some(&ours), (200, "")),
    ] {
        let got = call(url, token, certificate).await?;
        ensure!((got.0, got.1.as_str()) == expected, "{expected:?}: {got:?}");
    }
    Ok(())
}

/// The status, and the reason of a refusal.
async fn call(url: &str, token: &str, certificate: Option<&Certificate>) -> Result<(u16, String)> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()?;
    let mut request = client.get(url).bearer_auth(token);
    if let Some(certificate) = certificate {
        request = request.header("client-cert", &certificate.header);
    }
    let response = request.send().await?;
    let status = response.status().as_u16();
    let body: Value = serde_json::from_str(&response.text().await?)?;
    let reason = body.get("reason").and_then(Value::as_str);
    Ok((status, reason.unwrap_or_default().to_owned()))
}

struct Certificate {
    /// With its private key.
    pem: NamedTempFile,
    /// As RFC 9440 section 2.1 writes it.
    header: String,
}

impl Certificate {
    fn make() -> Result<Self> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["service-a.example".to_owned()])?;
        let pem = NamedTempFile::new()?;
        let parts = [cert.pem(), signing_key.serialize_pem()];
        std::fs::write(pem.path(), parts.concat())?;
        let header = format!(":{}:", STANDARD.encode(cert.der()));
        Ok(Self { pem, header })
    }
}
