//! What is wrong with the issuer, or with us: never the caller's fault, so 503 with Retry-After and
//! no challenge.

use crate::single::scenario::{IBM, Issuer, Scenario, answer, json, scenario};

pub(crate) fn rows() -> Vec<Scenario> {
    let mut rows = vec![
        scenario("f1_a_random_token_is_refused")
            .responds(r#"{"active":false}"#)
            .refused(401, "inactive"),
        scenario("f2_a_timeout_of_0_refuses_every_request")
            .with("timeout", "0")
            .refused_without_introspection(503, "misconfigured"),
        scenario("f2_plain_http_to_another_machine_refuses_every_request")
            .with("introspect_url", "http://issuer.test/introspect")
            .refused_without_introspection(503, "misconfigured"),
        scenario("f2_an_address_that_is_none_refuses_every_request")
            .with("introspect_url", "issuer")
            .refused_without_introspection(503, "misconfigured"),
        scenario("f4_an_issuer_that_is_gone_is_unreachable")
            .issuer(Issuer::Gone)
            .refused(503, "issuer_unreachable"),
        scenario("f4_an_issuer_without_tls_is_unreachable")
            .issuer(Issuer::SpeaksNoTls)
            .refused(503, "issuer_unreachable"),
        scenario("f4_an_issuer_that_closes_is_unreachable")
            .issuer(Issuer::Drops)
            .introspections(2)
            .refused(503, "issuer_unreachable"),
        scenario("f4_an_issuer_that_resets_is_unreachable")
            .issuer(Issuer::Resets)
            .introspections(2)
            .refused(503, "issuer_unreachable"),
        scenario("f4_a_truncated_answer_is_no_answer")
            .issuer(Issuer::Cuts(json(IBM)))
            .introspections(2)
            .refused(503, "issuer_unreachable"),
        scenario("f10_an_issuer_that_hangs_is_too_slow")
            .issuer(Issuer::Hangs)
            .refused(503, "issuer_timeout"),
        scenario("an_issuer_that_fails_again_and_again_is_left_alone")
            .with("breaker_faults", "2")
            .issuer(Issuer::Gone)
            // The third one sends the probe.
            .after_requests(3)
            .refused(503, "issuer_circuit_open"),
        scenario("f4_an_html_page_is_not_json")
            .issuer(Issuer::Answers(answer(
                200,
                "text/html",
                "<!DOCTYPE html><title>IBM</title>",
            )))
            .refused(503, "issuer_not_json"),
        scenario("f4_json_under_another_media_type_is_not_json")
            .issuer(Issuer::Answers(answer(
                200,
                "text/plain",
                r#"{"active":true}"#,
            )))
            .refused(503, "issuer_not_json"),
        scenario("j10_a_jwt_answer_was_not_asked_for")
            .issuer(Issuer::Answers(answer(
                200,
                "application/token-introspection+jwt",
                "e30.e30.",
            )))
            .refused(503, "issuer_not_json"),
        scenario("f5_ibm_refuses_our_secret_and_the_caller_is_not_blamed")
            .issuer(Issuer::Answers(answer(401, "application/json", CSIAQ0155E)))
            .refused(503, "issuer_rejected_client"),
        scenario("f5_a_400_invalid_client_is_about_us")
            .issuer(Issuer::Answers(answer(
                400,
                "application/json",
                r#"{"error":"invalid_client"}"#,
            )))
            .refused(503, "issuer_rejected_client"),
        scenario("f5_a_403_with_an_oauth_error_is_about_us")
            .issuer(Issuer::Answers(answer(
                403,
                "application/json",
                r#"{"error":"access_denied"}"#,
            )))
            .refused(503, "issuer_rejected_client"),
        scenario("f5_a_403_that_is_no_oauth_error_is_unexpected")
            .issuer(Issuer::Answers(answer(403, "text/plain", "no")))
            .refused(503, "issuer_unexpected_status"),
    ];
    let mut bare = answer(200, "", r#"{"active":true}"#);
    bare.headers.clear();
    rows.push(
        scenario("f4_an_answer_without_a_media_type_is_not_json")
            .issuer(Issuer::Answers(bare))
            .refused(503, "issuer_not_json"),
    );
    for (name, status, reason) in STATUSES {
        rows.push(
            scenario(name)
                .issuer(Issuer::Answers(answer(
                    *status,
                    "application/json",
                    r#"{"active":true}"#,
                )))
                .refused(503, reason),
        );
    }
    for (name, status) in REDIRECTS {
        let mut redirect = answer(*status, "application/json", r#"{"active":true}"#);
        // Back to the issuer itself, where a second introspection call would be counted.
        redirect
            .headers
            .push(("location", "/oauth2/introspect".to_owned()));
        rows.push(
            scenario(name)
                .issuer(Issuer::Answers(redirect))
                .refused(503, "issuer_redirected"),
        );
    }
    rows
}

const CSIAQ0155E: &str = r#"{"error":"request_unauthorized","error_description":"CSIAQ0155E The client could not be authenticated."}"#;

const STATUSES: &[(&str, u16, &str)] = &[
    ("f4_a_500_is_the_issuers_failure", 500, "issuer_failed"),
    ("f4_a_502_is_the_issuers_failure", 502, "issuer_failed"),
    ("f4_a_503_is_the_issuers_failure", 503, "issuer_failed"),
    ("f4_a_429_is_an_overload", 429, "issuer_overloaded"),
    ("f4_a_201_is_unexpected", 201, "issuer_unexpected_status"),
    ("f4_a_206_is_unexpected", 206, "issuer_unexpected_status"),
    ("f4_a_404_is_unexpected", 404, "issuer_unexpected_status"),
    (
        "f4_a_400_about_the_question_is_unexpected",
        400,
        "issuer_unexpected_status",
    ),
];

const REDIRECTS: &[(&str, u16)] = &[
    ("f8_a_301_is_not_followed", 301),
    ("f8_a_302_is_not_followed", 302),
    ("f8_a_307_is_not_followed", 307),
    ("f8_a_308_is_not_followed", 308),
];
