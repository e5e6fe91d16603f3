//! Keys derived from `cache_key` or the client secret, equal in all instances of the same policy and
//! in no other; and what is made with them: digests of tokens, and sealed values.

use chacha20poly1305::aead::{Aead, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use url::Url;
use zeroize::Zeroizing;

use crate::policy::Policy;

/// HMAC-SHA-256, in bytes.
pub(super) const DIGEST_BYTES: usize = 32;
/// The nonce of XChaCha20-Poly1305, in bytes.
const NONCE_BYTES: usize = 24;
/// The kind of a sealed value, with its version, in bytes.
const KIND_BYTES: usize = 4;
/// Memory and time of scrypt (RFC 7914), which runs once per instance: 512 KiB, and some milliseconds
/// in WebAssembly.
/// Without it, a reader of one record or audit line could try millions of client secrets a second.
const SCRYPT_LOG_N: u8 = 9;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 1;

pub(super) type HmacSha256 = Hmac<Sha256>;

#[derive(Clone)]
pub(crate) struct DerivedKeys {
    tokens: HmacSha256,
    fingerprints: HmacSha256,
    nonces: HmacSha256,
    cipher: XChaCha20Poly1305,
    names: HmacSha256,
    #[cfg(feature = "jwt")]
    proof_nonces: HmacSha256,
}

impl DerivedKeys {
    /// `None`: there is no secret to derive keys from, and a key that can be guessed protects
    /// nothing.
    pub(crate) fn new(policy: &Policy) -> Option<Self> {
        let main = main_key(policy)?;
        let key = |purpose: &[u8]| {
            let mac = HmacSha256::new_from_slice(&*main).ok()?;
            Some(Zeroizing::new(digest(&mac, purpose)))
        };
        let mac = |purpose: &[u8]| HmacSha256::new_from_slice(&*key(purpose)?).ok();
        Some(Self {
            tokens: mac(b"tokens")?,
            fingerprints: mac(b"fingerprints")?,
            nonces: mac(b"nonces")?,
            cipher: XChaCha20Poly1305::new_from_slice(&*key(b"cipher")?).ok()?,
            names: mac(b"names")?,
            #[cfg(feature = "jwt")]
            proof_nonces: mac(b"proof nonces")?,
        })
    }

    pub(super) fn token(&self, token: &[u8]) -> [u8; DIGEST_BYTES] {
        digest(&self.tokens, token)
    }

    /// Short, for the audit line: distinguishes tokens and reveals nothing about them.
    pub(crate) fn fingerprint(&self, token: &[u8]) -> String {
        short(&digest(&self.fingerprints, token))
    }

    /// For the nonces of proofs of possession.
    #[cfg(feature = "jwt")]
    pub(super) const fn proof_nonces(&self) -> &HmacSha256 {
        &self.proof_nonces
    }

    /// Makes names of entries unknown to those who do not have the keys.
    pub(super) fn salt(&self) -> String {
        short(&digest(&self.names, b""))
    }

    /// Encrypts and authenticates a value. The nonce is a digest of the value, so equal values look
    /// equal, and no instance needs randomness or a counter.
    pub(super) fn seal(&self, kind: &[u8; KIND_BYTES], value: &[u8]) -> Option<Vec<u8>> {
        let digest = self.nonces.clone().chain_update(kind).chain_update(value);
        let digest: [u8; DIGEST_BYTES] = digest.finalize().into_bytes().into();
        let (nonce, _) = digest.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload {
            msg: value,
            aad: kind,
        };
        let encrypted = self.cipher.encrypt(&XNonce::from(*nonce), payload).ok()?;
        Some([kind, nonce.as_slice(), &encrypted].concat())
    }

    /// The value; `None` if it is of another kind, or was not sealed with these keys.
    pub(super) fn open(&self, kind: &[u8; KIND_BYTES], sealed: &[u8]) -> Option<Vec<u8>> {
        let rest = sealed.strip_prefix(kind)?;
        let (nonce, encrypted) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload {
            msg: encrypted,
            aad: kind,
        };
        self.cipher.decrypt(&XNonce::from(*nonce), payload).ok()
    }
}

/// From `cache_key`, which nobody can guess; else from the client secret, slowly.
fn main_key(policy: &Policy) -> Option<Zeroizing<[u8; DIGEST_BYTES]>> {
    let mut scope = b"trust-triangle".to_vec();
    // Lengths first, so that no two policies produce the same input.
    let url = |url: Option<&Url>| url.map(|url| url.to_string()).unwrap_or_default();
    let (issuer, endpoint) = (url(policy.issuer_url()), url(policy.introspect_url()));
    let mut parts = vec![issuer.as_str(), policy.client_id()];
    // What an instance believes must not depend on what another one does: at another endpoint, about
    // another issuer, or without a signature.
    if endpoint != issuer {
        parts.extend(["endpoint", &endpoint]);
    }
    if let Some(issuer) = policy.only_issuer() {
        parts.extend(["issuer", issuer]);
    }
    if policy.wants_signed_responses() {
        parts.push("signed");
    }
    for part in parts {
        scope.extend(u64::try_from(part.len()).ok()?.to_be_bytes());
        scope.extend(part.as_bytes());
    }
    if let Some(secret) = policy.cache_key() {
        let mac = HmacSha256::new_from_slice(secret.secret()).ok()?;
        return Some(Zeroizing::new(digest(&mac, &scope)));
    }
    let secret = policy.client_secret().secret();
    if secret.is_empty() {
        return None;
    }
    let params = scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P).ok()?;
    let mut key = Zeroizing::new([0; DIGEST_BYTES]);
    scrypt::scrypt(secret.as_bytes(), &scope, &params, &mut *key).ok()?;
    Some(key)
}

