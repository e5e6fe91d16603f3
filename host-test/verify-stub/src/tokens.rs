//! Tokens: their form, what they are about, and what introspection says of them.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use rand::Rng as _;
use serde_json::{Map, Value, json};

use super::urls::Provider;

/// Bytes from a generator fit for secrets.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// Seconds since 1970.
pub(super) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, seconds)
}

pub(super) fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// A token in IBM's form: three base64url segments, of which the first is not JSON.
pub(super) fn new_token(now: i64) -> String {
    let mut first = random::<32>();
    // No JSON text begins with a byte outside ASCII.
    if let Some(byte) = first.first_mut() {
        *byte |= 0x80;
    }
    let second = random::<64>();
    let third = format!("3_{now}_50");
    [&first[..], &second[..], third.as_bytes()]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".")
}

/// What [`VerifyStub::issue`] makes a token from. The default is what `service-a` gets without a scope.
///
/// [`VerifyStub::issue`]: super::VerifyStub::issue
#[derive(Clone, Default)]
pub struct TokenSpec {
    pub(super) client: Option<String>,
    pub(super) audience: Option<Vec<String>>,
    pub(super) scope: String,
    pub(super) expires_in: Option<i64>,
    pub(super) members: Vec<(String, Option<Value>)>,
    pub(super) document: Option<Bytes>,
}

impl TokenSpec {
    /// The client that it is issued to, by name or id. By default the first one.
    #[must_use]
    pub fn client(mut self, name_or_id: impl Into<String>) -> Self {
        self.client = Some(name_or_id.into());
        self
    }

    /// `aud`.
    #[must_use]
    pub fn audience<T: Into<String>>(mut self, audience: impl IntoIterator<Item = T>) -> Self {
        self.audience = Some(audience.into_iter().map(Into::into).collect());
        self
    }

    /// `scope`, space-delimited.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// Seconds until the stub takes it for expired, and says so; negative: it is expired already.
    #[must_use]
    pub fn expires_in(mut self, seconds: i64) -> Self {
        self.expires_in = Some(seconds);
        self
    }

    /// A member of the introspection document, whatever the stub would have said there. `exp` set this way is said
    /// only: the token is active for as long as it would be without.
    #[must_use]
    pub fn member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.members.push((name.into(), Some(value.into())));
        self
    }

    /// A member that is left out of the introspection document.
    #[must_use]
    pub fn without(mut self, name: impl Into<String>) -> Self {
        self.members.push((name.into(), None));
        self
    }

    /// The introspection document, byte for byte, whether it is JSON or not.
    #[must_use]
    pub fn document(mut self, document: impl Into<Bytes>) -> Self {
        self.document = Some(document.into());
        self
    }
}

impl fmt::Debug for TokenSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSpec")
            .field("client", &self.client)
            .field("audience", &self.audience)
            .field("scope", &self.scope)
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// What the stub knows of a token that it issued or was told of.
pub(super) struct Token {
    /// Whose it is; None: nobody's, so anybody may ask.
    pub(super) client_id: Option<String>,
    pub(super) expires: i64,
    pub(super) revoked: bool,
    pub(super) about: About,
}

pub(super) enum About {
    Claims(Box<Claims>),
    Document(Bytes),
}

pub(super) struct Claims {
    pub(super) audience: Vec<String>,
    pub(super) scope: String,
    pub(super) issued: i64,
    pub(super) grant_id: String,
    pub(super) members: Vec<(String, Option<Value>)>,
}

impl Claims {
    /// The active document of RFC 7662 section 2.2 as this provider writes it.
    pub(super) fn document(
        &self,
        provider: Provider,
        issuer: &str,
        client_id: &str,
        expires: i64,
    ) -> Value {
        let mut document = Map::new();
        let mut say = |name: &str, value: Value| _ = document.insert(name.to_owned(), value);
        say("active", true.into());
        say(
            "aud",
            match provider {
                Provider::New => self.audience.clone().into(),
                Provider::Old => self.audience.join(" ").into(),
            },
        );
        say("client_id", client_id.into());
        say("exp", expires.into());
        say("grant_id", self.grant_id.clone().into());
        say("grant_type", "client_credentials".into());
        say("iat", self.issued.into());
        say("iss", issuer.into());
        if !self.scope.is_empty() {
            say("scope", self.scope.clone().into());
        }
        say("sub", client_id.into());
        say("token_type", provider.token_type().into());
        if provider == Provider::Old {
            say("entitlements", json!([]));
            say("ext", json!({"tenantId": "stub"}));
            say("realmName", "cloudIdentityRealm".into());
            say("uniqueSecurityName", client_id.into());
        }
        for (name, value) in &self.members {
            match value {
                Some(value) => _ = document.insert(name.clone(), value.clone()),
                None => _ = document.remove(name),
            }
        }
        Value::Object(document)
    }
}
