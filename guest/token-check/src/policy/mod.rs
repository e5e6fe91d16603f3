//! Settings become an immutable, valid policy, or an error that names the key.

mod bound_tokens;
mod client_auth;
#[cfg(feature = "jwt")]
mod dpop;
mod environment;
mod issuer;
#[cfg(feature = "jwt")]
mod issuers;
mod names;
mod one_of;
mod only_origin;
mod requirements;
mod resource_metadata;
mod rules;
mod settings;
mod settings_error;
mod summary;
mod unclean;
mod urls;
mod values;
#[cfg(feature = "jwt")]
mod verification;
#[cfg(not(feature = "jwt"))]
mod without_dpop;
#[cfg(not(feature = "jwt"))]
mod without_jwt;

use core::time::Duration;
use std::sync::Arc;

use url::Url;

pub(crate) use bound_tokens::BoundTokens;
pub use bound_tokens::CertificateSource;
#[cfg(feature = "jwt")]
pub(crate) use dpop::DpopPolicy;
pub use environment::{UnknownVariable, unknown_variable};
#[cfg(feature = "jwt")]
pub(crate) use issuer::{Discovered, Discovery};
pub use names::{PREFIX, SPIN_PREFIX, variable};
pub use requirements::{RequirementKind, Requirements};
pub(crate) use resource_metadata::ResourceMetadata;
pub(crate) use rules::Access;
pub use rules::{MAX_RULES, MAX_RULES_BYTES, PathFault, RulesError, RulesFault};
pub use settings::{
    ENVOY_SETTINGS, FILTER_STATE, Kind, Range, SERVICE_A_KEYS, SETTINGS, Setting, Unit,
    spin_variables,
};
pub use settings_error::{Problem, SettingSource, SettingsError};
pub use summary::Summary;
pub use unclean::Unclean;
pub use values::SettingValues;
#[cfg(feature = "jwt")]
pub(crate) use verification::{KeySource, Verification};
#[cfg(not(feature = "jwt"))]
pub(crate) use without_dpop::DpopPolicy;
#[cfg(not(feature = "jwt"))]
pub(crate) use without_jwt::Verification;

use crate::introspection::{ClaimsHeader, ClientAuth, Credentials, Endpoint, Timeouts};
#[cfg(feature = "jwt")]
use crate::jose::SignatureHost;
use crate::reason::Reason;
use crate::request::{RequestHead, path};
use crate::secret::{CacheKey, ClientSecret};
use codec::grammar::is_scope_token;
use issuer::Issuer;
use names::near;
use one_of::OneOf;
use rules::Rules;
use settings::{
    ALLOW_HTTP, ALLOWED_CLIENTS, ALLOWED_GRANT_TYPES, AUDIT, BREAKER_FAULTS, CACHE_ENTRIES,
    CACHE_KEY, CACHE_STORE, CACHE_TTL, CLAIMS_HEADER, CONNECT_TIMEOUT, EXPECTED_AUD,
    EXPECTED_ISSUER, FIRST_BYTE_TIMEOUT, FORWARD_TOKEN, INTROSPECT_ORIGIN, INTROSPECT_URL, ISSUERS,
    LEEWAY, MAX_ANSWER_BYTES, MAX_CALLS, MAX_TOKEN_BYTES, MAX_WAITING, NEGATIVE_CACHE_TTL,
    PROBE_INTERVAL, REALM, REQUIRE, REQUIRED_SCOPE, RESOURCE_CLIENT_ID, RESOURCE_CLIENT_SECRET,
    RESOURCE_IDENTIFIER, RULES, STALE_IF_ERROR, TIMEOUT, TOKEN_TYPES,
};
use urls::{check_origin, http_url};

/// The shortest `cache_key`, in characters: in hexadecimal it has 128 bits.
const MIN_CACHE_KEY: usize = 32;
/// A client secret with fewer characters may be guessed from a record or an audit line, even slowly.
const MIN_CLIENT_SECRET: usize = 16;

