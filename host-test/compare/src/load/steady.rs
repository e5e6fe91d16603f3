//! Latencies at a steady rate below saturation.
//!
//! A request is due at a fixed time, whether the one before has been answered or not. Its latency
//! counts from when it was due if its connection still waited for an answer then, so that a server
//! that stalls is charged for the requests that it held up (coordinated omission); and from when it
//! was sent if the connection was free, so that a timer of ours that is late is not the server's
//! fault. One thread sends and receives, and never sleeps: what waits for a processor on our side
//! would count as the server's.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{
    Bench,
    contender::{Contender, PATH},
    rounds::Achieved,
    spread::Spread,
};

/// A turn of our own loop that takes longer was stopped by the machine.
const STOPPED: Duration = Duration::from_micros(200);

/// Of latencies that are told apart.
const DIGITS: u8 = 3;

/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where something else stops a server for milliseconds now and then, whole rounds show that; the
/// median of windows of this length shows what there is without.
const WINDOW: Duration = Duration::from_millis(100);

/// How much worse the worst hundredth is than the middle, at half of the rate that saturates.
pub(crate) struct Tail {
    /// In whole rounds.
    pub(crate) whole: Option<Spread>,
    /// In windows of 100 ms.
    pub(crate) windows: Option<Spread>,
}

/// Of each of these, in rounds that alternate.
pub(crate) async fn tails<const COUNT: usize>(
    names: [&str; COUNT],
    contenders: &[Contender],
    achieved: &[Achieved],
    bench: &Bench,
) -> Result<[Tail; COUNT]> {
    let mut tails = [const { (Vec::new(), Vec::new()) }; COUNT];
    for _ in 0..bench.options.rounds() {
        for (name, (whole, windows)) in names.iter().zip(&mut tails) {
            let mut all = contenders.iter().zip(achieved);
            let Some((contender, achieved)) = all.find(|(known, _)| known.name == *name) else {
                continue;
            };
            let rate = achieved.rate().map_or(0.0, |rate| rate.median / 2.0);
            let address = contender.address;
            let request = request(contender);
            let (connections, time) = (bench.options.connections, bench.options.load());
            // In a thread of its own: this one may be the issuer's.
            let latencies = tokio::task::spawn_blocking(move || {
                load(address, request.as_bytes(), connections, rate, time)
            });
            let latencies = latencies.await?.with_context(|| contender.name)?;
            let mut all = Histogram::new(DIGITS)?;
            for window in latencies.iter().filter(|window| !window.is_empty()) {
                all.add(window)?;
                windows.push(worst_to_middle(window));
            }
            whole.push(worst_to_middle(&all));
        }
    }
    Ok(tails.map(|(whole, windows)| Tail {
        whole: Spread::of(whole),
        windows: Spread::of(windows),
    }))
}

fn worst_to_middle(latencies: &Histogram<u64>) -> f64 {
    let at = |quantile| latencies.value_at_quantile(quantile);
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds")]
    let ratio = at(0.99) as f64 / at(0.5).max(1) as f64;
    ratio
}

fn request(contender: &Contender) -> String {
    let headers = contender.headers.iter();
    let headers: String = headers
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!(
        "GET {PATH} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n{headers}\r\n",
        contender.address,
        contender.tokens.first()
    )
}

/// Loads a server with so many requests per second in all. Latencies in nanoseconds, in the windows
/// in which the requests were sent.
fn load(
    address: SocketAddr,
    request: &[u8],
    connections: u16,
    per_second: f64,
    time: Duration,
) -> Result<Vec<Histogram<u64>>> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(connections.into());
    let mut lines = (0..connections)
        .map(|number| {
            let mut line = Line::connect(address)?;
            let token = Token(number.into());
            poll.registry()
                .register(&mut line.stream, token, Interest::READABLE)?;
            Ok(line)
        })
        .collect::<Result<Vec<_>>>()?;
    let gap = Duration::from_secs_f64(1.0 / per_second);
    let start = Instant::now();
    let mut latencies = Vec::new();
    for _ in 0..time.as_nanos().div_ceil(WINDOW.as_nanos()) {
        latencies.push(Histogram::new(DIGITS)?);
    }
    let mut due = start;
    let end = start + time;
    let mut turn = 0;
    let mut last = start;
    loop {
        let now = Instant::now();
        let stopped = now.duration_since(last);
        last = now;
        if stopped > STOPPED {
            // We were, and not the server: what was due meanwhile is not made up for.
            due += stopped;
        }
        while due <= now && due < end {
            let next = turn % lines.len();
            lines
                .get_mut(next)
                .context("no connections")?
                .due(due, request)?;
            turn += 1;
            due += gap;
        }
        if due >= end && lines.iter().all(|line| line.waiting.is_empty()) {
            return Ok(latencies);
        }
        ensure!(now < end + PATIENCE, "requests without an answer");
        poll.poll(&mut events, Some(Duration::ZERO))?;
        for event in &events {
            let line = lines.get_mut(event.token().0).context("whose event?")?;
            if let Some(from) = line.read(request)? {
                let number = from.duration_since(start).as_nanos() / WINDOW.as_nanos();
                let number = usize::try_from(number)?.min(latencies.len().saturating_sub(1));
                let window = latencies.get_mut(number).context("no windows")?;
                window.record(u64::try_from(from.elapsed().as_nanos())?)?;
            }
        }
    }
}

/// A connection, on which one request is answered before the next one is sent.
struct Line {
    stream: TcpStream,
    /// From when the latency counts of the request that was sent, then of those that are due.
    waiting: VecDeque<Instant>,
    answer: Vec<u8>,
}

impl Line {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: TcpStream::from_std(stream),
            waiting: VecDeque::new(),
            answer: Vec::new(),
        })
    }

    fn due(&mut self, due: Instant, request: &[u8]) -> Result<()> {
        if self.waiting.is_empty() {
            self.waiting.push_back(Instant::now());
            // It fits into the socket's buffer: nothing else is on its way.
            self.stream.write_all(request)?;
        } else {
            self.waiting.push_back(due);
        }
        Ok(())
    }

    /// From when the request counts whose answer is there now, if one is.
    fn read(&mut self, request: &[u8]) -> Result<Option<Instant>> {
        let mut piece = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => anyhow::bail!("closed within an answer"),
                Ok(count) => self
                    .answer
                    .extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        if !is_complete(&self.answer)? {
            return Ok(None);
        }
        self.answer.clear();
        let from = self.waiting.pop_front().context("an answer to nothing")?;
        if !self.waiting.is_empty() {
            self.stream.write_all(request)?;
        }
        Ok(Some(from))
    }
}

/// Whether this is one answer, which must be a 200.
fn is_complete(bytes: &[u8]) -> Result<bool> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = answer.parse(bytes)? else {
        return Ok(false);
    };
    ensure!(answer.code == Some(200), "answered with {:?}", answer.code);
    let length = answer
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .context("no content-length")?;
    let length: usize = std::str::from_utf8(length.value)?.parse()?;
    Ok(bytes.len() >= start + length)
}
