//! Which keys came with which response; and what follows from it for a verdict.

use std::time::Duration;

use base64_simd::URL_SAFE_NO_PAD;
use token_check::{CacheStatus, CallFailure, Decision, IssuerResponse, Reason, Sharing, Verdict};

use super::event::{Config, FetchOutcome, KEYS, SHORT_LIVED, Token};
use crate::stateful::model::LOST_AFTER;
use crate::support::{START, json, response};

/// Ages are compared in milliseconds, and once more in shared records.
const ROUNDING: Duration = Duration::from_millis(3);
/// How much longer old keys are used than until the next attempt to fetch them.
const GRACE: Duration = Duration::from_secs(2);
/// When short-lived tokens expire, in seconds after the start.
const SHORT_LIFE: u64 = 20;

/// Points of Ed25519: RFC 8032 section 7.1, tests 1 to 3, and RFC 8037 appendix A.
const POINTS: [[u8; 32]; KEYS] = [
    point(b"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
    point(b"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"),
    point(b"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"),
    point(b"278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e"),
];

const fn point(hex: &[u8; 64]) -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut at = 0;
    while at < 64 {
        let digit = match hex[at] {
            digit @ b'0'..=b'9' => digit - b'0',
            digit => digit - b'a' + 10,
        };
        bytes[at / 2] = bytes[at / 2] << 4 | digit;
        at += 1;
    }
    bytes
}

/// The last key has the name of the first one.
const fn kid(key: usize) -> usize {
    key % (KEYS - 1)
}

impl Token {
    /// As it is sent. A signature is the public key that "made" it: the host of these tests knows no
    /// better.
    pub(super) fn text(self) -> String {
        let (header, number, signer) = match self {
            Self::Signed { key, number } => (named(kid(key)), number, POINTS[key]),
            Self::Forged { key } => (named(kid(key)), 0, [7; 32]),
            Self::UnknownKey => (named(KEYS), 0, POINTS[0]),
            Self::Unsigned => (r#"{"alg":"none"}"#.to_owned(), 0, POINTS[0]),
            Self::Opaque => return "opaque-of-somebody".to_owned(),
        };
        let exp = match number {
            SHORT_LIVED => START + SHORT_LIFE,
            _ => START + 1_000_000_000,
        };
        let claims = format!(
            r#"{{"iss":"https://issuer.example","aud":"service-b","client_id":"{}","exp":{exp}}}"#,
            self.client()
        );
        let signature = [signer, [0; 32]].concat();
        let [header, claims] = [header, claims].map(|part| encode(part.as_bytes()));
        format!("{header}.{claims}.{}", encode(&signature))
    }

    /// The client that it is about.
    pub(super) fn client(self) -> String {
        match self {
            Self::Signed { key, number } => format!("client-{key}-{number}"),
            Self::Opaque => "client".to_owned(),
            Self::Forged { .. } | Self::UnknownKey | Self::Unsigned => "forger".to_owned(),
        }
    }

    /// Whether it was short-lived and has expired.
    fn has_expired(self, now: Duration) -> bool {
        matches!(
            self,
            Self::Signed {
                number: SHORT_LIVED,
                ..
            }
        ) && now.as_secs() >= SHORT_LIFE
    }
}

/// Not the naive one of another target, which would take most of the time.
fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode_to_string(bytes)
}

fn named(kid: usize) -> String {
    format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}"}}"#)
}

/// Whether the key with this SubjectPublicKeyInfo "made" the signature.
pub(super) fn is_signed_by(spki: &[u8], signature: &[u8]) -> bool {
    spki.ends_with(signature.split_at(32).0)
}

fn document(published: u8) -> String {
    let keys = (0..KEYS).filter(|key| has(published, *key));
    let jwk = |key: usize| {
        let (x, kid) = (encode(&POINTS[key]), kid(key));
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}"#)
    };
    format!(
        r#"{{"keys":[{}]}}"#,
        keys.map(jwk).collect::<Vec<_>>().join(",")
    )
}

const fn has(published: u8, key: usize) -> bool {
    published & (1 << key) != 0
}

/// Whether a new token of the key can be verified: of two keys with one name, neither.
fn verifies(published: u8, key: usize) -> bool {
    let same_name = (0..KEYS).filter(|other| kid(*other) == kid(key) && has(published, *other));
    has(published, key) && same_name.count() == 1
}

