//! Assertions in place of the secret (RFC 7523), checked by a stub of the issuer.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use rsa::{
    pkcs8::{EncodePrivateKey as _, LineEnding},
    traits::PublicKeyParts as _,
};
use serde_json::{Value, json};
use tokio::process::Command;
use verify_stub::{Endpoint, RecordedRequest, StubClient, StubOptions, VerifyStub};
use wiremock::{Request, ResponseTemplate};

use crate::fixture::{Finished, TOKEN, TemporaryFile, World, bare, json_body, run, token_response};

const NO_KEY: &str = "WORKOUT18_CLIENT_SECRET (--secret-file, --secret-stdin) holds no private key: it must be a JWK (RFC 7517), or PEM with a line `-----BEGIN PRIVATE KEY-----`";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The text of a private key and its public JWK.
struct Key {
    private: String,
    public: Value,
}

/// In PEM, as OpenSSL writes it.
fn pem(kind: &'static rcgen::SignatureAlgorithm) -> Key {
    let key = KeyPair::generate_for(kind).unwrap();
    Key {
        private: key.serialize_pem(),
        public: public(&key),
    }
}

fn public(key: &KeyPair) -> Value {
    match key.public_key_raw() {
        [4, point @ ..] => {
            let (x, y) = point.split_at(point.len() / 2);
            json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})
        }
        x => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(x)}),
    }
}

/// As a JWK, with a `kid`.
fn jwk(kind: &'static rcgen::SignatureAlgorithm) -> Key {
    let key = KeyPair::generate_for(kind).unwrap();
    let der = key.serialize_der();
    // The private key is the only octet string of 32 bytes (RFC 5958 section 2, RFC 5915, RFC 8410).
    let at = der.windows(2).position(|two| two == [4, 32]).unwrap() + 2;
    let mut private = public(&key);
    private["d"] = encode(&der[at..at + 32]).into();
    private["kid"] = "key 1".into();
    Key {
        private: private.to_string(),
        public: public(&key),
    }
}

fn rsa() -> Key {
    let key = rsa::PrivateKey::new(&mut rand::rng(), 2048).unwrap();
    let (n, e) = (encode(key.n_bytes()), encode(key.e_bytes()));
    Key {
        private: key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string(),
        public: json!({"kty": "RSA", "n": n, "e": e}),
    }
}

/// An issuer that knows the client by this key, if there is one, and by its secret.
async fn issuer(key: Option<&Key>) -> VerifyStub {
    let client = StubClient::new("service-a");
    let client = match key {
        Some(key) => client.with_key(key.public.clone()),
        None => client,
    };
    VerifyStub::start(StubOptions {
        clients: vec![client],
        ..StubOptions::default()
    })
    .await
    .unwrap()
}

fn service_a(issuer: &VerifyStub, style: &str, secret: &str, arguments: &[&str]) -> Command {
    let mut command = bare(&[&["--token-only", "--client-auth", style], arguments].concat());
    command
        .env("WORKOUT18_ISSUER", issuer.issuer())
        .env("WORKOUT18_CLIENT_ID", &issuer.client("service-a").id)
        .env("WORKOUT18_CLIENT_SECRET", secret);
    command
}

fn token_requests(issuer: &VerifyStub) -> Vec<RecordedRequest> {
    let mut requests = issuer.requests();
    requests.retain(|request| request.endpoint == Endpoint::Token);
    requests
}

/// Header and claims of the assertion in a request.
fn assertion(request: &RecordedRequest) -> (Value, Value) {
    let parts = request.parameter("client_assertion").unwrap().split('.');
    let parts: Vec<_> = parts
        .take(2)
        .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
        .collect();
    let [header, claims] = parts.try_into().unwrap();
    (header, claims)
}

