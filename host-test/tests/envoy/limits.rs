//! What one caller, or all of them, may use of Envoy.

use envoy_runner::{ADDRESS_LIMIT, MANAGER, shipped_config};
use host_test::http2::{self, CANCEL, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, frame};
use serde_json::{Value, json};
use token_check::SETTINGS;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    fixture::{Fixture, skip_without_envoy},
    waiting::until,
    wire::{Connection, bearer, get, head, send},
};

const HEAP: &str = "/overload_manager/resource_monitors/envoy.resource_monitors.fixed_heap/typed_config/max_heap_size_bytes";
const CONNECTIONS_LIMIT: &str = "/overload_manager/resource_monitors/envoy.resource_monitors.global_downstream_max_connections/typed_config/max_active_downstream_connections";

#[tokio::test]
async fn d1_past_the_limit_an_address_gets_429_before_the_auth_check_and_others_go_on() {
    skip_without_envoy!();
    let fixture = Fixture::start_with(&[], |options, _| {
        let limit = json!({ "max_tokens": 5, "tokens_per_fill": 1, "fill_interval": "3600s" });
        options.overrides.push((ADDRESS_LIMIT.to_owned(), limit));
        options.concurrency = 2;
    })
    .await;
    fixture.active("good");
    let ask = async |from: [u8; 4], extra: &[u8]| {
        let mut connection = Connection::open_from(from, fixture.address()).await;
        let extra = [bearer("good").as_slice(), extra].concat();
        connection.write(&head("GET", "/data", &extra)).await;
        connection.answer().await
    };
    let (one, other) = ([127, 0, 0, 2], [127, 0, 0, 3]);
    for _ in 0..5 {
        assert_eq!(ask(one, b"").await.status, 200);
    }
    // What a caller says of its address counts for nothing.
    for extra in [
        b"".as_slice(),
        b"x-forwarded-for: 10.0.0.1\r\n",
        b"x-envoy-external-address: 10.0.0.1\r\n",
        b"forwarded: for=10.0.0.1\r\n",
    ] {
        let answer = ask(one, extra).await;
        assert_eq!(answer.status, 429, "{answer:?}");
        assert_eq!(answer.header("retry-after"), ["1"]);
    }
    assert_eq!(ask(other, b"").await.status, 200);
    assert_eq!(fixture.stub.introspections_of("good"), 6);
    assert_eq!(fixture.decisions("granted").await, 6);
    let stats = fixture.envoy.stats().await.unwrap();
    assert_eq!(stats["by_address.http_local_rate_limit.enforced"], 4);
    until(async || fixture.envoy.access_log().len() == 10).await;
    let lines = fixture.envoy.access_log();
    let limited: Vec<_> = lines.iter().filter(|line| line["status"] == 429).collect();
    assert_eq!(limited.len(), 4);
    for line in limited {
        assert_eq!(line["details"], "local_rate_limited", "{line}");
        assert_eq!(line["decision"], Value::Null, "{line}");
    }
    fixture.finish().await;
}

#[tokio::test]
async fn d1_behind_a_load_balancer_the_limit_is_for_the_address_that_it_appends() {
    skip_without_envoy!();
    let fixture = Fixture::start_with(&[], |options, _| {
        let limit = json!({ "max_tokens": 2, "tokens_per_fill": 1, "fill_interval": "3600s" });
        let hops = (format!("{MANAGER}/xff_num_trusted_hops"), json!(1));
        (options.overrides).extend([(ADDRESS_LIMIT.to_owned(), limit), hops]);
    })
    .await;
    let ask = async |chain: &str| {
        let line = format!("x-forwarded-for: {chain}\r\n");
        let bytes = head("GET", "/data", line.as_bytes());
        send(fixture.address(), &bytes).await.status
    };
    // The last address is the load balancer's word, the others are the caller's. Of an IPv6 address
    // the first 64 bits count.
    for (chain, status) in [
        ("192.0.2.1", 401),
        ("198.51.100.1, 192.0.2.1", 401),
        ("198.51.100.2, 192.0.2.1", 429),
        ("192.0.2.1, 192.0.2.2", 401),
        ("2001:db8:0:1::1", 401),
        ("2001:db8:0:1:ffff::2", 401),
        ("2001:db8:0:1::3", 429),
        ("2001:db8:0:2::1", 401),
    ] {
        assert_eq!(ask(chain).await, status, "{chain}");
    }
    fixture.finish().await;
}

