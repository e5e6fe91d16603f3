//! How this service authenticates at the issuer: `client_auth`, and the settings that it needs.

use super::SettingValues;
use super::settings::{
    CLIENT_AUTH, CLIENT_KEY, INTROSPECT_TOKEN, RESOURCE_CLIENT_ID, RESOURCE_CLIENT_SECRET, Setting,
};
use super::settings_error::{Problem, SettingSource, SettingsError};
use crate::introspection::ClientAuth;
use crate::secret::{ClientSecret, IntrospectToken};

/// `issuer`: the one that tokens must name. `required`: the value of a setting, or the error that it
/// is missing.
pub(super) fn read<'v>(
    values: &'v SettingValues,
    client_id: &str,
    issuer: Option<&'v str>,
    source: SettingSource,
    required: impl Fn(&'static Setting) -> Result<&'v str, SettingsError>,
) -> Result<(ClientAuth, ClientSecret), SettingsError> {
    let word = values.choice(CLIENT_AUTH)?;
    // What is left over from another choice was hardly meant to be unused.
    for (setting, needed) in [
        (CLIENT_KEY, "private_key_jwt"),
        (INTROSPECT_TOKEN, "bearer"),
    ] {
        if word != needed && values.optional(setting).is_some() {
            let problem = Problem::NeedsClientAuth(needed);
            return Err(SettingsError::new(setting.key, problem));
        }
    }
    // Results that instances share, and audit lines, are protected with it even so.
    let secret = match word {
        "private_key_jwt" | "bearer" | "tls_client_auth" | "none" => {
            values.optional(RESOURCE_CLIENT_SECRET).unwrap_or_default()
        }
        _ => required(RESOURCE_CLIENT_SECRET)?,
    };
    let auth = match word {
        "basic-raw" if client_id.contains(':') => {
            let problem = Problem::ColonInClientId;
            return Err(SettingsError::new(RESOURCE_CLIENT_ID.key, problem));
        }
        "basic-raw" => ClientAuth::BasicRaw,
        "post" => ClientAuth::Post,
        "client_secret_jwt" | "private_key_jwt" => {
            assertions(values, client_id, issuer, source, required)?
        }
        "bearer" => ClientAuth::Bearer(introspect_token(required(INTROSPECT_TOKEN)?)?),
        "tls_client_auth" => ClientAuth::Tls,
        "none" => ClientAuth::None,
        _ => ClientAuth::Basic,
    };
    Ok((auth, ClientSecret::new(secret.to_owned())))
}

fn introspect_token(value: &str) -> Result<IntrospectToken, SettingsError> {
    match codec::grammar::is_token(value.as_bytes()) {
        true => Ok(IntrospectToken::new(value.to_owned())),
        false => Err(SettingsError::new(
            INTROSPECT_TOKEN.key,
            Problem::NotABearerToken,
        )),
    }
}

#[cfg(feature = "jwt")]
fn assertions<'v>(
    values: &'v SettingValues,
    client_id: &str,
    issuer: Option<&'v str>,
    source: SettingSource,
    required: impl Fn(&'static Setting) -> Result<&'v str, SettingsError>,
) -> Result<ClientAuth, SettingsError> {
    use super::settings::{ASSERTION_AUDIENCE, INTROSPECT_URL};
    use crate::introspection::{AssertionSigner, ClientAssertions};
    use crate::jose::PrivateKey;

    let signer = match values.choice(CLIENT_AUTH)? {
        "private_key_jwt" => {
            let key = PrivateKey::parse(required(CLIENT_KEY)?);
            let problem =
                |problem| SettingsError::new(CLIENT_KEY.key, Problem::PrivateKey(problem));
            let key = key.map_err(problem)?;
            let is_envoy = matches!(
                source,
                SettingSource::EnvoyEnvironment | SettingSource::EnvoyConfiguration
            );
            if key.needs_host() && !is_envoy {
                let problem = Problem::OnlyEnvoySigns;
                return Err(SettingsError::new(CLIENT_KEY.key, problem));
            }
            AssertionSigner::Key(Box::new(key))
        }
        _ => AssertionSigner::Secret(ClientSecret::new(
            required(RESOURCE_CLIENT_SECRET)?.to_owned(),
        )),
    };
    // The issuer before its endpoint: an assertion for an endpoint could be meant for another
    // issuer's (draft-ietf-oauth-rfc7523bis).
    let audience = values.optional(ASSERTION_AUDIENCE).or(issuer);
    let audience = match audience {
        Some(audience) => audience,
        None => required(INTROSPECT_URL)?,
    };
    let assertions = ClientAssertions::new(client_id, audience, signer);
    Ok(ClientAuth::Assertion(assertions))
}

#[cfg(not(feature = "jwt"))]
fn assertions<'v>(
    _: &'v SettingValues,
    _: &str,
    _: Option<&'v str>,
    _: SettingSource,
    _: impl Fn(&'static Setting) -> Result<&'v str, SettingsError>,
) -> Result<ClientAuth, SettingsError> {
    Err(SettingsError::new(CLIENT_AUTH.key, Problem::CannotSign))
}
