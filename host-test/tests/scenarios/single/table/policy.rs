//! What a service demands of a token beyond being active.

use crate::single::scenario::{IBM, Scenario, scenario};

pub(crate) fn rows() -> Vec<Scenario> {
    let mut rows = vec![
        scenario("p7_the_expected_audience_in_an_array_is_enough")
            .with("expected_aud", "service-a"),
        scenario("p7_one_of_several_expected_audiences_is_enough")
            .with("expected_aud", "other service-a"),
        scenario("rfc7662_s2_2_the_expected_issuer_is_enough")
            .with("expected_issuer", "https://tenant.verify.ibm.com/oauth2"),
        scenario("an_allowed_client_may_call").with("allowed_clients", "service-c service-a"),
        scenario("an_allowed_grant_type_may_call")
            .with("allowed_grant_types", "client_credentials"),
        scenario("rfc6749_s2_3_1_post_authenticates_us_as_well").with("client_auth", "post"),
        scenario("wrong_issuer_is_refused")
            .with("expected_issuer", "https://tenant.verify.ibm.com/oauth2/")
            .refused(401, "wrong_issuer"),
        scenario("an_absent_issuer_is_not_the_expected_one")
            .with("expected_issuer", "https://tenant.verify.ibm.com/oauth2")
            .responds(r#"{"active":true}"#)
            .refused(401, "no_issuer"),
        scenario("another_client_may_not_call")
            .with("allowed_clients", "service-c")
            .refused(403, "client_not_allowed"),
        scenario("p16_an_absent_client_may_not_call")
            .with("allowed_clients", "service-a")
            .responds(r#"{"active":true,"sub":"service-a"}"#)
            .refused(403, "no_client_id"),
        scenario("another_grant_type_may_not_call")
            .with(
                "allowed_grant_types",
                "urn:ietf:params:oauth:grant-type:jwt-bearer",
            )
            .refused(403, "grant_type_not_allowed"),
        scenario("an_absent_grant_type_may_not_call")
            .with("allowed_grant_types", "client_credentials")
            .responds(r#"{"active":true,"client_id":"service-a"}"#)
            .refused(403, "no_grant_type"),
        scenario("p7_an_expected_audience_is_not_split")
            .with("expected_aud", "service-a")
            .responds(&IBM.replace(r#"["service-a"]"#, r#""service-a evil""#))
            .refused(401, "wrong_audience"),
        scenario("p7_an_empty_array_has_no_audience")
            .with("expected_aud", "service-a")
            .responds(&IBM.replace(r#"["service-a"]"#, "[]"))
            .refused(401, "no_audience"),
        scenario("p7_another_audience_is_refused")
            .with("expected_aud", "service-b")
            .refused(401, "wrong_audience"),
        scenario("p7_an_audience_in_another_case_is_another")
            .with("expected_aud", "Service-A")
            .refused(401, "wrong_audience"),
        scenario("p8_an_absent_audience_is_not_the_expected_one")
            .with("expected_aud", "service-a")
            .responds(r#"{"active":true,"client_id":"service-a"}"#)
            .refused(401, "no_audience"),
        scenario("a_challenge_names_the_realm")
            .with("realm", "orders of ACME")
            .responds(r#"{"active":false}"#)
            .refused(401, "inactive"),
        scenario("the_token_is_judged_before_what_the_service_demands")
            .with("required_scope", "read")
            .with("expected_aud", "nobody")
            .responds(r#"{"active":true,"exp":1}"#)
            .refused(401, "expired"),
        scenario("p10_a_leeway_is_what_is_set")
            .with("leeway", "300")
            // More than the default, and much less than what is set: the row may run minutes later.
            .responds(r#"{"active":true,"exp":{now-40}}"#)
            .granted(&[], r#"{"active":true,"exp":{now-40}}"#),
    ];
    for (name, scope) in SCOPES {
        let document = format!(r#"{{"active":true,"scope":{scope}}}"#);
        let row = scenario(name)
            .with("required_scope", "read write")
            .responds(&document);
        rows.push(match *scope {
            r#""write read admin""# => {
                row.granted(&[("x-auth-scope", "write read admin")], &document)
            }
            r#"["read","write"]"# => row.granted(&[("x-auth-scope", "read write")], &document),
            _ => row.refused_for_scope("read write"),
        });
    }
    rows.push(
        scenario("p9_an_absent_scope_is_none")
            .with("required_scope", "read")
            .refused_for_scope("read"),
    );
    rows
}

const SCOPES: &[(&str, &str)] = &[
    (
        "p9_all_required_scopes_in_any_order_are_enough",
        r#""write read admin""#,
    ),
    (
        "p9_all_required_scopes_in_an_array_are_enough",
        r#"["read","write"]"#,
    ),
    ("p9_one_of_two_required_scopes_is_not_enough", r#""read""#),
    (
        "p9_a_scope_that_starts_alike_is_another",
        r#""reader write""#,
    ),
    ("p9_a_scope_in_another_case_is_another", r#""Read write""#),
    ("p9_an_empty_scope_has_none", r#""""#),
    ("p9_an_empty_array_has_no_scope", "[]"),
];
