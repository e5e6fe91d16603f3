//! JWTs of each kind of key.

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use p256::ecdsa::{
    Signature, SigningKey,
    signature::{SignatureEncoding as _, Signer as _},
};
use serde_json::json;

use crate::jwt::Jwt;

/// More than can be on their way together.
const DIFFERENT: u32 = 1024;

pub(crate) fn rs256() -> Result<Jwt> {
    Jwt::generate(DIFFERENT)
}

pub(crate) fn es256() -> Result<Jwt> {
    let key = SigningKey::from_slice(&rand::random::<[u8; 32]>())?;
    let point = key.verifying_key().to_sec1_point(false);
    let number = |part: Option<_>| -> Result<String> {
        Ok(URL_SAFE_NO_PAD.encode(part.context("a point has both")?))
    };
    let (x, y) = (number(point.x())?, number(point.y())?);
    let jwk = json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "x": x, "y": y });
    Jwt::signed("ES256", jwk, DIFFERENT, |text| {
        let signature: Signature = key.sign(text);
        Ok(signature.to_vec())
    })
}

pub(crate) fn eddsa() -> Result<Jwt> {
    let key = ed25519_dalek::SigningKey::from_bytes(&rand::random());
    let x = URL_SAFE_NO_PAD.encode(key.verifying_key());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": x });
    Jwt::signed("EdDSA", jwk, DIFFERENT, |text| Ok(key.sign(text).to_vec()))
}
