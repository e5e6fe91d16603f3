//! What a request costs the core: one that asks the issuer, and reading what the issuer says.
#![allow(missing_docs, clippy::panic, clippy::unwrap_used, reason = "a bench")]

mod quick;

use std::time::Duration;

use divan::{Bencher, black_box};
use token_check::{
    AnswerBody, AuthCheck, Decision, Errand, Flight, IssuerAnswer, MAX_ISSUER_BODY_BYTES, Now,
    Outcome, Policy, Progress, RequestHead, Step, Verdict, Waiting,
};

const NOW: Now = Now {
    unix: Duration::from_secs(1_800_000_000),
    monotonic: Duration::from_secs(100),
};

/// What IBM Verify says of a token from the client-credentials grant.
const TYPICAL: &str = r#"{"active":true,"aud":["7d1e8a3c-5b0f-4c55-9a4e-1f6f3b2c9d10"],"client_id":"7d1e8a3c-5b0f-4c55-9a4e-1f6f3b2c9d10","exp":1800007199,"grant_id":"3f0e7f3c-9b1d-4a3e-8c56-2f6f3b2c9d10","grant_type":"client_credentials","iat":1800000000,"iss":"https://tenant.verify.ibm.com/oauth2","sub":"7d1e8a3c-5b0f-4c55-9a4e-1f6f3b2c9d10","token_type":"bearer"}"#;

fn main() {
    quick::main();
}

fn check(extra: &[(&str, &str)]) -> AuthCheck<u32> {
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
fn authorization(number: usize) -> String {
    format!("Bearer {number:0100}")
}

fn begin(check: &mut AuthCheck<u32>, authorization: &str) -> Step {
    let request = RequestHead {
        authorization: &[authorization.as_bytes()],
        method: b"GET",
        authority: Some(b"api.example.com"),
        path_and_query: Some(b"/orders?page=2"),
        traceparent: &[],
    };
    check.begin(&request, NOW)
}

fn asks(step: Step) -> (Waiting, Flight) {
    match step {
        Step::Lead(waiting, flight, Errand::Ask(_)) => (waiting, flight),
        other => panic!("must ask: {other:?}"),
    }
}

fn answer(body: &str) -> Outcome {
    let mut collected = AnswerBody::default();
    let _ = collected.push(body.as_bytes());
    Outcome::Answered(IssuerAnswer {
        status: 200,
        content_type: Some(b"application/json".to_vec()),
        retry_after: None,
        body: collected,
    })
}

fn settle(check: &mut AuthCheck<u32>, flight: Flight, answer: Outcome) {
    match check.settle(flight, answer, NOW) {
        Progress::Ended(_) => {}
        Progress::More(_, errand) => panic!("{errand:?}"),
    }
}

fn granted(step: Step) -> Verdict {
    match step {
        Step::Done(verdict) if matches!(verdict.decision, Decision::Granted(_)) => verdict,
        other => panic!("must be granted: {other:?}"),
    }
}

/// One that is active, and as long as an answer may be.
fn largest() -> String {
    let head = TYPICAL.trim_end_matches('}');
    let mut answer = String::from(head);
    let mut number = 0;
    loop {
        let member = format!(r#","member{number:06}":["{}"]"#, "x".repeat(64));
        if answer.len() + member.len() + 1 > MAX_ISSUER_BODY_BYTES {
            answer.push('}');
            return answer;
        }
        answer.push_str(&member);
        number += 1;
    }
}

/// Begin, settle with a typical answer, resume.
#[divan::bench]
fn miss(bencher: Bencher<'_, '_>) {
    let mut check = check(&[]);
    let authorization = authorization(0);
    bencher
        .with_inputs(|| answer(TYPICAL))
        .bench_local_values(|answer| {
            let (waiting, flight) = asks(begin(&mut check, black_box(&authorization)));
            settle(&mut check, flight, answer);
            granted(check.resume(waiting, NOW))
        });
}

fn read(bencher: Bencher<'_, '_>, body: &str) {
    let check = std::cell::RefCell::new(check(&[]));
    // Several inputs are made ahead: with one token, the second would join the first.
    let mut number = 0;
    bencher
        .with_inputs(|| {
            number += 1;
            let (_waiting, flight) = asks(begin(&mut check.borrow_mut(), &authorization(number)));
            (flight, answer(body))
        })
        .bench_local_values(|(flight, answer)| settle(&mut check.borrow_mut(), flight, answer));
}

/// Reading what IBM Verify says.
#[divan::bench]
fn read_typical(bencher: Bencher<'_, '_>) {
    read(bencher, TYPICAL);
}

/// Reading as much as an issuer may say.
#[divan::bench]
fn read_largest(bencher: Bencher<'_, '_>) {
    read(bencher, &largest());
}

/// A request whose token is cached, among so many.
#[divan::bench(args = [1, 100, 100_000])]
fn hit(bencher: Bencher<'_, '_>, cached: usize) {
    let entries = (cached + 1).to_string();
    let mut check = check(&[("cache_ttl", "3600"), ("cache_entries", &entries)]);
    let all: Vec<_> = (0..cached).map(authorization).collect();
    for one in &all {
        let (waiting, flight) = asks(begin(&mut check, one));
        settle(&mut check, flight, answer(TYPICAL));
        let _ = granted(check.resume(waiting, NOW));
    }
    // A stride without a common factor visits all of them, in no order that a processor foresees.
    let mut at = 0;
    bencher
        .with_inputs(|| {
            at = (at + 61_803) % all.len();
            // A copy, as a request has just come in: what is far away is the entry, not the request.
            all.get(at).cloned().unwrap_or_default()
        })
        .bench_local_refs(|authorization| granted(begin(&mut check, black_box(authorization))));
}
