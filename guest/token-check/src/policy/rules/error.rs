//! What can be wrong with the rules, told so that the place is found and mended without reading code.

use core::fmt;

use super::pattern::{MAX_PATH_BYTES, MAX_SEGMENTS};
use super::{MAX_RULES, MAX_RULES_BYTES};
use crate::policy::MAX_TTL_SECONDS;
use crate::policy::names::Visible;
use crate::request::path::Ambiguity;

/// Rules that cannot be used: the first fault in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesError {
    /// Where: the rule's number from 1, and its name if it has one. `None`: the document as a whole.
    pub rule: Option<(usize, Option<String>)>,
    /// What.
    pub fault: RulesFault,
}

/// What is wrong with the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesFault {
    /// Not JSON, or a name twice in one object; what is wrong, with line and column.
    NotJson(String),
    /// Neither an array nor an object with one in `rules`.
    NotAList,
    /// The document is over the limit.
    TooLong,
    /// More rules than the limit.
    TooMany,
    /// A rule is not an object.
    NotAnObject,
    /// Nobody knows such a key.
    UnknownKey {
        /// The key.
        key: String,
        /// What was meant, probably.
        near: Option<&'static str>,
    },
    /// A value is of the wrong kind.
    WrongKind {
        /// The key.
        key: &'static str,
        /// What is wanted.
        wanted: &'static str,
    },
    /// A list without an element. It could mean "none demanded" or "nobody may", so it means nothing.
    EmptyList(&'static str),
    /// An element of a list that can match nothing: empty, with control characters, not a scope token (RFC 6749 section
    /// 3.3), or not a method (RFC 9110 section 9.1) in upper case.
    BadElement {
        /// The key of the list.
        key: &'static str,
        /// The element.
        element: String,
    },
    /// A name that is empty, too long, not printable ASCII or begins with `#`.
    BadName(String),
    /// The name of an earlier rule.
    NameTaken,
    /// Not a host name, with or without `*.` before it.
    BadHost(String),
    /// A path that cannot be matched.
    BadPath {
        /// The path.
        path: String,
        /// What is wrong with it.
        fault: PathFault,
    },
    /// Two keys of which only one can hold.
    Contradiction(&'static str, &'static str),
    /// The earlier rule of this number matches all that this one does.
    Unreachable(usize),
}

/// What is wrong with the path of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathFault {
    /// No request with such a path gets as far as the rules.
    Ambiguous(Ambiguity),
    /// It has a `?`.
    Query,
    /// It is over the limit.
    TooLong,
    /// It has more segments than the limit.
    TooManySegments,
    /// `{`, `}` or `*` in a path that is not a template.
    NotATemplate,
    /// A segment of a template that is neither text nor a placeholder nor `**` at the end.
    BadPlaceholder(String),
}

/// A rule's number, and its name if it has one.
pub(super) struct RuleName<'a>(pub(super) usize, pub(super) Option<&'a str>);

impl fmt::Display for RuleName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(number, None) => write!(f, "rule {number}"),
            Self(number, Some(name)) => write!(f, "rule {number} ({})", Quoted(name)),
        }
    }
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            None => f.write_str("the document ")?,
            Some((number, name)) => write!(f, "{}: ", RuleName(*number, name.as_deref()))?,
        }
        self.fault.fmt(f)
    }
}

impl fmt::Display for RulesFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(text) => write!(f, "is not JSON: {text}"),
            Self::NotAList => {
                f.write_str("must be a list of rules, or an object with one in `rules`")
            }
            Self::TooLong => write!(f, "is longer than {MAX_RULES_BYTES} bytes"),
            Self::TooMany => write!(f, "has more than {MAX_RULES} rules"),
            Self::NotAnObject => f.write_str("must be an object"),
            Self::UnknownKey { key, near } => {
                write!(f, "key {} is not known", Quoted(key))?;
                near.map_or(Ok(()), |near| write!(f, ": did you mean `{near}`?"))
            }
            Self::WrongKind { key, wanted } => write!(f, "`{key}` must be {wanted}"),
            Self::EmptyList(key) => write!(
                f,
                "`{key}` is empty: leave it out for what the default policy says, or name at least one"
            ),
            Self::BadElement { key, element } => {
                let what = match *key {
                    "methods" => "not a method: write one in each element, in upper case",
                    "all" | "any" => "not a scope: write one in each element",
                    _ => "nothing that a token can have",
                };
                write!(f, "{} in `{key}` is {what}", Quoted(element))
            }
            Self::BadName(name) => write!(
                f,
                "name {} must be 1 to 64 characters of printable ASCII, the first not `#`",
                Quoted(name)
            ),
            Self::NameTaken => f.write_str("has the name of an earlier rule: choose another"),
            Self::BadHost(host) => write!(
                f,
                "host {} must be a host name or IPv4 address without a port (one outside ASCII in punycode), or `*.` and a host name",
                Quoted(host)
            ),
            Self::BadPath { path, fault } => write!(f, "path {} {fault}", Quoted(path)),
            Self::Contradiction(one, other) => {
                write!(
                    f,
                    "has `{one}` and `{other}`, of which only one can hold: remove one"
                )
            }
            Self::Unreachable(by) => write!(
                f,
                "can never apply, as rule {by} matches all that it does: move it before that one, or remove it"
            ),
        }
    }
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambiguous(ambiguity) => ambiguity.fmt(f),
            Self::Query => f.write_str("has a `?`: the query takes no part in matching"),
            Self::TooLong => write!(f, "is longer than {MAX_PATH_BYTES} bytes"),
            Self::TooManySegments => write!(f, "has more than {MAX_SEGMENTS} segments"),
            Self::NotATemplate => f.write_str(
                "has `{`, `}` or `*`: use `template` for placeholders, and write the characters as `%7B`, `%7D` and `%2A`",
            ),
            Self::BadPlaceholder(segment) => write!(
                f,
                "has the segment {}: a placeholder is a whole segment such as `{{id}}`, and `**` stands at the end only",
                Quoted(segment)
            ),
        }
    }
}

/// A part of the document, without what would break the line that it is told in.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", Visible(self.0))
    }
}

/// What a number of seconds for `ttl` must be.
pub(super) const WANTED_TTL: &str = "a whole number of seconds from 0 to 86400";
const _: () = assert!(MAX_TTL_SECONDS == 86_400, "WANTED_TTL says so");
