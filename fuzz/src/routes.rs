//! Rules and a request, against a second reader that takes the rules in order and decodes paths
//! naively. Where the core refuses a path as ambiguous, the two need not agree.

use std::time::Duration;

use arbitrary::Unstructured;
use serde_json::{Map, Value, json};
use token_check::{AuthCheck, Decision, Problem, Reason, RequestHead, RulesFault, Step};

use crate::support::{at, below, bytes, flag, percent_decoded, pick, try_policy};

const SEGMENTS: [&str; 8] = ["a", "b", "c", "admin", "\u{e9}", "a b", "100%", "~"];
const HOSTS: [&str; 5] = ["x.test", "y.x.test", "z.y.x.test", "test", "other.example"];
const METHODS: [&str; 4] = ["GET", "POST", "DELETE", "HEAD"];
const MAX_RULES: usize = 6;

#[derive(Clone, Debug)]
struct Rule {
    host: Option<String>,
    methods: Vec<&'static str>,
    path: Option<(&'static str, Vec<Segment>)>,
    access: Access,
}

#[derive(Clone, Debug, PartialEq)]
enum Segment {
    Literal(&'static str),
    One,
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Token,
    Public,
    Denied,
}

#[derive(Debug)]
struct Request {
    method: Vec<u8>,
    host: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

/// What the core says about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// 400.
    Refused,
    Access(Access, Option<String>),
}

/// Matches requests.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut rules: Vec<_> = (0..below(&mut input, MAX_RULES + 1))
        .map(|_| rule(&mut input))
        .collect();
    let (mut check, removed) = usable(&mut rules);
    for _ in 0..4 {
        let request = request(&mut input);
        // A rule that was refused as one that cannot match does not match. Not so for requests
        // without path or host, which no public rule matches.
        for (rule, before) in removed
            .iter()
            .filter(|_| has_path(&request) && has_host(&request))
        {
            let first = first(&rules[..*before], &request);
            assert!(
                first.is_some() || !matches(rule, &request),
                "{rule:?} after {rules:?}: {request:?}"
            );
        }
        compare(&mut check, &rules, &request);
    }
}

// What is generated.

fn rule(input: &mut Unstructured<'_>) -> Rule {
    let host = flag(input).then(|| {
        let host = pick(input, &HOSTS);
        let wildcard = pick(input, &["", "*."]);
        format!("{wildcard}{host}")
    });
    let methods = (0..pick(input, &[0, 0, 1, 2]))
        .map(|_| pick(input, &METHODS))
        .collect();
    let path = (below(input, 4) > 0).then(|| {
        let form = pick(input, &["exact", "prefix", "template"]);
        let mut segments: Vec<_> = (0..below(input, 4))
            .map(|_| match below(input, 4) {
                0 if form == "template" => Segment::One,
                _ => Segment::Literal(pick(input, &SEGMENTS)),
            })
            .collect();
        if form == "template" && flag(input) {
            segments.push(Segment::Rest);
        }
        (form, segments)
    });
    let access = pick(input, &[Access::Token, Access::Public, Access::Denied]);
    Rule {
        host,
        methods,
        path,
        access,
    }
}

impl Rule {
    fn json(&self) -> Value {
        let mut members = Map::new();
        if let Some(host) = &self.host {
            members.insert("host".to_owned(), json!(host));
        }
        if !self.methods.is_empty() {
            members.insert("methods".to_owned(), json!(self.methods));
        }
        if let Some((form, segments)) = &self.path {
            let text: String = segments
                .iter()
                .map(|segment| match segment {
                    Segment::Literal(text) => format!("/{}", encoded(text)),
                    Segment::One => "/{id}".to_owned(),
                    Segment::Rest => "/**".to_owned(),
                })
                .collect();
            let text = if text.is_empty() {
                "/".to_owned()
            } else {
                text
            };
            members.insert("path".to_owned(), json!({ *form: text }));
        }
        match self.access {
            Access::Token => {}
            Access::Public => _ = members.insert("public".to_owned(), json!(true)),
            Access::Denied => _ = members.insert("deny".to_owned(), json!(true)),
        }
        Value::Object(members)
    }
}

fn encoded(text: &str) -> String {
    let encode = |b: u8| {
        if b.is_ascii_alphanumeric() || b == b'~' {
            char::from(b).to_string()
        } else {
            format!("%{b:02X}")
        }
    };
    text.bytes().map(encode).collect()
}

fn request(input: &mut Unstructured<'_>) -> Request {
    let method = match below(input, 8) {
        0 => bytes(input, 8),
        1 => b"delete".to_vec(),
        2 => b"PATCH".to_vec(),
        _ => pick(input, &METHODS).as_bytes().to_vec(),
    };
    let host = match below(input, 10) {
        0 => None,
        1 => Some(bytes(input, 16)),
        2 => Some(b"x.test, test".to_vec()),
        3 => Some(b"[::1]:80".to_vec()),
        _ => {
            let mut host = pick(input, &HOSTS).to_owned();
            host.push_str(pick(input, &["", "", ".", ":80", ":"]));
            Some(
                if flag(input) {
                    host.to_ascii_uppercase()
                } else {
                    host
                }
                .into_bytes(),
            )
        }
    };
    let target = match below(input, 12) {
        0 => None,
        1 => Some(b"*".to_vec()),
        2 => Some(bytes(input, 32)),
        _ => Some(target(input)),
    };
    Request {
        method,
        host,
        target,
    }
}

fn target(input: &mut Unstructured<'_>) -> Vec<u8> {
    let mut target = Vec::new();
    for _ in 0..below(input, 5) {
        target.extend(b"/");
        match below(input, 8) {
            0 => target.extend(bytes(input, 6)),
            1 => target.extend(pick::<&[u8]>(
                input,
                &[
                    b"",
                    b".",
                    b"..",
                    b"%2e",
                    b"a%2fb",
                    b"a;b",
                    b"a%3bb",
                    b"a\\b",
                    b"%25%32%66",
                    b"a%00",
                ],
            )),
            // Percent-encoded in part, which makes no difference.
            2 => {
                for b in pick(input, &SEGMENTS).bytes() {
                    if flag(input) || b == b'%' || b == b' ' {
                        target.extend(format!("%{b:02x}").bytes());
                    } else {
                        target.push(b);
                    }
                }
            }
            _ => target.extend(encoded(pick(input, &SEGMENTS)).bytes()),
        }
    }
    target.extend(pick::<&[u8]>(
        input,
        &[b"", b"", b"/", b"?a=/../b", b"/?x", b"#f"],
    ));
    target
}

/// A rule that was refused, and the number of rules before it.
type Removed = (Rule, usize);

/// The check with these rules, without those that it refuses as never matching; those too.
fn usable(rules: &mut Vec<Rule>) -> (AuthCheck<u32>, Vec<Removed>) {
    let mut removed = Vec::new();
    for _ in 0..=MAX_RULES {
        let document = Value::Array(rules.iter().map(Rule::json).collect()).to_string();
        match try_policy(&[("rules", &document)]) {
            Ok(policy) => return (AuthCheck::new(policy, [7; 16]), removed),
            Err(error) => {
                let Problem::Rules(fault) = &error.problem else {
                    panic!("{error}");
                };
                assert!(matches!(fault.fault, RulesFault::Unreachable(_)), "{error}");
                let (number, _) = fault.rule.as_ref().expect("about a rule");
                removed.push((rules.remove(number - 1), number - 1));
            }
        }
    }
    panic!("each round removes a rule");
}

// The second reader.

/// The path without query and one trailing `/`, cut at each `/` and then decoded.
fn segments(target: &[u8]) -> Option<Vec<Vec<u8>>> {
    let path = target.split(|b| *b == b'?').next()?;
    let path = path.strip_suffix(b"/").unwrap_or(path);
    Some(
        path.split(|b| *b == b'/')
            .skip(1)
            .map(percent_decoded)
            .collect(),
    )
}

/// The same by a reader that does everything to a path that some app does: decodes twice, takes `\\`
/// for `/`, cuts at NUL and `#`, drops parameters and empty segments, and resolves dot segments.
fn segments_by_a_sloppy_app(target: &[u8]) -> Vec<Vec<u8>> {
    let path = target.split(|b| *b == b'?').next().unwrap_or_default();
    let path = percent_decoded(&percent_decoded(path));
    let path = path.split(|b| matches!(b, 0 | b'#' | b'?')).next();
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in path
        .unwrap_or_default()
        .split(|b| matches!(b, b'/' | b'\\'))
    {
        match segment.split(|b| *b == b';').next().unwrap_or_default() {
            b"" | b"." => {}
            b".." => _ = segments.pop(),
            segment => segments.push(segment.to_vec()),
        }
    }
    segments
}

/// A host name in lower case without port and trailing dot.
fn host_name(host: &[u8]) -> Option<String> {
    let host = core::str::from_utf8(host).ok()?.to_ascii_lowercase();
    if host.starts_with('[') {
        return None;
    }
    let (name, port) = host.split_once(':').unwrap_or((&host, ""));
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name = name.split('.').all(|label| {
        !label.is_empty()
            && label.len() < 64
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    });
    (is_name && port.bytes().all(|b| b.is_ascii_digit())).then(|| name.to_owned())
}

/// An IPv6 address in brackets, with or without a port.
fn is_address(host: &[u8]) -> bool {
    let Some((address, port)) = core::str::from_utf8(host)
        .ok()
        .and_then(|host| host.strip_prefix('[')?.split_once(']'))
    else {
        return false;
    };
    let is_port = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()),
    };
    let is_in_address = |b: u8| b.is_ascii_hexdigit() || b == b':' || b == b'.';
    is_port && address.contains(':') && address.bytes().all(is_in_address)
}

