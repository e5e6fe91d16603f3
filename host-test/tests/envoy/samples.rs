//! The samples for Istio and Envoy Gateway: what a cluster would check of them is checked here as
//! far as it goes offline.

use std::ffi::OsString;

use envoy_filter_core::config::Config;
use envoy_runner::{MANAGER, PLUGIN, shipped_config};
use serde_json::{Value, json};
use token_check::{ENVOY_SETTINGS, SETTINGS};

fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

/// Every member of `value` is one that the custom resource's schema has.
fn has_only(value: &Value, known: &[&str]) {
    for name in value.as_object().unwrap().keys() {
        assert!(known.contains(&name.as_str()), "{name} in {value}");
    }
}

/// The plugin's configuration with what has to be in the environment, and with every variable
/// handed over: one that is not would be taken for one that is not set. Were it the audience, the
/// filter would not start.
fn is_accepted(configuration: &Value, variables: &[String]) {
    let environment = [
        (
            "WORKOUT18_INTROSPECT_URL",
            "https://tenant.verify.ibm.com/oauth2/introspect",
        ),
        ("WORKOUT18_RESOURCE_CLIENT_ID", "x"),
        ("WORKOUT18_RESOURCE_CLIENT_SECRET", "x"),
        ("WORKOUT18_EXPECTED_AUD", "service-b"),
    ];
    let read = |environment: &[(&str, &str)]| {
        let environment = environment
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Config::read(configuration.to_string().as_bytes(), environment)
    };
    let (_, lost) = environment.split_last().unwrap();
    assert_eq!(
        read(lost).unwrap_err().to_string(),
        "setting `require` (in the plugin's configuration) has `audience`, and none is required: set `expected_aud`; if it is set, is WORKOUT18_EXPECTED_AUD in `host_env_keys`?"
    );
    let settings = read(&environment);
    let settings = settings.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(settings.issuer.unwrap().authority, "tenant.verify.ibm.com");
    assert_eq!(variables, every_variable());
}

/// A tag could be moved to other code.
fn is_named_by_digest(url: &Value, scheme: &str) {
    let image = url.as_str().unwrap().strip_prefix(scheme).unwrap();
    let (name, digest) = image.split_once("@sha256:").unwrap();
    assert!(!name.contains(':'), "{image}");
    assert_eq!(digest.len(), 64, "{image}");
    assert!(digest.bytes().all(|b| b.is_ascii_hexdigit()), "{image}");
}

fn every_variable() -> Vec<String> {
    let settings = SETTINGS.iter().chain(ENVOY_SETTINGS);
    settings
        .map(|setting| format!("WORKOUT18_{}", setting.key.to_ascii_uppercase()))
        .collect()
}

