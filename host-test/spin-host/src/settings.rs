//! The settings of the auth checks in an app, looked at before anything listens. Spin cannot do
//! that: it runs nothing of a middleware before the first request.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use token_check::{Policy, SettingSource, SettingValues, Summary, unknown_variable};

use super::{
    manifest::Manifest,
    variables::{ComponentVariables, Resolver},
};

/// What Cargo calls the middleware: by this it is known in whose app it may be.
const MIDDLEWARE: &str = "auth_check.wasm";
/// The part of `inherit_configuration` that lets it see its settings.
const VARIABLES: &str = "variables";

/// What each protected component demands, one line each, or what is wrong. `environment`: the names in
/// it.
pub(crate) fn check(
    manifest: &Manifest,
    resolver: &Resolver,
    environment: &[String],
) -> Result<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut lines = Vec::new();
    for trigger in manifest.triggers() {
        let is_check = |id: &str| {
            let source = manifest.source_of(id);
            source.is_ok_and(|source| source.file_name().is_some_and(|name| name == MIDDLEWARE))
        };
        let mut middleware = trigger.middleware().iter();
        let sees_variables = if is_check(&trigger.component) {
            true
        } else if let Some(middleware) = middleware.find(|other| is_check(&other.component)) {
            middleware.inherit_configuration.covers(VARIABLES)
        } else {
            continue;
        };
        if let Some(unknown) = unknown_variable(environment.iter().map(String::as_str)) {
            return Err(unknown.into());
        }
        let variables = ComponentVariables::new(manifest, &trigger.component, resolver)?;
        let given = match sees_variables {
            true => variables.all(),
            false => Vec::new(),
        };
        let Summary { line, is_warning } = SettingValues::from_spin_variables(given)
            .and_then(|values| Policy::from_values(&values, SettingSource::SpinVariable))
            .with_context(|| format!("component {}", trigger.component))?
            .summary();
        let level = if is_warning { "warning: " } else { "" };
        let line = format!("component {}: {level}{line}", trigger.component);
        if seen.insert(line.clone()) {
            lines.push(line);
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use super::*;
    use crate::runtime_config::RuntimeConfig;

    const MANIFEST: &str = r#"
spin_manifest_version = 2
application = { name = "sample" }
[[trigger.http]]
route = "/a"
component = "shop"
dependencies.middleware = [{ component = "gate", inherit_configuration = ["variables"] }]
[[trigger.http]]
route = "/b"
component = "shop"
dependencies.middleware = [{ component = "gate", inherit_configuration = ["variables"] }]
[[trigger.http]]
route = "/open"
component = "shop"
[component.gate]
source = "target/auth_check.wasm"
[component.shop]
source = "shop.wasm"
[component.shop.variables]
timeout = "30s"
auth_resource_client_secret = "s3cr3t"
auth_settings = '''{"introspect_url":"https://idp.example.com/","resource_client_id":"b"MORE}'''
"#;

    fn checked(manifest: &str, more: &str, environment: &[&str]) -> Result<Vec<String>, String> {
        let text = manifest.replace("MORE", more);
        let manifest = Manifest::parse(&text, Path::new("spin.toml"), "/app".into()).unwrap();
        let config = RuntimeConfig::default();
        let resolver = Resolver::new(&manifest, &config, &BTreeMap::new(), |_| Ok(None)).unwrap();
        let environment: Vec<_> = environment.iter().map(|name| (*name).to_owned()).collect();
        check(&manifest, &resolver, &environment).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn each_gated_component_says_once_what_it_demands() {
        assert_eq!(
            checked(MANIFEST, "", &["PATH", "WORKOUT18_CLIENT_ID"]),
            Ok(vec![
                "component shop: warning: nothing is required: every active token of this issuer is accepted; rules: none; cache: none"
                    .to_owned()
            ])
        );
        assert_eq!(
            checked(MANIFEST, r#","expected_aud":"shop","require":"audience""#, &[]),
            Ok(vec![
                "component shop: required of a token: audience \"shop\", scope any, client any, issuer any, \
                 grant type any; rules: none; cache: none"
                    .to_owned()
            ])
        );
        // The auth check is the component of the trigger, and the app its dependency.
        let owner = MANIFEST
            .replace("dependencies.middleware = [{ component = \"gate\", inherit_configuration = [\"variables\"] }]\n", "")
            .replace("target/auth_check.wasm", "gate.wasm")
            .replace("\"shop.wasm\"\n[component.shop.v", "\"auth_check.wasm\"\n[component.shop.v");
        assert_eq!(
            checked(
                &owner,
                r#","expected_aud":"shop","require":"audience""#,
                &[]
            )
            .map(|lines| lines.len()),
            Ok(1)
        );
        let ungated = MANIFEST.replace("auth_check.wasm", "other.wasm");
        assert_eq!(checked(&ungated, "", &["WORKOUT18_QQQ"]), Ok(Vec::new()));
    }

    #[test]
    fn what_the_middleware_would_refuse_is_refused_with_the_line_that_it_would_log() {
        let rows = [
            (
                MANIFEST.to_owned(),
                r#","expected_audience":"shop""#,
                "component shop: setting `expected_audience` (in the Spin variable auth_settings) is unknown: did you mean `expected_aud`?",
            ),
            (
                MANIFEST.replace(
                    "timeout = ",
                    "auth_expected_audience = \"shop\"\ntimeout = ",
                ),
                "",
                "component shop: setting `expected_audience` (Spin variable auth_expected_audience) is unknown: did you mean auth_expected_aud?",
            ),
            (
                MANIFEST.to_owned(),
                r#","require":"audience""#,
                "component shop: setting `require` (in the Spin variable auth_settings) has `audience`, and none is required: set `expected_aud`; if it is set, is auth_expected_aud in [component.<app>.variables] of \
                 spin.toml?",
            ),
            (
                MANIFEST.replace("\"s3cr3t\"", "\"s3cr3t\\n\""),
                "",
                "component shop: setting `resource_client_secret` (Spin variable auth_resource_client_secret) has a \
                 line feed in it, which `echo` adds and `printf %s` does not: remove what does not belong to it",
            ),
            (
                MANIFEST.replace(r#", inherit_configuration = ["variables"]"#, ""),
                "",
                "component shop: setting `introspect_url` (Spin variable auth_introspect_url) is missing or empty: set \
                 auth_introspect_url, or `introspect_url` in auth_settings, in [component.<app>.variables] of \
                 spin.toml, and have \"variables\" in `inherit_configuration` of the middleware; with `issuer` it is not \
                 needed",
            ),
        ];
        for (manifest, more, line) in rows {
            assert_eq!(checked(&manifest, more, &[]), Err(line.to_owned()));
        }
        assert_eq!(
            checked(MANIFEST, "", &["WORKOUT18_CACHE_TLL"]),
            Err(
                "environment variable WORKOUT18_CACHE_TLL is not a setting: did you mean WORKOUT18_CACHE_TTL?"
                    .to_owned()
            )
        );
    }
}
