//! One sequence in one host, step by step, and everything that each step says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::fixture::{readme_tables, same, with_times};
use crate::leaks;
use crate::sequence::audit::{self, Line};
use crate::sequence::hosts::{Answer, Driver, Host, Memory, Reply, deployments, issuer_of};
use crate::sequence::row::{
    Deployment, Expect, Facts, PROBE, REQUESTS, Request, Responds, Sequence, Step, Tamper, Verdict,
};

/// Both ends of a token's age are rounded to milliseconds, away from each other.
const ROUNDING: Duration = Duration::from_millis(2);
/// How long after its time a revoked token is watched for.
const PATIENCE: Duration = Duration::from_secs(5);
/// README.md: the default of `cache_entries`.
const CACHE_ENTRIES: u64 = 10_000;
/// Between two looks at it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What every host has to say to a step: the verdicts on its requests, equal ones next to each
/// other once. `None`: this host is forced to say something else.
pub(crate) type Transcript = Vec<Option<String>>;

pub(crate) fn run(driver: &dyn Driver, sequence: &Sequence) -> Result<Transcript, String> {
    let mut runner = Runner {
        driver,
        sequence,
        host: driver.start(sequence)?,
        claims: BTreeMap::new(),
        introspections: BTreeMap::new(),
        calls: BTreeMap::new(),
        copies: BTreeMap::new(),
        lines: BTreeMap::new(),
        tokens: BTreeSet::new(),
        texts: Vec::new(),
    };
    let mut transcript = Vec::new();
    for (number, step) in sequence.steps.iter().enumerate() {
        let ran = runner.step(step);
        transcript.extend(ran.map_err(|error| format!("step {number}: {error}"))?);
    }
    runner.finish()?;
    Ok(transcript)
}

struct Runner<'a> {
    driver: &'a dyn Driver,
    sequence: &'a Sequence,
    host: Box<dyn Host>,
    /// The last document about a token, by the issuer that says it.
    claims: BTreeMap<(usize, String), String>,
    /// How often each issuer must have been called about a token.
    introspections: BTreeMap<(usize, String), u64>,
    /// When the issuer was last called about a token: between these two.
    calls: BTreeMap<String, (Duration, Duration)>,
    /// Key and record.
    copies: BTreeMap<&'static str, (String, Vec<u8>)>,
    /// What the audit must say, by auth check.
    lines: BTreeMap<usize, Vec<Line>>,
    tokens: BTreeSet<String>,
    /// What callers and the app saw.
    texts: Vec<String>,
}

