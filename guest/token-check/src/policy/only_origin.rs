//! Where a way to the issuer may lead that a host has for one origin, as an Envoy cluster that adds
//! credentials or has its host name written down.

use url::{Origin, Url};

use super::Policy;
#[cfg(feature = "jwt")]
use super::issuer::Discovery;
use super::settings_error::Problem;

impl Policy {
    /// The origin of the calls that have to go such a way: of introspection. If no token is
    /// introspected, that by which the issuer is reached first. All other calls must go another way.
    /// `None`: no call is ever made.
    ///
    /// # Errors
    /// There are several, or what is added to the calls of one issuer would be added to those of
    /// another one.
    pub fn only_origin(&self) -> Result<Option<Origin>, Problem> {
        let mut origins: Vec<_> = self.each().filter_map(Self::endpoint_origin).collect();
        let introspecting = origins.len();
        if introspecting == 0 {
            let first_reached = |policy: &Self| policy.issuer_url().map(Url::origin);
            origins.extend(self.each().filter_map(first_reached));
        }
        let Some((only, others)) = origins.split_first() else {
            return Ok(None);
        };
        if let Some(other) = others.iter().find(|other| *other != only) {
            let origins = [only, other].map(Origin::ascii_serialization);
            return Err(Problem::SeveralOrigins(origins));
        }
        let mut credentials = self.each().filter_map(|policy| policy.credentials.as_ref());
        if introspecting > 1 && credentials.any(|credentials| credentials.are_added_on_the_way()) {
            return Err(Problem::SharedCredentials);
        }
        Ok(Some(only.clone()))
    }

    /// Where credentials go: `introspect_url`, or what the metadata of the issuer may name. `None`:
    /// no token is introspected.
    fn endpoint_origin(&self) -> Option<Origin> {
        self.credentials.as_ref()?;
        #[cfg(feature = "jwt")]
        if self.introspect_url.is_none() {
            return self.discovery.as_ref().map(Discovery::endpoint_origin);
        }
        self.introspect_url.as_ref().map(Url::origin)
    }
}
