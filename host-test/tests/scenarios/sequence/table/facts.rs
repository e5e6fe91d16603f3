//! Facts are kept for a while, decisions never.

use std::time::Duration;

use super::ACTIVE;
use crate::sequence::row::{Facts, Gate, Says, Sequence, Step, Verdict, sequence};

const READER: &str = r#"{"active":true,"client_id":"service-a","scope":"read"}"#;
const OF_A: &str =
    r#"{"active":true,"aud":"a","iss":"https://a","client_id":"a","grant_type":"a"}"#;

const SCOPES: &str = r#"[
    {"path":{"exact":"/r1"},"scopes":{"all":["read"]}},
    {"path":{"exact":"/r2"},"scopes":{"all":["write"]}}]"#;
const DEMANDS: &str = r#"[
    {"path":{"exact":"/a"},"audiences":["a"],"issuers":["https://a"],"clients":["a"],"grant_types":["a"]},
    {"path":{"exact":"/aud"},"audiences":["b"]},
    {"path":{"exact":"/iss"},"issuers":["https://b"]},
    {"path":{"exact":"/client"},"clients":["b"]},
    {"path":{"exact":"/grant"},"grant_types":["b"]}]"#;
const TTLS: &str = r#"[
    {"path":{"exact":"/long"},"ttl":600},
    {"path":{"exact":"/short"},"ttl":2},
    {"path":{"exact":"/never"},"ttl":0}]"#;
const DOORS: &str = r#"[
    {"path":{"exact":"/open"},"public":true},
    {"path":{"exact":"/closed"},"deny":true}]"#;

