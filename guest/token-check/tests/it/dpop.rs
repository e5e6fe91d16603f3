//! Tokens that are bound to a key, and the proofs of it (DPoP, RFC 9449).

use std::time::Duration;

use base64_simd::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use token_check::test_util::{self, Host};
use token_check::{
    Algorithm, AuthCheck, CacheStatus, CallFailure, Decision, IntrospectionCall, IssuerResponse,
    Now, Problem, Reason, RequestHead, Response, SignatureHost, Step, Verdict,
};

use crate::fixture::{
    Clock, FakeHost, Instance, Issuer, START, active, head, leads, reason, try_policy,
};

const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const URL: &str = "https://b.example/data";

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode_to_string(bytes)
}

/// A key of a caller.
struct Key(SigningKey);

impl Key {
    fn new(number: u8) -> Self {
        Self(SigningKey::from_bytes(&[number; 32]))
    }

    fn jwk(&self) -> Value {
        let x = encoded(self.0.verifying_key().as_bytes());
        json!({"kty": "OKP", "crv": "Ed25519", "x": x})
    }

    /// RFC 8037 appendix A.3.
    fn thumbprint(&self) -> String {
        let x = encoded(self.0.verifying_key().as_bytes());
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        encoded(Sha256::digest(members))
    }

    fn header(&self) -> Value {
        json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": self.jwk()})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    fn sign_text(&self, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", encoded(header), encoded(claims));
        let signature = self.0.sign(input.as_bytes()).to_bytes();
        format!("{input}.{}", encoded(signature))
    }

    /// A good proof for `GET /data` with [`TOKEN`] at the start.
    fn proof(&self, id: &str) -> String {
        self.sign(&self.header(), &claims(id))
    }
}

fn claims(id: &str) -> Value {
    json!({
        "jti": id, "htm": "GET", "htu": URL, "iat": START, "ath": encoded(Sha256::digest(TOKEN)),
    })
}

/// The value with this member; null removes it.
fn with(mut object: Value, name: &str, value: Value) -> Value {
    let members = object.as_object_mut().unwrap();
    match value {
        Value::Null => members.remove(name),
        value => members.insert(name.to_owned(), value),
    };
    object
}

/// A service that accepts proofs, and an issuer that says this about every token.
fn service(settings: &[(&str, &str)], members: &str) -> Instance {
    let base = [
        ("dpop", "accept"),
        ("public_origin", "https://b.example"),
        ("cache_ttl", "60"),
    ];
    let issuer = Issuer::new(active(members));
    Instance::new(&[&base, settings].concat(), &issuer, &Clock::new())
}

fn bound_to(key: &Key) -> String {
    let thumbprint = key.thumbprint();
    format!(r#","token_type":"DPoP","cnf":{{"jkt":"{thumbprint}"}}"#)
}

fn send(
    instance: &mut Instance,
    scheme: &str,
    proofs: &[&str],
    client_certificate: &[&[u8]],
) -> Verdict {
    let line = format!("{scheme} {TOKEN}");
    let lines = [line.as_bytes()];
    let proofs: Vec<_> = proofs.iter().map(|proof| proof.as_bytes()).collect();
    let request = RequestHead {
        dpop: &proofs,
        client_certificate,
        ..head(&lines, "/data")
    };
    let step = instance.check.begin(&request, Clock::new().now());
    instance.finish(step)
}

/// The reason of a refusal.
fn get(instance: &mut Instance, scheme: &str, proofs: &[&str]) -> Option<Reason> {
    reason(&send(instance, scheme, proofs, &[]).decision)
}

fn response(instance: &mut Instance, scheme: &str, proofs: &[&str]) -> Response {
    let verdict = send(instance, scheme, proofs, &[]);
    verdict.into_result(instance.check.policy()).unwrap_err()
}

fn header<'a>(response: &'a Response, wanted: &str) -> Option<&'a str> {
    let mut headers = response.headers.iter();
    let header = headers.find(|(name, _)| *name == wanted);
    header.map(|(_, value)| value.as_str())
}

