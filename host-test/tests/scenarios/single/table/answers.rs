//! How the issuer's answer is read (RFC 7662 section 2.2).

use crate::single::scenario::{IBM, Issuer, Scenario, answer, scenario};

pub(crate) fn rows() -> Vec<Scenario> {
    let mut rows = vec![
        scenario("rfc7662_s2_2_an_active_token_is_let_through"),
        scenario("ibm_verify_before_2024_has_aud_as_a_text_and_more_members")
            .responds(OLD_IBM)
            .granted(
                &[
                    ("x-auth-subject", "service-a"),
                    ("x-auth-client-id", "service-a"),
                    (
                        "x-auth-issuer",
                        "https://tenant.verify.ibm.com/oidc/endpoint/default",
                    ),
                ],
                OLD_IBM,
            ),
        scenario("p3_p16_active_alone_is_enough_and_no_header_is_made_of_absent_claims")
            .responds(r#"{"active":true}"#)
            .granted(&[], r#"{"active":true}"#),
        scenario("rfc7662_s2_2_an_inactive_token_is_refused")
            .responds(r#"{"active":false}"#)
            .refused(401, "inactive"),
        scenario("p5_inactive_with_all_claims_is_inactive")
            .responds(&IBM.replace("true", "false"))
            .refused(401, "inactive"),
        scenario("p5_inactive_with_nonsense_beside_it_is_inactive")
            .responds(r#"{"active":false,"exp":"soon","aud":{}}"#)
            .refused(401, "inactive"),
        scenario("p12_a_token_of_rfc9068_is_an_access_token")
            .responds(r#"{"active":true,"typ":"at+jwt","token_use":"access_token"}"#)
            .granted(
                &[],
                r#"{"active":true,"typ":"at+jwt","token_use":"access_token"}"#,
            ),
        scenario("p7_aud_as_null_is_none")
            .responds(r#"{"active":true,"aud":null}"#)
            .granted(&[], r#"{"active":true,"aud":null}"#),
        scenario("p10_exp_as_null_is_none")
            .responds(r#"{"active":true,"exp":null}"#)
            .granted(&[], r#"{"active":true,"exp":null}"#),
        scenario("p16_sub_as_null_is_none")
            .responds(r#"{"active":true,"sub":null}"#)
            .granted(&[], r#"{"active":true,"sub":null}"#),
        scenario("p9_a_scope_as_an_array_is_joined")
            .responds(r#"{"active":true,"scope":["read","write"]}"#)
            .granted(
                &[("x-auth-scope", "read write")],
                r#"{"active":true,"scope":["read","write"]}"#,
            ),
        scenario("p9_double_spaces_in_a_scope_are_one")
            .responds(r#"{"active":true,"scope":" read  write "}"#)
            .granted(
                &[("x-auth-scope", "read write")],
                r#"{"active":true,"scope":" read  write "}"#,
            ),
        scenario("p9_an_empty_scope_sets_no_header")
            .responds(r#"{"active":true,"scope":""}"#)
            .granted(&[], r#"{"active":true,"scope":""}"#),
        scenario("p10_an_exp_with_fraction_and_exponent_is_a_time")
            .responds(r#"{"active":true,"exp":4.0e9}"#)
            .granted(&[], r#"{"active":true,"exp":4.0e9}"#),
        scenario("h9_a_claim_with_line_breaks_travels_in_the_claims_only")
            .responds(
                r#"{"active":true,"sub":"a\r\nx-auth-client-id: admin","client_id":"a\u0000b"}"#,
            )
            .granted(
                &[],
                r#"{"active":true,"sub":"a\r\nx-auth-client-id: admin","client_id":"a\u0000b"}"#,
            ),
        scenario("h9_a_claim_outside_ascii_travels_in_the_claims_only")
            .responds(r#"{"active":true,"sub":"zoë 😀","iss":" padded "}"#)
            .granted(&[], r#"{"active":true,"sub":"zoë 😀","iss":" padded "}"#),
    ];
    let long = format!(r#"{{"active":true,"sub":"{}"}}"#, "a".repeat(5 * 1024));
    rows.push(
        scenario("h9_a_claim_of_5_kib_travels_in_the_claims_only")
            .responds(&long)
            .granted(&[], &long),
    );

    for (name, document) in MALFORMED {
        rows.push(
            scenario(name)
                .responds(document)
                .refused(503, "issuer_answer_malformed"),
        );
    }
    for (name, document) in EXPIRED {
        rows.push(scenario(name).responds(document).refused(401, "expired"));
    }
    for (name, document) in NOT_YET_VALID {
        rows.push(
            scenario(name)
                .responds(document)
                .refused(401, "not_yet_valid"),
        );
    }
    for (name, document) in WRONG_TYPE {
        rows.push(
            scenario(name)
                .responds(document)
                .refused(401, "wrong_token_type"),
        );
    }
    rows.extend([
        scenario("p13_a_login_that_waits_for_its_second_factor_is_not_finished")
            .responds(r#"{"active":true,"scope":"mfa_challenge"}"#)
            .refused(401, "unfinished_login"),
        scenario("p13_mfa_challenge_among_other_scopes_is_not_finished")
            .responds(r#"{"active":true,"scope":["read","mfa_challenge"]}"#)
            .refused(401, "unfinished_login"),
        scenario("j9_a_token_bound_to_a_certificate_needs_its_proof")
            .responds(r#"{"active":true,"cnf":{"x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}}"#)
            .refused(401, "proof_of_possession_missing"),
        scenario("j9_a_token_bound_to_a_dpop_key_needs_its_proof")
            .responds(r#"{"active":true,"token_type":"bearer","cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}"#)
            .refused(401, "proof_of_possession_missing"),
        scenario("p14_a_gigabyte_is_not_read")
            .issuer(Issuer::Floods(1 << 30))
            .refused(503, "issuer_answer_too_large"),
        scenario("p14_one_byte_over_the_limit_is_too_large")
            .issuer(Issuer::Answers(answer(200, "application/json", padded(64 * 1024 + 1))))
            .refused(503, "issuer_answer_too_large"),
        scenario("p14_an_answer_at_the_limit_is_read")
            .issuer(Issuer::Answers(answer(200, "application/json", padded_inactive(64 * 1024))))
            .refused(401, "inactive"),
        scenario("p14_an_answer_that_drips_is_too_slow")
            .issuer(Issuer::Drips(crate::single::scenario::json(IBM)))
            .refused(503, "issuer_timeout"),
    ]);
    rows
}

const OLD_IBM: &str = r#"{"active":true,"aud":"service-a","client_id":"service-a","exp":{now+3600},"iat":{now-60},"iss":"https://tenant.verify.ibm.com/oidc/endpoint/default","sub":"service-a","grant_type":"client_credentials","token_type":"bearer","ext":{"tenantId":"tenant.verify.ibm.com"},"entitlements":["readData"],"realmName":"cloudIdentityRealm","uniqueSecurityName":"service-a"}"#;

const MALFORMED: &[(&str, &str)] = &[
    (
        "p1_active_as_the_text_false_is_no_answer",
        r#"{"active":"false"}"#,
    ),
    ("p1_active_as_0_is_no_answer", r#"{"active":0}"#),
    ("p1_active_as_1_is_no_answer", r#"{"active":1}"#),
    ("p1_active_as_null_is_no_answer", r#"{"active":null}"#),
    ("p1_active_as_an_object_is_no_answer", r#"{"active":{}}"#),
    ("p1_active_as_an_array_is_no_answer", r#"{"active":[true]}"#),
    (
        "p2_active_as_the_text_true_is_no_answer",
        r#"{"active":"true"}"#,
    ),
    (
        "p3_a_document_without_active_is_no_answer",
        r#"{"exp":4000000000,"sub":"service-a"}"#,
    ),
    ("p3_an_empty_object_is_no_answer", "{}"),
    (
        "p3_active_in_another_case_is_not_active",
        r#"{"Active":true,"ACTIVE":true}"#,
    ),
    (
        "p3_active_inside_another_object_is_not_active",
        r#"{"data":{"active":true}}"#,
    ),
    (
        "p6_active_twice_is_no_answer",
        r#"{"active":false,"active":true}"#,
    ),
    (
        "p6_active_twice_with_true_first_is_no_answer",
        r#"{"active":true,"active":false}"#,
    ),
    (
        "p6_active_twice_with_an_escape_is_no_answer",
        r#"{"active":true,"\u0061ctive":true}"#,
    ),
    (
        "p6_scope_twice_is_no_answer",
        r#"{"active":true,"scope":"a","scope":"admin"}"#,
    ),
    (
        "p6_aud_twice_is_no_answer",
        r#"{"active":true,"aud":"a","aud":"b"}"#,
    ),
    (
        "p6_exp_twice_is_no_answer",
        r#"{"active":true,"exp":1,"exp":4000000000}"#,
    ),
    (
        "p6_a_name_twice_deep_inside_is_no_answer",
        r#"{"active":true,"ext":{"a":1,"a":2}}"#,
    ),
    (
        "p7_aud_as_a_number_is_no_answer",
        r#"{"active":true,"aud":7}"#,
    ),
    (
        "p7_aud_nested_is_no_answer",
        r#"{"active":true,"aud":[["service-a"]]}"#,
    ),
    (
        "p7_aud_as_an_object_is_no_answer",
        r#"{"active":true,"aud":{"0":"service-a"}}"#,
    ),
    (
        "p9_a_scope_with_a_tab_is_no_answer",
        r#"{"active":true,"scope":"read\twrite"}"#,
    ),
    (
        "p9_a_space_inside_an_array_element_is_no_answer",
        r#"{"active":true,"scope":["read write"]}"#,
    ),
    (
        "p9_a_scope_as_a_number_is_no_answer",
        r#"{"active":true,"scope":5}"#,
    ),
    (
        "p10_exp_as_a_text_is_no_answer",
        r#"{"active":true,"exp":"4000000000"}"#,
    ),
    (
        "p10_exp_as_nan_is_no_answer",
        r#"{"active":true,"exp":NaN}"#,
    ),
    (
        "p10_exp_over_64_bits_is_no_answer",
        r#"{"active":true,"exp":9223372036854775808}"#,
    ),
    (
        "p10_exp_over_what_a_float_holds_is_no_answer",
        r#"{"active":true,"exp":1e999}"#,
    ),
    (
        "p10_exp_in_milliseconds_is_no_answer",
        r#"{"active":true,"exp":4000000000000}"#,
    ),
    (
        "p16_sub_as_a_number_is_no_answer",
        r#"{"active":true,"sub":5}"#,
    ),
    ("rfc8259_an_array_is_no_answer", r#"[{"active":true}]"#),
    ("rfc8259_true_alone_is_no_answer", "true"),
    ("rfc8259_an_empty_body_is_no_answer", ""),
    (
        "rfc8259_half_a_document_is_no_answer",
        r#"{"active":true,"sub":"a"#,
    ),
    (
        "rfc8259_anything_after_the_document_is_no_answer",
        r#"{"active":true}{"active":false}"#,
    ),
    (
        "rfc8259_s8_1_a_byte_order_mark_is_no_answer",
        "\u{feff}{\"active\":true}",
    ),
    (
        "rfc8259_s9_deep_nesting_is_no_answer",
        concat!(
            r#"{"active":true,"x":"#,
            "[[[[[[[[[[[[[[[[[[[[",
            "]]]]]]]]]]]]]]]]]]]]",
            "}"
        ),
    ),
];

const EXPIRED: &[(&str, &str)] = &[
    (
        "p10_an_exp_that_has_passed_is_expired",
        r#"{"active":true,"exp":{now-40}}"#,
    ),
    ("p10_an_exp_of_0_is_expired", r#"{"active":true,"exp":0}"#),
    (
        "p10_a_negative_exp_is_expired",
        r#"{"active":true,"exp":-1}"#,
    ),
    (
        "p10_the_least_exp_is_expired",
        r#"{"active":true,"exp":-9223372036854775808}"#,
    ),
    (
        "p10_a_hugely_negative_exp_is_expired",
        r#"{"active":true,"exp":-1e300}"#,
    ),
];

const NOT_YET_VALID: &[(&str, &str)] = &[
    (
        "rfc7519_s4_1_5_an_nbf_ahead_is_not_yet_valid",
        r#"{"active":true,"nbf":{now+600}}"#,
    ),
    (
        "rfc7519_s4_1_6_an_iat_ahead_is_not_yet_valid",
        r#"{"active":true,"iat":{now+600}}"#,
    ),
];

const WRONG_TYPE: &[(&str, &str)] = &[
    (
        "p12_a_refresh_token_by_token_use",
        r#"{"active":true,"token_use":"refresh_token"}"#,
    ),
    (
        "p12_a_refresh_token_by_token_type",
        r#"{"active":true,"token_type":"N_A"}"#,
    ),
    ("p12_an_id_token_by_typ", r#"{"active":true,"typ":"ID"}"#),
    (
        "p12_a_dpop_token_by_token_type",
        r#"{"active":true,"token_type":"DPoP"}"#,
    ),
];

/// An active document of exactly this many bytes.
fn padded(bytes: usize) -> String {
    pad(r#"{"active":true"#, bytes)
}

/// An inactive one: granted, its claims would not fit into a header of every host.
fn padded_inactive(bytes: usize) -> String {
    pad(r#"{"active":false"#, bytes)
}

fn pad(start: &str, bytes: usize) -> String {
    let blanks = " ".repeat(bytes - start.len() - 1);
    format!("{start}{blanks}}}")
}
