//! What the stub remembers. Every table has a limit, so that no number of callers and tokens makes it grow for ever.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use lru::LruCache;

use super::{
    clients::{StubClient, new_uuid},
    reaction::Reaction,
    record::{Counters, Endpoint, RecordedRequest},
    tokens::{About, Claims, Token, TokenSpec, new_token, seconds, unix_now},
    urls::{Provider, Urls},
};

/// Tokens known; past it the one that was not used for the longest time is forgotten, and so inactive.
const TOKENS: usize = 250_000;

/// Tokens whose questions are counted, the unknown ones included.
const COUNTED_TOKENS: usize = 250_000;

/// Tokens with a script.
const TOKEN_SCRIPTS: usize = 10_000;

/// Requests remembered.
const REQUESTS: usize = 256;

pub(super) struct State {
    pub(super) clients: Vec<StubClient>,
    pub(super) only_own_tokens: bool,
    pub(super) token_lifetime: Duration,
    pub(super) control: bool,
    new_urls: Urls,
    old_urls: Urls,
    pub(super) counts: Counts,
    tokens: Mutex<LruCache<String, Token>>,
    /// Keyed by a hash: an unknown token may be long, and a count that is off once in a lifetime does no harm.
    questions: Mutex<LruCache<u64, u64>>,
    hasher: RandomState,
    token_scripts: Mutex<LruCache<String, Script>>,
    endpoint_scripts: Mutex<HashMap<Endpoint, Script>>,
    requests: Mutex<VecDeque<RecordedRequest>>,
}

#[derive(Default)]
pub(super) struct Counts {
    calls: [AtomicU64; Endpoint::ALL.len()],
    connections_accepted: AtomicU64,
    connections_open: AtomicU64,
    connections_open_most: AtomicU64,
}

/// What is said of a token.
pub(super) enum Known<T> {
    Yes(T),
    Unknown,
    Expired,
    Revoked,
    /// It is another client's.
    Foreign,
}

struct Script {
    reactions: Vec<Reaction>,
    next: usize,
}

impl Script {
    fn next(&mut self) -> Option<Reaction> {
        let reaction = self
            .reactions
            .get(self.next)
            .or_else(|| self.reactions.last());
        self.next = self.next.saturating_add(1);
        reaction.cloned()
    }
}

impl State {
    pub(super) fn new(
        clients: Vec<StubClient>,
        only_own_tokens: bool,
        token_lifetime: Duration,
        control: bool,
        base: &str,
    ) -> Self {
        Self {
            clients,
            only_own_tokens,
            token_lifetime,
            control,
            new_urls: Urls::new(base, Provider::New),
            old_urls: Urls::new(base, Provider::Old),
            counts: Counts::default(),
            tokens: Mutex::new(LruCache::unbounded()),
            questions: Mutex::new(LruCache::unbounded()),
            hasher: RandomState::new(),
            token_scripts: Mutex::new(LruCache::unbounded()),
            endpoint_scripts: Mutex::default(),
            requests: Mutex::default(),
        }
    }

    pub(super) const fn urls(&self, provider: Provider) -> &Urls {
        match provider {
            Provider::New => &self.new_urls,
            Provider::Old => &self.old_urls,
        }
    }

    pub(super) fn client(&self, name_or_id: &str) -> Result<&StubClient> {
        let mut clients = self.clients.iter();
        clients
            .find(|client| client.name == name_or_id || client.id == name_or_id)
            .with_context(|| format!("the stub has no client {name_or_id:?}"))
    }

