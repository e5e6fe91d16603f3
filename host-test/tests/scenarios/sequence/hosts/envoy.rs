//! The filter that ships, in real Envoy with the shipped configuration and two workers, with an
//! echo as the upstream.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use envoy_runner::{Envoy, EnvoyOptions, shipped_config};
use host_test::echo::Echo;
use host_test::wire::read_reply;
use serde_json::{Map, Value, json};
use spin_host::{KeyValueStore, StoreFault};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use super::{Answer, Driver, Host, Memory, Reply, deployments, is_audit, issuer_of, settings};
use crate::fixture::until;
use crate::sequence::issuer::Issuers;
use crate::sequence::row::{Deployment, REQUESTS, Sequence};

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
        let of = |deployment: Deployment| {
            let issuer = issuer_of(sequence, deployment);
            settings(sequence, deployment, issuers.stub(issuer).introspect_url())
        };
        let mut options = EnvoyOptions {
            settings: of(Deployment::First),
            // Everything goes to the upstream.
            plugin_json: Some(json!({})),
            upstream: echo.address(),
            concurrency: WORKERS,
            ..EnvoyOptions::default()
        };
        let mut other = None;
        if sequence.other.is_some() {
            let own = of(Deployment::Other).into_iter();
            let own = own.map(|(key, value)| (key, value.into())).collect();
            let (address, listeners) = two_listeners(own)?;
            let path = "/static_resources/listeners".to_owned();
            options.overrides.push((path, listeners));
            other = Some(address);
        }
        let one_at_a_time = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        let started = self.runtime.block_on(async {
            let envoy = Envoy::start(options).await?;
            let mut started = Vec::new();
            for (deployment, address) in deployments(sequence)
                .iter()
                .zip([Some(envoy.address()), other].into_iter().flatten())
            {
                started.push(RunningDeployment {
                    issuer: issuer_of(sequence, *deployment),
                    connections: connections(&envoy, address).await?,
                });
            }
            anyhow::Ok((envoy, started))
        });
        drop(one_at_a_time);
        let (envoy, deployments) = started.map_err(|error| format!("{error:#}"))?;
        if other == Some(envoy.address()) {
            return Err("the other listener is taken for the first one".to_owned());
        }
        Ok(Box::new(RunningHost {
            runtime: self.runtime.clone(),
            issuers,
            _echo: echo,
            envoy,
            deployments,
            start: Instant::now(),
        }))
    }
}

/// The listener that ships and one beside it with these settings, and where that one listens. What
/// the workers of both auth checks share is in the same slots: they have the same `vm_id`. Since the
/// environment, and with it the secret, belongs to the VM, each has VMs of its own.
fn two_listeners(mut settings: Map<String, Value>) -> Result<(SocketAddr, Value), String> {
    const FILTER: &str = "/filter_chains/0/filters/0/typed_config/http_filters";
    const SECRET: &str = "WORKOUT18_RESOURCE_CLIENT_SECRET";
    let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    let address = free.map_err(|error| error.to_string())?;
    let secret = settings.remove("resource_client_secret");
    let mut shipped = shipped_config().map_err(|error| format!("{error:#}"))?;
    let mut listener = |port: u16, name: &str, settings: &Value, secret: Option<Value>| {
        let listener = shipped.pointer_mut("/static_resources/listeners/0")?;
        listener["name"] = name.into();
        *listener.pointer_mut("/address/socket_address/port_value")? = port.into();
        let mut filters = listener.pointer_mut(FILTER)?.as_array_mut()?.iter_mut();
        let filter = filters.find(|filter| filter["name"] == "auth_check")?;
        let plugin = filter.pointer_mut("/typed_config/config")?;
        plugin["configuration"]["value"] = settings.to_string().into();
        if let Some(secret) = secret {
            let vm = &mut plugin["vm_config"];
            vm["configuration"] = json!({
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": name,
            });
            let environment = &mut vm["environment_variables"];
            let keys = environment["host_env_keys"].as_array_mut()?;
            keys.retain(|key| key != SECRET);
            environment["key_values"] = json!({ SECRET: secret });
        }
        Some(listener.clone())
    };
    let listeners = [
        listener(0, "service_b", &json!({}), None),
        listener(address.port(), "other", &settings.into(), secret),
    ];
    let [Some(first), Some(other)] = listeners else {
        return Err("envoy.yaml has no such listener".to_owned());
    };
    Ok((address, json!([first, other])))
}

/// Connections that take turns between the workers.
pub(crate) async fn connections(envoy: &Envoy, to: SocketAddr) -> anyhow::Result<Vec<TcpStream>> {
    let mut of_worker: [Vec<TcpStream>; WORKERS as usize] = Default::default();
    for _ in 0..TRIES {
        let before = accepted(envoy).await?;
        let connection = TcpStream::connect(to).await?;
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

struct RunningDeployment {
    issuer: usize,
    connections: Vec<TcpStream>,
}

struct RunningHost {
    runtime: Handle,
    issuers: Issuers,
    _echo: Echo,
    envoy: Envoy,
    deployments: Vec<RunningDeployment>,
    start: Instant,
}

impl Host for RunningHost {
    fn request(
        &mut self,
        deployment: Deployment,
        token: Option<&str>,
        path: &str,
        nth: usize,
    ) -> Result<Reply, String> {
        let connections = &mut self.deployments[deployment as usize].connections;
        let at = nth % connections.len();
        let line = token.map(|token| format!("authorization: Bearer {token}\r\n"));
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\n{}\r\n",
            deployment.host(),
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

    fn responds(&mut self, deployment: Deployment, token: &str, answer: &Answer) {
        let issuer = self.deployments[deployment as usize].issuer;
        self.issuers.responds(issuer, token, answer);
    }

    fn listens(&mut self, it_does: bool) {
        self.issuers.listens(it_does);
    }

    fn introspections(&self, deployment: Deployment, token: &str) -> u64 {
        let issuer = self.deployments[deployment as usize].issuer;
        self.issuers.stub(issuer).introspections_of(token)
    }

    fn wait(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn unix_seconds(&self) -> i64 {
        crate::fixture::unix_seconds()
    }

    fn audit(&self, deployment: Deployment, lines: usize) -> Vec<String> {
        let audit = || -> Vec<String> {
            let log = self.envoy.log();
            let infos = log.lines().filter(|line| line.contains("[info][wasm]"));
            let ends = infos.filter_map(|line| Some(format!("{{{}", line.split_once('{')?.1)));
            ends.filter(|line| is_audit(line, deployment)).collect()
        };
        // What is missing shows in the lines themselves.
        let _ = until("the lines are there", || audit().len() >= lines);
        audit()
    }

    fn store(&self, _gate: Deployment) -> Option<KeyValueStore> {
        None
    }

    fn set_store_fault(&mut self, _fault: Option<StoreFault>) {
        panic!("what Envoy shares is out of reach");
    }

    fn printed(&self) -> Vec<String> {
        let log = self.envoy.log();
        let access = self.envoy.access_log();
        let access = access.iter().map(ToString::to_string);
        log.lines().map(str::to_owned).chain(access).collect()
    }

    fn healthy(&self) -> Result<(), String> {
        let now = self.runtime.block_on(self.envoy.vms());
        let now = now.map_err(|error| format!("{error:#}"))?;
        if now == self.envoy.vms_at_start() {
            return Ok(());
        }
        Err(format!("{:?} became {now:?}", self.envoy.vms_at_start()))
    }
}
