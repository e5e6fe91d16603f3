//! What can be wrong with the rules, worded so that an operator can find and fix it.

use core::fmt;

use super::limits::{MAX_PATH_BYTES, MAX_RULES, MAX_RULES_BYTES, MAX_SEGMENTS};
use crate::policy::names::Visible;
use crate::policy::settings::MAX_TTL_SECONDS;
use crate::policy::unclean::Unclean;
use crate::request::Ambiguity;

/// Rules that cannot be used, with the first fault in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesError {
    /// The number of the rule from 1, and its name if it has one. `None`: the whole document.
    pub rule: Option<(usize, Option<String>)>,
    /// What is wrong with it.
    pub fault: RulesFault,
}

/// What is wrong with the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesFault {
    /// Not JSON, or a duplicate name in an object; the error of the parser, with line and column.
    NotJson(String),
    /// Neither an array nor an object with one in `rules`.
    NotAList,
    /// The document is over the limit.
    TooLong,
    /// More rules than the limit.
    TooMany,
    /// A rule is not an object.
    NotAnObject,
    /// There is no such key.
    UnknownKey {
        /// The key.
        key: String,
        /// The key that was probably meant.
        near: Option<&'static str>,
    },
    /// A value has the wrong type.
    WrongKind {
        /// The key.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// An empty list, which could mean "none is required" or "nobody may".
    EmptyList(&'static str),
    /// A list element that can match nothing: empty, with control characters, not a scope token
    /// (RFC 6749 section 3.3), or not a method (RFC 9110 section 9.1) in upper case.
    BadElement {
        /// The key of the list.
        key: &'static str,
        /// The element.
        element: String,
    },
    /// A name that is empty, too long, not printable ASCII, or begins with `#`.
    BadName(String),
    /// The name of an earlier rule.
    NameTaken,
    /// Not a host name, with or without a leading `*.`.
    BadHost(String),
    /// A path that no request can match.
    BadPath {
        /// The path.
        path: String,
        /// What is wrong with it.
        fault: PathFault,
    },
    /// Two keys that exclude each other.
    Contradiction(&'static str, &'static str),
    /// The earlier rule with this number matches everything that this one matches.
    Unreachable(usize),
}

/// What is wrong with the path of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathFault {
    /// Requests with such a path are refused before rules are matched.
    Ambiguous(Ambiguity),
    /// It contains an invisible character, plain or percent-encoded.
    Invisible(char),
    /// It contains a `?`.
    Query,
    /// It is over the limit.
    TooLong,
    /// It has more segments than the limit.
    TooManySegments,
    /// `{`, `}` or `*` in a path that is not a template.
    NotATemplate,
    /// A template segment that is neither literal nor a placeholder nor a final `**`.
    BadPlaceholder(String),
}

/// A rule as errors name it. `label`: its name, or `#` and its number if it has none.
pub(crate) fn describe(number: usize, label: Option<&str>) -> String {
    let name = label.filter(|label| !label.starts_with('#'));
    RuleName(number, name).to_string()
}

/// A rule's number, and its name if it has one.
struct RuleName<'a>(usize, Option<&'a str>);

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
                write!(f, "key {} is unknown", Quoted(key))?;
                near.map_or(Ok(()), |near| write!(f, ": did you mean `{near}`?"))
            }
            Self::WrongKind { key, expected } => write!(f, "`{key}` must be {expected}"),
            Self::EmptyList(key) => write!(
                f,
                "`{key}` is empty: omit it to inherit the default policy, or list at least one"
            ),
            Self::BadElement { key, element } => {
                let what = match *key {
                    "methods" => "not a method: list one per element, in upper case",
                    "all" | "any" => "not a scope: list one per element",
                    _ => "not a value that a token can have",
                };
                write!(f, "{} in `{key}` is {what}", Quoted(element))
            }
            Self::BadName(name) => write!(
                f,
                "name {} must be 1 to 64 characters of printable ASCII and not begin with `#`",
                Quoted(name)
            ),
            Self::NameTaken => f.write_str("has the name of an earlier rule: choose another"),
            Self::BadHost(host) => write!(
                f,
                "host {} must be a host name or IPv4 address without a port (in punycode if not ASCII), or `*.` and a host name",
                Quoted(host)
            ),
            Self::BadPath { path, fault } => write!(f, "path {} {fault}", Quoted(path)),
            Self::Contradiction(one, other) => {
                write!(
                    f,
                    "has `{one}` and `{other}`, which exclude each other: remove one"
                )
            }
            Self::Unreachable(by) => write!(
                f,
                "can never apply, since rule {by} matches everything that it matches: move it before rule {by}, or remove it"
            ),
        }
    }
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambiguous(ambiguity) => ambiguity.fmt(f),
            Self::Invisible(c) => Unclean::Invisible(*c).fmt(f),
            Self::Query => f.write_str("has a `?`: the query is not matched"),
            Self::TooLong => write!(f, "is longer than {MAX_PATH_BYTES} bytes"),
            Self::TooManySegments => write!(f, "has more than {MAX_SEGMENTS} segments"),
            Self::NotATemplate => f.write_str(
                "has `{`, `}` or `*`: use `template` for placeholders, or encode the characters as `%7B`, `%7D` and `%2A`",
            ),
            Self::BadPlaceholder(segment) => write!(
                f,
                "has the segment {}: a placeholder is a whole segment such as `{{id}}`, and `**` is allowed at the end only",
                Quoted(segment)
            ),
        }
    }
}

/// Longest part of the document in an error, in bytes: a line of the log has to hold it.
const MAX_QUOTED_BYTES: usize = 256;

/// Quotes a part of the document without characters that would break the log line.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.0.floor_char_boundary(MAX_QUOTED_BYTES);
        let shown = self.0.get(..end).unwrap_or_default();
        let more = if shown.len() < self.0.len() {
            "..."
        } else {
            ""
        };
        write!(f, "\"{}\"{more}", Visible(shown))
    }
}

/// What `ttl` must be.
pub(super) const EXPECTED_TTL: &str = "a whole number of seconds from 0 to 86400";
const _: () = assert!(MAX_TTL_SECONDS == 86_400, "EXPECTED_TTL says so");
