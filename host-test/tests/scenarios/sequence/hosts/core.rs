//! The core alone, on a clock that only this driver moves: one instance, or one per request with a
//! store between them.

use std::collections::BTreeMap;
use std::time::Duration;

use spin_host::{KeyValueStore, StoreFault};
use token_check::IssuerCall as _;
use token_check::test_util::{self, drive};
use token_check::{
    AuthCheck, BodyCollector, CallFailure, Decision, Finished, IntrospectionCall, IssuerResponse,
    Now, Policy, RequestHead, Sharing, StoreFailed, StoreKey,
};

use super::{Answer, Driver, Host, Memory, Reply, claims, deployments, issuer_of, settings};
use crate::sequence::row::{Deployment, Sequence};

/// When its clock starts, in seconds since 1970.
const START: u64 = 1_800_000_000;

pub(crate) struct Core {
    pub(crate) has_memory: bool,
}

impl Driver for Core {
    fn name(&self) -> &'static str {
        if self.has_memory {
            "core"
        } else {
            "core_instances"
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
        let deployments = deployments(sequence).iter().map(|deployment| {
            let issuer = issuer_of(sequence, *deployment);
            let url = format!("https://issuer{issuer}.test/introspect");
            let mut deployment = RunningDeployment {
                issuer,
                settings: settings(sequence, *deployment, &url).into_iter().collect(),
                check: None,
                store: KeyValueStore::default(),
                audit: Vec::new(),
            };
            if self.has_memory {
                deployment.check = Some(deployment.instance(Sharing::None)?);
            }
            Ok(deployment)
        });
        Ok(Box::new(RunningHost {
            deployments: deployments.collect::<Result<_, String>>()?,
            issuers: Default::default(),
            clock: Duration::ZERO,
            store_fault: None,
            printed: Vec::new(),
        }))
    }
}

struct RunningDeployment {
    issuer: usize,
    settings: Vec<(String, String)>,
    /// `None`: each request has one of its own.
    check: Option<AuthCheck<()>>,
    store: KeyValueStore,
    audit: Vec<String>,
}

impl RunningDeployment {
    fn instance(&self, sharing: Sharing) -> Result<AuthCheck<()>, String> {
        let policy = Policy::new(self.settings.clone()).map_err(|error| error.to_string())?;
        let seed = fastrand::u128(..).to_be_bytes();
        Ok(AuthCheck::new(policy, seed).sharing(sharing))
    }
}

#[derive(Default)]
struct Issuer {
    is_down: bool,
    responds: BTreeMap<String, Answer>,
    introspections: BTreeMap<String, u64>,
}

impl Issuer {
    fn respond(&mut self, token: &str) -> Result<IssuerResponse, CallFailure> {
        if self.is_down {
            return Err(CallFailure::Unreachable);
        }
        *self.introspections.entry(token.to_owned()).or_default() += 1;
        let (status, text) = match self.responds.get(token) {
            Some(Answer::Document(text)) => (200, text.as_str()),
            Some(Answer::Inactive) | None => (200, r#"{"active":false}"#),
            Some(Answer::Status(status)) => (*status, r#"{"error":"invalid_client"}"#),
        };
        let mut body = BodyCollector::default();
        assert!(body.push(text.as_bytes()));
        Ok(IssuerResponse {
            status,
            content_type: Some(b"application/json".to_vec()),
            body,
            ..IssuerResponse::default()
        })
    }
}

struct RunningHost {
    deployments: Vec<RunningDeployment>,
    issuers: [Issuer; 2],
    clock: Duration,
    store_fault: Option<StoreFault>,
    printed: Vec<String>,
}

impl RunningHost {
    fn time(&self) -> Now {
        Now {
            unix: Duration::from_secs(START) + self.clock,
            monotonic: Duration::from_secs(5000) + self.clock,
        }
    }
}

/// One request at one auth check.
struct FakeHost<'a> {
    token: &'a str,
    issuer: &'a mut Issuer,
    store: &'a KeyValueStore,
    store_fault: Option<StoreFault>,
    now: Now,
    printed: &'a mut Vec<String>,
}

impl test_util::Host for FakeHost<'_> {
    fn now(&self) -> Now {
        self.now
    }

    fn introspect(&mut self, call: &IntrospectionCall) -> Result<IssuerResponse, CallFailure> {
        self.printed.push(format!("{call:?}"));
        let is_probe = call.body().starts_with(b"token=trust-triangle-probe&");
        (self.issuer).respond(if is_probe {
            "trust-triangle-probe"
        } else {
            self.token
        })
    }

