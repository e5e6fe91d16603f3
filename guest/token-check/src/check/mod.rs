//! The state machine that takes each request from its arrival to a verdict.

mod admission;
mod audit;
mod auth_check;
#[cfg(feature = "jwt")]
mod choice;
#[cfg(feature = "jwt")]
mod discovery;
#[cfg(feature = "jwt")]
mod documents;
#[cfg(feature = "jwt")]
mod fetch;
mod flight;
mod issuer_check;
mod log_event;
mod lookup;
#[cfg(feature = "jwt")]
mod proofs;
mod protocol;
#[cfg(feature = "jwt")]
mod signed_responses;
mod unavailable;
mod verdict;
#[cfg(feature = "jwt")]
mod verification;
#[cfg(not(feature = "jwt"))]
mod without_jwt;

pub use auth_check::AuthCheck;
pub use flight::{Flight, Parked, PendingRequest};
pub use log_event::{LogEvent, Mismatch};
#[cfg(feature = "jwt")]
pub use protocol::AwaitingDocument;
pub use protocol::{
    Action, AwaitingResponse, AwaitingSwap, AwaitingValue, AwaitingWake, Finished, Progress, Step,
    StoreFailed,
};
pub use verdict::{CacheStatus, Verdict};
