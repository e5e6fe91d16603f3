//! JSON as Service B wrote it, in its order, and as Python prints it.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
    ser::SerializeMap as _,
};
use serde_json::Number;

use crate::text::{escaped, push_escaped};

/// From here on Python writes a float with an exponent.
const PYTHON_LARGE_EXPONENT: i32 = 16;
/// Below this too.
const PYTHON_SMALL_EXPONENT: i32 = -4;

/// A JSON value. Unlike serde_json's, an object keeps the order and the duplicates of its members.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Vec<(String, Self)>),
}

impl Value {
    /// The string of member `name`, if this is an object that has one.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let Self::Object(members) = self else {
            return None;
        };
        members.iter().find_map(|(key, value)| match value {
            Self::String(text) if key == name => Some(text.as_str()),
            _ => None,
        })
    }

    /// Changes every string in it, names of members too.
    pub(crate) fn map_text(self, change: &dyn Fn(&str) -> String) -> Self {
        match self {
            Self::String(text) => Self::String(change(&text)),
            Self::Array(values) => Self::Array(
                values
                    .into_iter()
                    .map(|value| value.map_text(change))
                    .collect(),
            ),
            Self::Object(members) => Self::Object(
                members
                    .into_iter()
                    .map(|(name, value)| (change(&name), value.map_text(change)))
                    .collect(),
            ),
            Self::Null | Self::Bool(_) | Self::Number(_) => self,
        }
    }

    /// As Python's `print` shows it, but with nothing that a terminal would act on.
    pub(crate) fn printed(&self) -> String {
        match self {
            Self::String(text) => escaped(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Array(_) | Self::Object(_) => {
                let mut text = String::new();
                self.repr(&mut text);
                text
            }
        }
    }

    /// Python's `repr`.
    fn repr(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("None"),
            Self::Bool(true) => out.push_str("True"),
            Self::Bool(false) => out.push_str("False"),
            Self::Number(number) => out.push_str(&number_repr(number)),
            Self::String(text) => string_repr(text, out),
            Self::Array(values) => {
                out.push('[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    value.repr(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    string_repr(name, out);
                    out.push_str(": ");
                    value.repr(out);
                }
                out.push('}');
            }
        }
    }
}

/// Single quotes, unless there are only single ones in it.
fn string_repr(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in text.chars() {
        if c == quote || c == '\\' {
            out.push('\\');
            out.push(c);
        } else {
            push_escaped(out, c);
        }
    }
    out.push(quote);
}

fn number_repr(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float_repr(float),
        _ => number.to_string(),
    }
}

/// Both languages write the shortest digits that read back the same; they differ in where the exponent begins.
fn float_repr(float: f64) -> String {
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (PYTHON_SMALL_EXPONENT..PYTHON_LARGE_EXPONENT).contains(&exponent) {
        return format!("{float:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Number(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Number(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::String(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = sequence.next_element()? {
                    values.push(value);
                }
                Ok(Value::Array(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Value::Object(members))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
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

    fn read(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn values_print_as_pythons_print_of_the_json() {
        let table = [
            ("null", "None"),
            ("true", "True"),
            ("false", "False"),
            ("7", "7"),
            ("-7", "-7"),
            ("18446744073709551615", "18446744073709551615"),
            ("1.0", "1.0"),
            ("0.5", "0.5"),
            ("-0.0", "-0.0"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1.5e-7", "1.5e-07"),
            ("1e15", "1000000000000000.0"),
            ("1e16", "1e+16"),
            ("1.25e20", "1.25e+20"),
            (r#""bare""#, "bare"),
            (r#""it's""#, "it's"),
            (r#"[]"#, "[]"),
            (r#"["a","b"]"#, "['a', 'b']"),
            (r#"["it's"]"#, r#"["it's"]"#),
            (r#"["\"it's\""]"#, r#"['"it\'s"']"#),
            (r#"["back\\slash"]"#, r"['back\\slash']"),
            (r#"["\u001b[2J\n"]"#, r"['\x1b[2J\n']"),
            (r#"[1,null,[true]]"#, "[1, None, [True]]"),
            (r#"{"z":1,"a":{"b":[]}}"#, "{'z': 1, 'a': {'b': []}}"),
            (r#""\u001b[2J""#, r"\x1b[2J"),
        ];
        for (json, printed) in table {
            assert_eq!(read(json).printed(), printed, "{json}");
        }
    }

    #[test]
    fn order_and_duplicates_survive() {
        let json = r#"{"z":1,"a":null,"z":[true,"x",{"q":-2.5}]}"#;
        assert_eq!(serde_json::to_string(&read(json)).unwrap(), json);
    }

    #[test]
    fn text_is_changed_in_names_and_values_at_every_depth() {
        let value = read(r#"{"a":["a",{"a":"ba"}],"n":1}"#);
        let changed = value.map_text(&|text| text.replace('a', "*"));
        assert_eq!(changed, read(r#"{"*":["*",{"*":"b*"}],"n":1}"#));
    }

    #[test]
    fn a_member_is_text_only_if_it_is_a_string() {
        let value = read(r#"{"reason":"inactive","n":1}"#);
        assert_eq!(value.text("reason"), Some("inactive"));
        assert_eq!(value.text("n"), None);
        assert_eq!(read("[]").text("reason"), None);
    }
}
