//! Which tokens are verified here, and with which keys.

use core::time::Duration;
use std::sync::Arc;

use url::Url;

use super::names::near;
use super::requirements::RequirementKind;
use super::rules::Rules;
use super::settings::{
    ALGORITHMS, CLIENT_ID_CLAIM, JWKS, JWKS_MAX_AGE, JWKS_MIN_INTERVAL, JWKS_ORIGIN, JWKS_TTL,
    JWKS_URL, REQUIRE_AT_JWT, SCOPE_CLAIM, STRATEGY,
};
use super::settings_error::{Problem, SettingsError};
use super::{Requirements, SettingValues, check_origin, http_url, lacking};
use crate::introspection::ClaimNames;
use crate::jose::{Algorithm, Algorithms, KeySet};

/// How JWTs are verified.
#[derive(Debug)]
pub(crate) struct Verification {
    strategy: Strategy,
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
    Set(KeySet),
}

impl core::fmt::Debug for KeySource {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Url(_) => "KeySource::Url",
            Self::Set(_) => "KeySource::Set",
        })
    }
}

impl Verification {
    /// `None`: every token is introspected.
    pub(super) fn read(
        values: &SettingValues,
        allow_http: bool,
        default: &Requirements,
        rules: &Rules,
    ) -> Result<Option<Self>, SettingsError> {
        let strategy = match values.choice(STRATEGY)? {
            "jwt" => Strategy::Jwt,
            "auto" => Strategy::Auto,
            "both" => Strategy::Both,
            _ => return Ok(None),
        };
        // Issuers sign for many services with one key, and some for many realms: RFC 9068 section 4.
        for kind in [RequirementKind::Issuer, RequirementKind::Audience] {
            if let Some(rule) = lacking(kind, default, rules) {
                let problem = Problem::NeededForJwt { kind, rule };
                return Err(SettingsError::new(STRATEGY.key, problem));
            }
        }
        let ttl = values.duration(JWKS_TTL)?;
        Ok(Some(Self {
            strategy,
            keys: keys(values, allow_http)?,
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

    /// Whether tokens that are no JWTs are introspected.
    pub(crate) fn introspects_opaque(&self) -> bool {
        self.strategy == Strategy::Auto
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

fn keys(values: &SettingValues, allow_http: bool) -> Result<KeySource, SettingsError> {
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
        (None, None) => Err(SettingsError::new(STRATEGY.key, Problem::OneKeySource)),
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
