//! JSON Web Signatures and JWK sets: the examples of the RFCs, and what attackers send instead.

use base64_simd::URL_SAFE_NO_PAD;
use token_check::{
    Algorithm, Algorithms, Jws, JwsProblem, KeySet, KeySetProblem, NoSignatureHost, Typ, Unusable,
};

/// RFC 7515 appendices A.1 to A.3.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

/// RFC 7515 appendix A.2.
const RSA_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const RSA_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

/// RFC 7515 appendix A.3.
const EC_KEY: &str = r#""kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;
const EC_SIGNATURE: &str =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

/// RFC 6979 appendix A.2.6.
const P384_X: &str = "7DpOQVtOGaRWhhgCn0J_pdqai8SukuAuBqrlKGswDGTe-PDqkFWGYGSiVFFUgLwT";
const P384_Y: &str = "gBXZty19VyROqO-awMYhiWcIpZNn-d-59UyoSz8cnbEoiyMcOuDU_nNE_SUzJkcg";

/// RFC 8037 appendix A.
const ED_KEY: &str =
    r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;
const ED_TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

/// RFC 7520 section 4.
const COOKBOOK_N: &str = "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw";
const COOKBOOK_PAYLOAD: &str = "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4";
const COOKBOOK_PKCS1: &str = "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg";
const COOKBOOK_PSS: &str = "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw";

