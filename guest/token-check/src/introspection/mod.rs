//! Token introspection (RFC 7662): the call to the issuer, and what its response says.

mod call;
#[cfg(feature = "jwt")]
mod client_assertion;
mod confirmation;
#[cfg(feature = "jwt")]
mod document_call;
mod facts;
mod fault;
mod interpret;
mod issuer_call;
mod members;
mod metadata;
mod response;
mod retry_after;
#[cfg(feature = "jwt")]
mod signature_fault;
#[cfg(feature = "jwt")]
mod signed_response;
#[cfg(not(feature = "jwt"))]
mod without_jwt;

pub(crate) use call::{ClientAuth, Credentials, Endpoint, Timeouts};
pub use call::{IntrospectionCall, USER_AGENT};
#[cfg(feature = "jwt")]
pub(crate) use client_assertion::{AssertionIds, AssertionSigner, ClientAssertions};
pub(crate) use confirmation::Thumbprint;
#[cfg(feature = "jwt")]
pub use document_call::DocumentCall;
#[cfg(feature = "jwt")]
pub(crate) use facts::ClaimNames;
pub use facts::Facts;
pub(crate) use facts::{Claim, Claims, ClaimsHeader, MAX_CLAIM_HEADER_BYTES};
pub(crate) use fault::Detail;
pub use fault::{CallFailure, Fault};
#[cfg(feature = "jwt")]
pub(crate) use fault::{KeysFault, MetadataFault};
#[cfg(feature = "jwt")]
pub(crate) use interpret::unexpected_status;
pub(crate) use interpret::{Introspected, ResponseContent, interpret};
pub use issuer_call::{CallTarget, IssuerCall};
#[cfg(feature = "jwt")]
pub(crate) use metadata::Metadata;
pub use metadata::metadata_urls;
pub use response::{BodyCollector, IssuerResponse};
pub(crate) use retry_after::{requested_wait, retry_after_seconds};
#[cfg(feature = "jwt")]
pub(crate) use signature_fault::SignatureFault;
#[cfg(feature = "jwt")]
pub(crate) use signed_response::{ExpectedResponse, read_signed, unsigned};
