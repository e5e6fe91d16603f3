//! What real issuers send, as people who use them have reported it.

use crate::single::scenario::{Issuer, Scenario, answer, scenario};

pub(crate) fn rows() -> Vec<Scenario> {
    let mut rows = vec![
        scenario("janssen_writes_null_for_what_it_has_no_value_for")
            .responds(JANSSEN)
            .granted(
                &[
                    ("x-auth-client-id", "orders-svc"),
                    ("x-auth-issuer", "https://jans.example.test"),
                    ("x-auth-scope", "orders.read"),
                ],
                JANSSEN,
            ),
        scenario("every_member_but_active_may_be_null")
            .responds(ALL_NULL)
            .granted(&[], ALL_NULL),
        scenario("an_audience_that_is_null_is_none")
            .with("expected_aud", "orders-api")
            .responds(ALL_NULL)
            .refused(401, "no_audience")
            .logs(r#"no_audience: the token has no aud; expected "orders-api""#),
        scenario("an_issuer_that_is_null_is_none")
            .with("expected_issuer", "https://jans.example.test")
            .responds(ALL_NULL)
            .refused(401, "no_issuer"),
        scenario("a_client_that_is_null_is_none")
            .with("allowed_clients", "orders-svc")
            .responds(ALL_NULL)
            .refused(403, "no_client_id"),
        scenario("a_grant_type_that_is_null_is_none")
            .with("allowed_grant_types", "client_credentials")
            .responds(ALL_NULL)
            .refused(403, "no_grant_type"),
        scenario("a_scope_that_is_null_is_none")
            .with("required_scope", "orders.read")
            .responds(ALL_NULL)
            .refused_for_scope("orders.read"),
        scenario("wso2_leaves_the_audience_out")
            .with("expected_aud", "orders-api")
            .responds(WSO2)
            .refused(401, "no_audience"),
        scenario("rfc6749_a_12_salesforce_has_an_exclamation_mark_in_its_tokens")
            .authorization("Bearer 00D2x000000AbCd!AQ4AQFuXyZ.0123456789abcdef")
            .responds(SALESFORCE)
            .granted(SALESFORCE_IDENTITY, SALESFORCE),
        scenario("salesforce_calls_an_access_token_access_token")
            .responds(SALESFORCE)
            .granted(SALESFORCE_IDENTITY, SALESFORCE),
        scenario("doorkeeper_writes_an_exp_of_0_for_a_token_that_never_expires")
            .responds(r#"{"active":true,"scope":"public","client_id":"abc123","token_type":"Bearer","exp":0,"iat":{now-10}}"#)
            .refused(401, "expired")
            .logs("expired: the issuer sent an exp of 0 or less for an active token; a token that never expires has no exp"),
        scenario("gluu_writes_milliseconds")
            .responds(r#"{"active":true,"client_id":"shop-batch","token_type":"bearer","scope":"orders.read","exp":4000000000000,"iat":1800000000000}"#)
            .refused(503, "issuer_answer_malformed")
            .logs("issuer_answer_malformed: the member exp is not a time in seconds: it looks like milliseconds"),
        scenario("webmethods_writes_strings")
            .responds(r#"{"active":"true","token_type":"Bearer","scope":"orders.read","client_id":"shop-batch","owner_id":"Administrator","iat":"{now-10}","exp":"{now+300}"}"#)
            .refused(503, "issuer_answer_malformed")
            .logs("issuer_answer_malformed: the member active is not true or false: it is a string"),
        scenario("oidc_provider_introspects_no_jwt")
            .issuer(Issuer::Answers(answer(400, "application/json", UNSUPPORTED)))
            .refused(401, "inactive")
            .logs("inactive: the issuer responded with HTTP status 400 and an error about the token; some issuers do not introspect JWTs"),
        scenario("oauth_toolkit_answers_401_for_a_token_it_does_not_know")
            .issuer(Issuer::Answers(answer(401, "application/json", r#"{"active":false}"#)))
            .refused(401, "inactive"),
        scenario("rfc8259_s6_a_number_out_of_range_does_not_hide_an_error_about_the_token")
            .issuer(Issuer::Answers(answer(400, "application/json", r#"{"active":false,"x":1e999}"#)))
            .refused(401, "inactive"),
        scenario("a_firewall_that_refuses_the_question_is_not_about_our_credentials")
            .issuer(Issuer::Answers(answer(403, "text/html", FORBIDDEN)))
            .refused(503, "issuer_unexpected_status")
            .logs("issuer_unexpected_status: the issuer responded with HTTP status 403: check introspect_url, and any proxy between here and the issuer"),
        scenario("oauth_toolkit_refuses_our_credentials_with_403_and_no_body")
            .issuer(Issuer::Answers(answer(403, "text/html", "")))
            .refused(503, "issuer_rejected_client"),
        scenario("glewlwyd_refuses_our_credentials_with_401_and_no_body")
            .issuer(Issuer::Answers(answer(401, "text/plain", "")))
            .refused(503, "issuer_rejected_client"),
        scenario("rfc6749_s2_3_1_an_issuer_that_does_not_decode_our_credentials")
            .issuer(Issuer::Answers(answer(401, "application/json", r#"{"error":"invalid_client"}"#)))
            .refused(503, "issuer_rejected_client")
            .logs("issuer_rejected_client: the issuer responded with HTTP status 401: check resource_client_id, resource_client_secret and client_auth; id or secret has characters that form-encoding changes; an issuer that does not decode them needs client_auth=basic-raw or post"),
    ];
    let mut basic = answer(401, "text/html", FORBIDDEN);
    basic
        .headers
        .push(("www-authenticate", "Basic realm=\"issuer\"".to_owned()));
    rows.push(
        scenario("rfc6749_s5_2_a_basic_challenge_is_about_our_credentials")
            .issuer(Issuer::Answers(basic))
            .refused(503, "issuer_rejected_client"),
    );
    let mut coded = answer(200, "application/json", r#"{"active":true}"#);
    coded.headers.push(("content-encoding", "gzip".to_owned()));
    rows.push(
        scenario("rfc9110_s12_5_3_a_content_coding_was_not_asked_for")
            .issuer(Issuer::Answers(coded))
            .refused(503, "issuer_answer_malformed")
            .logs("issuer_answer_malformed: the issuer's response has the content coding gzip; the call accepts none"),
    );
    for (name, document) in ACCESS_TOKENS {
        rows.push(scenario(name).responds(document).granted(&[], document));
    }
    for (name, document) in OTHER_TOKENS {
        rows.push(
            scenario(name)
                .responds(document)
                .refused(401, "wrong_token_type"),
        );
    }
    let vendor = r#"{"active":true,"token_type":"Vendor"}"#;
    rows.push(
        scenario("token_types_names_what_an_issuer_calls_its_access_tokens")
            .with("token_types", "other vendor")
            .responds(vendor)
            .granted(&[], vendor),
    );
    rows.push(
        scenario("token_types_makes_no_access_token_of_a_refresh_token")
            .with("token_types", "refresh_token")
            .responds(r#"{"active":true,"token_type":"refresh_token"}"#)
            .refused(401, "wrong_token_type"),
    );
    rows
}

const JANSSEN: &str = r#"{"sub":"","iss":"https://jans.example.test","active":true,"token_type":"Bearer","client_id":"orders-svc","aud":"orders-api","acr":null,"nbf":null,"authorization_details":null,"scope":"orders.read","auth_time":null,"exp":{now+300},"iat":{now-0}}"#;

const ALL_NULL: &str = r#"{"active":true,"aud":null,"client_id":null,"cnf":null,"exp":null,"grant_type":null,"iat":null,"iss":null,"nbf":null,"scope":null,"sub":null,"token_type":null,"token_use":null,"typ":null}"#;

const WSO2: &str = r#"{"aut":"APPLICATION","scope":"orders.read","active":true,"token_type":"Bearer","exp":{now+300},"iat":{now-0},"client_id":"Kd_aR1"}"#;

const SALESFORCE: &str = r#"{"active":true,"scope":"api id","client_id":"3MVG9abc","username":"batch@shop.example.test","sub":"https://login.salesforce.example.test/id/00D1/0051","token_type":"access_token","exp":{now+300},"iat":{now-0},"nbf":{now-0}}"#;

const SALESFORCE_IDENTITY: &[(&str, &str)] = &[
    (
        "x-auth-subject",
        "https://login.salesforce.example.test/id/00D1/0051",
    ),
    ("x-auth-client-id", "3MVG9abc"),
    ("x-auth-scope", "api id"),
];

const UNSUPPORTED: &str = r#"{"error":"unsupported_token_type","error_description":"Structured JWT Tokens cannot be introspected via the introspection_endpoint"}"#;

const FORBIDDEN: &str = "<html><head><title>403 Forbidden</title></head></html>";

const ACCESS_TOKENS: &[(&str, &str)] = &[
    (
        "hydra_called_an_access_token_access_token",
        r#"{"active":true,"token_type":"access_token"}"#,
    ),
    (
        "oidc_provider_called_an_access_token_client_credentials",
        r#"{"active":true,"token_type":"client_credentials"}"#,
    ),
    (
        "apigee_calls_an_access_token_bearertoken",
        r#"{"active":true,"token_type":"BearerToken"}"#,
    ),
    (
        "an_access_token_may_be_called_jwt",
        r#"{"active":true,"token_type":"JWT"}"#,
    ),
    (
        "rfc9068_an_access_token_may_be_called_at_jwt",
        r#"{"active":true,"token_type":"at+jwt"}"#,
    ),
];

const OTHER_TOKENS: &[(&str, &str)] = &[
    (
        "hydra_called_a_refresh_token_refresh_token",
        r#"{"active":true,"token_type":"refresh_token"}"#,
    ),
    (
        "an_unknown_token_type_is_no_access_token",
        r#"{"active":true,"token_type":"Vendor"}"#,
    ),
];
