//! The embedded host with the repository's own components.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::OnceLock, time::Duration};

use programs::{Guest, components, repository};
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
    for name in ["RESOURCE_CLIENT_ID", "RESOURCE_CLIENT_SECRET"] {
        assert!(
            error.contains(&format!(
                "{}: export WORKOUT18_{name}=...",
                name.to_lowercase()
            )),
            "{error}"
        );
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
