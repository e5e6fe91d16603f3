//! The table in Envoy with the shipped configuration, before each of the six servers.

use std::time::{Duration, Instant};

use envoy_runner::{Envoy, EnvoyOptions, MANAGER};
use serde_json::{Value, json};
use tokio::{task::spawn_blocking, time::sleep};
use verify_stub::VerifyStub;

use crate::{
    request::{Answer, ROW, TOKEN},
    seen::{Decided, IDENTITY, Seen},
    servers::{Server, Upstream, are_skipped},
    support,
    table::{GRANTED, HOST, Row, rows, settings, trailer_rows},
};

/// How long lines may take to reach the logs.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_cgi_script_behind_lighttpd_is_told_what_was_decided_on() {
    compare(Server::Lighttpd, &rows(), |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_behind_nginx_is_told_what_was_decided_on() {
    compare(Server::Nginx, &rows(), |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_in_node_is_told_what_was_decided_on() {
    compare(Server::Node, &rows(), |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_in_gunicorn_is_told_what_was_decided_on() {
    compare(Server::Gunicorn, &rows(), |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_in_uvicorn_is_told_what_was_decided_on() {
    compare(Server::Uvicorn, &rows(), |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_in_hypercorn_is_told_what_was_decided_on() {
    compare(Server::Hypercorn, &rows(), |_| {}).await;
}

/// As shipped, Envoy drops the trailers of HTTP/1.1. Of the six, only Node hands them to apps.
#[tokio::test(flavor = "multi_thread")]
async fn trailers_name_nobody_where_envoy_passes_them_on() {
    const UPSTREAM: &str = "/static_resources/clusters/upstream/typed_extension_protocol_options";
    let pass = |options: &mut EnvoyOptions| {
        let protocol = json!({ "enable_trailers": true });
        let listener = format!("{MANAGER}/http_protocol_options");
        options.overrides.push((listener, protocol.clone()));
        let kind = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        let cluster = json!({ kind: {
            "@type": format!("type.googleapis.com/{kind}"),
            "explicit_http_config": { "http_protocol_options": protocol },
        } });
        options.overrides.push((UPSTREAM.to_owned(), cluster));
    };
    compare(Server::Node, &trailer_rows(), pass).await;
}

/// Sends every row and compares what the app was told with what was decided on.
async fn compare(server: Server, rows: &[Row], change: impl FnOnce(&mut EnvoyOptions)) {
    if are_skipped() || envoy_runner::is_skipped() {
        eprintln!("skipped: SKIP_UPSTREAMS=1 or SKIP_ENVOY=1");
        return;
    }
    let upstream = spawn_blocking(move || Upstream::start(server))
        .await
        .unwrap();
    let stub = support::stub().await;
    stub.register(TOKEN, &active());
    let mut options = options(&stub, &upstream);
    change(&mut options);
    let envoy = Envoy::start(options).await.unwrap();

    let mut answers = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        answers.push(row.send(envoy.address(), number).await);
    }
    let log = logged(&envoy, rows.len()).await;
    let mut wrong = Vec::new();
    for ((number, row), answer) in rows.iter().enumerate().zip(&answers) {
        let found = differences(number, row, answer, &log);
        if !found.is_empty() {
            wrong.push(format!("{}: {}", row.name, found.join("; ")));
        }
    }
    assert!(
        wrong.is_empty(),
        "{server:?}: {} of {} rows\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
    assert_eq!(envoy.vms().await.unwrap(), envoy.vms_at_start());
    envoy.stop().await.unwrap();
}

fn options(stub: &VerifyStub, upstream: &Upstream) -> EnvoyOptions {
    let mut settings = settings();
    settings.extend(stub.resource_settings());
    let format = format!("{MANAGER}/access_log/0/typed_config/log_format/json_format");
    EnvoyOptions {
        settings,
        // Sends `/data` upstream too.
        // Decisions of granted requests are in the access log too.
        plugin_json: Some(json!({ "filter_state": "all" })),
        upstream: upstream.address(),
        overrides: vec![(format!("{format}/row"), json!(format!("%REQ({ROW})%")))],
        ..EnvoyOptions::default()
    }
}

/// What introspection says of [`TOKEN`].
pub(crate) fn active() -> Value {
    json!({
        "active": true,
        "iss": "https://issuer.example",
        "sub": IDENTITY,
        "client_id": IDENTITY,
    })
}

/// Each decision of the auth check: the row, what the access log says, what the audit line says.
type Log = Vec<(Value, Value)>;

/// Requests were sent one by one, so both logs have the same order.
async fn logged(envoy: &Envoy, rows: usize) -> Log {
    let last = json!((rows - 1).to_string());
    let begin = Instant::now();
    loop {
        let mut access = envoy.access_log();
        let complete = access.iter().any(|line| line["row"] == last);
        access.retain(|line| !line["decision"].is_null());
        let log = envoy.log();
        let audit: Vec<Value> = log.lines().filter_map(audit_line).collect();
        if complete && access.len() == audit.len() {
            let log: Log = access.into_iter().zip(audit).collect();
            for (access, audit) in &log {
                assert_eq!(access["reason"], audit["reason"], "{access} {audit}");
            }
            return log;
        }
        let lines = (access.len(), audit.len());
        assert!(
            begin.elapsed() < PATIENCE,
            "complete: {complete}, {lines:?}"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn audit_line(line: &str) -> Option<Value> {
    let start = line.find(r#"{"unix_ms""#)?;
    serde_json::from_str(line.get(start..)?).ok()
}

fn differences(number: usize, row: &Row, answer: &Answer, log: &Log) -> Vec<String> {
    let number = json!(number.to_string());
    let logged = log.iter().find(|(access, _)| access["row"] == number);
    let decision = logged.map_or(HOST, |(access, _)| match access["reason"].as_str() {
        Some(reason) => reason,
        None => GRANTED,
    });
    let mut wrong = Vec::new();
    if decision != row.envoy {
        wrong.push(format!("{decision}, expected {}: {answer:?}", row.envoy));
    }
    let seen = Seen::from_app(&answer.body);
    if seen.is_none() {
        wrong.extend(answer.not_a_refusal());
    }
    match (&seen, logged) {
        (Some(seen), Some((access, audit))) if decision == GRANTED => {
            let text = |name: &str| access[name].as_str().map(str::to_owned);
            let decided = Decided {
                method: text("method"),
                path: text("path"),
                ..Decided::from_audit(audit)
            };
            wrong.extend(seen.differences(&decided));
        }
        (Some(_), _) => wrong.push(format!("reaches the app: {answer:?}")),
        (None, _) if row.arrives => wrong.push(format!("does not arrive: {answer:?}")),
        (None, _) => {}
    }
    wrong
}