#[tokio::test]
async fn d3_over_the_heaps_limit_requests_are_refused_and_far_below_none() {
    skip_without_envoy!();
    const ACTION: &str = "overload.envoy.overload_actions.stop_accepting_requests.active";
    const PRESSURE: &str = "overload.envoy.resource_monitors.fixed_heap.pressure";
    let fixture = Fixture::start(&[]).await;
    fixture.active("good");
    assert_eq!(get(fixture.address(), "/data", "good").await.status, 200);
    let stats = fixture.envoy.stats().await.unwrap();
    assert_eq!(stats[ACTION], 0);
    assert!(stats[PRESSURE] < 50, "{}", stats[PRESSURE]);
    fixture.finish().await;

    let fixture = Fixture::start_with(&[], |options, _| {
        options.overrides.push((HEAP.to_owned(), json!(1_000_000)));
    })
    .await;
    fixture.active("good");
    until(async || fixture.envoy.stats().await.unwrap()[ACTION] == 1).await;
    let answer = get(fixture.address(), "/data", "good").await;
    assert_eq!(
        (
            answer.status,
            String::from_utf8_lossy(&answer.body).as_ref()
        ),
        (503, "envoy overloaded")
    );
    assert_eq!(fixture.stub.counters().introspect, 0);
    fixture.finish().await;
}

#[tokio::test]
async fn d4_idle_connections_up_to_the_limit_keep_others_out_for_seconds_only() {
    skip_without_envoy!();
    const CONNECTIONS: usize = 40;
    let fixture = Fixture::start_with(&[], |options, _| {
        (options.overrides).push((CONNECTIONS_LIMIT.to_owned(), json!(CONNECTIONS)));
        options.concurrency = 2;
    })
    .await;
    fixture.active("good");
    let used = head("GET", "/data", &bearer("good"));
    let mut idle = Vec::new();
    for number in 0..CONNECTIONS {
        let mut connection = Connection::open(fixture.address()).await;
        // Some have had a request, the others never send one.
        if number % 2 == 0 {
            connection.write(&used).await;
            assert_eq!(connection.answer().await.status, 200);
        }
        idle.push(connection);
    }
    until(async || {
        let connection = TcpStream::connect(fixture.address()).await;
        let mut connection = connection.unwrap();
        // Reset at once while there are too many.
        let written = connection.write_all(&used).await.is_ok();
        let mut status = [0; 12];
        written && connection.read_exact(&mut status).await.is_ok() && &status == b"HTTP/1.1 200"
    })
    .await;
    // Without the shipped action that would have been after an hour.
    let stats = fixture.envoy.stats().await.unwrap();
    let action = "overload.envoy.overload_actions.reduce_timeouts.scale_percent";
    assert!(stats.contains_key(action), "{stats:?}");
    drop(idle);
    fixture.finish().await;
}

/// A request that its caller resets at once, with a token of its own.
fn reset_at_once(number: u32) -> Vec<u8> {
    let stream = 2 * number + 1;
    let head = http2::get("/", &format!("reset{number}"));
    let mut frames = frame(HEADERS, END_STREAM | END_HEADERS, stream, &head);
    frames.extend(frame(RST_STREAM, 0, stream, &CANCEL));
    frames
}

/// A new connection with this many of them, sent in one piece.
async fn resets(fixture: &Fixture, count: u32) -> Connection {
    let mut bytes = http2::opening();
    bytes.extend((0..count).flat_map(reset_at_once));
    let mut connection = Connection::open(fixture.address()).await;
    connection.write(&bytes).await;
    connection
}

/// The calls to the issuer so far, once all of them have ended.
async fn calls(fixture: &Fixture) -> u64 {
    until(async || {
        let stats = fixture.envoy.stats().await.unwrap();
        ["active", "pending_active"]
            .iter()
            .all(|gauge| stats[&format!("cluster.issuer_http.upstream_rq_{gauge}")] == 0)
    })
    .await;
    fixture.stub.counters().introspect
}

