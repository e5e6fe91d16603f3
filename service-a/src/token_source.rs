//! The source of access tokens: many callers share one request; the token is kept, refreshed before
//! it expires, and renewed once if Service B refuses it.
//!
//! There is no cache with keys. A [`TokenSource`] owns the [`Grant`] of its tokens and holds at
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
    credential::Credential,
    discovery::TokenEndpoint,
    dpop::NONCE_NEEDED,
    failure::Failure,
    grant::Grant,
    http::Http,
    secret::AccessToken,
    secret_source,
    token_request::{self, NewToken, TokenRequestError},
};

/// How long before its expiry a token is replaced, so that a call in progress still arrives in
/// time.
const REFRESH_MARGIN: Duration = Duration::from_secs(30);
/// The margin is at most this part of the lifetime: a quarter.
const REFRESH_MARGIN_DIVISOR: u32 = 4;
/// How long no token request is sent after one failed. Meanwhile callers get the failure, or the
/// token that is still valid.
const ISSUER_COOLDOWN: Duration = Duration::from_secs(1);
/// The same after a refusal that the next request would get too. Also the limit of `Retry-After`.
const LONG_ISSUER_COOLDOWN: Duration = Duration::from_secs(60);
/// How long a renewed token that Service B has never accepted is not renewed again: it would not
/// accept the next one either.
const RENEWAL_COOLDOWN: Duration = Duration::from_secs(60);

/// An access token and its state.
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

    /// `expires_in` of the token response.
    pub(crate) const fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }

    /// Records that Service B did not refuse it.
    pub(crate) fn set_accepted(&self) {
        self.accepted.store(true, Ordering::Relaxed);
    }

    fn is_valid(&self, now: Instant) -> bool {
        self.expires_in
            .is_none_or(|lifetime| now.duration_since(self.obtained) < lifetime)
    }

    /// Whether it should be refreshed. Without `expires_in` its expiry is unknown (RFC 6749 section
    /// 5.1), and it is never refreshed.
    fn needs_refresh(&self, now: Instant) -> bool {
        self.expires_in.is_some_and(|lifetime| {
            let margin = REFRESH_MARGIN.min(lifetime / REFRESH_MARGIN_DIVISOR);
            now.duration_since(self.obtained) >= lifetime.saturating_sub(margin)
        })
    }

    fn may_be_renewed(&self, now: Instant) -> bool {
        !self.from_renewal
            || self.accepted.load(Ordering::Relaxed)
            || now.duration_since(self.obtained) >= RENEWAL_COOLDOWN
    }
}

/// How long discovery and the last token request took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timings {
    pub(crate) discovery: Option<Duration>,
    pub(crate) token: Option<Duration>,
}

/// A token request in progress. All its callers poll it, so that it survives the cancellation of
/// any of them (attack S2).
#[derive(Clone)]
struct Flight(Shared<BoxFuture<'static, Result<Arc<Token>, Arc<Failure>>>>);

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    flight: Option<Flight>,
    failure: Option<(Instant, Arc<Failure>)>,
    issued_tokens: u64,
    requests: u64,
    timings: Timings,
    /// The credential in the file, once it differs from the one in the settings.
    rotated: Option<Arc<Credential>>,
}

impl State {
    fn recent_failure(&self, now: Instant) -> Option<Arc<Failure>> {
        let (at, failure) = self.failure.as_ref()?;
        let cooldown = if failure.is_final() {
            LONG_ISSUER_COOLDOWN
        } else {
            let retry_after = failure.retry_after().unwrap_or_default();
            retry_after.clamp(ISSUER_COOLDOWN, LONG_ISSUER_COOLDOWN)
        };
        (now.duration_since(*at) < cooldown).then(|| Arc::clone(failure))
    }
}

struct Inner {
    grant: Grant,
    http: Http,
    endpoint: OnceCell<TokenUrl>,
    state: Mutex<State>,
}

