//! Without the feature `jwt`, no token is verified here, and no metadata are read.

use super::one_of::OneOf;
use super::rules::Rules;
use super::settings::{SIGNED_INTROSPECTION, STRATEGY};
use super::settings_error::{Problem, SettingsError};
use super::{Requirements, SettingValues};

/// There is none.
#[derive(Debug)]
pub(crate) enum Verification {}

impl Verification {
    /// Every strategy but introspection is an error, and so are signed responses: nothing may seem to
    /// be verified.
    pub(super) fn read(
        values: &SettingValues,
        _: bool,
        _: bool,
        _: Option<&OneOf>,
        _: &Requirements,
        _: &Rules,
    ) -> Result<Option<Self>, SettingsError> {
        if values.boolean(SIGNED_INTROSPECTION)? {
            let problem = Problem::WithoutSignedResponses;
            return Err(SettingsError::new(SIGNED_INTROSPECTION.key, problem));
        }
        match values.choice(STRATEGY)? {
            "introspect" => Ok(None),
            _ => Err(SettingsError::new(STRATEGY.key, Problem::WithoutJwt)),
        }
    }

    pub(super) const fn wants_signed_responses(&self) -> bool {
        match *self {}
    }

    pub(super) const fn introspects_all(&self) -> bool {
        match *self {}
    }

    pub(super) const fn replaces_introspection(&self) -> bool {
        match *self {}
    }
}
