//! The connection to the issuer: what is spoken on it, and where an operator sees why there is
//! none.

use envoy_runner::EnvoyOptions;
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use verify_stub::{StubOptions, StubTls, VerifyStub};

use crate::{
    fixture::{Fixture, active, exports, skip_without_envoy},
    waiting::until,
    wire::get,
};

const ROOTS: &str = "/static_resources/clusters/issuer_https/transport_socket/typed_config/common_tls_context/validation_context/trusted_ca";

async fn issuer(tls: StubTls) -> VerifyStub {
    let stub = VerifyStub::start(StubOptions {
        tls: Some(tls),
        host: Some("localhost".to_owned()),
        ..StubOptions::default()
    })
    .await
    .unwrap();
    stub.register("good", &active());
    stub
}

/// Trusts this stub's authority.
fn trust(options: &mut EnvoyOptions, stub: &VerifyStub) -> NamedTempFile {
    let root = NamedTempFile::new().unwrap();
    std::fs::write(root.path(), stub.certificate().unwrap().pem.as_str()).unwrap();
    let file = json!({ "filename": root.path() });
    options.overrides.push((ROOTS.to_owned(), file));
    root
}

#[tokio::test]
async fn an_issuer_may_speak_http1_or_http2_only_and_tls13_only() {
    skip_without_envoy!();
    for (http2_only, tls13_only) in [(false, false), (true, false), (true, true), (false, true)] {
        let stub = issuer(StubTls {
            http2_only,
            tls13_only,
            ..StubTls::default()
        })
        .await;
        let mut root = None;
        let fixture = Fixture::start_with(&[], |options, _| {
            options.settings = exports(&stub, &[]);
            root = Some(trust(options, &stub));
        })
        .await;
        let answer = get(fixture.address(), "/data", "good").await;
        assert_eq!(answer.status, 200, "{http2_only} {tls13_only}: {answer:?}");
        assert_eq!(stub.introspections_of("good"), 1);
        let stats = fixture.envoy.stats().await.unwrap();
        let version =
            |version: u8| stats[&format!("cluster.issuer_https.upstream_cx_http{version}_total")];
        assert_eq!(
            (version(1) > 0, version(2) > 0),
            (!http2_only, http2_only),
            "{http2_only} {tls13_only}"
        );
        fixture.finish().await;
    }
}

/// The counters of docs/envoy.md, in the order of its table.
const COUNTERS: [&str; 6] = [
    "dns.cares.not_found",
    "cluster.issuer_https.ssl.fail_verify_error",
    "cluster.issuer_https.ssl.fail_verify_san",
    "cluster.issuer_https.ssl.connection_error",
    "cluster.issuer_https.upstream_cx_connect_timeout",
    "cluster.issuer_https.upstream_cx_connect_fail",
];

#[tokio::test]
async fn why_there_is_no_connection_to_the_issuer_is_in_the_log_and_in_the_counters_of_its_cluster()
{
    skip_without_envoy!();
    let trusted = issuer(StubTls {
        names: vec!["localhost".to_owned()],
        ..StubTls::default()
    })
    .await;
    let untrusted = issuer(StubTls::default()).await;
    let expired = issuer(StubTls {
        expired: true,
        ..StubTls::default()
    })
    .await;
    let plain = VerifyStub::start(StubOptions::default()).await.unwrap();
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = (silent.local_addr().unwrap().port(), silent);
    let at = |port: u16| format!("https://localhost:{port}/introspect");
    let named = at(trusted.address().port());
    // The URL, whose authority is trusted, the reason callers are told, what the log says, and
    // which counters are not 0.
    let unreachable = "issuer_unreachable";
    let rows = [
        (
            "https://issuer.invalid/introspect".to_owned(),
            &trusted,
            unreachable,
            "its host name has no address, or its cluster no healthy host",
            vec![0],
        ),
        (
            at(untrusted.address().port()),
            &trusted,
            unreachable,
            "its certificate was issued by an authority that is not trusted here",
            vec![1, 5],
        ),
        (
            at(expired.address().port()),
            &expired,
            unreachable,
            "its certificate has expired or is not valid yet",
            vec![1, 5],
        ),
        (
            named.replace("localhost", "127.0.0.1"),
            &trusted,
            unreachable,
            "its certificate is for another host name",
            vec![2, 5],
        ),
        (
            at(plain.address().port()),
            &trusted,
            unreachable,
            "the server does not speak TLS",
            vec![3, 5],
        ),
        (
            at(silent.0),
            &trusted,
            "issuer_timeout",
            "there was no connection to it in time",
            vec![4, 5],
        ),
        (
            at(1),
            &trusted,
            unreachable,
            "it refuses the connection: nothing listens on its port, or a firewall is in between",
            vec![5],
        ),
    ];
    for (url, authority, reason, line, counted) in rows {
        let mut root = None;
        let fixture = Fixture::start_with(&[("timeout", "10")], |options, _| {
            let url = url.clone();
            options.settings.insert("introspect_url".to_owned(), url);
            root = Some(trust(options, authority));
        })
        .await;
        let answer = get(fixture.address(), "/data", "good").await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (503, reason),
            "{url}"
        );
        let line = format!("{reason}: no response from the issuer: {line}");
        until(async || fixture.envoy.log().contains(&line)).await;
        let stats = fixture.envoy.stats().await.unwrap();
        let grown: Vec<usize> = (0..COUNTERS.len())
            .filter(|at| stats.get(COUNTERS[*at]).is_some_and(|count| *count > 0))
            .collect();
        assert_eq!(grown, counted, "{url}");
        fixture.finish().await;
    }
    drop(silent);
}

#[test]
fn the_table_of_counters_is_the_one_that_is_tested() {
    const DOCUMENT: &str = include_str!("../../../docs/envoy.md");
    let (_, table) = DOCUMENT.split_once("| counter in `/stats` |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let named: Vec<_> = table
        .lines()
        .skip(2)
        .map(|row| row.split('`').nth(1).unwrap())
        .collect();
    assert_eq!(named, COUNTERS);
}
