//! The shipped configuration, adapted so that several Envoys can run on one machine.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Map, Value, json};

use super::EnvoyOptions;
use programs::repository;

/// The configuration file in Envoy's folder.
pub(super) const CONFIG: &str = "envoy.json";
const LISTENERS: &str = "listeners.json";

/// JSON pointer to the connection manager in the shipped configuration.
pub const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// JSON pointer to the plugin of our filter.
pub const PLUGIN: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/1/typed_config/config";

/// JSON pointer to the limit on requests of one address. [`Envoy`](super::Envoy) starts with one
/// that no test reaches unless it sets its own.
pub const ADDRESS_LIMIT: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/descriptors/0/token_bucket";

/// Reads `envoy/envoy.yaml`.
///
/// # Errors
/// It cannot be read or is not YAML.
pub fn shipped_config() -> Result<Value> {
    let path = repository().join("envoy/envoy.yaml");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_saphyr::from_str(&text).with_context(|| path.display().to_string())
}

/// Writes Envoy's configuration files to `directory`.
pub(super) fn write(options: &EnvoyOptions, directory: &Path) -> Result<()> {
    let mut config = shipped_config()?;
    let localhost = |port: u16| json!({ "address": "127.0.0.1", "port_value": port });
    let listener = "/static_resources/listeners/service_b";
    set(&mut config, "/admin/address/socket_address", localhost(0))?;
    set(
        &mut config,
        &format!("{listener}/address/socket_address"),
        localhost(0),
    )?;
    set(
        &mut config,
        "/static_resources/clusters/upstream/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address",
        json!({
            "address": options.upstream.ip().to_string(),
            "port_value": options.upstream.port(),
        }),
    )?;
    let allowed = find(&mut config, "/admin/allow_paths")?;
    let allowed = allowed.as_array_mut().context("allow_paths is no list")?;
    allowed.extend(
        [super::LISTENERS, super::DRAIN, super::CONFIG_DUMP].map(|path| json!({ "exact": path })),
    );
    // Tests call from one address.
    for rate in ["max_tokens", "tokens_per_fill"] {
        set(
            &mut config,
            &format!("{ADDRESS_LIMIT}/{rate}"),
            json!(u32::MAX),
        )?;
    }
    if let Some(plugin) = &options.plugin_json {
        let path = format!("{PLUGIN}/configuration/value");
        set(&mut config, &path, plugin.to_string().into())?;
    }
    if let Some(wasm) = &options.wasm {
        let path = format!("{PLUGIN}/vm_config/code/local");
        let wasm = wasm.to_str().ok_or_else(|| anyhow!("{}", wasm.display()))?;
        set(&mut config, &path, json!({ "filename": wasm }))?;
    }
    for (path, value) in &options.overrides {
        set(&mut config, path, value.clone())?;
    }
    if options.listener_from_file {
        let listener = find(&mut config, listener)?.take();
        set(&mut config, "/static_resources/listeners", json!([]))?;
        write_listener(directory, listener)?;
        let path = directory.join(LISTENERS);
        set(
            &mut config,
            "/dynamic_resources/lds_config",
            json!({
                "resource_api_version": "V3",
                "path_config_source": {
                    "path": path,
                    "watched_directory": { "path": directory },
                },
            }),
        )?;
        set(
            &mut config,
            "/node",
            json!({ "id": "test", "cluster": "test" }),
        )?;
    }
    fs::write(directory.join(CONFIG), config.to_string())?;
    Ok(())
}

/// Changes the listener file that Envoy watches.
pub(super) fn edit_listener(directory: &Path, edit: impl FnOnce(&mut Value)) -> Result<()> {
    let text = fs::read(directory.join(LISTENERS)).context("the listener is not in a file")?;
    let mut discovery: Value = serde_json::from_slice(&text)?;
    let listener = discovery
        .pointer_mut("/resources/0")
        .context("no listener")?;
    edit(listener);
    let listener = listener.take();
    write_listener(directory, listener)
}

fn write_listener(directory: &Path, mut listener: Value) -> Result<()> {
    let kind = "type.googleapis.com/envoy.config.listener.v3.Listener";
    set(&mut listener, "/@type", kind.into())?;
    let text = json!({ "resources": [listener] }).to_string();
    // Envoy reloads when a file is moved into place, and so never reads half a file.
    let new = directory.join("new-listeners.json");
    fs::write(&new, text)?;
    fs::rename(new, directory.join(LISTENERS))?;
    Ok(())
}

/// Sets `value` at `path` and creates the objects that are missing on the way.
pub(super) fn set(config: &mut Value, path: &str, value: Value) -> Result<()> {
    let (parent, last) = path.rsplit_once('/').context("not a path")?;
    let mut at = config;
    for part in parent.split('/').skip(1) {
        at = match at {
            Value::Object(members) => members
                .entry(part)
                .or_insert_with(|| Value::Object(Map::new())),
            Value::Array(elements) => element(elements, part).with_context(|| path.to_owned())?,
            _ => return Err(anyhow!("{path}: {part} is in neither object nor list")),
        };
    }
    match at {
        Value::Object(members) => {
            members.insert(last.to_owned(), value);
        }
        Value::Array(elements) => {
            *element(elements, last).with_context(|| path.to_owned())? = value;
        }
        _ => return Err(anyhow!("{path}: {last} is in neither object nor list")),
    }
    Ok(())
}

fn find<'a>(config: &'a mut Value, path: &str) -> Result<&'a mut Value> {
    let mut at = config;
    for part in path.split('/').skip(1) {
        at = match at {
            Value::Object(members) => members.get_mut(part),
            Value::Array(elements) => element(elements, part),
            _ => None,
        }
        .with_context(|| format!("{path}: there is no {part}"))?;
    }
    Ok(at)
}

/// Finds an element of a list by its index or its name.
fn element<'a>(elements: &'a mut [Value], called: &str) -> Option<&'a mut Value> {
    let place = called.parse().ok().or_else(|| {
        elements
            .iter()
            .position(|element| element.get("name").is_some_and(|name| name == called))
    })?;
    elements.get_mut(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_elements_of_a_list_and_makes_what_is_missing() {
        let mut config = json!({ "clusters": [{ "name": "a" }, { "name": "b", "x": 1 }] });
        set(&mut config, "/clusters/b/x", json!(2)).unwrap();
        set(&mut config, "/clusters/0/y/z", json!(3)).unwrap();
        set(&mut config, "/runtime/layer", json!(4)).unwrap();
        assert_eq!(
            config,
            json!({
                "clusters": [{ "name": "a", "y": { "z": 3 } }, { "name": "b", "x": 2 }],
                "runtime": { "layer": 4 },
            })
        );
        for bad in ["/clusters/c/x", "/clusters/2", "/clusters/b/x/y", "x"] {
            assert!(set(&mut config, bad, json!(0)).is_err(), "{bad}");
        }
    }
}
