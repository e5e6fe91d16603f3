//! Without the feature `jwt`, no proof can be verified.

use super::SettingValues;
use super::settings::{DPOP, DPOP_NONCE, DPOP_WINDOW, PUBLIC_ORIGIN};
use super::settings_error::{Problem, SettingsError};

/// There is none.
#[derive(Debug)]
pub(crate) enum DpopPolicy {}

impl DpopPolicy {
    /// Only `off` is no error: nothing may seem to be verified.
    pub(super) fn read(values: &SettingValues, _: bool) -> Result<Option<Self>, SettingsError> {
        let _ = (DPOP_NONCE, DPOP_WINDOW, PUBLIC_ORIGIN);
        match values.choice(DPOP)? {
            "off" => Ok(None),
            _ => Err(SettingsError::new(DPOP.key, Problem::WithoutProofs)),
        }
    }

    pub(crate) const fn is_required(&self) -> bool {
        match *self {}
    }
}
