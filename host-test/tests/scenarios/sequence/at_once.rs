//! Requests with one cold token at once, in real Envoy with two workers: one introspection call in
//! all.

use std::collections::BTreeMap;

use envoy_runner::{Envoy, EnvoyOptions};
use futures::future::join_all;
use host_test::echo::Echo;
use host_test::wire::{ANSWER_LIMIT, exchange, get, read_reply};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;
use verify_stub::{Reaction, StubOptions, TokenSpec, VerifyStub};

use crate::fixture::same;
use crate::sequence::hosts::envoy::{WORKERS, connections};

const REQUESTS: u64 = 1000;

/// Tokens that both workers see in the same moment.
const TOKENS: usize = 1000;

async fn serve(stub: &VerifyStub, echo: &Echo) -> Envoy {
    let mut settings = stub.resource_settings();
    for (key, value) in [
        ("cache_ttl", "60"),
        ("timeout", "15"),
        ("first_byte_timeout", "15"),
    ] {
        settings.insert(key.to_owned(), value.to_owned());
    }
    let options = EnvoyOptions {
        settings,
        plugin_json: Some(json!({})),
        upstream: echo.address(),
        concurrency: WORKERS,
        ..EnvoyOptions::default()
    };
    Envoy::start(options).await.unwrap()
}

pub(crate) async fn one_cold_token() -> Result<(), String> {
    let stub = VerifyStub::start(StubOptions::default()).await.unwrap();
    let echo = Echo::start().await.unwrap();
    let envoy = serve(&stub, &echo).await;
    let token = stub.issue(TokenSpec::default());
    let all_are_here = CancellationToken::new();
    stub.script(
        &token,
        vec![Reaction::normal().held_until(all_are_here.clone())],
    );

    let request = get("/", format!("Bearer {token}"));
    let callers = join_all((0..REQUESTS).map(|_| exchange(envoy.address(), &request)));
    let release = async {
        while stat(
            &envoy.stats().await.unwrap(),
            "http.service_b.downstream_rq_active",
        ) < REQUESTS
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        all_are_here.cancel();
    };
    let replies = tokio::time::timeout(ANSWER_LIMIT, async { futures::join!(callers, release).0 });
    let replies = replies.await.map_err(|_| "not all were answered")?;
    let granted = replies.iter().filter(|reply| {
        let reply = reply.as_ref();
        reply.is_ok_and(|reply| reply.status == 200)
    });
    same("granted", &granted.count(), &replies.len())?;
    same("questions", &stub.introspections_of(&token), &1)?;
    same("questions in all", &stub.counters().introspect, &1)?;
    same("requests at the app", &echo.requests(), &REQUESTS)?;

    let stats = envoy.settled_stats().await.unwrap();
    for worker in 0..WORKERS {
        let end = format!(".worker_{worker}.downstream_cx_total");
        let own = stats
            .iter()
            .filter(|(name, _)| name.starts_with("listener.") && name.ends_with(&end));
        let own: u64 = own.map(|(_, count)| count).sum();
        println!("worker {worker} took {own} of {REQUESTS} connections");
        same("both workers took part", &(own > 0), &true)?;
    }
    let used = |name| {
        stat(
            &stats,
            &format!("wasmcustom.trust_triangle_cache.use.{name}"),
        )
    };
    println!(
        "{} collapsed, {} found it in the store",
        used("collapsed"),
        used("shared")
    );
    same("asked", &used("miss"), &1)?;
    // The other worker's leader finds it there.
    same("found", &used("shared"), &1)?;
    same("collapsed", &used("collapsed"), &(REQUESTS - 2))?;
    same("VMs", &envoy.vms().await.unwrap(), &envoy.vms_at_start())
}

/// Where both look into the shared slot before either has written there, one of them must lose.
pub(crate) async fn many_cold_tokens() -> Result<(), String> {
    let stub = VerifyStub::start(StubOptions::default()).await.unwrap();
    let echo = Echo::start().await.unwrap();
    let envoy = serve(&stub, &echo).await;
    let connections = connections(&envoy, envoy.address()).await;
    let mut connections = connections.map_err(|error| format!("{error:#}"))?;
    for number in 0..TOKENS {
        let token = stub.issue(TokenSpec::default());
        let request = format!(
            "GET / HTTP/1.1\r\nhost: service-b.test\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        let replies = connections.iter_mut().map(async |connection| {
            connection.write_all(request.as_bytes()).await?;
            read_reply(connection, false).await
        });
        for reply in tokio::time::timeout(ANSWER_LIMIT, join_all(replies))
            .await
            .map_err(|_| format!("token {number} was not answered"))?
        {
            let reply = reply.map_err(|error| format!("{error:#}"))?;
            same(
                "status",
                &(reply.status, reply.reason().as_str()),
                &(200, ""),
            )?;
        }
        same(
            "questions",
            &(number, stub.introspections_of(&token)),
            &(number, 1),
        )?;
    }
    same(
        "questions in all",
        &stub.counters().introspect,
        &(TOKENS as u64),
    )?;
    let stats = envoy.settled_stats().await.unwrap();
    let introspections = stat(&stats, "wasmcustom.trust_triangle_cache.use.miss");
    same("asked", &introspections, &(TOKENS as u64))?;
    same("VMs", &envoy.vms().await.unwrap(), &envoy.vms_at_start())
}

fn stat(stats: &BTreeMap<String, u64>, name: &str) -> u64 {
    stats.get(name).copied().unwrap_or_default()
}