/// A host whose clock stands still.
struct At<'a>(&'a mut FakeHost, Now);

impl Host for At<'_> {
    fn now(&self) -> Now {
        self.1
    }

    fn introspect(&mut self, call: &IntrospectionCall) -> Result<IssuerResponse, CallFailure> {
        self.0.introspect(call)
    }
}

/// The request of section 7.1, whose token is bound as in section 6.1, and the response of section
/// 6.2 about it.
#[test]
fn rfc9449_s7_1_the_example_is_granted() {
    let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let members = r#","sub":"someone@example.com","iss":"https://server.example.com","nbf":1562262611,"exp":1562266216,"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#;
    let made = 1_562_262_618;
    let granted = |path: &str, method: &[u8], seconds: u64| {
        let settings = [("public_origin", "https://resource.example.org")];
        let mut service = service(&settings, members);
        let line = format!("DPoP {TOKEN}");
        let lines = [line.as_bytes()];
        let request = RequestHead {
            method,
            dpop: &[proof.as_bytes()],
            ..head(&lines, path)
        };
        let now = Now {
            unix: Duration::from_secs(seconds),
            monotonic: Duration::from_secs(1),
        };
        let mut host = At(&mut service.host, now);
        let verdict = test_util::drive(&mut service.check, &request, &mut host);
        reason(&verdict.decision)
    };
    assert_eq!(granted("/protectedresource", b"GET", made), None);
    assert_eq!(granted("/protectedresource?a=b", b"GET", made + 60), None);
    for (path, method, seconds) in [
        ("/protectedresource", b"GET".as_slice(), made + 61),
        ("/protectedresource", b"GET", made - 6),
        ("/protectedresource", b"POST", made),
        ("/protectedresource/", b"GET", made),
    ] {
        let invalid = Some(Reason::DpopProofInvalid);
        assert_eq!(granted(path, method, seconds), invalid, "{path}");
    }
}