fn matches(rule: &Rule, request: &Request) -> bool {
    let is_head_of_get = request.method == b"HEAD" && rule.methods.contains(&"GET");
    let is_method = rule.methods.is_empty()
        || is_head_of_get
        || rule
            .methods
            .iter()
            .any(|method| method.as_bytes() == request.method);
    let name = request.host.as_deref().and_then(host_name);
    let is_host = match (&rule.host, &name) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wanted), Some(name)) => match wanted.strip_prefix('*') {
            Some(suffix) => name.len() > suffix.len() && name.ends_with(suffix),
            None => name == wanted,
        },
    };
    let target = request.target.as_deref().filter(|target| *target != b"*");
    let is_path = match (&rule.path, target.and_then(segments)) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some((form, wanted)), Some(path)) => {
            let is_open = *form == "prefix" || wanted.last() == Some(&Segment::Rest);
            let wanted: Vec<_> = wanted
                .iter()
                .filter(|segment| **segment != Segment::Rest)
                .collect();
            (path.len() == wanted.len() || (is_open && path.len() > wanted.len()))
                && wanted
                    .iter()
                    .zip(&path)
                    .all(|(wanted, found)| match wanted {
                        Segment::Literal(text) => text.as_bytes() == found,
                        Segment::One | Segment::Rest => true,
                    })
        }
    };
    is_method && is_host && is_path
}

