//! The component that ships, in the embedded host, with the echo app behind it: in one instance, or
//! in one instance per request with a key-value store between them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use host_test::wire::{exchange, get};
use spin_host::{KeyValueStore, Running, ServeOptions, StoreFault};
use tokio::runtime::Handle;

use super::{Answer, Driver, Host, Memory, Reply, deployments, is_audit, issuer_of, settings};
use crate::fixture::app;
use crate::fixture::log::Log;
use crate::fixture::until;
use crate::sequence::issuer::Issuers;
use crate::sequence::row::{Deployment, Sequence};

const STORE: &str = "default";

pub(crate) struct Component {
    runtime: Handle,
    log: Log,
    has_memory: bool,
}

/// The driver of one instance, and that of many.
pub(crate) fn drivers(runtime: &Handle, log: &Log) -> [Component; 2] {
    [true, false].map(|has_memory| Component {
        runtime: runtime.clone(),
        log: log.clone(),
        has_memory,
    })
}

impl Driver for Component {
    fn name(&self) -> &'static str {
        if self.has_memory {
            "component"
        } else {
            "instances"
        }
    }

    fn memory(&self) -> Memory {
        if self.has_memory {
            Memory::One
        } else {
            Memory::Store
        }
    }

    fn start(&self, sequence: &Sequence) -> Result<Box<dyn Host>, String> {
        let app = app::shared()?;
        let issuers = Issuers::start(&self.runtime);
        let deployments = deployments(sequence).iter().map(|deployment| {
            let issuer = issuer_of(sequence, *deployment);
            let url = issuers.stub(issuer).introspect_url();
            let mut options = ServeOptions {
                environment: Some(BTreeMap::new()),
                variables: settings(sequence, *deployment, url),
                ..ServeOptions::default()
            };
            if self.has_memory {
                // The same instance from the first step to the last one.
                options.max_instance_reuse_count = usize::MAX;
                options.idle_instance_timeout = Duration::from_secs(600);
            } else {
                options.max_instance_reuse_count = 1;
                let store = ("cache_store".to_owned(), STORE.to_owned());
                options.variables.extend([store]);
            }
            let running = self.runtime.block_on(app.serve(options));
            Ok((issuer, running.map_err(|error| format!("{error:#}"))?))
        });
        let deployments = deployments.collect::<Result<_, String>>()?;
        Ok(Box::new(RunningHost {
            runtime: self.runtime.clone(),
            log: self.log.clone(),
            has_memory: self.has_memory,
            requests: 0,
            issuers,
            deployments,
            start: Instant::now(),
        }))
    }
}

struct RunningHost {
    runtime: Handle,
    log: Log,
    has_memory: bool,
    requests: u64,
    issuers: Issuers,
    /// With the issuer that each calls.
    deployments: Vec<(usize, Running)>,
    start: Instant,
}

impl Host for RunningHost {
    fn request(
        &mut self,
        deployment: Deployment,
        token: Option<&str>,
        path: &str,
        _nth: usize,
    ) -> Result<Reply, String> {
        let (_, running) = &self.deployments[deployment as usize];
        self.requests += 1;
        let bearer = token.map(|token| format!("Bearer {token}"));
        let request = String::from_utf8(get(path, bearer.unwrap_or_default())).unwrap();
        let request = request.replacen(Deployment::First.host(), deployment.host(), 1);
        let reply = self
            .runtime
            .block_on(exchange(running.address(), request.as_bytes()))
            .map_err(|error| format!("{error:#}"))?;
        if !self.has_memory {
            // It writes into the store when its caller has its answer already.
            until("the instance is gone", || {
                running.stats().live_instances == 0
            })?;
        }
        Ok(Reply::of_wire(&reply))
    }

    fn responds(&mut self, deployment: Deployment, token: &str, answer: &Answer) {
        let (issuer, _) = self.deployments[deployment as usize];
        self.issuers.responds(issuer, token, answer);
    }

    fn listens(&mut self, it_does: bool) {
        self.issuers.listens(it_does);
    }

    fn introspections(&self, deployment: Deployment, token: &str) -> u64 {
        let (issuer, _) = self.deployments[deployment as usize];
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
        let (_, running) = &self.deployments[deployment as usize];
        let audit = || -> Vec<String> {
            let texts = running.logs().into_iter().map(|line| line.text);
            texts.filter(|line| is_audit(line, deployment)).collect()
        };
        // What is missing shows in the lines themselves.
        let _ = until("the lines are there", || audit().len() >= lines);
        audit()
    }

    fn store(&self, deployment: Deployment) -> Option<KeyValueStore> {
        self.deployments[deployment as usize]
            .1
            .key_value_store(STORE)
    }

    fn set_store_fault(&mut self, fault: Option<StoreFault>) {
        let Some(store) = self.store(Deployment::First) else {
            return;
        };
        match fault {
            Some(fault) => store.break_with(fault),
            None => store.mend(),
        }
    }

    fn printed(&self) -> Vec<String> {
        let deployments = self.deployments.iter();
        let guests = deployments.flat_map(|(_, running)| running.logs());
        guests
            .map(|line| line.text)
            .chain(self.log.lines())
            .collect()
    }

    fn healthy(&self) -> Result<(), String> {
        let stats = self.deployments.iter().map(|(_, running)| running.stats());
        let (mut traps, mut instances) = (0, 0);
        for stat in stats {
            traps += stat.traps;
            instances += stat.instances;
        }
        let expected = if self.has_memory {
            self.deployments.len() as u64
        } else {
            self.requests
        };
        if (traps, instances) == (0, expected) {
            return Ok(());
        }
        Err(format!(
            "{traps} of {instances} instances trapped, and {expected} were to be made"
        ))
    }
}