pub(crate) fn rows() -> Vec<Sequence> {
    vec![
        sequence("with_a_ttl_of_0_every_request_asks")
            .with("negative_cache_ttl", "60")
            .says("t", Says::Active(ACTIVE))
            .granted("t", "/", Facts::Asked)
            .granted("t", "/", Facts::Asked)
            .says("t", Says::Inactive)
            .refused("t", "/", "inactive", Facts::Asked),
        sequence("c1_a_hit_is_checked_for_the_scope_of_its_route")
            .with("cache_ttl", "60")
            .with("rules", SCOPES)
            .says("t", Says::Active(READER))
            .granted("t", "/r1", Facts::AskedOnce)
            .refused("t", "/r2", "insufficient_scope", Facts::Known)
            .granted("t", "/r1", Facts::Known),
        sequence("c2_what_one_issuer_says_opens_nothing_where_another_one_is_asked")
            .with("cache_ttl", "60")
            // What both share would stand in one place.
            .with("cache_entries", "1")
            .other(&[], true)
            .says("t", Says::Active(ACTIVE))
            .step(Step::Says(Gate::Other, "t", Says::Inactive))
            .granted("t", "/", Facts::AskedOnce)
            .refused("t", "/", "inactive", Facts::Asked)
            .at_other()
            .granted("t", "/", Facts::Known),
        sequence("c3_c5_a_hit_is_checked_for_audience_issuer_client_and_grant_type_of_its_route")
            .with("cache_ttl", "60")
            .with("rules", DEMANDS)
            .says("t", Says::Active(OF_A))
            .granted("t", "/a", Facts::AskedOnce)
            .refused("t", "/aud", "wrong_audience", Facts::Known)
            .refused("t", "/iss", "wrong_issuer", Facts::Known)
            .refused("t", "/client", "client_not_allowed", Facts::Known)
            .refused("t", "/grant", "grant_type_not_allowed", Facts::Known)
            .granted("t", "/a", Facts::Known),
        sequence("c4_a_route_with_a_short_ttl_is_not_served_from_one_with_a_long_ttl")
            .with("rules", TTLS)
            .says("t", Says::Active(ACTIVE))
            .granted("t", "/long", Facts::AskedOnce)
            .granted("t", "/short", Facts::Known)
            .granted("t", "/never", Facts::Asked)
            // `cache_ttl` is 0.
            .granted("t", "/other", Facts::Asked)
            .wait_ms(2100)
            .granted("t", "/long", Facts::Known)
            .granted("t", "/short", Facts::AskedOnce)
            .granted("t", "/short", Facts::Known),
        sequence("c6_nothing_is_used_past_exp")
            .with("cache_ttl", "300")
            .with("leeway", "0")
            .says(
                "t",
                Says::Active(r#"{"active":true,"client_id":"service-a","exp":{now+3}}"#),
            )
            .granted("t", "/", Facts::AskedOnce)
            .granted("t", "/", Facts::Known)
            .wait_ms(3100)
            .refused("t", "/", "expired", Facts::Asked),
        sequence("c7_what_one_client_of_the_issuer_was_told_another_one_is_not")
            .with("cache_ttl", "60")
            // What both share would stand in one place.
            .with("cache_entries", "1")
            .other(&[("resource_client_id", "tenant 2")], false)
            .says("t", Says::Active(ACTIVE))
            .granted("t", "/", Facts::AskedOnce)
            .says("t", Says::Inactive)
            .refused("t", "/", "inactive", Facts::Asked)
            .at_other()
            .granted("t", "/", Facts::Known),
        sequence("c9_a_spray_of_tokens_drives_out_no_good_one")
            .with("cache_ttl", "600")
            .with("negative_cache_ttl", "600")
            .with("cache_entries", "10")
            .says("t", Says::Active(ACTIVE))
            .granted("t", "/", Facts::AskedOnce)
            .step(Step::Spray(200))
            .granted("t", "/", Facts::Known),
        sequence("c11_a_fault_of_the_issuer_is_never_kept")
            .with("cache_ttl", "600")
            .with("negative_cache_ttl", "600")
            .says("t", Says::Status(500))
            .refused("t", "/", "issuer_failed", Facts::Asked)
            .says("t", Says::Status(401))
            .refused("t", "/", "issuer_rejected_client", Facts::Asked)
            .says("t", Says::Active("nonsense"))
            .refused("t", "/", "issuer_answer_malformed", Facts::Asked)
            .says("t", Says::Active(ACTIVE))
            .granted("t", "/", Facts::AskedOnce),
        sequence("c12_a_revocation_is_seen_when_the_ttl_is_over_and_neither_sooner_nor_later")
            .with("cache_ttl", "2")
            .says("t", Says::Active(ACTIVE))
            .granted("t", "/", Facts::AskedOnce)
            .step(Step::RefusedAfter("t", Duration::from_secs(2)))
            .refused("t", "/", "inactive", Facts::Asked),
        sequence("c12_with_a_ttl_of_0_a_revocation_is_seen_at_once")
            .says("t", Says::Active(ACTIVE))
            .granted("t", "/", Facts::Asked)
            .says("t", Says::Inactive)
            .refused("t", "/", "inactive", Facts::Asked),
        sequence("that_a_token_is_not_active_is_kept_for_its_own_time")
            .with("cache_ttl", "60")
            .with("negative_cache_ttl", "3")
            .says("t", Says::Inactive)
            .refused("t", "/", "inactive", Facts::AskedOnce)
            .says("t", Says::Active(ACTIVE))
            .refused("t", "/", "inactive", Facts::Known)
            .wait_ms(3100)
            .granted("t", "/", Facts::AskedOnce)
            .granted("t", "/", Facts::Known),
        sequence("one_token_is_not_another")
            .with("cache_ttl", "60")
            .says("t", Says::Active(ACTIVE))
            .says("T", Says::Inactive)
            .granted("t", "/", Facts::AskedOnce)
            .refused("T", "/", "inactive", Facts::Asked)
            .granted("t", "/", Facts::Known),
        sequence("what_needs_no_facts_looks_none_up")
            .with("cache_ttl", "60")
            .with("rules", DOORS)
            .says("t", Says::Active(ACTIVE))
            .granted("t", "/", Facts::AskedOnce)
            .refused("t", "/closed", "denied_by_rule", Facts::None)
            .anonymous("/open", Verdict::Granted)
            .anonymous("/closed", Verdict::Refused("denied_by_rule"))
            .anonymous("/", Verdict::Refused("no_credentials"))
            .granted("t", "/", Facts::Known),
    ]
}
