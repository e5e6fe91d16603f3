//! Tokens that are bound to a client certificate (RFC 8705 section 3).

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
    vec![
        with("rfc8705_s3_the_certificate_that_the_token_is_bound_to", HEADER)
            .header(HEADER, HEX)
            .granted(&[], BOUND),
        with("rfc9440_s2_2_the_certificate_itself", "Client-Cert")
            .header("client-cert", CERTIFICATE)
            .granted(&[], BOUND),
        with("j9_on_a_hit_too_the_certificate_is_needed", HEADER)
            .with("cache_ttl", "60")
            .header(HEADER, HEX)
            .after_requests(1)
            .granted(&[], BOUND),
        with("j9_no_certificate", HEADER).refused(401, "client_certificate_missing"),
        with("j9_no_certificate_for_a_token_that_is_cached", HEADER)
            .with("cache_ttl", "60")
            .after_requests(1)
            .refused(401, "client_certificate_missing"),
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
    ]
}
