//! Facts are kept for a while, decisions never.

use std::time::Duration;

use super::ACTIVE;
use crate::sequence::row::{Deployment, Facts, Responds, Sequence, Step, Verdict, sequence};

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
            .responds("t", Responds::Active(ACTIVE))
            .granted("t", "/", Facts::Introspected)
            .granted("t", "/", Facts::Introspected)
            .responds("t", Responds::Inactive)
            .refused("t", "/", "inactive", Facts::Introspected),
        sequence("c1_a_hit_is_checked_for_the_scope_of_its_route")
            .with("cache_ttl", "60")
            .with("rules", SCOPES)
            .responds("t", Responds::Active(READER))
            .granted("t", "/r1", Facts::IntrospectedOnce)
            .refused("t", "/r2", "insufficient_scope", Facts::Cached)
            .granted("t", "/r1", Facts::Cached),
        sequence("c2_what_one_issuer_says_opens_nothing_where_another_one_is_asked")
            .with("cache_ttl", "60")
            // What both share would stand in one place.
            .with("cache_entries", "1")
            .other(&[], true)
            .responds("t", Responds::Active(ACTIVE))
            .step(Step::Responds(Deployment::Other, "t", Responds::Inactive))
            .granted("t", "/", Facts::IntrospectedOnce)
            .refused("t", "/", "inactive", Facts::Introspected)
            .at_other()
            .granted("t", "/", Facts::Cached),
        sequence("c3_c5_a_hit_is_checked_for_audience_issuer_client_and_grant_type_of_its_route")
            .with("cache_ttl", "60")
            .with("rules", DEMANDS)
            .responds("t", Responds::Active(OF_A))
            .granted("t", "/a", Facts::IntrospectedOnce)
            .refused("t", "/aud", "wrong_audience", Facts::Cached)
            .refused("t", "/iss", "wrong_issuer", Facts::Cached)
            .refused("t", "/client", "client_not_allowed", Facts::Cached)
            .refused("t", "/grant", "grant_type_not_allowed", Facts::Cached)
            .granted("t", "/a", Facts::Cached),
        sequence("c4_a_route_with_a_short_ttl_is_not_served_from_one_with_a_long_ttl")
            .with("rules", TTLS)
            .responds("t", Responds::Active(ACTIVE))
            .granted("t", "/long", Facts::IntrospectedOnce)
            .granted("t", "/short", Facts::Cached)
            .granted("t", "/never", Facts::Introspected)
            // `cache_ttl` is 0.
            .granted("t", "/other", Facts::Introspected)
            .wait_ms(2100)
            .granted("t", "/long", Facts::Cached)
            .granted("t", "/short", Facts::IntrospectedOnce)
            .granted("t", "/short", Facts::Cached),
        sequence("c6_nothing_is_used_past_exp")
            .with("cache_ttl", "300")
            .with("leeway", "0")
            .responds(
                "t",
                Responds::Active(r#"{"active":true,"client_id":"service-a","exp":{now+3}}"#),
            )
            .granted("t", "/", Facts::IntrospectedOnce)
            .granted("t", "/", Facts::Cached)
            .wait_ms(3100)
            .refused("t", "/", "expired", Facts::Introspected),
        sequence("c7_what_one_client_of_the_issuer_was_told_another_one_is_not")
            .with("cache_ttl", "60")
            // What both share would stand in one place.
            .with("cache_entries", "1")
            .other(&[("resource_client_id", "tenant 2")], false)
            .responds("t", Responds::Active(ACTIVE))
            .granted("t", "/", Facts::IntrospectedOnce)
            .responds("t", Responds::Inactive)
            .refused("t", "/", "inactive", Facts::Introspected)
            .at_other()
            .granted("t", "/", Facts::Cached),
        sequence("c9_a_spray_of_tokens_drives_out_no_good_one")
            .with("cache_ttl", "600")
            .with("negative_cache_ttl", "600")
            .with("cache_entries", "10")
            .responds("t", Responds::Active(ACTIVE))
            .granted("t", "/", Facts::IntrospectedOnce)
            .step(Step::Spray(200))
            .granted("t", "/", Facts::Cached),
        sequence("c11_a_fault_of_the_issuer_is_never_kept")
            .with("cache_ttl", "600")
            .with("negative_cache_ttl", "600")
            .responds("t", Responds::Status(500))
            .refused("t", "/", "issuer_failed", Facts::Introspected)
            .responds("t", Responds::Status(401))
            .refused("t", "/", "issuer_rejected_client", Facts::Introspected)
            .responds("t", Responds::Active("nonsense"))
            .refused("t", "/", "issuer_answer_malformed", Facts::Introspected)
            .responds("t", Responds::Active(ACTIVE))
            .granted("t", "/", Facts::IntrospectedOnce),
        sequence("c12_a_revocation_is_seen_when_the_ttl_is_over_and_neither_sooner_nor_later")
            .with("cache_ttl", "2")
            .responds("t", Responds::Active(ACTIVE))
            .granted("t", "/", Facts::IntrospectedOnce)
            .step(Step::RefusedAfter("t", Duration::from_secs(2)))
            .refused("t", "/", "inactive", Facts::Introspected),
        sequence("c12_with_a_ttl_of_0_a_revocation_is_seen_at_once")
            .responds("t", Responds::Active(ACTIVE))
            .granted("t", "/", Facts::Introspected)
            .responds("t", Responds::Inactive)
            .refused("t", "/", "inactive", Facts::Introspected),
        sequence("that_a_token_is_not_active_is_kept_for_its_own_time")
            .with("cache_ttl", "60")
            .with("negative_cache_ttl", "3")
            .responds("t", Responds::Inactive)
            .refused("t", "/", "inactive", Facts::IntrospectedOnce)
            .responds("t", Responds::Active(ACTIVE))
            .refused("t", "/", "inactive", Facts::Cached)
            .wait_ms(3100)
            .granted("t", "/", Facts::IntrospectedOnce)
            .granted("t", "/", Facts::Cached),
        sequence("one_token_is_not_another")
            .with("cache_ttl", "60")
            .responds("t", Responds::Active(ACTIVE))
            .responds("T", Responds::Inactive)
            .granted("t", "/", Facts::IntrospectedOnce)
            .refused("T", "/", "inactive", Facts::Introspected)
            .granted("t", "/", Facts::Cached),
        sequence("what_needs_no_facts_looks_none_up")
            .with("cache_ttl", "60")
            .with("rules", DOORS)
            .responds("t", Responds::Active(ACTIVE))
            .granted("t", "/", Facts::IntrospectedOnce)
            .refused("t", "/closed", "denied_by_rule", Facts::None)
            .anonymous("/open", Verdict::Granted)
            .anonymous("/closed", Verdict::Refused("denied_by_rule"))
            .anonymous("/", Verdict::Refused("no_credentials"))
            .granted("t", "/", Facts::Cached),
    ]
}
