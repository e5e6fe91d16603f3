//! Routes on which Envoy is logged not to run the check.

use envoy_runner::{EnvoyOptions, MANAGER};
use serde_json::{Value, json};
use token_check::IDENTITY_HEADERS;

use crate::{
    documented::snippet,
    fixture::{Fixture, active, skip_without_envoy},
    wire::{bearer, get, head, send},
};

/// The route of docs/envoy.md on which the check is disabled goes first.
fn with_open_route(options: &mut EnvoyOptions) {
    let routes = snippet("typed_per_filter_config");
    let mut routes: Vec<Value> = serde_saphyr::from_str(&routes).unwrap();
    routes.push(json!({ "match": { "prefix": "/" }, "route": { "cluster": "upstream" } }));
    let path = format!("{MANAGER}/route_config/virtual_hosts/0/routes");
    options.overrides.push((path, json!(routes)));
    options.plugin_json = Some(json!({}));
}

/// Every spelling of our headers that some server takes for the same.
fn forged() -> Vec<u8> {
    let mut lines = String::new();
    for name in IDENTITY_HEADERS {
        for name in [
            name.to_owned(),
            name.to_uppercase(),
            name.replace('-', "."),
            name.replace('-', "_"),
            name.replacen('-', "_", 1),
            name.replacen('-', ".", 1),
        ] {
            lines += &format!("{name}: evil\r\n");
        }
    }
    (lines + "x-auth-user: mine\r\nx-auth: mine\r\n").into_bytes()
}

#[tokio::test]
async fn on_a_route_without_the_check_nothing_that_a_caller_claims_to_be_gets_through() {
    skip_without_envoy!();
    let fixture = Fixture::start_with(&[], |options, _| {
        with_open_route(options);
        // As shipped, Envoy refuses a name with an underscore. What is removed does not depend on
        // that.
        let path =
            format!("{MANAGER}/common_http_protocol_options/headers_with_underscores_action");
        options.overrides.push((path, json!("ALLOW")));
    })
    .await;
    fixture.active("good");
    let extra = [forged(), bearer("good")].concat();
    for path in ["/healthz", "/gated"] {
        let answer = send(fixture.address(), &head("GET", path, &extra)).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    let [open, gated] = &fixture.app.seen()[..] else {
        panic!("two requests");
    };
    let ours = |name: &&String| {
        name.starts_with("x-auth") || name.starts_with("x.") || name.starts_with("x_")
    };
    let names: Vec<_> = open
        .headers
        .iter()
        .map(|(name, _)| name)
        .filter(ours)
        .collect();
    assert_eq!(names, ["x-auth-user", "x-auth"]);
    // Nobody has read it, and it is not for the app: docs/envoy.md says so.
    assert_eq!(open.values("authorization"), ["Bearer good"]);

    for (name, value) in [
        ("x-auth-subject", "caller"),
        ("x-auth-client-id", "caller"),
        ("x-auth-issuer", "https://issuer.example"),
        ("x-auth-scope", "read"),
    ] {
        assert_eq!(gated.values(name), [value], "{name}");
    }
    assert_eq!(gated.values("x-auth-claims").len(), 1);
    assert!(gated.values("authorization").is_empty());
    assert!(
        !gated.headers.iter().any(|(_, value)| value == "evil"),
        "{gated:?}"
    );
    fixture.finish().await;
}

/// Envoy chooses the route again when the check has changed a header.
#[tokio::test]
async fn a_route_may_depend_on_the_identity_headers_of_the_check_and_not_on_forged_ones() {
    skip_without_envoy!();
    let fixture = Fixture::start_with(&[("cache_ttl", "60")], |options, _| {
        let for_subject = |subject: &str, status: u16| {
            json!({
                "match": {
                    "prefix": "/",
                    "headers": [{ "name": "x-auth-subject", "string_match": { "exact": subject } }],
                },
                "direct_response": { "status": status },
                // Chosen by what a caller says, this would let it pass.
                "typed_per_filter_config": { "auth_check": {
                    "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
                    "disabled": true,
                } },
            })
        };
        let rest = json!({ "match": { "prefix": "/" }, "route": { "cluster": "upstream" } });
        let routes = json!([for_subject("admin", 418), for_subject("caller", 226), rest]);
        let path = format!("{MANAGER}/route_config/virtual_hosts/0/routes");
        options.overrides.push((path, routes));
        options.plugin_json = Some(json!({}));
    })
    .await;
    fixture.active("good");
    let mut other = active();
    other["sub"] = json!("other");
    fixture.stub.register("other", &other);
    // Asked and from memory: the check sets its headers in a callback of its own, or at once.
    for _ in 0..2 {
        for (token, status) in [("good", 226), ("other", 200), ("bad", 401)] {
            let extra = [b"x-auth-subject: admin\r\n".to_vec(), bearer(token)].concat();
            let answer = send(fixture.address(), &head("GET", "/", &extra)).await;
            assert_eq!(answer.status, status, "{token}: {answer:?}");
        }
    }
    fixture.finish().await;
}

#[tokio::test]
async fn a_public_rule_opens_a_path_and_takes_the_token_away() {
    skip_without_envoy!();
    let plugin: Value = serde_json::from_str(&snippet("\"public\"")).unwrap();
    let fixture = Fixture::start_with(&[], |options, _| options.plugin_json = Some(plugin)).await;
    let extra = [forged_dashes(), bearer("unknown")].concat();
    let answer = send(fixture.address(), &head("GET", "/healthz", &extra)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(get(fixture.address(), "/", "unknown").await.status, 401);
    let [open] = &fixture.app.seen()[..] else {
        panic!("one request");
    };
    for name in ["authorization"].into_iter().chain(IDENTITY_HEADERS) {
        assert!(open.values(name).is_empty(), "{name}: {open:?}");
    }
    assert_eq!(fixture.stub.counters().introspect, 1);
    fixture.finish().await;
}

fn forged_dashes() -> Vec<u8> {
    let lines = IDENTITY_HEADERS.map(|name| format!("{name}: evil\r\n"));
    lines.concat().into_bytes()
}
