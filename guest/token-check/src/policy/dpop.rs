//! Which DPoP proofs are accepted (RFC 9449).

use super::SettingValues;
use super::settings::{ALLOW_HTTP, DPOP, DPOP_NONCE, DPOP_WINDOW, PUBLIC_ORIGIN};
use super::settings_error::{Problem, SettingsError};
use super::urls::http_url;
use crate::proof::PublicOrigin;

/// How proofs are checked.
#[derive(Debug)]
pub(crate) struct DpopPolicy {
    is_required: bool,
    asks_for_nonces: bool,
    /// In seconds.
    window: i64,
    origin: PublicOrigin,
}

impl DpopPolicy {
    /// `None`: there are none. `has_keys`: to derive nonces from.
    pub(super) fn read(
        values: &SettingValues,
        has_keys: bool,
    ) -> Result<Option<Self>, SettingsError> {
        let origin = origin(values)?;
        let is_required = match values.choice(DPOP)? {
            "accept" => false,
            "require" => true,
            _ => return Ok(None),
        };
        let origin =
            origin.ok_or_else(|| SettingsError::new(PUBLIC_ORIGIN.key, Problem::Missing))?;
        let asks_for_nonces = values.boolean(DPOP_NONCE)?;
        if asks_for_nonces && !has_keys {
            return Err(SettingsError::new(DPOP_NONCE.key, Problem::NeedsKeys));
        }
        Ok(Some(Self {
            is_required,
            asks_for_nonces,
            window: values.number(DPOP_WINDOW)?.into(),
            origin,
        }))
    }

    /// Whether every token must be bound to a key.
    pub(crate) const fn is_required(&self) -> bool {
        self.is_required
    }

    pub(crate) const fn asks_for_nonces(&self) -> bool {
        self.asks_for_nonces
    }

    /// How old a proof may be, in seconds.
    pub(crate) const fn window(&self) -> i64 {
        self.window
    }

    pub(crate) const fn origin(&self) -> &PublicOrigin {
        &self.origin
    }
}

fn origin(values: &SettingValues) -> Result<Option<PublicOrigin>, SettingsError> {
    let Some(value) = values.optional(PUBLIC_ORIGIN) else {
        return Ok(None);
    };
    let url = http_url(PUBLIC_ORIGIN, value, values.boolean(ALLOW_HTTP)?)?;
    if url.path() != "/" || url.query().is_some() {
        return Err(SettingsError::new(PUBLIC_ORIGIN.key, Problem::NotAnOrigin));
    }
    Ok(Some(PublicOrigin::new(&url)))
}
