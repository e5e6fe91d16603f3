//! The hosts that every scenario runs in.

pub(crate) mod component;
pub(crate) mod core;
pub(crate) mod envoy;
pub(crate) mod spin;

use std::net::SocketAddr;

use host_test::wire::exchange;
use tokio::runtime::Handle;

use crate::fixture;
use crate::single::issuer::SharedStub;
use crate::single::observed::{Observed, Seen};
use crate::single::scenario::{Expect, Scenario, TIMEOUT};

pub(crate) trait Driver: Send + Sync {
    fn name(&self) -> &'static str;

    /// Runs the scenario; the error is about the driver, not the verdict.
    fn observe(&self, scenario: &Scenario) -> Result<Observed, String>;

    /// Everything the host has logged or printed so far.
    fn printed(&self) -> Vec<String>;

    /// Whether nothing trapped, crashed or was restarted so far.
    fn healthy(&self) -> Result<(), String>;
}

/// Settings of Service B for a scenario whose issuer listens at `introspect_url`.
fn settings(scenario: &Scenario, introspect_url: &str) -> Vec<(String, String)> {
    // spin.toml allows IBM Verify, and plain http on this machine.
    let origin = introspect_url
        .strip_suffix("/oauth2/introspect")
        .filter(|origin| origin.starts_with("https:"));
    let (at, _) = introspect_url.rsplit_once("/oauth2").unwrap();
    let filled = |(key, value): &(&'static str, String)| (*key, value.replace("{issuer}", at));
    let more = [("timeout", TIMEOUT.to_owned())]
        .into_iter()
        .chain(origin.map(|origin| ("introspect_origin", origin.to_owned())))
        .chain(scenario.settings.iter().map(filled));
    fixture::settings(introspect_url, more)
        .into_iter()
        .collect()
}

/// Sends the scenario's request to a host whose auth check calls `stub` and whose app is an echo.
fn observe(
    runtime: &Handle,
    stub: &SharedStub,
    scenario: &Scenario,
    to: SocketAddr,
) -> Result<Observed, String> {
    let token = scenario.credential();
    stub.prepare(scenario, &token);
    let exchange = || {
        let reply = runtime.block_on(exchange(to, &scenario.wire()));
        reply.map_err(|error| format!("{error:#}"))
    };
    for _ in 0..scenario.before {
        exchange()?;
    }
    let reply = exchange()?;
    let introspections = stub.introspections(&token);
    if introspections > 0 {
        stub.check_call(scenario, &token)?;
    }
    let body = String::from_utf8(reply.body).map_err(|error| error.to_string())?;
    let app = match reply.status {
        200 if matches!(scenario.expect, Expect::Metadata(_)) => serde_json::from_str(&body).ok(),
        // Only the echo answers so.
        200 => Some(
            serde_json::from_str::<Seen>(&body).map_err(|error| format!("{error} in {body}"))?,
        ),
        _ => None,
    };
    Ok(Observed {
        status: reply.status,
        headers: reply.headers,
        body,
        app,
        introspections,
    })
}
