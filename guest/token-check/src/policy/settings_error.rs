//! What can be wrong with a setting, reported with the name that it has where the operator wrote
//! it.

use core::fmt;

use super::names::{SPIN_PREFIX, Visible, variable};
use super::requirements::RequirementKind;
use super::rules::RulesError;
use super::settings::{INTROSPECT_URL, Kind, Range, SETTINGS};
use super::unclean::Unclean;
#[cfg(feature = "jwt")]
use crate::jose::PrivateKeyProblem;

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is required, and missing or empty.
    Missing,
    /// There is no such key. The one that was probably meant.
    Unknown(Option<&'static str>),
    /// The host does not provide its value, or it is not UTF-8. Not the same as not set: the value
    /// may be what keeps callers out.
    Unreadable,
    /// Two sources give it a value.
    GivenTwice,
    /// A secret in a place that the host shows.
    ShownByHost,
    /// Contains characters that were hardly meant.
    Unclean(Unclean),
    /// A list with a comma in it.
    Comma,
    /// The settings themselves are not a JSON object; the error of the parser, if there is one.
    NotAnObject(Option<String>),
    /// In JSON: an array or an object, and not the rules.
    NotOneValue,
    /// Not an `http` or `https` URL.
    NotAnHttpUrl,
    /// A URL with a query.
    UrlWithQuery,
    /// A URL in another form than this one, which clients use.
    NotNormalized(String),
    /// A URL with letters that URLs do not have.
    NonAsciiUrl,
    /// Plain http to another machine.
    PlainHttp,
    /// A URL with a user, a password or a fragment.
    UrlWithExtras,
    /// None of these words.
    NotAChoice(&'static [&'static str]),
    /// `all` or `none` among names, or not in lower case.
    AllOrNone,
    /// A client id with a colon, which ends the id in Basic credentials without form-encoding (RFC
    /// 7617 section 2).
    ColonInClientId,
    /// Of no use without this value of `client_auth`.
    NeedsClientAuth(&'static str),
    /// Not a token that an Authorization header can have (RFC 6750 section 2.1).
    NotABearerToken,
    /// Not a private key that can sign.
    #[cfg(feature = "jwt")]
    PrivateKey(PrivateKeyProblem),
    /// An RSA key, which only Envoy signs with.
    #[cfg(feature = "jwt")]
    OnlyEnvoySigns,
    /// An RSA key, and this Envoy does not sign with it.
    #[cfg(feature = "jwt")]
    HostSignsNot,
    /// A value of `client_auth` that signs, in a build that cannot.
    #[cfg(not(feature = "jwt"))]
    CannotSign,
    /// Neither `true` nor `false`.
    NotABoolean,
    /// In JSON: a number that is not whole.
    NotWhole,
    /// Not a whole number in this range.
    OutOfRange(Range),
    /// Not made of scope tokens (RFC 6749 section 3.3).
    NotAScope,
    /// Has characters that a quoted string cannot contain.
    NotPrintable,
    /// A key with fewer characters than this.
    ShortKey(usize),
    /// Is not exactly the origin of this setting.
    NotTheOrigin {
        /// The setting.
        of: &'static str,
        /// Its origin.
        origin: String,
    },
    /// Not a signature algorithm that is verified here.
    UnknownAlgorithm {
        /// The word.
        word: String,
        /// The one that was probably meant.
        near: Option<&'static str>,
    },
    /// The document is no JWK set, or none of its keys can be used.
    NotAKeySet,
    /// Signatures are to be verified, and this setting and `jwks_url` are both set, or neither is.
    OneKeySource,
    /// Responses are to be signed, and nothing says by whom.
    SignedByWhom,
    /// This build cannot verify signatures.
    WithoutJwt,
    /// Not a list of this many objects at most; the error of the parser, if there is one.
    NotIssuers(usize, Option<String>),
    /// An element of `issuers` that is no object.
    NotAnIssuer,
    /// In an element of `issuers`: a setting that holds for all of them, or none.
    NotPerIssuer,
    /// A setting of one issuer, where there are several.
    PerIssuer,
    /// Another element has the same `iss`.
    IssuerTwice,
    /// An `opaque_prefix` that is no string, or that no token begins with.
    NotAPrefix,
    /// One of two `opaque_prefix` begins with the other: that of the element with this number.
    PrefixOverlaps(usize),
    /// An `opaque_prefix` where all tokens are JWTs.
    NoOpaqueTokens,
    /// On one route, two elements have tokens introspected that are no JWTs.
    OpaqueTwice {
        /// The number of the first one.
        first: usize,
        /// As in [`Problem::NotRequired`].
        rule: Option<String>,
    },
    /// A way to one origin, and issuers at several, of which two.
    SeveralOrigins([String; 2]),
    /// Credentials that the way to the issuer adds, and several issuers at its end.
    SharedCredentials,
    /// A rule names an issuer that is not in the list.
    UnknownToRule(String),
    /// This build takes one issuer.
    WithoutIssuers,
    /// This build reads no metadata.
    WithoutDiscovery,
    /// The same, of responses.
    WithoutSignedResponses,
    /// JWTs are verified here, and a requirement of this kind is not configured.
    NeededForJwt {
        /// The kind.
        kind: RequirementKind,
        /// As in [`Problem::NotRequired`].
        rule: Option<String>,
    },
    /// Not only scheme, host and port.
    NotAnOrigin,
    /// Nonces need a secret to derive them from.
    NeedsKeys,
    /// This build cannot verify proofs.
    WithoutProofs,
    /// Not the name of a header.
    NotAHeaderName,
    /// This host does not tell about the connection of a caller.
    NoConnection,
    /// Rules that cannot be used.
    Rules(RulesError),
    /// Not a kind of requirement.
    UnknownRequirement {
        /// The word.
        word: String,
        /// The one that was probably meant.
        near: Option<&'static str>,
    },
    /// A requirement of this kind must be configured and is not.
    NotRequired {
        /// The kind.
        kind: RequirementKind,
        /// The rule that accepts tokens without it, as errors of rules name it. `None`: the default
        /// policy.
        rule: Option<String>,
    },
}

