//! Hundreds of thousands of requests with tokens that were never seen before. A million of them, in
//! several minutes: `cargo test --test envoy -- --ignored --nocapture million`.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use envoy_runner::MANAGER;
use futures::future::join_all;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{
    fixture::{Fixture, skip_without_envoy, with_two_workers},
    wire::{Connection, bearer, head},
};

const FIRST: u64 = 50_000;
const ALL: u64 = 500_000;
const CONNECTIONS: u64 = 32;

/// The cheapest issuer that is one: every token is inactive, but for those that [`good`] makes.
struct Issuer {
    address: SocketAddr,
    introspections: Arc<Introspected>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Introspected {
    all: AtomicU64,
    /// How often about each token that is good.
    good: Mutex<HashMap<Vec<u8>, u64>>,
}

impl Issuer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let introspections = Arc::<Introspected>::default();
        let count = Arc::clone(&introspections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(answer(stream, Arc::clone(&count)));
            }
        });
        Self {
            address,
            introspections,
            task,
        }
    }

    fn introspections(&self) -> u64 {
        self.introspections.all.load(Ordering::Relaxed)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const INACTIVE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{\"active\":false}";
const ACTIVE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"active\":true}";
const KNOCK: &[u8] = b"HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n";

/// One introspection call is under way on a connection at a time, so what comes until the end of
/// the form is one.
async fn answer(mut stream: TcpStream, introspections: Arc<Introspected>) {
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
            introspections.all.fetch_add(1, Ordering::Relaxed);
            if form.starts_with(b"token=good") {
                *introspections
                    .good
                    .lock()
                    .unwrap()
                    .entry(form.to_vec())
                    .or_default() += 1;
                stream.write_all(ACTIVE).await.unwrap();
            } else {
                stream.write_all(INACTIVE).await.unwrap();
            }
        } else {
            stream.write_all(KNOCK).await.unwrap();
        }
        bytes.clear();
    }
}

fn token(number: u64) -> String {
    format!("{number:0>32}")
}

/// Of the same length.
fn good(number: u64) -> String {
    format!("good{number:0>28}")
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

/// Sends that many requests, each with a token of its own.
async fn spray(to: SocketAddr, from: u64, until: u64) {
    join_all(
        (0..CONNECTIONS)
            .map(|lane| refused(to, (from..until).filter(move |n| n % CONNECTIONS == lane))),
    )
    .await;
}

async fn fixture(
    issuer: &Issuer,
    settings: &[(&str, &str)],
    change: impl FnOnce(&mut envoy_runner::EnvoyOptions),
) -> Fixture {
    let url = format!("http://{}/introspect", issuer.address);
    let mut all = vec![("introspect_url", url.as_str())];
    all.extend(settings);
    Fixture::start_with(&all, |options, _| {
        // A line for each request would be all that this test's own memory holds.
        let log = format!("{MANAGER}/access_log");
        options.overrides.push((log, json!([])));
        change(options);
    })
    .await
}

fn is_no_more(all: u64, first: u64) {
    println!("{first} bytes of memory first, {all} bytes at the end");
    assert!(all <= first + first / 10, "{first} bytes, then {all} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_after_500_000_distinct_tokens_is_what_it_was_after_50_000() {
    skip_without_envoy!();
    let issuer = Issuer::start().await;
    let fixture = fixture(&issuer, &[], |_| {}).await;
    spray(fixture.address(), 0, FIRST).await;
    let first = fixture.envoy.rss_bytes().unwrap();
    spray(fixture.address(), FIRST, ALL).await;
    is_no_more(fixture.envoy.rss_bytes().unwrap(), first);
    assert_eq!(issuer.introspections(), ALL);
    assert_eq!(fixture.decisions("inactive").await, ALL);
    fixture.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spray_of_random_tokens_is_remembered_in_bounds_and_drives_out_no_good_one() {
    // Both areas of both workers are full after the first.
    spray_drives_out_no_good_token(40_000, 200_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes several minutes"]
async fn a_spray_of_a_million_random_tokens_is_remembered_in_bounds_and_drives_out_no_good_one() {
    spray_drives_out_no_good_token(100_000, 1_000_000).await;
}

async fn spray_drives_out_no_good_token(first: u64, all: u64) {
    const GOOD: u64 = 300;
    const ENTRIES: u64 = 10_000;
    skip_without_envoy!();
    let issuer = Issuer::start().await;
    let entries = ENTRIES.to_string();
    let settings = [
        ("cache_ttl", "600"),
        ("negative_cache_ttl", "600"),
        ("cache_entries", entries.as_str()),
    ];
    let fixture = fixture(&issuer, &settings, with_two_workers).await;
    let to = fixture.address();
    // One on either worker.
    let mut workers: [Connection; 2] = Connection::open_in_turn(to).await;
    let mut present_good_ones = async || {
        for number in 0..GOOD {
            let request = head("GET", "/data", &bearer(&good(number)));
            for worker in &mut workers {
                worker.write(&request).await;
                assert_eq!(worker.answer().await.status, 200, "{number}");
            }
        }
    };
    let cache = async || {
        let stats = fixture.envoy.settled_stats().await.unwrap();
        ["miss", "shared", "hit"]
            .map(|use_| stats[&format!("wasmcustom.trust_triangle_cache.use.{use_}")])
    };
    present_good_ones().await;
    // One worker calls and the other one is logged.
    assert_eq!(cache().await, [GOOD, GOOD, 0]);

    spray(to, 0, first).await;
    let memory = fixture.envoy.rss_bytes().unwrap();
    spray(to, first, all).await;
    is_no_more(fixture.envoy.rss_bytes().unwrap(), memory);
    assert_eq!(fixture.decisions("inactive").await, all);
    assert_eq!(cache().await, [GOOD + all, GOOD, 0]);

    // Every good one is in the memory of both.
    present_good_ones().await;
    assert_eq!(cache().await, [GOOD + all, GOOD, 2 * GOOD]);
    assert_eq!(issuer.introspections(), GOOD + all);
    {
        let good = issuer.introspections.good.lock().unwrap();
        assert_eq!(good.len() as u64, GOOD);
        assert!(good.values().all(|count| *count == 1));
    }
    // A random one that comes again is not called about again.
    let mut worker = Connection::open(to).await;
    for _ in 0..3 {
        let request = head("GET", "/data", &bearer(&token(all)));
        worker.write(&request).await;
        assert_eq!(worker.answer().await.status, 401);
    }
    assert_eq!(cache().await, [GOOD + all + 1, GOOD, 2 * GOOD + 2]);
    fixture.finish().await;
}
