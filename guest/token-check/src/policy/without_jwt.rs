//! Without the feature `jwt`, no token is verified here, and no metadata are read.

use super::rules::Rules;
use super::settings::STRATEGY;
use super::settings_error::{Problem, SettingsError};
use super::{Requirements, SettingValues};

/// There is none.
#[derive(Debug)]
pub(crate) enum Verification {}

impl Verification {
    /// Every strategy but introspection is an error: nothing may seem to be verified.
    pub(super) fn read(
        values: &SettingValues,
        _: bool,
        _: bool,
        _: &Requirements,
        _: &Rules,
    ) -> Result<Option<Self>, SettingsError> {
        match values.choice(STRATEGY)? {
            "introspect" => Ok(None),
            _ => Err(SettingsError::new(STRATEGY.key, Problem::WithoutJwt)),
        }
    }

    pub(super) const fn replaces_introspection(&self) -> bool {
        match *self {}
    }
}
