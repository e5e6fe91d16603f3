//! Clients that authenticate with an assertion (RFC 7523 section 3).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::PublicKeyData as _;
use ring::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use verify_stub::{Endpoint, StubClient, StubOptions, TokenSpec, VerifyStub};

use crate::caller::{Response, basic_of, form, post, start};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn encode(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn input(algorithm: &str, claims: &Value) -> String {
    let header = json!({"alg": algorithm, "typ": "JWT"});
    format!(
        "{}.{}",
        encode(header.to_string()),
        encode(claims.to_string())
    )
}

fn by_secret(secret: &str, claims: &Value) -> String {
    let input = input("HS256", claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mac = hmac::sign(&key, input.as_bytes());
    format!("{input}.{}", encode(mac))
}

/// The claims of a good assertion, with this `jti`.
fn claims(stub: &VerifyStub, jti: &str) -> Value {
    let id = &stub.client("service-a").id;
    json!({"iss": id, "sub": id, "aud": stub.issuer(), "exp": now() + 60, "jti": jti})
}

async fn token(stub: &VerifyStub, assertion: &str) -> Response {
    let body = form(&[
        ("grant_type", "client_credentials"),
        ("client_assertion_type", TYPE),
        ("client_assertion", assertion),
    ]);
    post(stub, stub.token_url(), &[], &body).await
}

#[tokio::test]
async fn rfc7523_s3_an_assertion_is_checked_and_good_once() {
    let stub = start(StubOptions::default()).await;
    let secret = &stub.client("service-a").secret;
    let good = by_secret(secret, &claims(&stub, "1"));
    assert_eq!(token(&stub, &good).await.status, 200);
    assert_eq!(token(&stub, &good).await.status, 401, "used twice");

    let changes: [(&str, Value, u16); 14] = [
        ("jti", json!("2"), 200),
        ("aud", json!([stub.issuer()]), 200),
        ("aud", json!(stub.token_url()), 200),
        ("aud", json!("https://other.example"), 401),
        ("aud", json!([stub.issuer(), "https://other.example"]), 401),
        ("aud", Value::Null, 401),
        ("iss", json!("another"), 401),
        ("sub", json!("another"), 401),
        ("sub", Value::Null, 401),
        ("exp", json!(now() - 1), 401),
        ("exp", json!(now() + 3600), 401),
        ("exp", json!("soon"), 401),
        ("exp", Value::Null, 401),
        ("jti", Value::Null, 401),
    ];
    for (number, (name, value, status)) in changes.into_iter().enumerate() {
        let mut changed = claims(&stub, &format!("changed {number}"));
        changed[name] = value.clone();
        let assertion = by_secret(secret, &changed);
        assert_eq!(
            token(&stub, &assertion).await.status,
            status,
            "{name} {value}"
        );
    }

    let fresh = claims(&stub, "signatures");
    let unsigned = format!("{}.", input("none", &fresh));
    for wrong in [by_secret("wrong", &fresh), unsigned, "x".to_owned()] {
        let refused = token(&stub, &wrong).await;
        assert_eq!(refused.status, 401);
        assert_eq!(refused.json()["error"], "invalid_client");
    }
    let good = by_secret(secret, &fresh);
    let (pair, basic) = (
        ("client_assertion", good.as_str()),
        basic_of(stub.client("service-a")),
    );
    let grant = ("grant_type", "client_credentials");
    let both = form(&[grant, ("client_assertion_type", TYPE), pair]);
    assert_eq!(
        post(&stub, stub.token_url(), &[&basic], &both).await.status,
        400
    );
    let untyped = form(&[grant, pair]);
    assert_eq!(
        post(&stub, stub.token_url(), &[], &untyped).await.status,
        401
    );
    let named = form(&[
        grant,
        ("client_assertion_type", TYPE),
        pair,
        ("client_id", "x"),
    ]);
    assert_eq!(post(&stub, stub.token_url(), &[], &named).await.status, 401);
    assert_eq!(token(&stub, &good).await.status, 200);
}

#[tokio::test]
async fn a_client_with_a_key_signs_with_it_and_not_with_its_secret() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(key.serialized_der()).unwrap();
    assert_eq!(key.der_bytes(), pair.public_key().as_ref());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key())});
    let client = StubClient::new("service-a").with_key(jwk);
    let stub = start(StubOptions {
        clients: vec![client],
        ..StubOptions::default()
    })
    .await;
    let sign = |claims: &Value| {
        let input = input("EdDSA", claims);
        let signature = pair.sign(input.as_bytes());
        format!("{input}.{}", encode(signature))
    };
    let good = sign(&claims(&stub, "1"));
    assert_eq!(token(&stub, &good).await.status, 200);
    let secret = &stub.client("service-a").secret;
    let by_secret = by_secret(secret, &claims(&stub, "2"));
    assert_eq!(token(&stub, &by_secret).await.status, 401);

    // Introspection takes it too, for its own URL.
    let access = stub.issue(TokenSpec::default());
    let mut claims = claims(&stub, "3");
    claims["aud"] = json!(stub.introspect_url());
    let assertion = sign(&claims);
    let body = form(&[
        ("token", &access),
        ("client_assertion_type", TYPE),
        ("client_assertion", &assertion),
    ]);
    let active = post(&stub, stub.introspect_url(), &[], &body).await;
    assert_eq!(active.json()["active"], true);
    assert_eq!(stub.requests()[2].endpoint, Endpoint::Introspect);
}