/// What Service B requires of a token, and how it introspects one. Valid by construction.
#[derive(Debug)]
pub struct Policy {
    /// `None`: no token is introspected.
    credentials: Option<Arc<Credentials>>,
    /// `None`: nowhere, or where the metadata of the issuer say.
    introspect_url: Option<Url>,
    #[cfg(feature = "jwt")]
    discovery: Option<Discovery>,
    verification: Option<Verification>,
    client_id: String,
    client_secret: ClientSecret,
    cache_key: Option<CacheKey>,
    default: Arc<Requirements>,
    rules: Rules,
    /// With several issuers: the one that this policy is about.
    only_issuer: Option<String>,
    /// With several issuers: what tokens of this one begin with that are no JWTs.
    #[cfg(feature = "jwt")]
    opaque_prefix: Option<String>,
    /// With several issuers, in the policy of the first: those of the others.
    others: Box<[Arc<Self>]>,
    token_types: Vec<String>,
    max_token_bytes: usize,
    max_answer_bytes: usize,
    leeway_seconds: u32,
    timeout: Duration,
    connect_timeout: Duration,
    first_byte_timeout: Duration,
    max_calls: usize,
    max_waiting: usize,
    breaker_faults: u32,
    probe_interval: Duration,
    cache_ttl_seconds: u32,
    negative_cache_ttl_seconds: u32,
    cache_entries: u32,
    stale_if_error_seconds: u32,
    cache_store: Option<String>,
    audit: bool,
    realm: String,
    forward_token: bool,
    claims_header: ClaimsHeader,
    resource_metadata: Option<ResourceMetadata>,
    bound_tokens: BoundTokens,
    dpop: Option<DpopPolicy>,
}

impl Policy {
    /// Makes a policy from keys and values; keys as in [`SETTINGS`]. Of two values for a key the
    /// last one counts, and an empty value counts as none.
    ///
    /// # Errors
    /// The first setting that is missing, unknown or wrong.
    pub fn new(
        settings: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let mut values = SettingValues::new();
        for (key, value) in settings {
            values.set(&key, value, SettingSource::Environment);
        }
        Self::from_values(&values, SettingSource::Environment)
    }

    /// Makes a policy. `source`: where a missing setting should be.
    ///
    /// # Errors
    /// The first setting that is missing, unknown or wrong.
    pub fn from_values(
        values: &SettingValues,
        source: SettingSource,
    ) -> Result<Self, SettingsError> {
        values
            .check()
            .and_then(|()| match values.optional(ISSUERS) {
                None => Self::read(values, source, None),
                #[cfg(feature = "jwt")]
                Some(document) => Self::several(values, document, source),
                #[cfg(not(feature = "jwt"))]
                Some(_) => Err(SettingsError::new(ISSUERS.key, Problem::WithoutIssuers)),
            })
            .map_err(|error| {
                let source = values.source(error.own_key()).unwrap_or(source);
                error.at(source)
            })
    }

    /// The policy of the first of several issuers, with those of the others.
    #[cfg(feature = "jwt")]
    fn several(
        values: &SettingValues,
        document: &str,
        source: SettingSource,
    ) -> Result<Self, SettingsError> {
        let each = issuers::read(values, document, source)?;
        let mut policies = Vec::new();
        for (at, (one_of, values)) in each.iter().enumerate() {
            let policy = Self::read(values, source, Some(one_of));
            let policy = policy.map_err(|error| issuers::in_list(at, error))?;
            issuers::check_rules(&policy.rules, one_of)?;
            policies.push(policy);
        }
        let each = each.iter().zip(&policies);
        let each: Vec<_> = each
            .map(|((one_of, _), policy)| (one_of, policy.takes_opaque()))
            .collect();
        let mut policies = policies.into_iter();
        let missing = || SettingsError::new(ISSUERS.key, Problem::Missing);
        let mut first = policies.next().ok_or_else(missing)?;
        // All have the same rules.
        issuers::check_opaque(&each, &first.default, &first.rules)?;
        first.others = policies.map(Arc::new).collect();
        Ok(first)
    }

