//! A request with a token of a typical length, and what IBM Verify says of it. Benches of the core share it.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a bench")]

use std::time::Duration;

use token_check::{
    AnswerBody, AuthCheck, Decision, Errand, Flight, IssuerAnswer, Now, Outcome, Policy, Progress,
    RequestHead, Step, Verdict, Waiting,
};

pub(crate) const NOW: Now = Now {
    unix: Duration::from_secs(1_800_000_000),
    monotonic: Duration::from_secs(100),
};

/// What IBM Verify says of a token from the client-credentials grant.
pub(crate) const TYPICAL: &str = r#"{"active":true,"aud":["7d1e8a3c-5b0f-4c55-9a4e-1f6f3b2c9d10"],"client_id":"7d1e8a3c-5b0f-4c55-9a4e-1f6f3b2c9d10","exp":4102444800,"grant_id":"3f0e7f3c-9b1d-4a3e-8c56-2f6f3b2c9d10","grant_type":"client_credentials","iat":1767225600,"iss":"https://tenant.verify.ibm.com/oauth2","sub":"7d1e8a3c-5b0f-4c55-9a4e-1f6f3b2c9d10","token_type":"bearer"}"#;

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

pub(crate) fn begin(check: &mut AuthCheck<u32>, authorization: &str) -> Step {
    let request = RequestHead {
        authorization: &[authorization.as_bytes()],
        method: b"GET",
        authority: Some(b"api.example.com"),
        path_and_query: Some(b"/orders?page=2"),
        traceparent: &[],
    };
    check.begin(&request, NOW)
}

pub(crate) fn asks(step: Step) -> (Waiting, Flight) {
    match step {
        Step::Lead(waiting, flight, Errand::Ask(_)) => (waiting, flight),
        other => panic!("must ask: {other:?}"),
    }
}

pub(crate) fn answer(body: &str) -> Outcome {
    let mut collected = AnswerBody::default();
    let _ = collected.push(body.as_bytes());
    Outcome::Answered(IssuerAnswer {
        status: 200,
        content_type: Some(b"application/json".to_vec()),
        body: collected,
        ..IssuerAnswer::default()
    })
}

pub(crate) fn settle(check: &mut AuthCheck<u32>, flight: Flight, answer: Outcome) {
    match check.settle(flight, answer, NOW) {
        Progress::Ended(_) => {}
        Progress::More(_, errand) => panic!("{errand:?}"),
    }
}

pub(crate) fn granted(step: Step) -> Verdict {
    match step {
        Step::Done(verdict) if matches!(verdict.decision, Decision::Granted(_)) => verdict,
        other => panic!("must be granted: {other:?}"),
    }
}

/// One that has so many tokens cached.
pub(crate) fn cached(count: usize) -> AuthCheck<u32> {
    let entries = (count + 1).to_string();
    let mut check = check(&[("cache_ttl", "3600"), ("cache_entries", &entries)]);
    for number in 0..count {
        let (waiting, flight) = asks(begin(&mut check, &authorization(number)));
        settle(&mut check, flight, answer(TYPICAL));
        let _ = granted(check.resume(waiting, NOW));
    }
    check
}
