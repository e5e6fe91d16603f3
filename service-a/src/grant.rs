//! What a token is requested with: the client credentials grant (RFC 6749 section 4.4).

use std::path::PathBuf;

use clap::ValueEnum;

use crate::{
    credential::{Credential, CredentialKind},
    discovery::TokenEndpoint,
};

/// Everything that decides which token the issuer returns. A token source owns exactly one grant,
/// so that tokens of different secrets, scopes, resources or audiences cannot be mixed up (attack
/// S1).
pub(crate) struct Grant {
    pub(crate) endpoint: TokenEndpoint,
    pub(crate) client_id: String,
    pub(crate) credential: Credential,
    /// `aud` of assertions, if it is not the default.
    pub(crate) assertion_audience: Option<String>,
    /// The file to read the credential from again after the issuer has rejected it.
    pub(crate) secret_file: Option<PathBuf>,
    pub(crate) client_auth: ClientAuth,
    pub(crate) scopes: Vec<String>,
    pub(crate) audience: Option<String>,
    pub(crate) resources: Vec<String>,
}

/// How the client authenticates at the token endpoint (RFC 6749 section 2.3). Only one style is
/// used: trying both would send the secret twice (attack S3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClientAuth {
    /// HTTP Basic, id and secret form-encoded first.
    Basic,
    /// HTTP Basic, id and secret not encoded (RFC 7617), for issuers that do not form-decode.
    BasicRaw,
    /// In the request body.
    Post,
    /// An assertion signed with the secret (RFC 7523).
    #[value(name = "client_secret_jwt")]
    ClientSecretJwt,
    /// An assertion signed with a private key (RFC 7523).
    #[value(name = "private_key_jwt")]
    PrivateKeyJwt,
    /// Only the client id: the TLS connection or a proxy authenticates the client.
    None,
}

impl ClientAuth {
    /// What it needs. `None`: nothing.
    pub(crate) const fn credential_kind(self) -> Option<CredentialKind> {
        match self {
            Self::Basic | Self::BasicRaw | Self::Post | Self::ClientSecretJwt => {
                Some(CredentialKind::Secret)
            }
            Self::PrivateKeyJwt => Some(CredentialKind::Key),
            Self::None => None,
        }
    }
}
