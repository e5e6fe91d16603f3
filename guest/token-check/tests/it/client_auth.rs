//! How the auth check authenticates at the introspection endpoint: assertions (RFC 7523), tokens
//! (RFC 7662 section 2.1), certificates (RFC 8705).

use std::collections::BTreeSet;
use std::time::Duration;

use base64_simd::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use token_check::IssuerCall as _;
use token_check::test_util::{self, Host};
use token_check::{
    AuthCheck, CallFailure, Finished, IntrospectionCall, IssuerResponse, Jws, KeySet,
    NoSignatureHost, Now,
};

use crate::fixture::{Outcome, SECRET, START, UNREACHABLE, active, head, policy, try_policy};

const ENDPOINT: &str = "https://tenant.verify.ibm.com/oauth2/introspect";
const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Key pairs of RFC 6979 appendix A.2.5 and RFC 8037 appendix A.1: the rest of the JWK, and `d`.
const P256: (&str, &str) = (
    r#""kty":"EC","crv":"P-256","x":"YP7UuiVanTHJYet0xjVtaMBJuJI7Yfps5mliLmDyn7Y","y":"eQP-EAi4vJmkGunpVii8ZPLxsgwtfp9Rd6PClNRGIpk""#,
    "ya-p2EW6dRZrXCFXZ7HWk05Qw9s26JsSe4piKxIPZyE",
);
const ED25519: (&str, &str) = (
    r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#,
    "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
);

fn private((public, d): (&str, &str)) -> String {
    format!(r#"{{{public},"d":"{d}"}}"#)
}

/// What a call sent.
struct Sent {
    form: Vec<(String, String)>,
    authorization: Option<String>,
}

impl Sent {
    fn parameter(&self, name: &str) -> Option<&str> {
        let mut values = self.form.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} occurs once");
        value
    }

    fn assertion(&self) -> &str {
        assert_eq!(self.authorization, None);
        assert_eq!(self.parameter("client_secret"), None);
        assert_eq!(self.parameter("client_assertion_type"), Some(TYPE));
        self.parameter("client_assertion").unwrap()
    }

    fn claims(&self) -> Value {
        part(self.assertion(), 1)
    }
}

/// The JSON of a segment.
fn part(jwt: &str, at: usize) -> Value {
    let segment = jwt.split('.').nth(at).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode_to_vec(segment).unwrap()).unwrap()
}

/// An issuer that keeps what it is sent.
struct Recorder {
    responds: Vec<Outcome>,
    now: Now,
    sent: Vec<Sent>,
    log: Vec<String>,
}

impl Host for Recorder {
    fn now(&self) -> Now {
        self.now
    }

    fn introspect(&mut self, call: &IntrospectionCall) -> Result<IssuerResponse, CallFailure> {
        let authorization = call.headers().find(|(name, _)| *name == "authorization");
        self.sent.push(Sent {
            form: form_urlencoded::parse(call.body()).into_owned().collect(),
            authorization: authorization.map(|(_, value)| value.to_owned()),
        });
        match self.responds.len() {
            0 | 1 => self.responds[0].response(),
            _ => self.responds.remove(0).response(),
        }
    }

    fn finished<W>(&mut self, finished: &Finished<W>) {
        self.log
            .extend(finished.event.as_ref().map(ToString::to_string));
    }
}

fn at(seconds: u64) -> Now {
    Now {
        unix: Duration::from_secs(seconds),
        monotonic: Duration::from_secs(5000),
    }
}

/// What is sent for requests with these tokens, one after another, and what is logged.
fn record(
    settings: &[(&str, &str)],
    seed: u8,
    now: Now,
    responds: &[Outcome],
    tokens: &[&str],
) -> Recorder {
    let mut check = AuthCheck::<u32>::new(policy(settings), [seed; 16]);
    let mut recorder = Recorder {
        responds: responds.to_vec(),
        now,
        sent: Vec::new(),
        log: Vec::new(),
    };
    for token in tokens {
        let line = format!("Bearer {token}");
        let _verdict = test_util::drive(&mut check, &head(&[line.as_bytes()], "/"), &mut recorder);
    }
    recorder
}

