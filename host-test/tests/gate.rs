//! The components that ship, composed and served as in spin.toml, against an issuer on this machine.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may panic as tests do"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use host_test::host::{App, Manifest, Running, ServeOptions};

/// Builds what `spin build` builds, once, and loads it.
fn app() -> App {
    static APP: OnceLock<App> = OnceLock::new();
    APP.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spin.toml");
        for build in Manifest::read(&path).unwrap().build_commands() {
            build.run().unwrap();
        }
        App::load(&path, &BTreeMap::new()).unwrap()
    })
    .clone()
}

/// An issuer: what the token says is what it does. Counts the questions.
fn issuer() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, count) = (stream.unwrap(), Arc::clone(&count));
            std::thread::spawn(move || while question(&stream, &count).is_some() {});
        }
    });
    (address, asked)
}

fn question(mut stream: &TcpStream, asked: &AtomicUsize) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut form = vec![0; length];
    reader.read_exact(&mut form).ok()?;
    asked.fetch_add(1, Ordering::SeqCst);
    let form = String::from_utf8(form).ok()?;
    let answer = |status: &str, kind: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let active = r#"{"active":true,"aud":["a"],"client_id":"a","sub":"a","iss":"https://i"}"#;
    let text = match form.strip_prefix("token=")? {
        "good" => answer("200 OK", "application/json", active),
        "slow" => {
            std::thread::sleep(Duration::from_millis(700));
            answer("200 OK", "application/json", active)
        }
        "ours" => answer(
            "401 Unauthorized",
            "application/json",
            r#"{"error":"request_unauthorized"}"#,
        ),
        "moved" => answer(
            "302 Found\r\nlocation: http://127.0.0.1:1/",
            "application/json",
            active,
        ),
        "cut" => answer("200 OK", "application/json", active)
            .replace("content-length: 7", "content-length: 97"),
        "huge" => answer("200 OK", "application/json", &" ".repeat(100_000)),
        "hang" => {
            std::thread::sleep(Duration::from_secs(5));
            return None;
        }
        _ => answer("200 OK", "application/json", r#"{"active":false}"#),
    };
    stream.write_all(text.as_bytes()).ok()?;
    (!form.contains("cut")).then_some(())
}

async fn serve(issuer: SocketAddr, extra: &[(&str, &str)]) -> Running {
    let url = format!("http://{issuer}/oauth2/introspect");
    let base = [
        ("introspect_url", url.as_str()),
        ("resource_client_id", "b"),
        ("resource_client_secret", "s3cr3t"),
    ];
    let options = ServeOptions {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        environment: Some(BTreeMap::new()),
        variables: base
            .iter()
            .chain(extra)
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        ..ServeOptions::default()
    };
    app().serve(options).await.unwrap()
}

/// Status, the whole head in lower case, and the body of one request sent as these bytes.
async fn send(to: SocketAddr, head: Vec<u8>) -> (u16, String, String) {
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(to).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.write_all(&head).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), body.to_owned())
    })
    .await
    .unwrap()
}

fn get(path: &str, authorization: &[u8]) -> Vec<u8> {
    let mut head = format!("GET {path} HTTP/1.1\r\nhost: b\r\nconnection: close\r\n").into_bytes();
    if !authorization.is_empty() {
        head.extend_from_slice(b"authorization: ");
        head.extend_from_slice(authorization);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_token_gets_the_document_and_every_other_one_its_reason() {
    let (address, asked) = issuer();
    let running = serve(address, &[("timeout", "1")]).await;
    let to = running.address();

    let (status, _, body) = send(to, get("/health", b"")).await;
    assert_eq!((status, body.as_str()), (200, r#"{"status":"ok"}"#));
    let (status, _, body) = send(to, get("/data", b"Bearer good")).await;
    let document = r#"{"message":"Service B trusted the token","issuer":"https://i","subject":"a","aud":["a"],"scopes":null}"#;
    assert_eq!((status, body.as_str()), (200, document));
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    let rows: &[(&[u8], u16, &str)] = &[
        (b"", 401, "no_credentials"),
        (b"Basic YTpi", 401, "unsupported_scheme"),
        (b"Bearer a b", 400, "malformed_authorization"),
        (b"Bearer a\xff", 400, "malformed_authorization"),
        (
            b"Bearer good\r\nauthorization: Bearer good",
            400,
            "repeated_authorization",
        ),
        (b"Bearer revoked", 401, "inactive"),
        (b"Bearer ours", 503, "issuer_refused_us"),
        (b"Bearer moved", 503, "issuer_redirected"),
        (b"Bearer cut", 503, "issuer_unreachable"),
        (b"Bearer huge", 503, "issuer_answer_too_large"),
        (b"Bearer hang", 503, "issuer_timeout"),
    ];
    for (authorization, expected, reason) in rows {
        let (status, head, body) = send(to, get("/data", authorization)).await;
        assert_eq!(status, *expected, "{reason}: {body}");
        assert!(
            body.ends_with(&format!(r#""reason":"{reason}"}}"#)),
            "{reason}: {body}"
        );
        assert_eq!(head.contains("\r\nretry-after: 1"), status == 503, "{head}");
        assert_eq!(
            head.contains("\r\nwww-authenticate: bearer realm="),
            status != 503,
            "{head}"
        );
    }
    for line in running.logs() {
        assert!(
            !line.text.contains("s3cr3t") && !line.text.contains("good"),
            "{}",
            line.text
        );
    }
    assert_eq!(running.stats().traps, 0);
    let _ = running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_callers_with_one_cold_token_ask_once() {
    let (address, asked) = issuer();
    let running = serve(address, &[]).await;
    let calls = (0..16).map(|_| send(running.address(), get("/data", b"Bearer slow")));
    for (status, _, body) in futures::future::join_all(calls).await {
        assert_eq!(status, 200, "{body}");
    }
    let instances = usize::try_from(running.stats().instances).unwrap();
    let asked = asked.load(Ordering::SeqCst);
    assert!(
        asked >= 1 && asked <= instances,
        "{asked} questions of {instances} instances"
    );
    assert_eq!(running.stats().traps, 0);
    let _ = running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_wrong_settings_every_request_is_refused() {
    let (address, asked) = issuer();
    let running = serve(address, &[("timeout", "0")]).await;
    let (status, head, body) = send(running.address(), get("/data", b"Bearer good")).await;
    assert_eq!(status, 503);
    assert!(
        body.ends_with(r#""reason":"misconfigured"}"#) && !head.contains("www-authenticate"),
        "{head} {body}"
    );
    let (status, ..) = send(running.address(), get("/health", b"")).await;
    assert_eq!(status, 200);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let _ = running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_not_there_is_a_503() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let running = serve(free, &[]).await;
    let (status, _, body) = send(running.address(), get("/data", b"Bearer good")).await;
    assert_eq!(status, 503);
    assert!(
        body.ends_with(r#""reason":"issuer_unreachable"}"#),
        "{body}"
    );
    let _ = running.shutdown().await;
}
