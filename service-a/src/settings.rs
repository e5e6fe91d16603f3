//! Checks the values of the command line and the environment. Every error names the variable and
//! the flag, never a value.

use std::{env, fmt, path::Path};

use oauth2::TokenUrl;
use token_check::Unclean;
use url::Url;

use crate::{
    ca_file,
    cli::{Cli, SECRET_VARIABLE},
    client_certificate,
    credential::Credential,
    discovery::{Issuer, TokenEndpoint},
    grant::{ClientAuth, Grant},
    http::{Timeouts, is_loopback},
    secret_source,
};

/// The names of settings in errors: the variable and the flag.
const ISSUER: &str = "WORKOUT18_ISSUER (--issuer)";
const TOKEN_URL: &str = "WORKOUT18_TOKEN_URL (--token-url)";
const CLIENT_ID: &str = "WORKOUT18_CLIENT_ID (--client-id)";
const CLIENT_SECRET: &str = "WORKOUT18_CLIENT_SECRET (--secret-file, --secret-stdin)";
const SECRET_FILE: &str = "WORKOUT18_SECRET_FILE (--secret-file)";
const SECRET_STDIN: &str = "WORKOUT18_SECRET_STDIN (--secret-stdin)";
const SERVICE_B_URL: &str = "WORKOUT18_SERVICE_B_URL (--service-b-url)";
const SCOPE: &str = "WORKOUT18_SCOPE (--scope)";
const AUDIENCE: &str = "WORKOUT18_AUDIENCE (--audience)";
const ASSERTION_AUDIENCE: &str = "WORKOUT18_ASSERTION_AUDIENCE (--assertion-audience)";
const CLIENT_CERTIFICATE: &str = "WORKOUT18_CLIENT_CERTIFICATE (--client-certificate)";
const RESOURCE: &str = "WORKOUT18_RESOURCE (--resource)";
const ALLOW_HTTP: &str = "WORKOUT18_ALLOW_HTTP";

/// The default of `--service-b-url`.
const DEFAULT_SERVICE_B_URL: &str = "http://127.0.0.1:9000/data";

/// The problem of a required setting that is not set.
const MISSING: &str = "is missing or empty: set it";

/// Checked settings.
pub(crate) struct Settings {
    pub(crate) grant: Grant,
    pub(crate) service_b: Url,
    /// For TLS to both.
    pub(crate) certificate: Option<reqwest::Identity>,
    pub(crate) timeouts: Timeouts,
    pub(crate) use_dpop: bool,
    pub(crate) verbose: bool,
}

/// One setting that is missing or wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SettingError(String);

