//! Where settings come from, and what wrong ones do.

use envoy_runner::{Envoy, EnvoyOptions};
use serde_json::json;

use crate::{
    wire::get,
    world::{World, skip_without_envoy},
};

#[tokio::test]
async fn the_plugins_configuration_wins_over_the_environment() {
    skip_without_envoy!();
    let settings = [
        ("required_scope", "write"),
        ("realm", "from-the-environment"),
    ];
    let world = World::start_with(&settings, |options, _| {
        options.plugin_json = Some(json!({ "required_scope": "read", "whoami_path": "/me" }));
    })
    .await;
    world.active("good");
    assert_eq!(get(world.address(), "/me", "good").await.status, 200);
    let refused = get(world.address(), "/me", "bad").await;
    assert!(
        refused.header("www-authenticate")[0].contains(r#"realm="from-the-environment""#),
        "{refused:?}"
    );
    world.finish().await;
}

#[tokio::test]
async fn envoy_does_not_start_with_wrong_settings_and_one_error_names_the_key() {
    skip_without_envoy!();
    let good = [
        ("introspect_url", "https://issuer.example/introspect"),
        ("resource_client_id", "b"),
        ("resource_client_secret", "s3cr3t"),
    ];
    let rows = [
        (
            ("resource_client_secret", ""),
            json!({}),
            "setting `resource_client_secret` (WORKOUT18_RESOURCE_CLIENT_SECRET) is missing or empty",
        ),
        (
            ("introspect_url", "http://issuer.example/"),
            json!({}),
            "setting `introspect_url` (WORKOUT18_INTROSPECT_URL) is plain http to another machine",
        ),
        (
            ("timeout", "0"),
            json!({}),
            "setting `timeout` (WORKOUT18_TIMEOUT) must be",
        ),
        (
            ("timeout", "5"),
            json!({ "timeouts": 5 }),
            "setting `timeouts` (WORKOUT18_TIMEOUTS) is not known",
        ),
        (
            ("whoami_path", "data"),
            json!({}),
            "setting `whoami_path` (WORKOUT18_WHOAMI_PATH) must begin with `/`",
        ),
        (
            ("timeout", "5"),
            json!([]),
            "the plugin's configuration is not a JSON object",
        ),
    ];
    for (wrong, plugin, error) in rows {
        let settings = good
            .iter()
            .chain([&wrong])
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let started = Envoy::start(EnvoyOptions {
            settings: settings.collect(),
            plugin_json: Some(plugin),
            ..EnvoyOptions::default()
        })
        .await;
        let said = started.err().expect("it starts").to_string();
        assert_eq!(said.matches("wasm log").count(), 1, "{said}");
        assert!(said.contains(error), "{error}: {said}");
        assert!(!said.contains("s3cr3t"), "{said}");
    }
}

#[tokio::test]
async fn an_issuer_whose_cluster_this_envoy_does_not_have_is_a_denied_call() {
    skip_without_envoy!();
    let world = World::start(&[("issuer_cluster", "idp")]).await;
    world.active("good");
    let answer = get(world.address(), "/data", "good").await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (503, "issuer_call_denied")
    );
    assert!(
        world
            .envoy
            .log()
            .contains(r#"there is no Envoy cluster "idp""#)
    );
    assert_eq!(world.stub.counters().introspect, 0);
    world.finish().await;
}
