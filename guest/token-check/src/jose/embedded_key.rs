//! The key that a proof of possession brings in its header (RFC 9449 section 4.2).

use codec::base64url;
use codec::json::{self, Json};

use super::{Jws, Key};

impl Jws<'_> {
    /// The key in `jwk`. `None`: there is none, or it cannot be used, such as one with a private
    /// member. Anybody can bring a key: a signature by it proves nothing but that its sender has it.
    #[must_use]
    pub fn embedded_key(&self) -> Option<Key> {
        let header = self.signing_input().split(|byte| *byte == b'.').next()?;
        let header = base64url::decode(header)?;
        let Ok(Json::Object(members)) = json::examine(core::str::from_utf8(&header).ok()?) else {
            return None;
        };
        match members.iter().find(|(name, _)| name == "jwk")? {
            (_, Json::Object(jwk)) => Key::read(jwk).ok(),
            _ => None,
        }
    }
}
