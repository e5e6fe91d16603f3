//! Half a million requests with tokens that were never seen before.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::world::{World, skip_without_envoy};

const FIRST: u64 = 50_000;
const ALL: u64 = 500_000;
const CONNECTIONS: u64 = 32;

/// The cheapest issuer that is one: every token is inactive.
async fn issuer() -> (SocketAddr, Arc<AtomicU64>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(answer(stream, Arc::clone(&count)));
        }
    });
    (address, asked, task)
}

const INACTIVE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{\"active\":false}";
const KNOCK: &[u8] = b"HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n";

/// One question is under way on a connection at a time, so what comes until the end of the form is one.
async fn answer(mut stream: TcpStream, asked: Arc<AtomicU64>) {
    let mut bytes = Vec::with_capacity(4096);
    while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        if bytes.starts_with(b"POST") {
            let form = &bytes[end + 4..];
            // Every token has the same length.
            if form.len() < "token=".len() + token(0).len() {
                continue;
            }
            asked.fetch_add(1, Ordering::Relaxed);
            stream.write_all(INACTIVE).await.unwrap();
        } else {
            stream.write_all(KNOCK).await.unwrap();
        }
        bytes.clear();
    }
}

fn token(number: u64) -> String {
    format!("{number:0>32}")
}

async fn refused(to: SocketAddr, numbers: impl Iterator<Item = u64>) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut bytes = Vec::with_capacity(4096);
    for number in numbers {
        let request = format!(
            "GET / HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {}\r\n\r\n",
            token(number)
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        bytes.clear();
        while !bytes.ends_with(br#""reason":"inactive"}"#) {
            let read = stream.read_buf(&mut bytes).await.unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_after_500_000_distinct_tokens_is_what_it_was_after_50_000() {
    skip_without_envoy!();
    let (issuer, asked, task) = issuer().await;
    let url = format!("http://{issuer}/introspect");
    let world = World::start_with(&[("introspect_url", &url)], |options, _| {
        // A line for each request would be all that this test's own memory holds.
        let log = "/static_resources/listeners/service_b/filter_chains/0/filters/0/typed_config/access_log";
        options.overrides.push((log.to_owned(), serde_json::json!([])));
    })
    .await;
    let to = world.address();
    let run = async |from: u64, until: u64| {
        join_all(
            (0..CONNECTIONS)
                .map(|lane| refused(to, (from..until).filter(move |n| n % CONNECTIONS == lane))),
        )
        .await;
        world.envoy.rss_bytes().unwrap()
    };
    let first = run(0, FIRST).await;
    let all = run(FIRST, ALL).await;
    assert!(
        all <= first + first / 10,
        "{first} bytes after {FIRST}, {all} bytes after {ALL}"
    );
    println!("{first} bytes after {FIRST}, {all} bytes after {ALL}");
    assert_eq!(asked.load(Ordering::Relaxed), ALL);
    assert_eq!(world.decisions("inactive").await, ALL);
    task.abort();
    world.finish().await;
}
