//! Proofs that the client holds the key to which its tokens are bound (RFC 9449).
//!
//! The key is made at the start and dies with the process: a stolen token is of no use to anybody
//! else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{
    Method, Request, StatusCode,
    header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE},
};
use ring::{
    digest,
    rand::{SecureRandom as _, SystemRandom},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::json;

use crate::response::Response;

/// The header of a proof (RFC 9449 section 4.1).
pub(crate) const PROOF: HeaderName = HeaderName::from_static("dpop");
/// The header in which a server gives the nonce of the next proof (RFC 9449 section 8).
const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// The error of a server that wants a proof with the nonce that it sent.
pub(crate) const NONCE_NEEDED: &str = "use_dpop_nonce";
/// The scheme of tokens that are bound to the key (RFC 9449 section 7.1).
pub(crate) const SCHEME: &str = "DPoP";

/// Makes proofs. Its clones share the key and the nonces.
#[derive(Clone)]
pub(crate) struct Dpop(Arc<Inner>);

struct Inner {
    key: EcdsaKeyPair,
    /// The last nonce of each origin. There are two: the issuer's and Service B's.
    nonces: Mutex<HashMap<String, String>>,
}

impl Dpop {
    /// With a new key. `None` if there is no randomness.
    pub(crate) fn new() -> Option<Self> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).ok()?;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).ok()?;
        Some(Self(Arc::new(Inner {
            key,
            nonces: Mutex::default(),
        })))
    }

    /// Adds a proof to a request that asks for a token or shows one; no other needs any.
    pub(crate) fn prove(&self, request: &mut Request) -> Option<()> {
        let credentials = request.headers().get(AUTHORIZATION);
        let token = credentials.and_then(|value| {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            (scheme == SCHEME).then(|| token.to_owned())
        });
        if token.is_some() || request.method() == Method::POST {
            let proof = self.proof(request, token.as_deref())?;
            let mut proof = HeaderValue::from_str(&proof).ok()?;
            proof.set_sensitive(true);
            request.headers_mut().insert(PROOF, proof);
        }
        Some(())
    }

    /// RFC 9449 section 4.2.
    fn proof(&self, request: &Request, token: Option<&str>) -> Option<String> {
        let Inner { key, .. } = &*self.0;
        let random = SystemRandom::new();
        // 4, then x and y (SEC 1 section 2.3.3).
        let point = key.public_key().as_ref().get(1..)?;
        let (x, y) = point.split_at_checked(point.len() / 2)?;
        let header = json!({
            "typ": "dpop+jwt",
            "alg": "ES256",
            "jwk": {"crv": "P-256", "kty": "EC", "x": encode(x), "y": encode(y)},
        });
        let mut id = [0; 16];
        random.fill(&mut id).ok()?;
        let mut url = request.url().clone();
        url.set_query(None);
        url.set_fragment(None);
        let mut claims = json!({
            "jti": encode(id),
            "htm": request.method().as_str(),
            "htu": url.as_str(),
            "iat": SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs(),
        });
        let members = claims.as_object_mut()?;
        if let Some(token) = token {
            let hash = digest::digest(&digest::SHA256, token.as_bytes());
            members.insert("ath".to_owned(), encode(hash).into());
        }
        let nonces = self.0.nonces.lock();
        let nonces = nonces.unwrap_or_else(PoisonError::into_inner);
        if let Some(nonce) = nonces.get(&origin(request)) {
            members.insert("nonce".to_owned(), nonce.as_str().into());
        }
        drop(nonces);
        let input = format!(
            "{}.{}",
            encode(header.to_string()),
            encode(claims.to_string())
        );
        let signature = key.sign(&random, input.as_bytes()).ok()?;
        Some(format!("{input}.{}", encode(signature)))
    }

    /// Keeps the nonce of a response for the next proof to this origin (RFC 9449 section 8.2).
    pub(crate) fn remember_nonce(&self, origin: String, response: &Response) {
        let mut nonces = response.headers.get_all(NONCE).iter();
        // Two different ones would mean nothing.
        if let (Some(nonce), None) = (nonces.next(), nonces.next())
            && let Ok(nonce) = nonce.to_str()
        {
            let kept = self.0.nonces.lock();
            kept.unwrap_or_else(PoisonError::into_inner)
                .insert(origin, nonce.to_owned());
        }
    }
}

/// The origin to which a nonce belongs.
pub(crate) fn origin(request: &Request) -> String {
    request.url().origin().ascii_serialization()
}

/// Whether a resource server wants the proof again, with the nonce that it sent (RFC 9449 section
/// 9).
pub(crate) fn wants_nonce(response: &Response) -> bool {
    let is_challenge = |value: &HeaderValue| {
        value
            .to_str()
            .is_ok_and(|challenge| challenge.contains(NONCE_NEEDED))
    };
    response.status == StatusCode::UNAUTHORIZED
        && response.headers.contains_key(NONCE)
        && response
            .headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .any(is_challenge)
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