#[tokio::test]
async fn private_key_jwt_works_with_each_kind_of_key_in_each_form() {
    for (key, header) in [
        (
            pem(&PKCS_ECDSA_P256_SHA256),
            json!({"alg": "ES256", "typ": "JWT"}),
        ),
        (pem(&PKCS_ED25519), json!({"alg": "EdDSA", "typ": "JWT"})),
        (rsa(), json!({"alg": "RS256", "typ": "JWT"})),
        (
            jwk(&PKCS_ECDSA_P256_SHA256),
            json!({"alg": "ES256", "kid": "key 1", "typ": "JWT"}),
        ),
        (
            jwk(&PKCS_ED25519),
            json!({"alg": "EdDSA", "kid": "key 1", "typ": "JWT"}),
        ),
    ] {
        let issuer = issuer(Some(&key)).await;
        let file = TemporaryFile::new("client-key", &key.private);
        let mut from_file = service_a(
            &issuer,
            "private_key_jwt",
            "",
            &["--secret-file", file.path()],
        );
        from_file.env_remove("WORKOUT18_CLIENT_SECRET");
        let from_variable = service_a(&issuer, "private_key_jwt", &key.private, &[]);
        for command in [from_file, from_variable] {
            let finished = run(command).await;
            assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
        }
        let [one, other] = token_requests(&issuer).try_into().unwrap();
        for request in [&one, &other] {
            assert!(!request.headers.contains_key("authorization"));
            assert_eq!(request.parameter("client_secret"), None);
            let (found, claims) = assertion(request);
            assert_eq!(found, header);
            assert_eq!(claims["aud"], issuer.issuer());
            let seconds = |name: &str| claims[name].as_u64().unwrap();
            assert_eq!(seconds("exp") - seconds("iat"), 60);
        }
        assert_ne!(assertion(&one).1["jti"], assertion(&other).1["jti"]);
    }
}

#[tokio::test]
async fn client_secret_jwt_sends_no_secret() {
    let issuer = issuer(None).await;
    let secret = issuer.client("service-a").secret.clone();
    let finished = run(service_a(
        &issuer,
        "client_secret_jwt",
        &secret,
        &["--verbose"],
    ))
    .await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let [request] = token_requests(&issuer).try_into().unwrap();
    assert_eq!(assertion(&request).0, json!({"alg": "HS256", "typ": "JWT"}));
    let body = String::from_utf8(request.body.to_vec()).unwrap();
    assert!(!body.contains(&secret));
    let signature = request.parameter("client_assertion").unwrap();
    let shown = signature.rsplit('.').next().unwrap();
    finished.holds_none_of(&[&secret]);
    assert!(!finished.stderr.contains(shown), "{}", finished.stderr);
}

#[tokio::test]
async fn the_audience_is_the_issuer_or_the_token_url_or_the_setting() {
    let issuer = issuer(None).await;
    let secret = issuer.client("service-a").secret.clone();
    let url = issuer.token_url().to_owned();
    let other = issuer.introspect_url().to_owned();
    let run_with = async |arguments: &[&str]| {
        let command = service_a(&issuer, "client_secret_jwt", &secret, arguments);
        assert_eq!(run(command).await.code, Some(0), "{arguments:?}");
        assertion(token_requests(&issuer).last().unwrap()).1["aud"].clone()
    };
    assert_eq!(run_with(&[]).await, json!(issuer.issuer()));
    assert_eq!(run_with(&["--token-url", &url]).await, json!(url));
    assert_eq!(
        run_with(&["--assertion-audience", &other]).await,
        json!(other)
    );
}

#[tokio::test]
async fn a_rejected_key_is_explained_and_not_tried_again() {
    let (old, new) = (pem(&PKCS_ED25519), pem(&PKCS_ED25519));
    let issuer = issuer(Some(&new)).await;
    let finished = run(service_a(&issuer, "private_key_jwt", &old.private, &[])).await;
    assert_eq!(finished.code, Some(4));
    let next = "\n  next: Check that the issuer has the public key of this private key for WORKOUT18_CLIENT_ID, and this machine's clock; if the issuer expects another audience, set WORKOUT18_ASSERTION_AUDIENCE (--assertion-audience), often to its token endpoint.\n";
    assert!(finished.stderr.contains(next), "{}", finished.stderr);
    assert_eq!(token_requests(&issuer).len(), 1);
}

