//! `spin.toml`, as far as this host supports it.
//!
//! What Spin knows and this host does not (files, databases, models, other triggers, remote
//! sources, ...) is refused when the manifest is read, never ignored: a test that passes here must
//! mean something there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde::{Deserialize, Deserializer, de};

use super::{build::BuildCommand, template::Template};

/// What an app and every middleware exports, and a middleware imports. Spin matches the literal
/// name, version included.
pub(crate) const HANDLER: &str = "wasi:http/handler@0.3.0";

/// Routes under this prefix belong to Spin itself.
pub(crate) const RESERVED_PREFIX: &str = "/.well-known/spin/";

/// A valid `spin.toml`.
#[derive(Clone, Debug)]
pub struct Manifest {
    path: PathBuf,
    directory: PathBuf,
    raw: RawManifest,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    spin_manifest_version: u32,
    application: Application,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
    trigger: Triggers,
    #[serde(default)]
    component: BTreeMap<String, Component>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Application {
    name: String,
    version: Option<String>,
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default, rename = "authors")]
    _authors: Vec<String>,
}

/// One entry of `[variables]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variable {
    pub(crate) default: Option<String>,
    #[serde(default)]
    pub(crate) required: bool,
    #[serde(default)]
    pub(crate) secret: bool,
    #[serde(default, rename = "description")]
    _description: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Triggers {
    http: Vec<Trigger>,
}

/// One `[[trigger.http]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trigger {
    #[serde(default, rename = "id")]
    _id: String,
    #[serde(deserialize_with = "route")]
    pub(crate) route: String,
    #[serde(deserialize_with = "component_id")]
    pub(crate) component: String,
    #[serde(default)]
    dependencies: Dependencies,
}

impl Trigger {
    /// The middleware in front of the component, outermost first.
    pub(crate) fn middleware(&self) -> &[Dependency] {
        &self.dependencies.middleware
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dependencies {
    #[serde(default)]
    middleware: Vec<Dependency>,
}

/// One entry of `dependencies.middleware`, or of the `dependencies` of a component.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dependency {
    #[serde(deserialize_with = "component_id")]
    pub(crate) component: String,
    #[serde(default)]
    pub(crate) inherit_configuration: Inherit,
}

/// The permissions of the trigger's component that a dependency inherits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Inherit {
    #[default]
    Nothing,
    Everything,
    Sets(BTreeSet<String>),
}

impl Inherit {
    pub(crate) fn covers(&self, set: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Sets(sets) => sets.contains(set),
        }
    }
}

/// The capability sets that Spin lets a dependency inherit.
const INHERITABLE: &[&str] = &[
    "ai_models",
    "allowed_outbound_hosts",
    "environment",
    "files",
    "key_value_stores",
    "sqlite_databases",
    "variables",
];

/// One `[component.<id>]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Component {
    #[serde(deserialize_with = "source")]
    source: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, String>,
    /// Labels of the stores it may open.
    #[serde(default)]
    pub(crate) key_value_stores: Vec<String>,
    /// By what it imports. Only [`HANDLER`] is known.
    #[serde(default)]
    dependencies: BTreeMap<String, Dependency>,
    build: Option<Build>,
}

impl Component {
    /// What stands behind it, if it is a middleware that is the component of its trigger.
    pub(crate) fn next(&self) -> Option<&Dependency> {
        self.dependencies.get(HANDLER)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Build {
    command: Commands,
    workdir: Option<PathBuf>,
    #[serde(default, rename = "watch")]
    _watch: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Commands {
    One(String),
    Many(Vec<String>),
}

impl Manifest {
    /// Reads and checks the manifest at `path`.
    ///
    /// # Errors
    /// It cannot be read, is invalid, or uses what this host does not support.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| {
            format!(
                "cannot read the manifest {}: name it with --manifest",
                path.display()
            )
        })?;
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let directory = parent.unwrap_or_else(|| Path::new("."));
        let directory = std::path::absolute(directory)
            .with_context(|| format!("no such directory: {}", directory.display()))?;
        Self::parse(&text, path, directory)
    }

    pub(crate) fn parse(text: &str, path: &Path, directory: PathBuf) -> Result<Self> {
        let raw: RawManifest = toml::from_str(text).map_err(|error| {
            anyhow!(
                "{}: {error}\nThis host stands in for Spin with HTTP triggers, middleware, variables, key-value stores and \
                 outbound grants. Take the key out, or run the app with `spin up`.",
                path.display()
            )
        })?;
        let manifest = Self {
            path: path.to_owned(),
            directory,
            raw,
        };
        manifest
            .check()
            .with_context(|| format!("{} is refused", path.display()))?;
        Ok(manifest)
    }

