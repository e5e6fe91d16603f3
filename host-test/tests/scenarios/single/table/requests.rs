//! How the credentials of a request are read (RFC 6750 section 2, RFC 9110 section 11).

use crate::single::scenario::{Scenario, scenario};

pub(crate) fn rows() -> Vec<Scenario> {
    let mut rows = vec![
        scenario("rfc6750_s3_1_no_credentials_get_a_bare_challenge")
            .no_authorization()
            .refused_without_introspection(401, "no_credentials"),
        scenario("h4_bearer_in_lower_case_is_bearer").authorization("bearer {token}"),
        scenario("h4_bearer_in_upper_case_is_bearer").authorization("BEARER {token}"),
        scenario("rfc9110_s11_6_2_more_than_one_space_is_allowed")
            .authorization("Bearer    {token}"),
        scenario("h1_two_authorization_headers_are_refused")
            .header("authorization", "Bearer other")
            .refused_without_introspection(400, "repeated_authorization"),
        scenario("h1_the_same_authorization_header_twice_is_refused")
            .header("Authorization", "Bearer {token}")
            .refused_without_introspection(400, "repeated_authorization"),
        scenario("h1_basic_and_bearer_together_are_refused")
            .authorization("Basic YTpi")
            .header("authorization", "Bearer {token}")
            .refused_without_introspection(400, "repeated_authorization"),
        scenario("h1_a_second_credential_after_a_comma_is_refused")
            .authorization("Bearer {token}, Bearer other")
            .refused_without_introspection(400, "repeated_authorization"),
        scenario("h1_a_list_of_tokens_is_malformed")
            .authorization("Bearer {token},other")
            .refused_without_introspection(400, "malformed_authorization"),
        scenario("h2_a_token_in_header_and_query_is_refused")
            .target("/data?access_token={token}")
            .refused_without_introspection(400, "token_in_query"),
        scenario("h2_a_token_in_header_and_escaped_query_is_refused")
            .target("/data?a=1&access%5Ftoken=other")
            .refused_without_introspection(400, "token_in_query"),
        scenario("h2_a_token_in_the_query_alone_is_none")
            .no_authorization()
            .target("/data?access_token={token}")
            .refused_without_introspection(401, "no_credentials"),
        scenario("h2_a_token_in_a_form_alone_is_none")
            .no_authorization()
            .method("POST")
            .header("content-type", "application/x-www-form-urlencoded")
            .body("access_token=other")
            .refused_without_introspection(401, "no_credentials"),
        scenario("rfc9110_s11_another_scheme_gets_a_bare_challenge")
            .authorization("Basic c2VydmljZS1hOnNlY3JldA==")
            .refused_without_introspection(401, "unsupported_scheme"),
        scenario("rfc9449_dpop_is_another_scheme")
            .authorization("DPoP {token}")
            .refused_without_introspection(401, "unsupported_scheme"),
        scenario("f9_a_jwt_from_anywhere_is_asked_about_at_our_issuer_only")
            .authorization(
                "Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwOi8vMTY5LjI1NC4xNjkuMjU0LyJ9.f9",
            )
            .responds(r#"{"active":false}"#)
            .refused(401, "inactive"),
        scenario("h12_a_path_in_the_query_opens_nothing")
            .no_authorization()
            .target("/data?x=/health")
            .refused_without_introspection(401, "no_credentials"),
        scenario("h10_x_envoy_original_path_of_the_client_opens_nothing")
            .no_authorization()
            .header("x-envoy-original-path", "/health")
            .refused_without_introspection(401, "no_credentials"),
        scenario("h11_x_forwarded_uri_of_the_client_opens_nothing")
            .no_authorization()
            .header("x-forwarded-uri", "/health")
            .header("x-forwarded-path", "/health")
            .header("x-original-url", "/health")
            .header("x-rewrite-url", "/health")
            .refused_without_introspection(401, "no_credentials"),
        scenario("h7_an_identity_header_is_no_credential")
            .no_authorization()
            .header("x-auth-subject", "admin")
            .header("x-auth-claims", "eyJhY3RpdmUiOnRydWV9")
            .refused_without_introspection(401, "no_credentials"),
        scenario("h17_connect_is_refused_like_any_other")
            .no_authorization()
            .method("CONNECT")
            .target("service-b.test:443")
            .refused_without_introspection(401, "no_credentials"),
        scenario("h17_options_of_the_whole_server_is_refused_like_any_other")
            .no_authorization()
            .method("OPTIONS")
            .target("*")
            .refused_without_introspection(401, "no_credentials"),
        scenario("h17_an_upgrade_is_refused_like_any_other")
            .no_authorization()
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .refused_without_introspection(401, "no_credentials"),
        scenario("h19_a_preflight_is_refused_like_any_other")
            .no_authorization()
            .method("OPTIONS")
            .header("origin", "https://evil.test")
            .header("access-control-request-method", "GET")
            .refused_without_introspection(401, "no_credentials"),
        scenario("an_unknown_method_is_refused_like_any_other")
            .no_authorization()
            .method("BREW")
            .refused_without_introspection(401, "no_credentials"),
        scenario("head_is_refused_like_any_other")
            .no_authorization()
            .method("HEAD")
            .refused_without_introspection(401, "no_credentials"),
        scenario("h16_a_byte_outside_ascii_in_another_header_goes_on").header("x-name", b"zo\xeb"),
        scenario("keycloak_issues_tokens_of_9_kb")
            .authorization([b"Bearer ".as_slice(), &[b'a'; 9226]].concat()),
        scenario("a_token_of_64_kb_is_too_long")
            .authorization([b"Bearer ".as_slice(), &[b'a'; 64 * 1024]].concat())
            .refused_without_introspection(400, "token_too_long"),
        scenario("a_token_one_byte_over_the_limit_is_too_long")
            .authorization([b"Bearer ".as_slice(), &[b'a'; 16 * 1024 + 1]].concat())
            .refused_without_introspection(400, "token_too_long"),
    ];
    for (name, target) in PATHS {
        rows.push(
            scenario(name)
                .no_authorization()
                .target(target)
                .refused_without_introspection(401, "no_credentials"),
        );
    }
    for (name, value) in MALFORMED {
        rows.push(
            scenario(name)
                .authorization(value)
                .refused_without_introspection(400, "malformed_authorization"),
        );
    }
    rows
}

/// H14: every way to write a path is under the same policy.
const PATHS: &[(&str, &str)] = &[
    ("h14_dot_segments_open_nothing", "/health/../data"),
    (
        "h14_escaped_dot_segments_open_nothing",
        "/health/%2e%2e/data",
    ),
    ("h14_an_escaped_slash_opens_nothing", "/health%2f..%2fdata"),
    ("h14_double_slashes_open_nothing", "//data"),
    ("h14_a_path_parameter_opens_nothing", "/data;x=y"),
    (
        "h14_dots_with_a_path_parameter_open_nothing",
        "/health/..;a/data",
    ),
    ("h14_a_backslash_opens_nothing", "/health\\..\\data"),
    (
        "h14_an_absolute_target_opens_nothing",
        "http://service-b.test/health",
    ),
];

const MALFORMED: &[(&str, &[u8])] = &[
    ("an_empty_authorization_is_malformed", b""),
    ("bearer_without_a_token_is_malformed", b"Bearer"),
    ("bearer_with_blanks_for_a_token_is_malformed", b"Bearer    "),
    ("a_tab_after_bearer_is_malformed", b"Bearer\tabc"),
    ("a_tab_in_a_token_is_malformed", b"Bearer ab\tc"),
    ("h1_two_tokens_are_malformed", b"Bearer abc def"),
    (
        "rfc9110_s11_2_padding_inside_a_token_is_malformed",
        b"Bearer a=b",
    ),
    ("rfc9110_s11_2_padding_alone_is_malformed", b"Bearer =="),
    ("quotes_around_a_token_are_malformed", b"Bearer \"abc\""),
    (
        "h16_a_byte_of_0x80_in_a_token_is_malformed",
        b"Bearer abc\x80",
    ),
    (
        "h16_a_byte_of_0xff_in_a_token_is_malformed",
        b"Bearer \xffabc",
    ),
    (
        "h16_utf8_in_a_token_is_malformed",
        "Bearer zo\u{eb}".as_bytes(),
    ),
    ("h16_a_scheme_outside_ascii_is_malformed", b"B\xe9arer abc"),
    (
        "h16_bytes_outside_ascii_alone_are_malformed",
        b"\x80\x81\xfe\xff",
    ),
    ("a_nul_in_a_token_is_malformed", b"Bearer ab\0c"),
    (
        "a_delete_character_in_a_token_is_malformed",
        b"Bearer ab\x7fc",
    ),
];
