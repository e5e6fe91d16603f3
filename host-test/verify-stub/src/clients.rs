//! The clients of the stub.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use subtle::{Choice, ConstantTimeEq as _};

use super::{signed_responses::SignedResponses, tokens::random};

/// An OAuth client of the stub.
#[derive(Clone, PartialEq, Eq)]
pub struct StubClient {
    /// The name in tests and log lines; never sent to callers.
    pub name: String,
    /// `client_id`: a UUID, as IBM Verify assigns, unless a test set another one.
    pub id: String,
    /// `client_secret`.
    pub secret: String,
    /// The public key, as a JWK. A client that has one signs its assertions with it, not with the
    /// secret (RFC 7523).
    pub key: Option<Value>,
    /// An access token with which it calls the introspection endpoint (RFC 7662 section 2.1).
    pub token: Option<String>,
    /// How far the clock by which its assertions are judged is ahead, in seconds.
    pub clock_ahead: i64,
    /// How introspection responses are signed for it, if it asks for that.
    pub signed_responses: Option<SignedResponses>,
}

impl StubClient {
    /// A client with a random id and secret.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            id: new_uuid(),
            secret: URL_SAFE_NO_PAD.encode(random::<32>()),
            key: None,
            token: None,
            clock_ahead: 0,
            signed_responses: None,
        }
    }

    /// The same with this id and secret.
    #[must_use]
    pub fn with_credentials(self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            secret: secret.into(),
            ..self
        }
    }

    /// The same with this access token for the introspection endpoint.
    #[must_use]
    pub fn with_token(self, token: impl Into<String>) -> Self {
        Self {
            token: Some(token.into()),
            ..self
        }
    }

    /// The same with its assertions judged by a clock that is so many seconds ahead.
    #[must_use]
    pub fn with_clock_ahead(self, clock_ahead: i64) -> Self {
        Self {
            clock_ahead,
            ..self
        }
    }

    /// The same with introspection responses signed if it asks for that.
    #[must_use]
    pub fn with_signed_responses(self, how: SignedResponses) -> Self {
        Self {
            signed_responses: Some(how),
            ..self
        }
    }

    /// The same with this public key, as a JWK.
    #[must_use]
    pub fn with_key(self, key: Value) -> Self {
        Self {
            key: Some(key),
            ..self
        }
    }
}

impl fmt::Debug for StubClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StubClient")
            .field("name", &self.name)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A version 4 UUID (RFC 9562 section 5.4).
pub(super) fn new_uuid() -> String {
    uuid::Builder::from_random_bytes(random())
        .into_uuid()
        .to_string()
}

/// The client with these credentials. Compares with every client, in constant time.
pub(super) fn authenticate<'a>(
    clients: &'a [StubClient],
    id: &str,
    secret: &str,
) -> Option<&'a StubClient> {
    let mut found = None;
    for client in clients {
        let same: Choice = client.id.as_bytes().ct_eq(id.as_bytes())
            & client.secret.as_bytes().ct_eq(secret.as_bytes());
        if same.into() {
            found = Some(client);
        }
    }
    found
}

/// The client with this access token.
pub(super) fn authenticate_by_token<'a>(
    clients: &'a [StubClient],
    token: &str,
) -> Option<&'a StubClient> {
    let has_token = |client: &&StubClient| {
        let known = client.token.as_deref();
        known.is_some_and(|known| known.as_bytes().ct_eq(token.as_bytes()).into())
    };
    clients.iter().find(has_token)
}
