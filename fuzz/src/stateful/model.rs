//! What the issuer said, to whom and when; and what follows from it for a verdict.

use std::time::Duration;

use token_check::{CacheStatus, CallFailure, Decision, IssuerResponse, Reason, Sharing, Verdict};

use super::event::{CallOutcome, Config, ROUTES};
use super::issuer::{Issuer, State, TokenId};
use crate::support::{START, json, response};

/// How long after its deadline an adapter gives an action up, as the Envoy filter does.
pub(super) const LOST_AFTER: Duration = Duration::from_secs(1);
/// Ages are compared in milliseconds, and once more in shared records.
const ROUNDING: Duration = Duration::from_millis(2);

/// A response about a token.
#[derive(Clone, Debug)]
struct Answer {
    instance: usize,
    id: TokenId,
    sent: Duration,
    received: Duration,
    state: State,
}

/// The issuer failed an instance.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    instance: usize,
    at: Duration,
    /// Stale results may be used: it failed the probe.
    is_outage: bool,
}

/// Longest `Retry-After` that is obeyed.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Token(TokenId),
    Probe,
}

/// A request, as far as its verdict depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) instance: usize,
    pub(super) id: TokenId,
    pub(super) route: usize,
    pub(super) begun: Duration,
}

pub(super) struct Model {
    config: Config,
    pub(super) issuer: Issuer,
    answers: Vec<Answer>,
    troubles: Vec<Trouble>,
    /// Tokens that the issuer asked not to ask about for a while, and until when at the latest.
    holds: Vec<(usize, TokenId, Duration)>,
    /// By instance: the last failed probe that no good response to a later call has followed.
    trouble_since: Vec<Option<Duration>>,
    /// By instance: when that response came.
    trouble_ended: Vec<Option<Duration>>,
}

