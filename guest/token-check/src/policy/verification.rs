//! What is verified here, tokens or the issuer's responses about them, and with which keys.

use core::time::Duration;
use std::sync::Arc;

use url::Url;

use super::names::near;
use super::one_of::OneOf;
use super::requirements::RequirementKind;
use super::rules::Rules;
use super::settings::{
    ALGORITHMS, CLIENT_ID_CLAIM, JWKS, JWKS_MAX_AGE, JWKS_MIN_INTERVAL, JWKS_ORIGIN, JWKS_TTL,
    JWKS_URL, REQUIRE_AT_JWT, SCOPE_CLAIM, SIGNED_INTROSPECTION, STRATEGY, Setting,
};
use super::settings_error::{Problem, SettingsError};
use super::urls::{check_origin, http_url};
use super::{Requirements, SettingValues, lacking};
use crate::introspection::ClaimNames;
use crate::jose::{Algorithm, Algorithms, KeySet};

/// How JWTs and responses are verified.
#[derive(Debug)]
pub(crate) struct Verification {
    strategy: Strategy,
    /// Who may sign introspection responses. `None`: they are not signed.
    response_issuers: Option<Box<[String]>>,
    keys: KeySource,
    algorithms: Algorithms,
    requires_at_jwt: bool,
    claim_names: ClaimNames,
    ttl: Duration,
    min_interval: Duration,
    max_age: Duration,
}

/// Which tokens are verified, and which are introspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strategy {
    /// None are verified, but the responses about them.
    Introspect,
    /// All are verified, so all must be JWTs.
    Jwt,
    /// JWTs are verified, others are introspected.
    Auto,
    /// All are verified, then introspected.
    Both,
}

/// Where the keys are.
pub(crate) enum KeySource {
    Url(Arc<Url>),
    /// The metadata of the issuer say.
    Discovered,
    Set(KeySet),
}

impl core::fmt::Debug for KeySource {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Url(_) => "KeySource::Url",
            Self::Discovered => "KeySource::Discovered",
            Self::Set(_) => "KeySource::Set",
        })
    }
}

impl Verification {
    /// `None`: every token is introspected, and nothing is signed.
    pub(super) fn read(
        values: &SettingValues,
        allow_http: bool,
        has_issuer: bool,
        one_of: Option<&OneOf>,
        default: &Requirements,
        rules: &Rules,
    ) -> Result<Option<Self>, SettingsError> {
        let strategy = match values.choice(STRATEGY)? {
            "jwt" => Strategy::Jwt,
            "auto" => Strategy::Auto,
            "both" => Strategy::Both,
            _ => Strategy::Introspect,
        };
        let is_signed = values.boolean(SIGNED_INTROSPECTION)? && strategy != Strategy::Jwt;
        // Issuers sign for many services with one key, and some for many realms: RFC 9068 section 4.
        let needed: &[_] = match (strategy, is_signed) {
            (Strategy::Introspect, false) => return Ok(None),
            (Strategy::Introspect, true) => &[],
            (Strategy::Jwt | Strategy::Auto | Strategy::Both, _) => {
                &[RequirementKind::Issuer, RequirementKind::Audience]
            }
        };
        for &kind in needed {
            if let Some(rule) = lacking(kind, default, rules) {
                let problem = Problem::NeededForJwt { kind, rule };
                return Err(SettingsError::new(STRATEGY.key, problem));
            }
        }
        let by_whom = match strategy {
            Strategy::Introspect => SIGNED_INTROSPECTION,
            Strategy::Jwt | Strategy::Auto | Strategy::Both => STRATEGY,
        };
        let keys = keys(values, allow_http, has_issuer, by_whom)?;
        let response_issuers = is_signed.then(|| match one_of {
            Some(one_of) => Ok([one_of.own.clone()].into()),
            None => response_issuers(default, rules),
        });
        let ttl = values.duration(JWKS_TTL)?;
        Ok(Some(Self {
            strategy,
            response_issuers: response_issuers.transpose()?,
            keys,
            algorithms: algorithms(values)?,
            requires_at_jwt: values.boolean(REQUIRE_AT_JWT)?,
            claim_names: ClaimNames {
                client_id: values.required(CLIENT_ID_CLAIM)?.to_owned(),
                scope: values.required(SCOPE_CLAIM)?.to_owned(),
            },
            ttl,
            min_interval: values.duration(JWKS_MIN_INTERVAL)?,
            max_age: values.duration(JWKS_MAX_AGE)?.max(ttl),
        }))
    }

