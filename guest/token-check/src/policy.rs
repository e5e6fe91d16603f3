//! Raw settings become an immutable, valid policy, or an error that names the key.

use core::time::Duration;
use std::sync::Arc;

use url::{Host, Origin, Url};

use crate::bearer::RequestHead;
use crate::introspection::Endpoint;
use crate::reason::Reason;
use crate::requirements::{List, Requirements};
use crate::rules::{Guard, Rules};
use crate::secret::ClientSecret;
use crate::settings::{Problem, SETTINGS, SettingsError};

/// Leeway can be no longer, in seconds: past five minutes it is no clock difference but an extended lifetime.
const MAX_LEEWAY_SECONDS: u32 = 300;
/// A caller waits no longer, in seconds: proxies in front give up by then.
const MAX_TIMEOUT_SECONDS: u32 = 60;

/// Nothing is remembered longer, in seconds: a day.
pub(crate) const MAX_TTL_SECONDS: u32 = 86_400;
/// More entries than this do not fit the memory of a WebAssembly instance.
const MAX_CACHE_ENTRIES: u32 = 1_000_000;
/// Bounds of `max_token_bytes`, in bytes: no issuer's token is shorter than the least, and no server takes a longer header
/// line than the most.
const TOKEN_BYTES: (u32, u32) = (256, 65_536);
/// Bounds of `max_answer_bytes`, in bytes. The most bounds what a question can cost in memory; Envoy cuts off at 1 MiB.
const ANSWER_BYTES: (u32, u32) = (1024, 262_144);
/// More faults in a row than this are no protection.
const MAX_BREAKER_FAULTS: u32 = 1000;

/// How we authenticate at the issuer (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    Basic,
    Post,
}

/// What Service B demands of a token, and how it asks the issuer. Valid by construction.
#[derive(Debug)]
pub struct Policy {
    endpoint: Arc<Endpoint>,
    client_id: String,
    client_secret: ClientSecret,
    default: Arc<Requirements>,
    rules: Rules,
    token_types: List,
    max_token_bytes: usize,
    max_answer_bytes: usize,
    leeway_seconds: u32,
    timeout: Duration,
    connect_timeout: Duration,
    first_byte_timeout: Duration,
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
}

