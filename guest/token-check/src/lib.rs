//! The decision core of the auth check: may this request reach Service B?
//!
//! Sans-IO. There is no socket, clock, randomness, environment or log in here; time and random bytes are arguments. A
//! host feeds [`AuthCheck`] and does what the returned [`Step`] says:
//!
//! 1. [`AuthCheck::begin`] finds the rule of the request's route, reads the credentials (RFC 6750) and says
//!    [`Step::Done`], [`Step::Lead`] or [`Step::Join`].
//! 2. On `Lead` the host runs the [`Errand`] (sends the [`OutboundCall`] of RFC 7662, or reads a shared store) and hands
//!    what came of it to [`AuthCheck::settle`], which names the next errand or ends the flight and returns everyone who
//!    waited. On `Join` somebody else already leads for the same token: [`AuthCheck::park`].
//! 3. [`AuthCheck::resume`] consumes the [`Waiting`] and says how it goes on.
//!
//! *Facts are cached, decisions never are*: [`Facts`] are what the issuer said about a token; a [`Decision`] is made from
//! facts, this request, the [`Requirements`] of its route and the time, for every request anew. Nothing here refuses with a status under
//! 400, and nothing from a token or from the issuer's answer is ever put into a refusal.

mod check;
mod decision;
mod grammar;
mod introspection;
mod json;
mod memory;
mod policy;
mod reason;
mod request;
mod secret;
mod time;

pub use check::{
    AuthCheck, CacheUse, Ended, Errand, Flight, Mismatch, Note, Outcome, Progress, Step, Verdict,
    Waiting,
};
pub use decision::{Decision, Grant, IDENTITY_HEADERS, Refusal, Reply, is_identity_header};
pub use introspection::{
    AnswerBody, CallFailure, Facts, Fault, IssuerAnswer, OutboundCall, USER_AGENT,
};
pub use memory::{Record, Sharing, StoreKey};
pub use policy::{
    Demand, ENVOY_SETTINGS, Given, MAX_RULES, MAX_RULES_BYTES, PREFIX, PathFault, Place, Policy,
    Problem, Requirements, RulesError, RulesFault, SERVICE_A_KEYS, SETTINGS, SPIN_PREFIX, Setting,
    SettingsError, Summary, Unclean, UnknownVariable, spin_variables, unknown_variable, variable,
};
pub use reason::{ALL_REASONS, RETRY_AFTER_SECONDS, Reason};
pub use request::{Ambiguity, RequestHead};
pub use secret::{AccessToken, ClientSecret};
pub use time::Now;
