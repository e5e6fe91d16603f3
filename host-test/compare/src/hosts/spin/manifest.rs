//! The shipped spin.toml, with another auth check in front of the app, or none.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use programs::{Guest, repository};
use toml::{Table, Value};

/// What stands in front of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deployment {
    None,
    PassThrough,
    SameCalls,
    AuthCheck,
}

/// A manifest with one route, every path, and the components freshly built.
pub(crate) fn with(deployment: Deployment) -> Result<String> {
    let path = repository().join("spin.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut manifest: Table = text.parse().with_context(|| path.display().to_string())?;

    let trigger = at(&mut manifest, &["trigger"])?;
    let mut route = trigger
        .get("http")
        .and_then(|routes| routes.get(0))
        .and_then(Value::as_table)
        .context("no route in spin.toml")?
        .clone();
    route.insert("route".to_owned(), "/...".into());
    if deployment == Deployment::None {
        route.remove("dependencies");
    }
    trigger.insert("http".to_owned(), Value::Array(vec![route.into()]));

    let middleware = match deployment {
        Deployment::None | Deployment::AuthCheck => Guest::AuthCheck,
        Deployment::PassThrough => Guest::PassThrough,
        Deployment::SameCalls => Guest::SameCalls,
    };
    for (component, guest) in [("auth-check", middleware), ("service-b", Guest::ServiceB)] {
        let source: PathBuf = guest.build()?;
        let source = source.to_str().context("a path that is not UTF-8")?;
        at(&mut manifest, &["component", component])?.insert("source".to_owned(), source.into());
    }
    Ok(manifest.to_string())
}

fn at<'a>(mut table: &'a mut Table, path: &[&str]) -> Result<&'a mut Table> {
    for key in path {
        table = table
            .get_mut(*key)
            .and_then(Value::as_table_mut)
            .with_context(|| format!("no {key} in spin.toml"))?;
    }
    Ok(table)
}