    /// `one_of`: with several issuers.
    fn read(
        values: &SettingValues,
        source: SettingSource,
        one_of: Option<&OneOf>,
    ) -> Result<Self, SettingsError> {
        let allow_http = values.boolean(ALLOW_HTTP)?;
        let realm = values.required(REALM)?.to_owned();
        if !realm
            .bytes()
            .all(|b| (0x20..=0x7e).contains(&b) && b != b'"' && b != b'\\')
        {
            return Err(SettingsError::new(REALM.key, Problem::NotPrintable));
        }
        let required_scope = values.list(REQUIRED_SCOPE)?;
        if !required_scope.iter().all(|scope| is_scope_token(scope)) {
            return Err(SettingsError::new(REQUIRED_SCOPE.key, Problem::NotAScope));
        }
        let issuer = Issuer::read(values, allow_http)?;
        let expected_issuer = (one_of.map(|one_of| one_of.own.as_str()))
            .or_else(|| values.optional(EXPECTED_ISSUER))
            .or_else(|| issuer.as_ref().map(Issuer::as_str))
            .map(str::to_owned);
        let default = Requirements {
            issuers: match one_of {
                Some(one_of) => one_of.all.clone(),
                None => Vec::from_iter(expected_issuer.clone()),
            }
            .into(),
            audiences: values.list(EXPECTED_AUD)?.into(),
            clients: values.list(ALLOWED_CLIENTS)?.into(),
            grant_types: values.list(ALLOWED_GRANT_TYPES)?.into(),
            all_scopes: required_scope.into(),
            floor: one_of.map(|one_of| Arc::clone(&one_of.floor)),
            ..Requirements::default()
        };
        let rules = match values.optional(RULES) {
            None => Rules::default(),
            Some(document) => rules::parse(document, &default)
                .map_err(|error| SettingsError::new(RULES.key, Problem::Rules(error)))?,
        };
        check_required_kinds(&values.list(REQUIRE)?, &default, &rules)?;
        let timeout = values.duration(TIMEOUT)?;
        let has_issuer = issuer.is_some();
        let verification =
            Verification::read(values, allow_http, has_issuer, one_of, &default, &rules)?;
        let introspects =
            !(verification.as_ref()).is_some_and(Verification::replaces_introspection);
        let introspect_url = match introspects {
            true if has_issuer && values.optional(INTROSPECT_URL).is_none() => None,
            true => Some(introspect_url(values, allow_http)?),
            false => None,
        };
        let required = |setting| values.required(setting);
        let client_id = match introspects {
            true => required(RESOURCE_CLIENT_ID)?,
            false => values.optional(RESOURCE_CLIENT_ID).unwrap_or_default(),
        };
        let client_id = client_id.to_owned();
        let (client_auth, client_secret) = match introspects {
            true => client_auth::read(
                values,
                &client_id,
                expected_issuer.as_deref(),
                source,
                required,
            )?,
            false => {
                let secret = values.optional(RESOURCE_CLIENT_SECRET).unwrap_or_default();
                (ClientAuth::None, ClientSecret::new(secret.to_owned()))
            }
        };
        let cache_key = cache_key(values)?;
        let has_keys = cache_key.is_some() || !client_secret.secret().is_empty();
        let dpop = DpopPolicy::read(values, has_keys)?;
        let bound_tokens = BoundTokens::read(values, source)?;
        let resource_metadata = resource_metadata(
            values,
            allow_http,
            &default,
            &rules,
            &proof_members(dpop.as_ref(), &bound_tokens),
        )?;
        let finds_endpoint = introspects && introspect_url.is_none();
        #[cfg(not(feature = "jwt"))]
        if finds_endpoint {
            return Err(SettingsError::new(
                settings::ISSUER.key,
                Problem::WithoutDiscovery,
            ));
        }
        let credentials =
            introspects.then(|| Credentials::new(&client_id, &client_secret, client_auth));
        Ok(Self {
            credentials: credentials.map(Arc::new),
            introspect_url,
            #[cfg(feature = "jwt")]
            discovery: discovery(
                values,
                issuer,
                finds_endpoint,
                verification.as_ref(),
                allow_http,
            )?,
            verification,
            client_id,
            client_secret,
            cache_key,
            default: Arc::new(default),
            rules,
            only_issuer: one_of.map(|one_of| one_of.own.clone()),
            #[cfg(feature = "jwt")]
            opaque_prefix: one_of.and_then(|one_of| one_of.opaque_prefix.clone()),
            others: Box::default(),
            token_types: values.list(TOKEN_TYPES)?,
            max_token_bytes: values.size(MAX_TOKEN_BYTES)?,
            max_answer_bytes: values.size(MAX_ANSWER_BYTES)?,
            leeway_seconds: values.number(LEEWAY)?,
            timeout,
            connect_timeout: values.duration(CONNECT_TIMEOUT)?,
            first_byte_timeout: match values.optional(FIRST_BYTE_TIMEOUT) {
                None => timeout,
                Some(_) => values.duration(FIRST_BYTE_TIMEOUT)?,
            },
            max_calls: values.size(MAX_CALLS)?,
            max_waiting: values.size(MAX_WAITING)?,
            breaker_faults: values.number(BREAKER_FAULTS)?,
            probe_interval: values.duration(PROBE_INTERVAL)?,
            cache_ttl_seconds: values.number(CACHE_TTL)?,
            negative_cache_ttl_seconds: values.number(NEGATIVE_CACHE_TTL)?,
            cache_entries: values.number(CACHE_ENTRIES)?,
            stale_if_error_seconds: values.number(STALE_IF_ERROR)?,
            cache_store: values.optional(CACHE_STORE).map(str::to_owned),
            audit: values.boolean(AUDIT)?,
            realm,
            forward_token: values.boolean(FORWARD_TOKEN)?,
            claims_header: claims_header(values)?,
            resource_metadata,
            bound_tokens,
            dpop,
        })
    }

