//! The samples for Istio and Envoy Gateway: what a cluster would check of them is checked here as far as it goes offline.

use std::env::VarError;

use envoy_filter::settings::{ENVOY_SETTINGS, Settings};
use envoy_runner::{PLUGIN, shipped_config};
use serde_json::{Value, json};
use token_check::SETTINGS;

fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

/// Every member of `value` is one that the custom resource's schema has.
fn has_only(value: &Value, known: &[&str]) {
    for name in value.as_object().unwrap().keys() {
        assert!(known.contains(&name.as_str()), "{name} in {value}");
    }
}

/// The plugin's configuration with what has to be in the environment, and with every variable handed over: one that is
/// not would be taken for one that is not set.
fn is_accepted(configuration: &Value, variables: &[String]) {
    let settings = Settings::read(configuration.to_string().as_bytes(), |key| match key {
        "WORKOUT18_INTROSPECT_URL" => {
            Ok("https://tenant.verify.ibm.com/oauth2/introspect".to_owned())
        }
        "WORKOUT18_RESOURCE_CLIENT_ID" | "WORKOUT18_RESOURCE_CLIENT_SECRET" => Ok("x".to_owned()),
        _ => Err(VarError::NotPresent),
    });
    let settings = settings.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(settings.issuer.authority, "tenant.verify.ibm.com");
    assert_eq!(variables, every_variable());
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
    let [plugin, entry, rule] = &documents(include_str!("../../../envoy/istio.yaml"))[..] else {
        panic!("three documents");
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
    let env = &spec["vmConfig"]["env"];
    for variable in env.as_array().unwrap() {
        has_only(variable, &["name", "valueFrom", "value"]);
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
}

#[test]
fn the_envoy_gateway_sample_is_a_policy_whose_configuration_the_filter_takes_and_the_shipped_cluster()
 {
    let sample = documents(include_str!("../../../envoy/envoy-gateway.yaml"));
    let [policy, proxy] = &sample[..] else {
        panic!("two documents");
    };
    for (document, kind) in [(policy, "EnvoyExtensionPolicy"), (proxy, "EnvoyProxy")] {
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
    let keys = names(&wasm["env"]["hostKeys"], "");
    is_accepted(&wasm["config"], &keys);

    has_only(&proxy["spec"], &["filterOrder", "provider", "bootstrap"]);
    let container = &proxy["spec"]["provider"]["kubernetes"]["envoyDeployment"]["container"];
    for variable in names(&container["env"], "name") {
        assert!(keys.contains(&variable), "{variable}");
    }
    let bootstrap = proxy["spec"]["bootstrap"]["value"].as_str().unwrap();
    let bootstrap: Value = serde_saphyr::from_str(bootstrap).unwrap();
    let shipped = shipped_config().unwrap();
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