#[test]
fn rfc9449_s4_3_each_check_refuses_a_proof_before_anybody_is_asked() {
    let key = Key::new(1);
    let (header, good) = (key.header(), claims("a"));
    let signed = |header: Value| key.sign(&header, &good);
    let claimed = |name: &str, value: Value| key.sign(&header, &with(claims("a"), name, value));
    let mut private = key.jwk();
    private["d"] = json!(encoded([1; 32]));
    let other_signature = format!(
        "{}.{}",
        key.proof("a").rsplit_once('.').unwrap().0,
        Key::new(2).proof("a").rsplit_once('.').unwrap().1
    );
    let rsa_1024 = json!({"kty": "RSA", "e": "AQAB", "n": encoded([0xff; 128])});
    let rows = [
        // 2
        ("malformed", "abc".to_owned()),
        ("malformed", String::new()),
        ("malformed", format!("{}.a", key.proof("a"))),
        (
            "malformed",
            format!("{},{}", key.proof("a"), key.proof("b")),
        ),
        (
            "malformed",
            key.sign_text(
                &header
                    .to_string()
                    .replace("\"alg\"", "\"typ\":\"dpop+jwt\",\"alg\""),
                &good.to_string(),
            ),
        ),
        (
            "malformed",
            signed(with(header.clone(), "crit", json!(["b64"]))),
        ),
        (
            "malformed",
            signed(with(header.clone(), "jku", json!("https://evil.test"))),
        ),
        ("over 4 KiB", claimed("more", json!("a".repeat(4096)))),
        // 3
        ("lacks", claimed("jti", Value::Null)),
        ("lacks", claimed("jti", json!(""))),
        ("lacks", claimed("jti", json!(1))),
        ("lacks", claimed("htm", Value::Null)),
        ("lacks", claimed("htu", Value::Null)),
        ("lacks", claimed("iat", Value::Null)),
        ("lacks", claimed("iat", json!("1800000000"))),
        ("lacks", claimed("ath", Value::Null)),
        ("lacks", claimed("nonce", json!(1))),
        ("lacks", key.sign_text(&header.to_string(), "[]")),
        (
            "lacks",
            key.sign_text(
                &header.to_string(),
                &good.to_string().replace("\"jti\"", "\"jti\":\"b\",\"jti\""),
            ),
        ),
        // 4
        (
            "malformed",
            signed(with(header.clone(), "typ", json!("JWT"))),
        ),
        (
            "malformed",
            signed(with(header.clone(), "typ", Value::Null)),
        ),
        // 5
        (
            "another alg",
            signed(with(header.clone(), "alg", json!("none"))),
        ),
        (
            "another alg",
            signed(with(header.clone(), "alg", json!("HS256"))),
        ),
        (
            "another alg",
            signed(with(header.clone(), "alg", json!("RS256"))),
        ),
        (
            "another alg",
            signed(with(header.clone(), "alg", json!("ES384"))),
        ),
        (
            "malformed",
            signed(with(header.clone(), "alg", Value::Null)),
        ),
        // 6
        ("not signed", other_signature),
        // 7
        ("jwk", signed(with(header.clone(), "jwk", private))),
        ("jwk", signed(with(header.clone(), "jwk", Value::Null))),
        ("jwk", signed(with(header.clone(), "jwk", json!("a")))),
        (
            "jwk",
            signed(with(
                with(header.clone(), "jwk", rsa_1024),
                "alg",
                json!("PS256"),
            )),
        ),
        ("jwk", signed(with(header.clone(), "alg", json!("ES256")))),
        (
            "jwk",
            signed(with(
                header.clone(),
                "jwk",
                with(key.jwk(), "use", json!("enc")),
            )),
        ),
        // 8
        ("htm", claimed("htm", json!("POST"))),
        ("htm", claimed("htm", json!("get"))),
        // 9
        ("htu", claimed("htu", json!("https://b.example/data/"))),
        ("htu", claimed("htu", json!("http://b.example/data"))),
        (
            "htu",
            claimed("htu", json!("https://service-b.example/data")),
        ),
        // 11
        ("iat", claimed("iat", json!(START - 61))),
        ("iat", claimed("iat", json!(START + 6))),
        ("iat", claimed("iat", json!(0))),
        ("iat", claimed("iat", json!(1e300))),
        // 12
        (
            "ath",
            claimed("ath", json!(encoded(Sha256::digest("other")))),
        ),
        (
            "ath",
            claimed("ath", json!(format!("{}=", good["ath"].as_str().unwrap()))),
        ),
    ];
    for (said, proof) in rows {
        let mut service = service(&[], &bound_to(&key));
        let verdict = send(&mut service, "DPoP", &[&proof], &[]);
        assert_eq!(
            reason(&verdict.decision),
            Some(Reason::DpopProofInvalid),
            "{said}: {proof}"
        );
        assert_eq!(verdict.cache, None);
        let line = service.host.log.concat();
        let said = match said {
            "malformed" => "no JWT with typ dpop+jwt",
            said => said,
        };
        assert!(
            line.starts_with("dpop_proof_invalid: ") && line.contains(said),
            "{said}: {line}"
        );
        // With a good one, the same request is granted.
        assert_eq!(get(&mut service, "DPoP", &[&key.proof("a")]), None);
    }
}

#[test]
fn rfc9449_s4_3_what_may_differ_in_a_good_proof() {
    let key = Key::new(1);
    let header = key.header();
    let claimed = |name: &str, value: Value| key.sign(&header, &with(claims("a"), name, value));
    for proof in [
        key.proof("a"),
        format!(" {}\t", key.proof("a")),
        claimed("htu", json!("HTTPS://B.example:443/data?a=b#c")),
        claimed("iat", json!(START - 60)),
        claimed("iat", json!(START + 5)),
        claimed("iat", json!(f64::from(1_800_000_000) + 0.5)),
        claimed("nonce", json!("that nobody asked for")),
        claimed("more", json!({"a": [1]})),
        key.sign(
            &with(header.clone(), "typ", json!("application/DPoP+JWT")),
            &claims("a"),
        ),
        key.sign(&with(header.clone(), "alg", json!("Ed25519")), &claims("a")),
        key.sign(&with(header.clone(), "kid", json!("a")), &claims("a")),
    ] {
        let mut service = service(&[], &bound_to(&key));
        assert_eq!(get(&mut service, "DPoP", &[&proof]), None, "{proof}");
    }
}