impl Policy {
    /// Makes a policy from keys and values; keys as in [`SETTINGS`]. An empty value is the same as none.
    ///
    /// # Errors
    /// The first setting that is missing, unknown or wrong.
    pub fn new(
        settings: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let mut given: Vec<_> = settings.into_iter().collect();
        let is_known = |key: &str| SETTINGS.iter().any(|setting| setting.key == key);
        if let Some((key, _)) = given.iter().find(|(key, _)| !is_known(key)) {
            return Err(SettingsError::new(key, Problem::Unknown));
        }
        // The last one given counts.
        given.reverse();
        let given = Given(given);

        let allow_http = given.boolean("allow_http")?;
        let introspect_url = introspect_url(&given.required("introspect_url")?, allow_http)?;
        if let Some(origin) = given.optional("introspect_origin") {
            let same = Url::parse(&origin).is_ok_and(|url| url.origin() == introspect_url.origin());
            if !same || matches!(introspect_url.origin(), Origin::Opaque(_)) {
                return Err(SettingsError::new(
                    "introspect_origin",
                    Problem::NotTheOrigin,
                ));
            }
        }
        let realm = given.required("realm")?;
        if !realm
            .bytes()
            .all(|b| (0x20..=0x7e).contains(&b) && b != b'"' && b != b'\\')
        {
            return Err(SettingsError::new("realm", Problem::NotPrintable));
        }
        let required_scope = given.list("required_scope");
        if !required_scope.iter().all(|scope| is_scope_token(scope)) {
            return Err(SettingsError::new("required_scope", Problem::NotAScope));
        }
        let default = Requirements {
            issuers: given.optional("expected_issuer").into_iter().collect(),
            audiences: given.list("expected_aud"),
            clients: given.list("allowed_clients"),
            grant_types: given.list("allowed_grant_types"),
            all_scopes: required_scope,
            ..Requirements::default()
        };
        let rules = match given.optional("rules") {
            None => Rules::default(),
            Some(document) => Rules::new(&document, &default)
                .map_err(|error| SettingsError::new("rules", Problem::Rules(error)))?,
        };
        let timeout = given.duration("timeout", 1, MAX_TIMEOUT_SECONDS)?;
        let client_id = given.required("resource_client_id")?;
        let client_secret = ClientSecret::new(given.required("resource_client_secret")?);
        let client_auth = match given.required("client_auth")?.as_str() {
            "basic" => ClientAuth::Basic,
            "post" => ClientAuth::Post,
            _ => return Err(SettingsError::new("client_auth", Problem::NotAClientAuth)),
        };
        let endpoint = Endpoint::new(introspect_url, &client_id, &client_secret, client_auth);
        Ok(Self {
            endpoint: Arc::new(endpoint),
            client_id,
            client_secret,
            default: Arc::new(default),
            rules,
            token_types: given.list("token_types"),
            max_token_bytes: given.bytes("max_token_bytes", TOKEN_BYTES)?,
            max_answer_bytes: given.bytes("max_answer_bytes", ANSWER_BYTES)?,
            leeway_seconds: given.seconds("leeway", 0, MAX_LEEWAY_SECONDS)?,
            timeout,
            connect_timeout: given.duration("connect_timeout", 1, MAX_TIMEOUT_SECONDS)?,
            first_byte_timeout: match given.optional("first_byte_timeout") {
                None => timeout,
                Some(_) => given.duration("first_byte_timeout", 1, MAX_TIMEOUT_SECONDS)?,
            },
            breaker_faults: given.number("breaker_faults", 0, MAX_BREAKER_FAULTS)?,
            probe_interval: given.duration("probe_interval", 1, MAX_TIMEOUT_SECONDS)?,
            cache_ttl_seconds: given.seconds("cache_ttl", 0, MAX_TTL_SECONDS)?,
            negative_cache_ttl_seconds: given.seconds("negative_cache_ttl", 0, MAX_TTL_SECONDS)?,
            cache_entries: given.number("cache_entries", 1, MAX_CACHE_ENTRIES)?,
            stale_if_error_seconds: given.seconds("stale_if_error", 0, MAX_TTL_SECONDS)?,
            cache_store: given.optional("cache_store"),
            audit: given.boolean("audit")?,
            realm,
            forward_token: given.boolean("forward_token")?,
        })
    }

    /// The longest wait for the issuer.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The label of the store that instances share, where one is set.
    #[must_use]
    pub fn cache_store(&self) -> Option<&str> {
        self.cache_store.as_deref()
    }

    /// The longest answer of the issuer that is read, in bytes: what [`AnswerBody::new`](crate::AnswerBody::new) takes.
    #[must_use]
    pub const fn max_answer_bytes(&self) -> usize {
        self.max_answer_bytes
    }

    /// The longest token that is taken, in bytes.
    pub(crate) const fn max_token_bytes(&self) -> usize {
        self.max_token_bytes
    }

    /// Values of `token_type` that are accepted on top of the known ones; compared without regard to case.
    #[must_use]
    pub fn token_types(&self) -> &[String] {
        &self.token_types
    }

    /// Whether each decision comes with a line for the audit log.
    #[must_use]
    pub const fn audits(&self) -> bool {
        self.audit
    }

    pub(crate) const fn breaker_faults(&self) -> u32 {
        self.breaker_faults
    }

    pub(crate) const fn probe_interval(&self) -> Duration {
        self.probe_interval
    }

    /// How long the word on a token counts on a route with these requirements.
    pub(crate) fn ttl_seconds(&self, requirements: &Requirements) -> u32 {
        requirements.ttl_seconds.unwrap_or(self.cache_ttl_seconds)
    }

    /// The same, of a token that is not active.
    pub(crate) fn negative_ttl_seconds(&self, requirements: &Requirements) -> u32 {
        self.negative_cache_ttl_seconds
            .min(self.ttl_seconds(requirements))
    }

    /// Nothing that is remembered is used past this age, in seconds, on any route.
    pub(crate) fn longest_age_seconds(&self) -> i64 {
        let ttl = self.cache_ttl_seconds.max(self.rules.longest_ttl_seconds());
        ttl.saturating_add(self.stale_if_error_seconds).into()
    }