#[tokio::test]
async fn a_key_that_was_rotated_is_read_again_from_its_file() {
    let (old, new) = (pem(&PKCS_ED25519), pem(&PKCS_ECDSA_P256_SHA256));
    let file = TemporaryFile::new("rotated-key", &old.private);
    let path = file.path().to_owned();
    let rotate = move |request: &Request| -> ResponseTemplate {
        let mut parameters = form_urlencoded::parse(&request.body);
        let sent = parameters.find(|(name, _)| name == "client_assertion");
        let sent = sent.unwrap().1.into_owned();
        if sent.starts_with(&encode(r#"{"alg":"ES256","#)) {
            return token_response(TOKEN);
        }
        std::fs::write(&path, &new.private).unwrap();
        json_body(401, json!({"error": "invalid_client"}))
    };
    let world = World::with_token_response(rotate).await;
    let arguments = ["--token-only", "--client-auth", "private_key_jwt"];
    let file = ["--secret-file", file.path()];
    let finished = run(world.service_a(&[&arguments[..], &file].concat())).await;
    assert_eq!(finished, Finished::ok(format!("{TOKEN}\n")));
    assert_eq!(world.token_requests().await.len(), 2);
}

#[tokio::test]
async fn what_is_no_key_is_refused_without_being_shown() {
    let world = World::empty().await;
    for (text, problem) in [
        ("s3cret-and-long-enough", NO_KEY.to_owned()),
        (
            r#"{"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQ"}"#,
            NO_KEY.split(" holds").next().unwrap().to_owned()
                + " holds a JWK that is no private key, is incomplete, or is not a valid key",
        ),
    ] {
        let mut command = world.service_a(&["--client-auth", "private_key_jwt"]);
        command.env("WORKOUT18_CLIENT_SECRET", text);
        let finished = run(command).await;
        assert_eq!(finished, Finished::wrong_settings(&[&problem]));
        finished.holds_none_of(&[text]);
    }
    // P-521 and others are unknown; P-384 is not.
    let mut command = world.service_a(&["--client-auth", "private_key_jwt"]);
    command.env(
        "WORKOUT18_CLIENT_SECRET",
        pem(&PKCS_ECDSA_P384_SHA384).private,
    );
    assert_eq!(run(command).await.code, Some(4));
}

#[tokio::test]
async fn an_assertion_that_the_issuer_sends_back_is_not_shown() {
    let echo = |request: &Request| -> ResponseTemplate {
        let mut parameters = form_urlencoded::parse(&request.body);
        let sent = parameters.find(|(name, _)| name == "client_assertion");
        let text = sent.unwrap().1.into_owned();
        json_body(
            401,
            json!({"error": "invalid_client", "error_description": text}),
        )
    };
    let world = World::with_token_response(echo).await;
    for arguments in [["--json"], ["--verbose"]] {
        let arguments = [&["--client-auth", "client_secret_jwt"], &arguments[..]].concat();
        let finished = run(world.service_a(&arguments)).await;
        assert_eq!(finished.code, Some(4));
        // The first bytes of the header of every JWT that begins with `alg`.
        finished.holds_none_of(&["eyJhbGciOi"]);
        let shown = [finished.stdout, finished.stderr].concat();
        assert!(shown.contains("[redacted]"), "{shown}");
    }
}

#[tokio::test]
async fn without_a_credential_only_the_client_id_is_sent() {
    let world = World::working().await;
    let mut command = world.service_a(&["--token-only", "--client-auth", "none"]);
    command.env_remove("WORKOUT18_CLIENT_SECRET");
    assert_eq!(run(command).await.code, Some(0));
    let request = world.token_requests().await.remove(0);
    assert!(!request.headers.contains_key("authorization"));
    assert_eq!(
        String::from_utf8(request.body).unwrap(),
        "grant_type=client_credentials&client_id=service-a-client"
    );
}
