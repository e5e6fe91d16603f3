//! The access token: one request for many callers, kept, refreshed early, renewed once when it is refused.
//!
//! There is no cache to look a token up in. A [`TokenSource`] owns the [`Grant`] that its tokens are for and holds at
//! most one of them.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use oauth2::TokenUrl;
use tokio::{sync::OnceCell, task, time::Instant};

use crate::{
    discovery::TokenEndpoint,
    exchange::{self, Granted, Refused},
    failure::Failure,
    http::Http,
    secret::{AccessToken, ClientSecret},
    settings::{Grant, secret_from_file},
};

/// A token is replaced so long before it expires: a call that is under way with it should still arrive in time.
const REFRESH_MARGIN: Duration = Duration::from_secs(30);
/// Of a short-lived token at most this part of its life is given away.
const REFRESH_MARGIN_DIVISOR: u32 = 4;
/// After a failed token request the issuer is left alone for so long; callers share the failure, or the token that is
/// still valid.
const ISSUER_REST: Duration = Duration::from_secs(1);
/// The same after a refusal that the next request would get too, and the longest that `Retry-After` is obeyed.
const LONG_ISSUER_REST: Duration = Duration::from_secs(60);
/// A token that came from a renewal and that Service B never took is not renewed for so long: another one would not be
/// taken either.
const RENEWAL_REST: Duration = Duration::from_secs(60);

/// An access token and what is known of it.
#[derive(Debug)]
pub(crate) struct Token {
    access: AccessToken,
    serial: u64,
    obtained: Instant,
    expires_in: Option<Duration>,
    from_renewal: bool,
    accepted: AtomicBool,
}

impl Token {
    /// The token itself.
    pub(crate) const fn access(&self) -> &AccessToken {
        &self.access
    }

    /// Its lifetime when it was obtained, as the issuer said.
    pub(crate) const fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }

    /// Service B did not refuse it.
    pub(crate) fn was_accepted(&self) {
        self.accepted.store(true, Ordering::Relaxed);
    }

    fn is_valid(&self, now: Instant) -> bool {
        self.expires_in
            .is_none_or(|lifetime| now.duration_since(self.obtained) < lifetime)
    }

    /// Whether it is time for the next one. RFC 6749 section 5.1: without `expires_in` nobody knows.
    fn is_due(&self, now: Instant) -> bool {
        self.expires_in.is_some_and(|lifetime| {
            let margin = REFRESH_MARGIN.min(lifetime / REFRESH_MARGIN_DIVISOR);
            now.duration_since(self.obtained) >= lifetime.saturating_sub(margin)
        })
    }

    fn may_be_renewed(&self, now: Instant) -> bool {
        !self.from_renewal
            || self.accepted.load(Ordering::Relaxed)
            || now.duration_since(self.obtained) >= RENEWAL_REST
    }
}

/// How long the parts of getting a token took, the last time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) discovery: Option<Duration>,
    pub(crate) token: Option<Duration>,
}

type Outcome = Result<Arc<Token>, Arc<Failure>>;
/// A token request under way. All who wait for it drive it, so that no caller's end is the request's end (attack S2).
type Flight = Shared<BoxFuture<'static, Outcome>>;

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    flight: Option<Flight>,
    failure: Option<(Instant, Arc<Failure>)>,
    tokens: u64,
    requests: u64,
    spent: Spent,
    /// The secret in the file, once it differs from that of the settings.
    newer_secret: Option<Arc<ClientSecret>>,
}

impl State {
    fn recent_failure(&self, now: Instant) -> Option<Arc<Failure>> {
        let (at, failure) = self.failure.as_ref()?;
        let rest = if failure.is_final() {
            LONG_ISSUER_REST
        } else {
            let asked_for = failure.retry_after().unwrap_or_default();
            asked_for.clamp(ISSUER_REST, LONG_ISSUER_REST)
        };
        (now.duration_since(*at) < rest).then(|| Arc::clone(failure))
    }
}

struct Inner {
    grant: Grant,
    http: Http,
    endpoint: OnceCell<TokenUrl>,
    state: Mutex<State>,
}

/// Gives out the token of one grant.
#[derive(Clone)]
pub(crate) struct TokenSource(Arc<Inner>);

