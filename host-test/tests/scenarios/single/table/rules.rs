//! Rules per route: what a path, method and host demand instead of the default policy.

use crate::single::scenario::{IBM, Scenario, scenario};

/// Public health, a denied corner, orders that need a scope to write, and a prefix that needs
/// another audience.
const RULES: &str = r#"[
    {"name": "health", "path": {"exact": "/health"}, "methods": ["GET"], "public": true},
    {"name": "internal", "path": {"prefix": "/internal"}, "deny": true},
    {"name": "write", "path": {"template": "/orders/{id}"}, "methods": ["POST"], "scopes": {"all": ["orders.write"]}},
    {"name": "read", "path": {"template": "/orders/{id}"}, "methods": ["GET"], "scopes": {"any": ["orders.read", "orders.write"]}},
    {"name": "reports", "path": {"prefix": "/reports"}, "audiences": ["reports"]},
    {"name": "other host", "host": "other.test", "path": {"exact": "/data"}, "deny": true}
]"#;

pub(crate) fn rows() -> Vec<Scenario> {
    let with_scope = |scope: &str| IBM.replace(r#""sub""#, &format!(r#""scope":"{scope}","sub""#));
    let ruled = |name| scenario(name).with("rules", RULES);
    let mut rows = vec![
        ruled("a_public_route_needs_no_token")
            .no_authorization()
            .target("/health")
            .granted_without_identity(),
        ruled("h7_a_public_route_strips_identity_headers_and_the_token")
            .target("/health")
            .header("x-auth-subject", "admin")
            .granted_without_identity(),
        ruled("a_public_route_is_public_for_its_methods_only")
            .no_authorization()
            .method("POST")
            .target("/health")
            .refused_without_introspection(401, "no_credentials"),
        ruled("h13_a_method_in_the_wrong_case_is_ambiguous")
            .method("get")
            .target("/health")
            .refused_without_introspection(400, "ambiguous_method"),
        ruled("a_denied_route_refuses_a_good_token_unasked")
            .target("/internal/metrics")
            .refused_without_introspection(403, "denied_by_rule"),
        ruled("what_no_rule_names_needs_a_token")
            .no_authorization()
            .refused_without_introspection(401, "no_credentials"),
        ruled("what_no_rule_names_is_under_the_default_policy")
            .with("required_scope", "base")
            .refused_for_scope("base"),
        ruled("c1_a_token_that_may_read_may_not_write")
            .method("POST")
            .target("/orders/7")
            .responds(&with_scope("orders.read"))
            .refused_for_scope("orders.write"),
        ruled("c1_a_token_that_may_read_may_read")
            .target("/orders/7")
            .responds(&with_scope("orders.read"))
            .granted(
                &[
                    ("x-auth-subject", "service-a"),
                    ("x-auth-client-id", "service-a"),
                    ("x-auth-issuer", "https://tenant.verify.ibm.com/oauth2"),
                    ("x-auth-scope", "orders.read"),
                ],
                &with_scope("orders.read"),
            ),
        ruled("c3_a_route_with_its_own_audience_demands_it")
            .target("/reports/2026/q4")
            .refused(401, "wrong_audience"),
        ruled("h12_a_query_takes_no_part_in_matching")
            .no_authorization()
            .target("/data?x=/health")
            .refused_without_introspection(401, "no_credentials"),
        ruled("h11_path_headers_take_no_part_in_matching")
            .no_authorization()
            .header("x-forwarded-uri", "/health")
            .header("x-original-url", "/health")
            .header("x-envoy-original-path", "/health")
            .refused_without_introspection(401, "no_credentials"),
        ruled("a_rule_for_another_host_does_not_match"),
        ruled("rfc9112_s3_2_a_second_host_is_ambiguous_where_a_rule_names_one")
            .header("host", "other.test")
            .refused_without_introspection(400, "ambiguous_path"),
    ];
    for (name, target) in AMBIGUOUS {
        rows.push(
            ruled(name)
                .no_authorization()
                .target(target)
                .refused_without_introspection(400, "ambiguous_path"),
        );
    }
    rows
}

/// H14: what some servers take for another path than others.
const AMBIGUOUS: &[(&str, &str)] = &[
    ("h14_a_dot_segment_is_ambiguous", "/health/../data"),
    (
        "h14_an_escaped_dot_segment_is_ambiguous",
        "/health/%2e%2e/data",
    ),
    ("h14_an_escaped_slash_is_ambiguous", "/health%2fdata"),
    (
        "h14_an_escaped_backslash_is_ambiguous",
        "/health%5c..%5cdata",
    ),
    ("h14_a_backslash_is_ambiguous", "/health\\..\\data"),
    ("h14_a_double_slash_is_ambiguous", "//internal"),
    ("h14_a_path_parameter_is_ambiguous", "/health;x=y"),
    (
        "h14_dots_with_a_path_parameter_are_ambiguous",
        "/health/..;a/data",
    ),
    ("h14_an_escaped_nul_is_ambiguous", "/health%00"),
    ("h14_a_double_escape_is_ambiguous", "/health%252fdata"),
];