#[test]
fn j8_a_token_and_a_proof_go_together_whether_or_not_the_token_is_cached() {
    use Reason::{DpopKeyMismatch, ProofOfPossessionMissing, WrongTokenType};
    let (key, other) = (Key::new(1), Key::new(2));
    let (mine, yours) = (key.proof("a"), other.proof("a"));
    let bound = bound_to(&key);
    let both = format!(
        r#","cnf":{{"jkt":"{0}","x5t#S256":"{0}"}}"#,
        key.thumbprint()
    );
    let certificate = format!(r#","cnf":{{"x5t#S256":"{}"}}"#, key.thumbprint());
    let rows: [(&str, &str, &[&str], Option<Reason>); 11] = [
        (&bound, "DPoP", &[&mine], None),
        (&bound, "dpop", &[&mine], None),
        (&bound, "DPoP", &[&yours], Some(DpopKeyMismatch)),
        (&bound, "DPoP", &[], Some(ProofOfPossessionMissing)),
        (&bound, "Bearer", &[&mine], Some(ProofOfPossessionMissing)),
        (&bound, "Bearer", &[], Some(ProofOfPossessionMissing)),
        ("", "DPoP", &[&mine], Some(DpopKeyMismatch)),
        ("", "Bearer", &[&mine], None),
        (&certificate, "DPoP", &[&mine], Some(DpopKeyMismatch)),
        (&both, "DPoP", &[&mine], Some(ProofOfPossessionMissing)),
        (
            r#","token_type":"DPoP""#,
            "DPoP",
            &[&mine],
            Some(WrongTokenType),
        ),
    ];
    for (members, scheme, proofs, expected) in rows {
        let mut service = service(&[], members);
        assert_eq!(
            get(&mut service, scheme, proofs),
            expected,
            "{members} {scheme}"
        );
        // Without a proof nobody was asked.
        if scheme == "Bearer" || !proofs.is_empty() {
            let next = [key.proof("b"), other.proof("b")];
            let proofs: Vec<_> = (proofs.iter())
                .map(|proof| if *proof == mine { &*next[0] } else { &*next[1] })
                .collect();
            let verdict = send(&mut service, scheme, &proofs, &[]);
            assert_eq!(verdict.cache, Some(CacheStatus::Hit), "{members} {scheme}");
            assert_eq!(reason(&verdict.decision), expected, "{members} {scheme}");
        }
    }
}

#[test]
fn j9_a_token_bound_to_a_key_and_a_certificate_needs_both() {
    let key = Key::new(1);
    // The certificate's digest is as good as any other.
    let members = format!(
        r#","cnf":{{"jkt":"{0}","x5t#S256":"{0}"}}"#,
        key.thumbprint()
    );
    let digest = URL_SAFE_NO_PAD.decode_to_vec(key.thumbprint()).unwrap();
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut service = service(&[("certificate_binding", "connection")], &members);
    let mut get = |id: &str, scheme: &str, certificate: &[&[u8]]| {
        let proof = key.proof(id);
        let verdict = send(&mut service, scheme, &[&proof], certificate);
        reason(&verdict.decision)
    };
    let digest = digest.as_bytes();
    assert_eq!(get("a", "DPoP", &[digest]), None);
    assert_eq!(
        get("b", "DPoP", &[]),
        Some(Reason::ClientCertificateMissing)
    );
    assert_eq!(
        get("c", "Bearer", &[digest]),
        Some(Reason::ProofOfPossessionMissing)
    );
}

#[test]
fn rfc9449_s11_1_a_proof_is_good_for_one_grant() {
    let key = Key::new(1);
    let mut service = service(&[], &bound_to(&key));
    let (a, b) = (key.proof("a"), key.proof("b"));
    assert_eq!(get(&mut service, "DPoP", &[&a]), None);
    for _ in 0..2 {
        let replayed = Some(Reason::DpopProofReplayed);
        assert_eq!(get(&mut service, "DPoP", &[&a]), replayed);
    }
    assert_eq!(get(&mut service, "DPoP", &[&b]), None);
    // Signed again with the same `jti`.
    let again = key.sign(&key.header(), &with(claims("a"), "more", json!(1)));
    assert_eq!(
        get(&mut service, "DPoP", &[&again]),
        Some(Reason::DpopProofReplayed)
    );
}

/// Both wait for the same call, so each finds the proof unused when it begins.
#[test]
fn j8_two_requests_at_once_with_one_proof_get_one_grant() {
    let key = Key::new(1);
    let mut service = service(&[], &bound_to(&key));
    let proof = key.proof("a");
    let line = format!("DPoP {TOKEN}");
    let lines = [line.as_bytes()];
    let request = RequestHead {
        dpop: &[proof.as_bytes()],
        ..head(&lines, "/data")
    };
    let now = Clock::new().now();
    let (leader, action) = leads(service.check.begin(&request, now));
    let Step::Join(follower) = service.check.begin(&request, now) else {
        panic!("the same token");
    };
    let ticket = service.run_to_call(action);
    let _ = service.respond(ticket);
    assert_eq!(reason(&service.resume(follower).decision), None);
    let replayed = Some(Reason::DpopProofReplayed);
    assert_eq!(reason(&service.resume(leader).decision), replayed);
}

#[test]
fn j8_a_refusal_uses_up_no_proof() {
    let key = Key::new(1);
    let mut service = service(
        &[(
            "rules",
            r#"[{"path":{"exact":"/data"},"methods":["GET"],"scopes":{"all":["a"]}}]"#,
        )],
        &bound_to(&key),
    );
    for _ in 0..2 {
        let refused = Some(Reason::InsufficientScope);
        assert_eq!(get(&mut service, "DPoP", &[&key.proof("a")]), refused);
    }
}

#[test]
fn rfc9449_s4_3_two_headers_are_refused() {
    let key = Key::new(1);
    let mut service = service(&[], &bound_to(&key));
    let (a, b) = (key.proof("a"), key.proof("b"));
    for proofs in [[&*a, &*b], [&*a, &*a], [&*a, ""]] {
        assert_eq!(
            get(&mut service, "DPoP", &proofs),
            Some(Reason::DpopProofInvalid)
        );
    }
}

#[test]
fn rfc9449_s7_1_challenges_name_the_schemes_that_are_accepted() {
    let key = Key::new(1);
    let dpop = r#"DPoP realm="service-b", algs="ES256 PS256 EdDSA""#;
    let bearer = r#"Bearer realm="service-b""#;
    let error = |scheme: &str, error: &str, reason: Reason| {
        let algorithms = match scheme {
            "DPoP" => r#", algs="ES256 PS256 EdDSA""#,
            _ => "",
        };
        format!(
            r#"{scheme} realm="service-b", error="{error}", error_description="{}"{algorithms}"#,
            reason.description()
        )
    };
    let missing = Reason::ProofOfPossessionMissing;
    let invalid = error("DPoP", "invalid_dpop_proof", Reason::DpopProofInvalid);
    let rows = [
        ("accept", "Basic", None, format!("{bearer}, {dpop}")),
        ("require", "Basic", None, dpop.to_owned()),
        ("accept", "DPoP", Some("bad"), invalid.clone()),
        ("require", "DPoP", Some("bad"), invalid),
        (
            "accept",
            "DPoP",
            None,
            error("DPoP", "invalid_token", missing),
        ),
        (
            "require",
            "Bearer",
            None,
            error("DPoP", "invalid_token", missing),
        ),
        (
            "accept",
            "Bearer",
            None,
            format!("{}, {dpop}", error("Bearer", "invalid_token", missing)),
        ),
        (
            "accept",
            "DPoP",
            Some("other"),
            error("DPoP", "invalid_token", Reason::DpopKeyMismatch),
        ),
    ];
    for (setting, scheme, proof, challenge) in rows {
        let mut service = service(&[("dpop", setting)], &bound_to(&key));
        let proof = match proof {
            Some("other") => Some(Key::new(2).proof("a")),
            proof => proof.map(str::to_owned),
        };
        let proofs: Vec<_> = proof.iter().map(String::as_str).collect();
        let response = response(&mut service, scheme, &proofs);
        assert_eq!(response.status, 401);
        assert_eq!(
            header(&response, "www-authenticate"),
            Some(&*challenge),
            "{setting} {scheme}"
        );
        assert_eq!(header(&response, "dpop-nonce"), None);
    }
}

/// A token that is not bound is refused before the issuer is asked.
#[test]
fn rfc9449_with_require_no_bearer_token_is_accepted() {
    let mut service = service(&[("dpop", "require")], "");
    let verdict = send(&mut service, "Bearer", &[], &[]);
    assert_eq!(verdict.cache, None);
    let missing = Some(Reason::ProofOfPossessionMissing);
    assert_eq!(reason(&verdict.decision), missing);
    let line = "proof_of_possession_missing: a request has no DPoP proof";
    assert_eq!(service.host.log, [line]);
}

#[test]
fn rfc9449_s9_a_proof_needs_a_nonce_that_was_given_lately() {
    let key = Key::new(1);
    let settings = [("dpop_nonce", "true")];
    let bound = bound_to(&key);
    let mut service = service(&settings, &bound);
    let response = response(&mut service, "DPoP", &[&key.proof("a")]);
    let description = Reason::DpopNonceNeeded.description();
    assert_eq!(
        header(&response, "www-authenticate"),
        Some(&*format!(
            r#"DPoP realm="service-b", error="use_dpop_nonce", error_description="{description}", algs="ES256 PS256 EdDSA""#
        ))
    );
    assert!(response.body.contains(r#""error":"use_dpop_nonce""#));
    let nonce = header(&response, "dpop-nonce").unwrap().to_owned();
    assert_eq!(nonce.len(), 22);
    assert!(service.host.log.is_empty(), "every caller begins so");

    let made = |id: &str, nonce: &str, seconds: u64| {
        let claims = with(claims(id), "nonce", json!(nonce));
        key.sign(&key.header(), &with(claims, "iat", json!(START + seconds)))
    };
    assert_eq!(get(&mut service, "DPoP", &[&made("a", &nonce, 0)]), None);
    let shorter = nonce.strip_prefix(|_| true).unwrap();
    let other = if nonce.starts_with('-') { '_' } else { '-' };
    for bad in [
        &format!("{other}{shorter}"),
        "",
        shorter,
        &format!("{nonce}="),
    ] {
        let needed = Some(Reason::DpopNonceNeeded);
        assert_eq!(
            get(&mut service, "DPoP", &[&made("b", bad, 0)]),
            needed,
            "{bad}"
        );
    }

    // It is good in this period and in the next, in every instance of the same policy.
    let line = format!("DPoP {TOKEN}");
    let lines = [line.as_bytes()];
    for (seconds, expected) in [
        (59, None),
        (60, None),
        (119, None),
        (120, Some(Reason::DpopNonceNeeded)),
    ] {
        let issuer = Issuer::new(active(&bound));
        let settings = [
            ("dpop", "accept"),
            ("public_origin", "https://b.example"),
            ("dpop_nonce", "true"),
        ];
        let clock = Clock::new();
        clock.advance(Duration::from_secs(seconds));
        let mut other = Instance::new(&settings, &issuer, &clock);
        let proof = made("a", &nonce, seconds);
        let request = RequestHead {
            dpop: &[proof.as_bytes()],
            ..head(&lines, "/data")
        };
        let step = other.check.begin(&request, clock.now());
        assert_eq!(reason(&other.finish(step).decision), expected, "{seconds}");
    }
}

#[test]
fn without_the_setting_dpop_is_another_scheme_and_no_token_is_accepted_with_it() {
    let key = Key::new(1);
    for (members, scheme, expected) in [
        (bound_to(&key), "DPoP", Reason::UnsupportedScheme),
        (bound_to(&key), "Bearer", Reason::WrongTokenType),
        (
            bound_to(&key).replace(r#""token_type":"DPoP","#, ""),
            "Bearer",
            Reason::ProofOfPossessionMissing,
        ),
    ] {
        let mut service = service(&[("dpop", "off")], &members);
        let refused = get(&mut service, scheme, &[&key.proof("a")]);
        assert_eq!(refused, Some(expected));
    }
}

/// Envoy verifies ES256, and nobody but the host is asked then.
#[test]
fn the_host_verifies_the_signature_of_a_proof_if_it_can() {
    struct Says(Option<bool>);
    impl SignatureHost for Says {
        fn verify(&self, algorithm: Algorithm, _: &[u8], message: &[u8], _: &[u8]) -> Option<bool> {
            assert_eq!(algorithm, Algorithm::EdDsa);
            assert!(message.starts_with(b"ey"));
            self.0
        }
    }
    let key = Key::new(1);
    for (says, expected) in [
        (Some(true), None),
        (None, None),
        (Some(false), Some(Reason::DpopProofInvalid)),
    ] {
        let mut service = service(&[], &bound_to(&key));
        let policy =
            crate::fixture::policy(&[("dpop", "accept"), ("public_origin", "https://b.example")]);
        service.check = AuthCheck::new(policy, [7; 16]).verifying_with(Box::new(Says(says)));
        assert_eq!(get(&mut service, "DPoP", &[&key.proof("a")]), expected);
    }
}

#[test]
fn rfc9728_s2_the_metadata_say_what_is_accepted() {
    let members = |settings: &[(&str, &str)]| {
        let resource = [("resource_identifier", "https://b.example")];
        let settings = [&resource, settings].concat();
        let mut check = AuthCheck::<u32>::new(crate::fixture::policy(&settings), [0; 16]);
        let path = "/.well-known/oauth-protected-resource";
        match check.begin(&head(&[], path), Clock::new().now()) {
            Step::Done(Verdict {
                decision: Decision::Answered(response),
                ..
            }) => {
                let base =
                    r#"{"resource":"https://b.example","bearer_methods_supported":["header"]"#;
                let rest = response.body.strip_prefix(base).unwrap();
                rest.strip_suffix('}').unwrap().to_owned()
            }
            other => panic!("{other:?}"),
        }
    };
    let origin = ("public_origin", "https://b.example");
    let algorithms = r#","dpop_signing_alg_values_supported":["ES256","PS256","EdDSA"]"#;
    assert_eq!(members(&[origin]), "");
    assert_eq!(members(&[("dpop", "accept"), origin]), algorithms);
    assert_eq!(
        members(&[("dpop", "require"), origin]),
        format!(r#"{algorithms},"dpop_bound_access_tokens_required":true"#)
    );
    assert_eq!(
        members(&[("certificate_binding", "connection")]),
        r#","tls_client_certificate_bound_access_tokens":true"#
    );
}

#[test]
fn f2_proofs_need_an_origin_and_nonces_a_secret() {
    let origin = ("public_origin", "https://b.example");
    let problem = |settings: &[_]| {
        let error = try_policy(settings).unwrap_err();
        (error.key, error.problem)
    };
    let of = |key: &str, problem| (key.to_owned(), problem);
    for dpop in ["accept", "require"] {
        let missing = of("public_origin", Problem::Missing);
        assert_eq!(problem(&[("dpop", dpop)]), missing);
        assert!(try_policy(&[("dpop", dpop), origin]).is_ok());
    }
    for (value, expected) in [
        ("https://b.example/", None),
        ("http://127.0.0.1:9000", None),
        ("http://b.example", Some(Problem::PlainHttp)),
        ("https://b.example/data", Some(Problem::NotAnOrigin)),
        ("https://b.example/?a", Some(Problem::NotAnOrigin)),
        ("https://a@b.example", Some(Problem::UrlWithExtras)),
        ("b.example", Some(Problem::NotAnHttpUrl)),
    ] {
        let policy = try_policy(&[("dpop", "accept"), ("public_origin", value)]);
        let problem = policy.err().map(|error| error.problem);
        assert_eq!(problem, expected, "{value}");
    }
    let nonces = [
        ("dpop", "accept"),
        origin,
        ("dpop_nonce", "true"),
        ("client_auth", "none"),
        ("resource_client_secret", ""),
    ];
    assert_eq!(problem(&nonces), of("dpop_nonce", Problem::NeedsKeys));
    let key = ("cache_key", "0123456789abcdef0123456789abcdef");
    assert!(try_policy(&[&nonces[..], &[key]].concat()).is_ok());
}

#[test]
fn j8_a_proof_that_got_too_old_while_its_request_waited_is_not_good_again() {
    let key = Key::new(1);
    // Each request waits for the issuer.
    let mut service = service(&[("cache_ttl", "0")], &bound_to(&key));
    let proof = key.proof("a");
    let line = format!("DPoP {TOKEN}");
    let lines = [line.as_bytes()];
    let begin = |service: &mut Instance| {
        let request = RequestHead {
            dpop: &[proof.as_bytes()],
            ..head(&lines, "/data")
        };
        let now = service.host.now();
        service.check.begin(&request, now)
    };
    service.host.sleep(Duration::from_millis(59_000));
    let step = begin(&mut service);
    assert_eq!(reason(&service.finish(step).decision), None);
    // In its last second.
    service.host.sleep(Duration::from_millis(1950));
    let (leader, action) = leads(begin(&mut service));
    let Step::Join(follower) = begin(&mut service) else {
        panic!("it joins");
    };
    let ticket = service.run_to_call(action);
    service.host.sleep(Duration::from_millis(100));
    let _ = service.respond(ticket);
    for request in [leader, follower] {
        let decision = service.resume(request).decision;
        assert_eq!(reason(&decision), Some(Reason::DpopProofReplayed));
    }
}

#[test]
fn rfc9449_s7_1_the_challenge_for_a_jwt_has_the_scheme_of_its_request() {
    use crate::jwt_fixture as jwt;
    let key = Key::new(1);
    let issued = jwt::Key::new("one", 1);
    for (token, expected) in [
        (jwt::Key::new("one", 2).token(&[]), Reason::InvalidSignature),
        (jwt::Key::new("two", 2).token(&[]), Reason::UnknownKey),
        (issued.token(&[("iss", "\"else\"")]), Reason::WrongIssuer),
        ("opaque".to_owned(), Reason::NotAJwt),
    ] {
        let issuer = Issuer::new(active(""));
        issuer.publishes(jwt::set(&[&issued]));
        let settings = [
            ("jwks_url", "https://issuer.example/jwks"),
            ("expected_issuer", jwt::ISSUER),
            ("expected_aud", "service-b"),
            ("strategy", "jwt"),
            ("dpop", "accept"),
            ("public_origin", "https://b.example"),
        ];
        let mut instance = Instance::new(&settings, &issuer, &Clock::new());
        let hash = json!(encoded(Sha256::digest(&token)));
        let proof = key.sign(&key.header(), &with(claims("a"), "ath", hash));
        let line = format!("DPoP {token}");
        let lines = [line.as_bytes()];
        let request = RequestHead {
            dpop: &[proof.as_bytes()],
            ..head(&lines, "/data")
        };
        let verdict = test_util::drive(&mut instance.check, &request, &mut instance.host);
        assert_eq!(reason(&verdict.decision), Some(expected));
        let response = verdict.into_result(instance.check.policy()).unwrap_err();
        let challenge = header(&response, "www-authenticate").unwrap();
        assert!(challenge.starts_with("DPoP "), "{challenge}");
        assert!(
            challenge.contains(r#"error="invalid_token""#),
            "{challenge}"
        );
    }
}
