//! JWT access tokens and the keys that sign them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use ring::{hmac, signature};
use serde_json::{Value, json};
use verify_stub::{
    Endpoint, Provider, PublicKeyForm, Reaction, SignatureFault, SigningAlgorithm, StubOptions,
    StubResponse, TokenFormat, TokenSpec, VerifyStub,
};

use crate::caller::{INACTIVE, basic_of, get, introspect, names, post, start};

fn decode(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.as_str().unwrap()).unwrap()
}

/// Header, claims, what is signed, and the signature.
pub(crate) fn parts(token: &str) -> (Value, Value, String, Vec<u8>) {
    let parts: Vec<_> = token.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else {
        panic!("{token}");
    };
    let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let json = |part: &str| serde_json::from_slice(&bytes(part)).unwrap();
    let input = format!("{header}.{claims}");
    (json(header), json(claims), input, bytes(signature))
}

/// The published keys.
pub(crate) async fn keys(stub: &VerifyStub) -> Vec<Value> {
    let set = get(stub, &stub.urls(Provider::New).jwks).await.json();
    set["keys"].as_array().unwrap().clone()
}

async fn kids(stub: &VerifyStub) -> Vec<String> {
    let keys = keys(stub).await;
    let kids = keys.iter().map(|key| key["kid"].as_str().unwrap());
    kids.map(str::to_owned).collect()
}

/// Whether the signature is that of this JWK by the algorithm that both name.
pub(crate) fn verifies(token: &str, key: &Value) -> bool {
    let (header, _, input, signature) = parts(token);
    let bytes = |member: &str| decode(&key[member]);
    let verify = |algorithm: &'static dyn signature::VerificationAlgorithm, public: &[u8]| {
        signature::UnparsedPublicKey::new(algorithm, public).verify(input.as_bytes(), &signature)
    };
    let rsa = |algorithm: &'static signature::RsaParameters| {
        let (n, e) = (bytes("n"), bytes("e"));
        signature::RsaPublicKeyComponents { n, e }.verify(algorithm, input.as_bytes(), &signature)
    };
    let point = || [&[4][..], &bytes("x"), &bytes("y")].concat();
    if header["alg"] != key["alg"] {
        return false;
    }
    let verified = match header["alg"].as_str().unwrap() {
        "RS256" => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        "RS384" => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        "RS512" => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        "PS256" => rsa(&signature::RSA_PSS_2048_8192_SHA256),
        "PS384" => rsa(&signature::RSA_PSS_2048_8192_SHA384),
        "PS512" => rsa(&signature::RSA_PSS_2048_8192_SHA512),
        "ES256" => verify(&signature::ECDSA_P256_SHA256_FIXED, &point()),
        "ES384" => verify(&signature::ECDSA_P384_SHA384_FIXED, &point()),
        "EdDSA" => verify(&signature::ED25519, &bytes("x")),
        other => panic!("{other}"),
    };
    verified.is_ok()
}

