//! One question per token among instances that share a store, down to the order in which they look at it.

use std::time::Duration;

use token_check::{
    AnswerBody, AuthCheck, Errand, Flight, IssuerAnswer, Now, Outcome, Policy, Progress,
    RequestHead, Sharing, Step,
};

struct Leader {
    check: AuthCheck<()>,
    now: Now,
    next: Option<(Flight, Errand)>,
    records: Vec<Vec<u8>>,
}

impl Leader {
    fn new(milliseconds: u64) -> Self {
        let settings = [
            ("introspect_url", "https://issuer.test/introspect"),
            ("resource_client_id", "service-b"),
            ("resource_client_secret", "s3cr3t"),
            ("cache_ttl", "60"),
        ];
        let policy = Policy::new(settings.map(|(k, v)| (k.to_owned(), v.to_owned()))).unwrap();
        let mut check = AuthCheck::new(policy, [7; 16]).sharing(Sharing::CompareAndSwap);
        let past = Duration::from_millis(milliseconds);
        let now = Now {
            unix: Duration::from_secs(1_800_000_000) + past,
            monotonic: Duration::from_secs(5000) + past,
        };
        let head = RequestHead {
            authorization: &[b"Bearer token"],
            method: b"GET",
            authority: None,
            path_and_query: Some(b"/"),
            traceparent: &[],
        };
        let Step::Lead(_waiting, flight, errand) = check.begin(&head, now) else {
            panic!("must lead")
        };
        Self {
            check,
            now,
            next: Some((flight, errand)),
            records: Vec::new(),
        }
    }

    fn errand(&self) -> &Errand {
        &self.next.as_ref().unwrap().1
    }

    fn settle(&mut self, outcome: Outcome) {
        let (flight, _) = self.next.take().unwrap();
        match self.check.settle(flight, outcome, self.now) {
            Progress::More(flight, errand) => self.next = Some((flight, errand)),
            Progress::Ended(ended) => {
                self.records = ended.records.into_iter().map(|r| r.bytes).collect();
            }
        }
    }

    /// Until it asks, with nothing in the store; the lease that it took.
    fn ask(&mut self) -> Vec<u8> {
        let mut lease = Vec::new();
        loop {
            let outcome = match self.errand() {
                Errand::Ask(_) => return lease,
                Errand::Look(_) => Outcome::Found(None),
                Errand::Claim(_, bytes) => {
                    lease.clone_from(bytes);
                    Outcome::Claimed(true)
                }
                Errand::Pause(_) => panic!("nobody else asks"),
            };
            self.settle(outcome);
        }
    }
}

/// Both clocks are the same; the second one was looked at a moment before the first one.
pub(crate) fn one_taken_a_millisecond_later_holds() -> Result<(), String> {
    let lease = Leader::new(1).ask();
    let mut second = Leader::new(0);
    second.settle(Outcome::Found(None));
    second.settle(Outcome::Found(Some(lease)));
    match second.errand() {
        Errand::Pause(_) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// The first one ends between the second one's look for facts and its look for a lease.
pub(crate) fn facts_that_come_between_two_looks_are_found() -> Result<(), String> {
    let (mut first, mut second) = (Leader::new(0), Leader::new(0));
    first.ask();
    second.settle(Outcome::Found(None));
    let mut body = AnswerBody::default();
    assert!(body.push(br#"{"active":true}"#));
    first.settle(Outcome::Answered(IssuerAnswer {
        status: 200,
        content_type: Some(b"application/json".to_vec()),
        body,
        ..IssuerAnswer::default()
    }));
    let [facts, free] = &first.records[..] else {
        return Err("facts and a lease given back".to_owned());
    };
    second.settle(Outcome::Found(Some(free.clone())));
    second.settle(Outcome::Claimed(true));
    if let Errand::Ask(_) = second.errand() {
        return Err("it asks again".to_owned());
    }
    second.settle(Outcome::Found(Some(facts.clone())));
    match &second.next {
        None => Ok(()),
        Some((_, errand)) => Err(format!("{errand:?}")),
    }
}