impl SettingError {
    /// `name` is the variable and the flag; `problem` completes the sentence and says what to do.
    fn new(name: &str, problem: impl fmt::Display) -> Self {
        Self(format!("{name} {problem}"))
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Settings {
    /// Checks everything and reads the secret. Blocks while it reads.
    pub(crate) fn from_cli(cli: Cli) -> Result<Self, Vec<SettingError>> {
        let verbose = cli.verbose();
        let mut errors = unknown_variables();
        let mut note = |error| errors.push(error);
        let endpoint = endpoint(
            non_empty(cli.issuer),
            non_empty(cli.token_url),
            cli.allow_http,
        )
        .map_err(&mut note)
        .ok();
        let client_id = required(cli.client_id, CLIENT_ID)
            .and_then(|id| client_id(id, cli.client_auth))
            .map_err(&mut note)
            .ok();
        let credential = credential(
            cli.client_auth,
            cli.secret_file.as_deref(),
            cli.secret_stdin,
        )
        .map_err(&mut note)
        .ok();
        let service_b =
            non_empty(cli.service_b_url).unwrap_or_else(|| DEFAULT_SERVICE_B_URL.to_owned());
        let service_b = http_url(&service_b, "the token", cli.allow_http)
            .map_err(|problem| SettingError::new(SERVICE_B_URL, problem))
            .map_err(&mut note)
            .ok();
        let scopes = scopes(cli.scope.as_deref().unwrap_or_default())
            .map_err(&mut note)
            .ok();
        let audience = non_empty(cli.audience)
            .map(|audience| clean(audience, AUDIENCE))
            .transpose()
            .map_err(&mut note)
            .ok();
        let assertion_audience = non_empty(cli.assertion_audience)
            .map(|audience| clean(audience, ASSERTION_AUDIENCE))
            .transpose()
            .map_err(&mut note)
            .ok();
        let resources = resources(cli.resources).map_err(&mut note).ok();
        let targets = [
            endpoint.as_ref().map(TokenEndpoint::url),
            service_b.as_ref(),
        ];
        if targets
            .into_iter()
            .flatten()
            .any(|url| url.scheme() == "https")
        {
            let _ = ca_file::check()
                .map_err(|problem| SettingError::new(ca_file::VARIABLE, problem))
                .map_err(&mut note);
        }
        let certificate = cli
            .client_certificate
            .filter(|path| !path.as_os_str().is_empty())
            .map(|path| client_certificate::read(&path))
            .transpose()
            .map_err(|problem| SettingError::new(CLIENT_CERTIFICATE, problem))
            .map_err(&mut note)
            .ok();
        if !errors.is_empty() {
            return Err(errors);
        }
        // Without an error each of these is `Some`.
        let complete = || {
            Some(Self {
                grant: Grant {
                    endpoint: endpoint?,
                    client_id: client_id?,
                    credential: credential?,
                    assertion_audience: assertion_audience?,
                    secret_file: cli.secret_file,
                    client_auth: cli.client_auth,
                    scopes: scopes?,
                    audience: audience?,
                    resources: resources?,
                },
                service_b: service_b?,
                certificate: certificate?,
                timeouts: Timeouts {
                    connect: cli.connect_timeout,
                    whole: cli.timeout,
                },
                use_dpop: cli.use_dpop,
                verbose,
            })
        };
        complete().ok_or(errors)
    }
}

/// Refuses `WORKOUT18_` variables that are no settings: they would have no effect. The settings of
/// Service B are accepted and ignored.
fn unknown_variables() -> Vec<SettingError> {
    let mut names: Vec<_> = env::vars_os()
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
        .iter()
        .filter_map(|name| token_check::unknown_variable([name.as_str()]))
        .map(|unknown| SettingError(unknown.to_string()))
        .collect()
}

/// An empty value counts as not set.
fn non_empty(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}

fn required(value: Option<String>, name: &'static str) -> Result<String, SettingError> {
    non_empty(value).ok_or_else(|| SettingError::new(name, MISSING))
}

fn clean(value: String, name: &'static str) -> Result<String, SettingError> {
    match Unclean::check(&value) {
        Err(unclean) => Err(SettingError::new(name, unclean)),
        Ok(()) => Ok(value),
    }
}

/// Exactly one of the two settings decides where the secret is sent.
fn endpoint(
    issuer: Option<String>,
    token_url: Option<String>,
    allow_http: bool,
) -> Result<TokenEndpoint, SettingError> {
    match (issuer, token_url) {
        (Some(_), Some(_)) => Err(SettingError::new(
            &format!("{ISSUER} and {TOKEN_URL}"),
            "are both set, but only one may decide where the secret is sent: unset the other",
        )),
        (None, Some(text)) => {
            let error = |problem| SettingError::new(TOKEN_URL, problem);
            http_url(&text, "the secret", allow_http)
                .map(|url| TokenEndpoint::Fixed(TokenUrl::from_url(url)))
                .map_err(error)
        }
        (Some(text), None) => {
            let error = |problem| SettingError::new(ISSUER, problem);
            let url = http_url(&text, "the secret", allow_http).map_err(error)?;
            if url.query().is_some() {
                return Err(error("must not have a query".to_owned()));
            }
            Ok(TokenEndpoint::Discover(Issuer::new(text, url)))
        }
        (None, None) => Err(SettingError::new(ISSUER, MISSING)),
    }
}

fn client_id(id: String, client_auth: ClientAuth) -> Result<String, SettingError> {
    let id = clean(id, CLIENT_ID)?;
    if client_auth == ClientAuth::BasicRaw && id.contains(':') {
        let problem = "has a colon, which --client-auth basic-raw cannot send (RFC 7617 section 2): use basic or post";
        return Err(SettingError::new(CLIENT_ID, problem));
    }
    Ok(id)
}

/// A URL to which `what` may be sent.
fn http_url(text: &str, what: &str, allow_http: bool) -> Result<Url, String> {
    Unclean::check(text).map_err(|unclean| unclean.to_string())?;
    let url = parse_url(text)?;
    if url.scheme() == "http" && !is_loopback(&url) && !allow_http {
        return Err(format!(
            "is plain http to another machine, which exposes {what} to the network: use https, or \
             add --allow-http ({ALLOW_HTTP}=true) on a network that nobody else uses"
        ));
    }
    Ok(url)
}

fn parse_url(text: &str) -> Result<Url, &'static str> {
    // The parser drops blanks, but the issuer must be compared exactly as it is written.
    let blank = |c: char| c.is_whitespace() || c.is_control();
    let url = Url::parse(text)
        .ok()
        .filter(|_| !text.contains(blank))
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or("is not an http or https URL with a host")?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("must not have a user, a password or a fragment");
    }
    Ok(url)
}

