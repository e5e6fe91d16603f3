//! Latencies at a steady rate below saturation.
//!
//! A request is due at a fixed time, whether the one before has been answered or not. Its latency counts from when it was
//! due if its connection still waited for an answer then, so that a server that stalls is charged for the requests that it
//! held up (coordinated omission); and from when it was sent if the connection was free, so that a timer of ours that is
//! late is not the server's fault.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use hdrhistogram::Histogram;

use super::{
    contender::{Contender, PATH},
    options::Options,
    rounds::Achieved,
    spread::Spread,
    target::{Limit, Target},
};

/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much worse the worst hundredth is than the middle, at half of the rate that saturates.
pub(crate) async fn tail(
    name: &str,
    contenders: &[Contender],
    achieved: &[Achieved],
    options: &Options,
) -> Result<Target> {
    let found = contenders
        .iter()
        .zip(achieved)
        .find(|(contender, _)| contender.name == name);
    let mut ratios = Vec::new();
    if let Some((contender, achieved)) = found {
        let rate = achieved.rate().map_or(0.0, |rate| rate.median / 2.0);
        for _ in 0..options.rounds() {
            let address = contender.address;
            let request = request(contender);
            let (connections, time) = (options.connections, options.load());
            // In threads of its own: this one may be the issuer's.
            let latencies = tokio::task::spawn_blocking(move || {
                load(address, request.as_bytes(), connections, rate, time)
            });
            let latencies = latencies.await?.with_context(|| contender.name)?;
            let at = |quantile| latencies.value_at_quantile(quantile);
            #[expect(clippy::cast_precision_loss, reason = "nanoseconds")]
            ratios.push(at(0.99) as f64 / at(0.5).max(1) as f64);
        }
    }
    Ok(Target::new(
        "hit: p99 / p50 at half of the saturation rate",
        Limit::AtMost(5.0),
        Spread::of(ratios),
    ))
}

fn request(contender: &Contender) -> String {
    format!(
        "GET {PATH} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
        contender.address,
        contender.tokens.first()
    )
}

/// Loads a server with so many requests per second in all.
fn load(
    address: SocketAddr,
    request: &[u8],
    connections: u16,
    per_second: f64,
    time: Duration,
) -> Result<Histogram<u64>> {
    let gap = Duration::from_secs_f64(f64::from(connections) / per_second);
    // Time for all to connect.
    let start = Instant::now() + Duration::from_millis(200);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..connections)
            .map(|number| {
                let first = start + gap.mul_f64(f64::from(number) / f64::from(connections));
                scope.spawn(move || connection(address, request, first, gap, start + time))
            })
            .collect();
        let mut all = empty()?;
        for worker in workers {
            let one = worker
                .join()
                .map_err(|_| anyhow!("a connection panicked"))?;
            all.add(one?)?;
        }
        anyhow::Ok(all)
    })
}

/// In nanoseconds.
fn empty() -> Result<Histogram<u64>> {
    Ok(Histogram::new(3)?)
}

fn connection(
    address: SocketAddr,
    request: &[u8],
    first: Instant,
    gap: Duration,
    end: Instant,
) -> Result<Histogram<u64>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut latencies = empty()?;
    let mut due = first;
    let mut buffer = vec![0; 16 * 1024];
    while due < end {
        let wait = due.saturating_duration_since(Instant::now());
        let from = if wait.is_zero() {
            due
        } else {
            thread::sleep(wait);
            Instant::now()
        };
        stream.write_all(request)?;
        read(&mut stream, &mut buffer)?;
        let nanoseconds = u64::try_from(from.elapsed().as_nanos())?;
        latencies.record(nanoseconds)?;
        due += gap;
    }
    Ok(latencies)
}

/// One answer, which must be a 200.
fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    loop {
        let count = stream.read(buffer.get_mut(filled..).unwrap_or_default())?;
        ensure!(
            count > 0,
            "closed within an answer, or one that is too long"
        );
        filled += count;
        let bytes = buffer.get(..filled).unwrap_or_default();
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(start) = answer.parse(bytes)? else {
            continue;
        };
        ensure!(answer.code == Some(200), "answered with {:?}", answer.code);
        let length = answer
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case("content-length"))
            .context("no content-length")?;
        let length: usize = std::str::from_utf8(length.value)?.parse()?;
        if bytes.len() >= start + length {
            return Ok(());
        }
    }
}
