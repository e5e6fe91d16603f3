//! Prints JSON as Python's `print` shows the same data.

use serde_json::Number;

use crate::{
    escape::{escaped, push_escaped},
    json_value::JsonValue,
};

/// The first exponent at which Python writes a float in scientific notation.
const PYTHON_LARGE_EXPONENT: i32 = 16;
/// Python also does below this exponent.
const PYTHON_SMALL_EXPONENT: i32 = -4;

/// `value` as Python prints it, with everything escaped that a terminal would act on.
pub(crate) fn print(value: &JsonValue) -> String {
    match value {
        JsonValue::String(string) => escaped(string),
        JsonValue::Null
        | JsonValue::Bool(_)
        | JsonValue::Number(_)
        | JsonValue::Array(_)
        | JsonValue::Object(_) => {
            let mut out = String::new();
            push_repr(value, &mut out);
            out
        }
    }
}

/// Appends Python's `repr` of `value`.
fn push_repr(value: &JsonValue, out: &mut String) {
    match value {
        JsonValue::Null => out.push_str("None"),
        JsonValue::Bool(true) => out.push_str("True"),
        JsonValue::Bool(false) => out.push_str("False"),
        JsonValue::Number(number) => out.push_str(&number_repr(number)),
        JsonValue::String(string) => push_string_repr(string, out),
        JsonValue::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                push_repr(value, out);
            }
            out.push(']');
        }
        JsonValue::Object(members) => {
            out.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                push_string_repr(name, out);
                out.push_str(": ");
                push_repr(value, out);
            }
            out.push('}');
        }
    }
}

/// Single quotes, unless the string contains single quotes and no double ones.
fn push_string_repr(string: &str, out: &mut String) {
    let quote = if string.contains('\'') && !string.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in string.chars() {
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

/// Python and Rust both write the shortest digits that read back as the same float; they differ in
/// when they switch to scientific notation.
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

#[cfg(test)]
mod tests {
    use super::*;

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
            let value = serde_json::from_str(json).unwrap();
            assert_eq!(print(&value), printed, "{json}");
        }
    }
}
