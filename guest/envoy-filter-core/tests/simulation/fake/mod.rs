//! A simulated Envoy. It follows Envoy's rules where they matter to the filter:
//!
//! - A local reply and a resumed request take effect after the callback, one inside the other.
//! - The response to a call goes to the context that was called back when the call was sent, and is
//!   dropped if that context is gone. A call ends with a local reply at its timeout.
//! - A queue calls its root context back once per item, before time passes.
//! - A timer fires once per period after it was set.
//! - Workers share data, with versions, and nothing else.
//! - A root context exists as long as it is the current one or one of its streams exists.

mod host;
mod response;
mod shared_data;
mod worker;

pub(crate) use host::{Call, Stream, StreamEnd};
pub(crate) use response::{Response, active, inactive};
pub(crate) use shared_data::SharedStore;
pub(crate) use worker::{Configuration, Worker};

use core::time::Duration;

/// When the simulation starts, since 1970.
pub(crate) const UNIX_START: Duration = Duration::from_secs(1_800_000_000);

pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The header lines of a request with this token.
pub(crate) fn request(token: &str) -> Vec<(String, Vec<u8>)> {
    let authorization = format!("Bearer {token}");
    lines(&[
        (":method", "GET"),
        (":path", "/orders"),
        (":authority", "service-b.example"),
        ("authorization", &authorization),
    ])
}

pub(crate) fn lines(lines: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    let line = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
    lines.iter().map(line).collect()
}
