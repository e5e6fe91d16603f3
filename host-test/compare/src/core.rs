//! The core alone, in this process: a hit among few cached tokens and among many, beside what
//! memory itself costs.

use std::{collections::HashMap, hint::black_box, time::Instant};

use token_check::AuthCheck;

use crate::{
    Bench,
    report::Part,
    spread::Spread,
    target::{Limit, Target},
    typical::{authorization, begin, cached, granted},
};

const FEW: usize = 100;
const MANY: usize = 100_000;

/// Hits in a round, for each number of tokens. Their median counts, so that an interrupt does not.
const HITS: u32 = 20_000;

/// Visits all tokens, in no order that a processor foresees: it has no factor in common with their
/// number.
const STRIDE: usize = 61_803;

/// Measures it. Nothing else of the comparison runs meanwhile.
pub(crate) fn part(bench: &Bench) -> Part {
    let mut targets = Vec::new();
    if bench.options.takes("core/") {
        let (mut few, mut many) = (Cached::tokens(FEW), Cached::tokens(MANY));
        let (mut few_texts, mut many_texts) = (Texts::new(FEW), Texts::new(MANY));
        let mut hits = Vec::new();
        let (mut ratios, mut added, mut added_by_memory) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..bench.options.rounds() {
            let (hit, far) = (few.hits(), many.hits());
            hits.push(hit / 1e3);
            ratios.push(far / hit);
            added.push((far - hit) / 1e3);
            added_by_memory.push((many_texts.reads() - few_texts.reads()) / 1e3);
        }
        targets = vec![
            Target::new(
                "begin on a hit, a token of 100 bytes, µs",
                Limit::AtMost(1.0),
                Spread::of(hits),
            ),
            Target::new(
                "hit among 100 000 tokens / among 100",
                Limit::AtMost(2.0),
                Spread::of(ratios),
            ),
            Target::new(
                "hit among 100 000 tokens: µs more than among 100",
                None,
                Spread::of(added),
            ),
            Target::new(
                "a text copied out of a hash map of 100 000: µs more than of 100",
                None,
                Spread::of(added_by_memory),
            ),
        ];
    }
    Part {
        name: "core",
        title: "The core alone",
        contenders: Vec::new(),
        targets,
    }
}

/// Numbers in the order of the visits.
struct Visits {
    of: usize,
    at: usize,
}

impl Visits {
    fn next(&mut self) -> usize {
        self.at = (self.at + STRIDE) % self.of;
        self.at
    }
}

/// Median of so many, in nanoseconds. `prepare` is not timed.
fn median<T>(mut prepare: impl FnMut() -> T, mut visit: impl FnMut(&T)) -> f64 {
    let mut times = Vec::new();
    for _ in 0..HITS {
        let prepared = prepare();
        let start = Instant::now();
        visit(&prepared);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        times.push(start.elapsed().as_nanos() as f64);
    }
    Spread::of(times).map_or(0.0, |times| times.median)
}

/// What [`median`] itself takes.
fn clock() -> f64 {
    median(|| (), |()| ())
}

struct Cached {
    check: AuthCheck<u32>,
    visits: Visits,
}

impl Cached {
    fn tokens(count: usize) -> Self {
        Self {
            check: cached(count),
            visits: Visits { of: count, at: 0 },
        }
    }

    /// Nanoseconds.
    fn hits(&mut self) -> f64 {
        let Self { check, visits } = self;
        let hit = median(
            // As a request that has just come in: what is far away is the entry.
            || authorization(visits.next()),
            |authorization| drop(granted(begin(check, black_box(authorization)))),
        );
        hit - clock()
    }
}

/// The least that a cache can do: find a text by a number, and copy it.
struct Texts {
    texts: HashMap<usize, Box<[u8]>>,
    visits: Visits,
}

/// As many bytes as an entry has all in: see the test of that.
const ENTRY_BYTES: usize = 483;

impl Texts {
    fn new(count: usize) -> Self {
        let text = [b'a'; ENTRY_BYTES];
        Self {
            texts: (0..count).map(|number| (number, text.into())).collect(),
            visits: Visits { of: count, at: 0 },
        }
    }

    /// Nanoseconds.
    fn reads(&mut self) -> f64 {
        let Self { texts, visits } = self;
        let read = median(
            || visits.next(),
            |number| {
                black_box(texts.get(black_box(number)).cloned());
            },
        );
        read - clock()
    }
}
