//! What can happen.

use std::time::Duration;

use arbitrary::Unstructured;
use token_check::{CallFailure, Sharing};

use crate::support::{below, bytes, flag, pick};

pub(super) const TOKENS: usize = 3;
/// Paths, the `ttl` of each if the rules are on.
pub(super) const ROUTES: [(&str, Option<u64>); 3] =
    [("/", None), ("/short", Some(1)), ("/never", Some(0))];
pub(super) const RULES: &str =
    r#"[{"path":{"exact":"/short"},"ttl":1},{"path":{"exact":"/never"},"ttl":0}]"#;

/// The settings of all instances. Times in seconds.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) instances: usize,
    /// The last instance belongs to another client of the issuer.
    pub(super) has_two_tenants: bool,
    pub(super) sharing: Sharing,
    pub(super) has_rules: bool,
    pub(super) cache_ttl: u64,
    pub(super) negative_cache_ttl: u64,
    pub(super) stale_if_error: u64,
    pub(super) timeout: u64,
    pub(super) leeway: u64,
    pub(super) breaker_faults: u64,
    pub(super) cache_entries: u64,
    pub(super) max_calls: usize,
    pub(super) max_waiting: usize,
    pub(super) audit: bool,
}

impl Config {
    pub(super) fn read(input: &mut Unstructured<'_>) -> Self {
        Self {
            instances: pick(input, &[2, 1, 3]),
            has_two_tenants: flag(input),
            sharing: pick(
                input,
                &[Sharing::None, Sharing::Plain, Sharing::CompareAndSwap],
            ),
            has_rules: flag(input),
            cache_ttl: pick(input, &[2, 0, 1, 5]),
            negative_cache_ttl: pick(input, &[0, 1, 5]),
            stale_if_error: pick(input, &[0, 3]),
            timeout: pick(input, &[1, 2]),
            leeway: pick(input, &[0, 2]),
            breaker_faults: pick(input, &[3, 0, 1, 5]),
            cache_entries: pick(input, &[16, 2]),
            max_calls: pick(input, &[1024, 1, 2]),
            max_waiting: pick(input, &[4096, 3, 1]),
            audit: below(input, 4) == 3,
        }
    }
}

