//! The hosts that every sequence runs in.

pub(crate) mod component;
pub(crate) mod core;
pub(crate) mod envoy;

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use host_test::wire;
use serde_json::Value;
use spin_host::{KeyValueStore, StoreFault};

use crate::fixture;

use crate::sequence::row::{Deployment, Sequence};

/// What requests of one auth check can have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// One memory for all.
    One,
    /// Two memories that take turns, and a store between them.
    Two,
    /// The store only: each has a memory of its own.
    Store,
}

pub(crate) trait Driver: Send + Sync {
    fn name(&self) -> &'static str;
    fn memory(&self) -> Memory;
    /// A host of its own for a sequence, and issuers of its own.
    fn start(&self, sequence: &Sequence) -> Result<Box<dyn Host>, String>;
}

pub(crate) trait Host {
    /// The `nth` request of its step.
    fn request(
        &mut self,
        deployment: Deployment,
        token: Option<&str>,
        path: &str,
        nth: usize,
    ) -> Result<Reply, String>;
    fn responds(&mut self, deployment: Deployment, token: &str, answer: &Answer);
    /// Whether the first auth check's issuer listens.
    fn listens(&mut self, it_does: bool);
    /// How often the auth check's issuer was called about this token.
    fn introspections(&self, deployment: Deployment, token: &str) -> u64;
    fn wait(&mut self, time: Duration);
    /// Since any moment.
    fn now(&self) -> Duration;
    fn unix_seconds(&self) -> i64;
    /// The audit lines of an auth check, once there are so many.
    fn audit(&self, deployment: Deployment, lines: usize) -> Vec<String>;
    /// The store that the auth check's instances share, if tests can write into it.
    fn store(&self, deployment: Deployment) -> Option<KeyValueStore>;
    /// What ails the first auth check's store from now on.
    fn set_store_fault(&mut self, fault: Option<StoreFault>);
    /// Everything that was logged or printed.
    fn printed(&self) -> Vec<String>;
    /// Whether nothing trapped, crashed or was restarted.
    fn healthy(&self) -> Result<(), String>;
}

/// What an issuer says.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// 200 with this JSON.
    Document(String),
    Inactive,
    Status(u16),
}

/// What a caller got, and the app saw.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The reason of a refusal; empty for a request that was granted.
    pub(crate) reason: String,
    /// The claims that the app saw.
    pub(crate) claims: Option<String>,
    /// Header fields, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// All of it.
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut same = self.headers.iter().filter(|(n, _)| n == name);
        same.next().map(|(_, value)| value.as_str())
    }

    /// From a host whose app is an echo.
    fn of_wire(reply: &wire::Reply) -> Self {
        let claims = reply.json()["headers"].as_array().and_then(|headers| {
            let pair = headers.iter().find(|pair| pair[0] == "x-auth-claims")?;
            claims(pair[1].as_str()?)
        });
        Self {
            status: reply.status,
            reason: reply.reason(),
            claims,
            headers: reply.headers.clone(),
            text: format!("{:?} {}", reply.headers, reply.text()),
        }
    }
}

fn claims(header: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(header).ok()?).ok()
}

/// Whether it is a line of the audit, about a request to this auth check.
fn is_audit(line: &str, deployment: Deployment) -> bool {
    serde_json::from_str::<Value>(line)
        .is_ok_and(|line| line.get("unix_ms").is_some() && line["host"] == deployment.host())
}

/// Of an auth check whose issuer is at `introspect_url`.
fn settings(
    sequence: &Sequence,
    deployment: Deployment,
    introspect_url: &str,
) -> BTreeMap<String, String> {
    let audit = ("audit", "true".to_owned());
    let own = sequence.settings.iter().cloned();
    let other = (sequence.other.iter())
        .filter(|_| deployment == Deployment::Other)
        .flat_map(|other| other.settings.iter().cloned());
    fixture::settings(introspect_url, [audit].into_iter().chain(own).chain(other))
}

/// The auth checks of a sequence.
pub(crate) fn deployments(sequence: &Sequence) -> &'static [Deployment] {
    match sequence.other {
        None => &[Deployment::First],
        Some(_) => &[Deployment::First, Deployment::Other],
    }
}

/// Which of the issuers an auth check calls.
pub(crate) fn issuer_of(sequence: &Sequence, deployment: Deployment) -> usize {
    let has_own = sequence.other.as_ref().is_some_and(|o| o.has_own_issuer);
    usize::from(deployment == Deployment::Other && has_own)
}
