//! Proofs of possession of a key (DPoP, RFC 9449 section 4): what the caller of one request signed.
//!
//! A good proof says nothing about the token: whether that is bound to the key is decided elsewhere.

mod fault;
mod public_origin;

use codec::base64url;
use sha2::{Digest as _, Sha256};

pub use fault::ProofFault;
pub(crate) use public_origin::PublicOrigin;

use crate::jose::{Algorithm, Algorithms, Jws, SignatureHost};
use crate::request::RequestHead;
use codec::json::{self, Json};

/// Longest proof accepted, in bytes. One by an RSA key of 4096 bits has about 2000.
const MAX_PROOF_BYTES: usize = 4096;

/// `typ` of a proof, in lower case.
const TYPE: &str = "dpop+jwt";

/// How far the clock of a caller may be ahead of ours, in seconds. More would let a caller make
/// proofs in advance, and fill the memory of used ones.
const MAX_AHEAD_SECONDS: i64 = 5;

/// Algorithms that a proof may be signed with.
const ALGORITHMS: Algorithms = Algorithms::only(Algorithm::Es256)
    .with(Algorithm::Ps256)
    .with(Algorithm::EdDsa);

/// Their names, for `algs` of a challenge (section 7.1).
pub(crate) const ALGORITHM_NAMES: [&str; 3] = ["ES256", "PS256", "EdDSA"];

/// What a proof has to fit.
pub(crate) struct Expected<'a> {
    pub(crate) request: &'a RequestHead<'a>,
    pub(crate) token: &'a [u8],
    pub(crate) origin: &'a PublicOrigin,
    /// In seconds since 1970.
    pub(crate) now: i64,
    /// How old a proof may be, in seconds.
    pub(crate) window: i64,
    /// Whether the nonce is one that this service gave lately. `None`: nobody asks for one.
    pub(crate) is_nonce: Option<&'a dyn Fn(&str) -> bool>,
}

/// A good proof of a request.
pub(crate) struct Proof {
    /// SHA-256 of the key that signed it (RFC 7638).
    pub(crate) key: [u8; 32],
    /// `jti`: it has not been used before.
    pub(crate) id: String,
    /// `iat`, in seconds since 1970.
    pub(crate) made: i64,
}

impl Proof {
    /// The checks of section 4.3, by its numbers. Number 12b, the key of the token, and whether the
    /// proof was used before (section 11.1) are left. The signature, which costs most, is last.
    pub(crate) fn check(
        expected: &Expected<'_>,
        host: &dyn SignatureHost,
    ) -> Result<Self, ProofFault> {
        // 1
        let proof = match expected.request.dpop {
            [] => return Err(ProofFault::Missing),
            [proof] => proof.trim_ascii(),
            _ => return Err(ProofFault::Repeated),
        };
        if proof.len() > MAX_PROOF_BYTES {
            return Err(ProofFault::TooLong);
        }
        // 2 and 4
        let proof = core::str::from_utf8(proof).map_err(|_| ProofFault::Malformed)?;
        let Some(Ok(jws)) = Jws::parse_proof(proof, TYPE) else {
            return Err(ProofFault::Malformed);
        };
        // 5
        let algorithm = jws.algorithm();
        if !algorithm.is_some_and(|algorithm| ALGORITHMS.contains(algorithm)) {
            return Err(ProofFault::Algorithm);
        }
        // 3
        let claims = Claims::read(jws.claims()).ok_or(ProofFault::Claims)?;
        // 8
        if claims.method.as_bytes() != expected.request.method {
            return Err(ProofFault::Method);
        }
        // 9
        let target = expected.request.path_and_query;
        if !expected.origin.is_target(&claims.target, target) {
            return Err(ProofFault::Target);
        }
        // 11
        let oldest = expected.now.saturating_sub(expected.window);
        let newest = expected.now.saturating_add(MAX_AHEAD_SECONDS);
        if !(oldest..=newest).contains(&claims.made) {
            return Err(ProofFault::Time);
        }
        // 12a
        let hash = base64url::encode(&Sha256::digest(expected.token));
        if claims.token_hash != hash {
            return Err(ProofFault::Token);
        }
        // 10
        let is_fresh =
            |is_nonce: &dyn Fn(&str) -> bool| claims.nonce.as_deref().is_some_and(is_nonce);
        if !expected.is_nonce.is_none_or(is_fresh) {
            return Err(ProofFault::Nonce);
        }
        // 7 and 6
        let key = jws.embedded_key();
        let fits = |key: &crate::jose::Key| {
            algorithm.is_some_and(|algorithm| key.algorithms().contains(algorithm))
        };
        let key = key.filter(fits).ok_or(ProofFault::Key)?;
        if !key.verify(&jws, host) {
            return Err(ProofFault::Signature);
        }
        Ok(Self {
            key: key.thumbprint(),
            id: claims.id,
            made: claims.made,
        })
    }
}

/// The claims of a proof (section 4.2).
struct Claims {
    id: String,
    method: String,
    target: String,
    made: i64,
    token_hash: String,
    nonce: Option<String>,
}

impl Claims {
    /// `None`: one is missing, or has the wrong type.
    fn read(document: &[u8]) -> Option<Self> {
        let document = core::str::from_utf8(document).ok()?;
        let Ok(Json::Object(members)) = json::examine(document) else {
            return None;
        };
        let member = |wanted: &str| {
            let member = members.iter().find(|(name, _)| name == wanted);
            member.map(|(_, value)| value)
        };
        let text = |name| match member(name) {
            Some(Json::Text(text)) => Some(text.clone().into_owned()),
            _ => None,
        };
        Some(Self {
            id: text("jti").filter(|id| !id.is_empty())?,
            method: text("htm")?,
            target: text("htu")?,
            made: match member("iat")? {
                Json::Integer(seconds) => *seconds,
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "a cast from f64 saturates, and bounds follow"
                )]
                Json::Float(seconds) => seconds.floor() as i64,
                _ => return None,
            },
            token_hash: text("ath")?,
            nonce: match member("nonce") {
                None => None,
                Some(_) => Some(text("nonce")?),
            },
        })
    }
}
