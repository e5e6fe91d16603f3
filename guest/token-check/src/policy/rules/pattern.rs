//! Which hosts and paths a rule matches.

use std::borrow::Cow;

use super::error::{PathFault, RulesFault};
use super::limits::{MAX_PATH_BYTES, MAX_SEGMENTS};
use crate::policy::unclean::is_invisible;
use crate::request::path::{self, is_host_name};

/// One segment of a path, in a rule or in a request. Requests have [`Segment::Literal`] only.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Segment<'a> {
    /// This string.
    Literal(Cow<'a, str>),
    /// Any one segment.
    One,
    /// Any number of segments; the last of a path.
    Rest,
}

/// What a rule matches, except methods.
pub(crate) struct Pattern {
    /// A host name, or `.` and a host name for any name below it, in lower case. `None`: every
    /// request.
    pub(crate) host: Option<String>,
    /// `None`: every request, also one without a path.
    pub(crate) path: Option<Vec<Segment<'static>>>,
}

/// Parses the host of a rule: `example.com`, or `*.example.com` for every name with at least one
/// label before `.example.com`.
pub(crate) fn host(text: &str) -> Result<String, RulesFault> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if !is_host_name(name) {
        return Err(RulesFault::BadHost(text.to_owned()));
    }
    Ok(text.strip_prefix('*').unwrap_or(text).to_ascii_lowercase())
}

/// The notation of a rule's path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// This path.
    Exact,
    /// This path and everything below it, by whole segments.
    Prefix,
    /// `{name}` matches one segment, a final `**` everything that follows.
    Template,
}

pub(crate) fn path(form: Form, text: &str) -> Result<Vec<Segment<'static>>, RulesFault> {
    segments(form, text).map_err(|fault| RulesFault::BadPath {
        path: text.to_owned(),
        fault,
    })
}

fn segments(form: Form, text: &str) -> Result<Vec<Segment<'static>>, PathFault> {
    if text.len() > MAX_PATH_BYTES {
        return Err(PathFault::TooLong);
    }
    if contains_any(text, b"?") {
        return Err(PathFault::Query);
    }
    if form != Form::Template && contains_any(text, b"{}*") {
        return Err(PathFault::NotATemplate);
    }
    // Normalized like a request's path, so that rules and requests compare alike. This decodes no
    // `/`, so the segments stay the same.
    let decoded = path::normalize(text.as_bytes()).map_err(PathFault::Ambiguous)?;
    // Nobody sees that such a rule matches another path than it shows: a route that it denies would
    // stay open.
    if let Some(c) = decoded.chars().find(|c| is_invisible(*c)) {
        return Err(PathFault::Invisible(c));
    }
    let mut segments = Vec::new();
    let mut texts = text.split('/').zip(decoded.split('/')).skip(1);
    while let Some((text, decoded)) = texts.next() {
        segments.push(if !contains_any(text, b"{}*") {
            Segment::Literal(Cow::Owned(decoded.to_owned()))
        } else if is_placeholder(text) {
            Segment::One
        } else if text == "**" && texts.clone().next().is_none() {
            Segment::Rest
        } else {
            return Err(PathFault::BadPlaceholder(text.to_owned()));
        });
    }
    if form == Form::Prefix {
        segments.push(Segment::Rest);
    }
    if segments.len() > MAX_SEGMENTS {
        return Err(PathFault::TooManySegments);
    }
    Ok(segments)
}

/// Whether the string contains one of these bytes.
fn contains_any(text: &str, bytes: &[u8]) -> bool {
    text.bytes().any(|b| bytes.contains(&b))
}

/// `{name}`, where the name is for people only and consists of letters, digits and `_`.
fn is_placeholder(segment: &str) -> bool {
    segment
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|name| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Segment<'static> {
        Segment::Literal(Cow::Owned(text.to_owned()))
    }

    #[test]
    fn a_path_of_each_form_becomes_the_segments_that_it_matches() {
        use Form::*;
        use Segment::{One, Rest};
        let rows = [
            (Exact, "/", vec![]),
            (Exact, "/a/b", vec![literal("a"), literal("b")]),
            (Exact, "/a/b/", vec![literal("a"), literal("b")]),
            (
                Exact,
                "/caf%C3%A9/%7Bx%7D%2a",
                vec![literal("caf\u{e9}"), literal("{x}*")],
            ),
            (Prefix, "/", vec![Rest]),
            (Prefix, "/a/", vec![literal("a"), Rest]),
            (Template, "/a/b", vec![literal("a"), literal("b")]),
            (
                Template,
                "/users/{id}/orders",
                vec![literal("users"), One, literal("orders")],
            ),
            (Template, "/{a_1}/**", vec![One, Rest]),
            (Template, "/**", vec![Rest]),
        ];
        for (form, path_text, expected) in rows {
            assert_eq!(path(form, path_text), Ok(expected), "{path_text}");
        }
    }

    #[test]
    fn a_path_is_accepted_up_to_its_limits() {
        let deep = "/a".repeat(MAX_SEGMENTS);
        assert!(path(Form::Exact, &deep).is_ok());
        assert_eq!(
            segments(Form::Prefix, &deep),
            Err(PathFault::TooManySegments)
        );
        let long = format!("/{}", "a".repeat(MAX_PATH_BYTES - 1));
        assert!(path(Form::Exact, &long).is_ok());
        assert_eq!(
            segments(Form::Exact, &format!("{long}a")),
            Err(PathFault::TooLong)
        );
    }
}
