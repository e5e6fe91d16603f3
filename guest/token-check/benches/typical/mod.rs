//! A request with a token of typical length, and the response of IBM Verify.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a bench")]

use std::time::Duration;

use token_check::{
    Action, AuthCheck, AwaitingResponse, BodyCollector, Decision, IssuerResponse, Now,
    PendingRequest, Policy, Progress, RequestHead, Step, Verdict,
};

pub(crate) const NOW: Now = Now {
    unix: Duration::from_secs(1_800_000_000),
    monotonic: Duration::from_secs(100),
};

/// The response of IBM Verify for a token from the client-credentials grant.
pub(crate) const TYPICAL: &str = r#"{"active":true,"aud":["7d1e8a3c-5b0f-4c55-9a4e-1f6f3b2c9d10"],"client_id":"7d1e8a3c-5b0f-4c55-9a4e-1f6f3b2c9d10","exp":4102444800,"grant_id":"3f0e7f3c-9b1d-4a3e-8c56-2f6f3b2c9d10","grant_type":"client_credentials","iat":1767225600,"iss":"https://tenant.verify.ibm.com/oauth2","sub":"7d1e8a3c-5b0f-4c55-9a4e-1f6f3b2c9d10","token_type":"bearer"}"#;

/// Largest `cache_entries`.
const MAX_CACHE_ENTRIES: usize = 1_000_000;

pub(crate) fn check(extra: &[(&str, &str)]) -> AuthCheck<u32> {
    let settings = [
        ("introspect_url", "https://issuer.example.com/introspect"),
        ("resource_client_id", "b"),
        ("resource_client_secret", "s"),
    ];
    let settings = settings.iter().chain(extra);
    let policy = Policy::new(settings.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    AuthCheck::new(policy.unwrap(), [7; 16])
}

/// `Bearer` and a token of 100 bytes.
pub(crate) fn authorization(number: usize) -> String {
    format!("Bearer {number:0100}")
}

pub(crate) fn begin(check: &mut AuthCheck<u32>, authorization: &str) -> Step<u32> {
    let request = RequestHead {
        authorization: &[authorization.as_bytes()],
        method: b"GET",
        authority: Some(b"api.example.com"),
        path_and_query: Some(b"/orders?page=2"),
        dpop: &[],
        client_certificate: &[],
        traceparent: &[],
    };
    check.begin(&request, NOW)
}

pub(crate) fn introspects(step: Step<u32>) -> (PendingRequest, AwaitingResponse) {
    match step {
        Step::Lead(request, Action::Introspect(ticket, _)) => (request, ticket),
        other => panic!("must introspect: {other:?}"),
    }
}

pub(crate) fn response(body: &str) -> IssuerResponse {
    let mut collected = BodyCollector::default();
    let _ = collected.push(body.as_bytes());
    IssuerResponse {
        status: 200,
        content_type: Some(b"application/json".to_vec()),
        body: collected,
        ..IssuerResponse::default()
    }
}

pub(crate) fn respond(
    check: &mut AuthCheck<u32>,
    ticket: AwaitingResponse,
    response: IssuerResponse,
) {
    match check.responded(ticket, Ok(response), NOW) {
        Progress::Finished(_) => {}
        other => panic!("must finish: {other:?}"),
    }
}

pub(crate) fn granted(step: Step<u32>) -> Verdict {
    match step {
        Step::Done(verdict) if matches!(verdict.decision, Decision::Granted(_)) => verdict,
        other => panic!("must be granted: {other:?}"),
    }
}

/// With this many tokens cached.
pub(crate) fn cached(count: usize) -> AuthCheck<u32> {
    let entries = (count + 1).min(MAX_CACHE_ENTRIES).to_string();
    let mut check = check(&[("cache_ttl", "3600"), ("cache_entries", &entries)]);
    for number in 0..count {
        let (waiting, ticket) = introspects(begin(&mut check, &authorization(number)));
        respond(&mut check, ticket, response(TYPICAL));
        let _ = granted(check.resume(waiting, NOW));
    }
    check
}
