//! A signed assertion of who the client is (RFC 7523 section 2.2), in place of its secret.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use serde_json::json;

use super::{ClientKey, Credential};
use crate::secret::AccessToken;

/// `client_assertion_type`.
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long an assertion is valid, in seconds: for one request, and clocks that differ a little.
const LIFETIME: u64 = 60;

/// An assertion, valid once. It prints as `[redacted]`.
#[derive(Debug)]
pub(crate) struct Assertion(AccessToken);

impl Assertion {
    /// `audience` is the issuer or its token endpoint. `None` if nothing can be signed, for lack of
    /// randomness or of a credential.
    pub(crate) fn new(credential: &Credential, client_id: &str, audience: &str) -> Option<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).ok()?;
        let claims = json!({
            "iss": client_id,
            "sub": client_id,
            "aud": audience,
            "iat": now,
            "exp": now.saturating_add(LIFETIME),
            "jti": URL_SAFE_NO_PAD.encode(id),
        });
        let header = match credential {
            Credential::Secret(_) => json!({"alg": "HS256", "typ": "JWT"}),
            Credential::Key { key, .. } => header(key),
            Credential::None => return None,
        };
        let [header, claims] =
            [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let input = format!("{header}.{claims}");
        let signature = match credential {
            Credential::Secret(secret) => {
                let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.secret().as_bytes());
                hmac::sign(&secret, input.as_bytes()).as_ref().to_vec()
            }
            Credential::Key { key, .. } => key.sign(input.as_bytes())?,
            Credential::None => return None,
        };
        let text = format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature));
        AccessToken::new(text).map(Self)
    }

    /// The assertion itself, only for the token request.
    pub(crate) fn secret(&self) -> &str {
        self.0.secret()
    }

    /// `text` without the assertion, in case a peer has sent it back.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.0.redact(text)
    }
}

fn header(key: &ClientKey) -> serde_json::Value {
    match key.kid() {
        Some(kid) => json!({"alg": key.algorithm(), "kid": kid, "typ": "JWT"}),
        None => json!({"alg": key.algorithm(), "typ": "JWT"}),
    }
}
