//! The filter that ships, in real Envoy with the shipped configuration and two workers, with an echo as the upstream.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use host_test::echo::Echo;
use host_test::envoy::{Envoy, EnvoyOptions};
use host_test::host::KeyValueStore;
use host_test::wire::read_reply;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use super::{Answer, Driver, Host, Memory, Reply, gates, is_audit, issuer_of, settings};
use crate::issuer::Issuers;
use crate::sequence::{Ailment, Gate, REQUESTS, Sequence};
use crate::until;

pub(crate) const WORKERS: u32 = 2;

/// Connections opened until every worker has its own. The kernel deals them out by chance.
const TRIES: usize = 100;

pub(crate) struct RealEnvoy {
    runtime: Handle,
    /// Held while one starts: several at once are no faster, and slow down what is running.
    starting: Mutex<()>,
}

impl RealEnvoy {
    pub(crate) fn new(runtime: &Handle) -> Self {
        Self {
            runtime: runtime.clone(),
            starting: Mutex::default(),
        }
    }
}

impl Driver for RealEnvoy {
    fn name(&self) -> &'static str {
        "envoy"
    }

    fn memory(&self) -> Memory {
        Memory::Two
    }

    fn start(&self, sequence: &Sequence) -> Result<Box<dyn Host>, String> {
        let issuers = Issuers::start(&self.runtime);
        let echo = self.runtime.block_on(Echo::start()).unwrap();
        let mut started = Vec::new();
        for gate in gates(sequence) {
            let issuer = issuer_of(sequence, *gate);
            let options = EnvoyOptions {
                settings: settings(sequence, *gate, issuers.stub(issuer).introspect_url()),
                // Everything goes to the upstream.
                plugin_json: Some(json!({})),
                upstream: echo.address(),
                concurrency: WORKERS,
                ..EnvoyOptions::default()
            };
            let _one_at_a_time = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
            let gate = self.runtime.block_on(async {
                let envoy = Envoy::start(options).await?;
                let connections = connections(&envoy).await?;
                anyhow::Ok(OneGate {
                    issuer,
                    envoy,
                    connections,
                })
            });
            started.push(gate.map_err(|error| format!("{error:#}"))?);
        }
        Ok(Box::new(World {
            runtime: self.runtime.clone(),
            issuers,
            _echo: echo,
            gates: started,
            start: Instant::now(),
        }))
    }
}

/// Connections that take turns between the workers.
async fn connections(envoy: &Envoy) -> anyhow::Result<Vec<TcpStream>> {
    let mut of_worker: [Vec<TcpStream>; WORKERS as usize] = Default::default();
    for _ in 0..TRIES {
        let before = accepted(envoy).await?;
        let connection = TcpStream::connect(envoy.address()).await?;
        let begin = Instant::now();
        let worker = loop {
            let now = accepted(envoy).await?;
            if let Some(worker) = (0..now.len()).find(|worker| now[*worker] > before[*worker]) {
                break worker;
            }
            anyhow::ensure!(begin.elapsed() < Duration::from_secs(10), "nobody accepts");
        };
        of_worker[worker].push(connection);
        if of_worker.iter().all(|own| own.len() >= REQUESTS / 2) {
            let [first, second] = of_worker;
            let pairs = first.into_iter().zip(second).take(REQUESTS / 2);
            return Ok(pairs.flat_map(|(one, other)| [one, other]).collect());
        }
    }
    anyhow::bail!("{TRIES} connections, and all at one worker")
}

/// How many connections each worker has accepted.
async fn accepted(envoy: &Envoy) -> anyhow::Result<[u64; WORKERS as usize]> {
    let stats = envoy.stats().await?;
    Ok(std::array::from_fn(|worker| {
        let end = format!(".worker_{worker}.downstream_cx_total");
        let own = stats
            .iter()
            .filter(|(name, _)| name.starts_with("listener.") && name.ends_with(&end));
        own.map(|(_, count)| count).sum()
    }))
}

struct OneGate {
    issuer: usize,
    envoy: Envoy,
    connections: Vec<TcpStream>,
}

struct World {
    runtime: Handle,
    issuers: Issuers,
    _echo: Echo,
    gates: Vec<OneGate>,
    start: Instant,
}

impl Host for World {
    fn request(
        &mut self,
        gate: Gate,
        token: Option<&str>,
        path: &str,
        nth: usize,
    ) -> Result<Reply, String> {
        let connections = &mut self.gates[gate as usize].connections;
        let at = nth % connections.len();
        let line = token.map(|token| format!("authorization: Bearer {token}\r\n"));
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: service-b.test\r\n{}\r\n",
            line.unwrap_or_default()
        );
        let exchange = async {
            connections[at].write_all(request.as_bytes()).await?;
            read_reply(&mut connections[at], false).await
        };
        let limited = async { tokio::time::timeout(host_test::wire::ANSWER_LIMIT, exchange).await };
        let reply = self
            .runtime
            .block_on(limited)
            .map_err(|error| error.to_string())?;
        Ok(Reply::of_wire(
            &reply.map_err(|error| format!("{error:#}"))?,
        ))
    }

    fn says(&mut self, gate: Gate, token: &str, answer: &Answer) {
        let issuer = self.gates[gate as usize].issuer;
        self.issuers.says(issuer, token, answer);
    }

    fn listens(&mut self, it_does: bool) {
        self.issuers.listens(it_does);
    }

    fn asked(&self, gate: Gate, token: &str) -> u64 {
        let issuer = self.gates[gate as usize].issuer;
        self.issuers.stub(issuer).questions_about(token)
    }

    fn wait(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn unix_seconds(&self) -> i64 {
        crate::unix_seconds()
    }

    fn audit(&self, gate: Gate, lines: usize) -> Vec<String> {
        let envoy = &self.gates[gate as usize].envoy;
        let audit = || -> Vec<String> {
            let log = envoy.log();
            let infos = log.lines().filter(|line| line.contains("[info][wasm]"));
            let ends = infos.filter_map(|line| line.find('{').map(|at| line[at..].to_owned()));
            ends.filter(|line| is_audit(line)).collect()
        };
        // What is missing shows in the lines themselves.
        let _ = until("the lines are there", || audit().len() >= lines);
        audit()
    }

    fn store(&self, _gate: Gate) -> Option<KeyValueStore> {
        None
    }

    fn ails(&mut self, _ailment: Ailment) {
        panic!("what Envoy shares is out of reach");
    }

    fn printed(&self) -> Vec<String> {
        let lines = |gate: &OneGate| -> Vec<String> {
            let log = gate.envoy.log();
            let access = gate.envoy.access_log();
            let access = access.iter().map(ToString::to_string);
            log.lines().map(str::to_owned).chain(access).collect()
        };
        self.gates.iter().flat_map(lines).collect()
    }

    fn healthy(&self) -> Result<(), String> {
        for gate in &self.gates {
            let now = self.runtime.block_on(gate.envoy.vms());
            let now = now.map_err(|error| format!("{error:#}"))?;
            if now != gate.envoy.vms_at_start() {
                return Err(format!("{:?} became {now:?}", gate.envoy.vms_at_start()));
            }
        }
        Ok(())
    }
}
