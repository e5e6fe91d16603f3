//! The state machine that takes each request from its arrival to a verdict.

mod admission;
mod audit;
mod auth_check;
mod flight;
mod log_event;
mod lookup;
#[cfg(feature = "jwt")]
mod proofs;
mod protocol;
mod verdict;

pub use auth_check::AuthCheck;
pub use flight::{Flight, Parked, PendingRequest};
pub use log_event::{LogEvent, Mismatch};
pub use protocol::{
    Action, AwaitingResponse, AwaitingSwap, AwaitingValue, AwaitingWake, Finished, Progress, Step,
    StoreFailed,
};
pub use verdict::{CacheStatus, Verdict};