    fn store_get(&mut self, key: &StoreKey) -> Result<Option<Vec<u8>>, StoreFailed> {
        self.printed.push(format!("{key:?}"));
        match self.store_fault {
            None => Ok(self.store.get(key.as_str())),
            Some(_) => Err(StoreFailed),
        }
    }

    fn store_compare_and_swap(&mut self, _: &StoreKey, _: &[u8]) -> Result<bool, StoreFailed> {
        panic!("the core was told that this store cannot")
    }

    fn sleep(&mut self, time: Duration) {
        panic!("nobody to wait for, and yet {time:?}")
    }

    fn finished<W>(&mut self, finished: &Finished<W>) {
        self.printed.push(format!(
            "{:?} {:?} {:?}",
            finished.records, finished.fault, finished.event
        ));
        if self.store_fault.is_none() {
            for record in &finished.records {
                let set = self.store.set(record.key.as_str(), record.bytes.clone());
                set.unwrap();
            }
        }
    }
}

impl Host for RunningHost {
    fn request(
        &mut self,
        deployment: Deployment,
        token: Option<&str>,
        path: &str,
        _nth: usize,
    ) -> Result<Reply, String> {
        let at = deployment as usize;
        let kept = self.deployments[at].check.take();
        let is_kept = kept.is_some();
        let mut check = match kept {
            Some(check) => check,
            None => self.deployments[at].instance(Sharing::Plain)?,
        };
        let line = token.map(|token| format!("Bearer {token}"));
        let authorization: Vec<&[u8]> = line.iter().map(String::as_bytes).collect();
        let head = RequestHead {
            authorization: &authorization,
            method: b"GET",
            authority: Some(deployment.host().as_bytes()),
            path_and_query: Some(path.as_bytes()),
            dpop: &[],
            client_certificate: &[],
            traceparent: &[],
        };
        let now = self.time();
        let gate_state = &self.deployments[at];
        let mut host = FakeHost {
            token: token.unwrap_or_default(),
            issuer: &mut self.issuers[gate_state.issuer],
            store: &gate_state.store,
            store_fault: self.store_fault,
            now,
            printed: &mut self.printed,
        };
        let verdict = drive(&mut check, &head, &mut host);
        self.printed.push(format!("{verdict:?}"));
        self.deployments[at].audit.extend(verdict.audit.clone());
        let reply = match verdict.decision {
            Decision::Granted(grant) => {
                let headers: BTreeMap<_, _> = grant.headers().collect();
                Reply {
                    status: 200,
                    reason: String::new(),
                    claims: headers.get("x-auth-claims").copied().and_then(claims),
                    headers: Vec::new(),
                    text: format!("{headers:?}"),
                }
            }
            Decision::Answered(response) => panic!("answered: {response:?}"),
            Decision::Refused(refusal) => {
                let response = refusal.response(check.policy());
                Reply {
                    status: response.status,
                    reason: refusal.reason().name().to_owned(),
                    claims: None,
                    text: format!("{:?} {}", response.headers, response.body),
                    headers: (response.headers.into_iter())
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                }
            }
        };
        if is_kept {
            self.deployments[at].check = Some(check);
        }
        Ok(reply)
    }

    fn responds(&mut self, deployment: Deployment, token: &str, answer: &Answer) {
        let issuer = self.deployments[deployment as usize].issuer;
        self.issuers[issuer]
            .responds
            .insert(token.to_owned(), answer.clone());
    }

    fn listens(&mut self, it_does: bool) {
        self.issuers[0].is_down = !it_does;
    }

    fn introspections(&self, deployment: Deployment, token: &str) -> u64 {
        let issuer = self.deployments[deployment as usize].issuer;
        let introspections = self.issuers[issuer].introspections.get(token);
        introspections.copied().unwrap_or_default()
    }

    fn wait(&mut self, time: Duration) {
        self.clock += time;
    }

    fn now(&self) -> Duration {
        self.clock
    }

    fn unix_seconds(&self) -> i64 {
        self.time().unix.as_secs().try_into().unwrap()
    }

    fn audit(&self, deployment: Deployment, _lines: usize) -> Vec<String> {
        self.deployments[deployment as usize].audit.clone()
    }

    fn store(&self, deployment: Deployment) -> Option<KeyValueStore> {
        Some(self.deployments[deployment as usize].store.clone())
    }

    fn set_store_fault(&mut self, fault: Option<StoreFault>) {
        self.store_fault = fault;
    }

    fn printed(&self) -> Vec<String> {
        let lines = self
            .deployments
            .iter()
            .flat_map(|deployment| deployment.audit.iter());
        lines.chain(&self.printed).cloned().collect()
    }

    fn healthy(&self) -> Result<(), String> {
        Ok(())
    }
}
