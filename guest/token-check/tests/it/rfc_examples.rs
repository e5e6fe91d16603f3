//! The examples that RFC 7515, RFC 7520 and RFC 9701 publish and that are not accepted: HMAC, curves
//! that are not built, other serializations, and other kinds of token. `jose` has those that verify.

use base64_simd::URL_SAFE_NO_PAD;
use token_check::{Jws, JwsProblem, KeySet, KeySetProblem, NoSignatureHost, Typ, Unusable};

/// RFC 7515 appendix A.1.1.
const HS256_KEY: &str = r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
const HS256_TOKEN: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// RFC 7520 section 4.
const PAYLOAD: &str = "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4";

/// RFC 7520 sections 3.1, 3.3 and 3.5.
const EC_KEY: &str = r#"{"kty":"EC","kid":"bilbo.baggins@hobbiton.example","use":"sig","crv":"P-521","x":"AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt","y":"AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1"}"#;
const RSA_KEY: &str = r#"{"kty":"RSA","kid":"bilbo.baggins@hobbiton.example","use":"sig","n":"n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw","e":"AQAB"}"#;
const HMAC_KEY: &str = r#"{"kty":"oct","kid":"018c0ae5-4d9b-471b-bfd6-eef314bc7037","use":"sig","alg":"HS256","k":"hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg"}"#;

/// RFC 7520 sections 4.3 and 4.4.
const ES512_HEADER: &str =
    "eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9";
const ES512_SIGNATURE: &str = "AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2";
const HMAC_HEADER: &str =
    "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9";
const HMAC_SIGNATURE: &str = "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0";

fn set(keys: &[&str]) -> Result<KeySet, KeySetProblem> {
    KeySet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes())
}

/// A JWT by its shape, whose algorithm nobody knows and no key verifies.
fn is_refused(token: &str, keys: &KeySet) {
    let jws = Jws::parse(token).unwrap().ok().unwrap();
    assert_eq!(jws.algorithm(), None, "{token}");
    assert!(keys.find(&jws).is_none(), "{token}");
    let verifies = |key: &token_check::Key| key.verify(&jws, &NoSignatureHost);
    assert!(!keys.keys().any(verifies), "{token}");
}

#[test]
fn rfc7515_a_1_hs256_is_refused_with_its_key_in_the_set() {
    assert_eq!(set(&[HS256_KEY]).err(), Some(KeySetProblem::NoUsableKey));
    let keys = set(&[HS256_KEY, RSA_KEY]).unwrap();
    assert_eq!(keys.left_out().collect::<Vec<_>>(), [Unusable::Type]);
    is_refused(HS256_TOKEN, &keys);
    assert_eq!(
        Jws::parse(HS256_TOKEN).unwrap().ok().unwrap().typ(),
        Typ::Jwt
    );
}

