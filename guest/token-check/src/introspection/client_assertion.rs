//! Signed assertions of who this client is (RFC 7523 section 2.2), in place of its secret.

use core::fmt;
use core::time::Duration;

use codec::base64url;
use codec::json;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::jose::{PrivateKey, SignatureHost};
use crate::secret::ClientSecret;
use crate::time::Now;

/// `client_assertion_type`, form-encoded.
const TYPE: &str = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";

/// How long an assertion is valid, in seconds: for one call, which takes no longer than
/// `timeout`, and for clocks that differ a little.
const LIFETIME_SECONDS: i64 = 60;

/// Of `jti`, in bytes: as many as a UUID has.
const ID_BYTES: usize = 16;

/// Separates the identifiers from all else that is derived from the seed.
const ID_PURPOSE: &[u8] = b"client assertion";

type HmacSha256 = Hmac<Sha256>;

/// What signs the assertions.
#[derive(Debug)]
pub(crate) enum AssertionSigner {
    /// `client_secret_jwt`: HMAC with the client secret, by HS256.
    Secret(ClientSecret),
    /// `private_key_jwt`.
    Key(Box<PrivateKey>),
}

/// Makes assertions about one client for one issuer.
pub(crate) struct ClientAssertions {
    signer: AssertionSigner,
    /// In base64url, with the dot behind it.
    header: Box<str>,
    /// `iss`, `sub` and `aud` as members of a JSON object.
    claims: Box<str>,
    /// The parameters of the form before the assertion itself.
    parameters: Box<str>,
}

impl ClientAssertions {
    pub(crate) fn new(client_id: &str, audience: &str, signer: AssertionSigner) -> Self {
        let (algorithm, kid) = match &signer {
            AssertionSigner::Secret(_) => ("HS256", None),
            AssertionSigner::Key(key) => (key.algorithm().name(), key.kid()),
        };
        let kid = kid.map_or_else(String::new, |kid| {
            format!(r#","kid":{}"#, json::quoted(kid))
        });
        let header = format!(r#"{{"alg":"{algorithm}","typ":"JWT"{kid}}}"#);
        let mut header = base64url::encode(header.as_bytes());
        header.push('.');
        let (id, audience) = (json::quoted(client_id), json::quoted(audience));
        let form_id: String = form_urlencoded::byte_serialize(client_id.as_bytes()).collect();
        Self {
            signer,
            header: header.into(),
            claims: format!(r#""iss":{id},"sub":{id},"aud":{audience}"#).into(),
            parameters: format!(
                "&client_id={form_id}&client_assertion_type={TYPE}&client_assertion="
            )
            .into(),
        }
    }

    /// The parameters of the form that authenticate one call (RFC 7521 section 4.2).
    ///
    /// Each call has an assertion of its own, and so has a retry: issuers accept no `jti` twice
    /// (RFC 7523 section 3, item 7). That costs a signature, a small part of a call.
    ///
    /// `None`: nothing could be signed, see [`PrivateKey::sign`]. A call without an assertion is
    /// refused by the issuer.
    pub(crate) fn parameters(
        &self,
        ids: &mut AssertionIds,
        host: &dyn SignatureHost,
        now: Now,
    ) -> Option<Zeroizing<String>> {
        let (issued, id) = (now.unix_seconds(), ids.next(now.unix)?);
        let expires = issued.saturating_add(LIFETIME_SECONDS);
        let claims = format!(
            r#"{{{},"jti":"{id}","iat":{issued},"exp":{expires}}}"#,
            self.claims
        );
        let mut input = self.header.to_string();
        base64url::encode_append(claims.as_bytes(), &mut input);
        let signature = match &self.signer {
            AssertionSigner::Secret(secret) => {
                let mac = HmacSha256::new_from_slice(secret.secret().as_bytes()).ok()?;
                let mac = mac.chain_update(input.as_bytes()).finalize();
                base64url::encode(&mac.into_bytes())
            }
            AssertionSigner::Key(key) => base64url::encode(&key.sign(input.as_bytes(), host)?),
        };
        // No character of it needs form encoding.
        let assertion = [&*self.parameters, &input, ".", &signature].concat();
        Some(Zeroizing::new(assertion))
    }

    /// Whether only a host can sign them.
    pub(super) fn need_host(&self) -> bool {
        matches!(&self.signer, AssertionSigner::Key(key) if key.needs_host())
    }

    /// Whether they can be signed.
    pub(super) fn are_signed_by(&self, host: &dyn SignatureHost) -> bool {
        match &self.signer {
            AssertionSigner::Secret(_) => true,
            AssertionSigner::Key(key) => key.signs_by(host),
        }
    }

    /// Whether a private key signs them, not the client secret.
    pub(super) const fn has_key(&self) -> bool {
        matches!(self.signer, AssertionSigner::Key(_))
    }
}

impl fmt::Debug for ClientAssertions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientAssertions([redacted])")
    }
}

/// The values of `jti` (RFC 7519 section 4.1.7): HMAC-SHA-256 of a counter and the time, under a key
/// that is the random seed of this instance.
///
/// No two instances have the same seed, and in one instance no two inputs are the same. So two
/// identifiers are equal only if two random numbers of 128 bits are, and nobody can guess the next
/// one. The time is in it for a host whose random bytes repeat after a restart.
pub(crate) struct AssertionIds {
    seed: Zeroizing<[u8; 16]>,
    /// Of the issuer: all have one seed.
    issuer: u64,
    count: u64,
}

impl AssertionIds {
    /// `issuer`: its number.
    pub(crate) fn new(seed: &[u8; 16], issuer: usize) -> Self {
        Self {
            seed: Zeroizing::new(*seed),
            issuer: u64::try_from(issuer).unwrap_or(u64::MAX),
            count: 0,
        }
    }

    /// `None`: never, since HMAC takes keys of any length.
    fn next(&mut self, unix: Duration) -> Option<String> {
        let mac = HmacSha256::new_from_slice(&*self.seed).ok()?;
        let mac = mac
            .chain_update(ID_PURPOSE)
            .chain_update(self.issuer.to_be_bytes())
            .chain_update(self.count.to_be_bytes())
            .chain_update(unix.as_nanos().to_be_bytes());
        self.count = self.count.wrapping_add(1);
        let mac: [u8; 32] = mac.finalize().into_bytes().into();
        let (id, _) = mac.split_first_chunk::<ID_BYTES>()?;
        Some(base64url::encode(id))
    }
}
