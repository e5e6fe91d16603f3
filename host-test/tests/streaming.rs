//! Bodies flow through the auth check in both directions and are never held. In a process of its
//! own, one test at a time, for memory is measured.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod support;

use std::sync::OnceLock;
use std::time::Duration;

use host_test::wire::{exchange, get, read_reply};
use programs::{Guest, repository};
use spin_host::{App, Running};
use support::{bearer, derived, load, stub};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use verify_stub::{TokenSpec, VerifyStub};

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// spin.toml with the echo app in place of service-b, and every path behind the auth check.
async fn serve(stub: &VerifyStub, extra: &[(&str, &str)]) -> Running {
    static APP: OnceLock<App> = OnceLock::new();
    let app = APP.get_or_init(|| {
        let manifest = std::fs::read_to_string(repository().join("spin.toml")).unwrap();
        let gated = manifest.replace("route = \"/data\"", "route = \"/...\"");
        assert_ne!(gated, manifest);
        load(&derived("streaming-spin.toml", &gated), Guest::EchoApp)
    });
    support::serve(app, stub, extra).await
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_100_mb_upload_flows_through_and_so_does_a_response_without_end() {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 1600;
    /// Far below the body, far above what connections and instances take.
    const GROWTH_LIMIT: u64 = 32 * 1024 * 1024;
    let _alone = ONE_AT_A_TIME.lock().await;
    let stub = stub().await;
    let running = serve(&stub, &[]).await;
    let token = stub.issue(TokenSpec::default());
    // Whatever the first requests allocate is there before it is measured.
    exchange(running.address(), &get("/data", bearer(&token)))
        .await
        .unwrap();
    let before = resident();

    let mut upload = TcpStream::connect(running.address()).await.unwrap();
    let head = format!(
        "PUT /data HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n",
        PIECE * PIECES
    );
    upload.write_all(head.as_bytes()).await.unwrap();
    let piece: Vec<u8> = (0..PIECE).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let mut crc32 = crc32fast::Hasher::new();
    let mut most = 0;
    for n in 0..PIECES {
        upload.write_all(&piece).await.unwrap();
        crc32.update(&piece);
        if n.is_multiple_of(100) {
            most = most.max(resident());
        }
    }
    let reply = read_reply(&mut upload, false).await.unwrap();
    let seen: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(
        seen["body"],
        serde_json::json!({ "bytes": PIECE * PIECES, "crc32": crc32.finalize() })
    );

    let mut endless = TcpStream::connect(running.address()).await.unwrap();
    let request = get("/endless", bearer(&token));
    endless.write_all(&request).await.unwrap();
    let mut left = PIECE * PIECES;
    let mut buffer = vec![0; PIECE];
    while left > 0 {
        let read = endless.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the endless response ended {left} bytes early");
        left = left.saturating_sub(read);
        if left.is_multiple_of(100) {
            most = most.max(resident());
        }
    }
    most = most.max(resident());
    assert!(
        most < before + GROWTH_LIMIT,
        "memory grew from {before} to {most} bytes"
    );
    drop(endless);
    let reply = exchange(running.address(), &get("/data", bearer(&token)))
        .await
        .unwrap();
    assert_eq!(reply.status, 200, "after a caller left an endless response");
    assert_eq!(running.stats().traps, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn h18_f7_a_gigabyte_without_a_token_is_refused_unread() {
    const GROWTH_LIMIT: u64 = 32 * 1024 * 1024;
    let _alone = ONE_AT_A_TIME.lock().await;
    let stub = stub().await;
    let running = serve(&stub, &[]).await;
    exchange(running.address(), &get("/data", ""))
        .await
        .unwrap();
    let before = resident();
    let mut upload = TcpStream::connect(running.address()).await.unwrap();
    let head = format!(
        "POST /data HTTP/1.1\r\nhost: b\r\ncontent-length: {}\r\n\r\n",
        1 << 30
    );
    upload.write_all(head.as_bytes()).await.unwrap();
    let (mut from, mut to) = upload.into_split();
    let send = tokio::spawn(async move {
        let piece = vec![b'a'; 64 * 1024];
        let mut sent = 0_u64;
        // Until the auth check's side closes: nobody reads this.
        while to.write_all(&piece).await.is_ok() {
            sent += 64 * 1024;
        }
        sent
    });
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), from.read_to_end(&mut answer))
        .await
        .unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.starts_with("HTTP/1.1 401 ") && answer.ends_with(r#""reason":"no_credentials"}"#),
        "{answer}"
    );
    drop(from);
    let sent = send.await.unwrap();
    assert!(sent < 1 << 30, "all of it was read");
    assert!(
        resident() < before + GROWTH_LIMIT,
        "{} -> {}",
        before,
        resident()
    );
    assert_eq!(stub.counters().introspect, 0);
}
