//! How the auth check authenticates at the issuer, which checks it.

use serde_json::Value;
use verify_stub::StubClient;

use crate::single::scenario::{Scenario, scenario};

/// Key pairs of RFC 6979 appendix A.2.5 and RFC 8037 appendix A.1, as private JWKs.
const P256: &str = r#"{"kty":"EC","crv":"P-256","kid":"2026-11","d":"ya-p2EW6dRZrXCFXZ7HWk05Qw9s26JsSe4piKxIPZyE","x":"YP7UuiVanTHJYet0xjVtaMBJuJI7Yfps5mliLmDyn7Y","y":"eQP-EAi4vJmkGunpVii8ZPLxsgwtfp9Rd6PClNRGIpk"}"#;
const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
/// Another one: RFC 7515 appendix A.3.1.
const OTHER_P256: &str = r#"{"kty":"EC","crv":"P-256","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

const TOKEN: &str = "introspection-only.7f9e~token";
const SECRET: &str = "assertion secret of 32 characters";

/// What no log may show.
pub(crate) const SECRETS: [&str; 5] = [
    "ya-p2EW6dRZrXCFXZ7HWk05Qw9s26JsSe4piKxIPZyE",
    "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
    TOKEN,
    SECRET,
];

const REJECTED: &str = "issuer_rejected_client: the issuer responded with HTTP status 401: check resource_client_id, client_key and its registration at the issuer, assertion_audience and the clock of this machine";

/// How far the issuer's clock is ahead of ours, in seconds, and whether it takes our assertions: for
/// 60 s, and not from the future. Limits are 20 s away, for what a busy machine takes.
const CLOCKS: &[(&str, &str, i64, bool)] = &[
    (
        "rfc7523_s3_an_issuer_a_little_behind_takes_an_assertion",
        "behind-3",
        -3,
        true,
    ),
    (
        "rfc7523_s3_an_issuer_a_little_ahead_takes_an_assertion",
        "ahead-30",
        30,
        true,
    ),
    (
        "rfc7523_s3_an_issuer_far_behind_takes_an_assertion_as_from_the_future",
        "behind-40",
        -40,
        false,
    ),
    (
        "rfc7523_s3_an_issuer_far_ahead_takes_an_assertion_as_expired",
        "ahead-90",
        90,
        false,
    ),
];

fn public(private: &str) -> Value {
    let mut jwk: Value = serde_json::from_str(private).unwrap();
    jwk.as_object_mut().unwrap().remove("d");
    jwk
}

/// The clients of the issuer for these rows.
pub(crate) fn clients() -> Vec<StubClient> {
    let client = |id: &str| StubClient::new(id).with_credentials(id, SECRET);
    let mut clients = vec![
        client("with-p256").with_key(public(P256)),
        client("with-ed25519").with_key(public(ED25519)),
        client("with-token").with_token(TOKEN),
        client("with secret"),
    ];
    for (_, id, ahead, _) in CLOCKS {
        clients.push(client(id).with_key(public(P256)).with_clock_ahead(*ahead));
    }
    clients
}

fn by_key(name: &'static str, id: &str, key: &str) -> Scenario {
    scenario(name)
        .authenticates()
        .with("client_auth", "private_key_jwt")
        .with("resource_client_id", id)
        .with("resource_client_secret", "")
        .with("client_key", key)
}

pub(crate) fn rows() -> Vec<Scenario> {
    let by_secret = |name, secret: &str| {
        scenario(name)
            .authenticates()
            .with("client_auth", "client_secret_jwt")
            .with("resource_client_id", "with secret")
            .with("resource_client_secret", secret)
    };
    let by_token = |name, token: &str| {
        scenario(name)
            .authenticates()
            .with("client_auth", "bearer")
            .with("resource_client_secret", "")
            .with("introspect_token", token)
    };
    let mut rows = vec![
        scenario("rfc6749_s2_3_1_basic_is_what_the_issuer_checks").authenticates(),
        by_key("rfc7523_s3_private_key_jwt_by_es256", "with-p256", P256),
        by_key("rfc7523_s3_private_key_jwt_by_eddsa", "with-ed25519", ED25519),
        by_key("rfc7523_s3_each_call_has_a_jti_of_its_own", "with-p256", P256)
            .after_requests(3)
            .introspections(4),
        by_key("rfc7523_s3_another_key_is_not_the_registered_one", "with-p256", OTHER_P256)
            .refused(503, "issuer_rejected_client")
            .logs(REJECTED),
        by_key("rfc7523_s3_a_key_of_another_type_is_not_the_registered_one", "with-p256", ED25519)
            .refused(503, "issuer_rejected_client")
            .logs(REJECTED),
        by_key("rfc7523_s3_another_client_has_another_key", "with-ed25519", P256)
            .refused(503, "issuer_rejected_client")
            .logs(REJECTED),
        by_key("rfc7523_s3_an_unknown_client_is_rejected", "nobody", P256)
            .refused(503, "issuer_rejected_client")
            .logs(REJECTED),
        by_key("rfc7523_s3_an_assertion_for_another_audience_is_rejected", "with-p256", P256)
            .with("assertion_audience", "https://other.example")
            .refused(503, "issuer_rejected_client")
            .logs(REJECTED),
        by_secret("rfc7523_s3_client_secret_jwt_by_hs256", SECRET),
        by_secret("rfc7523_s3_another_secret_signs_no_assertion", "another secret of 32 characters.")
            .refused(503, "issuer_rejected_client")
            .logs("check resource_client_id, resource_client_secret, assertion_audience and the clock of this machine"),
        by_token("rfc7662_s2_1_an_access_token_authenticates_us", TOKEN),
        by_token("rfc7662_s2_1_another_access_token_does_not", "introspection-only.other")
            .refused(503, "issuer_rejected_client")
            .logs("check introspect_token, which may have expired, and client_auth"),
    ];
    for (name, id, _, is_good) in CLOCKS {
        let row = by_key(name, id, P256);
        rows.push(match is_good {
            true => row,
            false => row.refused(503, "issuer_rejected_client").logs(REJECTED),
        });
    }
    rows
}