fn digest(mac: &HmacSha256, bytes: &[u8]) -> [u8; DIGEST_BYTES] {
    mac.clone()
        .chain_update(bytes)
        .finalize()
        .into_bytes()
        .into()
}

/// The first 64 bits, in hexadecimal.
fn short(digest: &[u8; DIGEST_BYTES]) -> String {
    digest.iter().take(8).map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHE_KEY: &str = "0123456789abcdef0123456789abcdef";

    fn keys(cache_key: &str) -> DerivedKeys {
        let settings = [
            ("introspect_url", "https://issuer.example/introspect"),
            ("resource_client_id", "service-b"),
            ("resource_client_secret", "a secret of some length"),
            ("cache_key", cache_key),
        ];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        DerivedKeys::new(&Policy::new(settings).unwrap()).unwrap()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn sealed(keys: &DerivedKeys, kind: &[u8; KIND_BYTES], value: &[u8]) -> Vec<u8> {
        keys.seal(kind, value).unwrap()
    }

    /// The values are from HMAC, scrypt and XChaCha20-Poly1305 of another implementation. Any change
    /// to them makes what is in the stores of users unreadable.
    #[test]
    fn keys_from_the_cache_key_and_from_the_client_secret_have_known_answers() {
        let rows = [
            (
                CACHE_KEY,
                "7da43c976def4062c7d884ff141670fa276d1dc94cee2c8824e18e531dda2995",
                "829a8646c912fd64",
                "aff8edd0a56ed925",
                "6b696e6417e21f4d04e18539d0e853639b92c5643a54667f710dec97071d68d8588a5092ef5c15429860d88002b6011eb9",
            ),
            // By scrypt with N = 512, r = 8 and p = 1.
            (
                "",
                "23070033b3f626e1c82b277dc0ee2985b9f025657be49c34b4b92f629a46e728",
                "380db1b5a0206d3c",
                "e51a7a327238be1f",
                "6b696e645ed3fda48d1afc91d9e05a15545b1519eb735ead83ee72ede7de3a8e9e570e1bd24986cb632f5c55446a55f9d9",
            ),
        ];
        for (cache_key, token, fingerprint, salt, value) in rows {
            let keys = keys(cache_key);
            assert_eq!(hex(&keys.token(b"token")), token);
            assert_eq!(keys.fingerprint(b"token"), fingerprint);
            assert_eq!(keys.salt(), salt);
            assert_eq!(hex(&sealed(&keys, b"kind", b"value")), value);
        }
    }

    /// A nonce that two values share gives both of them away, and the key of the authenticator.
    #[test]
    fn each_value_and_each_kind_has_a_nonce_of_its_own() {
        let (keys, others) = (keys(CACHE_KEY), keys("another-key-another-key-another-key"));
        let values = [
            sealed(&keys, b"kind", b"value"),
            sealed(&keys, b"kind", b"valve"),
            sealed(&keys, b"kind", b""),
            sealed(&keys, b"mind", b"value"),
            sealed(&others, b"kind", b"value"),
        ];
        let nonces: std::collections::BTreeSet<_> = values
            .iter()
            .map(|sealed| &sealed[KIND_BYTES..KIND_BYTES + NONCE_BYTES])
            .collect();
        assert_eq!(nonces.len(), values.len());
        assert_eq!(values[0], sealed(&keys, b"kind", b"value"));
    }

    #[test]
    fn a_value_opens_as_its_kind_and_with_its_keys_only() {
        let (keys, others) = (keys(CACHE_KEY), keys(""));
        let value = sealed(&keys, b"kind", b"value");
        assert_eq!(keys.open(b"kind", &value).unwrap(), b"value");
        assert_eq!(keys.open(b"mind", &value), None);
        assert_eq!(others.open(b"kind", &value), None);
        let renamed = [b"mind", &value[KIND_BYTES..]].concat();
        assert_eq!(keys.open(b"mind", &renamed), None);
        for plain in [&b"kindvalue"[..], b"value", b"kind", b""] {
            assert_eq!(keys.open(b"kind", plain), None);
        }
    }
}