fn rsa_key(members: &str) -> String {
    format!(r#"{{"kty":"RSA","n":"{RSA_N}","e":"AQAB"{members}}}"#)
}

fn ec_key(members: &str) -> String {
    format!("{{{EC_KEY}{members}}}")
}

fn p384_key(x: &str, y: &str, members: &str) -> String {
    format!(r#"{{"kty":"EC","crv":"P-384","x":"{x}","y":"{y}"{members}}}"#)
}

fn set(keys: &[String]) -> Result<KeySet, KeySetProblem> {
    KeySet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes())
}

fn token(header: &str, signature: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode_to_string(header);
    format!("{header}.{PAYLOAD}.{signature}")
}

/// The token of RFC 7515 appendix A.2 or A.3.
fn genuine(algorithm: Algorithm) -> String {
    match algorithm {
        Algorithm::Rs256 => token(r#"{"alg":"RS256"}"#, RSA_SIGNATURE),
        Algorithm::Es256 => token(r#"{"alg":"ES256"}"#, EC_SIGNATURE),
        other => panic!("{other:?}"),
    }
}

/// Whether the set has a key for the token, and the key made its signature.
fn verifies(keys: &KeySet, token: &str) -> bool {
    let Some(Ok(jws)) = Jws::parse(token) else {
        return false;
    };
    let key = keys.find(&jws);
    key.is_some_and(|key| key.verify(&jws, &NoSignatureHost))
}

/// The problem of a token that looks like a JWT. `None`: it is opaque.
fn problem(token: &str) -> Option<JwsProblem> {
    Jws::parse(token).map(|jws| jws.err().expect("a problem"))
}

/// Why the one key is left out.
fn unusable(key: String) -> Unusable {
    let keys = set(&[key, ec_key("")]).unwrap();
    let mut left_out = keys.left_out();
    let why = left_out.next().unwrap();
    assert_eq!(left_out.next(), None);
    why
}

#[test]
fn rfc7515_a_2_rs256_and_a_3_es256_verify() {
    let keys = set(&[rsa_key(""), ec_key("")]).unwrap();
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let token = genuine(algorithm);
        let jws = Jws::parse(&token).unwrap().ok().unwrap();
        assert_eq!(jws.algorithm(), Some(algorithm));
        assert_eq!((jws.kid(), jws.typ()), (None, Typ::Absent));
        let claims =
            "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
        assert_eq!(jws.claims(), claims.as_bytes());
        assert!(verifies(&keys, &token), "{algorithm:?}");
    }
}

#[test]
fn a_signature_or_a_payload_with_one_bit_changed_is_refused() {
    let keys = set(&[rsa_key(""), ec_key(""), format!("{{{ED_KEY}}}")]).unwrap();
    for token in [
        genuine(Algorithm::Rs256),
        genuine(Algorithm::Es256),
        ED_TOKEN.to_owned(),
    ] {
        assert!(verifies(&keys, &token));
        let parts: Vec<&str> = token.split('.').collect();
        for part in [1, 2] {
            let bytes = URL_SAFE_NO_PAD.decode_to_vec(parts[part]).unwrap();
            for at in [0, bytes.len() / 2, bytes.len() - 1] {
                for bit in [0x01, 0x80] {
                    let mut bytes = bytes.clone();
                    bytes[at] ^= bit;
                    let changed = URL_SAFE_NO_PAD.encode_to_string(bytes);
                    let mut parts = parts.clone();
                    parts[part] = &changed;
                    assert!(!verifies(&keys, &parts.join(".")), "{parts:?}");
                }
            }
        }
    }
}

#[test]
fn rfc7515_a_4_es512_and_a_5_none_are_refused() {
    let p521 = r#"{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}"#;
    assert_eq!(unusable(p521.to_owned()), Unusable::Type);
    let keys = set(&[ec_key(""), rsa_key("")]).unwrap();
    for token in [
        "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn".to_owned(),
        format!("eyJhbGciOiJub25lIn0.{PAYLOAD}."),
    ] {
        let jws = Jws::parse(&token).unwrap().ok().unwrap();
        assert_eq!(jws.algorithm(), None);
        assert!(keys.find(&jws).is_none());
        let tried: Vec<bool> = keys.keys().map(|key| key.verify(&jws, &NoSignatureHost)).collect();
        assert_eq!(tried, [false, false]);
    }
}

#[test]
fn rfc8037_a_3_thumbprint_and_a_4_signature() {
    for alg in ["", r#","alg":"EdDSA""#, r#","alg":"Ed25519""#] {
        let keys = set(&[format!("{{{ED_KEY}{alg}}}")]).unwrap();
        assert!(verifies(&keys, ED_TOKEN));
        let thumbprint = keys.keys().next().unwrap().thumbprint();
        assert_eq!(
            URL_SAFE_NO_PAD.encode_to_string(thumbprint),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }
}

/// With the thumbprint of RFC 7638 section 3.2.
#[test]
fn rfc6979_a_2_6_es384_verifies() {
    let keys = set(&[p384_key(P384_X, P384_Y, r#","alg":"ES384","use":"sig""#)]).unwrap();
    let key = keys.keys().next().unwrap();
    assert_eq!(
        URL_SAFE_NO_PAD.encode_to_string(key.thumbprint()),
        "l2tfkSzhekdOr24I18E1O_-49AlK14MTo7OxJMS7-HI"
    );
    let verifies = |algorithm, message: &str, signature: &str| {
        let digit = |at| u8::from_str_radix(signature.get(at..at + 2).unwrap(), 16).unwrap();
        let signature: Vec<u8> = (0..signature.len()).step_by(2).map(digit).collect();
        key.verifies(algorithm, message.as_bytes(), &signature, &NoSignatureHost)
    };
    let sample = concat!(
        "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46",
        "99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8",
    );
    let test = concat!(
        "8203B63D3C853E8D77227FB377BCF7B7B772E97892A80F36AB775D509D7A5FEB0542A7F0812998DA8F1DD3CA3CF023DB",
        "DDD0760448D42D8A43AF45AF836FCE4DE8BE06B485E9B61B827C2F13173923E06A739F040649A667BF3B828246BAA5A5",
    );
    let es384 = |message, signature| verifies(Algorithm::Es384, message, signature);
    assert_eq!(es384("sample", sample), Some(true));
    assert_eq!(es384("test", test), Some(true));
    assert_eq!(es384("sample", test), Some(false));
    assert_eq!(es384("sample", sample.split_at(128).0), None, "as of P-256");
    assert_eq!(verifies(Algorithm::Es256, "sample", sample), None);
}

#[test]
fn rfc7520_s4_1_rs256_and_s4_2_ps384_verify() {
    let key = format!(
        r#"{{"kty":"RSA","kid":"bilbo.baggins@hobbiton.example","use":"sig","n":"{COOKBOOK_N}","e":"AQAB"}}"#
    );
    let keys = set(&[key]).unwrap();
    for (algorithm, signature) in [("RS256", COOKBOOK_PKCS1), ("PS384", COOKBOOK_PSS)] {
        let header = format!(r#"{{"alg":"{algorithm}","kid":"bilbo.baggins@hobbiton.example"}}"#);
        let header = URL_SAFE_NO_PAD.encode_to_string(header);
        let token = |signature| format!("{header}.{COOKBOOK_PAYLOAD}.{signature}");
        assert!(verifies(&keys, &token(signature)), "{algorithm}");
        let other = if algorithm == "RS256" {
            COOKBOOK_PSS
        } else {
            COOKBOOK_PKCS1
        };
        assert!(!verifies(&keys, &token(other)), "{algorithm}");
    }
}

/// RFC 9449 sections 4.1 and 7.1.
#[test]
fn rfc9449_proofs_verify_with_the_key_that_they_bring() {
    let header = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19";
    for (rest, claims) in [
        (
            "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg",
            r#"{"jti":"-BwC3ESc6acc2lTc","htm":"POST","htu":"https://server.example.com/token","iat":1562262616}"#,
        ),
        (
            "eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA",
            r#"{"jti":"e1j3V_bKic8-LAEB","htm":"GET","htu":"https://resource.example.org/protectedresource","iat":1562262618,"ath":"fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"}"#,
        ),
    ] {
        let proof = format!("{header}.{rest}");
        let decoded = URL_SAFE_NO_PAD.decode_to_vec(header).unwrap();
        let decoded: serde_json::Value = serde_json::from_slice(&decoded).unwrap();
        let keys = set(&[decoded["jwk"].to_string()]).unwrap();
        let key = keys.keys().next().unwrap();
        assert_eq!(
            URL_SAFE_NO_PAD.encode_to_string(key.thumbprint()),
            "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
        );
        let jws = Jws::parse_proof(&proof, "dpop+jwt").unwrap().ok().unwrap();
        assert_eq!(jws.claims(), claims.as_bytes());
        assert!(key.verify(&jws, &NoSignatureHost));
        let mut wrong = proof.clone().into_bytes();
        let last = wrong.len() - 2;
        wrong[last] ^= 1;
        let wrong = String::from_utf8(wrong).unwrap();
        let jws = Jws::parse_proof(&wrong, "dpop+jwt").unwrap().ok().unwrap();
        assert!(!key.verify(&jws, &NoSignatureHost));
        // Never an access token, and never of another type.
        assert_eq!(problem(&proof), Some(JwsProblem::UnsupportedHeader));
        let other = Jws::parse_proof(&proof, "token-introspection+jwt").unwrap();
        assert_eq!(other.err(), Some(JwsProblem::WrongType));
    }
}

#[test]
fn rfc7638_s3_1_thumbprint_of_an_rsa_key() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let key = format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB","alg":"RS256","kid":"2011-04-29"}}"#);
    let keys = set(&[key]).unwrap();
    let thumbprint = keys.keys().next().unwrap().thumbprint();
    assert_eq!(
        URL_SAFE_NO_PAD.encode_to_string(thumbprint),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
}

#[test]
fn rfc7515_s5_2_what_is_no_jwt_by_its_shape_is_opaque() {
    let header = URL_SAFE_NO_PAD.encode_to_string(r#"{"alg":"RS256"}"#);
    let with_header =
        |header: &[u8]| format!("{}.e30.e30", URL_SAFE_NO_PAD.encode_to_string(header));
    for opaque in [
        String::new(),
        "abc".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        header.clone(),
        // A JWE (RFC 7516 section 7.1).
        format!("{header}.e30.e30.e30.e30"),
        format!(".{header}.e30"),
        // Three segments, as IBM Verify's, of which the first is no JSON.
        "eyJ.e30.e30".to_owned(),
        "bm9uc2Vuc2U.e30.e30".to_owned(),
        with_header(b""),
        with_header(b"null"),
        with_header(br#""alg""#),
        with_header(br#"["alg"]"#),
        with_header(b"{}"),
        with_header(br#"{"kid":"a","typ":"JWT"}"#),
        with_header(br#"{"ALG":"RS256"}"#),
        with_header(br#"{"header":{"alg":"RS256"}}"#),
        // J2: no text.
        with_header(br#"{"alg":0}"#),
        with_header(br#"{"alg":null}"#),
        with_header(br#"{"alg":["RS256"]}"#),
        with_header(br#"{"alg":{"name":"RS256"}}"#),
        with_header(br#"{"alg":"RS256"} {}"#),
        with_header(br#"{"alg":"RS256",}"#),
        with_header(b"{\"alg\":\"RS256\",\"a\":\"\xff\"}"),
        with_header("\u{feff}{\"alg\":\"RS256\"}".as_bytes()),
        // Not base64url without padding, in its one spelling.
        format!("{header}=.e30.e30"),
        format!("{header} .e30.e30"),
        "eyJhbGciOiJub25lIn1=.e30.e30".to_owned(),
        "eyJhbGciOiJub25lIn1.e30.e30".to_owned(),
        "eyJhbGciOiJSUzI1NiIsImEiOiI+In0.e30.e30".to_owned(),
        // The JSON serialization (RFC 7515 section 7.2).
        format!(r#"{{"protected":"{header}","payload":"e30","signature":"e30"}}"#),
    ] {
        assert!(Jws::parse(&opaque).is_none(), "{opaque}");
    }
    // With the header of a JWS, nothing else is.
    for malformed in ["e30", "e30.e30.", "e30.e30.e30", "e30.e30.e30.e30.e30"] {
        let token = format!("{header}.{malformed}");
        assert_eq!(
            problem(&token),
            Some(JwsProblem::MalformedHeader),
            "{token}"
        );
    }
}

#[test]
fn j2_an_algorithm_that_is_none_or_symmetric_or_spelt_otherwise_is_unknown() {
    let keys = set(&[rsa_key(""), ec_key(""), format!("{{{ED_KEY}}}")]).unwrap();
    for name in [
        "none",
        "None",
        "nOnE",
        "NONE",
        "",
        "HS256",
        "HS384",
        "HS512",
        "rs256",
        "RS256 ",
        "RS1",
        "ES256K",
        "ES512",
        "EdDSA ",
        "ed25519",
        "Ed448",
        "RSA-OAEP",
        "A128KW",
        "RS256\\u0000",
    ] {
        for signature in ["", RSA_SIGNATURE, EC_SIGNATURE] {
            let token = token(&format!(r#"{{"alg":"{name}"}}"#), signature);
            let jws = Jws::parse(&token).unwrap().ok().unwrap();
            assert_eq!(jws.algorithm(), None, "{name}");
            assert!(keys.find(&jws).is_none(), "{name}");
            assert!(
                keys.keys().all(|key| !key.verify(&jws, &NoSignatureHost)),
                "{name}"
            );
        }
    }
    // The same name in other JSON.
    let escaped = token(r#"{"\u0061lg":"RS\u003256"}"#, RSA_SIGNATURE);
    let jws = Jws::parse(&escaped).unwrap().ok().unwrap();
    assert_eq!(jws.algorithm(), Some(Algorithm::Rs256));
}

#[test]
fn j1_the_type_of_a_key_decides_what_it_verifies() {
    let keys = set(&[
        rsa_key(""),
        ec_key(""),
        p384_key(P384_X, P384_Y, ""),
        format!("{{{ED_KEY}}}"),
    ])
    .unwrap();
    let algorithms: Vec<Vec<_>> = keys
        .keys()
        .map(|key| key.algorithms().iter().collect())
        .collect();
    assert_eq!(
        algorithms,
        [
            vec![
                Algorithm::Ps256,
                Algorithm::Ps384,
                Algorithm::Ps512,
                Algorithm::Rs256,
                Algorithm::Rs384,
                Algorithm::Rs512
            ],
            vec![Algorithm::Es256],
            vec![Algorithm::Es384],
            vec![Algorithm::EdDsa],
        ]
    );
    // `alg` of the key pins it further.
    let pinned = set(&[rsa_key(r#","alg":"PS256""#)]).unwrap();
    assert_eq!(
        pinned.keys().next().unwrap().algorithms(),
        Algorithms::only(Algorithm::Ps256)
    );
    assert!(!verifies(&pinned, &genuine(Algorithm::Rs256)));
    // A key of another type verifies nothing, even when asked.
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let token = genuine(algorithm);
        let jws = Jws::parse(&token).unwrap().ok().unwrap();
        let tried = keys.keys().filter(|key| key.verify(&jws, &NoSignatureHost));
        assert_eq!(tried.count(), 1);
    }
    // Symmetric keys, and algorithms of another type, are left out.
    let oct = r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
    assert_eq!(unusable(oct.to_owned()), Unusable::Type);
    for alg in [
        "HS256",
        "ES256",
        "EdDSA",
        "none",
        "RSA-OAEP",
        "RSA-OAEP-256",
        "RS1",
        "",
    ] {
        assert_eq!(
            unusable(rsa_key(&format!(r#","alg":"{alg}""#))),
            Unusable::Algorithm,
            "{alg}"
        );
    }
    for alg in ["HS256", "RS256", "ES384", "ES256K", "ECDH-ES"] {
        let key = ec_key(&format!(r#","kid":"2","alg":"{alg}""#));
        assert_eq!(unusable(key), Unusable::Algorithm, "{alg}");
    }
    for alg in ["ES256", "ES512", "RS384"] {
        let key = p384_key(P384_X, P384_Y, &format!(r#","alg":"{alg}""#));
        assert_eq!(unusable(key), Unusable::Algorithm, "{alg}");
    }
}

#[test]
fn rfc7515_s4_1_11_and_rfc8725_s3_10_a_header_that_brings_more_is_refused() {
    for member in [
        r#""crit":["exp"],"exp":1"#,
        r#""crit":[]"#,
        r#""crit":null"#,
        r#""b64":false"#,
        r#""b64":true"#,
        r#""crit":["b64"],"b64":false"#,
        r#""jku":"https://attacker.example/jwks""#,
        r#""x5u":"https://attacker.example/""#,
        &format!(r#""jwk":{{{EC_KEY}}}"#),
    ] {
        let token = token(&format!(r#"{{"alg":"ES256",{member}}}"#), EC_SIGNATURE);
        assert_eq!(
            problem(&token),
            Some(JwsProblem::UnsupportedHeader),
            "{member}"
        );
    }
}

#[test]
fn rfc7515_s4_a_malformed_header_is_refused() {
    let deep = format!(
        r#"{{"alg":"ES256","a":{}{}}}"#,
        "[".repeat(20),
        "]".repeat(20)
    );
    for header in [
        r#"{"alg":"none","alg":"RS256"}"#,
        r#"{"alg":"RS256","\u0061lg":"none"}"#,
        r#"{"alg":"RS256","kid":"a","kid":"b"}"#,
        r#"{"alg":"RS256","a":{"b":1,"b":2}}"#,
        r#"{"alg":"RS256","kid":1}"#,
        r#"{"alg":"RS256","kid":null}"#,
        r#"{"alg":"RS256","kid":["a"]}"#,
        r#"{"alg":"RS256","typ":1}"#,
        r#"{"alg":"RS256","typ":["JWT"]}"#,
        &deep,
    ] {
        assert_eq!(
            problem(&token(header, "")),
            Some(JwsProblem::MalformedHeader),
            "{header}"
        );
    }
    let padded = |spaces| {
        token(
            &format!(r#"{{"alg":"ES256"{}}}"#, " ".repeat(spaces)),
            EC_SIGNATURE,
        )
    };
    // 1536 bytes are 2048 characters.
    assert!(matches!(Jws::parse(&padded(1536 - 15)), Some(Ok(_))));
    assert_eq!(problem(&padded(1536 - 14)), Some(JwsProblem::HeaderTooLong));
    let kid = "k".repeat(64 * 1024);
    let long = token(&format!(r#"{{"alg":"RS256","kid":"{kid}"}}"#), "");
    assert_eq!(problem(&long), Some(JwsProblem::HeaderTooLong));
    assert!(Jws::parse(&format!("{kid}.e30.e30")).is_none(), "no object");
}

#[test]
fn rfc7515_s2_payload_and_signature_are_base64url_in_one_spelling() {
    let header = URL_SAFE_NO_PAD.encode_to_string(r#"{"alg":"ES256"}"#);
    for (payload, signature) in [
        ("e30=", EC_SIGNATURE),
        ("e31", EC_SIGNATURE),
        ("e", EC_SIGNATURE),
        ("e 30", EC_SIGNATURE),
        ("e30\n", EC_SIGNATURE),
        ("e30", "+A"),
        ("e30", "/A"),
        ("e30", "AB"),
        ("e30", "AA=="),
        ("e30", "é"),
    ] {
        let token = format!("{header}.{payload}.{signature}");
        assert_eq!(problem(&token), Some(JwsProblem::NotBase64), "{token}");
    }
    // The last character has four bits too many: another spelling of the genuine signature.
    let keys = set(&[ec_key("")]).unwrap();
    let genuine = genuine(Algorithm::Es256);
    let (start, _) = genuine.split_at(genuine.len() - 1);
    assert!(genuine.ends_with('Q') && verifies(&keys, &genuine));
    for last in ['R', 'S', 'Y', 'f'] {
        assert_eq!(
            problem(&format!("{start}{last}")),
            Some(JwsProblem::NotBase64)
        );
    }
}

#[test]
fn rfc7515_s4_1_9_the_type_is_a_media_type() {
    let parse = |typ: &str| {
        let token = token(&format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#), EC_SIGNATURE);
        Jws::parse(&token).unwrap().map(|jws| jws.typ())
    };
    for typ in ["JWT", "jwt", "application/jwt", "Application/JWT"] {
        assert_eq!(parse(typ), Ok(Typ::Jwt), "{typ}");
    }
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        assert_eq!(parse(typ), Ok(Typ::AtJwt), "{typ}");
    }
    for typ in [
        "",
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
        "JOSE",
        "text/jwt",
        "application/application/jwt",
        "JWT ",
    ] {
        assert_eq!(parse(typ), Err(JwsProblem::WrongType), "{typ}");
    }
}

#[test]
fn j4_a_kid_is_a_name_and_compared_whole() {
    let odd = [
        "../../x",
        "' OR 1=1",
        "\\u0000",
        "https://attacker.example/",
        "",
        "a b",
        "é",
    ];
    let keys: Vec<_> = odd
        .iter()
        .map(|kid| ec_key(&format!(r#","kid":"{kid}""#)))
        .collect();
    let keys = set(&keys).unwrap();
    let named = |kid: &str| token(&format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#), EC_SIGNATURE);
    for (at, kid) in odd.into_iter().enumerate() {
        let token = named(kid);
        let jws = Jws::parse(&token).unwrap().ok().unwrap();
        assert!(keys.find(&jws) == keys.keys().nth(at), "{kid}");
    }
    for kid in [
        "../x",
        "../../X",
        "' OR 1=1 ",
        "\\u0000\\u0000",
        "a",
        "e\\u0301",
        "*",
    ] {
        let token = named(kid);
        let jws = Jws::parse(&token).unwrap().ok().unwrap();
        assert!(keys.find(&jws).is_none(), "{kid}");
    }
}

#[test]
fn a_key_is_found_only_if_it_is_the_only_one_that_fits() {
    let named = |kid: &str| {
        let kid = if kid.is_empty() {
            String::new()
        } else {
            format!(r#","kid":"{kid}""#)
        };
        token(&format!(r#"{{"alg":"RS256"{kid}}}"#), RSA_SIGNATURE)
    };
    let other = format!(r#"{{"kty":"RSA","n":"{COOKBOOK_N}","e":"AQAB","kid":"a"}}"#);
    let found = |keys: &[String], kid: &str| {
        let keys = set(keys).unwrap();
        let token = named(kid);
        let jws = Jws::parse(&token).unwrap().ok().unwrap();
        let found = keys.find(&jws)?;
        keys.keys().position(|key| key == found)
    };
    let (a, b, bare) = (
        rsa_key(r#","kid":"a""#),
        rsa_key(r#","kid":"b""#),
        rsa_key(""),
    );
    assert_eq!(found(&[a.clone(), b.clone()], "a"), Some(0));
    assert_eq!(found(&[a.clone(), b.clone()], "b"), Some(1));
    assert_eq!(found(&[a.clone(), b.clone()], "c"), None);
    assert_eq!(found(&[a.clone(), b.clone()], ""), None, "two fit");
    assert_eq!(found(&[ec_key(""), a.clone()], ""), Some(1), "one fits");
    assert_eq!(found(&[bare], "a"), None, "the key has no name");
    assert_eq!(
        found(&[a.clone(), other.clone()], "a"),
        None,
        "two of one name"
    );
    let ps = rsa_key(r#","kid":"a","alg":"PS256""#);
    assert_eq!(
        found(&[ps, other], "a"),
        Some(1),
        "the other one is for PS256"
    );
    let encryption = rsa_key(r#","kid":"a","use":"enc""#);
    assert_eq!(
        found(&[encryption, b], "a"),
        None,
        "J4: it is for encryption"
    );
}

#[test]
fn rfc7517_s5_a_key_that_cannot_be_used_is_left_out_alone() {
    let rsa = |n: &str, e: &str| format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#);
    let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode_to_string(bytes);
    let odd = |length: usize| number(&[&[0x80], vec![0xff; length - 1].as_slice()].concat());
    let ec = |x: &str, y: &str| format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
    let (x, y) = (
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    );
    let okp = |x: &str| format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#);
    let leading_zero = [
        [0].as_slice(),
        &URL_SAFE_NO_PAD.decode_to_vec(RSA_N).unwrap(),
    ]
    .concat();
    let mut even = URL_SAFE_NO_PAD.decode_to_vec(RSA_N).unwrap();
    *even.last_mut().unwrap() ^= 1;
    for (key, why) in [
        ("1".to_owned(), Unusable::Malformed),
        ("[]".to_owned(), Unusable::Malformed),
        ("{}".to_owned(), Unusable::Malformed),
        (r#"{"kty":1}"#.to_owned(), Unusable::Malformed),
        (
            r#"{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}"#.to_owned(),
            Unusable::Type,
        ),
        (r#"{"kty":"rsa"}"#.to_owned(), Unusable::Type),
        (r#"{"kty":"EC","crv":"P-521"}"#.to_owned(), Unusable::Type),
        (
            r#"{"kty":"EC","crv":"secp256k1"}"#.to_owned(),
            Unusable::Type,
        ),
        (r#"{"kty":"EC"}"#.to_owned(), Unusable::Type),
        (r#"{"kty":"OKP","crv":"X25519"}"#.to_owned(), Unusable::Type),
        (r#"{"kty":"OKP","crv":"Ed448"}"#.to_owned(), Unusable::Type),
        (rsa_key(r#","use":"enc""#), Unusable::Use),
        (rsa_key(r#","use":"SIG""#), Unusable::Use),
        (rsa_key(r#","use":1"#), Unusable::Malformed),
        (rsa_key(r#","use":"sig","key_ops":["sign"]"#), Unusable::Use),
        (rsa_key(r#","key_ops":[]"#), Unusable::Use),
        (rsa_key(r#","key_ops":"verify""#), Unusable::Malformed),
        (rsa_key(r#","kid":1"#), Unusable::Malformed),
        (rsa_key(r#","alg":1"#), Unusable::Malformed),
        (rsa_key(r#","d":"AA""#), Unusable::Private),
        (rsa_key(r#","oth":[]"#), Unusable::Private),
        (ec_key(r#","d":"AA""#), Unusable::Private),
        (rsa(RSA_N, ""), Unusable::Malformed),
        (rsa(RSA_N, "AQ"), Unusable::Weak),
        (rsa(RSA_N, "Aw"), Unusable::Weak),
        (rsa(RSA_N, "AAEAAQ"), Unusable::Malformed),
        (rsa(RSA_N, "AQAB="), Unusable::Malformed),
        (rsa("", "AQAB"), Unusable::Malformed),
        (rsa(&number(&leading_zero), "AQAB"), Unusable::Malformed),
        (rsa(&number(&even), "AQAB"), Unusable::Malformed),
        (rsa(&odd(128), "AQAB"), Unusable::Weak),
        (rsa(&odd(255), "AQAB"), Unusable::Weak),
        (
            rsa(&number(&[&[0x7f], [0xff; 255].as_slice()].concat()), "AQAB"),
            Unusable::Weak,
        ),
        (rsa(&odd(513), "AQAB"), Unusable::Weak),
        (ec(x, x), Unusable::Malformed),
        (ec(x, ""), Unusable::Malformed),
        (ec(x, y.split_at(42).0), Unusable::Malformed),
        (
            ec(&number(&[0; 32]), &number(&[0; 32])),
            Unusable::Malformed,
        ),
        (ec(&number(&[0xff; 32]), y), Unusable::Malformed),
        // The coordinates of one curve are none of the other.
        (p384_key(x, y, ""), Unusable::Malformed),
        (ec(P384_X, P384_Y), Unusable::Malformed),
        (p384_key(P384_X, P384_X, ""), Unusable::Malformed),
        (p384_key(P384_X, "", ""), Unusable::Malformed),
        (
            p384_key(P384_X, P384_Y.split_at(63).0, ""),
            Unusable::Malformed,
        ),
        (
            p384_key(&number(&[0; 48]), &number(&[0; 48]), ""),
            Unusable::Malformed,
        ),
        (
            p384_key(&number(&[0xff; 48]), P384_Y, ""),
            Unusable::Malformed,
        ),
        (p384_key(P384_X, P384_Y, r#","d":"AA""#), Unusable::Private),
        (okp(""), Unusable::Malformed),
        (
            okp(&number(&[&[1], [0; 31].as_slice()].concat())),
            Unusable::Weak,
        ),
        (okp(&number(&[0; 32])), Unusable::Weak),
        (ec_key(""), Unusable::Repeated),
    ] {
        // The other key is there before, so that it is the one that is repeated.
        let keys = set(&[ec_key(""), key.clone()]).unwrap();
        assert_eq!(keys.left_out().collect::<Vec<_>>(), [why], "{key}");
        assert!(verifies(&keys, &genuine(Algorithm::Es256)), "{key}");
    }
    for key in [
        rsa(&odd(256), "AQAB"),
        rsa(&odd(257), "AQAB"),
        rsa(&odd(512), "AQAB"),
    ] {
        let keys = set(&[ec_key(""), key.clone()]).unwrap();
        assert_eq!(keys.left_out().count(), 0, "{key}");
    }
    let both =
        rsa_key(r#","use":"sig","key_ops":["verify","sign"],"x5c":["MII"],"x5t":"a","n2":0"#);
    assert!(verifies(&set(&[both]).unwrap(), &genuine(Algorithm::Rs256)));
}

#[test]
fn j7_a_document_that_is_no_key_set_is_a_problem() {
    for (document, problem) in [
        ("", KeySetProblem::Malformed),
        ("<html>", KeySetProblem::Malformed),
        ("null", KeySetProblem::Malformed),
        ("[]", KeySetProblem::Malformed),
        ("{}", KeySetProblem::Malformed),
        (r#"{"keys":{}}"#, KeySetProblem::Malformed),
        (r#"{"keys":null}"#, KeySetProblem::Malformed),
        (r#"{"keys":[]} {}"#, KeySetProblem::Malformed),
        (r#"{"keys":[],"keys":[]}"#, KeySetProblem::Malformed),
        (
            r#"{"keys":[{"kty":"RSA","kty":"EC"}]}"#,
            KeySetProblem::Malformed,
        ),
        (r#"{"keys":[]}"#, KeySetProblem::NoUsableKey),
        (
            r#"{"keys":[{"kty":"oct","k":"AA"}]}"#,
            KeySetProblem::NoUsableKey,
        ),
    ] {
        assert_eq!(
            KeySet::parse(document.as_bytes()).err(),
            Some(problem),
            "{document}"
        );
    }
    assert_eq!(
        KeySet::parse(b"{\"keys\":[],\"a\":\"\xff\"}").err(),
        Some(KeySetProblem::Malformed)
    );
    let keys: Vec<_> = (0..65)
        .map(|n| ec_key(&format!(r#","kid":"{n}""#)))
        .collect();
    assert_eq!(set(&keys[..64]).unwrap().keys().count(), 64);
    assert_eq!(set(&keys).err(), Some(KeySetProblem::TooManyKeys));
    let padded = |length: usize| {
        let document = format!(r#"{{"keys":[{}]}}"#, ec_key(""));
        format!("{document}{}", " ".repeat(length - document.len()))
    };
    assert!(KeySet::parse(padded(128 * 1024).as_bytes()).is_ok());
    let too_long = KeySet::parse(padded(128 * 1024 + 1).as_bytes());
    assert_eq!(too_long.err(), Some(KeySetProblem::TooLong));
}

#[test]
fn keys_are_equal_by_material_algorithms_and_name() {
    let key = |jwk: String| set(&[jwk]).unwrap().keys().next().unwrap().clone();
    let plain = key(rsa_key(r#","kid":"a""#));
    assert!(plain == key(rsa_key(r#","kid":"a","use":"sig","x5t":"b""#)));
    assert!(plain != key(rsa_key(r#","kid":"b""#)));
    assert!(plain != key(rsa_key("")));
    assert!(plain != key(rsa_key(r#","kid":"a","alg":"RS256""#)));
    assert!(
        plain
            != key(format!(
                r#"{{"kty":"RSA","n":"{COOKBOOK_N}","e":"AQAB","kid":"a"}}"#
            ))
    );
}

#[test]
fn rfc7518_s3_1_algorithms_have_their_names() {
    let names: Vec<_> = Algorithm::ALL
        .iter()
        .map(|algorithm| algorithm.name())
        .collect();
    assert_eq!(
        names,
        [
            "ES256", "ES384", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"
        ]
    );
    for algorithm in Algorithm::ALL {
        assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
    }
    assert_eq!(Algorithm::from_name("Ed25519"), Some(Algorithm::EdDsa));
    let two: Algorithms = [Algorithm::Rs256, Algorithm::Es256].into_iter().collect();
    assert_eq!(
        two.iter().collect::<Vec<_>>(),
        [Algorithm::Es256, Algorithm::Rs256]
    );
    assert!(
        !two.contains(Algorithm::Ps256) && two.with(Algorithm::Ps256).contains(Algorithm::Ps256)
    );
}
