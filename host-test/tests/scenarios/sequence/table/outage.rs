//! The issuer fails, and comes back.

use super::ACTIVE;
use crate::sequence::row::{Facts, Responds, Sequence, Step, Verdict, sequence};

pub(crate) fn rows() -> Vec<Sequence> {
    let failed = Verdict::Refused("issuer_failed");
    vec![
        sequence(
            "while_nobody_listens_known_tokens_work_past_their_time_for_so_long_and_no_longer",
        )
        .with("cache_ttl", "2")
        .with("stale_if_error", "3")
        .responds("t", Responds::Active(ACTIVE))
        .granted("t", "/", Facts::IntrospectedOnce)
        .step(Step::Down)
        .granted("t", "/", Facts::Cached)
        .refused("cold", "/", "issuer_unreachable", Facts::WithoutCall)
        .wait_ms(2100)
        .granted("t", "/", Facts::StaleWithoutCall)
        .refused("cold", "/", "issuer_unreachable", Facts::WithoutCall)
        .wait_ms(3100)
        .refused("t", "/", "issuer_unreachable", Facts::WithoutCall)
        .step(Step::Up)
        .responds("t", Responds::Inactive)
        .refused("t", "/", "inactive", Facts::Introspected),
        sequence(
            "what_is_past_its_time_counts_while_the_issuer_answers_500_and_not_when_it_refuses_us",
        )
        .with("cache_ttl", "1")
        .with("stale_if_error", "60")
        .responds("t", Responds::Active(ACTIVE))
        .granted("t", "/", Facts::IntrospectedOnce)
        .responds("t", Responds::Status(500))
        .wait_ms(1100)
        .granted("t", "/", Facts::Stale)
        .responds("t", Responds::Status(401))
        .refused("t", "/", "issuer_rejected_client", Facts::Introspected)
        .responds("t", Responds::Inactive)
        .refused("t", "/", "inactive", Facts::Introspected)
        // Its word counts from then on, whatever it said before.
        .responds("t", Responds::Status(500))
        .refused("t", "/", "issuer_failed", Facts::Introspected),
        sequence("without_stale_if_error_nothing_counts_past_its_time")
            .with("cache_ttl", "1")
            .responds("t", Responds::Active(ACTIVE))
            .granted("t", "/", Facts::IntrospectedOnce)
            .responds("t", Responds::Status(500))
            .wait_ms(1100)
            .refused("t", "/", "issuer_failed", Facts::Introspected),
        sequence("an_issuer_that_fails_is_left_alone_and_asked_again_when_the_interval_is_over")
            .with("cache_ttl", "60")
            .with("breaker_faults", "1")
            .with("probe_interval", "3")
            .responds("known", Responds::Active(ACTIVE))
            .responds("t", Responds::Status(503))
            .responds("cold", Responds::Active(ACTIVE))
            .granted("known", "/", Facts::IntrospectedOnce)
            .refused("t", "/", "issuer_circuit_open", Facts::WithoutCall)
            .first(failed, Facts::Introspected)
            .forgetful(failed, Facts::Introspected)
            .refused("cold", "/", "issuer_circuit_open", Facts::WithoutCall)
            // Each instance counts for itself.
            .forgetful(Verdict::Granted, Facts::IntrospectedOnce)
            .granted("known", "/", Facts::Cached)
            .wait_ms(3100)
            // Not the token that it choked on.
            .responds("fresh", Responds::Active(ACTIVE))
            .granted("fresh", "/", Facts::IntrospectedOnce)
            .responds("t", Responds::Active(ACTIVE))
            .granted("t", "/", Facts::IntrospectedOnce)
            .granted("known", "/", Facts::Cached),
    ]
}