impl Model {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            issuer: Issuer::new(),
            answers: Vec::new(),
            troubles: Vec::new(),
            trouble_since: vec![None; config.instances],
            trouble_ended: vec![None; config.instances],
            holds: Vec::new(),
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.config.timeout)
    }

    /// What the issuer responds to a call.
    pub(super) fn respond(
        &mut self,
        instance: usize,
        about: About,
        sent: Duration,
        now: Duration,
        outcome: &CallOutcome,
    ) -> Result<IssuerResponse, CallFailure> {
        match outcome {
            CallOutcome::Truth { when_sent } => {
                self.responded(instance, sent, now);
                Ok(match about {
                    About::Probe => json(r#"{"active":false}"#),
                    About::Token(id) => {
                        let state = self.issuer.at(id, if *when_sent { sent } else { now });
                        self.answered(instance, id, sent, now, state);
                        json(&state.body(id))
                    }
                })
            }
            CallOutcome::Failed(failure) => {
                let is_denied = *failure == CallFailure::Denied;
                let is_outage = about == About::Probe && !is_denied;
                self.failed(instance, now, is_outage, is_outage);
                Err(*failure)
            }
            CallOutcome::Status {
                status,
                retry_after,
                body,
            } => {
                let says_inactive = matches!(
                    (*status, *body),
                    (200 | 400 | 401, r#"{"active":false}"#)
                        | (400, r#"{"error":"invalid_token"}"#)
                );
                let is_probe = about == About::Probe;
                let opens_circuit = is_probe && matches!(status, 429 | 502 | 503 | 504);
                match about {
                    About::Token(id) if says_inactive => {
                        self.answered(instance, id, sent, now, State::Inactive);
                    }
                    About::Token(id) => {
                        self.failed(instance, now, false, false);
                        if retry_after.is_some() && matches!(status, 429 | 503) {
                            self.holds.push((instance, id, now + LONGEST_HOLD));
                        }
                    }
                    About::Probe => {
                        let is_outage = *status == 429 || *status >= 500;
                        self.failed(instance, now, is_outage, opens_circuit);
                    }
                }
                if !matches!(status, 429 | 502 | 503 | 504) {
                    self.responded(instance, sent, now);
                }
                let mut response = response(*status, b"application/json", body.as_bytes());
                response.retry_after = retry_after.map(|wait| wait.as_bytes().to_vec());
                Ok(response)
            }
        }
    }

    fn answered(
        &mut self,
        instance: usize,
        id: TokenId,
        sent: Duration,
        received: Duration,
        state: State,
    ) {
        self.answers.push(Answer {
            instance,
            id,
            sent,
            received,
            state,
        });
    }

    /// The issuer responded well enough to close a circuit.
    fn responded(&mut self, instance: usize, sent: Duration, now: Duration) {
        let ended = self.trouble_since[instance].take_if(|since| sent > *since);
        if ended.is_some() {
            self.trouble_ended[instance] = Some(now);
        }
    }

    fn failed(&mut self, instance: usize, at: Duration, is_outage: bool, opens_circuit: bool) {
        self.troubles.push(Trouble {
            instance,
            at,
            is_outage,
        });
        if opens_circuit {
            self.trouble_since[instance] = Some(at);
        }
    }

    /// Seconds for which results may be used on a route.
    pub(super) fn ttl(&self, route: usize) -> u64 {
        let rule = ROUTES[route].1.filter(|_| self.config.has_rules);
        rule.unwrap_or(self.config.cache_ttl)
    }

    fn rounding(&self) -> Duration {
        if self.config.sharing == Sharing::None {
            Duration::ZERO
        } else {
            ROUNDING
        }
    }

    /// When each answer becomes too old on some route: times at which to look closely.
    pub(super) fn ends(&self) -> impl Iterator<Item = Duration> {
        let longest = [0, 1, 2].map(|route| Duration::from_secs(self.ttl(route)));
        let stale = Duration::from_secs(self.config.stale_if_error);
        let recent = self.answers.iter().rev().take(4).map(|answer| answer.sent);
        recent
            .flat_map(move |sent| longest.map(|ttl| [sent + ttl, sent + ttl + stale]))
            .flatten()
    }

    /// `others`: how many other requests wait in the instance.
    pub(super) fn check(&self, asked: Asked, verdict: &Verdict, now: Duration, others: usize) {
        match &verdict.decision {
            Decision::Answered(response) => panic!("{response:?}"),
            Decision::Granted(grant) => {
                let client = grant
                    .headers()
                    .find(|(name, _)| *name == "x-auth-client-id");
                let client = client.map(|(_, value)| value.to_owned());
                assert_eq!(
                    client,
                    Some(asked.id.client()),
                    "facts about another token: {asked:?}"
                );
                let cache = verdict.cache.expect("a token was needed");
                self.check_grant(asked, cache, now);
            }
            Decision::Refused(refusal) => {
                let cache = verdict.cache.expect("the credentials are good");
                self.check_refusal(asked, refusal.reason(), cache, now, others);
            }
        }
    }

    fn check_grant(&self, asked: Asked, cache: CacheStatus, now: Duration) {
        let ttl = Duration::from_secs(self.ttl(asked.route));
        let stale = Duration::from_secs(self.config.stale_if_error);
        let is_justified = self.about(asked).any(|answer| {
            let State::Active(exp) = answer.state else {
                return false;
            };
            self.is_usable(answer, asked, cache, now, ttl)
                && self.is_unexpired(exp, cache, now)
                && !self.is_contradicted(answer, asked)
        });
        assert!(
            is_justified,
            "granted without a reason: {cache:?} {asked:?} at {now:?}: {:?}",
            self.answers
        );
        if cache == CacheStatus::Stale {
            assert!(
                self.may_be_outage(asked),
                "stale without an outage: {asked:?} at {now:?}"
            );
        }

        // The same without a look at the answers: how long a revoked token may live.
        let fetching = self.timeout() + LOST_AFTER + now.saturating_sub(asked.begun);
        let bound = match cache {
            CacheStatus::Hit | CacheStatus::Shared => ttl + self.rounding(),
            CacheStatus::Stale => ttl + stale + self.rounding(),
            CacheStatus::Miss => now - asked.begun,
            CacheStatus::Collapsed => fetching.max(ttl + self.rounding()),
            CacheStatus::Verified => unreachable!("every token is introspected"),
        };
        let since = now.saturating_sub(bound);
        assert!(
            self.issuer.was_active_since(asked.id, since),
            "revoked before {since:?}: {cache:?} {asked:?} at {now:?}"
        );
    }

    /// Answers about the token that the instance may know.
    fn about(&self, asked: Asked) -> impl Iterator<Item = &Answer> {
        let is_shared = self.config.sharing != Sharing::None;
        (self.answers.iter()).filter(move |answer| {
            answer.id == asked.id && (answer.instance == asked.instance || is_shared)
        })
    }

    fn is_usable(
        &self,
        answer: &Answer,
        asked: Asked,
        cache: CacheStatus,
        now: Duration,
        ttl: Duration,
    ) -> bool {
        let age = now.saturating_sub(answer.sent);
        let is_own = answer.instance == asked.instance && answer.received >= asked.begun;
        let is_fresh = age < ttl + self.rounding() && !ttl.is_zero();
        let stale = Duration::from_secs(self.config.stale_if_error);
        match cache {
            CacheStatus::Hit | CacheStatus::Shared => is_fresh,
            CacheStatus::Stale => {
                !ttl.is_zero() && !stale.is_zero() && age < ttl + stale + self.rounding()
            }
            CacheStatus::Miss => is_own && answer.sent >= asked.begun,
            CacheStatus::Collapsed => {
                let is_in_time = answer.sent + self.timeout() + LOST_AFTER >= asked.begun;
                (is_own && is_in_time) || (is_fresh && self.config.sharing != Sharing::None)
            }
            CacheStatus::Verified => false,
        }
    }

    fn is_unexpired(&self, exp: Option<u64>, cache: CacheStatus, now: Duration) -> bool {
        let (now, leeway) = (START + now.as_secs(), self.config.leeway);
        exp.is_none_or(|exp| match cache {
            CacheStatus::Hit | CacheStatus::Shared | CacheStatus::Stale => now + leeway < exp,
            CacheStatus::Miss | CacheStatus::Collapsed => now < exp + leeway,
            CacheStatus::Verified => false,
        })
    }

    /// Whether the instance had heard before the request came, and from a later call, that the token
    /// is not active. A small cache may have forgotten it, and a store not.
    fn is_contradicted(&self, answer: &Answer, asked: Asked) -> bool {
        let may_forget = self.config.cache_entries < 16 && self.config.sharing != Sharing::None;
        let heard = (self.answers.iter()).rfind(|other| {
            (other.instance, other.id) == (asked.instance, asked.id) && other.received < asked.begun
        });
        !may_forget
            && heard.is_some_and(|heard| {
                heard.state == State::Inactive && heard.sent > answer.sent + self.rounding()
            })
    }

    fn troubles_of(&self, asked: Asked) -> impl Iterator<Item = &Trouble> {
        let window = self.timeout() + LOST_AFTER;
        (self.troubles.iter()).filter(move |trouble| {
            trouble.instance == asked.instance && trouble.at + window >= asked.begun
        })
    }

    /// Whether a circuit may have been open at some time since the request came.
    fn may_be_open(&self, asked: Asked) -> bool {
        let ended = self.trouble_ended[asked.instance];
        self.trouble_since[asked.instance].is_some() || ended.is_some_and(|at| at >= asked.begun)
    }

    fn may_be_outage(&self, asked: Asked) -> bool {
        self.may_be_open(asked) || self.troubles_of(asked).any(|trouble| trouble.is_outage)
    }

    fn is_held(&self, asked: Asked) -> bool {
        (self.holds.iter()).any(|(instance, id, until)| {
            (*instance, *id) == (asked.instance, asked.id) && *until >= asked.begun
        })
    }

    fn check_refusal(
        &self,
        asked: Asked,
        reason: Reason,
        cache: CacheStatus,
        now: Duration,
        others: usize,
    ) {
        let ttl = Duration::from_secs(self.ttl(asked.route));
        let negative = ttl.min(Duration::from_secs(self.config.negative_cache_ttl));
        let now_seconds = START + now.as_secs();
        // A request gives up when it has less time left than the issuer took lately, of which at most
        // half of the timeout counts.
        let may_give_up = now >= asked.begun + self.timeout() / 2;
        let is_justified = match reason {
            Reason::Inactive => self.about(asked).any(|answer| {
                answer.state == State::Inactive
                    && self.is_usable(answer, asked, cache, now, negative)
            }),
            Reason::Expired => self.about(asked).any(|answer| {
                let State::Active(Some(exp)) = answer.state else {
                    return false;
                };
                now_seconds >= exp + self.config.leeway
            }),
            Reason::TooBusy => {
                // One token has half of the places, strangers three quarters.
                others >= self.config.max_waiting.div_ceil(2) || may_give_up
            }
            reason if reason.status() == 503 => {
                now >= asked.begun + self.timeout()
                    || (reason == Reason::IssuerTimeout && may_give_up)
                    || self.may_be_open(asked)
                    || self.is_held(asked)
                    || self.troubles_of(asked).next().is_some()
            }
            _ => false,
        };
        assert!(
            is_justified,
            "refused without a reason: {reason:?} {cache:?} {asked:?} at {now:?}: {:?}",
            self.answers
        );
    }
}
