//! A world in one thread: instances of the auth check, an issuer that follows a script, a store, a clock.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use token_check::{
    AnswerBody, AuthCheck, CacheUse, CallFailure, Decision, Ended, Errand, Flight, IssuerAnswer,
    Now, Outcome, Policy, Progress, Reason, RequestHead, Sharing, Step, Verdict, Waiting,
};

/// When the clock of every world starts, in seconds since 1970.
pub(crate) const START: u64 = 1_800_000_000;
pub(crate) const SECRET: &str = "s3cr3t";

pub(crate) fn policy(settings: &[(&str, &str)]) -> Policy {
    let base = [
        (
            "introspect_url",
            "https://tenant.verify.ibm.com/oauth2/introspect",
        ),
        ("resource_client_id", "service-b"),
        ("resource_client_secret", SECRET),
        ("leeway", "0"),
    ];
    // Of two the last one counts.
    let settings = base.iter().chain(settings);
    Policy::new(settings.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))).unwrap()
}

/// Starts at [`START`], and far from zero on the monotonic side.
#[derive(Clone)]
pub(crate) struct Clock(Rc<Cell<Duration>>);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Rc::default())
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            unix: Duration::from_secs(START) + self.0.get(),
            monotonic: Duration::from_secs(5000) + self.0.get(),
        }
    }

    pub(crate) fn forward(&self, time: Duration) {
        self.0.set(self.0.get() + time);
    }

    pub(crate) fn forward_ms(&self, milliseconds: u64) {
        self.forward(Duration::from_millis(milliseconds));
    }
}

