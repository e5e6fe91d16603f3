//! What happens to requests that wait while Envoy drains or takes a new configuration, and when a
//! VM fails.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use verify_stub::Reaction;

use crate::{
    fixture::{Fixture, skip_without_envoy},
    waiting::until,
    wire::{Connection, bearer, get, head},
};

const CONFIGURATION: &str = "/filter_chains/0/filters/0/typed_config/http_filters/1/typed_config/config/configuration/value";

/// Callers that wait for the issuer, each on a connection of its own.
async fn waiting(fixture: &Fixture, token: &str) -> Vec<Connection> {
    let callers = join_all((0..20).map(async |_| {
        let mut connection = Connection::open(fixture.address()).await;
        connection
            .write(&head("GET", "/data", &bearer(token)))
            .await;
        connection
    }))
    .await;
    // All of them: those that ask, one per worker, and those that joined.
    until(async || {
        let stats = fixture.envoy.stats().await.unwrap();
        let joined = stats["wasmcustom.trust_triangle_flights_joined"];
        joined + fixture.stub.introspections_of(token) == 20
    })
    .await;
    callers
}

fn slow(fixture: &Fixture, token: &str) {
    fixture.active(token);
    let slow = Reaction::normal().after(Duration::from_millis(1500));
    fixture.stub.script(token, vec![slow]);
}

#[tokio::test]
async fn requests_that_wait_while_the_listener_drains_are_answered() {
    skip_without_envoy!();
    let fixture = Fixture::start(&[]).await;
    slow(&fixture, "slow");
    let callers = waiting(&fixture, "slow").await;
    fixture.envoy.drain().await.unwrap();
    for mut caller in callers {
        let answer = caller.answer().await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(fixture.stub.introspections_of("slow"), 1);
    fixture.finish().await;
}

#[tokio::test]
async fn requests_that_wait_while_the_configuration_changes_end_under_the_one_they_came_under() {
    skip_without_envoy!();
    let fixture = Fixture::start_with(&[], |options, _| {
        options.listener_from_file = true;
        options.concurrency = 2;
    })
    .await;
    slow(&fixture, "slow");
    let callers = waiting(&fixture, "slow").await;
    let set = |value: Value| {
        move |listener: &mut Value| {
            *listener.pointer_mut(CONFIGURATION).unwrap() = value.to_string().into();
        }
    };
    let strict = json!({ "whoami_path": "/data", "required_scope": "write" });
    fixture.envoy.update_listener(set(strict)).await.unwrap();
    fixture.active("good");
    until(async || get(fixture.address(), "/data", "good").await.status == 403).await;
    for mut caller in callers {
        let answer = caller.answer().await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    // One that is wrong changes nothing, and the error names the key.
    let wrong = json!({ "timeout": "soon" });
    let refused = fixture.envoy.update_listener(set(wrong)).await.unwrap_err();
    let refused = refused.to_string();
    assert!(
        refused.contains(
            "setting `timeout` (in the plugin's configuration) must be a whole number of seconds"
        ),
        "{refused}"
    );
    assert_eq!(get(fixture.address(), "/data", "good").await.status, 403);
    let vms = fixture.envoy.vms().await.unwrap();
    assert_eq!(vms.reloaded, 0);
    assert!(!fixture.envoy.log().contains("panic at"));
    fixture.envoy.stop().await.unwrap();
}

#[tokio::test]
async fn a_vm_that_fails_grants_no_request() {
    skip_without_envoy!();
    // A filter that traps at every request.
    let trap = wat::parse_str(
        r#"(module
            (memory (export "memory") 1)
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "_initialize"))
            (func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 0)
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable))"#,
    )
    .unwrap();
    let file = tempfile::Builder::new().suffix(".wasm").tempfile().unwrap();
    std::fs::write(file.path(), trap).unwrap();
    let fixture = Fixture::start_with(&[], |options, _| {
        options.wasm = Some(file.path().to_owned());
    })
    .await;
    for _ in 0..20 {
        let answer = get(fixture.address(), "/", "good").await;
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    // Made anew after a second, and it fails again.
    until(async || {
        assert_eq!(get(fixture.address(), "/", "good").await.status, 503);
        fixture.envoy.vms().await.unwrap().created > fixture.envoy.vms_at_start().created
    })
    .await;
    assert_eq!(get(fixture.address(), "/", "good").await.status, 503);
    assert!(fixture.app.seen().is_empty());
    fixture.envoy.stop().await.unwrap();
}
