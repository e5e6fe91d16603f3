//! Tokens that are bound to a client certificate (RFC 8705 section 3) or to a key (RFC 9449).

use serde_json::json;
use verify_stub::{DpopKey, DpopProof, SigningAlgorithm};

use crate::single::scenario::{Scenario, scenario};

/// The certificate of RFC 8705 appendix A, its thumbprint, and that in hexadecimal.
const CERTIFICATE: &str = ":MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=:";
const BOUND: &str =
    r#"{"active":true,"cnf":{"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"}}"#;
const HEX: &str = "0380ed2f626650c840b2f263e6d2b29fae12ab39ae5db32b25ad27efad72e6fd";

/// Not `x-forwarded-client-cert`, which the shipped Envoy removes.
const HEADER: &str = "x-certificate-sha256";

pub(crate) fn rows() -> Vec<Scenario> {
    let with = |name, header: &str| {
        scenario(name)
            .with("certificate_binding", "header")
            .with("certificate_header", header)
            .responds(BOUND)
    };
    let mut rows = vec![
        with("rfc8705_s3_the_certificate_that_the_token_is_bound_to", HEADER)
            .header(HEADER, HEX)
            .granted(&[], BOUND),
        with("rfc9440_s2_2_the_certificate_itself", "Client-Cert")
            .header("client-cert", CERTIFICATE)
            .granted(&[], BOUND),
        with("j9_no_certificate", HEADER).refused(401, "client_certificate_missing"),
        with("j9_another_certificate", HEADER)
            .header(HEADER, HEX.replace("0380", "0381"))
            .refused(401, "client_certificate_mismatch"),
        with("j9_two_headers_with_a_certificate", HEADER)
            .header(HEADER, HEX)
            .header(HEADER, HEX)
            .refused(401, "client_certificate_missing"),
        with("j9_a_certificate_in_another_header", HEADER)
            .header("client-cert", CERTIFICATE)
            .refused(401, "client_certificate_missing"),
        scenario("j9_a_header_that_nobody_chose")
            .header(HEADER, HEX)
            .responds(BOUND)
            .refused(401, "proof_of_possession_missing"),
        with("j9_a_certificate_does_not_make_up_for_a_proof", HEADER)
            .header(HEADER, HEX)
            .responds(r#"{"active":true,"cnf":{"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0","jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}"#)
            .refused(401, "proof_of_possession_missing"),
        scenario("j9_a_forged_header_while_the_connection_counts")
            .with("certificate_binding", "connection")
            .with("certificate_header", HEADER)
            .header(HEADER, HEX)
            .responds(BOUND)
            .refused(401, "client_certificate_missing"),
    ];
    rows.extend(dpop());
    rows
}

/// The URL of every request, as callers know it.
const URL: &str = "https://service-b.test/data";

/// A request with a proof by the key that its token is bound to, after this change.
fn proved(name: &'static str, change: impl FnOnce(DpopProof<'_>) -> DpopProof<'_>) -> Scenario {
    proved_by(SigningAlgorithm::Es256, name, change)
}