#[test]
fn rfc7515_a_6_and_a_7_json_serializations_are_opaque() {
    // The payload and the second signature of appendix A.6.4, and appendix A.7.7.
    let (payload, signature) = (
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );
    let header = r#""protected":"eyJhbGciOiJFUzI1NiJ9","header":{"kid":"e9bc097a-ce51-4036-9562-d2ade882db0d"}"#;
    for token in [
        format!(
            r#"{{"payload":"{payload}","signatures":[{{{header},"signature":"{signature}"}}]}}"#
        ),
        format!(r#"{{"payload":"{payload}",{header},"signature":"{signature}"}}"#),
    ] {
        assert!(Jws::parse(&token).is_none(), "{token}");
    }
}

#[test]
fn rfc7520_s3_of_the_keys_only_rsa_is_used() {
    let keys = set(&[EC_KEY, RSA_KEY, HMAC_KEY]).unwrap();
    assert_eq!(keys.keys().count(), 1);
    let left_out: Vec<_> = keys.left_out().collect();
    assert_eq!(left_out, [Unusable::Type, Unusable::Type]);
    // Section 3.4 has the private key of section 3.3: one of its private members is enough.
    let d = r#""d":"bWUC9B-EFRIo8kpGfh0ZuyGPvMNKvYWNtB_ikiH9k20eT-O1q_I78eiZkpXxXQ0UTEs2LsNRS-8uJbvQ-A1irkwMSMkK1J3XTGgdrhCku9gRldY7sNA_AKZGh-Q661_42rINLRCe8W-nZ34ui_qOfkLnK9QWDDqpaIsA-bMwWWSDFu2MUBYwkHTMEzLYGqOe04noqeq1hExBTHBOBdkMXiuFhUq1BU6l-DqEiWxqg82sXt2h-LMnT3046AOYJoRioz75tSUQfGCshWTBnP5uDjd18kKhyv07lhfSJdrPdM5Plyl21hsFf4L_mHCuoFau7gdsPfHPxxjVOcOpBrQzwQ""#;
    let private = RSA_KEY.replace(r#""e":"#, &format!(r#"{d},"e":"#));
    let keys = set(&[&private, RSA_KEY]).unwrap();
    assert_eq!(keys.left_out().collect::<Vec<_>>(), [Unusable::Private]);
}

#[test]
fn rfc7520_s4_3_es512_s4_4_hs256_and_s4_5_detached_content_are_refused() {
    let keys = set(&[EC_KEY, RSA_KEY, HMAC_KEY]).unwrap();
    for token in [
        format!("{ES512_HEADER}.{PAYLOAD}.{ES512_SIGNATURE}"),
        format!("{HMAC_HEADER}.{PAYLOAD}.{HMAC_SIGNATURE}"),
        format!("{HMAC_HEADER}..{HMAC_SIGNATURE}"),
    ] {
        is_refused(&token, &keys);
    }
}

#[test]
fn rfc7520_s4_6_to_s4_8_json_serializations_are_opaque() {
    let kid = r#""header":{"kid":"018c0ae5-4d9b-471b-bfd6-eef314bc7037"}"#;
    let all = r#""header":{"alg":"HS256","kid":"018c0ae5-4d9b-471b-bfd6-eef314bc7037"}"#;
    let alg = r#""protected":"eyJhbGciOiJIUzI1NiJ9""#;
    let (one, none) = (
        "bWUSVaxorn7bEF1djytBd0kHv70Ly5pvbomzMWSOr20",
        "xuLifqLGiblpv9zBpuZczWhNj1gARaLV3UxvxhJxZuk",
    );
    for token in [
        format!(r#"{{"payload":"{PAYLOAD}",{alg},{kid},"signature":"{one}"}}"#),
        format!(r#"{{"payload":"{PAYLOAD}",{all},"signature":"{none}"}}"#),
        format!(
            r#"{{"payload":"{PAYLOAD}","signatures":[{{"protected":"{ES512_HEADER}","signature":"{ES512_SIGNATURE}"}},{{"protected":"{HMAC_HEADER}","signature":"{HMAC_SIGNATURE}"}}]}}"#
        ),
    ] {
        assert!(Jws::parse(&token).is_none(), "{token}");
    }
}

/// The RFC gives no key, so there is no signature to verify.
#[test]
fn rfc9701_s5_the_example_is_no_access_token() {
    let claims = concat!(
        r#"{"iss":"https://as.example.com/","aud":"https://rs.example.com/resource","iat":1514797892,"#,
        r#""token_introspection":{"active":true,"iss":"https://as.example.com/","#,
        r#""aud":"https://rs.example.com/resource","iat":1514797822,"exp":1514797942,"#,
        r#""client_id":"paiB2goo0a","scope":"read write dolphin","sub":"Z5O3upPC88QrAjx00dis","#,
        r#""birthdate":"1982-02-01","given_name":"John","family_name":"Doe","#,
        r#""jti":"t1FoCCaZd4Xv4ORJUWVUeTZfsKhW30CQCrWDDjwXy6w"}}"#,
    );
    let header = r#"{"typ":"token-introspection+jwt","alg":"RS256","kid":"wG6D"}"#;
    let [header, payload] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode_to_string(part));
    let token = format!("{header}.{payload}.AAAA");
    assert_eq!(
        Jws::parse(&token).unwrap().err(),
        Some(JwsProblem::WrongType)
    );
    let proof = Jws::parse_proof(&token, "dpop+jwt").unwrap();
    assert_eq!(proof.err(), Some(JwsProblem::WrongType));
    let answer = Jws::parse_as(&token, "token-introspection+jwt").unwrap();
    let answer = answer.ok().unwrap();
    assert_eq!(answer.kid(), Some("wG6D"));
    assert_eq!(answer.claims(), claims.as_bytes());
}
