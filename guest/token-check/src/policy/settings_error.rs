//! What can be wrong with a setting, told by the name that it has where the operator wrote it.

use core::fmt;

use crate::policy::Demand;
use crate::policy::names::{SPIN_PREFIX, Visible, variable};
use crate::policy::rules::RulesError;
use crate::policy::unclean::Unclean;

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It must be set and is not, or is empty.
    Missing,
    /// Nobody knows such a key. The one that was meant, probably.
    Unknown(Option<&'static str>),
    /// The host does not give its value, or it is not UTF-8. Not the same as not set: it may be what keeps callers out.
    Unreadable,
    /// Two places give it a value.
    GivenTwice,
    /// Holds what does not belong to it.
    Unclean(Unclean),
    /// A list with a comma in it.
    Comma,
    /// The settings themselves are not a JSON object; what is wrong with them, where that is known.
    NotAnObject(Option<String>),
    /// In JSON: an array or an object, and not the rules.
    NotOneValue,
    /// Not a URL, or not one that can be called.
    NotAnHttpUrl,
    /// Plain http to another machine.
    PlainHttp,
    /// A URL with a user, a password or a fragment.
    UrlWithExtras,
    /// None of the ways to authenticate.
    NotAClientAuth,
    /// A client id with a colon, which Basic without form-encoding takes for the end of it (RFC 7617 section 2).
    ColonInClientId,
    /// Neither `true` nor `false`.
    NotABoolean,
    /// In JSON: a number that is not whole.
    NotWhole,
    /// Not a whole number of seconds within the bounds.
    NotSecondsBetween(u32, u32),
    /// Not a whole number of bytes within the bounds.
    NotBytesBetween(u32, u32),
    /// Not a whole number within the bounds.
    NotANumberBetween(u32, u32),
    /// Not made of scope tokens (RFC 6749 section 3.3).
    NotAScope,
    /// Has characters that a quoted string cannot hold.
    NotPrintable,
    /// Is not the origin of `introspect_url`, which is this, and nothing more.
    NotTheOrigin(String),
    /// Rules that cannot be used.
    Rules(RulesError),
    /// Not a demand. The one that was meant, probably.
    NotADemand {
        /// The word.
        word: String,
        /// What was meant.
        near: Option<&'static str>,
    },
    /// A demand that must not be empty and is.
    NotDemanded {
        /// The demand.
        demand: Demand,
        /// The rule that lets tokens through without it, as errors of rules name it. `None`: the default policy.
        rule: Option<String>,
    },
}

/// Where a setting is given, and so what it is called there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// The environment of a process.
    #[default]
    Environment,
    /// The environment of an Envoy plugin: what `environment_variables` of its `vm_config` lets through.
    EnvoyEnvironment,
    /// The JSON `configuration` of an Envoy plugin.
    EnvoyConfiguration,
    /// A variable of a Spin component.
    SpinVariable,
    /// The JSON in a Spin component's variable `auth_settings`.
    SpinSettings,
}

/// A setting that cannot be used. Names the key, never the value; of rules, which hold no secret, the part that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// The key, in lower snake case.
    pub key: String,
    /// What is wrong with it.
    pub problem: Problem,
    /// Where it is given, or should be.
    pub place: Place,
}

impl SettingsError {
    /// Of a setting in the environment.
    #[must_use]
    pub fn new(key: &str, problem: Problem) -> Self {
        Self {
            key: key.to_owned(),
            problem,
            place: Place::Environment,
        }
    }

