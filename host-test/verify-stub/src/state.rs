//! The state of the stub. Every table has a limit, so that no number of callers and tokens exhausts
//! the memory.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use lru::LruCache;
use serde_json::Value;

use super::{
    clients::{StubClient, new_uuid},
    counters::Counts,
    jwt::{KeyRing, TokenFormat, sign},
    reaction::Reaction,
    record::{Endpoint, RecordedRequest},
    tables::{UsedIds, lock, put},
    tokens::{Claims, Token, TokenDocument, TokenSpec, new_token, seconds, unix_now},
    urls::{Provider, Urls},
};

/// How many tokens are kept. Beyond that the least recently used one is dropped, and so inactive.
const MAX_TOKENS: usize = 250_000;

/// For how many tokens introspection calls are counted, unknown ones included.
const MAX_COUNTED_TOKENS: usize = 250_000;

/// How many tokens may have a script.
const MAX_TOKEN_SCRIPTS: usize = 10_000;

/// How many requests are kept.
const MAX_REQUESTS: usize = 256;

pub(super) struct State {
    pub(super) clients: Vec<StubClient>,
    pub(super) only_own_tokens: bool,
    pub(super) token_lifetime: Duration,
    pub(super) control: bool,
    /// The name of the client whose certificate every connection needs.
    pub(super) certificate_owner: Option<String>,
    new_urls: Urls,
    old_urls: Urls,
    pub(super) counts: Counts,
    pub(super) keys: KeyRing,
    pub(super) used_assertions: UsedIds,
    pub(super) used_proofs: UsedIds,
    dpop_nonce: Mutex<Option<String>>,
    format: Mutex<TokenFormat>,
    tokens: Mutex<LruCache<String, Token>>,
    /// Keyed by a hash, because an unknown token may be long; a collision would only make a count
    /// wrong.
    introspections: Mutex<LruCache<u64, u64>>,
    hasher: RandomState,
    token_scripts: Mutex<LruCache<String, Script>>,
    endpoint_scripts: Mutex<HashMap<Endpoint, Script>>,
    requests: Mutex<VecDeque<RecordedRequest>>,
}