impl Runner<'_> {
    /// Unlike every other sequence's.
    fn token(&mut self, name: &str) -> String {
        if name == PROBE {
            return "trust-triangle-probe".to_owned();
        }
        let token = format!("{}.{name}.AAAB-7x_c2VydmljZQ.Q~3+w/8=", self.sequence.name);
        self.tokens.insert(token.clone());
        token
    }

    fn step(&mut self, step: &Step) -> Result<Option<Option<String>>, String> {
        match step {
            Step::Request(request) => return self.requests(request).map(Some),
            Step::Responds(deployment, name, responds) => {
                self.responds(*deployment, name, responds)
            }
            Step::Down => self.host.listens(false),
            Step::Up => self.host.listens(true),
            Step::Wait(time) => self.host.wait(*time),
            Step::Spray(tokens) => {
                for number in 0..*tokens {
                    let token = self.token(&format!("spray{number}"));
                    let expect = Expect {
                        verdict: Verdict::Refused("inactive"),
                        facts: Facts::Introspected,
                    };
                    self.one(Deployment::First, Some(token), "/", number, expect)?;
                }
            }
            Step::RefusedAfter(name, ttl) => self.refused_after(name, *ttl)?,
            Step::Tamper(tamper) => self.tamper(tamper)?,
            Step::Store(fault) => {
                self.host.set_store_fault(*fault);
                if fault.is_none() {
                    // The store is left alone for so long after it failed.
                    self.host.wait(Duration::from_secs(1));
                }
            }
        }
        Ok(None)
    }

    fn responds(&mut self, deployment: Deployment, name: &str, responds: &Responds) {
        let token = self.token(name);
        let answer = match responds {
            Responds::Inactive => Answer::Inactive,
            Responds::Status(status) => Answer::Status(*status),
            Responds::Active(document) => {
                let document = with_times(document, self.host.unix_seconds());
                let issuer = issuer_of(self.sequence, deployment);
                self.claims
                    .insert((issuer, token.clone()), document.clone());
                Answer::Document(document)
            }
        };
        self.host.responds(deployment, &token, &answer);
    }

    fn requests(&mut self, request: &Request) -> Result<Option<String>, String> {
        let token = request.token.map(|name| self.token(name));
        let memory = self.driver.memory();
        let forced = request.forgetful.filter(|_| memory == Memory::Store);
        let mut verdicts = Vec::new();
        for nth in 0..REQUESTS {
            let is_first = match memory {
                Memory::One => nth == 0,
                Memory::Two => nth < 2,
                Memory::Store => true,
            };
            let expect = match forced {
                Some(forced) => forced,
                None if is_first => request.first,
                None => request.then,
            };
            let start = self.host.now();
            let reply = self
                .one(request.deployment, token.clone(), request.path, nth, expect)
                .map_err(|error| format!("{}, request {nth}: {error}", request.path))?;
            let took = self.host.now() - start;
            if request.within.is_some_and(|within| took > within) {
                return Err(format!("request {nth} took {took:?}"));
            }
            let verdict = format!(
                "{} {} {:?}",
                reply.status,
                reply.reason,
                reply.claims.is_some()
            );
            if verdicts.last() != Some(&verdict) {
                verdicts.push(verdict);
            }
        }
        Ok(forced.is_none().then(|| verdicts.join(", then ")))
    }

    /// One request, and whether what came of it is what was expected.
    fn one(
        &mut self,
        deployment: Deployment,
        token: Option<String>,
        path: &str,
        nth: usize,
        expect: Expect,
    ) -> Result<Reply, String> {
        let (cache, calls) = came_from(expect.facts, self.driver.memory(), nth);
        let start = self.host.now();
        let reply = self.host.request(deployment, token.as_deref(), path, nth)?;
        self.texts.push(reply.text.clone());
        let issuer = issuer_of(self.sequence, deployment);
        let mut claims = None;
        if let Some(token) = &token {
            let known = (issuer, token.clone());
            claims = self.claims.get(&known).cloned();
            let expected = self.introspections.entry(known).or_default();
            *expected += calls;
            same(
                "questions",
                &self.host.introspections(deployment, token),
                expected,
            )?;
            if calls > 0 {
                let call = (start, self.host.now());
                self.calls.insert(token.clone(), call);
            }
        }
        // What was decided without facts says nothing about the caller.
        let claims = claims.filter(|_| expect.facts != Facts::None);
        match expect.verdict {
            Verdict::Granted => {
                same("status", &(reply.status, reply.reason.as_str()), &(200, ""))?;
                same("claims at the app", &reply.claims, &claims)?;
            }
            Verdict::Refused(reason) => self.refusal(reason, &reply)?,
        }
        self.lines
            .entry(deployment as usize)
            .or_default()
            .push(Line {
                token: token.filter(|_| expect.facts != Facts::None),
                verdict: expect.verdict,
                cache,
                or_store: false,
                was_called: match expect.facts {
                    // A introspection call that nobody hears takes its time too, and one that is
                    // not put takes none.
                    Facts::WithoutCall | Facts::StaleWithoutCall => None,
                    _ => Some(calls > 0),
                },
            });
        Ok(reply)
    }

    /// What README.md says about a refusal.
    fn refusal(&self, reason: &str, reply: &Reply) -> Result<(), String> {
        let published = readme_tables::reason(reason);
        let seen = (reply.status, reply.reason.as_str());
        same("status", &seen, &(published.status, reason))?;
        let text = format!(r#""error_description":"{}""#, published.text);
        same("the text", &reply.text.contains(&text), &true)?;
        // RFC 6750 section 3: none for what no token would change.
        let is_challenge = published.status < 500 && reason != "denied_by_rule";
        let challenge = reply.header("www-authenticate");
        let begins =
            challenge.map(|challenge| challenge.starts_with(r#"Bearer realm="service-b""#));
        same("challenge", &begins, &is_challenge.then_some(true))?;
        let retry_after = reply
            .header("retry-after")
            .map(|value| value.parse::<u64>());
        match (reason, retry_after) {
            // Until the next probe; a token that had a bad answer is not the next one.
            ("issuer_circuit_open", Some(Ok(seconds))) => {
                let longest = 2 * self.sequence.setting("probe_interval").unwrap_or(1);
                same("retry-after", &(1..=longest).contains(&seconds), &true)
            }
            (_, retry_after) => {
                let expected = (published.status == 503).then_some(Ok(1));
                same("retry-after", &retry_after, &expected)
            }
        }
    }

    fn refused_after(&mut self, name: &str, ttl: Duration) -> Result<(), String> {
        let token = self.token(name);
        let (earliest, latest) = self.calls[&token];
        self.host
            .responds(Deployment::First, &token, &Answer::Inactive);
        let known = match self.driver.memory() {
            Memory::Store => "shared",
            Memory::One | Memory::Two => "hit",
        };
        let (mut last_granted, mut first_refused) = (None, None);
        loop {
            let mut granted = 0;
            for nth in 0..REQUESTS {
                let start = self.host.now();
                let reply = self
                    .host
                    .request(Deployment::First, Some(&token), "/", nth)?;
                let end = self.host.now();
                self.texts.push(reply.text.clone());
                let verdict = if reply.status == 200 {
                    granted += 1;
                    last_granted = Some(start);
                    if start >= latest + ttl {
                        return Err(format!("granted {:?} after the question", start - latest));
                    }
                    Verdict::Granted
                } else {
                    same(
                        "status",
                        &(reply.status, reply.reason.as_str()),
                        &(401, "inactive"),
                    )?;
                    first_refused = first_refused.or(Some(end));
                    if end + ROUNDING < earliest + ttl {
                        return Err(format!("refused {:?} after the question", end - earliest));
                    }
                    let key = (issuer_of(self.sequence, Deployment::First), token.clone());
                    *self.introspections.entry(key).or_default() += 1;
                    Verdict::Refused("inactive")
                };
                let is_known = verdict == Verdict::Granted;
                self.lines
                    .entry(Deployment::First as usize)
                    .or_default()
                    .push(Line {
                        token: Some(token.clone()),
                        verdict,
                        cache: Some(if is_known { known } else { "miss" }),
                        or_store: is_known,
                        was_called: Some(!is_known),
                    });
            }
            if granted == 0 {
                break;
            }
            if self.host.now() > latest + ttl + PATIENCE {
                return Err("it is still granted".to_owned());
            }
            self.host.wait(LOOK_AGAIN);
        }
        let (Some(granted), Some(refused)) = (last_granted, first_refused) else {
            return Err("it was never granted".to_owned());
        };
        println!(
            "{} of {ttl:?}: granted until {:?}, refused from {:?} after the question",
            self.driver.name(),
            granted.saturating_sub(earliest),
            refused.saturating_sub(earliest)
        );
        Ok(())
    }

    fn tamper(&mut self, tamper: &Tamper) -> Result<(), String> {
        let store = self
            .host
            .store(Deployment::First)
            .ok_or("there is no store")?;
        let set = |key: &str, record: Vec<u8>| {
            let set = store.set(key, record);
            set.map_err(|error| error.to_string())
        };
        match tamper {
            Tamper::Copy(name) => {
                let is_new = |key: &String| !self.copies.values().any(|(known, _)| known == key);
                let keys: Vec<_> = store.keys().into_iter().filter(is_new).collect();
                let [key] = &keys[..] else {
                    return Err(format!("one record was to come, and these did: {keys:?}"));
                };
                let record = store.get(key).unwrap_or_default();
                self.copies.insert(name, (key.clone(), record));
                Ok(())
            }
            Tamper::PutBack(name) => {
                let (key, record) = &self.copies[name];
                set(key, record.clone())
            }
            Tamper::Swap { of, over } => set(&self.copies[over].0, self.copies[of].1.clone()),
            Tamper::Flip(name, at) => {
                let (key, record) = &self.copies[name];
                let mut record = record.clone();
                let end = record.len();
                let at = at.rem_euclid(end.try_into().unwrap());
                record[usize::try_from(at).unwrap()] ^= 1;
                set(key, record)
            }
            Tamper::Truncate(name, bytes) => {
                let (key, record) = &self.copies[name];
                let cut = record.get(..*bytes).ok_or("the record is shorter")?;
                same("a part", &(cut.len() < record.len()), &true)?;
                set(key, cut.to_vec())
            }
            Tamper::Extend(name) => {
                let (key, record) = &self.copies[name];
                set(key, [record.as_slice(), b"\0"].concat())
            }
            Tamper::Forge(name, record) => set(&self.copies[name].0, record.to_vec()),
            Tamper::Import(name) => {
                let (key, record) = &self.copies[name];
                let other = self
                    .host
                    .store(Deployment::Other)
                    .ok_or("there is no store")?;
                let set = other.set(key, record.clone());
                set.map_err(|error| error.to_string())
            }
        }
    }

    /// What has to be so when all steps are over.
    fn finish(self) -> Result<(), String> {
        for (deployment, expected) in &self.lines {
            let deployment = if *deployment == 0 {
                Deployment::First
            } else {
                Deployment::Other
            };
            let lines = self.host.audit(deployment, expected.len());
            audit::check(&lines, expected)?;
        }
        let printed = self.host.printed();
        let printed = printed.into_iter().map(|line| ("a log line", line));
        let seen = self.texts.into_iter().map(|text| ("a response", text));
        let mut texts: Vec<_> = seen
            .chain(printed)
            .map(|(what, text)| (what.to_owned(), text.into_bytes()))
            .collect();
        for deployment in deployments(self.sequence) {
            let Some(store) = self.host.store(*deployment) else {
                continue;
            };
            let keys = store.keys();
            let is_ours = |key: &String| key.starts_with("trust-triangle.facts.");
            let entries = self
                .sequence
                .setting("cache_entries")
                .unwrap_or(CACHE_ENTRIES);
            if !keys.iter().all(is_ours) || keys.len() as u64 > entries {
                return Err(format!("in the store: {keys:?}"));
            }
            for key in keys {
                let record = store.get(&key).unwrap_or_default();
                texts.push((
                    format!("the record {key}"),
                    [key.as_bytes(), &record].concat(),
                ));
            }
        }
        // The part of a token that form-encoding does not change.
        let tokens = (self.tokens.iter()).filter_map(|token| token.split_once('~'));
        leaks::check(texts, tokens.map(|(start, _)| start.to_owned()))?;
        self.host.healthy()
    }
}

impl Sequence {
    /// A number that it sets.
    fn setting(&self, name: &str) -> Option<u64> {
        let mut set = self.settings.iter().filter(|(key, _)| *key == name);
        set.next().map(|(_, value)| value.parse().unwrap())
    }
}

/// What the audit calls it, and how many introspection calls reach the issuer.
fn came_from(facts: Facts, memory: Memory, nth: usize) -> (Option<&'static str>, u64) {
    let shared = memory == Memory::Store || (memory == Memory::Two && nth == 1);
    match facts {
        Facts::IntrospectedOnce if nth == 0 => (Some("miss"), 1),
        Facts::IntrospectedOnce if shared => (Some("shared"), 0),
        Facts::Cached if memory == Memory::Store => (Some("shared"), 0),
        Facts::IntrospectedOnce | Facts::Cached => (Some("hit"), 0),
        Facts::Introspected => (Some("miss"), 1),
        Facts::Stale => (Some("stale"), 1),
        Facts::StaleWithoutCall => (Some("stale"), 0),
        Facts::WithoutCall => (Some("miss"), 0),
        Facts::None => (None, 0),
    }
}