    /// What is required of a token, for the log at the start.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let others = self.others.iter().map(|other| other.summary_of_one());
        others.fold(self.summary_of_one(), Summary::and)
    }

    /// The same of one issuer.
    fn summary_of_one(&self) -> Summary {
        Summary::new(
            self.only_issuer.as_deref(),
            &self.default,
            &self.rules,
            self.cache_ttl_seconds,
            self.caches_facts(),
            self.can_be_guessed(),
        )
    }

    /// Whether what is derived from the client secret and leaves this instance may betray it.
    fn can_be_guessed(&self) -> bool {
        let secret = self.client_secret.secret();
        self.cache_key.is_none()
            && !secret.is_empty()
            && secret.chars().count() < MIN_CLIENT_SECRET
            && (self.audit || self.caches_facts())
    }

    /// The longest wait for the issuer.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The limits of a call that must end within `left`.
    pub(crate) fn timeouts(&self, left: Duration) -> Timeouts {
        Timeouts {
            total: left,
            connect: left.min(self.connect_timeout),
            first_byte: left.min(self.first_byte_timeout),
        }
    }

    /// The label of the store that instances share, if one is set.
    #[must_use]
    pub fn cache_store(&self) -> Option<&str> {
        self.cache_store.as_deref()
    }

    /// The longest response accepted, in bytes: the limit for
    /// [`BodyCollector::new`](crate::BodyCollector::new).
    #[must_use]
    pub const fn max_answer_bytes(&self) -> usize {
        self.max_answer_bytes
    }

    /// The longest token accepted, in bytes.
    pub(crate) const fn max_token_bytes(&self) -> usize {
        self.max_token_bytes
    }

    /// Values of `token_type` accepted in addition to the known ones, compared without regard to
    /// case.
    #[must_use]
    pub fn token_types(&self) -> &[String] {
        &self.token_types
    }

    /// Whether each decision gets an audit line.
    #[must_use]
    pub const fn audits(&self) -> bool {
        self.audit
    }

    /// Whether anything is made from keys that only this policy has, besides shared results.
    pub(crate) fn needs_derived_keys(&self) -> bool {
        #[cfg(feature = "jwt")]
        if self.dpop.as_ref().is_some_and(DpopPolicy::asks_for_nonces) {
            return true;
        }
        self.audit
    }

    /// Introspection calls at once.
    pub(crate) const fn max_calls(&self) -> usize {
        self.max_calls
    }

    /// Requests without a verdict at once.
    pub(crate) const fn max_waiting(&self) -> usize {
        self.max_waiting
    }

    pub(crate) const fn breaker_faults(&self) -> u32 {
        self.breaker_faults
    }

    pub(crate) const fn probe_interval(&self) -> Duration {
        self.probe_interval
    }

    /// How long an introspection result is fresh on a route with these requirements.
    pub(crate) fn ttl_seconds(&self, requirements: &Requirements) -> u32 {
        requirements.ttl_seconds.unwrap_or(self.cache_ttl_seconds)
    }

    /// The same for an inactive result.
    pub(crate) fn negative_ttl_seconds(&self, requirements: &Requirements) -> u32 {
        self.negative_cache_ttl_seconds
            .min(self.ttl_seconds(requirements))
    }

    /// The age beyond which no route uses a result, in seconds.
    pub(crate) fn longest_age_seconds(&self) -> i64 {
        let ttl = self.cache_ttl_seconds.max(self.rules.longest_ttl_seconds());
        ttl.saturating_add(self.stale_if_error_seconds).into()
    }

    /// Whether any route uses cached results.
    pub(crate) fn caches_facts(&self) -> bool {
        self.cache_ttl_seconds > 0 || self.rules.longest_ttl_seconds() > 0
    }

    pub(crate) const fn cache_entries(&self) -> u32 {
        self.cache_entries
    }

    pub(crate) const fn stale_if_error_seconds(&self) -> u32 {
        self.stale_if_error_seconds
    }

    /// What this request must satisfy: the first rule that matches, else the default requirements.
    #[inline]
    pub(crate) fn access(&self, request: &RequestHead<'_>) -> Result<Access, Reason> {
        let host = path::host(request.authority);
        // Parsers disagree about a host that is none, and Spin cannot forward a request with one.
        if host == path::Host::Unknown && request.authority.is_some() {
            return Err(Reason::AmbiguousPath);
        }
        let access = self.rules.access(request, &host)?;
        Ok(access.map_or_else(|| Access::Token(Arc::clone(&self.default)), Access::clone))
    }

    /// Where tokens are introspected. `None`: nowhere, or where the metadata of the issuer say.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        self.endpoint_at(self.introspect_url.clone()?)
    }

    /// The URL of introspection in the settings.
    pub(crate) const fn introspect_url(&self) -> Option<&Url> {
        self.introspect_url.as_ref()
    }

    /// Whether introspection responses must be signed.
    pub(crate) fn wants_signed_responses(&self) -> bool {
        (self.verification.as_ref()).is_some_and(Verification::wants_signed_responses)
    }

    /// The introspection endpoint with this URL. `None`: no token is introspected.
    pub(crate) fn endpoint_at(&self, url: Url) -> Option<Endpoint> {
        let are_signed = self.wants_signed_responses();
        let credentials = Arc::clone(self.credentials.as_ref()?);
        Some(Endpoint::new(url, credentials, are_signed))
    }

    /// What is to be found in the metadata of the issuer. `None`: nothing.
    #[cfg(feature = "jwt")]
    pub(crate) const fn discovery(&self) -> Option<&Discovery> {
        self.discovery.as_ref()
    }

    /// How JWTs and responses are verified here. `None`: neither is.
    #[cfg(feature = "jwt")]
    pub(crate) const fn verification(&self) -> Option<&Verification> {
        self.verification.as_ref()
    }

    /// Whether keys or metadata are fetched.
    pub(crate) fn fetches_documents(&self) -> bool {
        #[cfg(feature = "jwt")]
        if self.discovery.is_some() {
            return true;
        }
        self.jwks_url().is_some()
    }

    /// Whether any token or response is verified here, so that a host does not prepare for it in
    /// vain.
    #[must_use]
    pub fn verifies(&self) -> bool {
        self.verification.is_some() || self.others.iter().any(|other| other.verifies())
    }

    /// Whether only a host can sign what authenticates a call.
    #[cfg(feature = "jwt")]
    #[must_use]
    pub fn needs_signature(&self) -> bool {
        (self.credentials.as_ref()).is_some_and(|credentials| credentials.need_host())
            || self.others.iter().any(|other| other.needs_signature())
    }

    /// Checks that the host signs as it has to, if it has to.
    ///
    /// # Errors
    /// A key with which it does not.
    #[cfg(feature = "jwt")]
    pub fn check_signatures(&self, host: &dyn SignatureHost) -> Result<(), SettingsError> {
        for policy in self.each() {
            let credentials = policy.credentials.as_ref();
            if !credentials.is_none_or(|credentials| credentials.are_signed_by(host)) {
                let error = SettingsError::new(settings::CLIENT_KEY.key, Problem::HostSignsNot);
                return Err(error.at(SettingSource::EnvoyEnvironment));
            }
        }
        Ok(())
    }

    /// With several issuers: the one that this policy is about.
    pub(crate) fn only_issuer(&self) -> Option<&str> {
        self.only_issuer.as_deref()
    }

    /// With several issuers: what tokens of this one begin with that are no JWTs. `None`: with
    /// anything.
    #[cfg(feature = "jwt")]
    pub(crate) fn opaque_prefix(&self) -> Option<&str> {
        self.opaque_prefix.as_deref()
    }

    /// Whether a token that is no JWT is introspected.
    #[cfg(feature = "jwt")]
    pub(crate) fn takes_opaque(&self) -> bool {
        (self.verification.as_ref()).is_none_or(Verification::takes_opaque)
    }

    /// With several issuers: the policies of all but the first.
    pub(crate) const fn others(&self) -> &[Arc<Self>] {
        &self.others
    }

    /// The policy of each issuer.
    fn each(&self) -> impl Iterator<Item = &Self> {
        core::iter::once(self).chain(self.others.iter().map(|other| &**other))
    }

    /// Whether any token is verified here.
    pub(crate) fn verifies_tokens(&self) -> bool {
        (self.verification.as_ref()).is_some_and(|how| !how.introspects_all())
    }

    /// The URL by which the issuer is reached first: of its metadata, else of introspection, else of
    /// the keys. `None`: never.
    #[must_use]
    pub fn issuer_url(&self) -> Option<&Url> {
        #[cfg(feature = "jwt")]
        if let Some(discovery) = &self.discovery {
            return Some(discovery.url());
        }
        (self.introspect_url.as_ref()).or_else(|| self.jwks_url())
    }

    /// Where keys are fetched.
    fn jwks_url(&self) -> Option<&Url> {
        #[cfg(feature = "jwt")]
        if let Some(KeySource::Url(url)) = self.verification.as_ref().map(Verification::keys) {
            return Some(url);
        }
        None
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Protects what instances share.
    pub(crate) const fn cache_key(&self) -> Option<&CacheKey> {
        self.cache_key.as_ref()
    }

    pub(crate) const fn client_secret(&self) -> &ClientSecret {
        &self.client_secret
    }

    pub(crate) fn leeway_seconds(&self) -> i64 {
        self.leeway_seconds.into()
    }

    pub(crate) fn realm(&self) -> &str {
        &self.realm
    }

    pub(crate) const fn forward_token(&self) -> bool {
        self.forward_token
    }

    /// What clients may read about this service without a token.
    pub(crate) const fn resource_metadata(&self) -> Option<&ResourceMetadata> {
        self.resource_metadata.as_ref()
    }

    /// Where [`RequestHead::client_certificate`] comes from.
    #[must_use]
    pub fn certificate_source(&self) -> CertificateSource<'_> {
        self.bound_tokens.certificate_source()
    }

    /// Whether tokens are accepted with a DPoP proof.
    #[must_use]
    pub const fn accepts_dpop(&self) -> bool {
        self.dpop.is_some()
    }

    /// The algorithms of proofs, for a challenge (RFC 9449 section 7.1).
    #[cfg(feature = "jwt")]
    pub(crate) fn proof_algorithms(&self) -> String {
        crate::proof::ALGORITHM_NAMES.join(" ")
    }

    #[cfg(not(feature = "jwt"))]
    pub(crate) const fn proof_algorithms(&self) -> &'static str {
        ""
    }

    /// Whether no others are.
    pub(crate) fn requires_dpop(&self) -> bool {
        self.dpop.as_ref().is_some_and(DpopPolicy::is_required)
    }

    #[cfg(feature = "jwt")]
    pub(crate) const fn dpop(&self) -> Option<&DpopPolicy> {
        self.dpop.as_ref()
    }

    pub(crate) const fn bound_tokens(&self) -> &BoundTokens {
        &self.bound_tokens
    }

    /// Which claims `x-auth-claims` holds.
    pub(crate) const fn claims_header(&self) -> &ClaimsHeader {
        &self.claims_header
    }
}