fn sent(settings: &[(&str, &str)]) -> Sent {
    let mut recorder = record(settings, 7, at(START), &[active("")], &["tok"]);
    assert_eq!(recorder.sent.len(), 1);
    recorder.sent.remove(0)
}

fn with_key(jwk: &str) -> Vec<(&str, &str)> {
    vec![
        ("client_auth", "private_key_jwt"),
        ("client_key", jwk),
        ("resource_client_secret", ""),
    ]
}

#[test]
fn rfc7523_s3_private_key_jwt_sends_an_assertion_that_the_public_key_verifies() {
    for (pair, algorithm, kid) in [
        (P256, "ES256", None),
        (P256, "ES256", Some("key \"1\"")),
        (ED25519, "EdDSA", None),
        (ED25519, "EdDSA", Some("2026-11")),
    ] {
        let mut jwk: Value = serde_json::from_str(&private(pair)).unwrap();
        let mut header = json!({"alg": algorithm, "typ": "JWT"});
        if let Some(kid) = kid {
            jwk["kid"] = kid.into();
            header["kid"] = kid.into();
        }
        let sent = sent(&with_key(&jwk.to_string()));
        let names: Vec<_> = sent.form.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "token",
                "token_type_hint",
                "client_id",
                "client_assertion_type",
                "client_assertion",
            ]
        );
        assert_eq!(sent.parameter("client_id"), Some("service-b"));
        assert_eq!(part(sent.assertion(), 0), header);
        let mut claims = sent.claims();
        let id = claims["jti"].take();
        // 128 bits.
        assert_eq!(id.as_str().unwrap().len(), 22);
        assert_eq!(
            claims,
            json!({
                "iss": "service-b", "sub": "service-b", "aud": ENDPOINT, "jti": null,
                "iat": START, "exp": START + 60,
            })
        );
        let published = format!(r#"{{"keys":[{{{}}}]}}"#, pair.0);
        let keys = KeySet::parse(published.as_bytes()).unwrap();
        let jws = Jws::parse(sent.assertion()).unwrap().unwrap();
        let mut keys = keys.keys();
        assert!(keys.next().unwrap().verify(&jws, &NoSignatureHost));
    }
}

#[test]
fn rfc7523_s3_client_secret_jwt_signs_with_the_secret_by_hs256() {
    let sent = sent(&[
        ("client_auth", "client_secret_jwt"),
        ("resource_client_id", "service b"),
    ]);
    assert_eq!(sent.parameter("client_id"), Some("service b"));
    assert_eq!(sent.claims()["sub"], "service b");
    let assertion = sent.assertion();
    assert_eq!(part(assertion, 0), json!({"alg": "HS256", "typ": "JWT"}));
    let (input, signature) = assertion.rsplit_once('.').unwrap();
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    let signature = URL_SAFE_NO_PAD.decode_to_vec(signature).unwrap();
    assert!(mac.chain_update(input).verify_slice(&signature).is_ok());
}

#[test]
fn rfc7523_s3_the_audience_is_the_setting_else_the_issuer_else_the_endpoint_as_configured() {
    let issuer = ("expected_issuer", "https://tenant.verify.ibm.com/oauth2");
    let url = ("introspect_url", "https://tenant.verify.ibm.com");
    let audience = ("assertion_audience", "urn:issuer \"1\"");
    for (settings, expected) in [
        (&[][..], ENDPOINT),
        (&[url], "https://tenant.verify.ibm.com"),
        (&[url, issuer], "https://tenant.verify.ibm.com/oauth2"),
        (&[url, issuer, audience], "urn:issuer \"1\""),
        (&[audience], "urn:issuer \"1\""),
    ] {
        let auth = [("client_auth", "client_secret_jwt")];
        let sent = sent(&[&auth, settings].concat());
        assert_eq!(sent.claims()["aud"], expected);
    }
}

#[test]
fn rfc7523_s3_an_assertion_follows_the_clock_of_the_host() {
    for now in [0, 1, START, START + 1, 253_402_300_799] {
        let auth = [("client_auth", "client_secret_jwt")];
        let recorder = record(&auth, 7, at(now), &[active("")], &["tok"]);
        let claims = recorder.sent[0].claims();
        assert_eq!(
            (&claims["iat"], &claims["exp"]),
            (&json!(now), &json!(now + 60))
        );
    }
}

