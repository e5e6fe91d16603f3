//! One caller against all, section B of docs/threat-model.md: each attack for a few seconds,
//! against real Envoy with the shipped configuration and against the embedded host, while good
//! callers call at a fixed rate. The figure is the share of those who get in.
//!
//! Prints a row per attack and host:
//!
//! ```text
//! cargo test --test attacks -- --nocapture
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do"
)]

mod caller;
mod good;
mod host;
mod http2;
mod soak;

use std::{
    sync::{Arc, atomic::AtomicBool, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures::{future::join_all, join};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use tokio::{
    sync::RwLock,
    time::{Instant, sleep, sleep_until},
};
use verify_stub::{Endpoint, Reaction, StubOptions, StubResponse, TokenSpec, VerifyStub};

use crate::{
    caller::{ATTACKER, Answer, Pool, one_of_many, summary},
    good::{Figures, GoodCallers, SHORT_CACHE},
    host::{Host, Kind, LASTING},
    http2::Http2,
};

/// How long the good callers call. The attack begins a second later.
const TIME: Duration = Duration::from_secs(6);
const CALM: Duration = Duration::from_secs(1);
/// How long the issuer takes for an answer when callers flood it.
const SLOW: Duration = Duration::from_secs(1);
/// At once, as much more seldom.
const BURST: u32 = 10;
/// Longer than [`SLOW`]; the shorter, the sooner a run is over.
const TIMEOUT: [(&str, &str); 1] = [("timeout", "3")];
/// Light attacks run side by side. One that keeps the machine busy runs alone.
static MACHINE: RwLock<()> = RwLock::const_new(());

struct Lab {
    kind: Kind,
    stub: VerifyStub,
    host: Host,
    attacker: Arc<Pool>,
}

/// What an attack has to report besides the good callers' figures.
#[derive(Default)]
struct Report {
    notes: Vec<String>,
    /// What must not have happened.
    missed: Vec<String>,
}

impl Report {
    fn note(note: String) -> Self {
        Self {
            notes: vec![note],
            ..Self::default()
        }
    }
}

/// Runs it against both hosts at the same time.
async fn light(name: &str, settings: &[(&str, &str)], attack: impl AsyncFn(&Lab) -> Report) {
    let _others = MACHINE.read().await;
    run_all(name, settings, attack).await;
}

/// The same, with nothing else on the machine.
async fn heavy(name: &str, settings: &[(&str, &str)], attack: impl AsyncFn(&Lab) -> Report) {
    let _nobody = MACHINE.write().await;
    run_all(name, settings, attack).await;
}

/// With a crowd that takes every place for strangers, against one host after the other, and nothing
/// else on the machine.
async fn heaviest(name: &str, settings: &[(&str, &str)], attack: impl AsyncFn(&Lab) -> Report) {
    let _nobody = MACHINE.write().await;
    let mut missed = Vec::new();
    for kind in Kind::ALL {
        let of_all = run(name, kind, settings, &attack).await;
        // In Envoy a fresh token is one of the crowd, until there is room again.
        missed.extend(
            of_all
                .into_iter()
                .filter(|missed| kind == Kind::Embedded || !missed.contains("fresh tokens")),
        );
    }
    is_held(&missed);
}

async fn run_all(name: &str, settings: &[(&str, &str)], attack: impl AsyncFn(&Lab) -> Report) {
    let runs = Kind::ALL.map(|kind| run(name, kind, settings, &attack));
    is_held(&join_all(runs).await.concat());
}

fn is_held(missed: &[String]) {
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// What was missed.
async fn run(
    name: &str,
    kind: Kind,
    settings: &[(&str, &str)],
    attack: &impl AsyncFn(&Lab) -> Report,
) -> Vec<String> {
    if kind.is_skipped() {
        eprintln!("skipped: SKIP_ENVOY=1");
        return Vec::new();
    }
    let stub = VerifyStub::start(StubOptions::default()).await.unwrap();
    let settings = [&SHORT_CACHE, settings].concat();
    let host = Host::start(kind, &stub, &settings, LASTING).await;
    let good = GoodCallers::prepare(&host, &stub, TIME).await;
    let attacker = Pool::new(host.address(), ATTACKER);
    // One for either worker of Envoy.
    attacker.open(2).await;
    let lab = Lab {
        kind,
        stub,
        host,
        attacker,
    };
    let attack = async {
        sleep(CALM).await;
        attack(&lab).await
    };
    let (figures, report) = join!(good.call(TIME), attack);
    let host = kind.name();
    print(name, host, &figures, &report.notes);
    let mut missed = figures.missed();
    missed.extend(report.missed);
    drop(lab.attacker);
    // Envoy 1.40 may crash if it is told to exit while it has thousands of connections.
    sleep(CALM).await;
    lab.host.finish().await;
    missed
        .iter()
        .map(|missed| format!("{name}, {host}: {missed}"))
        .collect()
}

/// A row of the table in docs/threat-model.md.
fn print(name: &str, host: &str, figures: &Figures, notes: &[String]) {
    println!(
        "| {name} | {host} | {} | {} | {:.0?} / {:.0?} | {} | {} |",
        figures.known(),
        figures.fresh(),
        figures.wait(50),
        figures.wait(99),
        figures.refusals(),
        notes.join("; "),
    );
}

/// 503 and 429, in turn, with the longest `Retry-After` that is obeyed.
fn wait_a_minute() -> Vec<Reaction> {
    [
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::TOO_MANY_REQUESTS,
    ]
    .map(|status| StubResponse::new(status).header(RETRY_AFTER, HeaderValue::from_static("60")))
    .map(Reaction::respond)
    .into()
}

/// `count` requests at once and the same again after half of the time: what an attacker does twice a
/// minute.
async fn twice(lab: &Lab, tokens: &[&str]) -> Report {
    let begin = Instant::now();
    for token in tokens {
        lab.stub.script(token, wait_a_minute());
    }
    let mut statuses = Vec::new();
    for round in 0..2 {
        sleep_until(begin + round * TIME / 2).await;
        // Each twice, on either worker of Envoy.
        for token in tokens.iter().flat_map(|token| [token, token]) {
            statuses.push(lab.attacker.get(token).await.1);
        }
    }
    Report::note(format!("attacker: {}", statuses.join(", ")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_a_retry_after_about_one_token_holds_back_no_other() {
    light("B1 one token", &[], async |lab| {
        twice(lab, &["attacker"]).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_a_retry_after_about_several_tokens_of_one_caller_holds_back_no_other() {
    light("B1 three tokens", &[], async |lab| {
        twice(lab, &["attacker", "attacker2", "attacker3"]).await
    })
    .await;
}

/// A hundred tokens on which the issuer fails, in bursts of ten, fifty per second.
async fn faults(lab: &Lab, reaction: &Reaction) -> Report {
    const TOKENS: u32 = 100;
    const EVERY: Duration = Duration::from_millis(20);
    let name = |number: u32| format!("attacker{}", number % TOKENS);
    for number in 0..TOKENS {
        lab.stub.script(&name(number), vec![reaction.clone()]);
    }
    let mut next = 0;
    let token = || {
        next += 1;
        name(next)
    };
    let time = TIME - CALM;
    let answers = lab.attacker.open_loop(EVERY, BURST, time, token).await;
    Report::note(format!("attacker: {}", summary(&answers)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_connections_that_are_reset_for_some_tokens_hold_back_no_other() {
    light("B2 resets", &[], async |lab| {
        faults(lab, &Reaction::reset()).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_calls_that_are_never_answered_for_some_tokens_hold_back_no_other() {
    light("B2 timeouts", &[("timeout", "2")], async |lab| {
        faults(lab, &Reaction::hang()).await
    })
    .await;
}

/// Tokens that nobody issued, each once.
fn random() -> impl FnMut() -> String {
    let mut number = 0;
    move || {
        number += 1;
        format!("random{number}")
    }
}

/// The issuer answers everybody after a second.
fn slow(stub: &VerifyStub) {
    stub.script_endpoint(Endpoint::Introspect, vec![Reaction::normal().after(SLOW)]);
}

/// 400 per second; half of it for the embedded host, which is not optimised in tests.
async fn flood(lab: &Lab, time: Duration) -> Vec<Answer> {
    let every = match lab.kind {
        Kind::Envoy => Duration::from_micros(2500),
        // It is not optimized, and must not be what is short of processor time.
        Kind::Embedded => Duration::from_micros(10_000),
    };
    lab.attacker.open_loop(every, BURST, time, random()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_a_flood_of_random_tokens_shuts_out_no_good_one() {
    heavy("B3 flood", &TIMEOUT, async |lab| {
        slow(&lab.stub);
        let answers = flood(lab, TIME - CALM).await;
        Report::note(format!("attacker: {}", summary(&answers)))
    })
    .await;
}

/// Requests over HTTP/2 with tokens that nobody issued.
struct Crowd {
    /// The length of a token, in bytes.
    token: usize,
    connections: u8,
    /// Between two connections.
    every: Duration,
}

impl Crowd {
    const STREAMS: usize = 100;
    /// For an answer; then the connection is closed.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// As many as this machine can bear with good callers beside them.
    const fn for_good_callers(kind: Kind) -> Self {
        match kind {
            Kind::Envoy => Self {
                token: 1024,
                connections: 40,
                every: Duration::from_millis(100),
            },
            // Spin's pool has room for 500 instances, and makes one for each of many requests that
            // come at once.
            Kind::Embedded => Self {
                token: 1024,
                connections: 10,
                every: Duration::from_millis(400),
            },
        }
    }

    /// Each connection comes from an address of its own: limits for one address do not help. What
    /// became of the requests, and the most memory that the host had.
    async fn come(&self, host: &Host) -> (String, u64) {
        let to = host.address();
        let connections = (0..self.connections).map(async |connection| {
            sleep(self.every * u32::from(connection)).await;
            let mut http2 = Http2::connect(to, one_of_many(connection)).await;
            let tokens = (0..Self::STREAMS)
                .map(|stream| format!("{:0>1$}", format!("{connection}x{stream}"), self.token));
            http2.send(tokens, false).await;
            http2.bodies(Self::STREAMS, Self::PATIENCE).await
        });
        let is_over = AtomicBool::new(false);
        let crowd = async {
            let bodies = join_all(connections).await.concat();
            is_over.store(true, Relaxed);
            bodies
        };
        let watch = async {
            let mut most = 0;
            while !is_over.load(Relaxed) {
                most = host.rss_bytes().max(most);
                sleep(Duration::from_millis(20)).await;
            }
            most
        };
        let (bodies, most) = join!(crowd, watch);
        let bodies = String::from_utf8_lossy(&bodies);
        let reasons = [
            "inactive",
            "too_busy",
            "issuer_timeout",
            "issuer_circuit_open",
        ]
        .map(|reason| format!("{} {reason}", count(&bodies, reason)));
        let all = usize::from(self.connections) * Self::STREAMS;
        (format!("attacker, of {all}: {}", reasons.join(", ")), most)
    }
}

fn count(bodies: &str, reason: &str) -> usize {
    bodies.matches(&format!(r#""reason":"{reason}""#)).count()
}

const fn mebi(bytes: u64) -> u64 {
    bytes >> 20
}

/// With fewer calls and places than as shipped, so that a crowd that this machine can bear takes all
/// that strangers may have.
const FEW_PLACES: [(&str, &str); 3] = [
    ("timeout", "3"),
    ("max_calls", "256"),
    ("max_waiting", "1024"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes more processor time than a busy machine has: run it alone"]
async fn b3_a_crowd_that_takes_every_place_for_strangers_shuts_out_no_known_token() {
    const GIVEN_BACK: Duration = Duration::from_secs(3);
    let name = "B3 crowd";
    let attack = async |lab: &Lab| {
        slow(&lab.stub);
        let crowd = Crowd::for_good_callers(lab.kind);
        let before = lab.host.rss_bytes();
        let (came, most) = crowd.come(&lab.host).await;
        sleep(GIVEN_BACK).await;
        let after = lab.host.rss_bytes();
        let [before, most, after] = [before, most, after].map(mebi);
        let memory = format!("RSS {before} MiB before, {most} at most, {after} after");
        Report {
            notes: vec![came, memory],
            ..Report::default()
        }
    };
    heaviest(name, &FEW_PLACES, attack).await;
}

/// Memory that 9000 requests at once take in Envoy, as shipped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_thousands_of_requests_with_long_tokens_take_bounded_memory() {
    /// 6144 of them wait, at most, in two workers, each with a token of 8 KB that is in memory
    /// several times.
    const MOST: u64 = 400 << 20;
    let _nobody = MACHINE.write().await;
    if Kind::Envoy.is_skipped() {
        eprintln!("skipped: SKIP_ENVOY=1");
        return;
    }
    let stub = VerifyStub::start(StubOptions::default()).await.unwrap();
    let host = Host::start(Kind::Envoy, &stub, &TIMEOUT, LASTING).await;
    slow(&stub);
    let crowd = Crowd {
        token: 8192,
        connections: 90,
        every: Duration::ZERO,
    };
    let before = host.rss_bytes();
    let (first, most) = crowd.come(&host).await;
    let (second, most_again) = crowd.come(&host).await;
    println!(
        "| B3 9000 long tokens, twice | Envoy | {first}; {second}; RSS {} MiB before, {} at most, {} the second time |",
        mebi(before),
        mebi(most),
        mebi(most_again)
    );
    assert!(most <= before + MOST, "{} MiB", mebi(most));
    assert!(
        most_again <= most + most / 5,
        "{} MiB, then {}",
        mebi(most),
        mebi(most_again)
    );
    sleep(CALM).await;
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b3_streams_that_are_reset_at_once_call_no_issuer() {
    const STREAMS: usize = 800;
    /// Those that are sent before the reset is read.
    const CALLS: u64 = 20;
    light("B3 rapid reset", &[], async |lab| {
        let tokens: Vec<_> = (0..STREAMS)
            .map(|stream| format!("reset{stream}"))
            .collect();
        let mut http2 = Http2::connect(lab.host.address(), ATTACKER).await;
        let bytes = http2.send(tokens.iter().cloned(), true).await;
        sleep(2 * CALM).await;
        let calls: u64 = (tokens.iter())
            .map(|token| lab.stub.introspections_of(token))
            .sum();
        let calls = (
            calls,
            format!("{calls} calls for {bytes} bytes on one connection"),
        );
        Report {
            missed: if calls.0 <= CALLS {
                vec![]
            } else {
                vec![calls.1.clone()]
            },
            notes: vec![calls.1],
        }
    })
    .await;
}

const STALE: [(&str, &str); 2] = [("stale_if_error", "600"), ("timeout", "3")];

/// A token is revoked when the attack is under way, and tried again and again. Its cached result is
/// over by then, so it must not be granted once.
async fn revoked(lab: &Lab, attack: impl AsyncFnOnce(&str)) -> Report {
    const EVERY: Duration = Duration::from_millis(50);
    const UNDER_WAY: Duration = Duration::from_secs(3);
    let token = lab.stub.issue(TokenSpec::default());
    for _ in 0..2 {
        assert_eq!(lab.attacker.get(&token).await.0, 200);
    }
    let tries = async {
        sleep(UNDER_WAY).await;
        lab.stub.revoke(&token);
        let time = TIME - CALM - UNDER_WAY;
        let token = || token.clone();
        lab.attacker.open_loop(EVERY, 1, time, token).await
    };
    let (tries, ()) = join!(tries, attack(&token));
    let granted = tries.iter().filter(|answer| answer.status == 200).count();
    let all = tries.len();
    let note = format!(
        "revoked token granted {granted} of {all} times: {}",
        summary(&tries)
    );
    Report {
        missed: if granted == 0 {
            vec![]
        } else {
            vec![note.clone()]
        },
        notes: vec![note],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_a_retry_after_for_other_tokens_keeps_no_revoked_one_alive() {
    light("B4 Retry-After", &STALE, async |lab| {
        revoked(lab, async |_| {
            drop(twice(lab, &["attacker", "attacker2"]).await)
        })
        .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes more processor time than a busy machine has: run it alone"]
async fn b4_a_flood_keeps_no_revoked_token_alive() {
    heavy("B4 flood", &STALE, async |lab| {
        revoked(lab, async |_| {
            slow(&lab.stub);
            flood(lab, TIME - CALM).await;
        })
        .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes more processor time than a busy machine has: run it alone"]
async fn b4_a_crowd_keeps_no_revoked_token_alive() {
    let settings = [&FEW_PLACES[..], &STALE].concat();
    heaviest("B4 crowd", &settings, async |lab| {
        revoked(lab, async |_| {
            slow(&lab.stub);
            Crowd::for_good_callers(lab.kind).come(&lab.host).await;
        })
        .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_an_error_of_the_issuer_about_one_token_does_not_keep_it_alive() {
    light("B4 500 for the token", &STALE, async |lab| {
        revoked(lab, async |token| {
            let error = StubResponse::new(StatusCode::INTERNAL_SERVER_ERROR);
            lab.stub.script(token, vec![error.into()]);
        })
        .await
    })
    .await;
}

/// The issuer answers everybody, after two thirds of the timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_an_issuer_that_is_only_slow_keeps_no_revoked_token_alive() {
    light("B4 slow issuer", &STALE, async |lab| {
        revoked(lab, async |_| {
            let late = Reaction::normal().after(2 * SLOW);
            lab.stub.script_endpoint(Endpoint::Introspect, vec![late]);
        })
        .await
    })
    .await;
}

/// For some tokens the issuer does not answer, once; it answers all others in three fifths of the timeout.
/// A token that is used all the time gets in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_calls_that_hang_once_hold_no_token_back_for_good() {
    const BURST: u32 = 64;
    const AT_ONCE: Duration = Duration::from_millis(1);
    const OVER: Duration = Duration::from_millis(2_100);
    const EVERY: Duration = Duration::from_millis(150);
    const OTHERS: Duration = Duration::from_millis(1_300);
    const LONG: Duration = Duration::from_secs(15);
    let settings = [("timeout", "2"), ("cache_ttl", "0")];
    let _others = MACHINE.read().await;
    let mut missed = Vec::new();
    for kind in Kind::ALL {
        if kind.is_skipped() {
            eprintln!("skipped: SKIP_ENVOY=1");
            continue;
        }
        let stub = VerifyStub::start(StubOptions::default()).await.unwrap();
        let host = Host::start(kind, &stub, &settings, LASTING).await;
        let [attacker, good] = [(); 2].map(|()| Pool::new(host.address(), ATTACKER));
        // More than are in use at a time: they lead to both workers of Envoy in turn.
        good.open(60).await;
        let late = Reaction::normal().after(Duration::from_millis(1_200));
        stub.script_endpoint(Endpoint::Introspect, vec![late]);
        let names: Vec<_> = (0..BURST)
            .map(|number| format!("attacker{number}"))
            .collect();
        for name in &names {
            stub.script(name, vec![Reaction::hang()]);
        }
        let mut next = names.iter().cloned();
        let token = || next.next().unwrap_or_default();
        let burst = attacker.open_loop(AT_ONCE, BURST, AT_ONCE, token).await;
        let token = stub.issue(TokenSpec::default());
        let others: Vec<_> = (0..20).map(|_| stub.issue(TokenSpec::default())).collect();
        let mut other = others.iter().cloned();
        sleep(OVER.saturating_sub(Duration::from_secs(2))).await;
        let (same, others) = join!(good.open_loop(EVERY, 1, LONG, || token.clone()), async {
            sleep(CALM).await;
            let each = || other.next().unwrap_or_default();
            good.open_loop(OTHERS, 1, LONG - CALM, each).await
        },);
        println!(
            "| B2 hang once | {} | attacker: {} | the same token: {} | others, each once: {} |",
            kind.name(),
            summary(&burst),
            summary(&same),
            summary(&others)
        );
        let granted = same.iter().filter(|answer| answer.status == 200).count();
        if granted * 2 < same.len() {
            missed.push(format!(
                "{}: {granted} of {} granted",
                kind.name(),
                same.len()
            ));
        }
        sleep(CALM).await;
        host.finish().await;
    }
    is_held(&missed);
}