/// A response with keys.
#[derive(Clone, Copy, Debug)]
struct Learned {
    instance: usize,
    sent: Duration,
    received: Duration,
    published: u8,
}

/// A fetch that brought no keys.
#[derive(Clone, Copy, Debug)]
struct Failure {
    instance: usize,
    at: Duration,
    /// The issuer said that it has none.
    is_end: bool,
}

/// A request, as far as its verdict depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) instance: usize,
    pub(super) token: Token,
    pub(super) begun: Duration,
}

pub(super) struct Model {
    config: Config,
    /// Since when the issuer has which keys.
    published: Vec<(Duration, u8)>,
    learned: Vec<Learned>,
    failures: Vec<Failure>,
    /// When instances began to fetch keys.
    attempts: Vec<(usize, Duration)>,
    /// Attempts that the host dropped: the core may make another one soon.
    dropped: usize,
    /// Whether the issuer did not respond to a call about a token.
    pub(super) has_lost_call: bool,
}

impl Model {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            published: vec![(Duration::ZERO, config.published)],
            learned: Vec::new(),
            failures: Vec::new(),
            attempts: Vec::new(),
            dropped: 0,
            has_lost_call: false,
        }
    }

    pub(super) fn publish(&mut self, published: u8, now: Duration) {
        self.published.push((now, published));
    }

    pub(super) fn published(&self, time: Duration) -> u8 {
        let last = self.published.iter().rfind(|(since, _)| *since <= time);
        last.expect("it starts at zero").1
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.config.timeout)
    }

    fn min_interval(&self) -> Duration {
        Duration::from_secs(self.config.min_interval)
    }

    /// After this long, nothing of before has any effect.
    pub(super) fn recovery(&self) -> Duration {
        Duration::from_secs(self.config.max_age + self.config.min_interval) + GRACE
    }

    /// Times at which to look closely.
    pub(super) fn ends(&self) -> impl Iterator<Item = Duration> {
        let ages = [
            self.config.ttl,
            self.config.ttl * 4 / 5,
            self.config.max_age,
        ];
        let recent = self.learned.iter().rev().take(2);
        let of_keys =
            recent.flat_map(move |learned| ages.map(|age| learned.sent + Duration::from_secs(age)));
        let attempts = self.attempts.iter().rev().take(2);
        of_keys.chain(attempts.map(|(_, at)| *at + self.min_interval()))
    }

    pub(super) fn attempted(&mut self, instance: usize, now: Duration) {
        self.attempts.push((instance, now));
        let made = self
            .attempts
            .iter()
            .filter(|(of, _)| *of == instance)
            .count();
        // For their age, for unknown keys, for bad signatures, and after failures.
        let intervals = usize::try_from(now.as_secs() / 5).unwrap_or(usize::MAX) + 5;
        let most = 4 * intervals + self.dropped;
        assert!(made <= most, "{made} fetches in {now:?}");
    }

    pub(super) fn dropped(&mut self, instance: usize, now: Duration) {
        self.dropped += 1;
        self.failed(instance, now, false);
    }

    fn failed(&mut self, instance: usize, at: Duration, is_end: bool) {
        self.failures.push(Failure {
            instance,
            at,
            is_end,
        });
    }

    /// What the issuer responds to a fetch.
    pub(super) fn respond(
        &mut self,
        instance: usize,
        sent: Duration,
        now: Duration,
        outcome: FetchOutcome,
    ) -> Result<IssuerResponse, CallFailure> {
        match outcome {
            FetchOutcome::Keys { when_sent } => {
                let published = self.published(if when_sent { sent } else { now });
                if published == 0 {
                    self.failed(instance, now, true);
                } else {
                    self.learned.push(Learned {
                        instance,
                        sent,
                        received: now,
                        published,
                    });
                }
                Ok(json(&document(published)))
            }
            FetchOutcome::Failed(failure) => {
                self.failed(instance, now, false);
                Err(failure)
            }
            FetchOutcome::Status(status, body) => {
                self.failed(
                    instance,
                    now,
                    status == 200 && body.starts_with(r#"{"keys":["#),
                );
                Ok(response(status, b"application/json", body.as_bytes()))
            }
        }
    }

    /// Responses that the instance may have the keys of, since the request came: its own, and those of
    /// others through the store, unless it had a later one of its own by then.
    fn states(&self, asked: Asked) -> impl Iterator<Item = &Learned> {
        let is_own = move |learned: &&Learned| {
            learned.instance == asked.instance && learned.received < asked.begun
        };
        let last = self
            .learned
            .iter()
            .rfind(is_own)
            .map(|learned| learned.sent);
        let is_shared = self.config.sharing != Sharing::None;
        self.learned.iter().filter(move |learned| {
            (learned.instance == asked.instance || is_shared)
                && last.is_none_or(|last| learned.sent + ROUNDING >= last)
        })
    }

    /// Whether these keys may count now. With `both` the signature was verified before the issuer was
    /// asked, at any moment since the request came.
    fn is_usable(&self, learned: &Learned, asked: Asked, now: Duration) -> bool {
        if self.config.strategy != "both" {
            return self.counts_at(learned, asked, now);
        }
        let failures = self.failures.iter().map(|failure| failure.at);
        let moments = failures.chain([asked.begun, learned.received, now]);
        let mut moments = moments.filter(|at| (asked.begun..=now).contains(at));
        moments.any(|at| self.counts_at(learned, asked, at))
    }

    fn counts_at(&self, learned: &Learned, asked: Asked, now: Duration) -> bool {
        let age = now.saturating_sub(learned.sent);
        let within = |seconds| age < Duration::from_secs(seconds) + ROUNDING;
        within(self.config.ttl)
            || (within(self.config.max_age) && self.is_failing(learned, asked, now))
    }

    /// Whether fetching has failed since, so lately that the old keys still count.
    fn is_failing(&self, learned: &Learned, asked: Asked, now: Duration) -> bool {
        let own = |failure: &&Failure| {
            failure.instance == asked.instance
                && failure.at >= learned.received
                && failure.at <= now
        };
        // With `both`, at the moment of the verification, which may have come first.
        let is_before = |failure: &Failure| self.config.strategy != "both" || failure.at < now;
        let is_end = |failure: &Failure| failure.is_end && is_before(failure);
        let is_ended =
            learned.instance == asked.instance && self.failures.iter().filter(own).any(is_end);
        let mut failures = self.failures.iter().filter(own);
        !is_ended
            && failures.any(|failure| {
                let retried = self.attempts.iter().any(|(instance, at)| {
                    *instance == asked.instance
                        && (failure.at..=now).contains(at)
                        && now <= *at + self.timeout() + GRACE + ROUNDING
                });
                retried || now <= failure.at + self.min_interval() + GRACE + ROUNDING
            })
    }

    pub(super) fn check(&self, asked: Asked, verdict: &Verdict, now: Duration, others: usize) {
        match &verdict.decision {
            Decision::Answered(response) => panic!("{response:?}"),
            Decision::Granted(grant) => {
                let client = (grant.headers()).find(|(name, _)| *name == "x-auth-client-id");
                let client = client.map(|(_, value)| value.to_owned());
                let expected = Some(asked.token.client());
                assert_eq!(client, expected, "facts about another token: {asked:?}");
                self.check_grant(asked, verdict.cache, now);
            }
            Decision::Refused(refusal) => {
                self.check_refusal(asked, refusal.reason(), now, others);
            }
        }
    }

    fn check_grant(&self, asked: Asked, cache: Option<CacheStatus>, now: Duration) {
        let key = match asked.token {
            Token::Signed { key, .. } => key,
            Token::Opaque => return assert_eq!(self.config.strategy, "auto"),
            Token::Forged { .. } | Token::UnknownKey | Token::Unsigned => {
                panic!("granted: {asked:?} at {now:?}")
            }
        };
        assert!(
            !asked.token.has_expired(now),
            "expired: {asked:?} at {now:?}"
        );
        // What is remembered counts as long as its key is there, whatever other key has its name.
        let is_remembered = cache == Some(CacheStatus::Hit);
        let counts = |learned: &&Learned| {
            let vouches = if is_remembered {
                has(learned.published, key)
            } else {
                verifies(learned.published, key)
            };
            vouches && self.is_usable(learned, asked, now)
        };
        assert!(
            self.states(asked).any(|learned| counts(&learned)),
            "granted by a key that does not count: {cache:?} {asked:?} at {now:?}: {:?} {:?}",
            self.learned,
            self.failures
        );
        // The same by the issuer's truth alone: how long a key that is gone may live.
        let fails = self
            .failures
            .iter()
            .any(|failure| failure.instance == asked.instance);
        let bound = if fails {
            self.config.max_age
        } else {
            self.config.ttl
        };
        let fetching = self.timeout() + LOST_AFTER;
        let since = asked
            .begun
            .saturating_sub(Duration::from_secs(bound) + fetching + ROUNDING);
        let before = self.published.iter().rfind(|(at, _)| *at < since);
        let later = self.published.iter().filter(|(at, _)| *at >= since);
        assert!(
            later
                .chain(before)
                .any(|(_, published)| has(*published, key)),
            "withdrawn before {since:?}: {asked:?} at {now:?}"
        );
    }

    fn check_refusal(&self, asked: Asked, reason: Reason, now: Duration, others: usize) {
        let waited = now.saturating_sub(asked.begun);
        let is_justified = match (reason, asked.token) {
            (Reason::NotAJwt, Token::Opaque) => self.config.strategy != "auto",
            (Reason::AlgorithmNotAllowed, Token::Unsigned) => true,
            (Reason::Expired, token) => token.has_expired(now),
            (Reason::TooBusy, _) => {
                others >= self.config.max_waiting / 4 || waited >= self.timeout() / 2
            }
            (Reason::UnknownKey, Token::Signed { key, .. } | Token::Forged { key }) => {
                self.is_unknown(asked, now, |published| !verifies(published, key))
            }
            (Reason::UnknownKey, Token::UnknownKey) => self.is_unknown(asked, now, |_| true),
            (Reason::InvalidSignature, Token::Forged { .. }) => true,
            // Another key has its name.
            (Reason::InvalidSignature, Token::Signed { key, .. }) => {
                let others = |published| {
                    (0..KEYS).any(|other| {
                        other != key && kid(other) == kid(key) && verifies(published, other)
                    })
                };
                self.states(asked).any(|learned| others(learned.published))
            }
            (reason, token) if reason.status() == 503 => {
                let is_about_token = token == Token::Opaque || self.config.strategy == "both";
                let asks = !matches!(token, Token::Unsigned);
                asks && (waited >= self.timeout()
                    || self.has_failed(asked)
                    || (is_about_token && self.has_lost_call)
                    || (is_about_token && waited >= self.timeout() / 2))
            }
            _ => false,
        };
        assert!(
            is_justified,
            "refused without a reason: {reason:?} {asked:?} at {now:?}: {:?} {:?} {:?}",
            self.learned, self.failures, self.attempts
        );
    }

    /// Whether the instance may have keys without the one of the token, and has no reason to fetch them
    /// again: they came for this request, or it has just looked for an unknown key.
    fn is_unknown(&self, asked: Asked, now: Duration, lacks: impl Fn(u8) -> bool) -> bool {
        let looked = self.attempts.iter().any(|(instance, at)| {
            *instance == asked.instance && *at <= now && *at + self.min_interval() >= now
        });
        self.states(asked)
            .any(|learned| lacks(learned.published) && (looked || learned.sent >= asked.begun))
    }

    /// Whether the last fetch of the instance failed, at some time since the request came.
    fn has_failed(&self, asked: Asked) -> bool {
        let well = self
            .learned
            .iter()
            .rfind(|learned| learned.instance == asked.instance && learned.received < asked.begun);
        let mut failures = self.failures.iter();
        failures.any(|failure| {
            failure.instance == asked.instance
                && well.is_none_or(|learned| failure.at >= learned.received)
        })
    }

    /// Whether a new token of this key is good as things are.
    pub(super) fn is_good(&self, token: Token, now: Duration) -> bool {
        match token {
            Token::Signed { key, .. } => {
                verifies(self.published(now), key) && !token.has_expired(now)
            }
            Token::Opaque => self.config.strategy == "auto",
            Token::Forged { .. } | Token::UnknownKey | Token::Unsigned => false,
        }
    }
}
