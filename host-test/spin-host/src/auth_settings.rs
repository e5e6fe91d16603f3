//! The settings of the auth check, read as it will read them itself: a mistake ends the start, and not the first request.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use token_check::{Given, Place, SPIN_PREFIX, Summary, spin_variables, unknown_variable};

use super::{
    manifest::{Manifest, Trigger},
    variables::{ComponentVariables, Resolver},
};

/// The file that holds the auth check, whatever its component is called.
const AUTH_CHECK: &str = "auth_check.wasm";

/// What is demanded on the routes that the auth check guards, each once.
///
/// # Errors
/// It would refuse every request of a route, or the environment has a setting that nothing reads.
pub(crate) fn demands<'a>(
    manifest: &Manifest,
    resolver: &Resolver,
    environment: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeSet<String>> {
    let mut lines = BTreeSet::new();
    for trigger in manifest.triggers() {
        let is_auth_check = |id: &str| {
            let source = manifest.source_of(id);
            source.is_ok_and(|source| source.ends_with(AUTH_CHECK))
        };
        let check = trigger.middleware().iter();
        let check = check
            .filter(|middleware| is_auth_check(&middleware.component))
            .last();
        let Some(check) = check else { continue };
        let passed_on = check.inherit_configuration.covers("variables");
        let line = demand(manifest, resolver, trigger, passed_on).with_context(|| {
            format!(
                "{}: [[trigger.http]] route = {:?}: {} would refuse every request",
                manifest.path().display(),
                trigger.route,
                check.component
            )
        })?;
        lines.insert(format!("{}: {line}", check.component));
    }
    if !lines.is_empty()
        && let Some(unknown) = unknown_variable(environment)
    {
        bail!("{unknown}");
    }
    Ok(lines)
}

fn demand(
    manifest: &Manifest,
    resolver: &Resolver,
    trigger: &Trigger,
    passed_on: bool,
) -> Result<String> {
    let variables = ComponentVariables::new(manifest, &trigger.component, resolver)?;
    let read = |key| {
        let value = variables.get(&format!("{SPIN_PREFIX}{key}")).ok()?;
        passed_on.then_some((key, value))
    };
    let given = Given::of_spin(spin_variables().filter_map(read))?;
    let Summary { line, is_open } = given.into_policy(Place::SpinVariable)?.summary();
    let level = if is_open { "warning: " } else { "" };
    Ok(format!("{level}{line}"))
}
