//! What the host knows while the filter runs.

use core::time::Duration;
use std::collections::BTreeMap;

use wasmtime::{Memory, TypedFunc};

pub(super) type Headers = Vec<(String, Vec<u8>)>;

/// Which statuses host calls give that fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Faults {
    /// Those that Envoy gives.
    Known,
    /// All of the ABI, from any call.
    Any,
}

/// What has become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Granted,
    Refused,
    /// Its caller is gone, or the host has answered it.
    Left,
}

pub(super) struct Stream {
    pub(super) root: u32,
    /// The token, if the request has a well-formed one.
    pub(super) token: Option<String>,
    pub(super) request: Headers,
    pub(super) trailers: Headers,
    pub(super) response: Headers,
    pub(super) filter_state: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) begun: Duration,
    pub(super) end: Option<End>,
    /// Whether the filter has seen the head of the request.
    pub(super) has_head: bool,
}

/// A call that the filter made.
pub(super) struct Call {
    /// The context to which the answer goes.
    pub(super) owner: u32,
    /// The token it asks about. `None`: it has no body.
    pub(super) token: Option<String>,
    pub(super) sent: Duration,
}

/// An undamaged answer that says active.
pub(super) struct Answer {
    pub(super) token: String,
    pub(super) sent: Duration,
    pub(super) received: Duration,
}

pub(super) struct State {
    pub(super) rng: fastrand::Rng,
    pub(super) faults: Faults,
    /// One host call in so many fails. `None`: none does.
    pub(super) fault_rate: Option<u32>,
    pub(super) memory: Option<Memory>,
    pub(super) allocate: Option<TypedFunc<u32, u32>>,
    /// Since the start of the VM.
    pub(super) now: Duration,
    pub(super) environment: Vec<u8>,
    pub(super) variables: u32,
    pub(super) configuration: Vec<u8>,
    /// The context that host calls concern.
    pub(super) effective: u32,
    pub(super) roots: Vec<u32>,
    pub(super) streams: BTreeMap<u32, Stream>,
    pub(super) calls: BTreeMap<u32, Call>,
    pub(super) last_call: u32,
    pub(super) response_headers: Headers,
    pub(super) response_body: Vec<u8>,
    pub(super) shared: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    /// The root context of each queue.
    pub(super) queues: Vec<u32>,
    /// Queues with an item.
    pub(super) posted: Vec<u32>,
    /// How often each root context wants to be called back; zero for never.
    pub(super) tick_periods: BTreeMap<u32, u32>,
    pub(super) metrics: u32,
    pub(super) log: Vec<String>,
    pub(super) answers: Vec<Answer>,
    /// Ages for which facts may be used.
    pub(super) longest_age: Duration,
}

/// Ages are rounded up to milliseconds, and once more in shared records.
const ROUNDING: Duration = Duration::from_millis(2);

impl State {
    /// The status with which this host call fails, if it does. `known`: those that Envoy gives.
    pub(super) fn fault(&mut self, known: &[u32]) -> Option<u32> {
        let rate = self.fault_rate?;
        if self.rng.u32(..rate) > 0 {
            return None;
        }
        let statuses = match self.faults {
            Faults::Known => known,
            Faults::Any => super::abi::FAILURES,
        };
        self.rng.choice(statuses).copied()
    }

    /// The filter lets a request pass.
    pub(super) fn grant(&mut self, id: u32) {
        let now = self.now;
        let longest_age = self.longest_age;
        let stream = self.streams.get_mut(&id).unwrap();
        assert_ne!(stream.end, Some(End::Refused), "granted after a refusal");
        if stream.end.is_some() {
            return;
        }
        stream.end = Some(End::Granted);
        let Some(token) = &stream.token else {
            panic!("granted without a well-formed token: {:?}", stream.request);
        };
        // Facts are either so young when the request comes, or it has waited for them.
        let waited = now.saturating_sub(stream.begun);
        let is_justified = self.answers.iter().any(|answer| {
            let call = answer.received.saturating_sub(answer.sent);
            &answer.token == token
                && now.saturating_sub(answer.sent) <= longest_age + waited + call + ROUNDING
        });
        assert!(
            is_justified,
            "granted without an active answer about {token}, after {waited:?}\n{:#?}",
            self.log
        );
        let values = |name: &str| -> Vec<&[u8]> {
            let lines = stream.request.iter().filter(|(known, _)| known == name);
            lines.map(|(_, value)| value.as_slice()).collect()
        };
        let client = super::driver::client_of(token);
        assert_eq!(values("x-auth-client-id"), [client.as_bytes()]);
        assert!(values("authorization").is_empty());
        let forged = stream
            .request
            .iter()
            .find(|(_, value)| value == super::driver::FORGED);
        assert_eq!(forged, None);
    }
}