fn has_host(request: &Request) -> bool {
    let host = request.host.as_deref();
    host.is_some_and(|host| host_name(host).is_some() || is_address(host))
}

fn has_path(request: &Request) -> bool {
    request
        .target
        .as_deref()
        .is_some_and(|target| target != b"*")
}

fn first<'a>(rules: &'a [Rule], request: &Request) -> Option<(usize, &'a Rule)> {
    let names_hosts = rules.iter().any(|rule| rule.host.is_some());
    let is_known = has_path(request) && (has_host(request) || !names_hosts);
    (rules.iter().enumerate())
        .find(|(_, rule)| matches(rule, request) && (is_known || rule.access != Access::Public))
}

/// Whether nobody could read the request in two ways.
fn is_plain(request: &Request) -> bool {
    let is_plain = |b: &u8| b.is_ascii_alphanumeric();
    let is_method = METHODS
        .iter()
        .any(|method| method.as_bytes() == request.method);
    let is_host = HOSTS
        .iter()
        .any(|host| Some(host.as_bytes()) == request.host.as_deref());
    let target = request.target.as_deref().unwrap_or_default();
    is_method
        && is_host
        && target.starts_with(b"/")
        && target
            .split(|b| *b == b'/')
            .skip(1)
            .all(|part| !part.is_empty() && part.iter().all(is_plain))
}