/// What the metadata of the issuer are needed for, if for anything.
#[cfg(feature = "jwt")]
fn discovery(
    values: &SettingValues,
    issuer: Option<Issuer>,
    finds_endpoint: bool,
    verification: Option<&Verification>,
    allow_http: bool,
) -> Result<Option<Discovery>, SettingsError> {
    let keys = verification.map(Verification::keys);
    let finds_keys = matches!(keys, Some(KeySource::Discovered));
    match issuer.filter(|_| finds_endpoint || finds_keys) {
        None => Ok(None),
        Some(issuer) => {
            Discovery::read(values, issuer, finds_endpoint, finds_keys, allow_http).map(Some)
        }
    }
}

fn introspect_url(values: &SettingValues, allow_http: bool) -> Result<Url, SettingsError> {
    let url = http_url(INTROSPECT_URL, values.required(INTROSPECT_URL)?, allow_http)?;
    if let Some(origin) = values.optional(INTROSPECT_ORIGIN) {
        check_origin(INTROSPECT_ORIGIN, origin, INTROSPECT_URL.key, &url)?;
    }
    Ok(url)
}

/// `default` and `rules` have the issuers and the scopes.
fn resource_metadata(
    values: &SettingValues,
    allow_http: bool,
    default: &Requirements,
    rules: &Rules,
    proofs: &str,
) -> Result<Option<ResourceMetadata>, SettingsError> {
    let Some(identifier) = values.optional(RESOURCE_IDENTIFIER) else {
        return Ok(None);
    };
    let error = |problem| SettingsError::new(RESOURCE_IDENTIFIER.key, problem);
    let url = http_url(RESOURCE_IDENTIFIER, identifier, allow_http)?;
    if url.query().is_some() {
        return Err(error(Problem::UrlWithQuery));
    }
    // Clients compare it letter by letter (RFC 9728 section 3.3). A URL without a path may end in a
    // slash or not.
    let normal = url.as_str();
    if identifier != normal && Some(identifier) != normal.strip_suffix('/') {
        return Err(error(Problem::NotNormalized(normal.to_owned())));
    }
    let default = rules.may_match_none().then_some(default);
    let in_rules = rules
        .with_requirements()
        .map(|(_, requirements)| requirements);
    Ok(Some(ResourceMetadata::new(
        identifier,
        &url,
        default.into_iter().chain(in_rules),
        proofs,
    )))
}