#[tokio::test]
async fn rfc9068_s2_the_token_endpoint_issues_jwts_that_introspection_describes_too() {
    let stub = start(StubOptions {
        token_format: TokenFormat::Jwt(SigningAlgorithm::Es256),
        ..StubOptions::default()
    })
    .await;
    let client = stub.client("service-a");
    let resources = "https%3A%2F%2Fb.example&resource=urn%3Ac";
    let grant = format!("grant_type=client_credentials&scope=read+write&resource={resources}");
    let issued = post(&stub, stub.token_url(), &[&basic_of(client)], &grant).await;
    let token = issued.token();
    let (header, claims, ..) = parts(&token);
    let key = &keys(&stub).await[0];
    assert_eq!(
        header,
        json!({"alg": "ES256", "kid": key["kid"], "typ": "at+jwt"})
    );
    assert!(verifies(&token, key));
    assert_eq!(
        names(&claims),
        "aud client_id exp grant_id grant_type iat iss jti scope sub"
    );
    assert_eq!(claims["iss"], stub.issuer());
    assert_eq!(claims["sub"], json!(client.id));
    assert_eq!(claims["client_id"], json!(client.id));
    // RFC 8707 section 2.
    assert_eq!(claims["aud"], json!(["https://b.example", "urn:c"]));
    assert_eq!(claims["scope"], "read write");
    assert_eq!(claims["grant_id"], issued.json()["grant_id"]);
    let seconds = |member: &str| claims[member].as_i64().unwrap();
    assert_eq!(seconds("exp") - seconds("iat"), 7199);

    let mut document = introspect(&stub, &token).await.json();
    let members = document.as_object_mut().unwrap();
    assert_eq!(members.remove("active"), Some(json!(true)));
    assert_eq!(members.remove("token_type"), Some(json!("bearer")));
    assert_eq!(document, claims);
    stub.revoke(&token);
    assert_eq!(introspect(&stub, &token).await.body, INACTIVE);

    let other = stub.issue(TokenSpec::default());
    assert_ne!(parts(&other).1["jti"], claims["jti"]);
    let opaque = stub.issue(TokenSpec::default().opaque());
    assert_eq!(introspect(&stub, &opaque).await.json()["active"], true);
    assert!(serde_json::from_slice::<Value>(&decode(&json!(opaque.split('.').next()))).is_err());
}

#[tokio::test]
async fn every_algorithm_signs_with_a_published_key_of_its_own() {
    let stub = start(StubOptions {
        signing_keys: SigningAlgorithm::ALL.into(),
        ..StubOptions::default()
    })
    .await;
    let keys = keys(&stub).await;
    let algorithms: Vec<_> = keys.iter().map(|key| key["alg"].clone()).collect();
    assert_eq!(
        algorithms,
        SigningAlgorithm::ALL.map(SigningAlgorithm::name)
    );
    for (algorithm, key) in SigningAlgorithm::ALL.into_iter().zip(&keys) {
        let members = match key["kty"].as_str().unwrap() {
            "RSA" => "alg e kid kty n use",
            "EC" => "alg crv kid kty use x y",
            _ => "alg crv kid kty use x",
        };
        assert_eq!(names(key), members, "{algorithm}");
        assert_eq!(key["use"], "sig");
        let token = stub.issue(TokenSpec::default().jwt(algorithm));
        assert!(verifies(&token, key), "{algorithm}");
    }
    assert_eq!(stub.key_set(), json!({"keys": keys}));
}

#[tokio::test]
async fn a_wrong_signature_is_wrong_in_the_way_that_the_test_asks_for() {
    let stub = start(StubOptions::default()).await;
    for algorithm in [SigningAlgorithm::Rs256, SigningAlgorithm::Es256] {
        let spec = TokenSpec::default().jwt(algorithm);
        let good = stub.issue(spec.clone());
        let key = keys(&stub).await.last().unwrap().clone();
        assert!(verifies(&good, &key));
        let length = parts(&good).3.len();
        let bad = |fault| stub.issue(spec.clone().signature_fault(fault));
        let good_header = json!({"alg": algorithm.name(), "kid": key["kid"], "typ": "at+jwt"});
        for fault in [SignatureFault::OtherClaims, SignatureFault::OtherKey] {
            let token = bad(fault);
            let (header, _, _, signature) = parts(&token);
            assert_eq!(header, good_header);
            assert_eq!(signature.len(), length);
            assert!(!verifies(&token, &key), "{fault:?}");
            assert_eq!(introspect(&stub, &token).await.body, INACTIVE);
        }
        let unknown = parts(&bad(SignatureFault::UnknownKey)).0;
        let known = kids(&stub).await;
        assert!(!known.contains(&unknown["kid"].as_str().unwrap().to_owned()));

        let token = bad(SignatureFault::None);
        assert_eq!(parts(&token).0["alg"], "none");
        assert!(token.ends_with('.'));

        for form in PublicKeyForm::ALL {
            let (header, _, input, mac) = parts(&bad(SignatureFault::Hmac(form)));
            assert_eq!(header["alg"], "HS256");
            assert_eq!(header["kid"], key["kid"]);
            let verifies = |secret: &[u8]| {
                let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::verify(&secret, input.as_bytes(), &mac).is_ok()
            };
            assert_eq!(verifies(b""), form == PublicKeyForm::Empty);
            let jwk = key.to_string();
            assert_eq!(verifies(jwk.as_bytes()), form == PublicKeyForm::Jwk);
        }
    }
}

