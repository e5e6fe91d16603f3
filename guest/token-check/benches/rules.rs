//! What rules cost a request: from its head to the refusal of one without a token, which is all
//! that is done for a route before the issuer is called.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

mod quick;

use std::time::Duration;

use divan::{Bencher, black_box};
use token_check::{AuthCheck, Now, Policy, RequestHead};

const NOW: Now = Now {
    unix: Duration::from_secs(1_800_000_000),
    monotonic: Duration::from_secs(100),
};

fn main() {
    quick::main();
}

fn document(rules: usize) -> String {
    let rules: Vec<_> = (0..rules)
        .map(|n| {
            format!(
                r#"{{"name":"rule {n}","host":"*.example.com","methods":["GET"],"path":{{"template":"/v1/users/{{id}}/route{n}/**"}},"scopes":{{"all":["s{n}"]}}}}"#
            )
        })
        .collect();
    format!("[{}]", rules.join(","))
}

fn policy(document: &str) -> Policy {
    let settings = [
        ("introspect_url", "https://issuer.example.com/introspect"),
        ("resource_client_id", "b"),
        ("resource_client_secret", "s"),
        ("rules", document),
    ];
    Policy::new(settings.map(|(key, value)| (key.to_owned(), value.to_owned()))).unwrap()
}

fn begin(bencher: Bencher<'_, '_>, rules: usize, target: &str) {
    let mut check: AuthCheck<()> = AuthCheck::new(policy(&document(rules)), [7; 16]);
    bencher.bench_local(|| {
        let request = RequestHead {
            authorization: &[],
            method: b"GET",
            authority: Some(b"api.example.com"),
            path_and_query: Some(black_box(target.as_bytes())),
            dpop: &[],
            client_certificate: &[],
            traceparent: &[],
        };
        check.begin(&request, NOW)
    });
}

/// A request that the last rule matches; with 0 rules, none is in force.
#[divan::bench(args = [0, 1, 10, 100, 1000, 4096])]
fn the_last_rule(bencher: Bencher<'_, '_>, rules: usize) {
    let last = rules.saturating_sub(1);
    begin(
        bencher,
        rules,
        &format!("/v1/users/4711/route{last}/orders?page=2"),
    );
}

/// A request that no rule matches.
#[divan::bench(args = [1, 10, 100, 1000, 4096])]
fn no_rule(bencher: Bencher<'_, '_>, rules: usize) {
    begin(bencher, rules, "/v1/users/4711/elsewhere/orders?page=2");
}

/// Reading the document, once for each start of an instance.
#[divan::bench(args = [1, 10, 100, 1000, 4096])]
fn read(bencher: Bencher<'_, '_>, rules: usize) {
    let document = document(rules);
    bencher.bench_local(|| policy(black_box(&document)));
}
