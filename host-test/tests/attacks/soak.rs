//! Hours of what a day brings, in seconds: tokens that are cached, fresh, unknown and revoked,
//! callers that leave, and an issuer that fails now and then. Memory stays what it is.
//!
//! `cargo test` does it for [`SHORT`]; for longer, and to see the figures:
//!
//! ```text
//! SOAK_MINUTES=30 cargo test --test attacks soak -- --nocapture
//! ```

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{future::join_all, join};
use tokio::{
    io::AsyncWriteExt as _,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use verify_stub::{Endpoint, Reaction, StubOptions, StubResponse, TokenSpec, VerifyStub};

use crate::{
    MACHINE,
    caller::{GOOD, Pool, connect},
    host::{DEFAULT, Host, Kind},
};

/// How long, unless `SOAK_MINUTES` says otherwise.
const SHORT: Duration = Duration::from_secs(18);
const MINUTES: &str = "SOAK_MINUTES";
/// 100 per second.
const EVERY: Duration = Duration::from_millis(10);
/// How long the issuer takes.
const ANSWER: Duration = Duration::from_millis(30);
/// How often the issuer fails at most, and for how long.
const FAILS_EVERY: Duration = Duration::from_secs(20);
const FAILS_FOR: Duration = Duration::from_millis(500);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// It fails in four ways, all of them in each third.
const FAILURES: u32 = 12;
/// Memory may grow by one part in so many after the first third. The short form is too short for
/// more: how many instances of a component there are depends on how busy the machine is.
const PART: u64 = 20;
const PART_OF_SHORT: u64 = 5;

const SETTINGS: [(&str, &str); 5] = [
    ("cache_ttl", "2"),
    ("negative_cache_ttl", "2"),
    // Full after the warm-up of the short form.
    ("cache_entries", "100"),
    ("stale_if_error", "2"),
    ("timeout", "1"),
];

const CACHED: usize = 20;

struct Tokens {
    cached: Vec<String>,
    revoked: String,
}

/// What a request may be answered; a caller that leaves gets none.
async fn request(stub: &VerifyStub, pool: &Pool, tokens: &Tokens, number: usize) -> &'static str {
    let (token, right) = match number % 10 {
        0..4 => (tokens.cached[number / 10 % CACHED].clone(), 200),
        4 | 5 => (stub.issue(TokenSpec::default()), 200),
        6 | 7 => (format!("unknown{number}"), 401),
        8 => (tokens.revoked.clone(), 401),
        _ => {
            let token = stub.issue(TokenSpec::default());
            let request =
                format!("GET /data HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {token}\r\n\r\n");
            let mut stream = connect(pool.to, GOOD).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            // Before, while and after it waits, by a fixed hash of the number.
            let hash = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
            sleep(2 * ANSWER * u32::try_from(hash).unwrap() / 1024).await;
            return "left";
        }
    };
    let (status, reason) = pool.get(&token).await;
    if status == right {
        return if status == 200 { "granted" } else { "refused" };
    }
    // The issuer is failing.
    assert_eq!(status, 503, "{token}: {reason}");
    "unavailable"
}

/// Healthy for the most part.
async fn issuer(stub: &VerifyStub, time: Duration) {
    let normal = || Reaction::normal().after(ANSWER);
    let set = |reaction| stub.script_endpoint(Endpoint::Introspect, vec![reaction]);
    let begin = Instant::now();
    set(normal());
    let every = FAILS_EVERY.min(time / FAILURES);
    let mut round = 0;
    while every * (round + 1) <= time {
        // Half of the interval is left for what comes of it.
        sleep_until(begin + every * round + every / 2).await;
        match round % 4 {
            0 => set(StubResponse::new(http::StatusCode::BAD_GATEWAY).into()),
            1 => set(Reaction::hang()),
            2 => set(Reaction::reset()),
            _ => stub.down().await,
        }
        sleep(FAILS_FOR).await;
        stub.up().await.unwrap();
        set(normal());
        round += 1;
    }
}

async fn soak(kind: Kind, time: Duration) {
    if kind.is_skipped() {
        eprintln!("skipped: SKIP_ENVOY=1");
        return;
    }
    let stub = Arc::new(VerifyStub::start(StubOptions::default()).await.unwrap());
    let host = Host::start(kind, &stub, &SETTINGS, DEFAULT).await;
    let issue = || stub.issue(TokenSpec::default());
    let tokens = Arc::new(Tokens {
        cached: (0..CACHED).map(|_| issue()).collect(),
        revoked: issue(),
    });
    stub.revoke(&tokens.revoked);
    let pool = Pool::new(host.address(), GOOD);

    let load = async {
        let mut counts = BTreeMap::<_, u64>::new();
        let mut callers = JoinSet::new();
        let begin = Instant::now();
        let mut number = 0;
        while begin.elapsed() < time {
            sleep_until(begin + EVERY * u32::try_from(number).unwrap()).await;
            let (stub, pool, tokens) = (Arc::clone(&stub), Arc::clone(&pool), Arc::clone(&tokens));
            callers.spawn(async move { request(&stub, &pool, &tokens, number).await });
            number += 1;
            while let Some(done) = callers.try_join_next() {
                *counts.entry(done.unwrap()).or_default() += 1;
            }
        }
        for done in callers.join_all().await {
            *counts.entry(done).or_default() += 1;
        }
        counts
    };
    // The most in each third; a part of the memory comes and goes with what callers do.
    let watch = async {
        let mut most = [0; 3];
        let begin = Instant::now();
        while begin.elapsed() < time {
            let third = begin.elapsed().as_micros() * 3 / time.as_micros();
            let most = &mut most[usize::try_from(third).unwrap().min(2)];
            *most = host.rss_bytes().max(*most);
            sleep(LOOK).await;
        }
        most
    };
    let (counts, most, ()) = join!(load, watch, issuer(&stub, time));
    println!(
        "| soak, {time:?} | {} | {counts:?} | RSS at most {} KiB in the first third, {} in the second, {} in the last |",
        kind.name(),
        most[0] >> 10,
        most[1] >> 10,
        most[2] >> 10,
    );
    let [_, first, last] = most;
    let part = if time == SHORT { PART_OF_SHORT } else { PART };
    assert!(
        last <= first + first / part,
        "{first} bytes, then {last} bytes"
    );
    for outcome in ["granted", "refused", "left", "unavailable"] {
        assert!(counts.contains_key(outcome), "{counts:?}");
    }
    drop(pool);
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_memory_stays_what_it_was_after_the_warm_up() {
    let time = match std::env::var(MINUTES) {
        Ok(minutes) => Duration::from_secs(60 * minutes.parse::<u64>().unwrap()),
        Err(_) => SHORT,
    };
    let _nobody = MACHINE.write().await;
    join_all(Kind::ALL.map(|kind| soak(kind, time))).await;
}