impl TokenSource {
    /// `http` is for the issuer.
    pub(crate) fn new(grant: Grant, http: Http) -> Self {
        Self(Arc::new(Inner {
            grant,
            http,
            endpoint: OnceCell::new(),
            state: Mutex::default(),
        }))
    }

    /// The token at hand, or a new one. Nobody waits for an early refresh: the token at hand is still good.
    pub(crate) async fn token(&self) -> Outcome {
        let now = Instant::now();
        let flight = {
            let mut state = self.0.state();
            let failure = state.recent_failure(now);
            match state.token.clone().filter(|token| token.is_valid(now)) {
                Some(token) => {
                    if token.is_due(now) && failure.is_none() && state.flight.is_none() {
                        tokio::spawn(self.join(&mut state, false));
                    }
                    return Ok(token);
                }
                None => match failure {
                    Some(failure) => return Err(failure),
                    None => self.join(&mut state, false),
                },
            }
        };
        flight.await
    }

    /// Another token than `refused`, which Service B answered with 401; `None` if it makes no sense to ask for one.
    pub(crate) async fn renewed(
        &self,
        refused: &Token,
    ) -> Result<Option<Arc<Token>>, Arc<Failure>> {
        let now = Instant::now();
        let flight = {
            let mut state = self.0.state();
            match &state.token {
                Some(token) if token.serial != refused.serial => {
                    return Ok(Some(Arc::clone(token)));
                }
                _ => {}
            }
            if !refused.may_be_renewed(now) {
                return Ok(None);
            }
            if let Some(failure) = state.recent_failure(now) {
                return Err(failure);
            }
            self.join(&mut state, true)
        };
        flight.await.map(Some)
    }