    /// The same, given there.
    #[must_use]
    pub fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = Visible(&self.key);
        if let Problem::NotAnObject(fault) = &self.problem {
            write!(f, "{} is not a JSON object", self.place.json())?;
            return fault
                .as_ref()
                .map_or(Ok(()), |fault| write!(f, ": {fault}"));
        }
        match self.place {
            Place::Environment | Place::EnvoyEnvironment => {
                write!(f, "setting `{key}` ({}) ", Visible(&variable(&self.key)))
            }
            Place::SpinVariable => write!(f, "setting `{key}` (Spin variable {SPIN_PREFIX}{key}) "),
            Place::EnvoyConfiguration | Place::SpinSettings => {
                write!(f, "setting `{key}` (in {}) ", self.place.json())
            }
        }?;
        match &self.problem {
            Problem::Missing => self.missing(f),
            Problem::Unknown(Some(near)) => write!(f, "is not known: did you mean `{near}`?"),
            Problem::Unknown(None) => f.write_str("is not known: see the table of settings in README.md"),
            Problem::Unreadable => f.write_str("cannot be read: it must be UTF-8, and its provider must answer"),
            Problem::GivenTwice => write!(f, "is given in {SPIN_PREFIX}settings too: remove one of the two"),
            Problem::Unclean(unclean) => unclean.fmt(f),
            Problem::Comma => f.write_str(
                "has a comma: separate by spaces; a value that has a comma in it can be demanded by a rule",
            ),
            Problem::NotAnObject(_) => Ok(()),
            Problem::NotOneValue => f.write_str("must be one value; a list is one string, separated by spaces"),
            Problem::NotAnHttpUrl => f.write_str("is not an http or https URL with a host"),
            Problem::PlainHttp => f.write_str(
                "is plain http to another machine, which shows the secret and every token to the network: use https, or set `allow_http`",
            ),
            Problem::UrlWithExtras => f.write_str("must not have a user, a password or a fragment"),
            Problem::NotAClientAuth => f.write_str("must be `basic`, `basic-raw` or `post`"),
            Problem::ColonInClientId => f.write_str(
                "has a colon, at which `client_auth` = `basic-raw` would cut it off: use `basic` or `post`",
            ),
            Problem::NotABoolean => f.write_str("must be `true` or `false`"),
            Problem::NotWhole => f.write_str("has a number that is not whole"),
            Problem::NotSecondsBetween(low, high) => {
                write!(f, "must be a whole number of seconds from {low} to {high}")
            }
            Problem::NotBytesBetween(low, high) => {
                write!(f, "must be a whole number of bytes from {low} to {high}")
            }
            Problem::NotANumberBetween(low, high) => {
                write!(f, "must be a whole number from {low} to {high}")
            }
            Problem::NotAScope => f.write_str("must be scope tokens separated by spaces (RFC 6749 section 3.3)"),
            Problem::NotPrintable => f.write_str("must be printable ASCII without `\"` and `\\`"),
            Problem::NotTheOrigin(origin) => write!(
                f,
                "must be `{origin}`, the scheme, host and port of `introspect_url`, and nothing more"
            ),
            Problem::Rules(error) => write!(f, "cannot be used: {error}"),
            Problem::NotADemand { word, near } => {
                write!(f, "has the word `{}`, which is no demand: ", Visible(word))?;
                match near {
                    Some(near) => write!(f, "did you mean `{near}`?"),
                    None => f.write_str("the demands are `audience`, `scope`, `client` and `issuer`"),
                }
            }
            Problem::NotDemanded { demand, rule } => {
                write!(f, "has `{}`, and ", demand.word())?;
                match rule {
                    None => f.write_str("none is demanded: "),
                    Some(rule) => {
                        write!(f, "{rule} lets tokens through without one: demand it there, or ")
                    }
                }?;
                write!(f, "set `{}`", demand.setting())?;
                self.lost(demand.setting(), f)
            }
        }
    }
}

impl SettingsError {
    /// Where a setting that is made may get lost on its way here.
    fn lost(&self, key: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Environment => Ok(()),
            Place::EnvoyEnvironment | Place::EnvoyConfiguration => {
                write!(
                    f,
                    "; if it is set, is {} in `host_env_keys`?",
                    variable(key)
                )
            }
            Place::SpinVariable | Place::SpinSettings => write!(
                f,
                "; if it is set, is {SPIN_PREFIX}{key} in [component.<app>.variables] of spin.toml?"
            ),
        }
    }

    /// What to do where nothing is given: a name that is exported may still not get as far as here.
    fn missing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = Visible(&self.key);
        match self.place {
            Place::Environment => f.write_str("is missing or empty: set it"),
            Place::EnvoyEnvironment | Place::EnvoyConfiguration => write!(
                f,
                "is missing or empty: export {0} and list it in `host_env_keys`, or put `{key}` into the plugin's `configuration`",
                Visible(&variable(&self.key))
            ),
            Place::SpinVariable | Place::SpinSettings => write!(
                f,
                "is missing or empty: set {SPIN_PREFIX}{key}, or `{key}` in {SPIN_PREFIX}settings, in \
                 [component.<app>.variables] of spin.toml, and have \"variables\" in `inherit_configuration` of the middleware"
            ),
        }
    }
}

impl Place {
    /// What holds the JSON.
    const fn json(self) -> &'static str {
        match self {
            Self::EnvoyEnvironment | Self::EnvoyConfiguration => "the plugin's configuration",
            Self::SpinVariable | Self::SpinSettings => "the Spin variable auth_settings",
            Self::Environment => "the configuration",
        }
    }
}

impl core::error::Error for SettingsError {}
