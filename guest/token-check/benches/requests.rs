//! What a request costs the core: one that introspects, and reading what the issuer says.
#![allow(missing_docs, reason = "a bench")]

mod quick;
mod typical;

use divan::{Bencher, black_box};
use token_check::is_identity_header;
use typical::{
    NOW, TYPICAL, authorization, begin, cached, check, granted, introspects, respond, response,
};

fn main() {
    quick::main();
}

/// `max_answer_bytes` by default, in bytes.
const LARGEST_BYTES: usize = 65_536;

/// One that is active, of at most so many bytes, and little less.
fn active(bytes: usize) -> String {
    let head = TYPICAL.trim_end_matches('}');
    let mut answer = String::from(head);
    let mut number = 0;
    loop {
        let member = format!(r#","member{number:06}":["{}"]"#, "x".repeat(64));
        if answer.len() + member.len() + 1 > bytes {
            answer.push('}');
            return answer;
        }
        answer.push_str(&member);
        number += 1;
    }
}

/// Begin, respond with a typical result, resume.
#[divan::bench]
fn miss(bencher: Bencher<'_, '_>) {
    let mut check = check(&[]);
    let authorization = authorization(0);
    bencher
        .with_inputs(|| response(TYPICAL))
        .bench_local_values(|response| {
            let (waiting, ticket) = introspects(begin(&mut check, black_box(&authorization)));
            respond(&mut check, ticket, response);
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
            let (_waiting, ticket) =
                introspects(begin(&mut check.borrow_mut(), &authorization(number)));
            (ticket, response(body))
        })
        .bench_local_values(|(ticket, response)| {
            respond(&mut check.borrow_mut(), ticket, response)
        });
}

/// Reading what IBM Verify says.
#[divan::bench]
fn read_typical(bencher: Bencher<'_, '_>) {
    read(bencher, TYPICAL);
}

/// Reading as much as an issuer may say.
#[divan::bench]
fn read_largest(bencher: Bencher<'_, '_>) {
    read(bencher, &active(LARGEST_BYTES));
}

/// Reading claims of so many KiB.
#[divan::bench(args = [1, 2, 4, 8, 16, 32])]
fn read_kib(bencher: Bencher<'_, '_>, kib: usize) {
    read(bencher, &active(kib * 1024));
}

/// A request whose token is cached, among so many.
#[divan::bench(args = [1, 100, 1_000, 10_000, 100_000, 1_000_000])]
fn hit(bencher: Bencher<'_, '_>, count: usize) {
    let mut check = cached(count);
    // A stride without a common factor visits all of them, in no order that a processor foresees.
    let mut at = 0;
    bencher
        .with_inputs(|| {
            at = (at + 61_803) % count;
            // As a request that has just come in: what is far away is the entry, not the request.
            authorization(at)
        })
        .bench_local_refs(|authorization| granted(begin(&mut check, black_box(authorization))));
}

fn hit_with(bencher: Bencher<'_, '_>, claims_header: &str, kib: usize) {
    let mut check = check(&[("cache_ttl", "3600"), ("claims_header", claims_header)]);
    let authorization = authorization(0);
    let (waiting, ticket) = introspects(begin(&mut check, &authorization));
    respond(&mut check, ticket, response(&active(kib * 1024)));
    let _ = granted(check.resume(waiting, NOW));
    bencher.bench_local(|| granted(begin(&mut check, black_box(&authorization))));
}

/// A cached token with claims of so many KiB, all of them in `x-auth-claims`, which holds 8000
/// bytes.
#[divan::bench(args = [1, 2, 4])]
fn hit_kib_in_header(bencher: Bencher<'_, '_>, kib: usize) {
    hit_with(bencher, "all", kib);
}

/// The same, with none of them in `x-auth-claims`.
#[divan::bench(args = [1, 2, 4, 8, 16, 32])]
fn hit_kib(bencher: Bencher<'_, '_>, kib: usize) {
    hit_with(bencher, "none", kib);
}

/// Looking for client-sent identity headers among so many.
#[divan::bench(args = [10, 100])]
fn headers(bencher: Bencher<'_, '_>, count: usize) {
    let names: Vec<_> = (0..count).map(|n| format!("x-unread-{n}")).collect();
    bencher.bench_local(|| {
        let names = black_box(&names).iter();
        names
            .filter(|name| is_identity_header(name.as_bytes()))
            .count()
    });
}