    /// A new token and its grant.
    pub(super) fn issue(&self, spec: TokenSpec) -> Result<(String, String)> {
        let client = match &spec.client {
            Some(name_or_id) => self.client(name_or_id)?,
            None => self.clients.first().context("the stub has no client")?,
        };
        let now = unix_now();
        let token = new_token(now);
        let grant_id = new_uuid();
        let lifetime = spec
            .expires_in
            .unwrap_or_else(|| seconds(self.token_lifetime));
        let about = match spec.document {
            Some(document) => About::Document(document),
            None => About::Claims(Box::new(Claims {
                audience: spec.audience.unwrap_or_else(|| client.audience()),
                scope: spec.scope,
                issued: now,
                grant_id: grant_id.clone(),
                members: spec.members,
            })),
        };
        let known = Token {
            client_id: Some(client.id.clone()),
            expires: now.saturating_add(lifetime),
            revoked: false,
            about,
        };
        put(&mut lock(&self.tokens), token.clone(), known, TOKENS);
        Ok((token, grant_id))
    }

    pub(super) fn register(&self, token: &str, document: Bytes) {
        let known = Token {
            client_id: None,
            expires: i64::MAX,
            revoked: false,
            about: About::Document(document),
        };
        put(&mut lock(&self.tokens), token.to_owned(), known, TOKENS);
    }

    /// Revokes the token if it is this client's (None: whoever asks). False: it is another one's.
    pub(super) fn revoke(&self, token: &str, client_id: Option<&str>) -> bool {
        let mut tokens = lock(&self.tokens);
        let Some(token) = tokens.get_mut(token) else {
            return true;
        };
        let owner = token.client_id.as_deref();
        if client_id.is_some() && owner.is_some() && client_id != owner {
            return false;
        }
        token.revoked = true;
        true
    }

    /// The introspection document, for this client.
    pub(super) fn introspect(
        &self,
        token: &str,
        client: &StubClient,
        provider: Provider,
    ) -> Known<Bytes> {
        let mut tokens = lock(&self.tokens);
        let Some(token) = tokens.get(token) else {
            return Known::Unknown;
        };
        if token.revoked {
            return Known::Revoked;
        }
        if token.expires <= unix_now() {
            return Known::Expired;
        }
        let owner = token.client_id.as_deref().unwrap_or(&client.id);
        if self.only_own_tokens && owner != client.id {
            return Known::Foreign;
        }
        Known::Yes(match &token.about {
            About::Document(document) => document.clone(),
            About::Claims(claims) => {
                let issuer = &self.urls(provider).issuer;
                let document = claims.document(provider, issuer, owner, token.expires);
                document.to_string().into()
            }
        })
    }

    pub(super) fn count_question(&self, token: &str) {
        let mut questions = lock(&self.questions);
        let key = self.hasher.hash_one(token);
        match questions.get_mut(&key) {
            Some(count) => *count += 1,
            None => put(&mut questions, key, 1, COUNTED_TOKENS),
        }
    }

    pub(super) fn questions_about(&self, token: &str) -> u64 {
        let key = self.hasher.hash_one(token);
        lock(&self.questions).peek(&key).copied().unwrap_or(0)
    }

    /// A short name for a token that says nothing about it, the same for as long as the stub runs.
    pub(super) fn fingerprint(&self, token: &str) -> String {
        format!("{:016x}", self.hasher.hash_one(token))
            .chars()
            .take(8)
            .collect()
    }

    pub(super) fn script(&self, token: &str, reactions: Vec<Reaction>) {
        let mut scripts = lock(&self.token_scripts);
        if reactions.is_empty() {
            scripts.pop(token);
        } else {
            let script = Script { reactions, next: 0 };
            put(&mut scripts, token.to_owned(), script, TOKEN_SCRIPTS);
        }
    }

    pub(super) fn script_endpoint(&self, endpoint: Endpoint, reactions: Vec<Reaction>) {
        let mut scripts = lock(&self.endpoint_scripts);
        if reactions.is_empty() {
            scripts.remove(&endpoint);
        } else {
            scripts.insert(endpoint, Script { reactions, next: 0 });
        }
    }

    pub(super) fn clear_scripts(&self) {
        lock(&self.token_scripts).clear();
        lock(&self.endpoint_scripts).clear();
    }