#[tokio::test]
async fn d2_a_connection_of_rapid_resets_is_closed_before_fifty_of_them_cost_a_call() {
    skip_without_envoy!();
    const CLOSED: &str = "http.service_b.downstream_rq_too_many_premature_resets";
    let fixture = Fixture::start(&[]).await;
    let closed = async || fixture.envoy.stats().await.unwrap()[CLOSED];
    // A caller that leaves now and then may: the connection still answers a ping.
    let mut connection = resets(&fixture, 40).await;
    const PING: u8 = 6;
    connection.write(&frame(PING, 0, 0, b"12345678")).await;
    loop {
        let head = connection.read_exactly(9).await;
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = connection.read_exactly(length).await;
        if head[3] == PING {
            assert_eq!(payload, b"12345678");
            break;
        }
    }
    assert_eq!(closed().await, 0);

    let before = calls(&fixture).await;
    let mut connection = resets(&fixture, 500).await;
    connection.read_to_end().await;
    assert_eq!(closed().await, 1);
    fixture.active("good");
    assert_eq!(get(fixture.address(), "/data", "good").await.status, 200);
    let calls = calls(&fixture).await - before - 1;
    assert!(calls <= 50, "{calls} calls");
    fixture.finish().await;
}

/// The numbers in the table of docs/envoy.md are the shipped ones.
#[test]
fn the_document_has_the_limits_that_ship() {
    const DOCUMENT: &str = include_str!("../../../docs/envoy.md");
    let config = shipped_config().unwrap();
    let bucket = config.pointer(ADDRESS_LIMIT).unwrap();
    assert_eq!(
        *bucket,
        json!({ "max_tokens": 2000, "tokens_per_fill": 100, "fill_interval": "0.1s" })
    );
    let monitors = config["overload_manager"]["resource_monitors"].as_array();
    let heap = &monitors.unwrap()[0]["typed_config"]["max_heap_size_bytes"];
    assert_eq!(*heap, json!(1024 * 1024 * 1024));
    let connections = &monitors.unwrap()[1]["typed_config"]["max_active_downstream_connections"];
    assert_eq!(*connections, json!(50_000));
    let timeouts = &config["overload_manager"]["actions"][0];
    assert_eq!(timeouts["name"], "envoy.overload_actions.reduce_timeouts");
    assert_eq!(
        timeouts["triggers"][0]["scaled"],
        json!({ "scaling_threshold": 0.5, "saturation_threshold": 0.9 })
    );
    assert_eq!(
        timeouts["typed_config"]["timer_scale_factors"],
        json!([{ "timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": "2s" }])
    );
    let runtime = &config["layered_runtime"]["layers"][0]["static_layer"];
    assert_eq!(runtime["overload.premature_reset_total_stream_count"], 100);
    assert_eq!(runtime["http.max_requests_per_io_cycle"], 10);
    for row in [
        "| requests of one address | 1000 a second, 2000 at once |",
        "| Envoy's heap | 1 GiB |",
        "| resets of one HTTP/2 connection | 50 of its first 100 requests, then half |",
        "| requests begun at a time on one connection | 10 |",
        "| connections of callers | 50000 |",
        "| idle time of a connection | an hour; from 25000 connections on less, from 45000 on 2 s |",
    ] {
        assert!(DOCUMENT.contains(row), "{row}");
    }
}

/// What the address limit lets wait while the issuer is silent, against the places there are.
#[test]
fn d1_the_document_says_that_one_address_can_take_the_places_of_strangers() {
    const DOCUMENT: &str = include_str!("../../../docs/envoy.md");
    let config = shipped_config().unwrap();
    let bucket = config.pointer(ADDRESS_LIMIT).unwrap();
    let number = |key: &str| bucket[key].as_u64().unwrap();
    assert_eq!(bucket["fill_interval"], "0.1s");
    let (burst, rate) = (number("max_tokens"), number("tokens_per_fill") * 10);
    let default = |key| {
        let setting = SETTINGS.iter().find(|setting| setting.key == key).unwrap();
        setting.default.unwrap().parse::<u64>().unwrap()
    };
    let (timeout, places) = (default("timeout"), default("max_waiting"));
    // A quarter is for known tokens.
    let waiting = |rate| burst + rate * timeout;
    let for_strangers = |places| places / 4 * 3;
    assert!(waiting(rate) > for_strangers(places));
    assert!(waiting(200) < for_strangers(places));
    assert!(waiting(rate) < for_strangers(10_000));
    let document = DOCUMENT.replace('\n', " ");
    for sentence in [
        format!(
            "one address can have {} requests waiting ({burst}, and {rate} for each second of `timeout`)",
            waiting(rate)
        ),
        format!(
            "three quarters of `max_waiting`, {} places in each worker",
            for_strangers(places)
        ),
        format!(
            "a limit of 200 a second ({burst} + {timeout} × 200 = {})",
            waiting(200)
        ),
        "or a `max_waiting` of 10000".to_owned(),
    ] {
        assert!(document.contains(&sentence), "{sentence}");
    }
    assert!(!document.contains("leaves room for others"));
}