    fn check(&self) -> Result<()> {
        let raw = &self.raw;
        ensure!(
            raw.spin_manifest_version == 2,
            "spin_manifest_version is {}, and only 2 is known",
            raw.spin_manifest_version
        );
        for (name, variable) in &raw.variables {
            check_key(name).with_context(|| format!("[variables] {name}"))?;
            ensure!(
                variable.required || variable.default.is_some(),
                "[variables] {name} has no value when nobody sets it: add `required = true` or `default = \"...\"`"
            );
            ensure!(
                !(variable.required && variable.default.is_some()),
                "[variables] {name} is required and has a default: keep one of them"
            );
        }
        for (id, component) in &raw.component {
            self.check_component(id, component)
                .with_context(|| format!("[component.{id}]"))?;
        }
        ensure!(
            !raw.trigger.http.is_empty(),
            "there is no [[trigger.http]], so there is nothing to serve"
        );
        let mut routes = BTreeSet::new();
        for trigger in &raw.trigger.http {
            let place = || format!("[[trigger.http]] route = {:?}", trigger.route);
            self.check_trigger(trigger).with_context(place)?;
            ensure!(
                routes.insert(&trigger.route),
                "{} stands there twice: keep one",
                place()
            );
        }
        Ok(())
    }

    fn check_component(&self, id: &str, component: &Component) -> Result<()> {
        check_id(id)?;
        for (name, text) in &component.variables {
            check_key(name).with_context(|| format!("variables.{name}"))?;
            self.check_template(text)
                .with_context(|| format!("variables.{name}"))?;
        }
        for entry in &component.allowed_outbound_hosts {
            self.check_template(entry)
                .with_context(|| format!("allowed_outbound_hosts {entry:?}"))?;
        }
        for (import, dependency) in &component.dependencies {
            ensure!(
                import == HANDLER,
                "dependencies {import:?} is not supported: this host knows {HANDLER:?}, the app behind a middleware"
            );
            self.check_dependency(dependency, "a dependency", id)?;
        }
        Ok(())
    }

    fn check_template(&self, text: &str) -> Result<()> {
        for name in Template::parse(text)?.names() {
            ensure!(
                self.raw.variables.contains_key(name),
                "{{{{ {name} }}}} names no entry of [variables]: add it there or correct the name"
            );
        }
        Ok(())
    }

    fn check_trigger(&self, trigger: &Trigger) -> Result<()> {
        ensure!(
            !trigger.route.starts_with(RESERVED_PREFIX),
            "routes under {RESERVED_PREFIX} belong to Spin and are never reached"
        );
        self.component(&trigger.component)?;
        for middleware in trigger.middleware() {
            self.check_dependency(middleware, "middleware", &trigger.component)?;
        }
        Ok(())
    }

    /// `role`: what it is to the component `owner`.
    fn check_dependency(&self, dependency: &Dependency, role: &str, owner: &str) -> Result<()> {
        let component = self.component(&dependency.component)?;
        let mut own = Vec::new();
        if !component.allowed_outbound_hosts.is_empty() {
            own.push("allowed_outbound_hosts");
        }
        if !component.dependencies.is_empty() {
            own.push("dependencies");
        }
        if !component.variables.is_empty() {
            own.push("variables");
        }
        if !component.key_value_stores.is_empty() {
            own.push("key_value_stores");
        }
        ensure!(
            own.is_empty(),
            "component {:?} cannot be {role} with {} of its own: give them to {owner:?} and name them in inherit_configuration",
            dependency.component,
            own.join(" and "),
        );
        if let Inherit::Sets(sets) = &dependency.inherit_configuration {
            for set in sets {
                ensure!(
                    INHERITABLE.contains(&set.as_str()),
                    "inherit_configuration {set:?} of {:?} is not one of {}",
                    dependency.component,
                    INHERITABLE.join(", ")
                );
            }
        }
        Ok(())
    }

    /// The path of the manifest.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `application.name`.
    pub fn name(&self) -> &str {
        &self.raw.application.name
    }

    /// `application.version`.
    pub(crate) fn version(&self) -> Option<&str> {
        self.raw.application.version.as_deref()
    }

