//! What the client proves its identity with at the issuer.

mod assertion;
mod key;

use secrecy::{ExposeSecret as _, SecretString};

pub(crate) use self::{
    assertion::{ASSERTION_TYPE, Assertion},
    key::ClientKey,
};
use crate::secret::ClientSecret;

/// The credential of the client.
pub(crate) enum Credential {
    /// None in the request: a certificate of the TLS connection (RFC 8705 section 2), or a proxy on
    /// the way, stands for the client.
    None,
    /// RFC 6749 section 2.3.1.
    Secret(ClientSecret),
    /// RFC 7523.
    Key {
        key: Box<ClientKey>,
        /// What the key was read from.
        text: SecretString,
    },
}

/// What a secret source holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CredentialKind {
    Secret,
    Key,
}

impl Credential {
    /// Whether both are the same. No attacker can time this: both are our own.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Secret(one), Self::Secret(other)) => one.is_same_as(other),
            (Self::Key { text: one, .. }, Self::Key { text: other, .. }) => {
                one.expose_secret() == other.expose_secret()
            }
            (Self::None | Self::Secret(_) | Self::Key { .. }, _) => false,
        }
    }

    /// `text` without the credential, if a peer has ever got it. A key is never sent.
    pub(crate) fn redact(&self, client_id: &str, text: &str) -> String {
        match self {
            Self::Secret(secret) => secret.redact(client_id, text),
            Self::None | Self::Key { .. } => text.to_owned(),
        }
    }
}
