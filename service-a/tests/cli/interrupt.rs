//! S2: Ctrl-C stops the program promptly at every stage.

use std::{
    process::{Command as Blocking, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

use crate::fixture::{
    Finished, MASKED, TOKEN, World, granted, json_body, received, run, service_a, token_response,
};

/// Far below every timeout, and far above what a busy machine needs.
const PROMPTLY: Duration = Duration::from_secs(5);
const LONG_DELAY: Duration = Duration::from_secs(3600);

fn interrupt(child: &Child) {
    let pid = child.id().unwrap().to_string();
    let status = Blocking::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(status.success());
}

/// Waits until `server` has got `count` requests.
async fn wait_for_requests(server: &MockServer, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while received(server).await.len() < count {
        assert!(Instant::now() < deadline, "nothing arrives");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends Ctrl-C and waits for the end.
async fn interrupted(child: Child) -> Finished {
    interrupt(&child);
    let output = tokio::time::timeout(PROMPTLY, child.wait_with_output()).await;
    Finished::from(output.expect("Ctrl-C does not stop it").unwrap())
}

fn stopped_silently() -> Finished {
    Finished::failed(130, String::new())
}

fn hanging(arguments: &[&str], world: &World) -> Command {
    let mut command = world.service_a(&["--timeout", "3600"]);
    command.args(arguments);
    command
}

#[tokio::test]
async fn s2_ctrl_c_stops_discovery() {
    for arguments in [&[][..], &["--token-only"], &["--json"], &["--repeat", "9"]] {
        let world = World::empty().await;
        Mock::given(method("GET"))
            .respond_with(ResponseTemplate::new(200).set_delay(LONG_DELAY))
            .mount(&world.issuer)
            .await;
        let child = hanging(arguments, &world).spawn().unwrap();
        wait_for_requests(&world.issuer, 1).await;
        assert_eq!(
            interrupted(child).await,
            stopped_silently(),
            "{arguments:?}"
        );
    }
}

#[tokio::test]
async fn s2_ctrl_c_stops_the_token_request() {
    let world = World::with_token_response(token_response(TOKEN).set_delay(LONG_DELAY)).await;
    let child = hanging(&[], &world).spawn().unwrap();
    wait_for_requests(&world.issuer, 2).await;
    assert_eq!(interrupted(child).await, stopped_silently());
}

#[tokio::test]
async fn s2_ctrl_c_stops_the_call() {
    let world = World::with_call_response(granted().set_delay(LONG_DELAY)).await;
    let child = hanging(&[], &world).spawn().unwrap();
    wait_for_requests(&world.service_b, 1).await;
    assert_eq!(interrupted(child).await, stopped_silently());
}

#[tokio::test]
async fn s2_ctrl_c_stops_the_read_of_the_secret() {
    let world = World::empty().await;
    let mut command = world.service_a(&["--secret-stdin"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // Held open, so that the secret never ends.
    let _stdin = child.stdin.take();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(interrupted(child).await, stopped_silently());
}

#[tokio::test]
async fn s2_ctrl_c_stops_a_write_that_nobody_reads() {
    let world = World::with_token_response(token_response(TOKEN)).await;
    // More than a pipe holds.
    let text = "x".repeat(1_000_000);
    world.serve_call(json_body(200, text.into())).await;
    let mut child = world.service_a(&[]).spawn().unwrap();
    wait_for_requests(&world.service_b, 1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    interrupt(&child);
    let status = tokio::time::timeout(PROMPTLY, child.wait()).await;
    assert_eq!(status.unwrap().unwrap().code(), Some(130));
}

#[tokio::test]
async fn ctrl_c_ends_a_load_with_its_summary() {
    let world = World::working().await;
    let arguments = ["--json", "--repeat", "100000", "--rate", "50"];
    let child = world.service_a(&arguments).spawn().unwrap();
    wait_for_requests(&world.service_b, 5).await;
    let finished = interrupted(child).await;
    assert_eq!(finished.code, Some(130));
    let summary = finished.json();
    assert_eq!(summary["interrupted"], true);
    assert!(summary["succeeded"].as_u64().unwrap() >= 4);
    assert_eq!(summary["token_requests"], 1);
}

#[tokio::test]
async fn watch_shows_each_call_on_a_line_and_ctrl_c_ends_it_with_the_summary() {
    let world = World::working().await;
    let child = world.service_a(&["--watch", "0.05"]).spawn().unwrap();
    wait_for_requests(&world.service_b, 4).await;
    let finished = interrupted(child).await;
    assert_eq!(finished.code, Some(130));
    assert_eq!(finished.stderr, "");
    let lines: Vec<_> = finished.stdout.lines().collect();
    for (index, line) in lines[..3].iter().enumerate() {
        let words: Vec<_> = line.split(' ').collect();
        assert_eq!(words[..3], [&(index + 1).to_string(), "ok", "200"]);
        assert!(
            words[3].parse::<f64>().is_ok() && words[4] == "ms",
            "{line}"
        );
    }
    let summary = &lines[lines.len() - 3..];
    assert_eq!(summary[0], format!("Access token (masked): {MASKED}"));
    assert!(
        summary[1].contains(" 1 concurrent, stopped by Ctrl-C): "),
        "{}",
        summary[1]
    );
    assert!(summary[2].starts_with("Latency: min "));
}

#[tokio::test]
async fn watch_as_json_writes_a_line_for_each_call_at_once() {
    let world = World::working().await;
    let mut child = world
        .service_a(&["--watch", "0.05", "--json"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for call in 1..=3 {
        let line = lines.next_line().await.unwrap().unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["call"], call);
        assert_eq!(line["ok"], true);
        assert_eq!(line["status"], 200);
        assert_eq!(line["reason"], Value::Null);
        assert!(line["latency_ms"].as_f64().unwrap() > 0.0);
    }
    interrupt(&child);
    let mut last = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        last = line;
    }
    let summary: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(summary["interrupted"], true);
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
}

#[tokio::test]
async fn watch_continues_while_the_issuer_is_unreachable() {
    let mut command = service_a("http://127.0.0.1:1", &["--watch", "0.05", "--json"]);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let line = lines.next_line().await.unwrap().unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["ok"], false);
        assert_eq!(line["reason"], "connection_failed");
    }
    interrupt(&child);
    while lines.next_line().await.unwrap().is_some() {}
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
}

#[tokio::test]
async fn a_closed_output_ends_a_watch() {
    let world = World::working().await;
    let mut child = world.service_a(&["--watch", "0.05"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next_line().await.unwrap().unwrap();
    drop(lines);
    let output = tokio::time::timeout(PROMPTLY, child.wait_with_output()).await;
    let finished = Finished::from(output.unwrap().unwrap());
    assert_eq!(finished.code, Some(1));
    assert_eq!(finished.stderr, "");
    // Issuer and Service B still work.
    assert_eq!(run(world.service_a(&["--token-only"])).await.code, Some(0));
}
