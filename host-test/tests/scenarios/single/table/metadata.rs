//! The metadata of Service B, and the challenges that name them (RFC 9728).

use crate::single::scenario::{Issuer, Scenario, scenario};

const IDENTIFIER: &str = "https://service-b.test/api";
const TARGET: &str = "/.well-known/oauth-protected-resource/api";
const RULES: &str = r#"[{"path":{"prefix":"/api"},"scopes":{"all":["write"]},"issuers":["https://other.example"]},{"path":{"prefix":"/.well-known"},"deny":true},{"scopes":{"any":["admin","read"]}}]"#;

pub(crate) fn rows() -> Vec<Scenario> {
    let with = |name| scenario(name).with("resource_identifier", IDENTIFIER);
    let without_token = |name| with(name).no_authorization();
    let mut rows = vec![
        without_token("rfc9728_s3_1_the_metadata_are_answered_without_a_token")
            .target(TARGET)
            .metadata(r#"{"resource":"https://service-b.test/api","bearer_methods_supported":["header"]}"#),
        with("rfc9728_s3_2_issuer_and_scopes_are_those_that_are_configured")
            .with("expected_issuer", "https://tenant.verify.ibm.com/oauth2")
            .with("required_scope", "read list")
            .target(TARGET)
            .metadata(r#"{"resource":"https://service-b.test/api","authorization_servers":["https://tenant.verify.ibm.com/oauth2"],"scopes_supported":["read","list"],"bearer_methods_supported":["header"]}"#),
        with("rfc9728_s3_2_rules_add_their_issuers_and_scopes")
            .with("rules", RULES)
            .target(TARGET)
            .metadata(r#"{"resource":"https://service-b.test/api","authorization_servers":["https://other.example"],"scopes_supported":["write","admin","read"],"bearer_methods_supported":["header"]}"#),
        without_token("rfc9728_s3_1_a_query_changes_nothing")
            .target("/.well-known/oauth-protected-resource/api?a=b")
            .metadata(r#"{"resource":"https://service-b.test/api","bearer_methods_supported":["header"]}"#),
        without_token("rfc9728_s5_1_a_challenge_names_the_metadata")
            .refused_without_introspection(401, "no_credentials"),
        with("rfc9728_s5_1_so_does_that_of_a_refused_token")
            .responds(r#"{"active":false}"#)
            .refused(401, "inactive"),
        with("rfc9728_s5_1_so_does_that_of_a_missing_scope")
            .with("required_scope", "write")
            .refused_for_scope("write"),
        scenario("rfc9728_without_an_identifier_there_are_no_metadata")
            .no_authorization()
            .target(TARGET)
            .refused_without_introspection(401, "no_credentials"),
        without_token("rfc9728_s3_1_metadata_are_read_with_get_only")
            .method("POST")
            .target(TARGET)
            .refused_without_introspection(401, "no_credentials"),
        with("rfc9728_s5_1_a_failing_issuer_gets_no_challenge")
            .issuer(Issuer::Drops)
            .introspections(2)
            .refused(503, "issuer_unreachable"),
    ];
    // What is not the path letter by letter needs a token.
    rows.extend(
        [
            (
                "h14_rfc9728_the_path_alone",
                "/.well-known/oauth-protected-resource",
            ),
            (
                "h14_rfc9728_a_longer_path",
                "/.well-known/oauth-protected-resource/api/data",
            ),
            (
                "h14_rfc9728_an_upper_case_path",
                "/.well-known/oauth-protected-resource/API",
            ),
            (
                "h14_rfc9728_a_path_parameter",
                "/.well-known/oauth-protected-resource/api;a",
            ),
        ]
        .map(|(name, target)| {
            without_token(name)
                .target(target)
                .refused_without_introspection(401, "no_credentials")
        }),
    );
    rows
}
