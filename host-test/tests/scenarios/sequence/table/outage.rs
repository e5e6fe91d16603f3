//! The issuer fails, and comes back.

use super::ACTIVE;
use crate::sequence::row::{Facts, Says, Sequence, Step, Verdict, sequence};

pub(crate) fn rows() -> Vec<Sequence> {
    let failed = Verdict::Refused("issuer_failed");
    vec![
        sequence(
            "while_nobody_listens_known_tokens_work_past_their_time_for_so_long_and_no_longer",
        )
        .with("cache_ttl", "2")
        .with("stale_if_error", "3")
        .says("t", Says::Active(ACTIVE))
        .granted("t", "/", Facts::AskedOnce)
        .step(Step::Down)
        .granted("t", "/", Facts::Known)
        .refused("cold", "/", "issuer_unreachable", Facts::Unasked)
        .wait_ms(2100)
        .granted("t", "/", Facts::StaleUnasked)
        .refused("cold", "/", "issuer_unreachable", Facts::Unasked)
        .wait_ms(3100)
        .refused("t", "/", "issuer_unreachable", Facts::Unasked)
        .step(Step::Up)
        .says("t", Says::Inactive)
        .refused("t", "/", "inactive", Facts::Asked),
        sequence(
            "what_is_past_its_time_counts_while_the_issuer_answers_500_and_not_when_it_refuses_us",
        )
        .with("cache_ttl", "1")
        .with("stale_if_error", "60")
        .says("t", Says::Active(ACTIVE))
        .granted("t", "/", Facts::AskedOnce)
        .says("t", Says::Status(500))
        .wait_ms(1100)
        .granted("t", "/", Facts::Stale)
        .says("t", Says::Status(401))
        .refused("t", "/", "issuer_rejected_client", Facts::Asked)
        .says("t", Says::Inactive)
        .refused("t", "/", "inactive", Facts::Asked)
        // Its word counts from then on, whatever it said before.
        .says("t", Says::Status(500))
        .refused("t", "/", "issuer_failed", Facts::Asked),
        sequence("without_stale_if_error_nothing_counts_past_its_time")
            .with("cache_ttl", "1")
            .says("t", Says::Active(ACTIVE))
            .granted("t", "/", Facts::AskedOnce)
            .says("t", Says::Status(500))
            .wait_ms(1100)
            .refused("t", "/", "issuer_failed", Facts::Asked),
        sequence("an_issuer_that_fails_is_left_alone_and_asked_again_when_the_interval_is_over")
            .with("cache_ttl", "60")
            .with("breaker_faults", "1")
            .with("probe_interval", "3")
            .says("known", Says::Active(ACTIVE))
            .says("t", Says::Status(503))
            .says("cold", Says::Active(ACTIVE))
            .granted("known", "/", Facts::AskedOnce)
            .refused("t", "/", "issuer_circuit_open", Facts::Unasked)
            .first(failed, Facts::Asked)
            .forgetful(failed, Facts::Asked)
            .refused("cold", "/", "issuer_circuit_open", Facts::Unasked)
            // Each instance counts for itself.
            .forgetful(Verdict::Granted, Facts::AskedOnce)
            .granted("known", "/", Facts::Known)
            .wait_ms(3100)
            // Not the token that it choked on.
            .says("fresh", Says::Active(ACTIVE))
            .granted("fresh", "/", Facts::AskedOnce)
            .says("t", Says::Active(ACTIVE))
            .granted("t", "/", Facts::AskedOnce)
            .granted("known", "/", Facts::Known),
    ]
}
