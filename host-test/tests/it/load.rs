//! The auth check under load and while its issuer is in trouble: the components that ship, in the
//! embedded host.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::support::{self, bearer, derived, load, stub};
use futures::future::join_all;
use host_test::wire::{Reply, exchange, get};
use programs::{Guest, repository};
use spin_host::{App, Running, ServeOptions};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use verify_stub::{Reaction, TokenSpec, VerifyStub};

/// auth-check.wasm, in bytes.
const AUTH_CHECK_LIMIT: u64 = 716 * 1024;
/// service-b.wasm, in bytes.
const SERVICE_B_LIMIT: u64 = 250 * 1024;

/// spin.toml as it ships, compiled once.
async fn serve(stub: &VerifyStub, extra: &[(&str, &str)]) -> Running {
    static APP: OnceLock<App> = OnceLock::new();
    let app = APP.get_or_init(|| load(&repository().join("spin.toml"), Guest::ServiceB));
    support::serve(app, stub, extra).await
}

#[test]
fn the_components_are_as_small_as_promised() {
    for (guest, limit) in [
        (Guest::AuthCheck, AUTH_CHECK_LIMIT),
        (Guest::ServiceB, SERVICE_B_LIMIT),
    ] {
        let bytes = std::fs::metadata(guest.build().unwrap()).unwrap().len();
        assert!(bytes <= limit, "{guest:?} has {bytes} bytes, over {limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn service_b_serves_data_behind_the_auth_check_and_health_without_a_token() {
    let stub = stub().await;
    let running = serve(&stub, &[]).await;
    let to = running.address();
    let client = stub.client("service-a").id.clone();
    let token = stub.issue(TokenSpec::default().client("service-a"));

    let reply = exchange(to, &get("/data", bearer(&token))).await.unwrap();
    let document = format!(
        r#"{{"message":"Service B trusted the token","issuer":"{}","subject":"{client}","aud":["{client}"],"scopes":null}}"#,
        stub.issuer()
    );
    assert_eq!((reply.status, reply.text()), (200, document));
    assert_eq!(reply.header("content-type"), ["application/json"]);

    let reply = exchange(to, &get("/health", "")).await.unwrap();
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (200, r#"{"status":"ok"}"#)
    );
    let scoped = stub.issue(TokenSpec::default().client("service-a").scope("read write"));
    let reply = exchange(to, &get("/data", bearer(&scoped))).await.unwrap();
    assert!(
        reply.text().ends_with(r#""scopes":"read write"}"#),
        "{}",
        reply.text()
    );

    let post = String::from_utf8(get("/data", bearer(&token)))
        .unwrap()
        .replacen("GET", "DELETE", 1);
    let reply = exchange(to, post.as_bytes()).await.unwrap();
    assert_eq!(
        (reply.status, reply.header("allow")),
        (405, vec!["GET, HEAD"])
    );
    stub.revoke(&token);
    let reply = exchange(to, &get("/data", bearer(&token))).await.unwrap();
    assert_eq!((reply.status, reply.reason().as_str()), (401, "inactive"));
    assert_eq!(running.stats().traps, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_refuses_no_request() {
    let stub = stub().await;
    let running = serve(&stub, &[("audit", "true")]).await;
    running.fill_logs();
    let token = stub.issue(TokenSpec::default().client("service-a"));
    for (authorization, status) in [(bearer(&token), 200), (bearer("unknown"), 401)] {
        let reply = exchange(running.address(), &get("/data", authorization)).await;
        assert_eq!(reply.unwrap().status, status);
    }
    assert_eq!(running.stats().traps, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc9110_s9_3_2_head_gets_the_status_and_the_fields_of_get_and_no_body() {
    let stub = stub().await;
    let running = serve(&stub, &[]).await;
    let token = stub.issue(TokenSpec::default().client("service-a"));
    for (path, authorization, status) in [
        ("/data", bearer(&token), 200),
        ("/data", bearer("unknown"), 401),
        ("/health", String::new(), 200),
    ] {
        let get = get(path, authorization);
        let head = [b"HEAD".as_slice(), get.strip_prefix(b"GET").unwrap()].concat();
        let got = exchange(running.address(), &get).await.unwrap();
        let had = exchange(running.address(), &head).await.unwrap();
        assert_eq!((got.status, had.status), (status, status), "{path}");
        let fields = |reply: Reply| -> Vec<_> {
            let fields = reply.headers.into_iter();
            fields.filter(|(name, _)| name != "date").collect()
        };
        let length = got.body.len().to_string();
        assert_eq!(had.header("content-length"), [length], "{path}");
        assert_eq!(fields(had), fields(got), "{path}");
    }
    assert_eq!(running.stats().traps, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f2_without_the_auth_check_service_b_never_serves_the_document() {
    let manifest = std::fs::read_to_string(repository().join("spin.toml")).unwrap();
    let (before, deployment) = manifest.split_once("dependencies.middleware = [").unwrap();
    let (_, after) = deployment.split_once("\n]\n").unwrap();
    let path = derived("gateless-spin.toml", &format!("{before}{after}"));
    let variables = [
        "introspect_url",
        "resource_client_id",
        "resource_client_secret",
    ];
    let running = load(&path, Guest::ServiceB)
        .serve(ServeOptions {
            environment: Some(BTreeMap::new()),
            variables: variables
                .map(|name| (name.to_owned(), "http://127.0.0.1:9".to_owned()))
                .into(),
            ..ServeOptions::default()
        })
        .await
        .unwrap();
    let reply = exchange(running.address(), &get("/data", "Bearer abc"))
        .await
        .unwrap();
    let missing = r#"{"error":"gate_missing","error_description":"The request has no x-auth-claims: the auth check is missing, or its claims_header is none."}"#;
    assert_eq!((reply.status, reply.text().as_str()), (500, missing));
}

#[tokio::test(flavor = "multi_thread")]
async fn f11_400_callers_with_one_cold_token_ask_at_most_once_per_live_instance() {
    // Fewer than Spin has room for instances: in a burst it may make one for each.
    const CALLERS: usize = 400;
    let stub = stub().await;
    // With an engine, and so a pool, of its own.
    let app = load(&repository().join("spin.toml"), Guest::ServiceB);
    let running = support::serve(&app, &stub, &PATIENT).await;
    let to = running.address();
    let token = stub.issue(TokenSpec::default());
    let all_are_here = CancellationToken::new();
    stub.script(
        &token,
        vec![Reaction::normal().held_until(all_are_here.clone())],
    );
    let request = get("/data", bearer(&token));
    let callers = join_all((0..CALLERS).map(|_| exchange(to, &request)));
    let release = async {
        arrived(&running, CALLERS as u64).await;
        all_are_here.cancel();
    };
    let (replies, ()) = futures::join!(callers, release);
    let document = format!(
        r#"{{"message":"Service B trusted the token","issuer":"{}","#,
        stub.issuer()
    );
    for reply in replies {
        let reply = reply.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.text().starts_with(&document), "{}", reply.text());
    }
    let (introspections, stats) = (stub.introspections_of(&token), running.stats());
    // One that was started for a request and found it taken may be gone again.
    let live = stats.live_instances_most;
    println!("{CALLERS} callers at once, {live} live instances, {introspections} questions");
    assert!(
        (1..=live).contains(&introspections),
        "{introspections} questions of {live} live instances"
    );
    // At sixteen each they need 25. Spin makes one wherever none is free at that moment, and its
    // pool has room for 500.
    assert!((25..=500).contains(&live), "{live} live instances");
    // Nobody came after the answer.
    assert_eq!((stats.requests, stats.traps), (CALLERS as u64, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_last_instance_of_the_pool_get_a_500_and_are_not_granted() {
    const CALLERS: u64 = 600;
    // Spin's pool has 2000 tables, and the app takes 4 with its auth check.
    const POOL: u64 = 500;
    let stub = stub().await;
    let mut options = support::options(&stub, &PATIENT);
    // The pool is what is short here, and an instance that has served goes.
    options.max_instance_reuse_count = 1;
    // With an engine, and so a pool, of its own.
    let app = load(&repository().join("spin.toml"), Guest::ServiceB);
    let running = app.serve(options).await.unwrap();
    let token = stub.issue(TokenSpec::default());
    let the_pool_is_empty = CancellationToken::new();
    stub.script(
        &token,
        vec![Reaction::normal().held_until(the_pool_is_empty.clone())],
    );
    let request = get("/data", bearer(&token));
    let answered = Cell::new(0);
    let callers = join_all((0..CALLERS).map(async |_| {
        let reply = exchange(running.address(), &request).await;
        answered.set(answered.get() + 1);
        reply
    }));
    let release = async {
        arrived(&running, POOL).await;
        // One that came later would find an instance.
        let refused = async {
            while answered.get() < CALLERS - POOL {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), refused).await.unwrap();
        assert_eq!(running.stats().requests, POOL);
        the_pool_is_empty.cancel();
    };
    let (replies, ()) = futures::join!(callers, release);
    let statuses: Vec<_> = replies
        .into_iter()
        .map(|reply| reply.unwrap().status)
        .collect();
    let count = |status| statuses.iter().filter(|found| **found == status).count() as u64;
    assert_eq!((count(200), count(500)), (POOL, CALLERS - POOL));
    assert_eq!((running.stats().requests, running.stats().traps), (POOL, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_caller_leaves_strands_no_other_request() {
    const FOLLOWERS: u64 = 16;
    let stub = stub().await;
    let running = serve(&stub, &PATIENT).await;
    let token = stub.issue(TokenSpec::default());
    let leader_has_gone = CancellationToken::new();
    stub.script(
        &token,
        vec![Reaction::normal().held_until(leader_has_gone.clone())],
    );
    let request = get("/data", bearer(&token));

    let mut leader = TcpStream::connect(running.address()).await.unwrap();
    leader.write_all(&request).await.unwrap();
    while stub.introspections_of(&token) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Fifteen more fit into the leader's instance, the sixteenth does not.
    let followers = join_all((0..FOLLOWERS).map(|_| exchange(running.address(), &request)));
    let leave = async {
        arrived(&running, FOLLOWERS + 1).await;
        leader.set_zero_linger().unwrap();
        drop(leader);
        tokio::time::sleep(SETTLED).await;
        leader_has_gone.cancel();
    };
    let (replies, ()) = futures::join!(followers, leave);
    for reply in replies {
        assert_eq!(reply.unwrap().status, 200);
    }
    let (introspections, stats) = (stub.introspections_of(&token), running.stats());
    assert!(
        introspections <= stats.live_instances_most,
        "{introspections} questions of {} instances",
        stats.live_instances_most
    );
    assert_eq!((stats.requests, stats.traps), (FOLLOWERS + 1, 0));
}

/// Settings for an issuer that the test holds back.
const PATIENT: [(&str, &str); 2] = [("timeout", "30"), ("first_byte_timeout", "30")];

/// How long whatever was set going gets to come to rest, where nothing tells when it has.
const SETTLED: Duration = Duration::from_millis(300);

/// Waits until that many requests have reached an instance, and wait there for what the stub holds
/// back.
async fn arrived(running: &Running, requests: u64) {
    let begin = Instant::now();
    while running.stats().requests < requests {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "{requests} requests were sent, and {:?} is all",
            running.stats()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(SETTLED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f4_f10_whatever_ails_the_issuer_every_caller_gets_503_in_time() {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let stub = stub().await;
    let running = serve(&stub, &[("timeout", "2"), ("breaker_faults", "0")]).await;
    let troubles = [
        ("hangs", Some(Reaction::hang()), "issuer_timeout"),
        ("resets", Some(Reaction::reset()), "issuer_unreachable"),
        (
            "closes",
            Some(Reaction::drop_connection()),
            "issuer_unreachable",
        ),
        (
            "drips",
            Some(Reaction::drip(None, Duration::from_millis(500))),
            "issuer_timeout",
        ),
        (
            "drips its head",
            Some(Reaction::raw_drip(
                "HTTP/1.1 200 OK\r\n",
                Duration::from_millis(500),
            )),
            "issuer_timeout",
        ),
        (
            "is slow",
            Some(Reaction::normal().after(Duration::from_secs(60))),
            "issuer_timeout",
        ),
        ("is stopped", None, "issuer_unreachable"),
    ];
    for (trouble, reaction, reason) in troubles {
        // Half of the callers share a token, the others have one each.
        let tokens: Vec<_> = (0..25).map(|_| stub.issue(TokenSpec::default())).collect();
        match reaction {
            Some(reaction) => tokens
                .iter()
                .for_each(|token| stub.script(token, vec![reaction.clone()])),
            None => stub.down().await,
        }
        let callers = (0..50).map(|n| {
            let request = get("/data", bearer(&tokens[if n % 2 == 0 { 0 } else { n / 2 }]));
            let to = running.address();
            async move {
                let start = Instant::now();
                (exchange(to, &request).await.unwrap(), start.elapsed())
            }
        });
        for (reply, waited) in join_all(callers).await {
            assert_eq!(
                (reply.status, reply.reason().as_str()),
                (503, reason),
                "the issuer {trouble}"
            );
            assert_eq!(reply.header("retry-after"), ["1"], "the issuer {trouble}");
            assert_eq!(
                reply.header("www-authenticate"),
                [""; 0],
                "the issuer {trouble}"
            );
            assert!(
                waited <= TIMEOUT + Duration::from_secs(1),
                "the issuer {trouble}: {waited:?}"
            );
        }
    }
    stub.up().await.unwrap();
    let token = stub.issue(TokenSpec::default());
    let reply = exchange(running.address(), &get("/data", bearer(&token)))
        .await
        .unwrap();
    assert_eq!(
        reply.status,
        200,
        "once the issuer is back: {}",
        reply.text()
    );
    assert_eq!(running.stats().traps, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn h16_every_byte_in_authorization_gets_an_answer_and_never_a_trap() {
    let stub = stub().await;
    let running = serve(&stub, &[]).await;
    let to = running.address();
    for byte in 0..=u8::MAX {
        // A line break ends the header, as it must.
        if byte == b'\r' || byte == b'\n' {
            continue;
        }
        let values = [
            vec![byte],
            [b"Bearer ".as_slice(), &[byte]].concat(),
            [b"Bearer a".as_slice(), &[byte], b"b"].concat(),
            [b"Bear".as_slice(), &[byte], b"er abc"].concat(),
        ];
        for value in values {
            let reply = exchange(to, &get("/data", &value)).await.unwrap();
            // Spin itself refuses a field that is not UTF-8.
            let expected: &[u16] = match value.is_ascii() {
                true => &[400, 401],
                false => &[500],
            };
            assert!(
                expected.contains(&reply.status),
                "{value:?}: {} {}",
                reply.status,
                reply.text()
            );
        }
    }
    assert_eq!(running.stats().traps, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_unusable_settings_every_request_is_refused_and_the_log_names_the_key() {
    let stub = stub().await;
    let running = serve(&stub, &[("timeout", "0")]).await;
    let token = stub.issue(TokenSpec::default());
    let reply = exchange(running.address(), &get("/data", bearer(&token)))
        .await
        .unwrap();
    assert_eq!(
        (reply.status, reply.reason().as_str()),
        (503, "misconfigured")
    );
    let lines: Vec<_> = running.logs().into_iter().map(|line| line.text).collect();
    assert_eq!(
        lines,
        [
            "auth-check: every request is refused: setting `timeout` (Spin variable auth_timeout) must be a whole number of seconds from 1 to 60"
        ]
    );
    assert_eq!(stub.counters().introspect, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_logs_its_requirements_and_warns_if_there_are_none() {
    let rows: [(&[(&str, &str)], &str); 2] = [
        (
            &[("expected_aud", "orders"), ("require", "audience")],
            "auth-check: required of a token: audience \"orders\", scope any, client any, issuer any, grant type any; \
             rules: none; cache: none",
        ),
        (
            &[],
            "auth-check: warning: nothing is required: every active token of this issuer is accepted; rules: none; \
             cache: none",
        ),
    ];
    let stub = stub().await;
    for (settings, line) in rows {
        let running = serve(&stub, settings).await;
        exchange(running.address(), &get("/data", "Bearer abc"))
            .await
            .unwrap();
        let logs = running.logs().into_iter().map(|line| line.text);
        let logged: Vec<_> = logs.filter(|line| line.contains(" required")).collect();
        assert_eq!(logged, [line]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_was_not_granted_is_not_called() {
    let stub = stub().await;
    let elsewhere = stub.introspect_url().replace("127.0.0.1", "127.0.0.2");
    let running = serve(&stub, &[("introspect_url", elsewhere.as_str())]).await;
    let reply = exchange(running.address(), &get("/data", "Bearer abc"))
        .await
        .unwrap();
    assert_eq!(
        (reply.status, reply.reason().as_str()),
        (503, "issuer_call_denied")
    );
    assert_eq!(running.stats().denied_calls, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_attempts_of_an_introspection_call_carry_the_callers_traceparent() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let stub = stub().await;
    let running = serve(&stub, &[]).await;
    for (sent, expected) in [
        (Some(PARENT), Some(PARENT)),
        (Some("00-0-0-00"), None),
        (None, None),
    ] {
        let token = stub.issue(TokenSpec::default());
        stub.script(&token, vec![Reaction::reset(), Reaction::normal()]);
        let mut request = get("/data", bearer(&token));
        if let Some(line) = sent {
            request.truncate(request.len() - b"\r\n".len());
            request.extend_from_slice(format!("traceparent: {line}\r\n\r\n").as_bytes());
        }
        let reply = exchange(running.address(), &request).await.unwrap();
        assert_eq!(reply.status, 200, "{sent:?}: {}", reply.text());
        let lines: Vec<Vec<_>> = (stub.requests().iter())
            .filter(|request| request.parameter("token") == Some(&token))
            .map(|request| {
                let lines = request.headers.get_all("traceparent").iter();
                lines
                    .map(|line| line.to_str().unwrap().to_owned())
                    .collect()
            })
            .collect();
        let expected: Vec<_> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(lines, [expected.clone(), expected], "{sent:?}");
    }
    assert_eq!(running.stats().traps, 0);
}
