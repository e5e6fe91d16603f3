//! Raw settings become an immutable, valid policy, or an error that names the key.

mod names;
mod requirements;
mod rules;
mod settings;
mod settings_error;
mod summary;
mod unclean;

use core::time::Duration;
use std::sync::Arc;

use url::{Host, Url};

pub use names::{PREFIX, SPIN_PREFIX, UnknownVariable, unknown_variable, variable};
pub use requirements::Requirements;
pub(crate) use rules::Guard;
pub use rules::{MAX_RULES, MAX_RULES_BYTES, PathFault, RulesError, RulesFault};
pub use settings::{ENVOY_SETTINGS, Given, SERVICE_A_KEYS, SETTINGS, Setting, spin_variables};
pub use settings_error::{Place, Problem, SettingsError};
pub use summary::Summary;
pub use unclean::Unclean;

use crate::grammar::is_scope_token;
use crate::introspection::{ClientAuth, Endpoint, Timeouts};
use crate::reason::Reason;
use crate::request::RequestHead;
use crate::secret::ClientSecret;
use names::near;
use requirements::List;
use rules::Rules;

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

/// What can be demanded of a token, for `require`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// One of some audiences.
    Audience,
    /// Some scopes.
    Scope,
    /// One of some clients.
    Client,
    /// One of some issuers.
    Issuer,
}

impl Demand {
    const ALL: [Self; 4] = [Self::Audience, Self::Scope, Self::Client, Self::Issuer];

