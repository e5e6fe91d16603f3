//! The thumbprint of a key (RFC 7638), by which a token names the key that its holder proves to have
//! (RFC 9449 section 6.1).

use super::hash::Hash;

/// A member of the object that is hashed. None needs an escape.
pub(super) type Member<'a> = (&'static str, &'a str);

/// SHA-256 of the required members, in the order of their names, without spaces (section 3).
pub(super) fn thumbprint(members: &[Member<'_>]) -> [u8; 32] {
    let mut json = String::from("{");
    for (at, (name, value)) in members.iter().enumerate() {
        if at > 0 {
            json.push(',');
        }
        for part in ["\"", name, "\":\"", value, "\""] {
            json.push_str(part);
        }
    }
    json.push('}');
    let hash = Hash::Sha256.of(&[json.as_bytes()]);
    hash.bytes().try_into().unwrap_or_default()
}
