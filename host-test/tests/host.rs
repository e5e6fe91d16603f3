//! The embedded host with the repository's own components.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::OnceLock, time::Duration};

use host_test::spin::{SpinApp, SpinOptions, SpinProgram};
use programs::{Guest, components, native, repository};
use spin_host::{App, Running, ServeOptions};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Compiled once for all tests.
fn app() -> App {
    static APP: OnceLock<App> = OnceLock::new();
    let load = || {
        let components = components(Guest::ServiceB).unwrap();
        App::load(&repository().join("spin.toml"), &components).unwrap()
    };
    APP.get_or_init(load).clone()
}

/// Options that do not depend on this process's environment.
fn options() -> ServeOptions {
    let variables = [
        ("introspect_url", "http://127.0.0.1:9/introspect"),
        ("resource_client_id", "resource"),
        ("resource_client_secret", "secret"),
    ];
    ServeOptions {
        variables: variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        environment: Some(BTreeMap::new()),
        ..ServeOptions::default()
    }
}

async fn serve() -> Running {
    app().serve(options()).await.unwrap()
}

/// Sends the bytes and reads until the server closes: tests ask it to with `connection: close`.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn an_open_route_is_answered_by_its_component_in_one_instance() {
    let running = serve().await;
    for _ in 0..3 {
        let answer = exchange(
            running.address(),
            "GET /health HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    let stats = running.stats();
    assert_eq!((stats.requests, stats.instances, stats.traps), (3, 1, 0));
}

#[tokio::test]
async fn what_no_component_can_answer_is_answered_by_the_host() {
    let running = serve().await;
    let table = [
        ("GET /none HTTP/1.1\r\nhost: h", "HTTP/1.1 404 Not Found"),
        (
            "GET /.well-known/spin/health HTTP/1.1\r\nhost: h",
            "HTTP/1.1 200 OK",
        ),
        (
            "GET /.well-known/spin/x HTTP/1.1\r\nhost: h",
            "HTTP/1.1 404 Not Found",
        ),
        ("GET /health HTTP/1.1\r\nx: y", "HTTP/1.1 400 Bad Request"),
        (
            "GET /health HTTP/1.1\r\nhost: h\r\nhost: i",
            "HTTP/1.1 400 Bad Request",
        ),
    ];
    for (request, expected) in table {
        let answer = exchange(
            running.address(),
            &format!("{request}\r\nconnection: close\r\n\r\n"),
        )
        .await;
        assert_eq!(answer.lines().next(), Some(expected), "{request}");
    }
    assert_eq!(running.stats().requests, 0);
}

#[tokio::test]
async fn shutdown_frees_the_port_and_ends_every_instance() {
    let running = serve().await;
    let address = running.address();
    exchange(
        address,
        "GET /health HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(running.shutdown().await, 0);
    assert!(TcpStream::connect(address).await.is_err());
    let again = app()
        .serve(ServeOptions {
            listen: address,
            ..options()
        })
        .await;
    assert!(again.is_ok(), "the port is still taken");
}

#[tokio::test]
async fn dropping_a_running_app_frees_the_port() {
    let running = serve().await;
    let address = running.address();
    drop(running);
    // The listener goes with its task, which the runtime ends when it next gets to it.
    for _ in 0..100 {
        if TcpStream::connect(address).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still listening on {address}");
}

#[tokio::test]
async fn an_app_without_its_variables_is_not_served() {
    let options = ServeOptions {
        environment: Some(BTreeMap::new()),
        runtime_config: Some(repository().join("runtime-config.toml")),
        ..ServeOptions::default()
    };
    let error = app().serve(options).await.err().unwrap().to_string();
    for name in [
        "INTROSPECT_URL",
        "RESOURCE_CLIENT_ID",
        "RESOURCE_CLIENT_SECRET",
    ] {
        assert!(
            error.contains(&format!(
                "{}: export WORKOUT18_{name}=...",
                name.to_lowercase()
            )),
            "{error}"
        );
    }
}

#[tokio::test]
async fn serve_does_not_start_with_settings_that_the_gate_would_refuse() {
    let [serve] = native(["serve"]).unwrap();
    let program = SpinProgram::Embedded(serve);
    let rows = [
        (
            ("expected_audience", ""),
            "Error: environment variable WORKOUT18_EXPECTED_AUDIENCE is not a setting: did you mean WORKOUT18_EXPECTED_AUD?",
        ),
        (
            ("require", "audience"),
            "Error: component service-b: setting `require` (Spin variable auth_require) has `audience`, and none is \
             demanded: set `expected_aud`; if it is set, is auth_expected_aud in [component.<app>.variables] of \
             spin.toml?",
        ),
        (
            ("timeout", "5s"),
            "Error: component service-b: setting `timeout` (Spin variable auth_timeout) must be a whole number of \
             seconds from 1 to 60",
        ),
        (
            ("resource_client_secret", "s3cr3t\n"),
            "Error: component service-b: setting `resource_client_secret` (Spin variable \
             auth_resource_client_secret) has a line feed in it, which `echo` adds and `printf %s` does not: remove \
             what does not belong to it",
        ),
        (
            ("introspect_origin", "http://127.0.0.1:9/"),
            "Error: component service-b: setting `introspect_origin` (Spin variable auth_introspect_origin) must be \
             `http://127.0.0.1:9`, the scheme, host and port of `introspect_url`, and nothing more",
        ),
    ];
    for ((key, value), line) in rows {
        let mut settings = options().variables;
        settings.insert(key.to_owned(), value.to_owned());
        let options = SpinOptions {
            settings,
            ..SpinOptions::default()
        };
        let error = SpinApp::start(&program, &options).await.err().unwrap();
        let said = error.to_string();
        assert!(said.contains(line), "{key}: {said}");
        assert!(!said.contains("s3cr3t"), "{key}: {said}");
    }
}

#[test]
fn a_replaced_component_must_exist_in_the_manifest() {
    let replaced = BTreeMap::from([("service-c".to_owned(), PathBuf::from("c.wasm"))]);
    let error = App::load(&repository().join("spin.toml"), &replaced)
        .err()
        .unwrap();
    assert_eq!(
        format!("{error:#}"),
        "a replaced component: there is no [component.service-c]: add it or correct the name"
    );
}