    /// What the scripts say about this call; a token's script wins over its endpoint's.
    pub(super) fn reaction(&self, endpoint: Endpoint, token: Option<&str>) -> Reaction {
        let of_token = token.and_then(|token| lock(&self.token_scripts).get_mut(token)?.next());
        let of_endpoint = || lock(&self.endpoint_scripts).get_mut(&endpoint)?.next();
        of_token
            .or_else(of_endpoint)
            .unwrap_or_else(Reaction::normal)
    }

    pub(super) fn record(&self, request: RecordedRequest) {
        let mut requests = lock(&self.requests);
        if requests.len() >= REQUESTS {
            requests.pop_front();
        }
        requests.push_back(request);
    }

    pub(super) fn requests(&self) -> Vec<RecordedRequest> {
        lock(&self.requests).iter().cloned().collect()
    }
}

impl Counts {
    pub(super) fn call(&self, endpoint: Endpoint) {
        if let Some(count) = self.of(endpoint) {
            count.fetch_add(1, Relaxed);
        }
    }

    fn of(&self, endpoint: Endpoint) -> Option<&AtomicU64> {
        let position = Endpoint::ALL.iter().position(|other| *other == endpoint)?;
        self.calls.get(position)
    }

    /// Counts a connection until what it returns is dropped.
    pub(super) fn connection(&self) -> OpenConnection<'_> {
        self.connections_accepted.fetch_add(1, Relaxed);
        let open = self.connections_open.fetch_add(1, Relaxed) + 1;
        self.connections_open_most.fetch_max(open, Relaxed);
        OpenConnection(self)
    }

    pub(super) fn read(&self) -> Counters {
        let calls = |endpoint| self.of(endpoint).map_or(0, |count| count.load(Relaxed));
        Counters {
            token: calls(Endpoint::Token),
            introspect: calls(Endpoint::Introspect),
            revoke: calls(Endpoint::Revoke),
            discovery: calls(Endpoint::Discovery),
            jwks: calls(Endpoint::Jwks),
            other: calls(Endpoint::Other),
            connections_accepted: self.connections_accepted.load(Relaxed),
            connections_open: self.connections_open.load(Relaxed),
            connections_open_most: self.connections_open_most.load(Relaxed),
        }
    }
}

pub(super) struct OpenConnection<'a>(&'a Counts);

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Relaxed);
    }
}

fn put<K: std::hash::Hash + Eq, V>(cache: &mut LruCache<K, V>, key: K, value: V, limit: usize) {
    cache.put(key, value);
    if cache.len() > limit {
        cache.pop_lru();
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let clients = vec![StubClient::new("a")];
        State::new(clients, false, Duration::from_secs(60), false, "http://b")
    }

    #[test]
    fn any_number_of_unknown_tokens_leaves_the_known_ones_and_a_bounded_table() {
        let state = state();
        let client = state.client("a").unwrap();
        let (good, _) = state.issue(TokenSpec::default()).unwrap();
        for number in 0..2 * COUNTED_TOKENS {
            let token = format!("unknown {number}");
            state.count_question(&token);
            let known = state.introspect(&token, client, Provider::New);
            assert!(matches!(known, Known::Unknown));
        }
        assert_eq!(lock(&state.tokens).len(), 1);
        assert_eq!(lock(&state.questions).len(), COUNTED_TOKENS);
        let known = state.introspect(&good, client, Provider::New);
        assert!(matches!(known, Known::Yes(_)));
    }

    #[test]
    fn tokens_and_scripts_have_a_limit_and_the_oldest_goes_first() {
        let state = state();
        for number in 0..=TOKENS {
            state.register(&number.to_string(), Bytes::from_static(b"{}"));
        }
        for number in 0..=TOKEN_SCRIPTS {
            state.script(&number.to_string(), vec![Reaction::hang()]);
        }
        assert_eq!(lock(&state.tokens).len(), TOKENS);
        assert_eq!(lock(&state.token_scripts).len(), TOKEN_SCRIPTS);
        let client = state.client("a").unwrap();
        let first = state.introspect("0", client, Provider::New);
        assert!(matches!(first, Known::Unknown));
        let second = state.introspect("1", client, Provider::New);
        assert!(matches!(second, Known::Yes(_)));
    }
}
