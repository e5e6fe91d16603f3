//! `private_key_jwt` with an RSA key: Envoy signs (RFC 7523, RFC 7518 section 3.3).

use envoy_runner::{Envoy, EnvoyOptions};
use host_test::wire;
use serde_json::Value;
use verify_stub::{StubClient, StubOptions, TokenSpec, VerifyStub};

use crate::fixture::skip_without_envoy;

/// Made for tests.
const KEY: &str = include_str!("../../../guest/token-check/src/jose/test_keys/rsa.json");

fn options(stub: &VerifyStub, key: &str) -> EnvoyOptions {
    let mut settings = stub.resource_settings();
    for (name, value) in [
        ("client_auth", "private_key_jwt"),
        ("client_key", key),
        ("resource_client_secret", ""),
    ] {
        settings.insert(name.to_owned(), value.to_owned());
    }
    EnvoyOptions {
        settings,
        ..EnvoyOptions::default()
    }
}

async fn stub() -> VerifyStub {
    let mut public: Value = serde_json::from_str(KEY).unwrap();
    let members = public.as_object_mut().unwrap();
    members.retain(|name, _| ["kty", "kid", "n", "e"].contains(&name.as_str()));
    VerifyStub::start(StubOptions {
        clients: vec![
            StubClient::new("service-a"),
            StubClient::new("service-b").with_key(public),
        ],
        ..StubOptions::default()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn rfc7518_s3_3_the_issuer_accepts_what_envoy_signs() {
    skip_without_envoy!();
    let stub = stub().await;
    let envoy = Envoy::start(options(&stub, KEY)).await.unwrap();
    for _ in 0..3 {
        let token = stub.issue(TokenSpec::default());
        let request = wire::get("/data", format!("Bearer {token}"));
        let reply = wire::exchange(envoy.address(), &request).await.unwrap();
        assert_eq!(reply.status, 200);
    }
    assert_eq!(stub.counters().introspect, 3);
    assert_eq!(envoy.vms().await.unwrap(), envoy.vms_at_start());
    envoy.stop().await.unwrap();
}

#[tokio::test]
async fn envoy_does_not_start_with_an_rsa_key_that_signs_badly() {
    skip_without_envoy!();
    let stub = stub().await;
    let mut key: Value = serde_json::from_str(KEY).unwrap();
    let (p, q) = (key["p"].take(), key["q"].take());
    (key["p"], key["q"]) = (q, p);
    let other = KEY.replacen(r#""n": ""#, r#""n": "x"#, 1);
    for key in [key.to_string(), other] {
        let started = Envoy::start(options(&stub, &key)).await;
        let output = started.err().expect("it starts").to_string();
        let line = "setting `client_key` (WORKOUT18_CLIENT_KEY) is";
        assert!(output.contains(line), "{output}");
        let secret = serde_json::from_str::<Value>(KEY).unwrap()["d"].clone();
        assert!(!output.contains(secret.as_str().unwrap()), "{output}");
    }
}
