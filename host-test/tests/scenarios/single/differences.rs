//! Where a host forces another answer than the table's: each with its reason, and nothing else may
//! differ.

/// What comes out instead. Never a request that reaches the app where the table refuses it.
pub(crate) enum HostDifference {
    /// The host itself answers with this status, before the auth check sees the request.
    Answers(u16),
    /// The host closes the connection without an answer.
    Closes,
    /// The check refuses with another status and reason, and calls so often.
    Refuses(u16, &'static str, u64),
    /// The host does not start with these settings.
    RefusesToStart,
}

pub(crate) struct Difference {
    pub(crate) scenario: &'static str,
    pub(crate) driver: &'static str,
    pub(crate) host_does: HostDifference,
    pub(crate) why: &'static str,
}

const fn at(
    driver: &'static str,
    scenario: &'static str,
    host_does: HostDifference,
    why: &'static str,
) -> Difference {
    Difference {
        scenario,
        driver,
        host_does,
        why,
    }
}

const WRONG_SETTINGS: &str = "Envoy does not start with a plugin that refuses its settings";
const PARSER: &str = "the HTTP parser of the host takes no such byte in a header";
const UTF8: &str =
    "Spin answers a request with a field that is not UTF-8 itself, with 500 and no body";
const CONNECT: &str =
    "Spin routes by path, and a CONNECT has none: it closes the connection without an answer";
const ESCAPED: &str = "path_with_escaped_slashes_action: REJECT_REQUEST";
const NO_CONNECTION: &str = "WASI does not tell about TLS, so Spin has no such setting";
const NORMALIZED: &str =
    "normalize_path: the check and the upstream see /data, and /data is what is checked";

pub(crate) const DIFFERENCES: &[Difference] = &[
    at(
        "envoy",
        "f2_a_timeout_of_0_refuses_every_request",
        HostDifference::RefusesToStart,
        WRONG_SETTINGS,
    ),
    at(
        "envoy",
        "f2_plain_http_to_another_machine_refuses_every_request",
        HostDifference::RefusesToStart,
        WRONG_SETTINGS,
    ),
    at(
        "envoy",
        "f2_an_address_that_is_none_refuses_every_request",
        HostDifference::RefusesToStart,
        WRONG_SETTINGS,
    ),
    at(
        "envoy",
        "rfc9449_proofs_need_the_origin_of_the_service",
        HostDifference::RefusesToStart,
        WRONG_SETTINGS,
    ),
    at(
        "envoy",
        "p14_a_gigabyte_is_not_read",
        HostDifference::Refuses(503, "issuer_unreachable", 2),
        "Envoy ends a call whose answer is over its own buffer limit and does not say why",
    ),
    at(
        "envoy",
        "h6_an_identity_header_written_with_underscores_is_removed",
        HostDifference::Answers(400),
        "headers_with_underscores_action: REJECT_REQUEST",
    ),
    at(
        "envoy",
        "h8_authorization_named_in_connection_is_still_checked",
        HostDifference::Refuses(401, "no_credentials", 0),
        "Envoy removes what Connection names, as RFC 9110 section 7.6.1 says, before any filter",
    ),
    at(
        "envoy",
        "h17_options_of_the_whole_server_is_refused_like_any_other",
        HostDifference::Answers(404),
        "Envoy answers a target that does not begin with a slash itself",
    ),
    at(
        "envoy",
        "h17_an_upgrade_is_refused_like_any_other",
        HostDifference::Answers(403),
        "no upgrade is configured in envoy.yaml, and Envoy refuses every other",
    ),
    at(
        "envoy",
        "an_unknown_method_is_refused_like_any_other",
        HostDifference::Answers(400),
        "Envoy's HTTP parser knows no such method",
    ),
    at(
        "envoy",
        "h13_a_method_in_the_wrong_case_is_ambiguous",
        HostDifference::Answers(400),
        "Envoy's HTTP/1.1 parser knows no such method; over HTTP/2 the auth check answers",
    ),
    at(
        "envoy",
        "a_token_of_64_kb_is_too_long",
        HostDifference::Answers(431),
        "max_request_headers_kb is 60",
    ),
    at(
        "envoy",
        "j4_a_kid_of_64_kb",
        HostDifference::Answers(431),
        "max_request_headers_kb is 60",
    ),
    at(
        "envoy",
        "a_nul_in_a_token_is_malformed",
        HostDifference::Answers(400),
        PARSER,
    ),
    at(
        "envoy",
        "a_delete_character_in_a_token_is_malformed",
        HostDifference::Answers(400),
        PARSER,
    ),
    at(
        "component",
        "j9_a_forged_header_while_the_connection_counts",
        HostDifference::Refuses(503, "misconfigured", 0),
        NO_CONNECTION,
    ),
    at(
        "spin",
        "j9_a_forged_header_while_the_connection_counts",
        HostDifference::Refuses(503, "misconfigured", 0),
        NO_CONNECTION,
    ),
    at(
        "component",
        "a_nul_in_a_token_is_malformed",
        HostDifference::Answers(400),
        PARSER,
    ),
    at(
        "component",
        "a_delete_character_in_a_token_is_malformed",
        HostDifference::Answers(400),
        PARSER,
    ),
    at(
        "component",
        "h16_a_byte_outside_ascii_in_another_header_goes_on",
        HostDifference::Answers(500),
        UTF8,
    ),
    at(
        "component",
        "h16_a_byte_of_0x80_in_a_token_is_malformed",
        HostDifference::Answers(500),
        UTF8,
    ),
    at(
        "component",
        "h16_a_byte_of_0xff_in_a_token_is_malformed",
        HostDifference::Answers(500),
        UTF8,
    ),
    at(
        "component",
        "h16_a_scheme_outside_ascii_is_malformed",
        HostDifference::Answers(500),
        UTF8,
    ),
    at(
        "component",
        "h16_bytes_outside_ascii_alone_are_malformed",
        HostDifference::Answers(500),
        UTF8,
    ),
    at(
        "component",
        "h17_connect_is_refused_like_any_other",
        HostDifference::Closes,
        CONNECT,
    ),
    at(
        "spin",
        "a_nul_in_a_token_is_malformed",
        HostDifference::Answers(400),
        PARSER,
    ),
    at(
        "spin",
        "a_delete_character_in_a_token_is_malformed",
        HostDifference::Answers(400),
        PARSER,
    ),
    at(
        "spin",
        "h16_a_byte_outside_ascii_in_another_header_goes_on",
        HostDifference::Answers(500),
        UTF8,
    ),
    at(
        "spin",
        "h16_a_byte_of_0x80_in_a_token_is_malformed",
        HostDifference::Answers(500),
        UTF8,
    ),
    at(
        "spin",
        "h16_a_byte_of_0xff_in_a_token_is_malformed",
        HostDifference::Answers(500),
        UTF8,
    ),
    at(
        "spin",
        "h16_a_scheme_outside_ascii_is_malformed",
        HostDifference::Answers(500),
        UTF8,
    ),
    at(
        "spin",
        "h16_bytes_outside_ascii_alone_are_malformed",
        HostDifference::Answers(500),
        UTF8,
    ),
    at(
        "spin",
        "h17_connect_is_refused_like_any_other",
        HostDifference::Closes,
        CONNECT,
    ),
    at(
        "envoy",
        "h14_an_escaped_slash_opens_nothing",
        HostDifference::Answers(400),
        ESCAPED,
    ),
    at(
        "envoy",
        "h14_an_escaped_slash_is_ambiguous",
        HostDifference::Answers(400),
        ESCAPED,
    ),
    at(
        "envoy",
        "h14_an_escaped_backslash_is_ambiguous",
        HostDifference::Answers(400),
        ESCAPED,
    ),
    at(
        "envoy",
        "h14_an_escaped_nul_is_ambiguous",
        HostDifference::Answers(400),
        "Envoy normalizes no path with a NUL in it",
    ),
    at(
        "envoy",
        "h14_a_dot_segment_is_ambiguous",
        HostDifference::Refuses(401, "no_credentials", 0),
        NORMALIZED,
    ),
    at(
        "envoy",
        "h14_an_escaped_dot_segment_is_ambiguous",
        HostDifference::Refuses(401, "no_credentials", 0),
        NORMALIZED,
    ),
    at(
        "envoy",
        "h14_a_backslash_is_ambiguous",
        HostDifference::Refuses(401, "no_credentials", 0),
        NORMALIZED,
    ),
    at(
        "envoy",
        "h14_dots_with_a_path_parameter_are_ambiguous",
        HostDifference::Refuses(401, "no_credentials", 0),
        NORMALIZED,
    ),
    at(
        "envoy",
        "h14_a_double_slash_is_ambiguous",
        HostDifference::Refuses(403, "denied_by_rule", 0),
        "merge_slashes: the check and the upstream see /internal, and /internal is what is checked",
    ),
];

pub(crate) fn of(scenario: &str, driver: &str) -> Option<&'static Difference> {
    DIFFERENCES
        .iter()
        .find(|d| d.scenario == scenario && d.driver == driver)
}