#[test]
fn rfc7519_s4_1_7_no_jti_comes_twice_from_any_instance_nor_for_a_retry() {
    let auth = [("client_auth", "client_secret_jwt")];
    let mut ids = BTreeSet::new();
    let mut count = 0;
    // The same seed again later: the random bytes of the host repeat.
    for (seed, now) in [(7, START), (8, START), (7, START + 1)] {
        // The first call fails, and is made again.
        let responds = [UNREACHABLE, active("")];
        let recorder = record(&auth, seed, at(now), &responds, &["a", "b", "c", "a"]);
        assert_eq!(recorder.sent.len(), 5);
        let (first, retry) = (&recorder.sent[0], &recorder.sent[1]);
        assert_eq!(first.parameter("token"), retry.parameter("token"));
        count += recorder.sent.len();
        for sent in &recorder.sent {
            ids.insert(sent.claims()["jti"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(ids.len(), count);
}

#[test]
fn rfc7662_s2_1_bearer_sends_the_token_and_nothing_else() {
    let sent = sent(&[
        ("client_auth", "bearer"),
        ("introspect_token", "abc.DEF-1_~+/=="),
        ("resource_client_secret", ""),
    ]);
    assert_eq!(
        sent.authorization.as_deref(),
        Some("Bearer abc.DEF-1_~+/==")
    );
    let form = [("token", "tok"), ("token_type_hint", "access_token")];
    assert_eq!(sent.form, form.map(|(k, v)| (k.to_owned(), v.to_owned())));
}

#[test]
fn rfc8705_s2_tls_client_auth_says_whose_certificate_the_host_presents() {
    for secret in ["", "s3cr3t"] {
        let sent = sent(&[
            ("client_auth", "tls_client_auth"),
            ("resource_client_id", "service b&c"),
            ("resource_client_secret", secret),
        ]);
        assert_eq!(sent.authorization, None);
        let form = [
            ("token", "tok"),
            ("token_type_hint", "access_token"),
            ("client_id", "service b&c"),
        ];
        assert_eq!(sent.form, form.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }
}

#[test]
fn the_probe_of_the_circuit_breaker_authenticates_like_any_call() {
    let jwk = private(P256);
    let secret_jwt = [("client_auth", "client_secret_jwt")];
    let bearer = [("client_auth", "bearer"), ("introspect_token", "t0k3n")];
    for auth in [&with_key(&jwk)[..], &secret_jwt, &bearer] {
        let settings = [auth, &[("breaker_faults", "1")]].concat();
        let responds = [Outcome::status(503, None), active("")];
        let recorder = record(&settings, 7, at(START), &responds, &["a", "b"]);
        let tokens: Vec<_> = recorder
            .sent
            .iter()
            .map(|sent| sent.parameter("token").unwrap())
            .collect();
        assert_eq!(tokens, ["a", "trust-triangle-probe", "b"]);
        let mut ids = BTreeSet::new();
        for sent in &recorder.sent {
            match &sent.authorization {
                Some(header) => assert_eq!(header, "Bearer t0k3n"),
                None => _ = ids.insert(sent.claims()["jti"].to_string()),
            }
        }
        assert!([0, 3].contains(&ids.len()), "{ids:?}");
    }
}

#[test]
fn rfc6749_s5_2_a_rejected_client_is_told_what_to_check() {
    let jwk = private(ED25519);
    let rows: [(Vec<(&str, &str)>, &str); 4] = [
        (
            with_key(&jwk),
            "resource_client_id, client_key and its registration at the issuer, assertion_audience and the clock of this machine",
        ),
        (
            vec![("client_auth", "client_secret_jwt")],
            "resource_client_id, resource_client_secret, assertion_audience and the clock of this machine",
        ),
        (
            vec![("client_auth", "bearer"), ("introspect_token", "t0k3n")],
            "introspect_token, which may have expired, and client_auth",
        ),
        (
            vec![("client_auth", "tls_client_auth")],
            "resource_client_id and the client certificate that this host presents to the issuer",
        ),
    ];
    for (settings, check) in rows {
        let refused = [Outcome::status(401, None)];
        let recorder = record(&settings, 7, at(START), &refused, &["tok"]);
        let line = format!(
            "issuer_rejected_client: the issuer responded with HTTP status 401: check {check}"
        );
        assert_eq!(recorder.log, [line]);
    }
}

fn error(settings: &[(&str, &str)]) -> String {
    try_policy(settings).unwrap_err().to_string()
}

#[test]
fn a_setting_that_client_auth_needs_or_does_not_use_is_an_error_at_start() {
    let jwk = private(P256);
    let public = format!("{{{}}}", P256.0);
    let key = "setting `client_key` (WORKOUT18_CLIENT_KEY) ";
    let token = "setting `introspect_token` (WORKOUT18_INTROSPECT_TOKEN) ";
    let rsa = include_str!("../../src/jose/test_keys/rsa.json");
    let symmetric = r#"{"kty":"oct","k":"AQAB"}"#;
    let auth = |word| ("client_auth", word);
    let rows: &[(&[(&str, &str)], String)] = &[
        (
            &[auth("private_key_jwt")],
            format!("{key}is missing or empty: set it"),
        ),
        (
            &[auth("private_key_jwt"), ("client_key", rsa)],
            format!(
                "{key}is an RSA key, with which only Envoy can sign: use a key of type EC (P-256) or OKP (Ed25519)"
            ),
        ),
        (
            &[auth("private_key_jwt"), ("client_key", symmetric)],
            format!(
                "{key}must be a key of one of these types: EC with `crv` P-256, which signs by ES256, OKP with `crv` Ed25519, by EdDSA, or, in Envoy, RSA, by RS256"
            ),
        ),
        (
            &[auth("private_key_jwt"), ("client_key", &public)],
            format!("{key}is a public key: the member `d` is missing"),
        ),
        (
            &[auth("private_key_jwt"), ("client_key", "service-b.pem")],
            format!(
                "{key}is not a private key as a JWK (RFC 7517): one JSON object with `kty`, `crv`, `d`, `x`, and `y` for EC; or, for RSA, with all numbers of a key of two primes"
            ),
        ),
        (
            &[auth("client_secret_jwt"), ("client_key", &jwk)],
            format!("{key}needs `client_auth` = `private_key_jwt`"),
        ),
        (
            &[("client_key", &jwk)],
            format!("{key}needs `client_auth` = `private_key_jwt`"),
        ),
        (&[auth("bearer")], format!("{token}is missing or empty: set it")),
        (
            &[auth("bearer"), ("introspect_token", "Bearer abc")],
            format!(
                "{token}is not an access token (RFC 6750 section 2.1): letters, digits and `-._~+/!`, then `=`"
            ),
        ),
        (
            &[("introspect_token", "abc")],
            format!("{token}needs `client_auth` = `bearer`"),
        ),
        (
            &[auth("client_secret_jwt"), ("resource_client_secret", "")],
            "setting `resource_client_secret` (WORKOUT18_RESOURCE_CLIENT_SECRET) is missing or empty: set it".to_owned(),
        ),
    ];
    for (settings, expected) in rows {
        assert_eq!(&error(settings), expected, "{settings:?}");
    }
    // In JSON white space has no meaning, and files end in a line feed.
    let pretty = format!("\u{20}{}\n", jwk.replace(',', ",\r\n\t"));
    assert!(try_policy(&with_key(&pretty)).is_ok());
}

#[test]
fn no_secret_of_client_auth_is_printed() {
    let jwk = private(ED25519);
    let bearer = [("client_auth", "bearer"), ("introspect_token", "t0k3n")];
    let secret_jwt = [("client_auth", "client_secret_jwt")];
    for settings in [&with_key(&jwk)[..], &bearer, &secret_jwt] {
        let check = AuthCheck::<u32>::new(policy(settings), [7; 16]);
        let printed = format!("{:?}", check.policy());
        for secret in [ED25519.1, "t0k3n", SECRET] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
    let wrong = jwk.replace("\"OKP\"", "\"EC\"");
    assert!(!error(&with_key(&wrong)).contains(ED25519.1));
    let debug = format!("{:?}", try_policy(&with_key(&wrong)).unwrap_err());
    assert!(!debug.contains(ED25519.1), "{debug}");
}