    /// Whether any route uses what is remembered.
    pub(crate) fn keeps_facts(&self) -> bool {
        self.cache_ttl_seconds > 0 || self.rules.longest_ttl_seconds() > 0
    }

    pub(crate) const fn cache_entries(&self) -> u32 {
        self.cache_entries
    }

    pub(crate) const fn stale_if_error_seconds(&self) -> u32 {
        self.stale_if_error_seconds
    }

    pub(crate) const fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    pub(crate) const fn first_byte_timeout(&self) -> Duration {
        self.first_byte_timeout
    }

    /// What stands before this request: the first rule that matches, else the default requirements.
    pub(crate) fn guard(&self, request: &RequestHead<'_>) -> Result<Guard, Reason> {
        let guard = self.rules.guard(request)?;
        Ok(guard.map_or_else(|| Guard::Token(Arc::clone(&self.default)), Guard::clone))
    }

    pub(crate) const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
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
}

/// RFC 6749 section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E ).
pub(crate) fn is_scope_token(scope: &str) -> bool {
    !scope.is_empty()
        && scope
            .bytes()
            .all(|b| (0x21..=0x7e).contains(&b) && b != b'"' && b != b'\\')
}

fn introspect_url(text: &str, allow_http: bool) -> Result<Url, SettingsError> {
    let error = |problem| SettingsError::new("introspect_url", problem);
    let url = Url::parse(text).map_err(|_| error(Problem::NotAnHttpUrl))?;
    let on_this_machine = match url.host() {
        None => return Err(error(Problem::NotAnHttpUrl)),
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
    };
    match url.scheme() {
        "https" => {}
        "http" if on_this_machine || allow_http => {}
        "http" => return Err(error(Problem::PlainHttp)),
        _ => return Err(error(Problem::NotAnHttpUrl)),
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(error(Problem::UrlWithExtras));
    }
    Ok(url)
}

/// The values that were given, over the defaults of the table.
struct Given(Vec<(String, String)>);

impl Given {
    fn optional(&self, key: &str) -> Option<String> {
        let given = self.0.iter().find(|(given, _)| given == key);
        given
            .map(|(_, value)| value.clone())
            .filter(|value| !value.is_empty())
            .or_else(|| {
                SETTINGS
                    .iter()
                    .find(|s| s.key == key)
                    .and_then(|s| s.default)
                    .map(str::to_owned)
            })
            .filter(|value| !value.is_empty())
    }

    fn required(&self, key: &str) -> Result<String, SettingsError> {
        self.optional(key)
            .ok_or_else(|| SettingsError::new(key, Problem::Missing))
    }

    fn list(&self, key: &str) -> List {
        self.optional(key)
            .unwrap_or_default()
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect()
    }

    fn boolean(&self, key: &str) -> Result<bool, SettingsError> {
        match self.required(key)?.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(SettingsError::new(key, Problem::NotABoolean)),
        }
    }

    fn number(&self, key: &str, low: u32, high: u32) -> Result<u32, SettingsError> {
        self.whole(key, low, high, Problem::NotANumberBetween)
    }

    fn bytes(&self, key: &str, (low, high): (u32, u32)) -> Result<usize, SettingsError> {
        let bytes = self.whole(key, low, high, Problem::NotBytesBetween)?;
        Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    fn seconds(&self, key: &str, low: u32, high: u32) -> Result<u32, SettingsError> {
        self.whole(key, low, high, Problem::NotSecondsBetween)
    }

    fn whole(
        &self,
        key: &str,
        low: u32,
        high: u32,
        problem: fn(u32, u32) -> Problem,
    ) -> Result<u32, SettingsError> {
        let value = self.required(key)?;
        let number = value
            .parse()
            .ok()
            .filter(|number| (low..=high).contains(number));
        number.ok_or_else(|| SettingsError::new(key, problem(low, high)))
    }

    fn duration(&self, key: &str, low: u32, high: u32) -> Result<Duration, SettingsError> {
        self.seconds(key, low, high)
            .map(|seconds| Duration::from_secs(seconds.into()))
    }
}