#[tokio::test]
async fn a_test_chooses_the_header_and_the_claims() {
    let stub = start(StubOptions::default()).await;
    let spec = TokenSpec::default().jwt(SigningAlgorithm::EdDsa);
    let chosen = stub.issue(
        spec.clone()
            .header("typ", "JWT")
            .header("crit", json!(["b64"]))
            .without_header("kid")
            .member("nonce", "n")
            .without("client_id"),
    );
    let (header, claims, ..) = parts(&chosen);
    assert_eq!(
        header,
        json!({"alg": "EdDSA", "crit": ["b64"], "typ": "JWT"})
    );
    assert_eq!(claims["nonce"], "n");
    assert_eq!(claims.get("client_id"), None);
    assert!(verifies(&chosen, &keys(&stub).await[0]));

    let twice = r#"{"alg":"none","alg":"EdDSA"}"#;
    let raw = stub.issue(spec.clone().raw_header(twice));
    assert!(raw.starts_with(&URL_SAFE_NO_PAD.encode(twice)));
    assert!(verifies(&raw, &keys(&stub).await[0]));

    let expired = stub.issue(spec.expires_in(-10));
    let claims = parts(&expired).1;
    assert_eq!(
        claims["iat"].as_i64().unwrap() - claims["exp"].as_i64().unwrap(),
        10
    );
    assert_eq!(introspect(&stub, &expired).await.body, INACTIVE);
}

#[tokio::test]
async fn keys_rotate_are_withdrawn_and_come_back() {
    let stub = start(StubOptions {
        signing_keys: vec![SigningAlgorithm::Es256, SigningAlgorithm::EdDsa],
        ..StubOptions::default()
    })
    .await;
    let signs = || {
        let token = stub.issue(TokenSpec::default().jwt(SigningAlgorithm::Es256));
        parts(&token).0["kid"].as_str().unwrap().to_owned()
    };
    let [first, other] = kids(&stub).await.try_into().unwrap();
    assert_eq!(signs(), first);

    let announced = stub.add_key(SigningAlgorithm::Es256);
    assert_eq!(signs(), first);
    let second = stub.rotate_key(SigningAlgorithm::Es256);
    assert_eq!(signs(), second);
    let all = [&first, &other, &announced, &second].map(Clone::clone);
    assert_eq!(kids(&stub).await, all);

    stub.withdraw_old_keys();
    assert_eq!(kids(&stub).await, [other.clone(), second.clone()]);
    stub.publish_key(&first);
    assert_eq!(
        kids(&stub).await,
        [first.clone(), other.clone(), second.clone()]
    );
    stub.withdraw_key(&second);
    assert_eq!(kids(&stub).await, [first, other]);
    assert_eq!(signs(), second);
}

#[tokio::test]
async fn the_key_endpoint_fails_as_scripted_and_its_calls_are_counted() {
    let stub = start(StubOptions {
        signing_keys: vec![SigningAlgorithm::EdDsa],
        ..StubOptions::default()
    })
    .await;
    let html = StubResponse::text(StatusCode::OK, "text/html", "<p>");
    let script = vec![
        html.into(),
        StubResponse::no_keys().into(),
        Reaction::normal(),
    ];
    stub.script_endpoint(Endpoint::Jwks, script);
    let url = &stub.urls(Provider::New).jwks;
    assert_eq!(get(&stub, url).await.body, "<p>");
    assert_eq!(get(&stub, url).await.json(), json!({"keys": []}));
    assert_eq!(get(&stub, url).await.json(), stub.key_set());
    assert_eq!(stub.counters().jwks, 3);
    assert_eq!(stub.counters().discovery, 0);

    stub.publish_also(VerifyStub::unusable_keys());
    let mixed = keys(&stub).await;
    assert_eq!(mixed.len(), VerifyStub::unusable_keys().len() + 1);
    let token = stub.issue(TokenSpec::default().jwt(SigningAlgorithm::EdDsa));
    assert!(verifies(&token, mixed.last().unwrap()));
    stub.publish_also(Vec::new());
    assert_eq!(keys(&stub).await.len(), 1);
}

