//! What several targets need: settings, requests, responses, and naive readers.

use std::time::Duration;

use arbitrary::Unstructured;
use token_check::{
    Action, AuthCheck, BodyCollector, Decision, IntrospectionCall, IssuerCall as _, IssuerResponse,
    Now, PendingRequest, Policy, RequestHead, SettingsError, Step, Verdict,
};

/// When each target starts, in seconds since 1970.
pub(crate) const START: u64 = 1_800_000_000;
/// The client secret. No output may contain it.
pub(crate) const SECRET: &str = "zQ9xKw7VtPmR4s";

pub(crate) fn at(time: Duration) -> Now {
    Now {
        unix: Duration::from_secs(START) + time,
        monotonic: Duration::from_secs(5000) + time,
    }
}

pub(crate) fn try_policy(settings: &[(&str, &str)]) -> Result<Policy, SettingsError> {
    let base = [
        ("introspect_url", "https://issuer.example/introspect"),
        ("resource_client_id", "service-b"),
        ("resource_client_secret", SECRET),
        // Keys derived from the client secret would take most of the time.
        ("cache_key", "0123456789abcdef0123456789abcdef"),
    ];
    // Of two values for a key the last one counts.
    let settings = base.iter().chain(settings);
    Policy::new(settings.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
}

pub(crate) fn check(settings: &[(&str, &str)]) -> AuthCheck<u32> {
    let policy = try_policy(settings).expect("these settings are valid");
    AuthCheck::new(policy, [7; 16])
}

pub(crate) fn head<'a>(authorization: &'a [&'a [u8]], path: &'a [u8]) -> RequestHead<'a> {
    RequestHead {
        authorization,
        method: b"GET",
        authority: Some(b"service-b.example"),
        path_and_query: Some(path),
        dpop: &[],
        client_certificate: &[],
        traceparent: &[],
    }
}

/// A request that must call the issuer at once.
pub(crate) fn introspects(step: Step<u32>) -> (PendingRequest, token_check::AwaitingResponse) {
    match step {
        Step::Lead(pending, Action::Introspect(ticket, _)) => (pending, ticket),
        other => panic!("must call the issuer: {other:?}"),
    }
}

pub(crate) fn done(step: Step<u32>) -> Verdict {
    match step {
        Step::Done(verdict) => verdict,
        other => panic!("must be decided: {other:?}"),
    }
}

pub(crate) fn is_granted(verdict: &Verdict) -> bool {
    matches!(verdict.decision, Decision::Granted(_))
}

/// The token that a call is about, in clear.
pub(crate) fn token(call: &IntrospectionCall) -> Vec<u8> {
    let form = call.body().strip_prefix(b"token=").expect("a token");
    let encoded = form.split(|b| *b == b'&').next().unwrap_or_default();
    form_decoded(encoded)
}

/// A response of the issuer.
pub(crate) fn response(status: u16, content_type: &[u8], body: &[u8]) -> IssuerResponse {
    let mut collector = BodyCollector::default();
    let _ = collector.push(body);
    IssuerResponse {
        status,
        content_type: Some(content_type.to_vec()),
        body: collector,
        ..IssuerResponse::default()
    }
}

pub(crate) fn json(body: &str) -> IssuerResponse {
    response(200, b"application/json", body.as_bytes())
}

/// Decodes `application/x-www-form-urlencoded`; a `%` without two digits stands for itself.
pub(crate) fn form_decoded(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text
        .iter()
        .map(|b| if *b == b'+' { b' ' } else { *b })
        .collect();
    percent_decoded(&spaced)
}

pub(crate) fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let digits = text.get(at + 1..at + 3);
        let byte = digits
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| core::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (text[at], byte) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// One of these; the first if the input is used up.
pub(crate) fn pick<T: Copy>(input: &mut Unstructured<'_>, from: &[T]) -> T {
    from[below(input, from.len())]
}

/// A number below `limit`; 0 if the input is used up.
pub(crate) fn below(input: &mut Unstructured<'_>, limit: usize) -> usize {
    input.int_in_range(0..=limit - 1).unwrap_or_default()
}

pub(crate) fn flag(input: &mut Unstructured<'_>) -> bool {
    below(input, 2) == 1
}

/// Up to `most` bytes.
pub(crate) fn bytes(input: &mut Unstructured<'_>, most: usize) -> Vec<u8> {
    let length = below(input, most + 1).min(input.len());
    input.bytes(length).map(<[u8]>::to_vec).unwrap_or_default()
}

/// Up to `most` bytes that are UTF-8.
pub(crate) fn text(input: &mut Unstructured<'_>, most: usize) -> String {
    String::from_utf8_lossy(&bytes(input, most)).into_owned()
}
