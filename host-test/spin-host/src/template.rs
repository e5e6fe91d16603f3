//! `{{ name }}` templates in component variables and outbound grants of `spin.toml`.

use anyhow::{Result, bail};

/// A string with placeholders for variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(String),
    Variable(String),
}

impl Template {
    /// Parses a template. The only possible error is a `{{` without `}}`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once("{{") {
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let Some((name, after)) = after.split_once("}}") else {
                bail!("{text:?} opens '{{{{' and never closes it: write {{{{ name }}}}");
            };
            parts.push(Part::Variable(name.trim().to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    pub(crate) fn is_literal(&self) -> bool {
        self.names().next().is_none()
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The variables that the template uses.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Part {
        Part::Literal(text.to_owned())
    }

    fn variable(name: &str) -> Part {
        Part::Variable(name.to_owned())
    }

    #[test]
    fn a_template_is_cut_at_its_braces_and_names_are_trimmed() {
        let table: &[(&str, &[Part])] = &[
            ("", &[]),
            ("plain } text {", &[literal("plain } text {")]),
            ("{{host}}", &[variable("host")]),
            (
                "https://{{ host }}:{{  port  }}/",
                &[
                    literal("https://"),
                    variable("host"),
                    literal(":"),
                    variable("port"),
                    literal("/"),
                ],
            ),
        ];
        for (text, expected) in table {
            assert_eq!(
                Template::parse(text).unwrap().parts(),
                *expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn braces_that_never_close_are_refused() {
        let error = Template::parse("a {{ b").unwrap_err().to_string();
        assert_eq!(
            error,
            r#""a {{ b" opens '{{' and never closes it: write {{ name }}"#
        );
    }
}