    /// Component, route and description of every trigger, in order.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.triggers().iter().map(|trigger| {
            let description = self
                .raw
                .component
                .get(&trigger.component)
                .map_or("", |component| &component.description);
            (
                trigger.component.as_str(),
                trigger.route.as_str(),
                description,
            )
        })
    }

    pub(crate) fn variables(&self) -> &BTreeMap<String, Variable> {
        &self.raw.variables
    }

    pub(crate) fn triggers(&self) -> &[Trigger] {
        &self.raw.trigger.http
    }

    pub(crate) fn components(&self) -> impl Iterator<Item = (&str, &Component)> {
        let components = self.raw.component.iter();
        components.map(|(id, component)| (id.as_str(), component))
    }

    pub(crate) fn component(&self, id: &str) -> Result<&Component> {
        self.raw
            .component
            .get(id)
            .with_context(|| format!("there is no [component.{id}]: add it or correct the name"))
    }

    /// The path of a component's .wasm.
    pub(crate) fn source_of(&self, id: &str) -> Result<PathBuf> {
        Ok(self.directory.join(&self.component(id)?.source))
    }

    /// The build commands of all components, with the directory each is run in.
    pub fn build_commands(&self) -> Vec<BuildCommand> {
        let mut commands = Vec::new();
        for (id, component) in &self.raw.component {
            let Some(build) = &component.build else {
                continue;
            };
            let directory = match &build.workdir {
                Some(workdir) => self.directory.join(workdir),
                None => self.directory.clone(),
            };
            let lines = match &build.command {
                Commands::One(line) => std::slice::from_ref(line),
                Commands::Many(lines) => lines.as_slice(),
            };
            commands.extend(lines.iter().map(|line| BuildCommand {
                component: id.clone(),
                command: line.clone(),
                directory: directory.clone(),
            }));
        }
        commands
    }

    /// The .wasm files that do not exist yet.
    pub fn missing_sources(&self) -> Vec<PathBuf> {
        let sources = self
            .raw
            .component
            .values()
            .map(|component| self.directory.join(&component.source));
        sources.filter(|source| !source.exists()).collect()
    }
}

/// Component ids are kebab-case.
fn check_id(id: &str) -> Result<()> {
    let words_are_sound = id.split('-').all(|word| {
        word.starts_with(|first: char| first.is_ascii_alphabetic())
            && word.chars().all(|c| c.is_ascii_alphanumeric())
    });
    ensure!(
        words_are_sound,
        "{id:?} is not a component id: words of letters and digits, joined by '-'"
    );
    Ok(())
}

/// Variable names are lower snake case: they have to survive being turned into names of environment
/// variables.
pub(crate) fn check_key(name: &str) -> Result<()> {
    let reason = if name.is_empty() {
        "must not be empty"
    } else if name.contains(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')) {
        "may hold only lower-case letters, digits and underscores"
    } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        "must start with a lower-case letter"
    } else if name.ends_with('_') {
        "must end with a letter or a digit"
    } else if name.contains("__") {
        "must not hold two underscores in a row"
    } else {
        return Ok(());
    };
    bail!("{name:?}: {reason}")
}

fn route<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(Text(
        "a route like \"/data\" or \"/files/...\" (this host has no private endpoints)",
    ))
}

fn component_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(Text(
        "the id of a [component.<id>] (this host has no inline components)",
    ))
}

fn source<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(Text(
        "the path of a .wasm file (this host has no remote sources)",
    ))
}

