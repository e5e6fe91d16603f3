//! How requests prove possession of the keys that tokens are bound to.

use super::SettingValues;
use super::settings::{CERTIFICATE_BINDING, CERTIFICATE_HEADER};
use super::settings_error::{Problem, SettingSource, SettingsError};
use crate::request::CertificateFormat;
use codec::grammar::is_tchar;

/// Where the host finds the client certificate of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateSource<'a> {
    /// Nowhere: nobody asks for it.
    None,
    /// On the connection: SHA-256 of the certificate in DER, in hexadecimal.
    Connection,
    /// In the header of this name, in lower case.
    Header(&'a str),
}

/// Which proofs are accepted.
#[derive(Debug)]
pub(crate) struct BoundTokens {
    certificates: Certificates,
}

#[derive(Debug)]
enum Certificates {
    /// Tokens that are bound to one are refused.
    Off,
    OnConnection,
    InHeader(String, CertificateFormat),
}

impl BoundTokens {
    /// `source`: where a missing setting should be, which tells the host.
    pub(super) fn read(
        values: &SettingValues,
        source: SettingSource,
    ) -> Result<Self, SettingsError> {
        Ok(Self {
            certificates: Certificates::read(values, source)?,
        })
    }

    pub(super) fn certificate_source(&self) -> CertificateSource<'_> {
        match &self.certificates {
            Certificates::Off => CertificateSource::None,
            Certificates::OnConnection => CertificateSource::Connection,
            Certificates::InHeader(name, _) => CertificateSource::Header(name),
        }
    }

    /// How the host tells about the client certificate. `None`: nobody asks.
    pub(crate) const fn certificate_format(&self) -> Option<CertificateFormat> {
        match &self.certificates {
            Certificates::Off => None,
            Certificates::OnConnection => Some(CertificateFormat::Sha256),
            Certificates::InHeader(_, format) => Some(*format),
        }
    }
}

impl Certificates {
    fn read(values: &SettingValues, source: SettingSource) -> Result<Self, SettingsError> {
        let is_spin = matches!(
            source,
            SettingSource::SpinVariable | SettingSource::SpinSettings
        );
        match values.choice(CERTIFICATE_BINDING)? {
            "connection" if is_spin => {
                let problem = Problem::NoConnection;
                Err(SettingsError::new(CERTIFICATE_BINDING.key, problem))
            }
            "connection" => Ok(Self::OnConnection),
            "header" => {
                let name = values.required(CERTIFICATE_HEADER)?.to_ascii_lowercase();
                if !name.bytes().all(is_tchar) {
                    let problem = Problem::NotAHeaderName;
                    return Err(SettingsError::new(CERTIFICATE_HEADER.key, problem));
                }
                let format = CertificateFormat::of_header(&name);
                Ok(Self::InHeader(name, format))
            }
            _ => Ok(Self::Off),
        }
    }
}