/// Returns the token of one grant.
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

    /// The current token, or a new one. No caller waits for an early refresh, since the current
    /// token is still valid.
    pub(crate) async fn token(&self) -> Result<Arc<Token>, Arc<Failure>> {
        let now = Instant::now();
        let flight = {
            let mut state = self.0.state();
            let failure = state.recent_failure(now);
            match state.token.clone().filter(|token| token.is_valid(now)) {
                Some(token) => {
                    if token.needs_refresh(now) && failure.is_none() && state.flight.is_none() {
                        tokio::spawn(self.join(&mut state, false).0);
                    }
                    return Ok(token);
                }
                None => match failure {
                    Some(failure) => return Err(failure),
                    None => self.join(&mut state, false),
                },
            }
        };
        flight.0.await
    }

    /// A token other than `refused`, which got a 401 from Service B. `None` if a new one would not
    /// help.
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
        flight.0.await.map(Some)
    }

    /// `text` without the secrets of this source, in case a peer has sent them back.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.0.redact(text)
    }

    /// The number of token requests sent.
    pub(crate) fn requests(&self) -> u64 {
        self.0.state().requests
    }

    /// How long discovery and the last token request took.
    pub(crate) fn timings(&self) -> Timings {
        self.0.state().timings
    }

    /// The request in progress, or a new one.
    fn join(&self, state: &mut State, renewal: bool) -> Flight {
        let new = || {
            let inner = Arc::clone(&self.0);
            let request = async move {
                let outcome = inner.request_token().await;
                inner.finish(outcome, renewal)
            };
            Flight(request.boxed().shared())
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
            credential,
            client_id,
            ..
        } = &self.grant;
        let text = credential.redact(client_id, text);
        match self.state().rotated.clone() {
            Some(rotated) => rotated.redact(client_id, &text),
            None => text,
        }
    }

    /// Ends the flight and stores its outcome.
    fn finish(
        &self,
        outcome: Result<NewToken, Failure>,
        from_renewal: bool,
    ) -> Result<Arc<Token>, Arc<Failure>> {
        let now = Instant::now();
        let mut state = self.state();
        state.flight = None;
        match outcome {
            Ok(new) => {
                state.issued_tokens += 1;
                let token = Arc::new(Token {
                    access: new.access,
                    serial: state.issued_tokens,
                    obtained: now,
                    expires_in: new.expires_in,
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

    /// Sends one token request, and a second one only if the secret file now holds another secret
    /// than the rejected one (attack S4).
    async fn request_token(&self) -> Result<NewToken, Failure> {
        let endpoint = self
            .endpoint
            .get_or_try_init(|| async {
                let endpoint = &self.grant.endpoint;
                let redact = |text: &str| self.redact(text);
                let started = Instant::now();
                let outcome = endpoint.find(&self.http, &redact).await;
                if let TokenEndpoint::Discover(_) = endpoint {
                    self.state().timings.discovery = Some(started.elapsed());
                }
                outcome
            })
            .await?;
        let rotated = self.state().rotated.clone();
        let credential = rotated.as_deref().unwrap_or(&self.grant.credential);
        match self.send(endpoint, credential).await {
            Err(TokenRequestError {
                failure,
                wrong_client: true,
            }) => match self.reread_credential().await {
                Some(rotated) if !rotated.is_same_as(credential) => {
                    let rotated = Arc::new(rotated);
                    self.state().rotated = Some(Arc::clone(&rotated));
                    self.send(endpoint, &rotated)
                        .await
                        .map_err(|error| error.failure)
                }
                _ => Err(failure),
            },
            outcome => outcome.map_err(|error| error.failure),
        }
    }

    async fn reread_credential(&self) -> Option<Credential> {
        let path = self.grant.secret_file.clone()?;
        let kind = self.grant.client_auth.credential_kind()?;
        let read = task::spawn_blocking(move || secret_source::read_file(&path, kind));
        read.await.ok()?.ok()
    }

    /// Sends one token request, and a second one if the issuer asks for a DPoP proof with its nonce
    /// (RFC 9449 section 8). An assertion is good once, so it is made anew.
    async fn send(
        &self,
        endpoint: &TokenUrl,
        credential: &Credential,
    ) -> Result<NewToken, TokenRequestError> {
        let outcome = self.send_once(endpoint, credential).await;
        match &outcome {
            Err(error) if self.http.uses_dpop() && error.failure.reason().raw() == NONCE_NEEDED => {
                self.send_once(endpoint, credential).await
            }
            _ => outcome,
        }
    }

    /// Sends one token request; counts it and measures its time.
    async fn send_once(
        &self,
        endpoint: &TokenUrl,
        credential: &Credential,
    ) -> Result<NewToken, TokenRequestError> {
        let started = Instant::now();
        self.state().requests += 1;
        let outcome = token_request::send(&self.http, &self.grant, endpoint, credential).await;
        self.state().timings.token = Some(started.elapsed());
        outcome
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use url::Url;
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

    use super::*;
    use crate::{discovery::Issuer, grant::ClientAuth, http::Timeouts, secret::ClientSecret};

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
    fn a_token_needs_a_refresh_30_seconds_before_its_expiry_or_in_its_last_quarter() {
        // Lifetime, refresh at, invalid at; in seconds.
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
                assert!(!token.needs_refresh(at(due - 1)), "{lifetime}");
                assert!(token.is_valid(at(invalid - 1)), "{lifetime}");
            }
            assert!(token.needs_refresh(at(due)), "{lifetime}");
            assert!(!token.is_valid(at(invalid)), "{lifetime}");
        }
        let lasting = token(1, None, false);
        let later = lasting.obtained + Duration::from_secs(1_000_000);
        assert!(!lasting.needs_refresh(later) && lasting.is_valid(later));
    }

    #[test]
    fn a_renewed_token_that_was_never_accepted_is_not_renewed_soon() {
        let first = token(1, None, false);
        assert!(first.may_be_renewed(first.obtained));
        let renewed = token(2, None, true);
        assert!(!renewed.may_be_renewed(renewed.obtained));
        assert!(
            !renewed.may_be_renewed(renewed.obtained + RENEWAL_COOLDOWN - Duration::from_secs(1))
        );
        assert!(renewed.may_be_renewed(renewed.obtained + RENEWAL_COOLDOWN));
        renewed.set_accepted();
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

    fn secret(text: &str) -> Credential {
        Credential::Secret(ClientSecret::new(text.into()).unwrap())
    }

    fn grant(server: &MockServer) -> Grant {
        let text = server.uri();
        let url = Url::parse(&text).unwrap();
        Grant {
            endpoint: TokenEndpoint::Discover(Issuer::new(text, url)),
            client_id: "a".into(),
            credential: secret("b"),
            assertion_audience: None,
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
        let http = Http::new(grant.endpoint.url(), timeouts, None, None).unwrap();
        TokenSource::new(grant, http)
    }

    #[tokio::test]
    async fn s1_another_secret_scope_resource_or_audience_is_another_token() {
        let server = issuer(Duration::ZERO).await;
        let changes: [fn(&mut Grant); 6] = [
            |_| {},
            |grant| grant.credential = secret("c"),
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
    async fn s2_a_cancelled_caller_does_not_cancel_the_request_of_the_others() {
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
        // Later callers get the new token too, and it is not renewed in turn.
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
    async fn a_failure_is_shared_and_the_issuer_gets_a_cooldown() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(503))
            .mount(&server)
            .await;
        let source = source(grant(&server));
        for failed in futures::future::join_all((0..50).map(|_| source.token())).await {
            assert_eq!(failed.unwrap_err().reason().raw(), "issuer_failed");
        }
        assert!(source.token().await.is_err());
        assert_eq!(token_requests(&server).await, 1);
        tokio::time::sleep(ISSUER_COOLDOWN).await;
        assert!(source.token().await.is_err());
        assert_eq!(token_requests(&server).await, 2);
    }
}
