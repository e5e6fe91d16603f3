//! Raw settings become an immutable, valid policy, or an error that names the key.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use url::{Host, Origin, Url};

use crate::bearer::RequestHead;
use crate::reason::Reason;
use crate::requirements::{List, Requirements};
use crate::rules::{Guard, Rules};
use crate::secret::ClientSecret;
use crate::settings::{Problem, SETTINGS, SettingsError};

/// Leeway can be no longer, in seconds: past five minutes it is no clock difference but an extended lifetime.
const MAX_LEEWAY_SECONDS: u32 = 300;
/// A caller waits no longer, in seconds: proxies in front give up by then.
const MAX_TIMEOUT_SECONDS: u32 = 60;

/// How we authenticate at the issuer (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    Basic,
    Post,
}

/// What Service B demands of a token, and how it asks the issuer. Valid by construction.
#[derive(Debug)]
pub struct Policy {
    introspect_url: Url,
    client_id: String,
    client_secret: ClientSecret,
    client_auth: ClientAuth,
    default: Arc<Requirements>,
    rules: Rules,
    leeway_seconds: u32,
    timeout: Duration,
    connect_timeout: Duration,
    first_byte_timeout: Duration,
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
        let mut given = BTreeMap::new();
        for (key, value) in settings {
            if !SETTINGS.iter().any(|setting| setting.key == key) {
                return Err(SettingsError::new(&key, Problem::Unknown));
            }
            given.insert(key, value);
        }
        let mut given = Given(given);

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
        Ok(Self {
            introspect_url,
            client_id: given.required("resource_client_id")?,
            client_secret: ClientSecret::new(given.required("resource_client_secret")?),
            client_auth: match given.required("client_auth")?.as_str() {
                "basic" => ClientAuth::Basic,
                "post" => ClientAuth::Post,
                _ => return Err(SettingsError::new("client_auth", Problem::NotAClientAuth)),
            },
            default: Arc::new(default),
            rules,
            leeway_seconds: given.seconds("leeway", 0, MAX_LEEWAY_SECONDS)?,
            timeout: given.duration("timeout", 1, MAX_TIMEOUT_SECONDS)?,
            connect_timeout: given.duration("connect_timeout", 1, MAX_TIMEOUT_SECONDS)?,
            first_byte_timeout: given.duration("first_byte_timeout", 1, MAX_TIMEOUT_SECONDS)?,
            realm,
            forward_token: given.boolean("forward_token")?,
        })
    }

    /// The longest wait for the issuer.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
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

    pub(crate) const fn introspect_url(&self) -> &Url {
        &self.introspect_url
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(crate) const fn client_secret(&self) -> &ClientSecret {
        &self.client_secret
    }

    pub(crate) const fn client_auth(&self) -> ClientAuth {
        self.client_auth
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
struct Given(BTreeMap<String, String>);

impl Given {
    fn optional(&mut self, key: &str) -> Option<String> {
        self.0
            .remove(key)
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

    fn required(&mut self, key: &str) -> Result<String, SettingsError> {
        self.optional(key)
            .ok_or_else(|| SettingsError::new(key, Problem::Missing))
    }

    fn list(&mut self, key: &str) -> List {
        self.optional(key)
            .unwrap_or_default()
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect()
    }

    fn boolean(&mut self, key: &str) -> Result<bool, SettingsError> {
        match self.required(key)?.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(SettingsError::new(key, Problem::NotABoolean)),
        }
    }

    fn seconds(&mut self, key: &str, low: u32, high: u32) -> Result<u32, SettingsError> {
        let value = self.required(key)?;
        let seconds = value
            .parse()
            .ok()
            .filter(|seconds| (low..=high).contains(seconds));
        seconds.ok_or_else(|| SettingsError::new(key, Problem::NotSecondsBetween(low, high)))
    }

    fn duration(&mut self, key: &str, low: u32, high: u32) -> Result<Duration, SettingsError> {
        self.seconds(key, low, high)
            .map(|seconds| Duration::from_secs(seconds.into()))
    }
}
