//! An open-loop load: requests are due at fixed times, whatever became of those before, and a
//! caller's wait counts from when its request was due.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use host_test::wire::{Reply, read_reply};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use verify_stub::{TokenSpec, VerifyStub};

/// 200 per second.
const EVERY: Duration = Duration::from_millis(5);
/// Open from the start, and used in turn; more are opened when all are in use.
const CONNECTIONS: usize = 16;
const CACHED: usize = 40;
const REVOKED: usize = 5;
/// More than any test makes a caller wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// What kind of token a request comes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Good, and called about before.
    Cached,
    /// Good, and never seen.
    Fresh,
    /// Never issued.
    Unknown,
    /// Good once.
    Revoked,
}

/// Every ten requests: four cached, three fresh, two unknown, one revoked.
const MIX: [Kind; 10] = [
    Kind::Cached,
    Kind::Fresh,
    Kind::Unknown,
    Kind::Cached,
    Kind::Fresh,
    Kind::Cached,
    Kind::Unknown,
    Kind::Revoked,
    Kind::Fresh,
    Kind::Cached,
];

pub(crate) struct Tokens {
    cached: Vec<String>,
    revoked: Vec<String>,
    fresh: VecDeque<String>,
}

impl Tokens {
    pub(crate) fn new(stub: &VerifyStub) -> Self {
        let issue = |count: usize| {
            (0..count)
                .map(|_| stub.issue(TokenSpec::default()))
                .collect()
        };
        Self {
            cached: issue(CACHED),
            revoked: issue(REVOKED),
            // Enough for a minute.
            fresh: issue(60 * 200 * 3 / 10).into(),
        }
    }

    pub(crate) fn revoke(&self, stub: &VerifyStub) {
        self.revoked.iter().for_each(|token| stub.revoke(token));
    }

    /// Brings the tokens that come again to every worker.
    pub(crate) async fn teach(&self, to: SocketAddr) {
        let mut connections = join_all((0..CONNECTIONS).map(|_| connect(to))).await;
        for token in self.cached.iter().chain(&self.revoked) {
            for connection in &mut connections {
                let reply = exchange(connection, token).await;
                assert!(matches!(reply.status, 200 | 401), "{reply:?}");
            }
        }
    }

    fn next(&mut self, number: usize) -> (Kind, String) {
        let kind = MIX[number % MIX.len()];
        let pick = |from: &[String]| from[(number / MIX.len()) % from.len()].clone();
        let token = match kind {
            // Four of them in ten requests: each comes every half a second.
            Kind::Cached => self.cached[(number * 7) % CACHED].clone(),
            Kind::Fresh => self.fresh.pop_front().unwrap(),
            Kind::Unknown => format!("unknown{number}"),
            Kind::Revoked => pick(&self.revoked),
        };
        (kind, token)
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) kind: Kind,
    /// Since the load began.
    pub(crate) due: Duration,
    /// From when it was due.
    pub(crate) waited: Duration,
    pub(crate) status: u16,
    /// Empty: granted.
    pub(crate) reason: String,
}

impl Answer {
    pub(crate) fn is(&self, status: u16, reason: &str) -> bool {
        self.status == status && self.reason == reason
    }
}

pub(crate) struct Load {
    start: Instant,
    task: JoinHandle<Vec<Answer>>,
}

impl Load {
    pub(crate) fn begin(to: SocketAddr, mut tokens: Tokens, time: Duration) -> Self {
        let start = Instant::now() + Duration::from_millis(200);
        let task = tokio::spawn(async move {
            let pool = join_all((0..CONNECTIONS).map(|_| connect(to))).await;
            let pool = Arc::new(Mutex::new(VecDeque::from(pool)));
            let mut callers = Vec::new();
            let mut due = Duration::ZERO;
            while due < time {
                let (kind, token) = tokens.next(callers.len());
                sleep_until(start + due).await;
                let pool = Arc::clone(&pool);
                callers.push(tokio::spawn(async move {
                    let idle = pool.lock().unwrap().pop_front();
                    let mut connection = match idle {
                        Some(connection) => connection,
                        None => connect(to).await,
                    };
                    let reply = exchange(&mut connection, &token).await;
                    let waited = start.elapsed().saturating_sub(due);
                    pool.lock().unwrap().push_back(connection);
                    Answer {
                        kind,
                        due,
                        waited,
                        status: reply.status,
                        reason: reply.reason(),
                    }
                }));
                due += EVERY;
            }
            let answers = join_all(callers).await;
            answers.into_iter().map(Result::unwrap).collect()
        });
        Self { start, task }
    }

    pub(crate) const fn start(&self) -> Instant {
        self.start
    }

    pub(crate) async fn end(self) -> Vec<Answer> {
        self.task.await.unwrap()
    }
}

async fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

async fn exchange(connection: &mut TcpStream, token: &str) -> Reply {
    let request = format!("GET /data HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {token}\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    timeout(PATIENCE, read_reply(connection, false))
        .await
        .unwrap()
        .unwrap()
}

/// Of a sorted list; zero of none.
pub(crate) fn percentile(sorted: &[Duration], percent: f64) -> Duration {
    let rank = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}
