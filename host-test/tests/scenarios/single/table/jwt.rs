//! Tokens that are verified here, with keys that are given as a setting. How keys are fetched is in
//! `tests/jwt`.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use p256::ecdsa::{Signature as P256Signature, SigningKey as P256Key};
use sha2::{Digest as _, Sha256};

use crate::fixture::with_times;
use crate::single::scenario::{NOW, Scenario, scenario};

const CLAIMS: &str = r#"{"iss":"https://issuer.example","aud":"service-b","exp":{now+3600},"iat":{now-60},"sub":"service-a","client_id":"service-a","scope":"read"}"#;
const HEADER: &str = r#"{"alg":"EdDSA","typ":"at+jwt","kid":"ed"}"#;

static ED25519: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&[1; 32]));
static P256: LazyLock<P256Key> = LazyLock::new(|| P256Key::from_slice(&[1; 32]).unwrap());

/// Both keys, one that only encrypts, and one of a type that is not known.
static JWKS: LazyLock<String> = LazyLock::new(|| {
    let x = encoded(ED25519.verifying_key().as_bytes());
    let point = P256.verifying_key().to_sec1_point(false);
    let (px, py) = (encoded(point.x().unwrap()), encoded(point.y().unwrap()));
    format!(
        r#"{{"keys":[{{"kty":"AKP","kid":"ed","alg":"ML-DSA-44","pub":"AA"}},{{"kty":"OKP","crv":"Ed25519","kid":"enc","use":"enc","x":"{x}"}},{{"kty":"OKP","crv":"Ed25519","kid":"ed","use":"sig","x":"{x}"}},{{"kty":"EC","crv":"P-256","kid":"ec","x":"{px}","y":"{py}"}}]}}"#
    )
});

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn input(header: &str, claims: &str) -> String {
    format!("{}.{}", encoded(header), encoded(with_times(claims, *NOW)))
}

fn ed25519(header: &str, claims: &str) -> String {
    let input = input(header, claims);
    let signature = ED25519.sign(input.as_bytes()).to_bytes();
    format!("{input}.{}", encoded(signature))
}

fn es256(header: &str, claims: &str) -> String {
    let input = input(header, claims);
    let signature: P256Signature = P256.sign(input.as_bytes());
    format!("{input}.{}", encoded(signature.to_bytes()))
}

/// HMAC with a key of up to 64 bytes (RFC 2104 section 2).
fn hs256(key: &[u8], claims: &str) -> String {
    let input = input(r#"{"alg":"HS256","typ":"at+jwt","kid":"ed"}"#, claims);
    let padded = |pad: u8| {
        let mut block = [pad; 64];
        block.iter_mut().zip(key).for_each(|(to, byte)| *to ^= byte);
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36));
    let inner = inner.chain_update(&input).finalize();
    let outer = Sha256::new().chain_update(padded(0x5c));
    format!("{input}.{}", encoded(outer.chain_update(inner).finalize()))
}

fn with_token(name: &'static str, strategy: &str, token: &str) -> Scenario {
    let mut row = scenario(name)
        .with("strategy", strategy)
        .with("jwks", JWKS.as_str())
        .with("expected_issuer", "https://issuer.example")
        .with("expected_aud", "service-b")
        .authorization(format!("Bearer {token}"));
    row.introspections = 0;
    row
}

/// The issuer publishes its metadata where its keys should be.
fn without_keys(name: &'static str, token: &str) -> Scenario {
    let mut row = with_token(name, "auto", token);
    row.settings.retain(|(key, _)| *key != "jwks");
    row.with(
        "jwks_url",
        "{issuer}/oauth2/.well-known/openid-configuration",
    )
}

/// Nothing is at the places where the issuer should have its metadata.
fn without_metadata(name: &'static str, strategy: &str, token: &str) -> Scenario {
    let mut row = with_token(name, strategy, token);
    row.settings
        .retain(|(key, _)| !["jwks", "expected_issuer"].contains(key));
    row.with("introspect_url", "")
        .with("issuer", "{issuer}/nowhere")
}

fn granted(row: Scenario) -> Scenario {
    let identity = [
        ("x-auth-subject", "service-a"),
        ("x-auth-client-id", "service-a"),
        ("x-auth-scope", "read"),
        ("x-auth-issuer", "https://issuer.example"),
    ];
    row.granted(&identity, CLAIMS)
}

