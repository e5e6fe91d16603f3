//! Proofs of possession at the token endpoint (RFC 9449).

use serde_json::{Value, json};
use verify_stub::{DpopKey, SigningAlgorithm, StubOptions, TokenSpec, VerifyStub};

use crate::caller::{Response, basic_of, introspect, post, start};

async fn request(stub: &VerifyStub, proofs: &[String]) -> Response {
    let basic = basic_of(stub.client("service-a"));
    let proofs = proofs.iter().map(|proof| format!("dpop: {proof}"));
    let headers: Vec<_> = [basic].into_iter().chain(proofs).collect();
    let headers: Vec<_> = headers.iter().map(String::as_str).collect();
    post(
        stub,
        stub.token_url(),
        &headers,
        "grant_type=client_credentials",
    )
    .await
}

#[tokio::test]
async fn rfc9449_s5_a_token_is_bound_to_the_key_of_the_proof() {
    let stub = start(StubOptions::default()).await;
    for algorithm in [
        SigningAlgorithm::Es256,
        SigningAlgorithm::EdDsa,
        SigningAlgorithm::Ps256,
    ] {
        let key = DpopKey::generate(algorithm);
        let proof = key.proof("POST", stub.token_url()).sign();
        let issued = request(&stub, std::slice::from_ref(&proof)).await;
        assert_eq!(issued.status, 200, "{algorithm}: {}", issued.body);
        assert_eq!(issued.json()["token_type"], "DPoP");
        let document = introspect(&stub, &issued.token()).await.json();
        assert_eq!(document["cnf"], json!({"jkt": key.thumbprint()}));
        assert_eq!(document["token_type"], "DPoP");

        let again = request(&stub, &[proof]).await;
        assert_eq!(again.status, 400);
        assert_eq!(again.json()["error"], "invalid_dpop_proof");
    }
    assert_eq!(request(&stub, &[]).await.json()["token_type"], "bearer");

    let key = DpopKey::generate(SigningAlgorithm::Es256);
    let token = stub.issue(TokenSpec::default().bound_to(key.thumbprint()));
    let document = introspect(&stub, &token).await.json();
    assert_eq!(document["cnf"], json!({"jkt": key.thumbprint()}));
}

#[tokio::test]
async fn rfc9449_s4_3_a_wrong_proof_is_refused() {
    let stub = start(StubOptions::default()).await;
    let key = DpopKey::generate(SigningAlgorithm::Es256);
    let other = DpopKey::generate(SigningAlgorithm::Es256);
    let good = || key.proof("POST", stub.token_url());
    let iat = |proof: &str| -> i64 {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let claims = URL_SAFE_NO_PAD.decode(proof.split('.').nth(1).unwrap());
        let claims: Value = serde_json::from_slice(&claims.unwrap()).unwrap();
        claims["iat"].as_i64().unwrap()
    };
    let now = iat(&good().sign());
    let mut cut = good().sign();
    cut.truncate(cut.len() - 4);
    let two = other.proof("POST", stub.token_url()).sign();
    let signature = two.rsplit_once('.').unwrap().1;
    let by_other = good().sign();
    let by_other = format!("{}.{signature}", by_other.rsplit_once('.').unwrap().0);
    for (name, proofs) in [
        ("typ", vec![good().header("typ", "JWT").sign()]),
        ("no key", vec![good().header("jwk", Value::Null).sign()]),
        ("alg", vec![good().header("alg", "none").sign()]),
        ("method", vec![good().claim("htm", "GET").sign()]),
        ("URL", vec![good().claim("htu", stub.issuer()).sign()]),
        ("old", vec![good().claim("iat", now - 120).sign()]),
        ("new", vec![good().claim("iat", now + 120).sign()]),
        ("no iat", vec![good().claim("iat", Value::Null).sign()]),
        ("no jti", vec![good().claim("jti", Value::Null).sign()]),
        ("two", vec![good().sign(), good().sign()]),
        ("other key", vec![by_other]),
        ("cut", vec![cut]),
        ("text", vec!["x".to_owned()]),
    ] {
        let refused = request(&stub, &proofs).await;
        assert_eq!(refused.status, 400, "{name}");
        assert_eq!(refused.json()["error"], "invalid_dpop_proof", "{name}");
    }
    assert_eq!(request(&stub, &[good().sign()]).await.status, 200);
}

#[tokio::test]
async fn rfc9449_s8_a_proof_needs_the_current_nonce() {
    let stub = start(StubOptions::default()).await;
    let key = DpopKey::generate(SigningAlgorithm::Es256);
    let first = stub.require_dpop_nonce();
    let with = |nonce: Value| {
        key.proof("POST", stub.token_url())
            .claim("nonce", nonce)
            .sign()
    };
    let without = request(&stub, &[with(Value::Null)]).await;
    assert_eq!(without.status, 400);
    assert_eq!(without.json()["error"], "use_dpop_nonce");
    assert!(
        without.has(&format!("dpop-nonce: {first}")),
        "{}",
        without.head
    );
    let good = request(&stub, &[with(json!(first))]).await;
    assert_eq!(good.status, 200);
    assert!(good.has(&format!("dpop-nonce: {first}")));
    let second = stub.require_dpop_nonce();
    assert_ne!(first, second);
    let stale = request(&stub, &[with(json!(first))]).await;
    assert_eq!(stale.json()["error"], "use_dpop_nonce");
    assert_eq!(request(&stub, &[with(json!(second))]).await.status, 200);
}