fn names(list: &Value, name: &str) -> Vec<String> {
    let list = list.as_array().unwrap();
    list.iter()
        .map(|element| {
            let text = if name.is_empty() {
                element
            } else {
                &element[name]
            };
            text.as_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn the_istio_sample_is_a_plugin_whose_configuration_the_filter_takes_and_a_cluster_for_its_calls() {
    let sample = documents(include_str!("../../../envoy/istio.yaml"));
    let [plugin, entry, rule, options] = &sample[..] else {
        panic!("four documents");
    };
    assert_eq!(plugin["apiVersion"], "extensions.istio.io/v1alpha1");
    assert_eq!(plugin["kind"], "WasmPlugin");
    let spec = &plugin["spec"];
    has_only(
        spec,
        &[
            "selector",
            "targetRefs",
            "url",
            "sha256",
            "imagePullPolicy",
            "imagePullSecret",
            "pluginConfig",
            "pluginName",
            "phase",
            "priority",
            "failStrategy",
            "vmConfig",
            "match",
            "type",
        ],
    );
    assert_eq!(
        (&spec["phase"], &spec["failStrategy"]),
        (&json!("AUTHN"), &json!("FAIL_RELOAD"))
    );
    is_named_by_digest(&spec["url"], "oci://");
    let env = &spec["vmConfig"]["env"];
    for variable in env.as_array().unwrap() {
        // An inline value would be in `/config_dump`.
        has_only(variable, &["name", "valueFrom"]);
        assert_eq!(variable["valueFrom"], "HOST");
    }
    is_accepted(&spec["pluginConfig"], &names(env, "name"));

    // Istio names a cluster after port and host of the entry.
    let port = &entry["spec"]["ports"][0];
    let host = &entry["spec"]["hosts"][0];
    let cluster = format!("outbound|{}||{}", port["number"], host.as_str().unwrap());
    assert_eq!(spec["pluginConfig"]["issuer_cluster"], json!(cluster));
    assert_eq!(port["protocol"], "HTTP");
    assert_eq!(&rule["spec"]["host"], host);
    let tls = &rule["spec"]["trafficPolicy"]["tls"];
    assert_eq!(
        (&tls["mode"], &tls["sni"], &tls["subjectAltNames"][0]),
        (&json!("SIMPLE"), host, host)
    );

    assert_eq!(options["apiVersion"], "networking.istio.io/v1alpha3");
    assert_eq!(options["kind"], "EnvoyFilter");
    assert_eq!(
        options["spec"]["workloadSelector"]["labels"],
        spec["selector"]["matchLabels"]
    );
    let [patch] = &options["spec"]["configPatches"].as_array().unwrap()[..] else {
        panic!("one patch");
    };
    has_only(patch, &["applyTo", "match", "patch"]);
    assert_eq!(patch["applyTo"], "NETWORK_FILTER");
    assert_eq!(patch["patch"]["operation"], "MERGE");
    let patch = &patch["patch"]["value"]["typed_config"];
    let shipped = shipped_config().unwrap();
    let manager = shipped.pointer(MANAGER).unwrap();
    assert_eq!(patch["@type"], manager["@type"]);
    assert_eq!(patch["proxy_100_continue"], manager["proxy_100_continue"]);
    assert_eq!(patch[EARLY], manager[EARLY]);
    assert_eq!(
        patch["common_http_protocol_options"][UNDERSCORES],
        manager["common_http_protocol_options"][UNDERSCORES]
    );
}

/// What removes `x-auth-*` before a route is chosen.
const EARLY: &str = "early_header_mutation_extensions";
const UNDERSCORES: &str = "headers_with_underscores_action";

#[test]
fn the_envoy_gateway_sample_has_a_valid_configuration_and_the_shipped_cluster() {
    let sample = documents(include_str!("../../../envoy/envoy-gateway.yaml"));
    let [policy, traffic, proxy] = &sample[..] else {
        panic!("three documents");
    };
    for (document, kind) in [
        (policy, "EnvoyExtensionPolicy"),
        (traffic, "ClientTrafficPolicy"),
        (proxy, "EnvoyProxy"),
    ] {
        assert_eq!(document["apiVersion"], "gateway.envoyproxy.io/v1alpha1");
        assert_eq!(document["kind"], kind);
    }
    has_only(&policy["spec"], &["targetRefs", "wasm"]);
    let wasm = &policy["spec"]["wasm"][0];
    has_only(
        wasm,
        &["name", "rootID", "code", "config", "failOpen", "env"],
    );
    has_only(&wasm["code"], &["type", "http", "image", "pullPolicy"]);
    assert_eq!(
        (&wasm["code"]["type"], &wasm["failOpen"]),
        (&json!("Image"), &json!(false))
    );
    is_named_by_digest(&wasm["code"]["image"]["url"], "");
    let keys = names(&wasm["env"]["hostKeys"], "");
    is_accepted(&wasm["config"], &keys);

    assert_eq!(traffic["spec"]["targetRefs"], policy["spec"]["targetRefs"]);
    let headers = &traffic["spec"]["headers"];
    has_only(headers, &["withUnderscoresAction", "earlyRequestHeaders"]);
    assert_eq!(headers["withUnderscoresAction"], "RejectRequest");
    let shipped = shipped_config().unwrap();
    let regex = format!(
        "{MANAGER}/{EARLY}/0/typed_config/mutations/0/remove_on_match/key_matcher/safe_regex/regex"
    );
    assert_eq!(
        headers["earlyRequestHeaders"],
        json!({ "removeOnMatch": [{
            "type": "RegularExpression",
            "value": shipped.pointer(&regex).unwrap(),
        }] })
    );

    has_only(&proxy["spec"], &["filterOrder", "provider", "bootstrap"]);
    let container = &proxy["spec"]["provider"]["kubernetes"]["envoyDeployment"]["container"];
    for variable in names(&container["env"], "name") {
        assert!(keys.contains(&variable), "{variable}");
    }
    let container = container["env"].as_array().unwrap();
    let secret =
        (container.iter()).find(|variable| variable["name"] == "WORKOUT18_RESOURCE_CLIENT_SECRET");
    has_only(secret.unwrap(), &["name", "valueFrom"]);
    has_only(&secret.unwrap()["valueFrom"], &["secretKeyRef"]);
    let bootstrap = proxy["spec"]["bootstrap"]["value"].as_str().unwrap();
    let bootstrap: Value = serde_saphyr::from_str(bootstrap).unwrap();
    let clusters = shipped["static_resources"]["clusters"].as_array().unwrap();
    let issuer = clusters
        .iter()
        .find(|cluster| cluster["name"] == "issuer_https");
    assert_eq!(Some(&bootstrap["static_resources"]["clusters"][0]), issuer);
}

#[test]
fn the_shipped_configuration_hands_every_setting_on_and_no_other() {
    let config = shipped_config().unwrap();
    let keys = config.pointer(&format!(
        "{PLUGIN}/vm_config/environment_variables/host_env_keys"
    ));
    assert_eq!(names(keys.unwrap(), ""), every_variable());
}