#[tokio::test]
async fn the_control_endpoint_issues_tokens_and_rotates_keys() {
    let stub = start(StubOptions {
        control: true,
        ..StubOptions::default()
    })
    .await;
    let command = async |name: &str, form: &str| {
        let url = format!("http://{}/_stub/{name}", stub.address());
        let response = post(&stub, &url, &[], form).await;
        (response.status, response.body.trim_end().to_owned())
    };
    let (_, token) = command(
        "issue",
        "format=EdDSA&scope=a+b&client=service-b&audience=x&audience=y&expires_in=9",
    )
    .await;
    let (header, claims, ..) = parts(&token);
    assert_eq!(header["alg"], "EdDSA");
    assert_eq!(claims["scope"], "a b");
    assert_eq!(claims["client_id"], json!(stub.client("service-b").id));
    assert_eq!(claims["aud"], json!(["x", "y"]));
    assert!(verifies(&token, &keys(&stub).await[0]));
    for fault in ["other-claims", "other-key"] {
        let (_, bad) = command("issue", &format!("format=EdDSA&fault={fault}")).await;
        assert!(!verifies(&bad, &keys(&stub).await[0]), "{fault}");
    }

    assert_eq!(
        command("format", "format=ES256").await,
        (200, "format changed".to_owned())
    );
    let grant = "grant_type=client_credentials";
    let client = basic_of(stub.client("service-a"));
    let issued = post(&stub, stub.token_url(), &[&client], grant).await;
    assert_eq!(parts(&issued.token()).0["alg"], "ES256");

    let before = kids(&stub).await;
    let (_, kid) = command("keys", "do=rotate&algorithm=ES256").await;
    assert_eq!(
        kids(&stub).await,
        [&before[..], std::slice::from_ref(&kid)].concat()
    );
    command("keys", "do=withdraw-old").await;
    assert_eq!(kids(&stub).await, [before[0].clone(), kid.clone()]);
    command("keys", &format!("do=withdraw&kid={kid}")).await;
    assert_eq!(kids(&stub).await, [before[0].clone()]);
    command("keys", &format!("do=publish&kid={kid}")).await;
    assert_eq!(kids(&stub).await.len(), 2);
    command("keys", "do=break").await;
    assert_eq!(
        keys(&stub).await.len(),
        2 + VerifyStub::unusable_keys().len()
    );
    command("keys", "do=mend").await;
    assert_eq!(kids(&stub).await.len(), 2);

    for (name, form, text) in [
        (
            "format",
            "format=x",
            "no such format: choose opaque or one of RS256, RS384, RS512, PS256, PS384, PS512, \
             ES256, ES384, EdDSA",
        ),
        (
            "format",
            "to=x",
            "unknown parameter: the only one is format",
        ),
        ("format", "", "set format"),
        (
            "keys",
            "do=rotate",
            "do one of: rotate or add with algorithm, withdraw or publish with kid, \
             withdraw-old, break, mend",
        ),
        ("keys", "do=withdraw&kid=x", "the stub has no key \"x\""),
        ("issue", "client=x", "the stub has no client \"x\""),
        (
            "issue",
            "fault=x",
            "no such fault: choose one of other-claims, other-key, unknown-key, hmac, none",
        ),
    ] {
        assert_eq!(
            command(name, form).await,
            (400, text.to_owned()),
            "{name} {form}"
        );
    }
}