/// Where a setting is given, which decides how it is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SettingSource {
    /// The environment of a process.
    #[default]
    Environment,
    /// The environment of an Envoy plugin: `environment_variables` of its `vm_config`.
    EnvoyEnvironment,
    /// The JSON `configuration` of an Envoy plugin.
    EnvoyConfiguration,
    /// A variable of a Spin component.
    SpinVariable,
    /// The JSON object in a Spin component's variable `auth_settings`.
    SpinSettings,
}

/// A setting that cannot be used. It names the key and never the value, except for the wrong part
/// of rules, which contain no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// The key, in lower snake case.
    pub key: String,
    /// What is wrong with it.
    pub problem: Problem,
    /// Where it is given, or should be.
    pub source: SettingSource,
}

impl SettingsError {
    /// For a setting in the environment.
    #[must_use]
    pub fn new(key: &str, problem: Problem) -> Self {
        Self {
            key: key.to_owned(),
            problem,
            source: SettingSource::Environment,
        }
    }

    /// The same with another source.
    #[must_use]
    pub fn at(self, source: SettingSource) -> Self {
        Self { source, ..self }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = Visible(&self.key);
        if let Problem::NotAnObject(fault) = &self.problem {
            write!(f, "{} is not a JSON object", self.source.json())?;
            return fault
                .as_ref()
                .map_or(Ok(()), |fault| write!(f, ": {fault}"));
        }
        match self.source {
            SettingSource::Environment | SettingSource::EnvoyEnvironment => {
                write!(
                    f,
                    "setting `{key}` ({}) ",
                    Visible(&variable(self.own_key()))
                )
            }
            SettingSource::SpinVariable => {
                let own_key = Visible(self.own_key());
                write!(f, "setting `{key}` (Spin variable {SPIN_PREFIX}{own_key}) ")
            }
            SettingSource::EnvoyConfiguration | SettingSource::SpinSettings => {
                write!(f, "setting `{key}` (in {}) ", self.source.json())
            }
        }?;
        match &self.problem {
            Problem::Missing => self.missing(f),
            Problem::Unknown(Some(near)) if self.source == SettingSource::SpinVariable => {
                write!(f, "is unknown: did you mean {SPIN_PREFIX}{near}?")
            }
            Problem::Unknown(Some(near)) => write!(f, "is unknown: did you mean `{near}`?"),
            Problem::Unknown(None) => f.write_str("is unknown: see the table of settings in README.md"),
            Problem::Unreadable => f.write_str("cannot be read: it must be UTF-8, and its provider must respond"),
            Problem::GivenTwice => write!(f, "is also given in {SPIN_PREFIX}settings: remove one of the two"),
            Problem::ShownByHost => write!(
                f,
                "must not be there, because Envoy shows it in `/config_dump` and in debug logs: export {} and list it \
                 in `host_env_keys`, or set `client_auth` = `none` and let Envoy add the credentials (docs/envoy.md)",
                Visible(&variable(&self.key))
            ),
            Problem::Unclean(unclean) => unclean.fmt(f),
            Problem::Comma => f.write_str(
                "has a comma: separate by spaces; only a rule can require a value that contains a comma",
            ),
            Problem::NotAnObject(_) => Ok(()),
            Problem::NotOneValue => f.write_str("must be a single value; a list is one string, separated by spaces"),
            Problem::NotAnHttpUrl => f.write_str("is not an http or https URL with a host"),
            Problem::UrlWithQuery => f.write_str("must not have a query"),
            Problem::NotNormalized(normal) => write!(
                f,
                "must be written `{normal}`, because clients compare it letter by letter"
            ),
            Problem::NonAsciiUrl => f.write_str(
                "has characters outside ASCII: write a host name in punycode (`xn--...`), and percent-encode a path",
            ),
            Problem::PlainHttp => f.write_str(
                "is plain http to another machine, which exposes the secret and every token to the network: use https, or set `allow_http`",
            ),
            Problem::UrlWithExtras => f.write_str("must not have a user, a password or a fragment"),
            Problem::NotAChoice(words) => {
                f.write_str("must be ")?;
                for (at, word) in words.iter().enumerate() {
                    let separator = match words.len().saturating_sub(at) {
                        _ if at == 0 => "",
                        1 => " or ",
                        _ => ", ",
                    };
                    write!(f, "{separator}`{word}`")?;
                }
                Ok(())
            }
            Problem::AllOrNone => f.write_str(
                "must be `all` or `none`, alone and in lower case, or names of claims separated by spaces",
            ),
            Problem::ColonInClientId => f.write_str(
                "has a colon, at which `client_auth` = `basic-raw` would truncate it: use `basic` or `post`",
            ),
            Problem::NeedsClientAuth(word) => write!(f, "needs `client_auth` = `{word}`"),
            Problem::NotABearerToken => f.write_str(
                "is not an access token (RFC 6750 section 2.1): letters, digits and `-._~+/!`, then `=`",
            ),
            #[cfg(feature = "jwt")]
            Problem::PrivateKey(problem) => problem.fmt(f),
            #[cfg(feature = "jwt")]
            Problem::OnlyEnvoySigns => f.write_str(
                "is an RSA key, with which only Envoy can sign: use a key of type EC (P-256) or OKP (Ed25519)",
            ),
            #[cfg(feature = "jwt")]
            Problem::HostSignsNot => f.write_str(
                "is an RSA key, and what this Envoy signs with it is not good: its numbers do not belong together, or this \
                 Envoy has no function `sign`; use a key of type EC (P-256) or OKP (Ed25519)",
            ),
            #[cfg(not(feature = "jwt"))]
            Problem::CannotSign => f.write_str(
                "must be another one: this build signs nothing (cargo feature `jwt`)",
            ),
            Problem::NotABoolean => f.write_str("must be `true` or `false`"),
            Problem::NotWhole => f.write_str("has a number that is not whole"),
            Problem::OutOfRange(range) => write!(f, "must be {range}"),
            Problem::NotAScope => f.write_str("must be scope tokens separated by spaces (RFC 6749 section 3.3)"),
            Problem::ShortKey(least) => write!(
                f,
                "must have at least {least} characters, such as the output of `openssl rand -hex 32`"
            ),
            Problem::NotPrintable => f.write_str("must be printable ASCII without `\"` and `\\`"),
            Problem::NotTheOrigin { of, origin } => write!(
                f,
                "must be `{origin}`, the scheme, host and port of `{of}`, and nothing more"
            ),
            Problem::UnknownAlgorithm { word, near } => {
                write!(f, "has the unknown word `{}`: ", Visible(word))?;
                match near {
                    Some(near) => write!(f, "did you mean `{near}`?"),
                    None => f.write_str(
                        "use `RS256`, `PS256`, `ES256` and `EdDSA`; `none` and HMAC are never accepted",
                    ),
                }
            }
            Problem::NotAKeySet => f.write_str(
                "is no JWK set with a key that can be used: public keys of RSA from 2048 bits, P-256, P-384 or Ed25519 (RFC 7517)",
            ),
            Problem::OneKeySource => f.write_str(
                "needs the keys of the issuer: set one of `issuer`, `jwks_url` and `jwks`",
            ),
            Problem::SignedByWhom => {
                f.write_str("needs the `iss` of the responses: set `expected_issuer`")?;
                self.lost("expected_issuer", f)
            }
            Problem::WithoutSignedResponses => f.write_str(
                "must be `false`: this build has no signatures (cargo feature `jwt`)",
            ),
            Problem::WithoutJwt => f.write_str(
                "must be `introspect`: this build has no signatures (cargo feature `jwt`)",
            ),
            Problem::NotIssuers(most, fault) => {
                write!(f, "must be a JSON list of 1 to {most} objects, each with the settings of one issuer")?;
                fault
                    .as_ref()
                    .map_or(Ok(()), |fault| write!(f, ": {fault}"))
            }
            Problem::NotAnIssuer => f.write_str("must be an object with the settings of one issuer"),
            Problem::NotPerIssuer => f.write_str(
                "is no setting of one issuer: set it beside `issuers`, or see docs/several-issuers.md",
            ),
            Problem::PerIssuer => f.write_str(
                "belongs into the objects of `issuers`: with several issuers, each has its own",
            ),
            Problem::IssuerTwice => f.write_str("is the one of another object too"),
            Problem::SeveralOrigins([one, other]) => write!(
                f,
                "must not be set with issuers at several origins ({one}, {other}), because it leads to one: leave it \
                 unset, and all calls go through `issuer_https` and `issuer_http`"
            ),
            Problem::SharedCredentials => f.write_str(
                "must not be set with several issuers at one origin of which one has `client_auth` = `none`: what the \
                 cluster adds for that one would go to all of them",
            ),
            Problem::UnknownToRule(rule) => {
                write!(f, "does not have an issuer that {rule} names: no token would do")
            }
            Problem::NotAPrefix => f.write_str(
                "must be a string with which tokens begin: letters, digits and `-._~+/!`",
            ),
            Problem::PrefixOverlaps(other) => write!(
                f,
                "is not told apart from that of `issuers[{other}]`: one of the two begins with the other"
            ),
            Problem::NoOpaqueTokens => f.write_str(
                "has no effect: with this `strategy`, all tokens must be JWTs",
            ),
            Problem::OpaqueTwice { first, rule } => {
                write!(f, "has tokens introspected that are no JWTs, as has `issuers[{first}]`")?;
                match rule {
                    None => f.write_str(" where no rule matches"),
                    Some(rule) => write!(f, " on the route of {rule}"),
                }?;
                f.write_str(
                    ", and nothing says whose such a token is: set `opaque_prefix` in one of these objects, or \
                     `strategy` = `jwt` or `both` where all tokens are JWTs, or name only one of the two in `issuers` of \
                     each rule",
                )
            }
            Problem::WithoutIssuers => f.write_str(
                "must not be set: this build has no JWTs, and so cannot tell issuers apart (cargo feature `jwt`)",
            ),
            Problem::WithoutDiscovery => f.write_str(
                "is not enough: this build reads no metadata (cargo feature `jwt`), so set `introspect_url`",
            ),
            Problem::NeededForJwt { kind, rule } => {
                f.write_str("has tokens verified here, ")?;
                match rule {
                    None => write!(f, "and no {} is required of them: ", kind.word())?,
                    Some(rule) => write!(
                        f,
                        "and {rule} accepts them with any {}: require it there, or ",
                        kind.word()
                    )?,
                }
                write!(f, "set `{}`", kind.setting())?;
                self.lost(kind.setting(), f)
            }
            Problem::NotAnOrigin => f.write_str("must be `scheme://host[:port]` and nothing more"),
            Problem::NeedsKeys => f.write_str(
                "needs a secret that all instances share, from which nonces are made: set `cache_key`",
            ),
            Problem::WithoutProofs => f.write_str(
                "must be `off`: this build has no signatures (cargo feature `jwt`)",
            ),
            Problem::NotAHeaderName => f.write_str("is not the name of one header"),
            Problem::NoConnection => f.write_str(
                "cannot be `connection` in Spin, which does not tell components about TLS: use `header` behind a proxy \
                 that terminates TLS, and let nobody else reach Spin",
            ),
            Problem::Rules(error) => write!(f, "cannot be used: {error}"),
            Problem::UnknownRequirement { word, near } => {
                write!(f, "has the unknown word `{}`: ", Visible(word))?;
                match near {
                    Some(near) => write!(f, "did you mean `{near}`?"),
                    None => f.write_str("use `audience`, `scope`, `client` and `issuer`"),
                }
            }
            Problem::NotRequired { kind, rule } => {
                write!(f, "has `{}`, and ", kind.word())?;
                match rule {
                    None => f.write_str("none is required: "),
                    Some(rule) => {
                        write!(f, "{rule} accepts tokens without one: require it there, or ")
                    }
                }?;
                write!(f, "set `{}`", kind.setting())?;
                self.lost(kind.setting(), f)
            }
        }
    }
}

