//! Values of settings as a host collects them, each with its source.

use core::time::Duration;

use super::names::{SPIN_PREFIX, near_key};
use super::settings::{
    CLIENT_KEY, ISSUERS, JWKS, Kind, REQUIRE, RULES, SETTINGS, SPIN_SETTINGS, Setting, spin_keys,
};
use super::settings_error::{Problem, SettingSource, SettingsError};
use super::unclean::Unclean;
use codec::json::{self, Json};

/// Values of settings, by key. An empty value counts as none.
#[derive(Default)]
pub struct SettingValues(Vec<(String, String, SettingSource)>);

impl SettingValues {
    /// No values yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The values of a Spin component. `variables`: those that it may read, in any order, each with
    /// its name. Those without [`SPIN_PREFIX`] are the app's.
    ///
    /// # Errors
    /// A name with the prefix is not one of [`spin_variables`](crate::spin_variables), even if its value is empty; the JSON
    /// object of settings is not one, or a setting is given twice.
    pub fn from_spin_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let ours = |(name, value): (String, String)| {
            let key = name.strip_prefix(SPIN_PREFIX)?;
            Some((key.to_owned(), value))
        };
        let mut variables: Vec<_> = variables.into_iter().filter_map(ours).collect();
        // The object first, because no variable may repeat what is in it.
        if let Some(object) = variables.iter().position(|(key, _)| key == SPIN_SETTINGS) {
            variables.swap(0, object);
        }
        let mut values = Self::new();
        for (key, value) in variables {
            if key == SPIN_SETTINGS {
                if !value.is_empty() {
                    values.merge_json(&value, SettingSource::SpinSettings)?;
                }
            } else if SETTINGS.iter().any(|setting| setting.key == key) {
                values.set_once(&key, value, SettingSource::SpinVariable)?;
            } else {
                let problem = Problem::Unknown(near_key(&key, spin_keys()));
                return Err(SettingsError::new(&key, problem).at(SettingSource::SpinVariable));
            }
        }
        Ok(values)
    }

    /// Sets a value, and replaces an earlier one.
    pub fn set(&mut self, key: &str, value: String, source: SettingSource) {
        self.0.retain(|(known, ..)| known != key);
        self.0.push((key.to_owned(), value, source));
    }

    /// Sets a value.
    ///
    /// # Errors
    /// The key already has a value, and neither is empty.
    pub fn set_once(
        &mut self,
        key: &str,
        value: String,
        source: SettingSource,
    ) -> Result<(), SettingsError> {
        if value.is_empty() {
            return Ok(());
        }
        if self.get(key).is_some() {
            return Err(SettingsError::new(key, Problem::GivenTwice).at(source));
        }
        self.set(key, value, source);
        Ok(())
    }

    /// Sets the members of a JSON object: strings verbatim, `null` as an empty value, anything else
    /// as its JSON. Members replace earlier values, but so that no requirement gets lost, an empty
    /// one leaves the earlier value, and `require` is added to it.
    ///
    /// # Errors
    /// It is not an object, or has a value that no setting accepts.
    pub fn merge_json(&mut self, json: &str, source: SettingSource) -> Result<(), SettingsError> {
        let not_an_object = |error| SettingsError::new("", Problem::NotAnObject(error)).at(source);
        let members = match json::read(json) {
            Ok(Json::Object(members)) => members,
            Ok(_) => return Err(not_an_object(None)),
            Err(error) => return Err(not_an_object(Some(error.to_string()))),
        };
        for (key, value) in members {
            let error = |problem| SettingsError::new(&key, problem).at(source);
            let is_json = [RULES.key, ISSUERS.key].contains(&&*key);
            if !is_json && matches!(value, Json::Array(_) | Json::Object(_)) {
                return Err(error(Problem::NotOneValue));
            }
            let value = value
                .into_setting()
                .ok_or_else(|| error(Problem::NotWhole))?;
            match self.get(&key) {
                Some(_) if value.is_empty() => {}
                Some(known) if key == REQUIRE.key => {
                    let both = format!("{known} {value}");
                    self.set(&key, both, source);
                }
                _ => self.set(&key, value, source),
            }
        }
        Ok(())
    }

    /// Removes the value of a key and returns it, unless it is empty.
    ///
    /// # Errors
    /// It contains characters that were hardly meant.
    pub fn take(&mut self, key: &str) -> Result<Option<String>, SettingsError> {
        let Some(at) = self.0.iter().position(|(known, ..)| known == key) else {
            return Ok(None);
        };
        let (_, value, source) = self.0.swap_remove(at);
        check_clean(key, &value).map_err(|error| error.at(source))?;
        Ok(Some(value).filter(|value| !value.is_empty()))
    }

    /// The value of a key, unless it is empty.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let (_, value, _) = self.0.iter().find(|(known, ..)| known == key)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// Checks that each key is in one of these tables.
    ///
    /// # Errors
    /// The first key that is not, with the one that was probably meant.
    pub fn check_keys(&self, tables: &[&'static [Setting]]) -> Result<(), SettingsError> {
        let known = tables.iter().flat_map(|table| table.iter());
        let known = known.map(|setting| setting.key);
        let is_unknown = |key: &str| known.clone().all(|known| known != key);
        match self.0.iter().find(|(key, ..)| is_unknown(key)) {
            None => Ok(()),
            Some((key, _, source)) => {
                let problem = Problem::Unknown(near_key(key, known));
                Err(SettingsError::new(key, problem).at(*source))
            }
        }
    }

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        self.check_keys(&[SETTINGS])?;
        (self.0.iter()).try_for_each(|(key, value, _)| check_clean(key, value))
    }

    /// Those of which the key is not one of these.
    #[cfg(feature = "jwt")]
    pub(super) fn without(&self, is_left_out: impl Fn(&str) -> bool) -> Self {
        let kept = self.0.iter().filter(|(key, ..)| !is_left_out(key));
        Self(kept.cloned().collect())
    }

    /// With those of `more`, which have other keys.
    #[cfg(feature = "jwt")]
    pub(super) fn with(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    /// Where the value of a key is from.
    #[must_use]
    pub fn source(&self, key: &str) -> Option<SettingSource> {
        let (.., source) = self.0.iter().find(|(known, ..)| known == key)?;
        Some(*source)
    }

    /// The value or the default.
    pub(super) fn optional(&self, setting: &Setting) -> Option<&str> {
        self.get(setting.key)
            .or(setting.default)
            .filter(|value| !value.is_empty())
    }

    pub(super) fn required(&self, setting: &Setting) -> Result<&str, SettingsError> {
        self.optional(setting)
            .ok_or_else(|| SettingsError::new(setting.key, Problem::Missing))
    }

    pub(super) fn list(&self, setting: &Setting) -> Result<Vec<String>, SettingsError> {
        let value = self.optional(setting).unwrap_or_default();
        if value.contains(',') {
            return Err(SettingsError::new(setting.key, Problem::Comma));
        }
        let words = value.split(' ').filter(|word| !word.is_empty());
        Ok(words.map(str::to_owned).collect())
    }

    pub(super) fn boolean(&self, setting: &Setting) -> Result<bool, SettingsError> {
        match self.required(setting)? {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(SettingsError::new(setting.key, Problem::NotABoolean)),
        }
    }

    /// One of the words of a [`Kind::Choice`].
    pub(super) fn choice(&self, setting: &Setting) -> Result<&str, SettingsError> {
        let value = self.required(setting)?;
        match setting.kind {
            Kind::Choice(words) if !words.contains(&value) => {
                Err(SettingsError::new(setting.key, Problem::NotAChoice(words)))
            }
            _ => Ok(value),
        }
    }

    /// A number in the range of the setting.
    pub(super) fn number(&self, setting: &Setting) -> Result<u32, SettingsError> {
        let value = self.required(setting)?;
        let number = value.parse().ok();
        match setting.kind {
            Kind::Number(range) => number
                .filter(|number| (range.min..=range.max).contains(number))
                .ok_or_else(|| SettingsError::new(setting.key, Problem::OutOfRange(range))),
            _ => number.ok_or_else(|| SettingsError::new(setting.key, Problem::NotWhole)),
        }
    }

    pub(super) fn size(&self, setting: &Setting) -> Result<usize, SettingsError> {
        Ok(usize::try_from(self.number(setting)?).unwrap_or(usize::MAX))
    }

    pub(super) fn duration(&self, setting: &Setting) -> Result<Duration, SettingsError> {
        Ok(Duration::from_secs(self.number(setting)?.into()))
    }
}

/// Rules and keys are JSON: white space has no meaning there, and their parsers check the rest.
fn check_clean(key: &str, value: &str) -> Result<(), SettingsError> {
    if [RULES.key, ISSUERS.key, JWKS.key, CLIENT_KEY.key].contains(&key) {
        return Ok(());
    }
    Unclean::check(value).map_err(|unclean| SettingsError::new(key, Problem::Unclean(unclean)))
}
