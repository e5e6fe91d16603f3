//! Introspection responses that the issuer has to sign (RFC 9701). How its keys rotate is in
//! `tests/jwt`.

use verify_stub::{ResponseFault, SignedResponses, SigningAlgorithm, StubClient};

use crate::fixture::{CLIENT_ID, CLIENT_SECRET};
use crate::single::scenario::{Issuer, Scenario, answer, scenario};

/// As in the documents about tokens.
const ISSUER: &str = "https://tenant.verify.ibm.com/oauth2";

/// Whose keys are published from the start.
pub(crate) const ALGORITHMS: [SigningAlgorithm; 3] = [
    SigningAlgorithm::EdDsa,
    SigningAlgorithm::Es256,
    SigningAlgorithm::Rs256,
];

/// What is wrong with the responses to a client, with a part of the line in the log, and how often
/// the issuer is asked: where no key fits, once more with keys that were fetched anew.
const FAULTS: [(&str, &str, ResponseFault, &str, u64); 7] = [
    (
        "j10_a_plain_response_where_a_signed_one_is_demanded",
        "signed-plain",
        ResponseFault::Plain,
        "the issuer's response is JSON, which is not signed",
        1,
    ),
    (
        "j10_a_response_with_the_typ_of_an_access_token",
        "signed-type",
        ResponseFault::Type,
        "its typ is not token-introspection+jwt",
        1,
    ),
    (
        "j10_a_response_by_another_issuer",
        "signed-issuer",
        ResponseFault::Issuer,
        "its iss is not expected_issuer",
        1,
    ),
    (
        "j10_a_response_for_another_client",
        "signed-audience",
        ResponseFault::Audience,
        "its aud does not have resource_client_id",
        1,
    ),
    (
        "j10_a_response_with_a_key_that_is_not_published",
        "signed-key",
        ResponseFault::Key,
        "is signed with a key that is not among its keys",
        2,
    ),
    (
        "j10_a_response_with_a_signature_over_other_claims",
        "signed-signature",
        ResponseFault::Signature,
        "is not by the key that it names",
        2,
    ),
    (
        "j10_an_old_response",
        "signed-time",
        ResponseFault::Time,
        "was signed before it was asked for",
        1,
    ),
];

/// The clients of the issuer for these rows.
pub(crate) fn clients() -> Vec<StubClient> {
    let client = |id: &str, how| {
        let client = StubClient::new(id).with_credentials(id, CLIENT_SECRET);
        client.with_signed_responses(how)
    };
    let by = |algorithm| SignedResponses::new(algorithm).with_issuer(ISSUER);
    let mut clients = vec![
        client("signed-eddsa", by(SigningAlgorithm::EdDsa)),
        client("signed-es256", by(SigningAlgorithm::Es256)),
        client("signed-rs256", by(SigningAlgorithm::Rs256)),
    ];
    for (_, id, fault, _, _) in FAULTS {
        clients.push(client(id, by(SigningAlgorithm::EdDsa).with_fault(fault)));
    }
    clients
}

fn row(name: &'static str, client: &str) -> Scenario {
    scenario(name)
        .authenticates()
        .with("signed_introspection", "true")
        .with("resource_client_id", client)
        .with("jwks_url", "{issuer}/oauth2/jwks")
        .with("expected_issuer", ISSUER)
}

pub(crate) fn rows() -> Vec<Scenario> {
    let mut rows = vec![
        row("rfc9701_s5_a_response_signed_with_ed25519", "signed-eddsa"),
        row("rfc9701_s5_a_response_signed_with_es256", "signed-es256"),
        row("rfc9701_s5_a_response_signed_with_rs256", "signed-rs256"),
        row(
            "rfc9701_s5_strategy_auto_demands_it_of_opaque_tokens",
            "signed-eddsa",
        )
        .with("strategy", "auto")
        .with("expected_aud", "service-a"),
        row("rfc9701_s5_a_token_is_not_active", "signed-eddsa")
            .issuer(Issuer::Authenticates(r#"{"active":false}"#))
            .refused(401, "inactive"),
        row(
            "rfc9701_s5_what_is_signed_is_read_as_strictly",
            "signed-eddsa",
        )
        .issuer(Issuer::Authenticates(r#"{"active":"true"}"#))
        .refused(503, "issuer_answer_malformed"),
        row("rfc9701_s5_a_client_for_which_nothing_is_signed", CLIENT_ID)
            .refused(503, "issuer_response_unsigned"),
        row("j10_an_unsigned_error_says_nothing_of_a_token", CLIENT_ID)
            .issuer(Issuer::Answers(answer(
                400,
                "application/json",
                r#"{"error":"unsupported_token_type"}"#,
            )))
            .refused(503, "issuer_response_unsigned")
            .logs("the issuer responded with an error about the token, which is not signed"),
        scenario("rfc9701_s4_without_the_setting_plain_json_is_asked_for")
            .authenticates()
            .with("resource_client_id", "signed-eddsa"),
        row("rfc9701_s5_without_keys_nothing_is_asked", "signed-eddsa")
            .with(
                "jwks_url",
                "{issuer}/oauth2/.well-known/openid-configuration",
            )
            .refused(503, "issuer_keys_unusable")
            .introspections(0),
    ];
    for (name, client, _, log, introspections) in FAULTS {
        rows.push(
            row(name, client)
                .refused(503, "issuer_response_unsigned")
                .introspections(introspections)
                .logs(log),
        );
    }
    rows
}