/// The items of a space-separated list.
fn list<'t>(text: &'t str, name: &'static str) -> Result<Vec<&'t str>, SettingError> {
    Unclean::check(text).map_err(|unclean| SettingError::new(name, unclean))?;
    if text.contains(',') {
        return Err(SettingError::new(name, "has a comma: separate with spaces"));
    }
    Ok(text.split(' ').filter(|item| !item.is_empty()).collect())
}

fn scopes(text: &str) -> Result<Vec<String>, SettingError> {
    let is_scope_token = |scope: &str| {
        scope
            .bytes()
            .all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
    };
    let scopes = list(text, SCOPE)?;
    if scopes.iter().all(|scope| is_scope_token(scope)) {
        return Ok(scopes.into_iter().map(str::to_owned).collect());
    }
    let problem = "must be scope tokens separated by spaces (RFC 6749 section 3.3)";
    Err(SettingError::new(SCOPE, problem))
}

/// Resources are absolute URIs without a fragment (RFC 8707 section 2).
fn resources(uris: Vec<String>) -> Result<Vec<String>, SettingError> {
    let uris: Vec<_> = uris.into_iter().filter(|uri| !uri.is_empty()).collect();
    for uri in &uris {
        list(uri, RESOURCE)?;
        if Url::parse(uri).map_or(true, |uri| uri.fragment().is_some()) {
            let problem = "must be absolute URIs without a fragment (RFC 8707 section 2)";
            return Err(SettingError::new(RESOURCE, problem));
        }
    }
    Ok(uris)
}

fn credential(
    client_auth: ClientAuth,
    file: Option<&Path>,
    stdin: bool,
) -> Result<Credential, SettingError> {
    let Some(kind) = client_auth.credential_kind() else {
        return Ok(Credential::None);
    };
    let (name, credential) = if let Some(path) = file.filter(|path| !path.as_os_str().is_empty()) {
        (SECRET_FILE, secret_source::read_file(path, kind))
    } else if stdin {
        (SECRET_STDIN, secret_source::read_stdin(kind))
    } else {
        let value = env::var_os(SECRET_VARIABLE).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| SettingError::new(CLIENT_SECRET, MISSING))?;
        (CLIENT_SECRET, secret_source::parse_variable(value, kind))
    };
    credential.map_err(|problem| SettingError::new(name, problem))
}