#[derive(Debug)]
pub(super) enum Event {
    Begin {
        instance: usize,
        token: usize,
        route: usize,
    },
    /// An action in progress has this outcome.
    Act(usize, Outcome),
    /// A request is resumed: in time, too early, or late.
    Resume(usize),
    /// Every woken request is resumed.
    ResumeAllWoken,
    Leave(usize, Leave),
    /// Time passes.
    Advance(Duration),
    /// Time passes until this deadline, or this answer gets too old, or just not.
    AdvanceTo(usize, Nudge),
    /// The issuer's truth about a token of each client changes.
    Truth {
        token: usize,
        truth: Truth,
    },
    Tamper(Tamper),
    /// Whether the store takes records.
    StoreTakesRecords(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    Inactive,
    /// Active, until this many seconds from now if there is an end.
    Active(Option<u64>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Nudge {
    Before,
    At,
    After,
}

/// What becomes of a leader's flight when its caller leaves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leave {
    /// It goes on.
    Continues,
    Abandoned,
    /// Its ticket is dropped, against the contract.
    Dropped,
}

/// The outcome of an action. Of the values, the one that fits the action counts.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) call: CallOutcome,
    pub(super) store: StoreOutcome,
}

#[derive(Debug)]
pub(super) enum CallOutcome {
    /// What is true now, or was when the call was sent.
    Truth {
        when_sent: bool,
    },
    Failed(CallFailure),
    Status {
        status: u16,
        retry_after: Option<&'static str>,
        body: &'static str,
    },
}

#[derive(Debug)]
pub(super) enum StoreOutcome {
    /// As a store does it.
    Works,
    Fails,
    /// There is no value; the swap finds another version.
    Nothing,
    /// Some bytes; the swap claims to have written.
    Bytes(Vec<u8>),
    /// A value that was written before, to this or another key.
    Replay(usize),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Tamper {
    Clear,
    /// Puts an old value under a key in use.
    Replay(usize, usize),
    FlipBit(usize, usize),
}

const FAILURES: [CallFailure; 8] = [
    CallFailure::Unreachable,
    CallFailure::Timeout,
    CallFailure::BrokenOff,
    CallFailure::Denied,
    CallFailure::ConnectTimeout,
    CallFailure::NoUpstream,
    CallFailure::TlsAlert,
    CallFailure::LimitReached,
];

const STATUSES: [u16; 13] = [
    503, 500, 429, 502, 504, 400, 401, 403, 301, 204, 404, 200, 599,
];

/// Bodies that let nobody in, whatever the status.
pub(super) const BODIES: [&str; 11] = [
    "",
    r#"{"active":"true"}"#,
    r#"{"active":1}"#,
    r#"{"active":true,"active":true}"#,
    r#"{"active":true,"exp":"never"}"#,
    r#"[{"active":true}]"#,
    r#"{"active":true"#,
    r#"{"a":{"active":true}}"#,
    r#"{"error":"invalid_token"}"#,
    r#"{"error":"invalid_client"}"#,
    r#"{"active":false}"#,
];

const WAITS: [Option<&str>; 6] = [
    None,
    None,
    Some("1"),
    Some("60"),
    Some("100000"),
    Some("Wed, 15 Jan 2027 08:00:07 GMT"),
];

impl Event {
    pub(super) fn read(input: &mut Unstructured<'_>) -> Self {
        match below(input, 32) {
            0..=7 => Self::Begin {
                instance: below(input, 3),
                token: below(input, TOKENS),
                route: below(input, ROUTES.len()),
            },
            8..=16 => Self::Act(below(input, 8), Outcome::read(input)),
            17 | 18 => Self::Resume(below(input, 8)),
            19 | 20 => Self::ResumeAllWoken,
            21 => Self::Leave(
                below(input, 8),
                pick(input, &[Leave::Continues, Leave::Abandoned, Leave::Dropped]),
            ),
            22 | 23 => Self::Advance(Duration::from_micros(u64::from(
                input.arbitrary::<u16>().unwrap_or_default(),
            ))),
            24 | 25 => Self::Advance(Duration::from_millis(
                u64::from(input.arbitrary::<u16>().unwrap_or_default()) / 8,
            )),
            26 | 27 => Self::AdvanceTo(
                below(input, 16),
                pick(input, &[Nudge::At, Nudge::Before, Nudge::After]),
            ),
            28 | 29 => Self::Truth {
                token: below(input, TOKENS),
                truth: pick(
                    input,
                    &[
                        Truth::Inactive,
                        Truth::Active(None),
                        Truth::Active(Some(2)),
                        Truth::Active(Some(6)),
                    ],
                ),
            },
            30 => Self::Tamper(match below(input, 3) {
                0 => Tamper::Clear,
                1 => Tamper::Replay(below(input, 32), below(input, 8)),
                _ => Tamper::FlipBit(below(input, 8), below(input, 1024)),
            }),
            _ => Self::StoreTakesRecords(flag(input)),
        }
    }
}

impl Outcome {
    fn read(input: &mut Unstructured<'_>) -> Self {
        // The first byte says which of the two kinds is not the ordinary one.
        match below(input, 8) {
            0..=3 => Self {
                call: CallOutcome::Truth { when_sent: false },
                store: StoreOutcome::Works,
            },
            4 => Self {
                call: CallOutcome::Truth { when_sent: true },
                store: StoreOutcome::Nothing,
            },
            5 => Self {
                call: CallOutcome::Failed(pick(input, &FAILURES)),
                store: StoreOutcome::Fails,
            },
            6 => Self {
                call: CallOutcome::Status {
                    status: pick(input, &STATUSES),
                    retry_after: pick(input, &WAITS),
                    body: pick(input, &BODIES),
                },
                store: StoreOutcome::Replay(below(input, 32)),
            },
            _ => {
                let call = CallOutcome::Status {
                    status: 200,
                    retry_after: None,
                    body: pick(input, &BODIES),
                };
                Self {
                    call,
                    store: StoreOutcome::Bytes(bytes(input, 8)),
                }
            }
        }
    }
}
