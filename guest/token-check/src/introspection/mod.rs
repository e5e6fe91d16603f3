//! Token introspection (RFC 7662): the call to the issuer, and what its response says.

mod call;
mod facts;
mod fault;
mod interpret;
mod members;
mod response;
mod retry_after;

pub(crate) use call::{ClientAuth, Endpoint, Timeouts};
pub use call::{OutboundCall, USER_AGENT};
pub use facts::Facts;
pub(crate) use facts::{CLIENT_ID, Claims, ISSUER, MAX_CLAIM_BYTES, SUBJECT};
pub(crate) use fault::Detail;
pub use fault::{CallFailure, Fault};
pub(crate) use interpret::read;
pub use response::{AnswerBody, IssuerAnswer};
pub(crate) use retry_after::wanted_pause;
