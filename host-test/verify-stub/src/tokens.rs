//! Tokens and their introspection documents.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use rand::Rng as _;
use serde_json::{Map, Value, json};

use super::{
    jwt::{JwtSpec, SignatureFault, SigningAlgorithm, TokenFormat},
    urls::Provider,
};

/// Cryptographically secure random bytes.
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

/// A token in the form of IBM Verify's: three base64url segments, the first of which is not JSON.
pub(super) fn new_token(now: i64) -> String {
    let mut first = random::<32>();
    // No JSON text begins with a non-ASCII byte.
    if let Some(byte) = first.first_mut() {
        *byte |= 0x80;
    }
    let second = random::<64>();
    let third = format!("3_{now}_50");
    [&first[..], &second[..], third.as_bytes()]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".")
}

/// What [`VerifyStub::issue`] issues. The default is the token that `service-a` gets without a
/// scope.
///
/// [`VerifyStub::issue`]: super::VerifyStub::issue
#[derive(Clone, Default)]
pub struct TokenSpec {
    pub(super) client: Option<String>,
    pub(super) audience: Option<Vec<String>>,
    pub(super) scope: String,
    pub(super) expires_in: Option<i64>,
    pub(super) members: Vec<(String, Option<Value>)>,
    pub(super) format: Option<TokenFormat>,
    pub(super) jwt: JwtSpec,
}

impl TokenSpec {
    /// The client to which it is issued, by name or id. The default is the first client.
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

    /// Seconds until the token expires; negative: it has expired already.
    #[must_use]
    pub fn expires_in(mut self, seconds: i64) -> Self {
        self.expires_in = Some(seconds);
        self
    }

    /// Sets a member of the introspection document and claim of a JWT. An `exp` set this way
    /// appears there only: it does not change when the stub takes the token for expired.
    #[must_use]
    pub fn member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.members.push((name.into(), Some(value.into())));
        self
    }

    /// Leaves a member of the introspection document and claim of a JWT out.
    #[must_use]
    pub fn without(mut self, name: impl Into<String>) -> Self {
        self.members.push((name.into(), None));
        self
    }

    /// A token that is bound to the key with this thumbprint (RFC 9449 section 6).
    #[must_use]
    pub fn bound_to(self, thumbprint: &str) -> Self {
        self.member("cnf", json!({"jkt": thumbprint}))
            .member("token_type", "DPoP")
    }

    /// An opaque token, whatever the token endpoint issues.
    #[must_use]
    pub fn opaque(mut self) -> Self {
        self.format = Some(TokenFormat::Opaque);
        self
    }

    /// A JWT (RFC 9068) signed with this algorithm, whatever the token endpoint issues. If no key
    /// of the stub signs with it yet, one is made and published.
    #[must_use]
    pub fn jwt(mut self, algorithm: SigningAlgorithm) -> Self {
        self.format = Some(TokenFormat::Jwt(algorithm));
        self
    }

    /// A JWT that nobody may accept.
    #[must_use]
    pub fn signature_fault(mut self, fault: SignatureFault) -> Self {
        self.jwt.fault = Some(fault);
        self
    }

    /// Sets a member of the header of a JWT.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.jwt.header.push((name.into(), Some(value.into())));
        self
    }

    /// Leaves a member of the header of a JWT out.
    #[must_use]
    pub fn without_header(mut self, name: impl Into<String>) -> Self {
        self.jwt.header.push((name.into(), None));
        self
    }

    /// The whole header of a JWT, JSON or not. It is signed as it is.
    #[must_use]
    pub fn raw_header(mut self, header: impl Into<String>) -> Self {
        self.jwt.raw_header = Some(header.into());
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
            .field("format", &self.format)
            .field("fault", &self.jwt.fault)
            .finish_non_exhaustive()
    }
}

/// A token that the stub issued or a test registered.
pub(super) struct Token {
    /// Its client. `None`: no client, so that every client may introspect it.
    pub(super) client_id: Option<String>,
    pub(super) expires: i64,
    pub(super) revoked: bool,
    pub(super) document: TokenDocument,
}

/// The introspection document of a token.
pub(super) enum TokenDocument {
    FromClaims(Box<Claims>),
    Fixed(Bytes),
}

pub(super) struct Claims {
    pub(super) audience: Vec<String>,
    pub(super) scope: String,
    pub(super) issued: i64,
    pub(super) grant_id: String,
    /// Only JWTs have one.
    pub(super) jti: Option<String>,
    pub(super) members: Vec<(String, Option<Value>)>,
}

impl Claims {
    /// The document of an active token (RFC 7662 section 2.2) as this provider writes it.
    pub(super) fn document(
        &self,
        provider: Provider,
        issuer: &str,
        client_id: &str,
        expires: i64,
    ) -> Map<String, Value> {
        let mut document = Map::new();
        let mut set = |name: &str, value: Value| _ = document.insert(name.to_owned(), value);
        set("active", true.into());
        set(
            "aud",
            match provider {
                Provider::New => self.audience.clone().into(),
                Provider::Old => self.audience.join(" ").into(),
            },
        );
        set("client_id", client_id.into());
        set("exp", expires.into());
        set("grant_id", self.grant_id.clone().into());
        set("grant_type", "client_credentials".into());
        set("iat", self.issued.into());
        set("iss", issuer.into());
        if let Some(jti) = &self.jti {
            set("jti", jti.clone().into());
        }
        if !self.scope.is_empty() {
            set("scope", self.scope.clone().into());
        }
        set("sub", client_id.into());
        set("token_type", provider.token_type().into());
        if provider == Provider::Old {
            set("entitlements", json!([]));
            set("ext", json!({"tenantId": "stub"}));
            set("realmName", "cloudIdentityRealm".into());
            set("uniqueSecurityName", client_id.into());
        }
        for (name, value) in &self.members {
            match value {
                Some(value) => _ = document.insert(name.clone(), value.clone()),
                None => _ = document.remove(name),
            }
        }
        document
    }
}
