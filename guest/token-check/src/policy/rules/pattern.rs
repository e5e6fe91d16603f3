//! Which hosts and paths a rule matches.

use std::borrow::Cow;

use super::error::{PathFault, RulesFault};
use crate::request::path::{self, is_host_name};

/// Longest path of a rule, in bytes: no route that a person writes comes near.
pub(crate) const MAX_PATH_BYTES: usize = 1024;
/// Most segments of one. The search for a rule goes as deep as this on the stack.
pub(crate) const MAX_SEGMENTS: usize = 32;

/// One step of a path, in a rule or in a request. A request has [`Segment::Text`] only.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Segment<'a> {
    /// This text.
    Text(Cow<'a, str>),
    /// Any one segment.
    One,
    /// Any segments, or none; the last of a path.
    Rest,
}

/// What a rule matches, methods aside.
pub(crate) struct Pattern {
    /// A host name, or one after `.` for any name under it, in lower case. `None`: every request.
    pub(crate) host: Option<String>,
    /// `None`: every request, one that has no path among them.
    pub(crate) path: Option<Vec<Segment<'static>>>,
}

/// The host of a rule: `example.com`, or `*.example.com` for every name with at least one label before `.example.com`.
pub(crate) fn host(text: &str) -> Result<String, RulesFault> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if !is_host_name(name) {
        return Err(RulesFault::BadHost(text.to_owned()));
    }
    Ok(text.strip_prefix('*').unwrap_or(text).to_ascii_lowercase())
}

/// How the path of a rule is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// This path.
    Exact,
    /// This path and all under it, by whole segments.
    Prefix,
    /// `{name}` for one segment, `**` at the end for all that follows.
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
    if has(text, b"?") {
        return Err(PathFault::Query);
    }
    if form != Form::Template && has(text, b"{}*") {
        return Err(PathFault::NotATemplate);
    }
    // The same reading that a request's path gets, so that what it refuses stands in no rule, and every spelling is one.
    // It decodes no `/`, so the segments stay what they are.
    let decoded = path::normalize(text.as_bytes()).map_err(PathFault::Ambiguous)?;
    let mut segments = Vec::new();
    let mut texts = text.split('/').zip(decoded.split('/')).skip(1);
    while let Some((text, decoded)) = texts.next() {
        segments.push(if !has(text, b"{}*") {
            Segment::Text(Cow::Owned(decoded.to_owned()))
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

/// Whether one of these bytes is in the text.
fn has(text: &str, bytes: &[u8]) -> bool {
    text.bytes().any(|b| bytes.contains(&b))
}

/// `{name}`, where the name, for people only, is made of letters, digits and `_`.
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

    fn text(text: &str) -> Segment<'static> {
        Segment::Text(Cow::Owned(text.to_owned()))
    }

    #[test]
    fn a_path_in_each_form_becomes_the_segments_that_it_matches() {
        use Form::*;
        use Segment::{One, Rest};
        let rows = [
            (Exact, "/", vec![]),
            (Exact, "/a/b", vec![text("a"), text("b")]),
            (Exact, "/a/b/", vec![text("a"), text("b")]),
            (
                Exact,
                "/caf%C3%A9/%7Bx%7D%2a",
                vec![text("caf\u{e9}"), text("{x}*")],
            ),
            (Prefix, "/", vec![Rest]),
            (Prefix, "/a/", vec![text("a"), Rest]),
            (Template, "/a/b", vec![text("a"), text("b")]),
            (
                Template,
                "/users/{id}/orders",
                vec![text("users"), One, text("orders")],
            ),
            (Template, "/{a_1}/**", vec![One, Rest]),
            (Template, "/**", vec![Rest]),
        ];
        for (form, path_text, expected) in rows {
            assert_eq!(path(form, path_text), Ok(expected), "{path_text}");
        }
    }

    #[test]
    fn a_path_is_taken_to_its_limits_and_no_further() {
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
