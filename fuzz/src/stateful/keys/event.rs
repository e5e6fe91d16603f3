//! What can happen.

use std::time::Duration;

use arbitrary::Unstructured;
use token_check::{CallFailure, Sharing};

use crate::stateful::event::{StoreOutcome, Tamper};
use crate::support::{below, bytes, flag, pick};

/// Keys of the issuer, of which the last one has the name of the first one.
pub(super) const KEYS: usize = 4;

/// The settings of all instances. Times in seconds.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) instances: usize,
    pub(super) sharing: Sharing,
    pub(super) strategy: &'static str,
    pub(super) ttl: u64,
    pub(super) min_interval: u64,
    pub(super) max_age: u64,
    pub(super) timeout: u64,
    pub(super) max_waiting: usize,
    pub(super) cache_entries: u64,
    /// The keys at the start, as bits.
    pub(super) published: u8,
    pub(super) audit: bool,
}

impl Config {
    pub(super) fn read(input: &mut Unstructured<'_>) -> Self {
        Self {
            instances: pick(input, &[1, 2]),
            sharing: pick(
                input,
                &[Sharing::None, Sharing::Plain, Sharing::CompareAndSwap],
            ),
            strategy: pick(input, &["jwt", "auto", "both"]),
            ttl: pick(input, &[5, 8, 20]),
            min_interval: pick(input, &[5, 10]),
            max_age: pick(input, &[30, 20, 60]),
            timeout: pick(input, &[1, 2]),
            max_waiting: pick(input, &[4096, 4]),
            cache_entries: pick(input, &[16, 2]),
            published: published(input),
            audit: below(input, 4) == 3,
        }
    }
}

/// Keys as bits; half of the time the first one alone.
fn published(input: &mut Unstructured<'_>) -> u8 {
    let bits = u8::try_from(below(input, 32)).unwrap_or_default();
    if bits < 16 { 1 } else { bits - 16 }
}

/// What a caller sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Token {
    /// Signed by this key. There are several, of which the last one is short-lived.
    Signed { key: usize, number: usize },
    /// Names this key, which did not sign it.
    Forged { key: usize },
    /// Names a key that the issuer never had.
    UnknownKey,
    /// `alg` is `none`.
    Unsigned,
    /// No JWT.
    Opaque,
}

/// Of the tokens of a key, the one that expires soon after the start.
pub(super) const SHORT_LIVED: usize = 2;

impl Token {
    fn read(input: &mut Unstructured<'_>) -> Self {
        match below(input, 8) {
            0..=4 => Self::Signed {
                key: below(input, KEYS),
                number: below(input, SHORT_LIVED + 1),
            },
            5 => Self::Forged {
                key: below(input, KEYS),
            },
            6 => pick(input, &[Self::UnknownKey, Self::Unsigned]),
            _ => Self::Opaque,
        }
    }
}

#[derive(Debug)]
pub(super) enum Event {
    Begin {
        instance: usize,
        token: Token,
    },
    /// The timer of an instance.
    Timer(usize),
    /// An action in progress has this outcome.
    Act(usize, Outcome),
    /// The host drops a fetch of keys.
    Drop(usize),
    Resume(usize),
    ResumeAllWoken,
    Leave(usize),
    Advance(Duration),
    /// Time passes until shortly before or after a limit.
    AdvanceTo(usize, bool),
    /// From now on the issuer has these keys, as bits.
    Publish(u8),
    Tamper(Tamper),
    StoreTakesRecords(bool),
}

/// The outcome of an action. Of the values, the one that fits the action counts.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) fetch: FetchOutcome,
    pub(super) store: StoreOutcome,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum FetchOutcome {
    /// The keys that the issuer has now, or had when the call was sent.
    Keys {
        when_sent: bool,
    },
    Failed(CallFailure),
    Status(u16, &'static str),
}

const FAILURES: [CallFailure; 5] = [
    CallFailure::Unreachable,
    CallFailure::Timeout,
    CallFailure::BrokenOff,
    CallFailure::Denied,
    CallFailure::TlsAlert,
];

/// None of them has a key.
const BAD: [(u16, &str); 8] = [
    (200, r#"{"keys":[]}"#),
    (200, "<html>"),
    (200, r#"{"keys":{}}"#),
    (200, r#"{"keys":[{"kty":"oct","k":"AQAB"}]}"#),
    (302, ""),
    (404, ""),
    (429, ""),
    (503, ""),
];

impl Event {
    pub(super) fn read(input: &mut Unstructured<'_>) -> Self {
        match below(input, 32) {
            0..=9 => Self::Begin {
                instance: below(input, 2),
                token: Token::read(input),
            },
            10..=16 => Self::Act(below(input, 8), Outcome::read(input)),
            17 => Self::Drop(below(input, 8)),
            18 => Self::Resume(below(input, 8)),
            19 | 20 => Self::ResumeAllWoken,
            21 => Self::Leave(below(input, 8)),
            22 => Self::Timer(below(input, 2)),
            23 | 24 => Self::Advance(Duration::from_millis(
                u64::from(input.arbitrary::<u16>().unwrap_or_default()) / 4,
            )),
            25 | 26 => Self::AdvanceTo(below(input, 16), flag(input)),
            27..=29 => Self::Publish(published(input)),
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
        let works = |fetch| Self {
            fetch,
            store: StoreOutcome::Works,
        };
        match below(input, 8) {
            0..=3 => works(FetchOutcome::Keys { when_sent: false }),
            4 => Self {
                fetch: FetchOutcome::Keys { when_sent: true },
                store: StoreOutcome::Nothing,
            },
            5 => Self {
                fetch: FetchOutcome::Failed(pick(input, &FAILURES)),
                store: StoreOutcome::Fails,
            },
            6 => {
                let (status, body) = pick(input, &BAD);
                Self {
                    fetch: FetchOutcome::Status(status, body),
                    store: StoreOutcome::Replay(below(input, 32)),
                }
            }
            _ => Self {
                fetch: FetchOutcome::Failed(pick(input, &FAILURES)),
                store: StoreOutcome::Bytes(bytes(input, 8)),
            },
        }
    }
}
