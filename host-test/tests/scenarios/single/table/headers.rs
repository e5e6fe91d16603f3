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
