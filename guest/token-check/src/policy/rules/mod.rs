//! Rules per route: which token a request needs, by host, method and path. The first rule that
//! matches applies.
//!
//! A request with an ambiguous path is refused without matching, and so is one with several hosts
//! if a rule names a host. A request without a path or host (`CONNECT`, `OPTIONS *`, no Host) can
//! match rules that do not look at what is missing, but never a public one.

mod document;
mod error;
mod index;
mod limits;
mod pattern;
mod rule_set;

pub(super) use document::parse;
pub(super) use error::describe;
pub use error::{PathFault, RulesError, RulesFault};
pub use limits::{MAX_RULES, MAX_RULES_BYTES};
pub(crate) use rule_set::Access;
pub(super) use rule_set::Rules;
