//! The table in the embedded host, before the echo app.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use programs::{Guest, repository};
use serde_json::Value;
use spin_host::{App, Running};
use tokio::time::sleep;

use crate::{
    envoy::{active, audit_line},
    request::{Answer, TOKEN},
    seen::{Decided, Seen},
    support,
    table::{GRANTED, HOST, Row, rows, settings},
};

/// How long a line may take to reach the log.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn the_echo_app_in_the_embedded_host_is_told_what_was_decided_on() {
    compare(&rows()).await;
}

/// Sends every row and compares what the app was told with what was decided on.
async fn compare(rows: &[Row]) {
    static APP: OnceLock<App> = OnceLock::new();
    let load = || {
        let manifest = support::derived("upstreams.toml", &manifest());
        support::load(&manifest, Guest::EchoApp)
    };
    let app = APP.get_or_init(load);
    let stub = support::stub().await;
    stub.register(TOKEN, &active());
    let settings = settings();
    let settings: Vec<_> = settings.iter().map(|(k, v)| (&**k, &**v)).collect();
    let running = support::serve(app, &stub, &settings).await;

    let mut wrong = Vec::new();
    let mut decisions = 0;
    for (number, row) in rows.iter().enumerate() {
        let answer = row.send(running.address(), number).await;
        let seen = Seen::from_echo(&answer.body);
        let is_decided = seen.is_some() || reason(&answer).is_some();
        let audit = audit(&running, decisions, is_decided).await;
        decisions += usize::from(audit.is_some());
        let found = differences(row, &answer, seen.as_ref(), audit.as_ref());
        if !found.is_empty() {
            wrong.push(format!("{}: {}", row.name, found.join("; ")));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} rows\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
    assert_eq!(running.stats().traps, 0);
}

/// The manifest that ships, with every path behind the auth check.
fn manifest() -> String {
    let shipped = std::fs::read_to_string(repository().join("spin.toml")).unwrap();
    let open = "[[trigger.http]]\nroute = \"/health\"\ncomponent = \"service-b\"\n";
    for part in ["route = \"/data\"", open] {
        assert!(shipped.contains(part), "spin.toml has no {part}");
    }
    shipped
        .replace("route = \"/data\"", "route = \"/...\"")
        .replace(open, "")
}

/// The audit line after so many others, if there is one. There must be if `is_decided`.
async fn audit(running: &Running, others: usize, is_decided: bool) -> Option<Value> {
    let begin = Instant::now();
    loop {
        let logs = running.logs();
        let mut lines = logs.iter().filter_map(|line| audit_line(&line.text));
        let line = lines.nth(others);
        assert!(lines.next().is_none(), "two decisions about one request");
        if line.is_some() || !is_decided {
            return line;
        }
        assert!(begin.elapsed() < PATIENCE, "no audit line");
        sleep(Duration::from_millis(5)).await;
    }
}

fn reason(answer: &Answer) -> Option<String> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    Some(body.get("reason")?.as_str()?.to_owned())
}

fn differences(
    row: &Row,
    answer: &Answer,
    seen: Option<&Seen>,
    audit: Option<&Value>,
) -> Vec<String> {
    let decision = match audit.map(|line| &line["reason"]) {
        Some(Value::String(reason)) => reason,
        Some(_) => GRANTED,
        None => HOST,
    };
    let mut wrong = Vec::new();
    if decision != row.embedded {
        wrong.push(format!("{decision}, expected {}: {answer:?}", row.embedded));
    }
    match (seen, audit) {
        (Some(seen), Some(audit)) if decision == GRANTED => {
            wrong.extend(seen.differences(&Decided::from_audit(audit)));
        }
        (Some(_), _) => wrong.push(format!("reaches the app: {answer:?}")),
        (None, _) if decision == GRANTED => wrong.push(format!("does not arrive: {answer:?}")),
        (None, _) => wrong.extend(answer.not_a_refusal()),
    }
    wrong
}
