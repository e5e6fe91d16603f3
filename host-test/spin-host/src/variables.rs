//! Values of application and component variables, and their sources.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    manifest::{Manifest, check_key},
    runtime_config::RuntimeConfig,
    template::{Part, Template},
};

/// A value that is never printed: not by `Debug`, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Value {
    text: String,
    secret: bool,
}

impl Value {
    pub(crate) fn expose(&self) -> &str {
        &self.text
    }

    /// Whether any part of the value comes from a variable with `secret = true`.
    pub(crate) fn is_secret(&self) -> bool {
        self.secret
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<value>")
    }
}

/// The values of all application variables of one run.
#[derive(Debug)]
pub(crate) struct Resolver {
    values: BTreeMap<String, Value>,
}

impl Resolver {
    /// Looks in the overrides, then in the environment, then in the defaults.
    pub(crate) fn new(
        manifest: &Manifest,
        config: &RuntimeConfig,
        overrides: &BTreeMap<String, String>,
        environment: impl Fn(&str) -> Result<Option<String>>,
    ) -> Result<Self> {
        for name in overrides.keys() {
            ensure!(
                manifest.variables().contains_key(name),
                "variable {name:?} is not in [variables] of {}: correct the name",
                manifest.path().display()
            );
        }
        let mut values = BTreeMap::new();
        let mut missing = Vec::new();
        for (name, variable) in manifest.variables() {
            let mut found = overrides.get(name).cloned();
            for key in config.names(name) {
                if found.is_none() {
                    found = environment(&key)?;
                }
            }
            match found.or_else(|| variable.default.clone()) {
                Some(text) => {
                    values.insert(
                        name.clone(),
                        Value {
                            text,
                            secret: variable.secret,
                        },
                    );
                }
                None => {
                    let key = config.names(name).into_iter().next().unwrap_or_default();
                    missing.push(format!("\n  {name}: export {key}=..."));
                }
            }
        }
        if !missing.is_empty() {
            bail!(
                "variables that {} requires have no value:{}",
                manifest.path().display(),
                missing.concat()
            );
        }
        Ok(Self { values })
    }

    pub(crate) fn resolve(&self, template: &Template) -> Result<Value> {
        let mut text = String::new();
        let mut secret = false;
        for part in template.parts() {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Variable(name) => {
                    let value = self
                        .values
                        .get(name)
                        .with_context(|| format!("there is no variable {name:?}"))?;
                    text.push_str(&value.text);
                    secret |= value.secret;
                }
            }
        }
        Ok(Value { text, secret })
    }
}

/// The variables that one component can read through `spin:variables` and `wasi:config`.
#[derive(Debug)]
pub(crate) struct ComponentVariables {
    component: String,
    values: BTreeMap<String, Value>,
}

/// Why a variable has no value for a guest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    InvalidName(String),
    Undefined(String),
}

impl ComponentVariables {
    pub(crate) fn new(manifest: &Manifest, component: &str, resolver: &Resolver) -> Result<Self> {
        let mut values = BTreeMap::new();
        for (name, text) in &manifest.component(component)?.variables {
            values.insert(name.clone(), resolver.resolve(&Template::parse(text)?)?);
        }
        Ok(Self {
            component: component.to_owned(),
            values,
        })
    }

    pub(crate) fn all(&self) -> Vec<(String, String)> {
        let values = self.values.iter();
        values
            .map(|(name, value)| (name.clone(), value.text.clone()))
            .collect()
    }