/// What the issuer does with the next questions; the last one stands for all that follow.
#[derive(Clone)]
pub(crate) enum Says {
    Json(String),
    /// Status, media type and body.
    Http(u16, &'static str, String),
    Fails(CallFailure),
    Status(u16, Option<&'static str>),
    Unreachable,
    TimesOut,
    Denied,
}

pub(crate) fn active(members: &str) -> Says {
    Says::Json(format!(r#"{{"active":true{members}}}"#))
}

pub(crate) fn inactive() -> Says {
    Says::Json(r#"{"active":false}"#.to_owned())
}

#[derive(Clone)]
pub(crate) struct Issuer {
    says: Rc<RefCell<Vec<Says>>>,
    pub(crate) questions: Rc<Cell<usize>>,
}

impl Issuer {
    pub(crate) fn new(says: Says) -> Self {
        Self {
            says: Rc::new(RefCell::new(vec![says])),
            questions: Rc::default(),
        }
    }

    /// From now on.
    pub(crate) fn says(&self, says: Says) {
        *self.says.borrow_mut() = vec![says];
    }

    pub(crate) fn says_in_turn(&self, says: impl IntoIterator<Item = Says>) {
        *self.says.borrow_mut() = says.into_iter().collect();
    }

    /// How often it was asked since the last look.
    pub(crate) fn asked(&self) -> usize {
        self.questions.take()
    }

    fn answer(&self) -> Outcome {
        self.questions.set(self.questions.get() + 1);
        let mut says = self.says.borrow_mut();
        let says = if says.len() > 1 {
            says.remove(0)
        } else {
            says[0].clone()
        };
        match says {
            Says::Json(body) => answer(200, None, &body),
            Says::Http(status, media, text) => {
                let mut body = AnswerBody::default();
                assert!(body.push(text.as_bytes()));
                Outcome::Answered(IssuerAnswer {
                    status,
                    content_type: Some(media.into()),
                    body,
                    ..IssuerAnswer::default()
                })
            }
            Says::Fails(failure) => Outcome::Failed(failure),
            Says::Status(status, retry_after) => {
                answer(status, retry_after, r#"{"error":"invalid_client"}"#)
            }
            Says::Unreachable => Outcome::Failed(CallFailure::Unreachable),
            Says::TimesOut => Outcome::Failed(CallFailure::Timeout),
            Says::Denied => Outcome::Failed(CallFailure::Denied),
        }
    }
}

fn answer(status: u16, retry_after: Option<&str>, text: &str) -> Outcome {
    let mut body = AnswerBody::default();
    assert!(body.push(text.as_bytes()));
    Outcome::Answered(IssuerAnswer {
        status,
        content_type: Some(b"application/json".to_vec()),
        retry_after: retry_after.map(Into::into),
        body,
        ..IssuerAnswer::default()
    })
}

/// By key: a version, and what stands there.
type Slots = BTreeMap<String, (u64, Vec<u8>)>;

/// A store with versions, so that it can compare and swap.
#[derive(Clone, Default)]
pub(crate) struct SharedStore {
    pub(crate) slots: Rc<RefCell<Slots>>,
    pub(crate) is_broken: Rc<Cell<bool>>,
    pub(crate) calls: Rc<Cell<usize>>,
}

impl SharedStore {
    pub(crate) fn write(&self, key: &str, bytes: &[u8]) {
        let mut slots = self.slots.borrow_mut();
        let version = slots.get(key).map_or(0, |(version, _)| *version) + 1;
        slots.insert(key.to_owned(), (version, bytes.to_vec()));
    }

    /// The only record of facts.
    pub(crate) fn facts(&self) -> (String, Vec<u8>) {
        let slots = self.slots.borrow();
        let mut facts = slots
            .iter()
            .filter(|(key, (_, bytes))| key.contains("facts") && !bytes.is_empty());
        let (key, (_, bytes)) = facts.next().expect("there is a record");
        assert!(facts.next().is_none(), "there is one record");
        (key.clone(), bytes.clone())
    }
}

pub(crate) struct Instance {
    pub(crate) check: AuthCheck<u32>,
    /// What the log says.
    pub(crate) log: Vec<String>,
    pub(crate) clock: Clock,
    pub(crate) issuer: Issuer,
    store: SharedStore,
    version: Option<u64>,
}

/// One that asks once, or waits for another instance.
pub(crate) enum Ran {
    Ended(Ended<u32>),
    Asks(Flight),
    Pauses(Flight, Duration),
}

impl Instance {
    pub(crate) fn new(settings: &[(&str, &str)], issuer: &Issuer, clock: &Clock) -> Self {
        Self::sharing(
            settings,
            issuer,
            clock,
            Sharing::None,
            &SharedStore::default(),
        )
    }

    pub(crate) fn sharing(
        settings: &[(&str, &str)],
        issuer: &Issuer,
        clock: &Clock,
        sharing: Sharing,
        store: &SharedStore,
    ) -> Self {
        Self {
            check: AuthCheck::new(policy(settings), [7; 16]).sharing(sharing),
            log: Vec::new(),
            clock: clock.clone(),
            issuer: issuer.clone(),
            store: store.clone(),
            version: None,
        }
    }

    pub(crate) fn begin(&mut self, path: &str, token: &str) -> Step {
        let line = format!("Bearer {token}");
        let head = RequestHead {
            authorization: &[line.as_bytes()],
            method: b"GET",
            authority: Some(b"service-b.example"),
            path_and_query: Some(path.as_bytes()),
            traceparent: &[],
        };
        self.check.begin(&head, self.clock.now())
    }

    /// Errands of the store are run; then the flight asks, pauses or has ended.
    pub(crate) fn run(&mut self, flight: Flight, errand: Errand) -> Ran {
        let (mut flight, mut errand) = (flight, errand);
        loop {
            let broken = self.store.is_broken.get();
            let outcome = match errand {
                Errand::Ask(_) => return Ran::Asks(flight),
                Errand::Pause(time) => return Ran::Pauses(flight, time),
                Errand::Look(key) => {
                    self.store.calls.set(self.store.calls.get() + 1);
                    let slots = self.store.slots.borrow();
                    let found = slots.get(key.as_str());
                    self.version = found.map(|(version, _)| *version);
                    if broken {
                        Outcome::StoreFailed
                    } else {
                        Outcome::Found(found.map(|(_, bytes)| bytes.clone()))
                    }
                }
                Errand::Claim(key, bytes) => {
                    let found = self.store.slots.borrow().get(key.as_str()).map(|s| s.0);
                    let is_same = found == self.version;
                    if is_same {
                        self.store.write(key.as_str(), &bytes);
                    }
                    Outcome::Claimed(is_same)
                }
            };
            match self.check.settle(flight, outcome, self.clock.now()) {
                Progress::More(same, next) => (flight, errand) = (same, next),
                Progress::Ended(ended) => return Ran::Ended(ended),
            }
        }
    }

    /// The issuer answers, as often as it is asked.
    pub(crate) fn ask(&mut self, flight: Flight) -> Ended<u32> {
        let outcome = self.issuer.answer();
        let progress = self.check.settle(flight, outcome, self.clock.now());
        let ended = match progress {
            Progress::Ended(ended) => {
                self.log
                    .extend(ended.note.as_ref().map(ToString::to_string));
                ended
            }
            Progress::More(flight, errand) => match self.run(flight, errand) {
                Ran::Asks(flight) => self.ask(flight),
                Ran::Ended(ended) => ended,
                Ran::Pauses(..) => panic!("nobody else asks"),
            },
        };
        if !self.store.is_broken.get() {
            for record in &ended.records {
                self.store.write(record.key.as_str(), &record.bytes);
            }
        }
        ended
    }

    pub(crate) fn finish(&mut self, step: Step) -> Verdict {
        match step {
            Step::Done(verdict) => {
                self.log
                    .extend(verdict.note.as_ref().map(ToString::to_string));
                verdict
            }
            Step::Lead(waiting, flight, errand) => {
                match self.run(flight, errand) {
                    Ran::Asks(flight) => drop(self.ask(flight)),
                    Ran::Ended(_) => {}
                    Ran::Pauses(..) => panic!("nobody else asks"),
                }
                self.resume(waiting)
            }
            Step::Join(_) => panic!("nobody leads"),
        }
    }

    pub(crate) fn resume(&mut self, waiting: Waiting) -> Verdict {
        let step = self.check.resume(waiting, self.clock.now());
        self.finish(step)
    }

    /// A whole request.
    pub(crate) fn request(&mut self, path: &str, token: &str) -> Verdict {
        let step = self.begin(path, token);
        self.finish(step)
    }

    /// What was decided, and where the facts came from.
    pub(crate) fn get(&mut self, path: &str, token: &str) -> (Option<Reason>, Option<CacheUse>) {
        let verdict = self.request(path, token);
        (reason(&verdict), verdict.cache)
    }

    /// The same, and for how many seconds a refusal sends the caller away.
    pub(crate) fn retry_after(&mut self, path: &str, token: &str) -> (Option<Reason>, Option<u32>) {
        let verdict = self.request(path, token);
        let reason = reason(&verdict);
        let reply = verdict.into_result(self.check.policy()).unwrap_err();
        let header = reply
            .headers
            .iter()
            .find(|(name, _)| *name == "retry-after");
        (reason, header.map(|(_, value)| value.parse().unwrap()))
    }
}

pub(crate) fn reason(verdict: &Verdict) -> Option<Reason> {
    match &verdict.decision {
        Decision::Granted(_) => None,
        Decision::Refused(refusal) => Some(refusal.reason()),
    }
}
