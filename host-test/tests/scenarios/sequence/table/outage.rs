//! The issuer fails, and comes back.

use super::ACTIVE;
use crate::sequence::row::{Facts, PROBE, Responds, Sequence, Step, Verdict, sequence};

pub(crate) fn rows() -> Vec<Sequence> {
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
        .responds(PROBE, Responds::Status(500))
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
        sequence("what_is_past_its_time_does_not_count_while_the_issuer_fails_for_this_token_only")
            .with("cache_ttl", "1")
            .with("stale_if_error", "60")
            .responds("t", Responds::Active(ACTIVE))
            .granted("t", "/", Facts::IntrospectedOnce)
            .wait_ms(1100)
            .responds("t", Responds::Status(500))
            .refused("t", "/", "issuer_failed", Facts::Introspected)
            .responds("t", Responds::Status(503))
            .refused("t", "/", "issuer_failed", Facts::Introspected)
            .responds("cold", Responds::Active(ACTIVE))
            .granted("cold", "/", Facts::IntrospectedOnce),
        sequence("an_issuer_that_fails_for_the_probe_too_is_left_alone_until_the_interval_is_over")
            .with("cache_ttl", "1")
            .with("stale_if_error", "60")
            .with("breaker_faults", "1")
            .with("probe_interval", "3")
            .responds("t", Responds::Active(ACTIVE))
            .responds("cold", Responds::Active(ACTIVE))
            .granted("t", "/", Facts::IntrospectedOnce)
            .wait_ms(1100)
            .responds("t", Responds::Status(503))
            .responds(PROBE, Responds::Status(503))
            .granted("t", "/", Facts::StaleWithoutCall)
            .first(Verdict::Granted, Facts::Stale)
            .forgetful(Verdict::Granted, Facts::Stale)
            .refused("cold", "/", "issuer_circuit_open", Facts::WithoutCall)
            // Each instance counts for itself.
            .forgetful(Verdict::Granted, Facts::IntrospectedOnce)
            .wait_ms(3100)
            .responds(PROBE, Responds::Inactive)
            .responds("t", Responds::Active(ACTIVE))
            .granted("t", "/", Facts::IntrospectedOnce)
            .granted("cold", "/", Facts::IntrospectedOnce),
        sequence("a_token_that_the_issuer_fails_on_opens_no_circuit")
            .with("breaker_faults", "1")
            .responds("t", Responds::Status(503))
            .responds("good", Responds::Active(ACTIVE))
            .refused("t", "/", "issuer_failed", Facts::Introspected)
            .granted("good", "/", Facts::Introspected)
            .refused("t", "/", "issuer_failed", Facts::Introspected)
            .granted("good", "/", Facts::Introspected),
    ]
}
