//! Settings that are URLs, or the scheme, host and port of one.

use url::{Host, Origin, Url};

use super::settings::Setting;
use super::settings_error::{Problem, SettingsError};
#[cfg(feature = "jwt")]
use super::values::SettingValues;

/// Parses a URL in the form that RFC 3986 gives it. The parser would take more: it encodes spaces
/// and letters, and decodes a host name, in which it then meets letters that it has no tables for.
pub(super) fn parse_url(value: &str) -> Result<Url, Problem> {
    if !value.is_ascii() {
        return Err(Problem::NonAsciiUrl);
    }
    let (scheme, rest) = value.split_once("://").ok_or(Problem::NotAnHttpUrl)?;
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if scheme.contains(':')
        || host.is_empty()
        || host.contains('%')
        || !value.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(Problem::NotAnHttpUrl);
    }
    Url::parse(value).map_err(|_| Problem::NotAnHttpUrl)
}

/// The value of a setting that is a URL: `https`, or `http` to this machine.
pub(super) fn http_url(
    setting: &Setting,
    value: &str,
    allow_http: bool,
) -> Result<Url, SettingsError> {
    let error = |problem| SettingsError::new(setting.key, problem);
    let url = parse_url(value).map_err(error)?;
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

/// Checks what Spin takes as an outbound host: no path, since Spin denies all hosts if one is
/// invalid.
pub(super) fn check_origin(
    setting: &Setting,
    value: &str,
    of: &'static str,
    url: &Url,
) -> Result<(), SettingsError> {
    let expected = url.origin();
    if parse_origin(value).is_some_and(|origin| origin == expected) {
        return Ok(());
    }
    let origin = expected.ascii_serialization();
    let problem = Problem::NotTheOrigin { of, origin };
    Err(SettingsError::new(setting.key, problem))
}

/// The origin that a setting names, if it is set.
#[cfg(feature = "jwt")]
pub(super) fn bare_origin(
    values: &SettingValues,
    setting: &Setting,
) -> Result<Option<Origin>, SettingsError> {
    let error = || SettingsError::new(setting.key, Problem::NotAnOrigin);
    let value = values.optional(setting);
    let origin = value.map(|value| parse_origin(value).ok_or_else(error));
    origin.transpose()
}

/// `None`: it is not only scheme, host and port.
fn parse_origin(value: &str) -> Option<Origin> {
    let (_, authority) = value.split_once("://")?;
    let is_bare = !authority.contains(['/', '?', '#', '@', '\\', ' ']);
    let url = parse_url(value).ok().filter(|_| is_bare)?;
    Some(url.origin())
}