// The comparison.

fn seen(check: &mut AuthCheck<u32>, request: &Request) -> Seen {
    let head = RequestHead {
        authorization: &[],
        method: &request.method,
        authority: request.host.as_deref(),
        path_and_query: request.target.as_deref(),
        dpop: &[],
        client_certificate: &[],
        traceparent: &[],
    };
    let Step::Done(verdict) = check.begin(&head, at(Duration::ZERO)) else {
        panic!("a request without a token waits");
    };
    let rule = verdict.decision.rule().map(str::to_owned);
    match &verdict.decision {
        Decision::Granted(_) => Seen::Access(Access::Public, rule),
        Decision::Answered(response) => panic!("{response:?}"),
        Decision::Refused(refusal) => match refusal.reason() {
            Reason::DeniedByRule => Seen::Access(Access::Denied, rule),
            Reason::NoCredentials => Seen::Access(Access::Token, rule),
            reason => {
                assert_eq!(reason.status(), 400, "{reason:?}");
                Seen::Refused
            }
        },
    }
}

fn compare(check: &mut AuthCheck<u32>, rules: &[Rule], request: &Request) {
    let found = seen(check, request);
    if found == Seen::Refused {
        assert!(
            !is_plain(request),
            "a plain request was refused: {request:?}"
        );
        return;
    }
    let expected = first(rules, request)
        .map_or(Seen::Access(Access::Token, None), |(place, rule)| {
            Seen::Access(rule.access, Some(format!("#{}", place + 1)))
        });
    assert_eq!(found, expected, "{request:?}");

    // No app reads another path, however it reads.
    let Some(target) = request.target.as_deref().filter(|_| !rules.is_empty()) else {
        return;
    };
    let Some(path) = segments(target).filter(|_| target.starts_with(b"/")) else {
        return;
    };
    assert_eq!(path, segments_by_a_sloppy_app(target), "{request:?}");

    // Every other spelling of the same path has the same access.
    let spelled = |spell: fn(u8) -> String| {
        let text: String = path
            .iter()
            .map(|segment| format!("/{}", segment.iter().map(|b| spell(*b)).collect::<String>()))
            .collect();
        Some(
            if text.is_empty() {
                "/".to_owned()
            } else {
                text
            }
            .into_bytes(),
        )
    };
    let canonical = spelled(|b| encoded_byte(b, b.is_ascii_alphanumeric()));
    let all_encoded = spelled(|b| encoded_byte(b, false));
    let again = |target| Request {
        method: request.method.clone(),
        host: request.host.clone(),
        target,
    };
    assert_eq!(
        seen(check, &again(canonical)),
        found,
        "normalized twice: {request:?}"
    );
    assert_eq!(
        seen(check, &again(all_encoded)),
        found,
        "all encoded: {request:?}"
    );
}

fn encoded_byte(b: u8, is_plain: bool) -> String {
    if is_plain {
        char::from(b).to_string()
    } else {
        format!("%{b:02X}")
    }
}
