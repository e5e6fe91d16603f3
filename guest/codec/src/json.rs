//! Strict JSON: a duplicate name in an object is an error at every depth (RFC 8259 section 4 leaves
//! open which one counts, so two parsers could see two documents), and so is too deep a nesting.

use core::cell::Cell;
use core::fmt;
use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Deepest nesting accepted. Claims are flat except for `act`, `cnf` and the like, and parsing
/// recurses.
const MAX_DEPTH: usize = 16;

/// Most members accepted in one object, since each name is compared with all before it. Responses
/// have about 15.
const MAX_MEMBERS: usize = 512;

/// Members for which the whole document has room at first.
const TYPICAL_MEMBERS: usize = 16;

/// A type of JSON values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonType {
    /// `[...]`
    Array,
    /// `true` or `false`
    Boolean,
    /// `null`
    Null,
    /// Whole or not.
    Number,
    /// `{...}`
    Object,
    /// `"..."`
    String,
}

impl JsonType {
    /// As an error names it.
    #[must_use]
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Array => "an array",
            Self::Boolean => "true or false",
            Self::Null => "null",
            Self::Number => "a number",
            Self::Object => "an object",
            Self::String => "a string",
        }
    }
}

/// A JSON value. Its strings are parts of the document unless they contain escapes.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number that fits.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A string, without its escapes.
    Text(Cow<'a, str>),
    /// Its values.
    Array(Vec<Self>),
    /// Its members, each with another name.
    Object(Vec<(Cow<'a, str>, Self)>),
}

impl Json<'_> {
    /// Its type.
    #[must_use]
    pub const fn kind(&self) -> JsonType {
        match self {
            Self::Null => JsonType::Null,
            Self::Bool(_) => JsonType::Boolean,
            Self::Integer(_) | Self::Float(_) => JsonType::Number,
            Self::Text(_) => JsonType::String,
            Self::Array(_) => JsonType::Array,
            Self::Object(_) => JsonType::Object,
        }
    }

    /// The value as an environment variable would hold it: strings verbatim, everything else as
    /// JSON. `None` if it contains a number that is not whole, which no setting accepts.
    pub fn into_setting(self) -> Option<String> {
        match self {
            Self::Null => Some(String::new()),
            Self::Text(text) => Some(text.into_owned()),
            other => {
                let mut text = String::new();
                other.write(&mut text)?;
                Some(text)
            }
        }
    }

    fn write(&self, to: &mut String) -> Option<()> {
        match self {
            Self::Null => to.push_str("null"),
            Self::Bool(true) => to.push_str("true"),
            Self::Bool(false) => to.push_str("false"),
            Self::Integer(number) => to.push_str(&number.to_string()),
            Self::Float(_) => return None,
            Self::Text(text) => to.push_str(&quoted(text)),
            Self::Array(values) => {
                to.push('[');
                for (at, value) in values.iter().enumerate() {
                    separate(at, to);
                    value.write(to)?;
                }
                to.push(']');
            }
            Self::Object(members) => {
                to.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    separate(at, to);
                    to.push_str(&quoted(name));
                    to.push(':');
                    value.write(to)?;
                }
                to.push('}');
            }
        }
        Some(())
    }
}

/// The member of this name, if there is one.
pub fn member<'m, 'a>(members: &'m [(Cow<'a, str>, Json<'a>)], name: &str) -> Option<&'m Json<'a>> {
    let mut members = members.iter();
    let (_, value) = members.find(|(known, _)| is_same(known, name))?;
    Some(value)
}

/// Whether two names are the same. Most that are equally long differ in the first letter, and
/// WebAssembly compares memory in a function call.
fn is_same(name: &str, other: &str) -> bool {
    name.len() == other.len()
        && name.as_bytes().first() == other.as_bytes().first()
        && name == other
}

fn separate(at: usize, to: &mut String) {
    if at > 0 {
        to.push(',');
    }
}

/// A string as it is written in JSON.
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// A JSON string in ASCII, which cannot begin another line.
pub fn quoted_in_ascii(string: &str) -> String {
    in_ascii(&quoted(string))
}

/// JSON in ASCII. JSON leaves other scripts unescaped, and with them line separators and the
/// control sequences of terminals.
pub fn in_ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        if matches!(c, ' '..='~') {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    ascii
}

/// Parses exactly one value. The error gives line and column and never quotes the input.
pub fn read(text: &str) -> Result<Json<'_>, serde_json::Error> {
    read_to(text, &Cell::new(None))
}

/// Parses exactly one value. The error says what is wrong and not where.
pub fn examine(text: &str) -> Result<Json<'_>, NotRead> {
    let fault = Cell::new(None);
    read_to(text, &fault).map_err(|_| fault.take().unwrap_or(NotRead::Syntax))
}

/// Why a document is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRead {
    /// It is not one JSON value.
    Syntax,
    /// Arrays and objects are nested too deep.
    TooDeep,
    /// An object has too many members.
    TooManyMembers,
    /// An object has two members of this name.
    Twice(String),
}

fn read_to<'a>(
    text: &'a str,
    fault: &Cell<Option<NotRead>>,
) -> Result<Json<'a>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let strict = Strict {
        depth: MAX_DEPTH,
        fault,
    };
    let value = strict.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

