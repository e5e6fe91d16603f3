//! The four claims of the document. Read one by one: a JSON value of any kind would bring the
//! formatting of numbers into components that show none.

use core::fmt;

use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A claim that is a text or a list of texts; anything else is as good as absent.
#[derive(Default, Serialize)]
#[serde(untagged)]
pub(crate) enum Claim {
    #[default]
    Absent,
    Text(String),
    Texts(Vec<String>),
}

#[derive(Default)]
pub(crate) struct Claims {
    pub(crate) issuer: Claim,
    pub(crate) subject: Claim,
    pub(crate) audience: Claim,
    pub(crate) scope: Claim,
}

impl Claims {
    /// `None`: not a JSON object.
    pub(crate) fn read(json: &[u8]) -> Option<Self> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let claims = ReadClaims.deserialize(&mut reader).ok()??;
        reader.end().ok()?;
        Some(claims)
    }
}

/// Takes values of every kind, so that none is an error that would have to be written out.
macro_rules! takes_any {
    ($value:expr) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("JSON")
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
            Ok($value)
        }
    };
}

#[derive(Clone, Copy)]
struct ReadClaims;

impl<'de> DeserializeSeed<'de> for ReadClaims {
    type Value = Option<Claims>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadClaims {
    type Value = Option<Claims>;

    takes_any!(None);

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut claims = Claims::default();
        while let Some(name) = map.next_key_seed(ReadClaim)? {
            let Claim::Text(name) = name else {
                return Ok(None);
            };
            let claim = match name.as_str() {
                "iss" => &mut claims.issuer,
                "sub" => &mut claims.subject,
                "aud" => &mut claims.audience,
                "scope" => &mut claims.scope,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *claim = map.next_value_seed(ReadClaim)?;
        }
        Ok(Some(claims))
    }
}

#[derive(Clone, Copy)]
struct ReadClaim;

impl<'de> DeserializeSeed<'de> for ReadClaim {
    type Value = Claim;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Claim, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadClaim {
    type Value = Claim;

    takes_any!(Claim::Absent);

    fn visit_str<E: Error>(self, text: &str) -> Result<Claim, E> {
        Ok(Claim::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Claim, A::Error> {
        let mut texts = Vec::new();
        while let Some(claim) = seq.next_element_seed(self)? {
            if let Claim::Text(text) = claim {
                texts.push(text);
            }
        }
        Ok(Claim::Texts(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claim, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Claim::Absent)
    }
}