    /// Whether no token is introspected.
    pub(super) fn replaces_introspection(&self) -> bool {
        self.strategy == Strategy::Jwt
    }

    /// Whether no token is verified.
    pub(crate) fn introspects_all(&self) -> bool {
        self.strategy == Strategy::Introspect
    }

    /// Whether introspection responses must be signed.
    pub(super) const fn wants_signed_responses(&self) -> bool {
        self.response_issuers.is_some()
    }

    /// Who may sign introspection responses. `None`: they are not signed.
    pub(crate) fn response_issuers(&self) -> Option<&[String]> {
        self.response_issuers.as_deref()
    }

    /// Whether a token that is no JWT is introspected.
    pub(crate) fn takes_opaque(&self) -> bool {
        matches!(self.strategy, Strategy::Introspect | Strategy::Auto)
    }

    /// Whether the issuer is asked about verified tokens too.
    pub(crate) fn introspects_verified(&self) -> bool {
        self.strategy == Strategy::Both
    }

    pub(crate) const fn keys(&self) -> &KeySource {
        &self.keys
    }

    pub(crate) const fn algorithms(&self) -> Algorithms {
        self.algorithms
    }

    /// Whether `typ` must be `at+jwt`.
    pub(crate) const fn requires_at_jwt(&self) -> bool {
        self.requires_at_jwt
    }

    pub(crate) const fn claim_names(&self) -> &ClaimNames {
        &self.claim_names
    }

    /// How old keys get before they are fetched again.
    pub(crate) const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Between fetches that tokens with unknown keys cause.
    pub(crate) const fn min_interval(&self) -> Duration {
        self.min_interval
    }

    /// The age beyond which keys verify nothing; at least [`Self::ttl`].
    pub(crate) const fn max_age(&self) -> Duration {
        self.max_age
    }
}

/// The issuers that some route accepts tokens from. There is one introspection endpoint and one set
/// of keys for all of them, and facts are shared by all routes; each route checks the `iss` of the
/// token by itself.
fn response_issuers(default: &Requirements, rules: &Rules) -> Result<Box<[String]>, SettingsError> {
    let in_rules = rules.with_requirements();
    let all = [default].into_iter().chain(in_rules.map(|(_, one)| one));
    let mut issuers: Vec<_> = all
        .flat_map(|requirements| requirements.issuers.as_slice())
        .cloned()
        .collect();
    issuers.sort_unstable();
    issuers.dedup();
    if issuers.is_empty() {
        let problem = Problem::SignedByWhom;
        return Err(SettingsError::new(SIGNED_INTROSPECTION.key, problem));
    }
    Ok(issuers.into())
}

/// `needs`: the setting that needs keys.
fn keys(
    values: &SettingValues,
    allow_http: bool,
    has_issuer: bool,
    needs: &Setting,
) -> Result<KeySource, SettingsError> {
    match (values.optional(JWKS_URL), values.optional(JWKS)) {
        (Some(url), None) => {
            let url = http_url(JWKS_URL, url, allow_http)?;
            if let Some(origin) = values.optional(JWKS_ORIGIN) {
                check_origin(JWKS_ORIGIN, origin, JWKS_URL.key, &url)?;
            }
            Ok(KeySource::Url(Arc::new(url)))
        }
        (None, Some(document)) => KeySet::parse(document.as_bytes())
            .map(KeySource::Set)
            .map_err(|_| SettingsError::new(JWKS.key, Problem::NotAKeySet)),
        (Some(_), Some(_)) => Err(SettingsError::new(JWKS.key, Problem::OneKeySource)),
        (None, None) if has_issuer => Ok(KeySource::Discovered),
        (None, None) => Err(SettingsError::new(needs.key, Problem::OneKeySource)),
    }
}

fn algorithms(values: &SettingValues) -> Result<Algorithms, SettingsError> {
    let error = |problem| SettingsError::new(ALGORITHMS.key, problem);
    let words = values.list(ALGORITHMS)?;
    if words.is_empty() {
        return Err(error(Problem::Missing));
    }
    let read = |word: &String| {
        Algorithm::from_name(word).ok_or_else(|| {
            let near = near(word, Algorithm::ALL.into_iter().map(Algorithm::name));
            let word = word.clone();
            error(Problem::UnknownAlgorithm { word, near })
        })
    };
    words.iter().map(read).collect()
}
