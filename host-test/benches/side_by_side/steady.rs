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
use serde::Serialize;

use super::contender::{Contender, PATH};

/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of it, latencies in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Steady {
    pub(crate) requests_per_second: f64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

/// Loads the contender with so many requests per second in all.
pub(crate) fn load(
    contender: &Contender,
    connections: u16,
    per_second: f64,
    time: Duration,
) -> Result<Steady> {
    let request = format!(
        "GET {PATH} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
        contender.address,
        contender.tokens.first()
    );
    let address = contender.address;
    let gap = Duration::from_secs_f64(f64::from(connections) / per_second);
    // Time for all to connect.
    let start = Instant::now() + Duration::from_millis(200);
    let all = thread::scope(|scope| {
        let request = request.as_bytes();
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
    .with_context(|| contender.name)?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let requests_per_second = all.len() as f64 / time.as_secs_f64();
    let at = |quantile| all.value_at_quantile(quantile) / 1000;
    Ok(Steady {
        requests_per_second,
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        max: all.max() / 1000,
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