/// What the metadata say about bound tokens (RFC 9728 section 2).
fn proof_members(dpop: Option<&DpopPolicy>, bound_tokens: &BoundTokens) -> String {
    let mut members = String::new();
    if bound_tokens.certificate_format().is_some() {
        members.push_str(r#","tls_client_certificate_bound_access_tokens":true"#);
    }
    #[cfg(feature = "jwt")]
    if dpop.is_some() {
        let names = crate::proof::ALGORITHM_NAMES.join(r#"",""#);
        members.push_str(r#","dpop_signing_alg_values_supported":[""#);
        members.push_str(&names);
        members.push_str(r#""]"#);
    }
    if dpop.is_some_and(DpopPolicy::is_required) {
        members.push_str(r#","dpop_bound_access_tokens_required":true"#);
    }
    members
}

fn cache_key(values: &SettingValues) -> Result<Option<CacheKey>, SettingsError> {
    let Some(key) = values.optional(CACHE_KEY) else {
        return Ok(None);
    };
    if key.chars().count() < MIN_CACHE_KEY {
        let problem = Problem::ShortKey(MIN_CACHE_KEY);
        return Err(SettingsError::new(CACHE_KEY.key, problem));
    }
    Ok(Some(CacheKey::new(key.to_owned())))
}

fn claims_header(values: &SettingValues) -> Result<ClaimsHeader, SettingsError> {
    let names = values.list(CLAIMS_HEADER)?;
    match names.as_slice() {
        [word] if word == "all" => return Ok(ClaimsHeader::All),
        [word] if word == "none" => return Ok(ClaimsHeader::None),
        _ => {}
    }
    let is_word = |name: &String| {
        ["all", "none"]
            .iter()
            .any(|word| word.eq_ignore_ascii_case(name))
    };
    if names.iter().any(is_word) {
        return Err(SettingsError::new(CLAIMS_HEADER.key, Problem::AllOrNone));
    }
    Ok(ClaimsHeader::Names(names))
}

/// Checks that everything that accepts tokens has the kinds of requirements that `require` lists.
fn check_required_kinds(
    words: &[String],
    default: &Requirements,
    rules: &Rules,
) -> Result<(), SettingsError> {
    let error = |problem| SettingsError::new(REQUIRE.key, problem);
    for word in words {
        let kinds = RequirementKind::ALL;
        let Some(kind) = kinds.into_iter().find(|kind| kind.word() == word) else {
            let near = near(word, kinds.iter().map(|kind| kind.word()));
            let word = word.clone();
            return Err(error(Problem::UnknownRequirement { word, near }));
        };
        if let Some(rule) = lacking(kind, default, rules) {
            return Err(error(Problem::NotRequired { kind, rule }));
        }
    }
    Ok(())
}

/// What accepts tokens without a requirement of this kind, as errors name it: `Some(None)` is the
/// default policy.
fn lacking(kind: RequirementKind, default: &Requirements, rules: &Rules) -> Option<Option<String>> {
    if rules.may_match_none() && !kind.is_in(default) {
        return Some(None);
    }
    let mut all = rules.with_requirements();
    let (number, requirements) = all.find(|(_, requirements)| !kind.is_in(requirements))?;
    Some(Some(rules::describe(number, requirements.rule())))
}