/// Accepts only a string, with an error that names the expected form.
struct Text(&'static str);

impl de::Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for Inherit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> de::Visitor<'de> for Either {
            type Value = Inherit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "true, false or a list of {}", INHERITABLE.join(", "))
            }

            fn visit_bool<E: de::Error>(self, all: bool) -> Result<Inherit, E> {
                Ok(if all {
                    Inherit::Everything
                } else {
                    Inherit::Nothing
                })
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut names: A) -> Result<Inherit, A::Error> {
                let mut sets = BTreeSet::new();
                while let Some(name) = names.next_element()? {
                    sets.insert(name);
                }
                Ok(Inherit::Sets(sets))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = r#"
spin_manifest_version = 2
[application]
name = "sample"
[variables]
url = { required = true }
secret = { default = "", secret = true }
[[trigger.http]]
route = "/data"
component = "app"
dependencies.middleware = [{ component = "gate", inherit_configuration = ["variables"] }]
[component.app]
source = "app.wasm"
allowed_outbound_hosts = ["{{ url }}"]
variables = { url = "{{ url }}" }
build.command = ["first", "second"]
build.workdir = "guest"
[component.gate]
source = "gate.wasm"
build.command = "third"
"#;

    fn parse(text: &str) -> Result<Manifest> {
        Manifest::parse(text, Path::new("spin.toml"), PathBuf::from("/app"))
    }

    fn refusal(text: &str) -> String {
        format!("{:#}", parse(text).unwrap_err())
    }

    #[test]
    fn build_commands_come_in_the_order_of_the_components_with_their_directories() {
        let commands: Vec<_> = parse(SOUND)
            .unwrap()
            .build_commands()
            .into_iter()
            .map(|build| (build.component, build.command, build.directory))
            .collect();
        assert_eq!(
            commands,
            [
                ("app".into(), "first".into(), PathBuf::from("/app/guest")),
                ("app".into(), "second".into(), PathBuf::from("/app/guest")),
                ("gate".into(), "third".into(), PathBuf::from("/app")),
            ]
        );
    }

    #[test]
    fn what_this_host_does_not_support_is_refused_by_name_and_line() {
        let component_keys = [
            "files = []",
            "exclude_files = []",
            "sqlite_databases = []",
            "ai_models = []",
            "environment = {}",
            "allowed_http_hosts = []",
            "targets = []",
            "tool = {}",
        ];
        for key in component_keys {
            let name = key.split(' ').next().unwrap();
            let error =
                refusal(&SOUND.replace("[component.gate]", &format!("{key}\n[component.gate]")));
            assert!(
                error.contains(&format!("unknown field `{name}`")),
                "{key}: {error}"
            );
            assert!(error.contains("at line 18, column 1"), "{key}: {error}");
        }
    }

    #[test]
    fn values_of_an_unsupported_shape_are_refused_with_what_is_expected() {
        let table = [
            (
                r#"source = "gate.wasm""#,
                r#"source = { url = "x", digest = "y" }"#,
                "this host has no remote sources",
            ),
            (
                r#"component = "app""#,
                r#"component = { source = "x.wasm" }"#,
                "this host has no inline components",
            ),
            (
                r#"route = "/data""#,
                "route = { private = true }",
                "this host has no private endpoints",
            ),
            (
                r#"route = "/data""#,
                "executor = { type = \"wagi\" }\nroute = \"/data\"",
                "unknown field `executor`",
            ),
            (
                "[[trigger.http]]",
                "[[trigger.redis]]\n[[trigger.http]]",
                "unknown field `redis`",
            ),
            (r#"["variables"]"#, "3", "true, false or a list of"),
            (
                "spin_manifest_version = 2",
                "spin_manifest_version = 1",
                "spin_manifest_version is 1, and only 2 is known",
            ),
        ];
        for (from, to, expected) in table {
            let error = refusal(&SOUND.replacen(from, to, 1));
            assert!(error.contains(expected), "{to}: {error}");
        }
    }

    #[test]
    fn a_manifest_that_contradicts_itself_is_refused() {
        let table = [
            (
                "url = { required = true }",
                "url = {}",
                "[variables] url has no value when nobody sets it",
            ),
            (
                "required = true",
                r#"required = true, default = """#,
                "[variables] url is required and has a default",
            ),
            (
                "url = { required",
                "Url = { required",
                r#""Url": may hold only lower-case letters"#,
            ),
            (
                r#"["{{ url }}"]"#,
                r#"["{{ uri }}"]"#,
                "{{ uri }} names no entry of [variables]",
            ),
            (
                r#"component = "gate""#,
                r#"component = "gat""#,
                "there is no [component.gat]",
            ),
            (
                r#"["variables"]"#,
                r#"["variable"]"#,
                r#"inherit_configuration "variable" of "gate" is not one of"#,
            ),
            (r#""/data""#, r#""/.well-known/spin/x""#, "belong to Spin"),
            (
                "[component.gate]",
                "[component.gate]\nvariables = { a = \"b\" }",
                r#"component "gate" cannot be middleware with variables of its own: give them to "app""#,
            ),
            (
                "[component.gate]",
                "[component.gate]\nkey_value_stores = [\"default\"]",
                r#"component "gate" cannot be middleware with key_value_stores of its own: give them to "app""#,
            ),
            (
                "[component.gate]",
                "[component.gate]\ndependencies = { \"wasi:http/handler@0.3.0\" = { component = \"app\" } }",
                r#"component "app" cannot be a dependency with allowed_outbound_hosts and variables of its own: give them to "gate""#,
            ),
            (
                "[component.app]",
                "[component.app]\ndependencies = { \"a:b/c\" = { component = \"gate\" } }",
                r#"dependencies "a:b/c" is not supported: this host knows "wasi:http/handler@0.3.0""#,
            ),
            (
                "[component.app]",
                "[[trigger.http]]\nroute = \"/data\"\ncomponent = \"app\"\n[component.app]",
                r#"[[trigger.http]] route = "/data" stands there twice"#,
            ),
        ];
        for (from, to, expected) in table {
            let error = refusal(&SOUND.replacen(from, to, 1));
            assert!(error.contains(expected), "{to}: {error}");
        }
    }

    #[test]
    fn variable_names_follow_spins_rules() {
        for sound in ["a", "a1", "ab_c", "a_1"] {
            assert!(check_key(sound).is_ok(), "{sound}");
        }
        for unsound in ["", "A", "1a", "_a", "a_", "a__b", "a-b", "ä"] {
            assert!(check_key(unsound).is_err(), "{unsound}");
        }
    }
}
