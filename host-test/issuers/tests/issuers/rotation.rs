//! A server that nobody here wrote rotates its keys, as RFC 7517 section 5 and OpenID Connect Core
//! section 10.1.1 mean it: the new key is published before it signs, the old one stays for a while.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use issuers::{Issuer, JWT_RESOURCE, Product};
use tokio::time::sleep;

use crate::{
    deployment::{Deployment, Host},
    service_a,
    steps::expect,
};

/// As short as the settings allow.
const JWKS_TTL: (&str, &str) = ("jwks_ttl", "5");

/// The time after which everybody has fetched the keys again, with a second for a busy machine.
const FETCHED: Duration = Duration::from_secs(6);

/// How often callers call meanwhile, which also keeps what they have shown remembered.
const CALL: Duration = Duration::from_millis(200);

/// With an issuer of its own, because others need theirs to keep its keys.
pub(crate) async fn a_rotation_refuses_no_good_token(host: Host) -> Result<()> {
    let issuer = Product::NodeOidcProvider.start().await?;
    let jwks = format!("{}/jwks", issuer.url());
    let settings = [
        ("strategy", "jwt"),
        ("jwks_url", jwks.as_str()),
        ("expected_issuer", issuer.url()),
        ("expected_aud", JWT_RESOURCE),
        ("jwks_min_interval", "5"),
        JWKS_TTL,
    ];
    let deployment = Deployment::start(host, &issuer, &settings).await?;
    rotate(&issuer, &deployment.data_url())
        .await
        .with_context(|| {
            let log = deployment.log();
            format!("Service B logged:\n{log}\nThe issuer:\n{}", issuer.log())
        })
}

async fn rotate(issuer: &Issuer, url: &str) -> Result<()> {
    let token = async || service_a::token(issuer, Some(JWT_RESOURCE)).await;
    let first = token().await?;
    call(url, &[&first], Duration::ZERO).await?;

    issuer.publish_keys(&["first", "second"]).await?;
    call(url, &[&first], FETCHED).await?;
    issuer.publish_keys(&["second", "first"]).await?;
    let second = token().await?;
    call(url, &[&first, &second], FETCHED).await?;

    issuer.publish_keys(&["second"]).await?;
    call(url, &[&second], FETCHED).await?;
    expect(url, &first, 401, Some("unknown_key")).await?;

    // Without notice: the first token by a new key has it fetched, now that the interval is over in
    // which the unknown key caused that.
    call(url, &[&second], FETCHED).await?;
    issuer.publish_keys(&["third", "second"]).await?;
    let third = token().await?;
    call(url, &[&second, &third], Duration::ZERO).await?;
    expect(url, &first, 401, Some("unknown_key")).await
}

/// Calls with each of these tokens, at least once and again as long as this. All are granted.
async fn call(url: &str, tokens: &[&String], long: Duration) -> Result<()> {
    let end = Instant::now() + long;
    loop {
        for token in tokens {
            expect(url, token, 200, None).await?;
        }
        if Instant::now() >= end {
            return Ok(());
        }
        sleep(CALL).await;
    }
}
