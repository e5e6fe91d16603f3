//! Token introspection (RFC 7662): the call to the issuer, and what its response says.

mod call;
mod confirmation;
mod facts;
mod fault;
mod interpret;
mod members;
mod response;
mod retry_after;

pub(crate) use call::{ClientAuth, Endpoint, Timeouts};
pub use call::{IntrospectionCall, USER_AGENT};
pub(crate) use confirmation::Thumbprint;
pub use facts::Facts;
pub(crate) use facts::{Claim, Claims, ClaimsHeader, MAX_CLAIM_HEADER_BYTES};
pub(crate) use fault::Detail;
pub use fault::{CallFailure, Fault};
pub(crate) use interpret::{Introspected, interpret};
pub use response::{BodyCollector, IssuerResponse};
pub(crate) use retry_after::{requested_wait, retry_after_seconds};