    /// Its word in `require`.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Audience => "audience",
            Self::Scope => "scope",
            Self::Client => "client",
            Self::Issuer => "issuer",
        }
    }

    /// The setting that makes it.
    pub(crate) const fn setting(self) -> &'static str {
        match self {
            Self::Audience => "expected_aud",
            Self::Scope => "required_scope",
            Self::Client => "allowed_clients",
            Self::Issuer => "expected_issuer",
        }
    }

    fn is_made_by(self, requirements: &Requirements) -> bool {
        match self {
            Self::Audience => !requirements.audiences.is_empty(),
            Self::Scope => {
                !requirements.all_scopes.is_empty() || !requirements.any_scope.is_empty()
            }
            Self::Client => !requirements.clients.is_empty(),
            Self::Issuer => !requirements.issuers.is_empty(),
        }
    }
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
    /// Makes a policy from keys and values; keys as in [`SETTINGS`], of two the last one counts. An empty value is the same
    /// as none.
    ///
    /// # Errors
    /// The first setting that is missing, unknown or wrong.
    pub fn new(
        settings: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let mut given = Given::new();
        for (key, value) in settings {
            given.put(&key, value, Place::Environment);
        }
        given.into_policy(Place::Environment)
    }

    pub(crate) fn of(given: &Given) -> Result<Self, SettingsError> {
        let given = Values(given);
        let allow_http = given.boolean("allow_http")?;
        let introspect_url = introspect_url(given.required("introspect_url")?, allow_http)?;
        if let Some(origin) = given.optional("introspect_origin") {
            check_origin(origin, &introspect_url)?;
        }
        let realm = given.required("realm")?.to_owned();
        if !realm
            .bytes()
            .all(|b| (0x20..=0x7e).contains(&b) && b != b'"' && b != b'\\')
        {
            return Err(SettingsError::new("realm", Problem::NotPrintable));
        }
        let required_scope = given.list("required_scope")?;
        if !required_scope.iter().all(|scope| is_scope_token(scope)) {
            return Err(SettingsError::new("required_scope", Problem::NotAScope));
        }
        let default = Requirements {
            issuers: given
                .optional("expected_issuer")
                .into_iter()
                .map(str::to_owned)
                .collect(),
            audiences: given.list("expected_aud")?,
            clients: given.list("allowed_clients")?,
            grant_types: given.list("allowed_grant_types")?,
            all_scopes: required_scope,
            ..Requirements::default()
        };
        let rules = match given.optional("rules") {
            None => Rules::default(),
            Some(document) => Rules::new(document, &default)
                .map_err(|error| SettingsError::new("rules", Problem::Rules(error)))?,
        };
        check_demands(&given.list("require")?, &default, &rules)?;
        let timeout = given.duration("timeout", 1, MAX_TIMEOUT_SECONDS)?;
        let client_id = given.required("resource_client_id")?.to_owned();
        let client_secret = ClientSecret::new(given.required("resource_client_secret")?.to_owned());
        let client_auth = match given.required("client_auth")? {
            "basic" => ClientAuth::Basic,
            "basic-raw" if client_id.contains(':') => {
                let problem = Problem::ColonInClientId;
                return Err(SettingsError::new("resource_client_id", problem));
            }
            "basic-raw" => ClientAuth::BasicRaw,
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
            token_types: given.list("token_types")?,
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
            cache_store: given.optional("cache_store").map(str::to_owned),
            audit: given.boolean("audit")?,
            realm,
            forward_token: given.boolean("forward_token")?,
        })
    }

    /// What is demanded of a token, for the log at the start.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary::of(self)
    }

    pub(crate) fn requirements(&self) -> &Requirements {
        &self.default
    }

    pub(crate) const fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) const fn cache_seconds(&self) -> u32 {
        self.cache_ttl_seconds
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
    pub(crate) fn caches_facts(&self) -> bool {
        self.cache_ttl_seconds > 0 || self.rules.longest_ttl_seconds() > 0
    }

    pub(crate) const fn cache_entries(&self) -> u32 {
        self.cache_entries
    }

    pub(crate) const fn stale_if_error_seconds(&self) -> u32 {
        self.stale_if_error_seconds
    }

    /// The limits of a call that must end within `left`.
    pub(crate) fn timeouts(&self, left: Duration) -> Timeouts {
        Timeouts {
            total: left,
            connect: left.min(self.connect_timeout),
            first_byte: left.min(self.first_byte_timeout),
        }
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

fn introspect_url(text: &str, allow_http: bool) -> Result<Url, SettingsError> {
    let error = |problem| SettingsError::new("introspect_url", problem);
    let url = Url::parse(text)
        .ok()
        // The parser would encode them.
        .filter(|_| !text.contains(' '))
        .ok_or_else(|| error(Problem::NotAnHttpUrl))?;
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

/// Spin takes an outbound host without a path, and for one that it does not take it denies all of them.
fn check_origin(text: &str, introspect_url: &Url) -> Result<(), SettingsError> {
    let wanted = introspect_url.origin();
    let (_, authority) = text.split_once("://").unwrap_or_default();
    let is_bare = !authority.contains(['/', '?', '#', '@', '\\', ' ']);
    let is_same = Url::parse(text).is_ok_and(|url| url.origin() == wanted);
    if is_bare && is_same {
        return Ok(());
    }
    let problem = Problem::NotTheOrigin(wanted.ascii_serialization());
    Err(SettingsError::new("introspect_origin", problem))
}

/// Whatever lets a token through demands what `require` names.
fn check_demands(
    words: &[String],
    default: &Requirements,
    rules: &Rules,
) -> Result<(), SettingsError> {
    let error = |problem| SettingsError::new("require", problem);
    for word in words {
        let Some(demand) = Demand::ALL.into_iter().find(|demand| demand.word() == word) else {
            let near = near(word, Demand::ALL.iter().map(|demand| demand.word()));
            let word = word.clone();
            return Err(error(Problem::NotADemand { word, near }));
        };
        if rules.leave_some() && !demand.is_made_by(default) {
            return Err(error(Problem::NotDemanded { demand, rule: None }));
        }
        let lacking = rules
            .for_tokens()
            .find(|(_, requirements)| !demand.is_made_by(requirements));
        if let Some((number, requirements)) = lacking {
            let rule = Some(rules::named(number, requirements.rule()));
            return Err(error(Problem::NotDemanded { demand, rule }));
        }
    }
    Ok(())
}

/// The values that were given, over the defaults of the table.
struct Values<'a>(&'a Given);

impl<'a> Values<'a> {
    fn optional(&self, key: &str) -> Option<&'a str> {
        let default = || SETTINGS.iter().find(|setting| setting.key == key)?.default;
        self.0
            .get(key)
            .or_else(default)
            .filter(|value| !value.is_empty())
    }

    fn required(&self, key: &str) -> Result<&'a str, SettingsError> {
        self.optional(key)
            .ok_or_else(|| SettingsError::new(key, Problem::Missing))
    }

    fn list(&self, key: &str) -> Result<List, SettingsError> {
        let value = self.optional(key).unwrap_or_default();
        if value.contains(',') {
            return Err(SettingsError::new(key, Problem::Comma));
        }
        Ok(value
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect())
    }

    fn boolean(&self, key: &str) -> Result<bool, SettingsError> {
        match self.required(key)? {
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
