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

mod answer;
mod audit;
mod bearer;
mod cache;
mod check;
mod decision;
mod facts;
mod fault;
mod identity;
mod introspection;
mod json;
mod names;
mod note;
mod outage;
mod path;
mod policy;
mod problem;
mod reason;
mod requirements;
mod rules;
mod secret;
mod settings;
mod store;
mod summary;
mod trace;
mod unclean;
mod verdict;

pub use answer::{AnswerBody, IssuerAnswer};
pub use bearer::RequestHead;
pub use check::{AuthCheck, Ended, Errand, Flight, Now, Outcome, Progress, Step, Waiting};
pub use decision::{Decision, Grant, Refusal};
pub use facts::Facts;
pub use fault::{CallFailure, Fault};
pub use identity::{IDENTITY_HEADERS, is_identity_header};
pub use introspection::{OutboundCall, USER_AGENT};
pub use names::{PREFIX, SPIN_PREFIX, UnknownVariable, unknown_variable, variable};
pub use note::{Mismatch, Note};
pub use path::Ambiguity;
pub use policy::{Demand, Policy};
pub use problem::{Place, Problem, SettingsError};
pub use reason::{ALL_REASONS, RETRY_AFTER_SECONDS, Reason, Reply};
pub use requirements::Requirements;
pub use rules::{MAX_RULES, MAX_RULES_BYTES, PathFault, RulesError, RulesFault};
pub use secret::{AccessToken, ClientSecret};
pub use settings::{ENVOY_SETTINGS, Given, SERVICE_A_KEYS, SETTINGS, Setting, spin_variables};
pub use store::{Record, Sharing, StoreKey};
pub use summary::Summary;
pub use unclean::Unclean;
pub use verdict::{CacheUse, Verdict};
