//! Secrets: they print as `[redacted]`, cannot be compared, and are wiped when dropped.

use core::fmt;
use zeroize::Zeroizing;

/// An access token as the caller sent it (RFC 6750 section 2.1).
pub struct AccessToken(Zeroizing<Box<[u8]>>);

impl AccessToken {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes themselves, for the introspection call only.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken([redacted])")
    }
}

/// The client secret of this service at the issuer (RFC 6749 section 2.3.1).
pub struct ClientSecret(Zeroizing<String>);

impl ClientSecret {
    pub(crate) fn new(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The secret itself, for the introspection call only.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret([redacted])")
    }
}

/// The token with which this service authenticates at the issuer (RFC 7662 section 2.1).
pub(crate) struct IntrospectToken(Zeroizing<String>);

impl IntrospectToken {
    pub(crate) fn new(token: String) -> Self {
        Self(Zeroizing::new(token))
    }

    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for IntrospectToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntrospectToken([redacted])")
    }
}

/// What protects results that instances share.
pub(crate) struct CacheKey(Zeroizing<String>);

impl CacheKey {
    pub(crate) fn new(key: String) -> Self {
        Self(Zeroizing::new(key))
    }

    pub(crate) fn secret(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_print_redacted() {
        assert_eq!(
            format!("{:?}", CacheKey::new("abc".to_owned())),
            "CacheKey([redacted])"
        );
        assert_eq!(
            format!("{:?}", AccessToken::new(b"abc")),
            "AccessToken([redacted])"
        );
        assert_eq!(
            format!("{:?}", ClientSecret::new("abc".into())),
            "ClientSecret([redacted])"
        );
        assert_eq!(
            format!("{:?}", IntrospectToken::new("abc".into())),
            "IntrospectToken([redacted])"
        );
    }
}
