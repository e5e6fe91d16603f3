//! JSON whose objects keep the order and the duplicates of their members.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
    ser::SerializeMap as _,
};
use serde_json::Number;

/// A JSON value that is shown as it was received. `serde_json::Value` would drop duplicate members,
/// even with `preserve_order`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum JsonValue {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl JsonValue {
    /// The string in member `name`, if this is an object that has such a member.
    pub(crate) fn string(&self, name: &str) -> Option<&str> {
        let Self::Object(members) = self else {
            return None;
        };
        members.iter().find_map(|(key, value)| match value {
            Self::String(string) if key == name => Some(string.as_str()),
            _ => None,
        })
    }

    /// Changes every string in it, member names included.
    pub(crate) fn map_strings(self, change: &dyn Fn(&str) -> String) -> Self {
        match self {
            Self::String(string) => Self::String(change(&string)),
            Self::Array(values) => Self::Array(
                values
                    .into_iter()
                    .map(|value| value.map_strings(change))
                    .collect(),
            ),
            Self::Object(members) => Self::Object(
                members
                    .into_iter()
                    .map(|(name, value)| (change(&name), value.map_strings(change)))
                    .collect(),
            ),
            Self::Null | Self::Bool(_) | Self::Number(_) => self,
        }
    }
}

impl<'de> Deserialize<'de> for JsonValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = JsonValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<JsonValue, E> {
                Ok(JsonValue::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<JsonValue, E> {
                Ok(JsonValue::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<JsonValue, E> {
                Ok(JsonValue::Number(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<JsonValue, E> {
                Ok(JsonValue::Number(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<JsonValue, E> {
                Ok(Number::from_f64(value).map_or(JsonValue::Null, JsonValue::Number))
            }

            fn visit_str<E>(self, value: &str) -> Result<JsonValue, E> {
                Ok(JsonValue::String(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<JsonValue, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = sequence.next_element()? {
                    values.push(value);
                }
                Ok(JsonValue::Array(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonValue, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(JsonValue::Object(members))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl Serialize for JsonValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::String(string) => serializer.serialize_str(string),
            Self::Array(values) => serializer.collect_seq(values),
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> JsonValue {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn order_and_duplicates_survive() {
        let json = r#"{"z":1,"a":null,"z":[true,"x",{"q":-2.5}]}"#;
        assert_eq!(serde_json::to_string(&parse(json)).unwrap(), json);
    }

    #[test]
    fn strings_are_changed_in_names_and_values_at_every_depth() {
        let value = parse(r#"{"a":["a",{"a":"ba"}],"n":1}"#);
        let changed = value.map_strings(&|string| string.replace('a', "*"));
        assert_eq!(changed, parse(r#"{"*":["*",{"*":"b*"}],"n":1}"#));
    }

    #[test]
    fn only_a_string_is_returned_as_one() {
        let value = parse(r#"{"reason":"inactive","n":1}"#);
        assert_eq!(value.string("reason"), Some("inactive"));
        assert_eq!(value.string("n"), None);
        assert_eq!(parse("[]").string("reason"), None);
    }
}