    /// `text` without the secrets that this source knows, should somebody have sent them back.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.0.redact(text)
    }

    /// Token requests that were sent.
    pub(crate) fn requests(&self) -> u64 {
        self.0.state().requests
    }

    /// How long they took.
    pub(crate) fn spent(&self) -> Spent {
        self.0.state().spent
    }

    /// The request under way, or a new one.
    fn join(&self, state: &mut State, renewal: bool) -> Flight {
        let new = || {
            let inner = Arc::clone(&self.0);
            async move {
                let granted = inner.ask().await;
                inner.land(granted, renewal)
            }
            .boxed()
            .shared()
        };
        state.flight.get_or_insert_with(new).clone()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn redact(&self, text: &str) -> String {
        let Grant {
            secret, client_id, ..
        } = &self.grant;
        let text = secret.redact(client_id, text);
        match self.state().newer_secret.clone() {
            Some(newer) => newer.redact(client_id, &text),
            None => text,
        }
    }

    fn land(&self, granted: Result<Granted, Failure>, from_renewal: bool) -> Outcome {
        let now = Instant::now();
        let mut state = self.state();
        state.flight = None;
        match granted {
            Ok(granted) => {
                state.tokens += 1;
                let token = Arc::new(Token {
                    access: granted.access,
                    serial: state.tokens,
                    obtained: now,
                    expires_in: granted.expires_in,
                    from_renewal,
                    accepted: AtomicBool::new(false),
                });
                state.token = Some(Arc::clone(&token));
                state.failure = None;
                Ok(token)
            }
            Err(failure) => {
                let failure = Arc::new(failure);
                state.failure = Some((now, Arc::clone(&failure)));
                Err(failure)
            }
        }
    }

    /// One token request; a second one only if the file of the secret holds another secret than the refused one
    /// (attack S4).
    async fn ask(&self) -> Result<Granted, Failure> {
        let endpoint = self
            .endpoint
            .get_or_try_init(|| async {
                let endpoint = &self.grant.endpoint;
                let redact = |text: &str| self.redact(text);
                let started = Instant::now();
                let found = endpoint.find(&self.http, &redact).await;
                if let TokenEndpoint::Of(_) = endpoint {
                    self.state().spent.discovery = Some(started.elapsed());
                }
                found
            })
            .await?;
        let newer = self.state().newer_secret.clone();
        let secret = newer.as_deref().unwrap_or(&self.grant.secret);
        match self.exchange(endpoint, secret).await {
            Err(Refused {
                failure,
                wrong_client: true,
            }) => match self.read_again().await {
                Some(read) if !read.is(secret) => {
                    let read = Arc::new(read);
                    self.state().newer_secret = Some(Arc::clone(&read));
                    self.exchange(endpoint, &read)
                        .await
                        .map_err(|refused| refused.failure)
                }
                _ => Err(failure),
            },
            outcome => outcome.map_err(|refused| refused.failure),
        }
    }

    async fn read_again(&self) -> Option<ClientSecret> {
        let path = self.grant.secret_file.clone()?;
        let read = task::spawn_blocking(move || secret_from_file(&path));
        read.await.ok()?.ok()
    }

    /// RFC 6749 section 4.4.2.
    async fn exchange(
        &self,
        endpoint: &TokenUrl,
        secret: &ClientSecret,
    ) -> Result<Granted, Refused> {
        let started = Instant::now();
        {
            self.state().requests += 1;
        }
        let outcome = exchange::token(&self.http, &self.grant, endpoint, secret).await;
        self.state().spent.token = Some(started.elapsed());
        outcome
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use url::Url;
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

    use super::*;
    use crate::{cli::ClientAuth, discovery::Issuer, http::Timeouts};

    fn token(serial: u64, expires_in: Option<u64>, from_renewal: bool) -> Token {
        Token {
            access: AccessToken::new("abc".into()).unwrap(),
            serial,
            obtained: Instant::now(),
            expires_in: expires_in.map(Duration::from_secs),
            from_renewal,
            accepted: AtomicBool::new(false),
        }
    }

    #[test]
    fn a_token_is_due_30_seconds_before_its_end_or_in_its_last_quarter() {
        // Lifetime, due at, invalid at; in seconds.
        let table = [
            (7199, 7169, 7199),
            (120, 90, 120),
            (40, 30, 40),
            (4, 3, 4),
            (0, 0, 0),
        ];
        for (lifetime, due, invalid) in table {
            let token = token(1, Some(lifetime), false);
            let at = |seconds| token.obtained + Duration::from_secs(seconds);
            if lifetime > 0 {
                assert!(!token.is_due(at(due - 1)), "{lifetime}");
                assert!(token.is_valid(at(invalid - 1)), "{lifetime}");
            }
            assert!(token.is_due(at(due)), "{lifetime}");
            assert!(!token.is_valid(at(invalid)), "{lifetime}");
        }
        let lasting = token(1, None, false);
        let later = lasting.obtained + Duration::from_secs(1_000_000);
        assert!(!lasting.is_due(later) && lasting.is_valid(later));
    }

    #[test]
    fn a_renewed_token_that_was_never_accepted_is_not_renewed_soon() {
        let first = token(1, None, false);
        assert!(first.may_be_renewed(first.obtained));
        let renewed = token(2, None, true);
        assert!(!renewed.may_be_renewed(renewed.obtained));
        assert!(!renewed.may_be_renewed(renewed.obtained + RENEWAL_REST - Duration::from_secs(1)));
        assert!(renewed.may_be_renewed(renewed.obtained + RENEWAL_REST));
        renewed.was_accepted();
        assert!(renewed.may_be_renewed(renewed.obtained));
    }

    #[test]
    fn a_token_prints_redacted() {
        let text = format!("{:?}", token(1, None, false));
        assert!(
            text.contains("AccessToken([redacted])") && !text.contains("abc"),
            "{text}"
        );
    }

    async fn issuer(delay: Duration) -> MockServer {
        let server = MockServer::start().await;
        let body = json!({"access_token": "abc", "token_type": "bearer", "expires_in": 3600});
        Mock::given(method("POST"))
            .respond_with(
                ResponseTemplate::new(200)
                    .set_body_json(body)
                    .set_delay(delay),
            )
            .mount(&server)
            .await;
        server
    }

    async fn token_requests(server: &MockServer) -> usize {
        let mut requests = server.received_requests().await.unwrap();
        requests.retain(|request| request.method.as_str() == "POST");
        requests.len()
    }

    fn grant(server: &MockServer) -> Grant {
        let text = server.uri();
        let url = Url::parse(&text).unwrap();
        Grant {
            endpoint: TokenEndpoint::Of(Issuer::new(text, url)),
            client_id: "a".into(),
            secret: ClientSecret::new("b".into()).unwrap(),
            secret_file: None,
            client_auth: ClientAuth::Basic,
            scopes: Vec::new(),
            audience: None,
            resources: Vec::new(),
        }
    }

    fn source(grant: Grant) -> TokenSource {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let timeouts = Timeouts {
            connect: Duration::from_secs(30),
            whole: Duration::from_secs(30),
        };
        let http = Http::new(grant.endpoint.url(), timeouts, None).unwrap();
        TokenSource::new(grant, http)
    }

    #[tokio::test]
    async fn s1_another_secret_scope_resource_or_audience_is_another_token() {
        let server = issuer(Duration::ZERO).await;
        let changes: [fn(&mut Grant); 6] = [
            |_| {},
            |grant| grant.secret = ClientSecret::new("c".into()).unwrap(),
            |grant| grant.scopes = vec!["read".into()],
            |grant| grant.resources = vec!["urn:b".into()],
            |grant| grant.audience = Some("b".into()),
            |grant| grant.client_id = "c".into(),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut grant = grant(&server);
            change(&mut grant);
            let source = source(grant);
            source.token().await.unwrap();
            source.token().await.unwrap();
            assert_eq!(token_requests(&server).await, index + 1);
        }
    }

    #[tokio::test]
    async fn s2_a_caller_that_goes_away_does_not_take_the_token_from_the_others() {
        let server = issuer(Duration::from_millis(300)).await;
        let source = source(grant(&server));
        let leader = tokio::spawn({
            let source = source.clone();
            async move { source.token().await.map(|_| ()) }
        });
        while token_requests(&server).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let followers: Vec<_> = (0..20)
            .map(|_| {
                let source = source.clone();
                tokio::spawn(async move { source.token().await.map(|token| token.serial) })
            })
            .collect();
        tokio::task::yield_now().await;
        leader.abort();
        for follower in followers {
            assert_eq!(follower.await.unwrap().unwrap(), 1);
        }
        assert_eq!(token_requests(&server).await, 1);
    }

    #[tokio::test]
    async fn callers_that_hold_the_same_refused_token_renew_it_once() {
        let server = issuer(Duration::from_millis(50)).await;
        let source = source(grant(&server));
        let refused = source.token().await.unwrap();
        let renewals = (0..50).map(|_| source.renewed(&refused));
        for renewed in futures::future::join_all(renewals).await {
            assert_eq!(renewed.unwrap().unwrap().serial, 2);
        }
        // Late comers get the new one, and the new one is not renewed in turn.
        let renewed = source.renewed(&refused).await.unwrap().unwrap();
        assert_eq!(renewed.serial, 2);
        assert!(source.renewed(&renewed).await.unwrap().is_none());
        assert_eq!(token_requests(&server).await, 2);
    }

    #[tokio::test]
    async fn nobody_waits_for_an_early_refresh() {
        let server = MockServer::start().await;
        let body = json!({"access_token": "abc", "token_type": "bearer", "expires_in": 2});
        let first = ResponseTemplate::new(200).set_body_json(&body);
        let hanging = ResponseTemplate::new(200).set_delay(Duration::from_secs(600));
        let post = || Mock::given(method("POST"));
        post()
            .respond_with(first)
            .up_to_n_times(1)
            .mount(&server)
            .await;
        post().respond_with(hanging).mount(&server).await;
        let source = source(grant(&server));
        let token = source.token().await.unwrap();
        tokio::time::sleep_until(token.obtained + Duration::from_millis(1600)).await;
        for _ in 0..10 {
            let again = source.token().now_or_never();
            assert_eq!(again.unwrap().unwrap().serial, 1);
        }
        while token_requests(&server).await < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(source.requests(), 2);
    }

    #[tokio::test]
    async fn a_failure_is_shared_and_the_issuer_gets_a_rest() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(503))
            .mount(&server)
            .await;
        let source = source(grant(&server));
        for failed in futures::future::join_all((0..50).map(|_| source.token())).await {
            assert_eq!(failed.unwrap_err().reason().as_written(), "issuer_failed");
        }
        assert!(source.token().await.is_err());
        assert_eq!(token_requests(&server).await, 1);
        tokio::time::sleep(ISSUER_REST).await;
        assert!(source.token().await.is_err());
        assert_eq!(token_requests(&server).await, 2);
    }
}
