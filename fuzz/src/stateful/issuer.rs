//! What is true about each token, over time.

use std::time::Duration;

use super::event::{TOKENS, Truth};
use crate::support::START;

/// A token of one client of the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TokenId {
    pub(super) tenant: usize,
    pub(super) token: usize,
}

impl TokenId {
    /// As it is sent. The same for every client, and different facts.
    pub(super) fn text(self) -> String {
        format!("token-{}-of-somebody", self.token)
    }

    pub(super) fn from_text(tenant: usize, text: &[u8]) -> Option<Self> {
        let tokens = (0..TOKENS).map(|token| Self { tenant, token });
        tokens.into_iter().find(|id| id.text().as_bytes() == text)
    }

    pub(super) fn client(self) -> String {
        format!("client-{}-{}", self.tenant, self.token)
    }
}

/// What the issuer says about a token: active, and until when, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Inactive,
    Active(Option<u64>),
}

impl State {
    pub(super) fn body(self, id: TokenId) -> String {
        let client = id.client();
        match self {
            Self::Inactive => r#"{"active":false}"#.to_owned(),
            Self::Active(None) => format!(r#"{{"active":true,"client_id":"{client}"}}"#),
            Self::Active(Some(exp)) => {
                format!(r#"{{"active":true,"client_id":"{client}","exp":{exp}}}"#)
            }
        }
    }
}

/// The truth about the tokens of both clients.
pub(super) struct Issuer([[Vec<(Duration, State)>; TOKENS]; 2]);

impl Issuer {
    /// The second client's tokens are not active, so that facts of one client are no good for the
    /// other.
    pub(super) fn new() -> Self {
        let all = |state| [(); TOKENS].map(|()| vec![(Duration::ZERO, state)]);
        Self([all(State::Active(None)), all(State::Inactive)])
    }

    pub(super) fn set(&mut self, token: usize, truth: Truth, now: Duration) {
        let state = match truth {
            Truth::Inactive => State::Inactive,
            Truth::Active(left) => State::Active(left.map(|left| START + now.as_secs() + left)),
        };
        self.0[0][token].push((now, state));
        // The second client's token becomes active when the first one's does not.
        let other = if state == State::Inactive {
            State::Active(None)
        } else {
            State::Inactive
        };
        self.0[1][token].push((now, other));
    }

    pub(super) fn at(&self, id: TokenId, time: Duration) -> State {
        let history = &self.0[id.tenant][id.token];
        let last = history.iter().rfind(|(since, _)| *since <= time);
        last.expect("it starts at zero").1
    }

    /// Whether it was active at some time since `from`.
    pub(super) fn was_active_since(&self, id: TokenId, from: Duration) -> bool {
        let history = &self.0[id.tenant][id.token];
        // At the very moment of a change, both states are true.
        let before = history.iter().rfind(|(since, _)| *since < from);
        let since = history.iter().filter(|(since, _)| *since >= from);
        since
            .chain(before)
            .any(|(_, state)| *state != State::Inactive)
    }
}