/// The status of a token for the client that introspects it.
pub(super) enum TokenStatus {
    /// Active, with this introspection document.
    Active(Bytes),
    Unknown,
    Expired,
    Revoked,
    /// The token of another client, which this client may not introspect.
    OtherClient,
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
        certificate_owner: Option<String>,
        base: &str,
    ) -> Self {
        Self {
            clients,
            only_own_tokens,
            token_lifetime,
            control,
            certificate_owner,
            new_urls: Urls::new(base, Provider::New),
            old_urls: Urls::new(base, Provider::Old),
            counts: Counts::default(),
            keys: KeyRing::default(),
            used_assertions: UsedIds::default(),
            used_proofs: UsedIds::default(),
            dpop_nonce: Mutex::default(),
            format: Mutex::default(),
            tokens: Mutex::new(LruCache::unbounded()),
            introspections: Mutex::new(LruCache::unbounded()),
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

    /// What the token endpoint issues from now on.
    pub(super) fn set_format(&self, format: TokenFormat) {
        *lock(&self.format) = format;
    }

    /// The nonce that DPoP proofs need, if they need one.
    pub(super) fn dpop_nonce(&self) -> Option<String> {
        lock(&self.dpop_nonce).clone()
    }

    pub(super) fn set_dpop_nonce(&self, nonce: Option<String>) {
        *lock(&self.dpop_nonce) = nonce;
    }

    /// A new token and its grant id.
    pub(super) fn issue(&self, provider: Provider, spec: TokenSpec) -> Result<(String, String)> {
        let client = match &spec.client {
            Some(name_or_id) => self.client(name_or_id)?,
            None => self.clients.first().context("the stub has no client")?,
        };
        let now = unix_now();
        let format = spec.format.unwrap_or_else(|| *lock(&self.format));
        let grant_id = new_uuid();
        let lifetime = spec
            .expires_in
            .unwrap_or_else(|| seconds(self.token_lifetime));
        let claims = Claims {
            audience: spec.audience.unwrap_or_else(|| vec![client.id.clone()]),
            scope: spec.scope,
            issued: now,
            grant_id: grant_id.clone(),
            jti: matches!(format, TokenFormat::Jwt(_)).then(new_uuid),
            members: spec.members,
        };
        let expires = now.saturating_add(lifetime);
        let (token, document) = match format {
            TokenFormat::Opaque => (new_token(now), TokenDocument::FromClaims(Box::new(claims))),
            TokenFormat::Jwt(algorithm) => {
                let issuer = &self.urls(provider).issuer;
                let document = claims.document(provider, issuer, &client.id, expires);
                let mut claims = document.clone();
                // What RFC 7662 section 2.2 says of a token, the token does not say of itself.
                claims.retain(|name, _| name != "active" && name != "token_type");
                let claims = Value::Object(claims).to_string();
                let token = sign(&self.keys, algorithm, &spec.jwt, &claims)?;
                if spec.jwt.fault.is_some() {
                    return Ok((token, grant_id));
                }
                let document = Value::Object(document).to_string();
                (token, TokenDocument::Fixed(document.into()))
            }
        };
        let entry = Token {
            client_id: Some(client.id.clone()),
            expires,
            revoked: false,
            document,
        };
        put(&mut lock(&self.tokens), token.clone(), entry, MAX_TOKENS);
        Ok((token, grant_id))
    }

    pub(super) fn register(&self, token: &str, document: Bytes) {
        let entry = Token {
            client_id: None,
            expires: i64::MAX,
            revoked: false,
            document: TokenDocument::Fixed(document),
        };
        put(&mut lock(&self.tokens), token.to_owned(), entry, MAX_TOKENS);
    }

    /// Revokes the token. Returns false if it belongs to another client than `client_id`; `None`
    /// stands for any client.
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

    /// The status of the token for this client.
    pub(super) fn introspect(
        &self,
        token: &str,
        client: &StubClient,
        provider: Provider,
    ) -> TokenStatus {
        let mut tokens = lock(&self.tokens);
        let Some(token) = tokens.get(token) else {
            return TokenStatus::Unknown;
        };
        if token.revoked {
            return TokenStatus::Revoked;
        }
        if token.expires <= unix_now() {
            return TokenStatus::Expired;
        }
        let owner = token.client_id.as_deref().unwrap_or(&client.id);
        if self.only_own_tokens && owner != client.id {
            return TokenStatus::OtherClient;
        }
        TokenStatus::Active(match &token.document {
            TokenDocument::Fixed(document) => document.clone(),
            TokenDocument::FromClaims(claims) => {
                let issuer = &self.urls(provider).issuer;
                let document = claims.document(provider, issuer, owner, token.expires);
                Value::Object(document).to_string().into()
            }
        })
    }

    pub(super) fn count_introspection(&self, token: &str) {
        let mut introspections = lock(&self.introspections);
        let key = self.hasher.hash_one(token);
        match introspections.get_mut(&key) {
            Some(count) => *count += 1,
            None => put(&mut introspections, key, 1, MAX_COUNTED_TOKENS),
        }
    }

    pub(super) fn introspections_of(&self, token: &str) -> u64 {
        let key = self.hasher.hash_one(token);
        lock(&self.introspections).peek(&key).copied().unwrap_or(0)
    }

    /// A short name for a token, which reveals nothing of it and is stable while the stub runs.
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
            put(&mut scripts, token.to_owned(), script, MAX_TOKEN_SCRIPTS);
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

    /// What the scripts say about this call. A token's script takes precedence over its endpoint's.
    pub(super) fn reaction(&self, endpoint: Endpoint, token: Option<&str>) -> Reaction {
        let of_token = token.and_then(|token| lock(&self.token_scripts).get_mut(token)?.next());
        let of_endpoint = || lock(&self.endpoint_scripts).get_mut(&endpoint)?.next();
        of_token
            .or_else(of_endpoint)
            .unwrap_or_else(Reaction::normal)
    }

    pub(super) fn record(&self, request: RecordedRequest) {
        let mut requests = lock(&self.requests);
        if requests.len() >= MAX_REQUESTS {
            requests.pop_front();
        }
        requests.push_back(request);
    }

    pub(super) fn requests(&self) -> Vec<RecordedRequest> {
        lock(&self.requests).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let clients = vec![StubClient::new("a")];
        State::new(
            clients,
            false,
            Duration::from_secs(60),
            false,
            None,
            "http://b",
        )
    }

    #[test]
    fn unknown_tokens_neither_evict_known_ones_nor_exhaust_the_memory() {
        let state = state();
        let client = state.client("a").unwrap();
        let (good, _) = state.issue(Provider::New, TokenSpec::default()).unwrap();
        for number in 0..2 * MAX_COUNTED_TOKENS {
            let token = format!("unknown {number}");
            state.count_introspection(&token);
            let status = state.introspect(&token, client, Provider::New);
            assert!(matches!(status, TokenStatus::Unknown));
        }
        assert_eq!(lock(&state.tokens).len(), 1);
        assert_eq!(lock(&state.introspections).len(), MAX_COUNTED_TOKENS);
        let status = state.introspect(&good, client, Provider::New);
        assert!(matches!(status, TokenStatus::Active(_)));
    }

    #[test]
    fn tokens_and_scripts_have_a_limit_and_the_oldest_goes_first() {
        let state = state();
        for number in 0..=MAX_TOKENS {
            state.register(&number.to_string(), Bytes::from_static(b"{}"));
        }
        for number in 0..=MAX_TOKEN_SCRIPTS {
            state.script(&number.to_string(), vec![Reaction::hang()]);
        }
        assert_eq!(lock(&state.tokens).len(), MAX_TOKENS);
        assert_eq!(lock(&state.token_scripts).len(), MAX_TOKEN_SCRIPTS);
        let client = state.client("a").unwrap();
        let first = state.introspect("0", client, Provider::New);
        assert!(matches!(first, TokenStatus::Unknown));
        let second = state.introspect("1", client, Provider::New);
        assert!(matches!(second, TokenStatus::Active(_)));
    }
}
