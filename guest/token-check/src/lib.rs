//! The decision core of the auth check: may this request reach Service B?
//!
//! The core is sans-IO. It has no socket, clock, randomness, environment or log: time and random
//! bytes are arguments. A host feeds requests to an [`AuthCheck`] and does what the returned
//! [`Step`] says:
//!
//! ```text
//!                 +--------------------- begin ---------------------+
//!                 |                        |                        |
//!                 v                        v                        v
//!          Lead(request, action)     Join(request)            Done(verdict)
//!                 |                        |                        ^
//!       run the action, report it         park                      |
//!   responded / store_read / store_swapped |                        |
//!         / woke -> Continue(action)       |                        |
//!                 |                        |                        |
//!        Finished(woken, records)    woken, or deadline             |
//!                 |                        |                        |
//!                 +---------- resume <-----+------------------------+
//! ```
//!
//! 1. [`AuthCheck::begin`] finds the rule of the route and reads the credentials (RFC 6750).
//! 2. On [`Step::Lead`] the host runs the [`Action`] and reports its outcome to the method that
//!    takes the action's ticket, until the flight has [`Finished`].
//! 3. On [`Step::Join`] another request leads a flight for the same token: [`AuthCheck::park`].
//! 4. [`AuthCheck::resume`] consumes the [`PendingRequest`] and returns the next step.
//!
//! After each `begin` and `resume` the host asks for the [`AuthCheck::next_fetch`] of the issuer's
//! metadata or keys, which is an action that no request leads.
//!
//! **Facts are cached, decisions never are.** [`Facts`] are what the issuer says about a token. A
//! [`Decision`] is made from facts, this request, the [`Requirements`] of its route and the time,
//! for every request anew. So `decision` cannot see `memory`: each module uses only those above it
//! in this list.
//!
//! | layer | modules |
//! | --- | --- |
//! | vocabulary | `reason`, `secret`, `time` |
//! | signatures | `jose` |
//! | protocol | `request`, `introspection`, `proof` |
//! | configuration | `policy` |
//! | what is remembered, what is decided | `memory`; `decision` |
//! | the state machine | `check` |
//!
//! No refusal has a status below 400, and nothing from a token or from the issuer's response is
//! ever part of one.
//!
//! ```
//! use core::time::Duration;
//! use token_check::{
//!     Action, AuthCheck, BodyCollector, Decision, IssuerCall as _, IssuerResponse, Now, Policy, Progress,
//!     RequestHead, Step,
//! };
//!
//! let settings = [
//!     ("introspect_url", "https://tenant.example/oauth2/introspect"),
//!     ("resource_client_id", "service-b"),
//!     ("resource_client_secret", "a secret from the environment"),
//! ];
//! let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
//! let mut check = AuthCheck::<u32>::new(Policy::new(settings)?, [0; 16]);
//! let now = Now { unix: Duration::from_secs(1_800_000_000), monotonic: Duration::ZERO };
//!
//! let request = RequestHead {
//!     authorization: &[b"Bearer abc"],
//!     method: b"GET",
//!     authority: Some(b"service-b.example"),
//!     path_and_query: Some(b"/data"),
//!     dpop: &[],
//!     client_certificate: &[],
//!     traceparent: &[],
//! };
//! let Step::Lead(pending, Action::Introspect(ticket, call)) = check.begin(&request, now) else {
//!     panic!("the first request with a token introspects it");
//! };
//! assert_eq!(call.path_and_query(), "/oauth2/introspect");
//!
//! // The host sends `call`, and gets a response.
//! let mut body = BodyCollector::default();
//! assert!(body.push(br#"{"active":true}"#));
//! let response = IssuerResponse {
//!     status: 200,
//!     content_type: Some(b"application/json".to_vec()),
//!     body,
//!     ..IssuerResponse::default()
//! };
//! let Progress::Finished(finished) = check.responded(ticket, Ok(response), now) else {
//!     panic!("nothing else is to be done");
//! };
//! assert!(finished.woken.is_empty(), "no other request waited");
//!
//! let Step::Done(verdict) = check.resume(pending, now) else {
//!     panic!("the flight has finished");
//! };
//! assert!(matches!(verdict.decision, Decision::Granted(_)));
//! # Ok::<(), token_check::SettingsError>(())
//! ```

mod check;
mod decision;
mod introspection;
#[cfg(feature = "jwt")]
mod jose;
mod memory;
mod policy;
#[cfg(feature = "jwt")]
mod proof;
mod reason;
mod request;
mod secret;
#[cfg(feature = "test-util")]
pub mod test_util;
mod time;

#[cfg(feature = "jwt")]
pub use check::AwaitingDocument;
pub use check::{
    Action, AuthCheck, AwaitingResponse, AwaitingSwap, AwaitingValue, AwaitingWake, CacheStatus,
    Finished, Flight, LogEvent, Mismatch, Parked, PendingRequest, Progress, Step, StoreFailed,
    Verdict,
};
pub use decision::{Decision, Grant, IDENTITY_HEADERS, Refusal, Response, is_identity_header};
#[cfg(feature = "jwt")]
pub use introspection::DocumentCall;
pub use introspection::{
    BodyCollector, CallFailure, CallTarget, Facts, Fault, IntrospectionCall, IssuerCall,
    IssuerResponse, USER_AGENT, metadata_urls,
};
#[cfg(feature = "jwt")]
pub use jose::{
    Algorithm, Algorithms, Jws, JwsProblem, Key, KeySet, KeySetProblem, NoSignatureHost,
    PrivateKeyProblem, SignatureHost, TestedSignatureHost, Typ, Unusable,
};
pub use memory::{Record, Sharing, StoreKey};
pub use policy::{
    CertificateSource, ENVOY_SETTINGS, FILTER_STATE, Kind, MAX_RULES, MAX_RULES_BYTES, PREFIX,
    PathFault, Policy, Problem, Range, RequirementKind, Requirements, RulesError, RulesFault,
    SERVICE_A_KEYS, SETTINGS, SPIN_PREFIX, Setting, SettingSource, SettingValues, SettingsError,
    Summary, Unclean, Unit, UnknownVariable, spin_variables, unknown_variable, variable,
};
#[cfg(feature = "jwt")]
pub use proof::ProofFault;
pub use reason::{ALL_REASONS, RETRY_AFTER_SECONDS, Reason};
pub use request::{Ambiguity, RequestHead};
pub use secret::{AccessToken, ClientSecret};
pub use time::{Now, WallClock};
