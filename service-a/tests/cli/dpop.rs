//! Tokens that are bound to a key (RFC 9449).

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{digest, signature};
use serde_json::{Value, json};
use verify_stub::{Endpoint, StubOptions, VerifyStub};
use wiremock::{Request, ResponseTemplate};

use crate::fixture::{
    Finished, TOKEN, World, bare, granted, json_body, received, run, serve, token_response,
};

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Header and claims of a proof, whose signature is checked.
fn proof(text: &str) -> (Value, Value) {
    let (input, signature) = text.rsplit_once('.').unwrap();
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let (header, claims) = input.split_once('.').unwrap();
    let [header, claims]: [Value; 2] =
        [header, claims].map(|part| serde_json::from_slice(&decode(part)).unwrap());
    let coordinate = |name: &str| decode(header["jwk"][name].as_str().unwrap());
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
        .verify(input.as_bytes(), &decode(signature))
        .unwrap();
    (header, claims)
}

fn proof_of(request: &Request) -> (Value, Value) {
    proof(request.headers["dpop"].to_str().unwrap())
}

#[tokio::test]
async fn rfc9449_s4_2_each_request_has_a_proof_of_its_own_by_the_same_key() {
    let bound = json!({"access_token": TOKEN, "token_type": "DPoP"});
    let world = World::with_token_response(json_body(200, bound)).await;
    world.serve_call(granted()).await;
    let url = world.data_url() + "?a=b";
    let finished =
        run(world.service_a(&["--use-dpop", "--verbose", "--service-b-url", &url])).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    // Neither a proof nor the token is shown.
    finished.holds_no_secret();
    finished.holds_none_of(&["eyJhbGciOiJFUzI1NiIs"]);

    let metadata = received(&world.issuer).await.remove(0);
    assert!(!metadata.headers.contains_key("dpop"));
    let token_request = world.token_requests().await.remove(0);
    let call = world.calls().await.remove(0);
    assert_eq!(call.headers["authorization"], format!("DPoP {TOKEN}"));
    let (header, at_issuer) = proof_of(&token_request);
    assert_eq!(header["typ"], "dpop+jwt");
    assert_eq!(header["alg"], "ES256");
    assert_eq!(header["jwk"].get("d"), None);
    assert_eq!(at_issuer["htm"], "POST");
    assert_eq!(at_issuer["htu"], world.token_url());
    assert_eq!(at_issuer.get("ath"), None);
    assert_eq!(at_issuer.get("nonce"), None);
    let (same, at_service_b) = proof_of(&call);
    assert_eq!(same, header);
    assert_eq!(at_service_b["htm"], "GET");
    assert_eq!(at_service_b["htu"], world.data_url(), "without the query");
    let hash = digest::digest(&digest::SHA256, TOKEN.as_bytes());
    assert_eq!(at_service_b["ath"], encode(hash));
    assert_ne!(at_service_b["jti"], at_issuer["jti"]);
}

#[tokio::test]
async fn rfc9449_s8_the_issuers_nonce_is_used_in_one_retry_with_a_new_assertion() {
    let issuer = VerifyStub::start(StubOptions::default()).await.unwrap();
    let client = issuer.client("service-a");
    let command = |flags: &[&str]| {
        let mut command = bare(&[&["--use-dpop", "--token-only"], flags].concat());
        command
            .env("WORKOUT18_ISSUER", issuer.issuer())
            .env("WORKOUT18_CLIENT_ID", &client.id)
            .env("WORKOUT18_CLIENT_SECRET", &client.secret);
        command
    };
    assert_eq!(run(command(&[])).await.code, Some(0));
    assert_eq!(issuer.counters().token, 1);

    let nonce = issuer.require_dpop_nonce();
    let finished = run(command(&["--client-auth", "client_secret_jwt"])).await;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    let requests = issuer.requests();
    let proofs: Vec<_> = requests
        .iter()
        .filter(|request| request.endpoint == Endpoint::Token)
        .map(|request| proof(request.headers["dpop"].to_str().unwrap()).1)
        .collect();
    assert_eq!(proofs.len(), 3);
    assert_eq!(proofs[1].get("nonce"), None);
    assert_eq!(proofs[2]["nonce"], nonce);
}

#[tokio::test]
async fn rfc9449_s9_service_bs_nonce_is_its_own_and_there_is_one_retry() {
    let bound = json!({"access_token": TOKEN, "token_type": "dpop"});
    let with_nonce = json_body(200, bound).insert_header("dpop-nonce", "of the issuer");
    let world = World::with_token_response(with_nonce).await;
    let calls = AtomicUsize::new(0);
    let challenge = move |_: &Request| {
        let number = calls.fetch_add(1, Ordering::Relaxed) + 1;
        ResponseTemplate::new(401)
            .insert_header("www-authenticate", r#"DPoP error="use_dpop_nonce""#)
            .insert_header("dpop-nonce", format!("of b {number}"))
    };
    serve(&world.service_b, "GET", "/data", challenge).await;
    let finished = run(world.service_a(&["--use-dpop"])).await;
    assert_eq!(finished.code, Some(5), "{}", finished.stderr);
    let nonces: Vec<_> = world
        .calls()
        .await
        .iter()
        .map(|call| proof_of(call).1["nonce"].clone())
        .collect();
    // Twice for the token, and twice for the one that replaced it after the 401.
    assert_eq!(
        nonces,
        [
            Value::Null,
            json!("of b 1"),
            json!("of b 2"),
            json!("of b 3")
        ]
    );
}

#[tokio::test]
async fn rfc9449_s5_a_token_that_is_not_bound_is_refused() {
    let world = World::with_token_response(token_response(TOKEN)).await;
    let finished = run(world.service_a(&["--use-dpop"])).await;
    assert_eq!(finished.code, Some(4));
    let text = "\n  description: the issuer gave a token that is not bound to the key\n";
    assert!(finished.stderr.contains(text), "{}", finished.stderr);
    let next = "\n  next: Turn DPoP on for this client at the issuer, or leave out --use-dpop (WORKOUT18_USE_DPOP).\n";
    assert!(finished.stderr.contains(next), "{}", finished.stderr);
    assert_eq!(finished.stdout, "");

    // And a bound one without the flag.
    let bound = json!({"access_token": TOKEN, "token_type": "DPoP"});
    let world = World::with_token_response(json_body(200, bound)).await;
    let finished: Finished = run(world.service_a(&[])).await;
    assert_eq!(finished.code, Some(4));
}