#[derive(Clone, Copy)]
struct Strict<'f> {
    depth: usize,
    fault: &'f Cell<Option<NotRead>>,
}

impl Strict<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(self.refuse(NotRead::TooDeep, "nested too deep")),
        }
    }

    fn refuse<E: Error>(self, fault: NotRead, text: &str) -> E {
        self.fault.set(Some(fault));
        E::custom(text)
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json<'de>, E> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "over i64::MAX no caller needs the last digits"
        )]
        Ok(i64::try_from(value).map_or(Json::Float(value as f64), Json::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Float(value))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json<'de>, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let inner = self.deeper()?;
        // Not in those within, of which there can be many.
        let capacity = match self.depth {
            MAX_DEPTH => TYPICAL_MEMBERS,
            _ => 0,
        };
        let mut members: Vec<(Cow<'_, str>, _)> = Vec::with_capacity(capacity);
        while let Some(name) = map.next_key_seed(Name)? {
            if members.len() >= MAX_MEMBERS {
                return Err(self.refuse(NotRead::TooManyMembers, "too many keys in one object"));
            }
            if member(&members, &name).is_some() {
                let name = NotRead::Twice(name.into_owned());
                return Err(self.refuse(name, "a key twice in one object"));
            }
            members.push((name, map.next_value_seed(inner)?));
        }
        Ok(Json::Object(members))
    }
}

/// The name of a member.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8259_s4_a_duplicate_name_is_an_error_at_every_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"[{"a":1,"\u0061":2}]"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(
            read(r#"{"a":{"b":1},"c":{"b":1}}"#).is_ok(),
            "the same name in two objects is fine"
        );
    }

    #[test]
    fn nesting_is_accepted_up_to_the_limit() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&nested(MAX_DEPTH)).is_ok());
        assert!(read(&nested(MAX_DEPTH + 1)).is_err());
        assert!(read(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn a_setting_is_a_string_verbatim_or_any_other_value_as_json() {
        let setting = |text| read(text).unwrap().into_setting();
        for (text, expected) in [
            ("null", Some("")),
            (r#""a\nb""#, Some("a\nb")),
            ("true", Some("true")),
            ("-7", Some("-7")),
            (
                r#" [ { "a" : "\n\"é" , "b" : [ null , false ] } , {} , [] ] "#,
                Some(r#"[{"a":"\n\"é","b":[null,false]},{},[]]"#),
            ),
            ("1.5", None),
            (r#"[{"ttl":1e400}]"#, None),
        ] {
            let read = read(text);
            if read.is_ok() {
                assert_eq!(setting(text).as_deref(), expected, "{text}");
            } else {
                assert_eq!(expected, None, "{text}");
            }
        }
    }

    #[test]
    fn members_are_accepted_up_to_the_limit() {
        let object = |members: usize| {
            let members: Vec<_> = (0..members).map(|n| format!("\"{n}\":{n}")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(read(&object(MAX_MEMBERS)).is_ok());
        let one_more = object(MAX_MEMBERS + 1);
        assert_eq!(examine(&one_more), Err(NotRead::TooManyMembers));
    }

    #[test]
    fn a_quoted_string_is_one_line_of_ascii_on_demand() {
        assert_eq!(quoted("é\"\n"), r#""é\"\n""#);
        assert_eq!(
            quoted_in_ascii("é\u{2028}😀~\u{7f}"),
            r#""\u00e9\u2028\ud83d\ude00~\u007f""#
        );
        assert_eq!(in_ascii(r#"{"a":"é"}"#), r#"{"a":"\u00e9"}"#);
    }

    #[test]
    fn each_type_has_its_phrase() {
        for (text, phrase) in [
            ("[]", "an array"),
            ("false", "true or false"),
            ("null", "null"),
            ("1", "a number"),
            ("1.5", "a number"),
            ("{}", "an object"),
            ("\"\"", "a string"),
        ] {
            assert_eq!(
                read(text).map(|json| json.kind().phrase()).ok(),
                Some(phrase)
            );
        }
    }

    #[test]
    fn an_error_says_what_is_wrong() {
        let deep = "[".repeat(MAX_DEPTH + 1);
        for (text, fault) in [
            ("{", NotRead::Syntax),
            (r#"{"a":1e999}"#, NotRead::Syntax),
            (deep.as_str(), NotRead::TooDeep),
            (r#"[{"a":1,"\u0061":2}]"#, NotRead::Twice("a".to_owned())),
        ] {
            assert_eq!(examine(text), Err(fault), "{text}");
        }
        assert_eq!(examine("null"), Ok(Json::Null));
    }

    #[test]
    fn numbers_do_not_overflow_and_nothing_may_follow_the_value() {
        assert_eq!(
            read("9223372036854775807").unwrap(),
            Json::Integer(i64::MAX)
        );
        assert_eq!(read("1.5e3").unwrap(), Json::Float(1500.0));
        for text in ["1e999", "NaN", "{} {}", "", "{\"a\":}", "\u{feff}{}"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(matches!(read("18446744073709551616"), Ok(Json::Float(_))));
    }
}
