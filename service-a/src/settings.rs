//! What the command line and the environment say, checked. Every error names the variable and the flag, never a value.

use std::{
    env, fmt,
    fs::File,
    io::{self, IsTerminal as _, Read},
    path::{Path, PathBuf},
};

use oauth2::TokenUrl;
use secrecy::zeroize::Zeroizing;
use token_check::Unclean;
use url::Url;

use crate::{
    cli::{Cli, ClientAuth, SECRET_VARIABLE},
    discovery::{Issuer, TokenEndpoint},
    http::{Timeouts, is_loopback},
    secret::ClientSecret,
    trust,
};

/// Secrets are short; whoever names a larger file named the wrong one.
const LARGEST_SECRET: usize = 64 * 1024;

/// How settings are named in errors: the variable and the flag.
const ISSUER: &str = "WORKOUT18_ISSUER (--issuer)";
const TOKEN_URL: &str = "WORKOUT18_TOKEN_URL (--token-url)";
const CLIENT_ID: &str = "WORKOUT18_CLIENT_ID (--client-id)";
const CLIENT_SECRET: &str = "WORKOUT18_CLIENT_SECRET (--secret-file, --secret-stdin)";
const SECRET_FILE: &str = "WORKOUT18_SECRET_FILE (--secret-file)";
const SECRET_STDIN: &str = "WORKOUT18_SECRET_STDIN (--secret-stdin)";
const SERVICE_B_URL: &str = "WORKOUT18_SERVICE_B_URL (--service-b-url)";
const SCOPE: &str = "WORKOUT18_SCOPE (--scope)";
const AUDIENCE: &str = "WORKOUT18_AUDIENCE (--audience)";
const RESOURCE: &str = "WORKOUT18_RESOURCE (--resource)";
const ALLOW_HTTP: &str = "WORKOUT18_ALLOW_HTTP";

/// What is wrong with a setting that must be there.
const MISSING: &str = "is missing or empty: set it";

/// Everything that decides which token is asked for. A token source owns exactly one of these, so tokens of different
/// secrets, scopes, resources or audiences cannot meet (attack S1).
pub(crate) struct Grant {
    pub(crate) endpoint: TokenEndpoint,
    pub(crate) client_id: String,
    pub(crate) secret: ClientSecret,
    /// Where the secret can be read again.
    pub(crate) secret_file: Option<PathBuf>,
    pub(crate) client_auth: ClientAuth,
    pub(crate) scopes: Vec<String>,
    pub(crate) audience: Option<String>,
    pub(crate) resources: Vec<String>,
}

/// Settings that can be used.
pub(crate) struct Settings {
    pub(crate) grant: Grant,
    pub(crate) service_b: Url,
    pub(crate) timeouts: Timeouts,
    pub(crate) verbose: bool,
}

/// One setting that is missing or wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SettingError(String);