pub(crate) fn rows() -> Vec<Scenario> {
    let good = ed25519(HEADER, CLAIMS);
    let revoked = ed25519(HEADER, &CLAIMS.replace("{\"iss", r#"{"jti":"1","iss"#));
    let other_claims = CLAIMS.replace("service-a", "admin");
    let (signed, _) = good.rsplit_once('.').unwrap();
    let (_, signature) = good.rsplit_once('.').unwrap();
    let auto = |name, token: &str| with_token(name, "auto", token);
    let mut rows = vec![
        granted(auto(
            "rfc8037_a_token_signed_with_ed25519_is_verified",
            &good,
        )),
        granted(auto(
            "rfc7518_s3_4_a_token_signed_with_es256_is_verified",
            &es256(r#"{"alg":"ES256","kid":"ec"}"#, CLAIMS),
        )),
        granted(auto(
            "rfc7515_s4_1_4_without_kid_the_only_key_that_fits_counts",
            &ed25519(r#"{"alg":"EdDSA"}"#, CLAIMS),
        )),
        granted(with_token("strategy_jwt_verifies", "jwt", &good)),
        with_token("strategy_jwt_takes_no_opaque_token", "jwt", "opaque-AAAB")
            .refused(401, "not_a_jwt"),
        with_token("strategy_both_takes_no_opaque_token", "both", "opaque-AAAC")
            .refused(401, "not_a_jwt"),
        with_token(
            "strategy_auto_introspects_an_opaque_token",
            "auto",
            "opaque-AAAD",
        )
        .responds(r#"{"active":false}"#)
        .introspections(1)
        .refused(401, "inactive"),
        granted(
            with_token(
                "strategy_both_introspects_what_was_verified",
                "both",
                &es256(r#"{"alg":"ES256"}"#, CLAIMS),
            )
            .responds(r#"{"active":true}"#),
        )
        .introspections(1),
        with_token("strategy_both_ends_a_revoked_token", "both", &revoked)
            .responds(r#"{"active":false}"#)
            .introspections(1)
            .refused(401, "inactive"),
        auto(
            "rfc7515_s5_2_a_signature_over_other_claims_is_refused",
            &format!("{}.{signature}", input(HEADER, &other_claims)),
        )
        .refused(401, "invalid_signature"),
        auto(
            "rfc7515_s5_2_an_empty_signature_is_refused",
            &format!("{signed}."),
        )
        .refused(401, "invalid_signature"),
        auto(
            "j1_rfc8725_s2_1_hmac_with_the_public_key_is_refused",
            &hs256(ED25519.verifying_key().as_bytes(), CLAIMS),
        )
        .refused(401, "algorithm_not_allowed"),
        auto("j1_hmac_with_an_empty_key_is_refused", &hs256(b"", CLAIMS))
            .refused(401, "algorithm_not_allowed"),
        auto(
            "j1_the_key_of_another_algorithm_is_not_tried",
            &ed25519(r#"{"alg":"ES256","kid":"ed"}"#, CLAIMS),
        )
        .refused(401, "unknown_key"),
        auto(
            "j4_a_key_that_only_encrypts_verifies_nothing",
            &ed25519(r#"{"alg":"EdDSA","kid":"enc"}"#, CLAIMS),
        )
        .refused(401, "unknown_key"),
        auto(
            "rfc9068_s2_2_a_token_without_exp_is_refused",
            &ed25519(HEADER, &CLAIMS.replace(r#""exp":{now+3600},"#, "")),
        )
        .refused(401, "malformed_jwt"),
        auto(
            "rfc7519_s4_1_4_an_expired_token_is_refused",
            &ed25519(HEADER, &CLAIMS.replace("{now+3600}", "{now-60}")),
        )
        .refused(401, "expired"),
        auto(
            "j6_a_token_of_another_realm_under_the_same_key_is_refused",
            &ed25519(
                HEADER,
                &CLAIMS.replace("issuer.example", "issuer.example/other"),
            ),
        )
        .refused(401, "wrong_issuer"),
        auto(
            "j6_a_token_for_another_audience_is_refused",
            &ed25519(HEADER, &CLAIMS.replace("service-b", "service-c")),
        )
        .refused(401, "wrong_audience"),
        auto(
            "rfc9068_s2_1_an_id_token_is_refused",
            &ed25519(
                r#"{"alg":"EdDSA","typ":"JWT","kid":"ed"}"#,
                &CLAIMS.replace("{\"iss", r#"{"nonce":"n","iss"#),
            ),
        )
        .refused(401, "wrong_token_type"),
        auto(
            "j10_rfc9701_s8_an_introspection_response_is_no_access_token",
            &ed25519(
                r#"{"alg":"EdDSA","typ":"token-introspection+jwt","kid":"ed"}"#,
                CLAIMS,
            ),
        )
        .refused(401, "wrong_token_type"),
        auto(
            "j9_a_token_bound_to_a_key_needs_a_proof",
            &ed25519(
                HEADER,
                &CLAIMS.replace("{\"iss", r#"{"cnf":{"jkt":"x"},"iss"#),
            ),
        )
        .refused(401, "proof_of_possession_missing"),
        auto(
            "rfc7516_s9_five_segments_are_an_opaque_token",
            &format!("{good}.AA.AA"),
        )
        .responds(r#"{"active":false}"#)
        .introspections(1)
        .refused(401, "inactive"),
        granted(auto("a_second_request_with_a_jwt_is_a_hit", &good).after_requests(2)),
        without_keys("j7_what_is_no_key_set_is_the_issuers_fault", &good)
            .refused(503, "issuer_keys_unusable")
            .logs("issuer_keys_unusable: what jwks_url serves is no JWK set"),
        without_metadata(
            "rfc8414_an_issuer_without_metadata_is_at_fault",
            "auto",
            &good,
        )
        .with("expected_issuer", "https://issuer.example")
        .refused(503, "issuer_metadata_unusable")
        .logs("issuer_metadata_unusable: the issuer has no metadata under .well-known"),
        without_metadata(
            "rfc8414_a_token_of_another_issuer_waits_for_no_metadata",
            "auto",
            &good,
        )
        .refused(401, "wrong_issuer"),
        without_metadata(
            "rfc8414_without_metadata_nobody_is_asked_about_a_token",
            "introspect",
            "opaque-AAAE",
        )
        .refused(503, "issuer_metadata_unusable")
        .logs("issuer_metadata_unusable: the issuer has no metadata under .well-known"),
    ];
    rows.extend(
        [
            ("j2_alg_none", "none", "algorithm_not_allowed"),
            ("j2_alg_None", "None", "algorithm_not_allowed"),
            ("j2_alg_nOnE", "nOnE", "algorithm_not_allowed"),
        ]
        .map(|(name, alg, reason)| {
            let token = format!("{}.", input(&format!(r#"{{"alg":"{alg}"}}"#), CLAIMS));
            auto(name, &token).refused(401, reason)
        }),
    );
    rows.extend(
        [
            ("j4_a_kid_that_is_a_path", "../../x", "unknown_key"),
            ("j4_a_kid_of_sql", "' OR 1=1 --", "unknown_key"),
            ("j4_a_kid_with_nul", r"\u0000ed", "unknown_key"),
            ("j4_an_empty_kid", "", "unknown_key"),
        ]
        .map(|(name, kid, reason)| {
            let header = format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#);
            auto(name, &ed25519(&header, CLAIMS)).refused(401, reason)
        }),
    );
    let kid_of = |bytes: usize| {
        let kid = "k".repeat(bytes);
        ed25519(&format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#), CLAIMS)
    };
    rows.extend([
        auto("j4_a_kid_of_64_kb", &kid_of(64 * 1024)).refused(400, "token_too_long"),
        // Short enough for the token, too long for its header.
        auto("j4_a_kid_of_4_kb", &kid_of(4 * 1024)).refused(401, "malformed_jwt"),
        auto("j4_a_kid_of_1_kb", &kid_of(1024)).refused(401, "unknown_key"),
    ]);
    rows.extend(
        [
            (
                "rfc7515_s4_1_11_crit",
                r#""crit":["exp"]"#,
                "invalid_signature",
            ),
            ("rfc7797_s6_b64", r#""b64":false"#, "invalid_signature"),
            ("rfc8725_s3_10_jwk", r#""jwk":{}"#, "invalid_signature"),
            (
                "rfc8725_s3_10_jku",
                r##""jku":"http://127.0.0.1:1/""##,
                "invalid_signature",
            ),
            ("j4_kid_twice", r#""kid":"ed","kid":"ed""#, "malformed_jwt"),
            ("j4_a_kid_that_is_a_number", r#""kid":1"#, "malformed_jwt"),
            ("j2_alg_twice", r#""alg":"EdDSA""#, "malformed_jwt"),
        ]
        .map(|(name, member, reason)| {
            let header = format!(r#"{{"alg":"EdDSA",{member}}}"#);
            auto(name, &ed25519(&header, CLAIMS)).refused(401, reason)
        }),
    );
    rows
}