    pub(crate) fn get(&self, name: &str) -> Result<String, Unavailable> {
        check_key(name).map_err(|error| Unavailable::InvalidName(error.to_string()))?;
        match self.values.get(name) {
            Some(value) => Ok(value.text.clone()),
            None => Err(Unavailable::Undefined(format!(
                "no variable for {:?}.{name:?}",
                self.component
            ))),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use anyhow::anyhow;

    use super::*;

    /// A resolver with these values, for tests of what is built from values.
    pub(crate) fn resolver(values: &[(&str, &str)]) -> Resolver {
        let values = values.iter().map(|(name, text)| {
            (
                (*name).to_owned(),
                Value {
                    text: (*text).to_owned(),
                    secret: name.contains("secret"),
                },
            )
        });
        Resolver {
            values: values.collect(),
        }
    }

    const MANIFEST: &str = r#"
spin_manifest_version = 2
application = { name = "sample" }
[variables]
url = { required = true }
id = { required = true }
realm = { default = "all" }
[[trigger.http]]
route = "/"
component = "app"
[component.app]
source = "app.wasm"
variables = { address = "{{ url }}/{{ realm }}" }
"#;

    fn resolve(overrides: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<String> {
        let owned = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let manifest = Manifest::parse(MANIFEST, Path::new("spin.toml"), "/app".into())?;
        let config = RuntimeConfig::parse(
            "[[variables_provider]]\ntype = \"env\"\nprefix = \"OWN\"",
            Path::new(""),
        )?;
        let environment = owned(environment);
        let resolver = Resolver::new(&manifest, &config, &owned(overrides), |key| {
            Ok(environment.get(key).cloned())
        })?;
        let variables = ComponentVariables::new(&manifest, "app", &resolver)?;
        variables
            .get("address")
            .map_err(|error| anyhow!("{error:?}"))
    }

    #[test]
    fn overrides_win_over_the_environment_and_that_over_defaults() {
        let id = ("OWN_ID", "");
        let table: &[(&[_], &[_], &str)] = &[
            (&[("url", "a")], &[("OWN_URL", "b"), id], "a/all"),
            (
                &[],
                &[("OWN_URL", "b"), ("SPIN_VARIABLE_URL", "c"), id],
                "b/all",
            ),
            (
                &[],
                &[("SPIN_VARIABLE_URL", "c"), ("OWN_REALM", "mine"), id],
                "c/mine",
            ),
            (
                &[("realm", "")],
                &[("OWN_URL", "b"), ("OWN_REALM", "mine"), id],
                "b/",
            ),
        ];
        for (overrides, environment, expected) in table {
            assert_eq!(
                resolve(overrides, environment).unwrap(),
                *expected,
                "{overrides:?} {environment:?}"
            );
        }
    }

    #[test]
    fn every_missing_variable_is_named_with_what_to_export() {
        let error = resolve(&[], &[]).unwrap_err().to_string();
        assert_eq!(
            error,
            "variables that spin.toml requires have no value:\n  id: export OWN_ID=...\n  url: export OWN_URL=..."
        );
        let error = resolve(&[("uri", "a")], &[]).unwrap_err().to_string();
        assert_eq!(
            error,
            r#"variable "uri" is not in [variables] of spin.toml: correct the name"#
        );
    }

    #[test]
    fn a_template_takes_its_values_and_is_secret_when_one_of_them_is() {
        let resolver = resolver(&[("host", "a.test"), ("a_secret", "s3cret")]);
        let open = resolver
            .resolve(&Template::parse("https://{{ host }}/").unwrap())
            .unwrap();
        assert_eq!(
            (open.expose(), open.is_secret()),
            ("https://a.test/", false)
        );
        let closed = resolver
            .resolve(&Template::parse("{{ host }}{{ a_secret }}").unwrap())
            .unwrap();
        assert_eq!(
            (closed.expose(), closed.is_secret()),
            ("a.tests3cret", true)
        );
    }

    #[test]
    fn values_are_never_printed() {
        let resolver = resolver(&[("a_secret", "s3cret")]);
        assert!(!format!("{resolver:?}").contains("s3cret"));
    }

    #[test]
    fn a_guest_learns_why_it_gets_no_value() {
        let variables = ComponentVariables {
            component: "app".to_owned(),
            values: resolver(&[("url", "u")]).values,
        };
        assert_eq!(variables.all(), [("url".to_owned(), "u".to_owned())]);
        assert_eq!(variables.get("url"), Ok("u".to_owned()));
        assert_eq!(
            variables.get("urx"),
            Err(Unavailable::Undefined(
                r#"no variable for "app"."urx""#.to_owned()
            ))
        );
        assert!(matches!(
            variables.get("Url"),
            Err(Unavailable::InvalidName(_))
        ));
    }
}
