//! The good callers: what share of them gets in is the figure of each attack.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::join;
use verify_stub::{TokenSpec, VerifyStub};

use crate::{
    caller::{Answer, GOOD, Pool, summary},
    host::Host,
};

/// Calls with tokens that were active before: 40 per second.
const KNOWN_EVERY: Duration = Duration::from_millis(25);
/// How many such tokens there are. Each comes again after 2 s, when its cached result has expired.
const KNOWN: usize = 80;
/// Calls with tokens that were never seen: 15 per second.
const FRESH_EVERY: Duration = Duration::from_micros(66_667);
/// Open from the start. More are opened when all are in use.
const CONNECTIONS: usize = 16;
/// How often each known token comes first, so that every worker gets to know it: connections are not
/// always dealt out to them in turn.
const LESSONS: usize = 6;

/// With a cache that is as short as it can be, the issuer is called for every good request here.
pub(crate) const SHORT_CACHE: [(&str, &str); 2] = [("cache_ttl", "1"), ("negative_cache_ttl", "1")];

pub(crate) struct GoodCallers {
    pool: Arc<Pool>,
    known: Vec<String>,
    fresh: Vec<String>,
}

impl GoodCallers {
    /// Every worker gets to know the known ones.
    pub(crate) async fn prepare(host: &Host, stub: &VerifyStub, time: Duration) -> Self {
        let issue = |count: usize| -> Vec<_> {
            (0..count)
                .map(|_| stub.issue(TokenSpec::default()))
                .collect()
        };
        let pool = Pool::new(host.address(), GOOD);
        pool.open(CONNECTIONS).await;
        let known = issue(KNOWN);
        for token in known.iter().flat_map(|token| [token; LESSONS]) {
            let answer = pool.get(token).await;
            assert_eq!(answer.0, 200, "{answer:?}");
        }
        let fresh = issue(time.div_duration_f64(FRESH_EVERY).ceil() as usize);
        Self { pool, known, fresh }
    }

    /// Calls for so long.
    pub(crate) async fn call(self, time: Duration) -> Figures {
        let next = AtomicUsize::new(0);
        let mut fresh = self.fresh.into_iter();
        let (known, fresh) = join!(
            self.pool.open_loop(KNOWN_EVERY, 1, time, || {
                self.known[next.fetch_add(1, Relaxed) % KNOWN].clone()
            }),
            self.pool.open_loop(FRESH_EVERY, 1, time, || {
                fresh.next().unwrap_or_else(|| unreachable!())
            }),
        );
        Figures { known, fresh }
    }
}

/// What became of the good requests.
pub(crate) struct Figures {
    pub(crate) known: Vec<Answer>,
    pub(crate) fresh: Vec<Answer>,
}

impl Figures {
    /// `granted of all, percent`.
    pub(crate) fn known(&self) -> String {
        shown(&self.known)
    }

    pub(crate) fn fresh(&self) -> String {
        shown(&self.fresh)
    }

    /// Why the others did not get in.
    pub(crate) fn refusals(&self) -> String {
        summary(
            self.known
                .iter()
                .chain(&self.fresh)
                .filter(|answer| answer.status != 200),
        )
    }

    /// The wait that so many percent of all are below.
    pub(crate) fn wait(&self, percent: usize) -> Duration {
        let mut waits: Vec<_> = (self.known.iter().chain(&self.fresh))
            .map(|answer| answer.waited)
            .collect();
        waits.sort_unstable();
        let rank = (waits.len() * percent).div_ceil(100);
        waits[rank.saturating_sub(1)]
    }

    /// The share that the requirement asks for: 99 % of the tokens that were active before, 95 % of
    /// fresh ones.
    pub(crate) fn missed(&self) -> Vec<String> {
        [("known", &self.known, 99), ("fresh", &self.fresh, 95)]
            .into_iter()
            .filter(|(_, answers, percent)| granted(answers) * 100 < answers.len() * percent)
            .map(|(name, answers, percent)| {
                format!("{name} tokens: {}, not {percent} %", shown(answers))
            })
            .collect()
    }
}

fn granted(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == 200).count()
}

fn shown(answers: &[Answer]) -> String {
    let (granted, all) = (granted(answers), answers.len());
    let percent = granted as f64 * 100.0 / all as f64;
    format!("{granted} of {all}, {percent:.1} %")
}
