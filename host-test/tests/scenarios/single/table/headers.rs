//! What reaches the app besides what the caller sent, and what does not.

use crate::single::scenario::{IBM, Scenario, scenario};

pub(crate) fn rows() -> Vec<Scenario> {
    vec![
        scenario("h6_h7_client_sent_identity_headers_are_removed")
            .header("x-auth-subject", "admin")
            .header("X-Auth-Client-Id", "admin")
            .header("X-AUTH-ISSUER", "https://evil.test")
            .header("x-auth-scope", "everything")
            .header("x-auth-claims", "e30"),
        scenario("h6_an_identity_header_written_with_dots_is_removed")
            .header("x.auth.subject", "admin")
            .header("X-Auth.Client-Id", "admin"),
        scenario("h6_an_identity_header_written_with_underscores_is_removed")
            .header("x_auth_subject", "admin")
            .header("X_AUTH_CLIENT_ID", "admin"),
        scenario("p16_a_client_sent_header_does_not_stand_in_for_an_absent_claim")
            .header("x-auth-subject", "admin")
            .responds(r#"{"active":true,"client_id":"service-a"}"#)
            .granted(
                &[("x-auth-client-id", "service-a")],
                r#"{"active":true,"client_id":"service-a"}"#,
            ),
        scenario("h8_an_identity_header_named_in_connection_still_arrives")
            .header("connection", "close, x-auth-subject"),
        scenario("h8_authorization_named_in_connection_is_still_checked")
            .header("connection", "close, authorization"),
        scenario("every_other_header_and_its_order_goes_on")
            .header("x-custom", "one")
            .header("accept", "application/json")
            .header("x-custom", "two"),
        scenario("forward_token_lets_the_authorization_header_go_on")
            .with("forward_token", "true")
            .with_authorization("Bearer {token}"),
        scenario("the_body_goes_on_untouched")
            .method("POST")
            .header("content-type", "application/octet-stream")
            .body("a body \u{0}\u{7f}\r\n\r\nwith anything in it"),
        scenario("h2_a_form_with_a_token_is_a_body_like_any_other")
            .method("POST")
            .header("content-type", "application/x-www-form-urlencoded")
            .body("access_token=other"),
        scenario("h10_h11_path_headers_of_the_client_change_nothing_for_a_good_token")
            .header("x-forwarded-uri", "/health")
            .header("x-original-url", "/health"),
        scenario("claims_header_names_the_claims_that_go_on")
            .with("claims_header", "client_id scope")
            .responds(
                r#"{"active":true,"scope":"read","client_id":"service-a","email":"a@b.test"}"#,
            )
            .granted(
                &[("x-auth-client-id", "service-a"), ("x-auth-scope", "read")],
                r#"{"scope":"read","client_id":"service-a"}"#,
            ),
        scenario("claims_header_none_leaves_the_header_out")
            .with("claims_header", "none")
            .without_claims(),
        scenario("claims_that_are_longer_than_apps_accept_are_refused")
            .responds(&long_claims())
            .refused(403, "claims_too_long"),
        scenario("claims_that_are_long_do_no_harm_if_they_stay_here")
            .with("claims_header", "none")
            .responds(&long_claims())
            .granted(&[("x-auth-client-id", "service-a")], "")
            .without_claims(),
        scenario("rfc8259_s6_a_number_out_of_range_in_a_member_that_nobody_reads_is_fine")
            .responds(r#"{"active":true,"client_id":"service-a","x":[1e999,-1e999]}"#)
            .granted(
                &[("x-auth-client-id", "service-a")],
                r#"{"active":true,"client_id":"service-a","x":[1e999,-1e999]}"#,
            ),
        scenario("rfc7662_s2_2_an_exp_out_of_range_is_no_time")
            .responds(r#"{"active":true,"client_id":"service-a","exp":1e999}"#)
            .refused(503, "issuer_answer_malformed"),
        scenario("rfc7662_s2_2_a_claim_with_quotes_and_backslashes_is_safe")
            .responds(r#"{"active":true,"sub":"a\"b\\c"}"#)
            .granted(
                &[("x-auth-subject", r#"a"b\c"#)],
                r#"{"active":true,"sub":"a\"b\\c"}"#,
            ),
        scenario("the_scope_goes_on_as_the_issuer_said_it")
            .responds(&IBM.replace(r#""sub""#, r#""scope":"read write","sub""#))
            .granted(
                &[
                    ("x-auth-subject", "service-a"),
                    ("x-auth-client-id", "service-a"),
                    ("x-auth-issuer", "https://tenant.verify.ibm.com/oauth2"),
                    ("x-auth-scope", "read write"),
                ],
                &IBM.replace(r#""sub""#, r#""scope":"read write","sub""#),
            ),
    ]
}

/// One byte more than fits into `x-auth-claims`.
fn long_claims() -> String {
    let [start, end] = [
        r#"{"active":true,"client_id":"service-a","groups":""#,
        r#""}"#,
    ];
    let groups = "g".repeat(6001 - start.len() - end.len());
    format!("{start}{groups}{end}")
}