impl SettingsError {
    /// The setting that the host knows: `issuers` of `issuers[1].jwks_url`.
    pub(super) fn own_key(&self) -> &str {
        self.key.split('[').next().unwrap_or_default()
    }

    /// Where a setting may get lost on its way here.
    fn lost(&self, key: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            SettingSource::Environment => Ok(()),
            SettingSource::EnvoyEnvironment | SettingSource::EnvoyConfiguration => {
                write!(
                    f,
                    "; if it is set, is {} in `host_env_keys`?",
                    variable(key)
                )
            }
            SettingSource::SpinVariable | SettingSource::SpinSettings => write!(
                f,
                "; if it is set, is {SPIN_PREFIX}{key} in [component.<app>.variables] of spin.toml?"
            ),
        }
    }

    /// What to do about a missing setting: an exported variable may still not arrive here.
    fn missing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.own_key() != self.key {
            return f.write_str("is missing or empty: set it");
        }
        self.not_here(f)?;
        match self.key == INTROSPECT_URL.key {
            true => f.write_str("; with `issuer` it is not needed"),
            false => Ok(()),
        }
    }

    fn not_here(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = Visible(&self.key);
        match self.source {
            SettingSource::Environment => f.write_str("is missing or empty: set it"),
            SettingSource::EnvoyEnvironment | SettingSource::EnvoyConfiguration
                if is_secret(&self.key) =>
            {
                write!(
                    f,
                    "is missing or empty: export {} and list it in `host_env_keys`",
                    Visible(&variable(&self.key))
                )
            }
            SettingSource::EnvoyEnvironment | SettingSource::EnvoyConfiguration => write!(
                f,
                "is missing or empty: export {0} and list it in `host_env_keys`, or put `{key}` into the plugin's `configuration`",
                Visible(&variable(&self.key))
            ),
            SettingSource::SpinVariable | SettingSource::SpinSettings => write!(
                f,
                "is missing or empty: set {SPIN_PREFIX}{key}, or `{key}` in {SPIN_PREFIX}settings, in \
                 [component.<app>.variables] of spin.toml, and have \"variables\" in `inherit_configuration` of the middleware"
            ),
        }
    }
}

impl SettingSource {
    /// What contains the JSON object.
    const fn json(self) -> &'static str {
        match self {
            Self::EnvoyEnvironment | Self::EnvoyConfiguration => "the plugin's configuration",
            Self::SpinVariable | Self::SpinSettings => "the Spin variable auth_settings",
            Self::Environment => "the configuration",
        }
    }
}

fn is_secret(key: &str) -> bool {
    SETTINGS
        .iter()
        .any(|setting| setting.key == key && setting.kind == Kind::Secret)
}

impl core::error::Error for SettingsError {}