async fn introspect(stub: &VerifyStub, token: &str, assertion: &str) -> Response {
    let body = form(&[
        ("token", token),
        ("client_assertion_type", TYPE),
        ("client_assertion", assertion),
    ]);
    post(stub, stub.introspect_url(), &[], &body).await
}

#[tokio::test]
async fn rfc7523_s3_the_introspection_endpoint_checks_assertions_too() {
    let stub = start(StubOptions::default()).await;
    let token = stub.issue(TokenSpec::default());
    let secret = &stub.client("service-a").secret;
    let changes: [(&str, Value, u16); 9] = [
        ("jti", json!("1"), 200),
        ("jti", json!("1"), 401),
        ("aud", json!(stub.introspect_url()), 200),
        ("aud", json!("https://other.example"), 401),
        ("iat", json!(now()), 200),
        ("iat", json!(now() - 30), 200),
        ("iat", json!(now() + 30), 401),
        ("iat", json!("now"), 401),
        ("exp", json!(now() - 1), 401),
    ];
    for (number, (name, value, status)) in changes.into_iter().enumerate() {
        let mut changed = claims(&stub, &format!("number {number}"));
        changed[name] = value.clone();
        let response = introspect(&stub, &token, &by_secret(secret, &changed)).await;
        assert_eq!(response.status, status, "{name} {value}");
        if status == 401 {
            assert_eq!(response.json()["error"], "request_unauthorized");
        }
    }
    // What was refused has not used up its `jti`.
    let wrong = by_secret("wrong", &claims(&stub, "2"));
    assert_eq!(introspect(&stub, &token, &wrong).await.status, 401);
    let good = by_secret(secret, &claims(&stub, "2"));
    assert_eq!(introspect(&stub, &token, &good).await.status, 200);
    assert_eq!(stub.counters().introspect, 11);
}

#[tokio::test]
async fn the_clock_by_which_a_clients_assertions_are_judged_can_be_ahead() {
    for (ahead, status) in [(0, 200), (-4, 200), (-30, 401), (50, 200), (70, 401)] {
        let stub = start(StubOptions {
            clients: vec![StubClient::new("service-a").with_clock_ahead(ahead)],
            ..StubOptions::default()
        })
        .await;
        let mut claims = claims(&stub, "1");
        claims["iat"] = json!(now());
        let assertion = by_secret(&stub.client("service-a").secret, &claims);
        let response = introspect(&stub, "x", &assertion).await;
        assert_eq!(response.status, status, "{ahead}");
    }
}

#[tokio::test]
async fn rfc7662_s2_1_a_client_may_introspect_with_an_access_token_and_do_nothing_else() {
    let stub = start(StubOptions {
        clients: vec![StubClient::new("service-b").with_token("t0k3n")],
        ..StubOptions::default()
    })
    .await;
    let body = form(&[("token", "x"), ("grant_type", "client_credentials")]);
    for (line, at_introspection) in [
        ("authorization: Bearer t0k3n", 200),
        ("authorization: bearer t0k3n", 200),
        ("authorization: Bearer t0k3", 401),
        ("authorization: Bearer ", 401),
    ] {
        for (url, status) in [
            (stub.introspect_url(), at_introspection),
            (stub.revoke_url(), 401),
            (stub.token_url(), 401),
        ] {
            let response = post(&stub, url, &[line], &body).await;
            assert_eq!(response.status, status, "{line} {url}");
        }
    }
}
