//! How a value must be written. Shells, editors and YAML leave things around a value that are no part of any id, secret,
//! URL or list; sent on, they make the issuer refuse it without saying why.

/// What is wrong with `value`, and what to do. It never quotes the value.
pub(crate) fn problem(value: &str) -> Option<&'static str> {
    if value.contains('\u{feff}') {
        return Some("holds a byte order mark (U+FEFF): save it as UTF-8 without one");
    }
    if value.chars().any(char::is_control) {
        return Some(
            "holds control characters or a line end: remove them (`printf %s` writes no line end, `echo` does)",
        );
    }
    if value.trim() != value {
        return Some("has blanks around it: remove them");
    }
    let quoted = ['"', '\'']
        .into_iter()
        .any(|quote| value.len() > 1 && value.starts_with(quote) && value.ends_with(quote));
    quoted.then_some("is in quotes, which would be sent with it: remove them")
}

/// The items of a list separated by spaces.
pub(crate) fn list(value: &str) -> Result<Vec<&str>, &'static str> {
    if let Some(problem) = problem(value) {
        return Err(problem);
    }
    if value.contains(',') {
        return Err("holds a comma: separate the items by spaces");
    }
    Ok(value.split(' ').filter(|item| !item.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_part_of_a_value_is_found() {
        let bom = Some("holds a byte order mark (U+FEFF): save it as UTF-8 without one");
        let control = Some(
            "holds control characters or a line end: remove them (`printf %s` writes no line end, `echo` does)",
        );
        let blanks = Some("has blanks around it: remove them");
        let quotes = Some("is in quotes, which would be sent with it: remove them");
        let table = [
            ("", None),
            ("svc", None),
            ("two words", None),
            ("it's \"it\"", None),
            ("\"", None),
            ("'open", None),
            ("\u{feff}svc", bom),
            ("svc\n", control),
            ("svc\r\n", control),
            ("s\tvc", control),
            ("s\u{85}vc", control),
            (" svc", blanks),
            ("svc ", blanks),
            ("svc\u{a0}", blanks),
            ("\"svc\"", quotes),
            ("'svc'", quotes),
            ("''", quotes),
        ];
        for (value, expected) in table {
            assert_eq!(problem(value), expected, "{value:?}");
        }
    }

    #[test]
    fn items_are_separated_by_spaces_and_not_by_commas() {
        let comma = Err("holds a comma: separate the items by spaces");
        let table = [
            ("", Ok(vec![])),
            ("a", Ok(vec!["a"])),
            ("a  b", Ok(vec!["a", "b"])),
            ("a,b", comma.clone()),
            ("a, b", comma),
            ("a b ", Err("has blanks around it: remove them")),
        ];
        for (value, expected) in table {
            assert_eq!(list(value), expected, "{value:?}");
        }
    }
}
