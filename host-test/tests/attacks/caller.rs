//! Callers: a pool of connections, and requests that are due at fixed times whatever became of those
//! before (open loop).

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use host_test::wire::read_reply;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

/// More than any caller has to wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where good callers call from.
pub(crate) const GOOD: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Where the attacker calls from: only Linux has this address without configuration.
pub(crate) const ATTACKER: Ipv4Addr = if cfg!(target_os = "linux") {
    Ipv4Addr::new(127, 0, 0, 2)
} else {
    Ipv4Addr::LOCALHOST
};

/// One of those of an attacker who has many.
pub(crate) const fn one_of_many(number: u8) -> Ipv4Addr {
    let [a, b, c, d] = ATTACKER.octets();
    if cfg!(target_os = "linux") {
        Ipv4Addr::new(a, b, number, d)
    } else {
        Ipv4Addr::new(a, b, c, d)
    }
}

/// What became of a request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// From when it was due.
    pub(crate) waited: Duration,
    pub(crate) status: u16,
    /// Of a refusal; else its status, or why there is no answer.
    pub(crate) reason: String,
}

/// Connections from one address. Idle ones are used in turn, so that every worker of Envoy gets its
/// part.
pub(crate) struct Pool {
    pub(crate) to: SocketAddr,
    from: Ipv4Addr,
    idle: Mutex<VecDeque<TcpStream>>,
}

impl Pool {
    pub(crate) fn new(to: SocketAddr, from: Ipv4Addr) -> Arc<Self> {
        let idle = Mutex::default();
        Arc::new(Self { to, from, idle })
    }

    /// Opens as many, one after the other.
    pub(crate) async fn open(&self, count: usize) {
        for _ in 0..count {
            let stream = connect(self.to, self.from).await.unwrap();
            self.idle.lock().unwrap().push_back(stream);
        }
    }

    /// `GET /data` with this token: status and reason.
    pub(crate) async fn get(&self, token: &str) -> (u16, String) {
        match timeout(PATIENCE, self.exchange(token)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => (0, "connection lost".to_owned()),
            Err(_) => (0, "no answer".to_owned()),
        }
    }

    async fn exchange(&self, token: &str) -> anyhow::Result<(u16, String)> {
        let idle = self.idle.lock().unwrap().pop_front();
        let mut stream = match idle {
            Some(stream) => stream,
            None => connect(self.to, self.from).await?,
        };
        let request =
            format!("GET /data HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let reply = read_reply(&mut stream, false).await?;
        if reply.header("connection") != ["close"] {
            self.idle.lock().unwrap().push_back(stream);
        }
        let reason = reply.reason();
        let reason = if reason.is_empty() {
            reply.status.to_string()
        } else {
            reason
        };
        Ok((reply.status, reason))
    }

    /// One request per `every` for `time`, each with the next of these tokens. With `burst`, that
    /// many at once, as much more seldom. Returns when the last one is answered.
    pub(crate) async fn open_loop(
        self: &Arc<Self>,
        every: Duration,
        burst: u32,
        time: Duration,
        mut token: impl FnMut() -> String,
    ) -> Vec<Answer> {
        let start = Instant::now();
        let mut callers = JoinSet::new();
        let mut due = Duration::ZERO;
        while due < time {
            sleep_until(start + due).await;
            for _ in 0..burst {
                let (pool, token) = (Arc::clone(self), token());
                callers.spawn(async move {
                    let (status, reason) = pool.get(&token).await;
                    Answer {
                        waited: start.elapsed().saturating_sub(due),
                        status,
                        reason,
                    }
                });
            }
            due += every * burst;
        }
        callers.join_all().await
    }
}

pub(crate) async fn connect(to: SocketAddr, from: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((IpAddr::V4(from), 0).into())?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// How often which reason came, as `3 granted, 2 issuer_timeout`.
pub(crate) fn summary<'a>(answers: impl IntoIterator<Item = &'a Answer>) -> String {
    let mut counts = BTreeMap::<_, usize>::new();
    for answer in answers {
        *counts.entry(answer.reason.as_str()).or_default() += 1;
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    counts.join(", ")
}