impl SettingError {
    /// `of` names the variable and the flag; `problem` goes on from there and says what to do.
    fn new(of: &str, problem: impl fmt::Display) -> Self {
        Self(format!("{of} {problem}"))
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Cli {
    /// Checks everything and reads the secret. Blocks while it reads.
    pub(crate) fn settings(self) -> Result<Settings, Vec<SettingError>> {
        let verbose = self.verbose();
        let mut errors = unknown_variables();
        let mut note = |error| errors.push(error);
        let endpoint = endpoint(given(self.issuer), given(self.token_url), self.allow_http)
            .map_err(&mut note)
            .ok();
        let client_id = required(self.client_id, CLIENT_ID)
            .and_then(|id| client_id(id, self.client_auth))
            .map_err(&mut note)
            .ok();
        let secret = secret(self.secret_file.as_deref(), self.secret_stdin)
            .map_err(&mut note)
            .ok();
        let service_b =
            given(self.service_b_url).unwrap_or_else(|| "http://127.0.0.1:9000/data".to_owned());
        let service_b = http_url(&service_b, "the token", self.allow_http)
            .map_err(|problem| SettingError::new(SERVICE_B_URL, problem))
            .map_err(&mut note)
            .ok();
        let scopes = scopes(self.scope.as_deref().unwrap_or_default())
            .map_err(&mut note)
            .ok();
        let audience = given(self.audience)
            .map(|audience| well_written(audience, AUDIENCE))
            .transpose()
            .map_err(&mut note)
            .ok();
        let resources = resources(self.resources).map_err(&mut note).ok();
        let targets = [
            endpoint.as_ref().map(TokenEndpoint::url),
            service_b.as_ref(),
        ];
        if targets
            .into_iter()
            .flatten()
            .any(|url| url.scheme() == "https")
        {
            let _ = trust::check()
                .map_err(|problem| SettingError::new(trust::VARIABLE, problem))
                .map_err(&mut note);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        // Each of these is there unless an error was noted.
        let complete = || {
            Some(Settings {
                grant: Grant {
                    endpoint: endpoint?,
                    client_id: client_id?,
                    secret: secret?,
                    secret_file: self.secret_file,
                    client_auth: self.client_auth,
                    scopes: scopes?,
                    audience: audience?,
                    resources: resources?,
                },
                service_b: service_b?,
                timeouts: Timeouts {
                    connect: self.connect_timeout,
                    whole: self.timeout,
                },
                verbose,
            })
        };
        complete().ok_or(errors)
    }
}

/// A setting that nobody reads does not hold. Those of Service B are known and not read here.
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

/// An empty value is the same as none.
fn given(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}

fn required(value: Option<String>, of: &'static str) -> Result<String, SettingError> {
    given(value).ok_or_else(|| SettingError::new(of, MISSING))
}

fn well_written(value: String, of: &'static str) -> Result<String, SettingError> {
    match Unclean::check(&value) {
        Err(unclean) => Err(SettingError::new(of, unclean)),
        Ok(()) => Ok(value),
    }
}

/// The secret goes where one of the two says, and never where it is unclear which of them holds.
fn endpoint(
    issuer: Option<String>,
    token_url: Option<String>,
    allow_http: bool,
) -> Result<TokenEndpoint, SettingError> {
    match (issuer, token_url) {
        (Some(_), Some(_)) => Err(SettingError::new(
            &format!("{ISSUER} and {TOKEN_URL}"),
            "are both set, and only one may say where the secret goes: unset the other",
        )),
        (None, Some(text)) => {
            let error = |problem| SettingError::new(TOKEN_URL, problem);
            http_url(&text, "the secret", allow_http)
                .map(|url| TokenEndpoint::Named(TokenUrl::from_url(url)))
                .map_err(error)
        }
        (Some(text), None) => {
            let error = |problem| SettingError::new(ISSUER, problem);
            let url = http_url(&text, "the secret", allow_http).map_err(error)?;
            if url.query().is_some() {
                return Err(error("must not have a query".to_owned()));
            }
            Ok(TokenEndpoint::Of(Issuer::new(text, url)))
        }
        (None, None) => Err(SettingError::new(ISSUER, MISSING)),
    }
}

fn client_id(id: String, client_auth: ClientAuth) -> Result<String, SettingError> {
    let id = well_written(id, CLIENT_ID)?;
    if client_auth == ClientAuth::BasicRaw && id.contains(':') {
        let problem = "has a colon, which --client-auth basic-raw cannot send (RFC 7617 section 2): use basic or post";
        return Err(SettingError::new(CLIENT_ID, problem));
    }
    Ok(id)
}

/// An URL to which `what` may be sent.
fn http_url(text: &str, what: &str, allow_http: bool) -> Result<Url, String> {
    Unclean::check(text).map_err(|unclean| unclean.to_string())?;
    let url = plain_url(text)?;
    if url.scheme() == "http" && !is_loopback(&url) && !allow_http {
        return Err(format!(
            "is plain http to another machine, which shows {what} to the network: use https, or add --allow-http \
             ({ALLOW_HTTP}=true) on a network that nobody else is on"
        ));
    }
    Ok(url)
}

fn plain_url(text: &str) -> Result<Url, &'static str> {
    // The parser drops blanks; the issuer's name must be the one that was checked.
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

/// The items of a list separated by spaces.
fn list<'t>(text: &'t str, of: &'static str) -> Result<Vec<&'t str>, SettingError> {
    Unclean::check(text).map_err(|unclean| SettingError::new(of, unclean))?;
    if text.contains(',') {
        return Err(SettingError::new(of, "has a comma: separate by spaces"));
    }
    Ok(text.split(' ').filter(|item| !item.is_empty()).collect())
}

fn scopes(text: &str) -> Result<Vec<String>, SettingError> {
    let is_token = |scope: &str| {
        scope
            .bytes()
            .all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
    };
    let scopes = list(text, SCOPE)?;
    if scopes.iter().all(|scope| is_token(scope)) {
        return Ok(scopes.into_iter().map(str::to_owned).collect());
    }
    let problem = "must be scope tokens separated by spaces (RFC 6749 section 3.3)";
    Err(SettingError::new(SCOPE, problem))
}

/// RFC 8707 section 2: each is an absolute URI without a fragment.
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

fn secret(file: Option<&Path>, stdin: bool) -> Result<ClientSecret, SettingError> {
    if let Some(path) = file.filter(|path| !path.as_os_str().is_empty()) {
        return secret_from_file(path);
    }
    if stdin {
        let error = |problem: String| SettingError::new(SECRET_STDIN, problem);
        if io::stdin().is_terminal() {
            return Err(error(
                "reads from a terminal, which would show the secret: pipe it in".to_owned(),
            ));
        }
        return secret_from(io::stdin().lock()).map_err(error);
    }
    let value = env::var_os(SECRET_VARIABLE).filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| SettingError::new(CLIENT_SECRET, MISSING))?;
    let value = value
        .into_string()
        .map_err(|_| SettingError::new(CLIENT_SECRET, "is not UTF-8"))?;
    checked(value).map_err(|problem| SettingError::new(CLIENT_SECRET, problem))
}

/// The secret in a file, at the start and when the issuer refuses it.
pub(crate) fn secret_from_file(path: &Path) -> Result<ClientSecret, SettingError> {
    File::open(path)
        .map_err(|error| format!("cannot be read: {error}"))
        .and_then(secret_from)
        .map_err(|problem| SettingError::new(SECRET_FILE, problem))
}

fn secret_from(source: impl Read) -> Result<ClientSecret, String> {
    // One allocation of full size: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST_SECRET + 1));
    source
        .take(LARGEST_SECRET as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > LARGEST_SECRET {
        return Err(format!(
            "holds more than {LARGEST_SECRET} bytes, which is no secret"
        ));
    }
    let text = str::from_utf8(&bytes).map_err(|_| "is not UTF-8")?;
    // The line end that editors and `echo` add.
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    checked(text.to_owned())
}

fn checked(secret: String) -> Result<ClientSecret, String> {
    Unclean::check(&secret).map_err(|unclean| unclean.to_string())?;
    ClientSecret::new(secret).ok_or_else(|| "holds an empty secret".to_owned())
}
