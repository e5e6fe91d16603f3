//! Where settings come from, and what wrong ones do.

use envoy_runner::{Envoy, EnvoyOptions, PLUGIN, shipped_config};
use serde_json::json;

use crate::{
    documented::snippet,
    fixture::{Fixture, skip_without_envoy, with_two_workers},
    waiting::until,
    wire::get,
};

#[tokio::test]
async fn the_plugins_configuration_wins_over_the_environment() {
    skip_without_envoy!();
    let settings = [
        ("required_scope", "write"),
        ("realm", "from-the-environment"),
    ];
    let fixture = Fixture::start_with(&settings, |options, _| {
        options.plugin_json = Some(json!({ "required_scope": "read", "whoami_path": "/me" }));
    })
    .await;
    fixture.active("good");
    assert_eq!(get(fixture.address(), "/me", "good").await.status, 200);
    let refused = get(fixture.address(), "/me", "bad").await;
    assert!(
        refused.header("www-authenticate")[0].contains(r#"realm="from-the-environment""#),
        "{refused:?}"
    );
    fixture.finish().await;
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
            "setting `resource_client_secret` (WORKOUT18_RESOURCE_CLIENT_SECRET) is missing or empty: export \
             WORKOUT18_RESOURCE_CLIENT_SECRET and list it in `host_env_keys`",
        ),
        (
            ("timeout", "5"),
            json!({ "resource_client_secret": "s3cr3t" }),
            "setting `resource_client_secret` (in the plugin's configuration) must not be there, because Envoy shows it \
             in `/config_dump` and in debug logs",
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
            "setting `timeouts` (in the plugin's configuration) is unknown: did you mean `timeout`?",
        ),
        (
            ("resource_client_secret", "s3cr3t\n"),
            json!({}),
            "setting `resource_client_secret` (WORKOUT18_RESOURCE_CLIENT_SECRET) has a line feed in it, which `echo` \
             adds and `printf %s` does not: remove what does not belong to it",
        ),
        (
            ("required_scope", "read,write"),
            json!({}),
            "setting `required_scope` (WORKOUT18_REQUIRED_SCOPE) has a comma: separate by spaces; only a rule can require a value that contains a comma",
        ),
        (
            ("require", "audience"),
            json!({}),
            "setting `require` (WORKOUT18_REQUIRE) has `audience`, and none is required: set `expected_aud`; if it is \
             set, is WORKOUT18_EXPECTED_AUD in `host_env_keys`?",
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
        let output = started.err().expect("it starts").to_string();
        assert_eq!(output.matches("wasm log").count(), 1, "{output}");
        assert!(output.contains(error), "{error}: {output}");
        assert!(!output.contains("s3cr3t"), "{output}");
    }
}

/// In `key_values` too the filter sees it, and in the `host_env_keys` of somebody who took the
/// wrong name for the right one.
#[tokio::test]
async fn envoy_does_not_start_with_a_variable_that_nothing_reads() {
    skip_without_envoy!();
    let variables = format!("{PLUGIN}/vm_config/environment_variables/key_values");
    for (name, meant) in [
        ("WORKOUT18_EXPECTED_AUDIENCE", "WORKOUT18_EXPECTED_AUD"),
        ("WORKOUT18_REQUIRED_SCOPES", "WORKOUT18_REQUIRED_SCOPE"),
        ("WORKOUT18_CACHE_TLL", "WORKOUT18_CACHE_TTL"),
    ] {
        let settings = [
            ("introspect_url", "https://issuer.example/introspect"),
            ("resource_client_id", "b"),
            ("resource_client_secret", "s3cr3t"),
        ];
        let started = Envoy::start(EnvoyOptions {
            settings: settings
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            overrides: vec![(variables.clone(), json!({ name: "x" }))],
            ..EnvoyOptions::default()
        })
        .await;
        let output = started.err().expect("it starts").to_string();
        let line = format!(
            "wasm log auth_check: environment variable {name} is not a setting: did you mean {meant}?"
        );
        assert!(output.contains(&line), "{output}");
    }
}

#[tokio::test]
async fn what_is_demanded_is_in_the_log_once_whatever_the_number_of_workers() {
    skip_without_envoy!();
    let rows: [(&[(&str, &str)], &str); 2] = [
        (
            &[("expected_aud", "orders"), ("require", "audience")],
            "[info][wasm] LINE required of a token: audience \"orders\", scope any, client any, issuer any, \
             grant type any; rules: none; cache: none",
        ),
        (
            &[],
            "[warning][wasm] LINE nothing is required: every active token of this issuer is accepted; rules: none; \
             cache: none",
        ),
    ];
    for (settings, expected) in rows {
        let fixture = Fixture::start_with(settings, |options, _| with_two_workers(options)).await;
        // Both workers have made their policy when each has answered.
        for _ in 0..2 {
            get(fixture.address(), "/data", "bad").await;
        }
        let log = fixture.envoy.log();
        let (level, line) = expected.split_once(" LINE ").unwrap();
        let logged: Vec<_> = log
            .lines()
            .filter(|logged| logged.ends_with(line))
            .collect();
        assert_eq!(logged.len(), 1, "{log}");
        assert!(logged[0].contains(level), "{logged:?}");
        fixture.finish().await;
    }
}

#[tokio::test]
async fn a_demand_that_got_lost_on_its_way_to_the_filter_stops_the_start() {
    skip_without_envoy!();
    let shipped = shipped_config().unwrap();
    let keys = format!("{PLUGIN}/vm_config/environment_variables/host_env_keys");
    let handed_over = shipped.pointer(&keys).unwrap().as_array().unwrap().clone();
    let lost: Vec<_> = (handed_over.iter())
        .filter(|key| *key != "WORKOUT18_EXPECTED_AUD")
        .cloned()
        .collect();
    assert_eq!(lost.len() + 1, handed_over.len());
    let none = "setting `require` (in the plugin's configuration) has `audience`, and none is required: set `expected_aud`; if it is set, is WORKOUT18_EXPECTED_AUD in `host_env_keys`?";
    for (handed_over, audience, error) in [
        (&handed_over, "service-b", None),
        (&handed_over, "", Some(none)),
        (&lost, "service-b", Some(none)),
    ] {
        let settings = [
            ("introspect_url", "https://issuer.example/introspect"),
            ("resource_client_id", "b"),
            ("resource_client_secret", "s3cr3t"),
            ("expected_aud", audience),
        ];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let started = Envoy::start(EnvoyOptions {
            settings: settings.into(),
            plugin_json: Some(serde_json::from_str(&snippet("\"require\"")).unwrap()),
            overrides: vec![(keys.clone(), json!(handed_over))],
            ..EnvoyOptions::default()
        })
        .await;
        let output = started.err().map(|error| error.to_string());
        match (&output, error) {
            (None, None) => {}
            (Some(output), Some(error)) => assert!(output.contains(error), "{output}"),
            _ => panic!("{error:?}: {output:?}"),
        }
    }
}

#[tokio::test]
async fn an_issuer_whose_cluster_this_envoy_does_not_have_is_a_denied_call() {
    skip_without_envoy!();
    let fixture = Fixture::start(&[("issuer_cluster", "idp")]).await;
    fixture.active("good");
    let answer = get(fixture.address(), "/data", "good").await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (503, "issuer_call_denied")
    );
    let line = r#"there is no Envoy cluster "idp""#;
    until(async || fixture.envoy.log().contains(line)).await;
    assert_eq!(fixture.stub.counters().introspect, 0);
    fixture.finish().await;
}