fn proved_by(
    algorithm: SigningAlgorithm,
    name: &'static str,
    change: impl FnOnce(DpopProof<'_>) -> DpopProof<'_>,
) -> Scenario {
    proved_with(&DpopKey::generate(algorithm), name, change)
}

fn proved_with(
    key: &DpopKey,
    name: &'static str,
    change: impl FnOnce(DpopProof<'_>) -> DpopProof<'_>,
) -> Scenario {
    let scenario = accepting(name);
    let proof = change(key.proof("GET", URL).token(&scenario.token())).sign();
    let document = bound_to(key);
    scenario
        .authorization("DPoP {token}")
        .header("dpop", proof)
        .responds(&document)
        .granted(&[], &document)
}

fn accepting(name: &'static str) -> Scenario {
    scenario(name)
        .with("dpop", "accept")
        .with("public_origin", "https://service-b.test")
        // The table is made before the hosts start.
        .with("dpop_window", "300")
}

fn bound_to(key: &DpopKey) -> String {
    let thumbprint = key.thumbprint();
    format!(r#"{{"active":true,"token_type":"DPoP","cnf":{{"jkt":"{thumbprint}"}}}}"#)
}

fn dpop() -> Vec<Scenario> {
    let invalid = |name, change: fn(DpopProof<'_>) -> DpopProof<'_>| {
        proved(name, change).refused_without_introspection(401, "dpop_proof_invalid")
    };
    let key = DpopKey::generate(SigningAlgorithm::Es256);
    let good = |name| key.proof("GET", URL).token(&accepting(name).token()).sign();
    let other_key = "j8_a_proof_by_another_key";
    let two_headers = "j8_two_proofs";
    vec![
        proved("rfc9449_s7_1_a_proof_by_es256", |proof| proof),
        proved_by(
            SigningAlgorithm::EdDsa,
            "rfc9449_s7_1_a_proof_by_eddsa",
            |proof| proof,
        ),
        proved_by(
            SigningAlgorithm::Ps256,
            "rfc9449_s7_1_a_proof_by_ps256",
            |proof| proof,
        ),
        proved("rfc9449_s4_3_a_query_changes_nothing", |proof| proof).target("/data?a=b"),
        proved("rfc9449_s4_3_an_equal_url", |proof| {
            proof.claim("htu", "HTTPS://Service-B.test:443/data?a#b")
        }),
        proved("rfc9449_s11_1_a_second_use_of_a_proof", |proof| proof)
            .with("cache_ttl", "60")
            .after_requests(1)
            .refused(401, "dpop_proof_replayed"),
        proved("rfc9449_s9_a_nonce_is_needed", |proof| proof)
            .with("dpop_nonce", "true")
            .refused_without_introspection(401, "dpop_nonce_needed"),
        proved("rfc9449_s9_a_nonce_that_nobody_gave", |proof| {
            proof.claim("nonce", "AAAAAAAAAAAAAAAAAAAAAA")
        })
        .with("dpop_nonce", "true")
        .refused_without_introspection(401, "dpop_nonce_needed"),
        proved("rfc9449_s7_2_a_bound_token_as_a_bearer_token", |proof| {
            proof
        })
        .authorization("Bearer {token}")
        .refused(401, "proof_of_possession_missing"),
        accepting("rfc9449_s7_1_no_proof")
            .authorization("DPoP {token}")
            .refused_without_introspection(401, "proof_of_possession_missing"),
        accepting("rfc9449_s7_1_no_credentials_get_two_challenges")
            .no_authorization()
            .refused_without_introspection(401, "no_credentials"),
        accepting("rfc9449_s7_2_a_bearer_token_beside_dpop"),
        accepting("rfc9449_with_require_a_bearer_token")
            .with("dpop", "require")
            .refused_without_introspection(401, "proof_of_possession_missing"),
        proved("rfc9449_s7_1_a_token_that_is_not_bound", |proof| proof)
            .responds(r#"{"active":true}"#)
            .refused(401, "dpop_key_mismatch"),
        accepting(other_key)
            .authorization("DPoP {token}")
            .header("dpop", good(other_key))
            .responds(&bound_to(&DpopKey::generate(SigningAlgorithm::Es256)))
            .refused(401, "dpop_key_mismatch"),
        accepting(two_headers)
            .authorization("DPoP {token}")
            .header("dpop", good(two_headers))
            .header("DPoP", good(two_headers))
            .refused_without_introspection(401, "dpop_proof_invalid"),
        proved("rfc9449_proofs_need_the_origin_of_the_service", |proof| {
            proof
        })
        .with("public_origin", "")
        .refused_without_introspection(503, "misconfigured"),
        invalid("j8_a_private_key", |proof| {
            proof.key_member("d", "A".repeat(43))
        }),
        proved_with(
            &DpopKey::generate_rsa_1024(),
            "j8_a_key_of_rsa_1024",
            |proof| proof,
        )
        .refused_without_introspection(401, "dpop_proof_invalid"),
        invalid("j8_no_key", |proof| proof.header("jwk", json!(null))),
        invalid("j8_a_key_somewhere_else", |proof| {
            proof.header("jku", "http://127.0.0.1/")
        }),
        invalid("j8_no_algorithm", |proof| proof.header("alg", "none")),
        invalid("j8_hmac", |proof| proof.header("alg", "HS256")),
        invalid("j8_another_type", |proof| proof.header("typ", "at+jwt")),
        invalid("j8_another_method", |proof| proof.claim("htm", "POST")),
        invalid("j8_a_method_in_lower_case", |proof| {
            proof.claim("htm", "get")
        }),
        invalid("j8_another_host", |proof| {
            proof.claim("htu", "https://service-c.test/data")
        }),
        invalid("j8_another_scheme", |proof| {
            proof.claim("htu", "http://service-b.test/data")
        }),
        invalid("j8_another_port", |proof| {
            proof.claim("htu", "https://service-b.test:8443/data")
        }),
        invalid("j8_another_path", |proof| {
            proof.claim("htu", "https://service-b.test/Data")
        }),
        invalid("j8_a_path_with_a_slash_at_its_end", |proof| {
            proof.claim("htu", "https://service-b.test/data/")
        }),
        invalid("j8_another_token", |proof| proof.token("other")),
        invalid("j8_no_token", |proof| proof.claim("ath", json!(null))),
        invalid("j8_an_old_proof", |proof| proof.claim("iat", 1_562_262_616)),
        invalid("j8_a_proof_of_the_future", |proof| {
            proof.claim("iat", 4_102_444_800_u64)
        }),
        invalid("j8_a_proof_without_a_time", |proof| {
            proof.claim("iat", json!(null))
        }),
        invalid("j8_a_proof_without_an_id", |proof| {
            proof.claim("jti", json!(null))
        }),
        proved("j8_a_proof_that_is_none", |proof| proof)
            .authorization("DPoP {token}")
            .header("dpop", "eyJ0eXAiOiJkcG9wK2p3dCJ9.e30.AA")
            .refused_without_introspection(401, "dpop_proof_invalid"),
    ]
}
