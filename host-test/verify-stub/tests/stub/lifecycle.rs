//! Start, stop, and what the stub keeps.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use verify_stub::{Endpoint, Reaction, StubOptions, TokenSpec, VerifyStub};

use crate::caller::{PATIENCE, introspect, introspection, send_bytes, start};

/// Waits until an introspection call for the token has arrived.
async fn introspected(stub: &VerifyStub, token: &str) {
    while stub.introspections_of(token) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn refused(stub: std::net::SocketAddr) {
    let error = TcpStream::connect(stub).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn requests_are_recorded_and_their_debug_form_shows_no_secret() {
    let stub = start(StubOptions::default()).await;
    let token = stub.issue(TokenSpec::default());
    introspect(&stub, &token).await;
    let requests = stub.requests();
    let [request] = requests.as_slice() else {
        panic!("{requests:?}");
    };
    assert_eq!(request.endpoint, Endpoint::Introspect);
    assert_eq!(request.method, http::Method::POST);
    assert_eq!(request.path_and_query, "/oauth2/introspect");
    assert_eq!(request.parameter("token"), Some(token.as_str()));
    assert_eq!(request.headers["host"], "stub");
    let basic = request.headers["authorization"].to_str().unwrap();
    assert!(basic.starts_with("Basic "));
    let client = stub.client("service-b");
    let printed = format!("{requests:?} {client:?} {:?}", StubOptions::default());
    for secret in [token.as_str(), basic, &client.secret] {
        assert!(!printed.contains(secret), "{printed}");
    }
    assert!(printed.contains("Introspect"), "{printed}");
}

#[tokio::test]
async fn while_down_connections_are_refused_and_afterwards_nothing_is_lost() {
    let stub = start(StubOptions::default()).await;
    let token = stub.issue(TokenSpec::default());
    stub.script(&token, vec![Reaction::hang(), Reaction::normal()]);
    let hanging = tokio::spawn(send_bytes(stub.address(), introspection(&stub, &token)));
    introspected(&stub, &token).await;
    for _ in 0..3 {
        stub.down().await;
        stub.down().await;
        refused(stub.address()).await;
        // The port stays reserved.
        let taken = std::net::TcpListener::bind(stub.address()).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(stub.counters().connections_open, 0);
        stub.up().await.unwrap();
        stub.up().await.unwrap();
        assert_eq!(introspect(&stub, &token).await.json()["active"], true);
    }
    let closed = hanging.await.unwrap();
    assert!(closed.is_err() || closed.is_ok_and(|response| response.is_empty()));
    assert_eq!(stub.introspections_of(&token), 4);
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_says_so() {
    let stub = start(StubOptions::default()).await;
    let options = StubOptions {
        listen: stub.address(),
        ..StubOptions::default()
    };
    let error = VerifyStub::start(options).await.err().unwrap();
    let expected = format!(
        "cannot listen on {}: stop the program that uses the port, or choose another port with --listen",
        stub.address()
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn dropping_the_stub_closes_its_connections() {
    let stub = start(StubOptions::default()).await;
    let to = stub.address();
    let token = stub.issue(TokenSpec::default());
    stub.script(&token, vec![Reaction::hang()]);
    let mut stream = TcpStream::connect(to).await.unwrap();
    let call = introspection(&stub, &token);
    stream.write_all(&call).await.unwrap();
    introspected(&stub, &token).await;
    drop(stub);
    let end = tokio::time::timeout(PATIENCE, stream.read_u8()).await;
    assert!(end.unwrap().is_err());
    refused(to).await;
}
