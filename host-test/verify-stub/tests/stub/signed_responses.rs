//! Introspection responses as JWTs (RFC 9701).

use serde_json::json;
use verify_stub::{
    ResponseFault, SignedResponses, SigningAlgorithm, StubClient, StubOptions, TokenSpec,
    VerifyStub,
};

use crate::caller::{FORM, Response, basic_of, form, get, introspect, request, send, start};
use crate::jwt::{keys, parts, verifies};

const ACCEPT: &str = "accept: application/token-introspection+jwt";
const SIGNED: &str = "content-type: application/token-introspection+jwt";

async fn stub(how: SignedResponses) -> VerifyStub {
    let signed = StubClient::new("service-b").with_signed_responses(how);
    let clients = vec![StubClient::new("service-a"), signed];
    start(StubOptions {
        clients,
        ..StubOptions::default()
    })
    .await
}

async fn introspect_signed(stub: &VerifyStub, token: &str, accept: &str) -> Response {
    let basic = basic_of(stub.client("service-b"));
    let body = form(&[("token", token)]);
    let request = request(
        "POST",
        stub.introspect_url(),
        &[FORM, accept, &basic],
        &body,
    );
    send(stub.address(), request).await
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_secs()).unwrap()
}

#[tokio::test]
async fn rfc9701_s5_a_response_is_signed_for_a_client_that_is_registered_and_asks_for_it() {
    let stub = stub(SignedResponses::new(SigningAlgorithm::Es256)).await;
    let token = stub.issue(TokenSpec::default().scope("read"));
    let plain = introspect(&stub, &token).await.json();
    assert_eq!(plain["scope"], "read");
    let before = now();
    for accept in [
        ACCEPT,
        "accept: application/json;q=0.5, Application/Token-Introspection+JWT;q=1",
    ] {
        let response = introspect_signed(&stub, &token, accept).await;
        assert_eq!(response.status, 200);
        assert!(response.has(SIGNED), "{}", response.head);
        assert!(response.has("cache-control: no-store"), "{}", response.head);
        let (header, claims, _, _) = parts(&response.body);
        assert_eq!(header["typ"], "token-introspection+jwt");
        assert_eq!(header["alg"], "ES256");
        let made = claims["iat"].as_i64().unwrap();
        assert!((before..=now()).contains(&made), "{made}");
        let expected = json!({
            "iss": stub.issuer(),
            "aud": stub.client("service-b").id,
            "iat": made,
            "token_introspection": plain,
        });
        assert_eq!(claims, expected);
        assert!(verifies(&response.body, &keys(&stub).await[0]));
    }
    let inactive = introspect_signed(&stub, "unknown", ACCEPT).await;
    let (_, claims, _, _) = parts(&inactive.body);
    assert_eq!(claims["token_introspection"], json!({"active": false}));
    // It does not ask, or is not registered.
    let response = introspect_signed(&stub, &token, "accept: application/json").await;
    assert_eq!(response.json(), plain);
    let other = basic_of(stub.client("service-a"));
    let body = form(&[("token", &token)]);
    let other = request(
        "POST",
        stub.introspect_url(),
        &[FORM, ACCEPT, &other],
        &body,
    );
    assert_eq!(send(stub.address(), other).await.json(), plain);
    // RFC 9701 section 7.
    let url = format!("{}/.well-known/openid-configuration", stub.issuer());
    let metadata = get(&stub, &url).await.json();
    let algorithms = &metadata["introspection_signing_alg_values_supported"];
    assert!(algorithms.as_array().unwrap().contains(&json!("ES256")));
}

#[tokio::test]
async fn each_fault_is_the_only_one() {
    for fault in [
        None,
        Some(ResponseFault::Audience),
        Some(ResponseFault::Issuer),
        Some(ResponseFault::Key),
        Some(ResponseFault::Signature),
        Some(ResponseFault::Time),
        Some(ResponseFault::Type),
    ] {
        let how = SignedResponses::new(SigningAlgorithm::EdDsa).with_issuer("https://as.example");
        let how = match fault {
            Some(fault) => how.with_fault(fault),
            None => how,
        };
        let stub = stub(how).await;
        let token = stub.issue(TokenSpec::default());
        let response = introspect_signed(&stub, &token, ACCEPT).await;
        assert!(response.has(SIGNED), "{fault:?}");
        let (header, claims, _, _) = parts(&response.body);
        let kids = keys(&stub).await;
        let is_published = kids.iter().any(|key| key["kid"] == header["kid"]);
        let seen = [
            (
                ResponseFault::Audience,
                claims["aud"] == stub.client("service-b").id,
            ),
            (ResponseFault::Issuer, claims["iss"] == "https://as.example"),
            (ResponseFault::Key, is_published),
            (
                ResponseFault::Signature,
                !is_published || verifies(&response.body, &kids[0]),
            ),
            (
                ResponseFault::Time,
                claims["iat"].as_i64().unwrap() >= now() - 60,
            ),
            (
                ResponseFault::Type,
                header["typ"] == "token-introspection+jwt",
            ),
        ];
        for (kind, is_good) in seen {
            assert_eq!(is_good, fault != Some(kind), "{fault:?} {kind:?}");
        }
    }
    let plain =
        stub(SignedResponses::new(SigningAlgorithm::EdDsa).with_fault(ResponseFault::Plain)).await;
    let token = plain.issue(TokenSpec::default());
    let response = introspect_signed(&plain, &token, ACCEPT).await;
    assert_eq!(response.json()["active"], true);
}
