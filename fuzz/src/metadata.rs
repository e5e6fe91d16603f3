//! Documents as the metadata of an issuer (RFC 8414), against a second reader. Whatever they name, no call goes to a
//! host that the settings do not name.

use serde_json::{Map, Value};
use token_check::{
    Action, AuthCheck, BodyCollector, DocumentCall, IssuerCall, IssuerResponse, Parked, Progress,
    Reason, Step,
};

use crate::facts::{colons, depth, members};
use crate::jwk_set::most_members;
use crate::support::{at, head, response, try_policy};

const ISSUER: &str = "https://issuer.example/a";
const MAX_DEPTH: usize = 16;
const MAX_MEMBERS: usize = 512;
/// Of introspection, and of the keys.
const HOSTS: [[&str; 2]; 2] = [
    ["issuer.example", "tokens.example"],
    ["issuer.example", "keys.example"],
];

/// What becomes of a document that an issuer serves as its metadata.
pub fn run(data: &[u8]) {
    let settings = [
        ("introspect_url", ""),
        ("issuer", ISSUER),
        ("strategy", "auto"),
        ("expected_aud", "service-b"),
        ("introspect_origin", "https://tokens.example"),
        ("jwks_origin", "https://keys.example"),
    ];
    let policy = try_policy(&settings).expect("these settings are valid");
    let mut check = AuthCheck::<u32>::new(policy, [7; 16]);
    let now = at(std::time::Duration::ZERO);
    let lines = [b"Bearer opaque".as_slice()];
    let request = head(&lines, b"/");
    let Step::Join(pending) = check.begin(&request, now) else {
        panic!("nothing is known without metadata");
    };
    assert!(matches!(check.park(&pending, 1), Parked::Yes));
    let Some(Action::FetchDocument(ticket, call)) = check.next_fetch(now) else {
        panic!("metadata are fetched");
    };
    assert_eq!(
        url(&call),
        "https://issuer.example/a/.well-known/openid-configuration"
    );
    let mut body = BodyCollector::new(DocumentCall::MAX_BYTES);
    let _ = body.push(data);
    let served = IssuerResponse {
        body,
        ..response(200, b"text/plain", b"")
    };
    let progress = check.document_responded(ticket, Ok(served), now);
    let document = match read(data) {
        Read::Metadata(document) => document,
        Read::TooLarge => return assert_unusable(progress),
        Read::Elsewhere => {
            let Progress::Continue(Action::FetchDocument(ticket, call)) = progress else {
                panic!("there is another place: {progress:?}");
            };
            let next = "https://issuer.example/.well-known/oauth-authorization-server/a";
            assert_eq!(url(&call), next);
            drop(ticket);
            return;
        }
    };
    let texts: Option<Vec<_>> = ["issuer", "introspection_endpoint", "jwks_uri"]
        .map(|name| text(&document, name))
        .into_iter()
        .collect();
    let Some([issuer, endpoint, keys]) = texts.as_deref() else {
        return assert_unusable(progress);
    };
    let endpoints = [endpoint, keys];
    if *issuer != Some(ISSUER) || endpoints.iter().any(|url| url.is_none()) {
        return assert_unusable(progress);
    }
    let are_plain = (endpoints.iter().zip(HOSTS))
        .all(|(url, hosts)| url.is_some_and(|url| is_plain(url, hosts)));
    let Progress::Finished(finished) = progress else {
        panic!("it is over: {progress:?}");
    };
    assert_eq!(finished.woken, [1]);
    if finished.fault.is_some() {
        assert!(!are_plain, "{document:?}");
        return;
    }
    let Step::Lead(_, Action::Introspect(_, call)) = check.resume(pending, now) else {
        panic!("the endpoint is known");
    };
    check_url(&call, *endpoint, HOSTS[0], are_plain);
    let Some(Action::FetchDocument(_, call)) = check.next_fetch(now) else {
        panic!("the keys are fetched");
    };
    check_url(&call, *keys, HOSTS[1], are_plain);
}

fn assert_unusable(progress: Progress<u32>) {
    let Progress::Finished(finished) = progress else {
        panic!("it is over: {progress:?}");
    };
    let reason = finished.fault.map(|fault| fault.reason());
    assert_eq!(reason, Some(Reason::IssuerMetadataUnusable));
}

fn check_url(call: &impl IssuerCall, named: Option<&str>, hosts: [&str; 2], is_plain: bool) {
    assert!(call.is_https());
    let authority = call.authority();
    assert!(hosts.contains(&authority), "{authority}");
    if is_plain {
        let called = url(call);
        assert_eq!(
            Some(called.trim_end_matches('/')),
            named.map(|url| url.trim_end_matches('/'))
        );
    }
}

fn url(call: &impl IssuerCall) -> String {
    format!("https://{}{}", call.authority(), call.path_and_query())
}

/// A URL that every reader understands alike.
fn is_plain(url: &str, hosts: [&str; 2]) -> bool {
    let rest = url.strip_prefix("https://").unwrap_or_default();
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    hosts.contains(&host)
        && !path.contains("//")
        && path
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"/_-".contains(&b))
}

enum Read {
    Metadata(Map<String, Value>),
    TooLarge,
    /// It is no JSON object.
    Elsewhere,
}

fn read(data: &[u8]) -> Read {
    if data.len() > DocumentCall::MAX_BYTES {
        return Read::TooLarge;
    }
    let Ok(text) = core::str::from_utf8(data) else {
        return Read::Elsewhere;
    };
    let Ok(document @ Value::Object(_)) = serde_json::from_str::<Value>(text) else {
        return Read::Elsewhere;
    };
    let is_strict = colons(text) == members(&document)
        && depth(&document) <= MAX_DEPTH
        && most_members(&document) <= MAX_MEMBERS;
    match document {
        Value::Object(document) if is_strict => Read::Metadata(document),
        _ => Read::Elsewhere,
    }
}

/// `None`: it has another type.
fn text<'a>(document: &'a Map<String, Value>, name: &str) -> Option<Option<&'a str>> {
    match document.get(name) {
        None | Some(Value::Null) => Some(None),
        Some(Value::String(text)) => Some(Some(text)),
        Some(_) => None,
    }
}
