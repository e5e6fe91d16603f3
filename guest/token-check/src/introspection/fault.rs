//! What was wrong with the issuer, for the log: from a closed set, never the issuer's own words.

use core::fmt;

use super::call::CredentialsKind;
#[cfg(feature = "jwt")]
use super::signature_fault::SignatureFault;
use crate::reason::Reason;
use codec::json::JsonType;

/// A fault of the issuer or of the path to it. Displays as a log line: the reason and a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    reason: Reason,
    detail: Detail,
}

/// What exactly was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The reason says it all.
    None,
    /// HTTP status.
    Status(u16),
    /// HTTP status of a response about the credentials of this service.
    Credentials {
        status: u16,
        kind: CredentialsKind,
    },
    Media(Media),
    Coding(Coding),
    Document(Document),
    Member(&'static str, MemberFault),
    Call(CallFailure),
    #[cfg(feature = "jwt")]
    Keys(KeysFault),
    #[cfg(feature = "jwt")]
    Metadata(MetadataFault),
    #[cfg(feature = "jwt")]
    Signature(SignatureFault),
}

/// What is wrong with the response of the key endpoint.
#[cfg(feature = "jwt")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeysFault {
    Malformed,
    NoUsableKey,
    /// HTTP status.
    Status(u16),
    TooLarge,
    TooManyKeys,
}

#[cfg(feature = "jwt")]
impl fmt::Display for KeysFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("what jwks_url serves is no JWK set"),
            Self::NoUsableKey => f.write_str(
                "the JWK set at jwks_url has no key that can be used: RSA from 2048 bits, P-256, P-384 or Ed25519",
            ),
            Self::Status(status) => write!(
                f,
                "the key endpoint of the issuer responded with HTTP status {status}: check jwks_url"
            ),
            Self::TooLarge => f.write_str("the JWK set at jwks_url is longer than 128 KiB"),
            Self::TooManyKeys => f.write_str("the JWK set at jwks_url has over 64 keys"),
        }
    }
}

/// What is wrong with the metadata of the issuer.
#[cfg(feature = "jwt")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetadataFault {
    /// They name another issuer than the one that was asked (RFC 8414 section 3.3).
    AnotherIssuer,
    /// The endpoint has another origin than the issuer, or none that may be called.
    ForeignIntrospectionEndpoint,
    ForeignKeys,
    Malformed,
    NoIntrospectionEndpoint,
    NoKeys,
    /// There are none; the HTTP status of the last place.
    NotThere(u16),
    /// HTTP status.
    Status(u16),
    TooLarge,
}

#[cfg(feature = "jwt")]
impl fmt::Display for MetadataFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AnotherIssuer => {
                "the metadata name another issuer: write `issuer` exactly as they do"
            }
            Self::ForeignIntrospectionEndpoint => {
                "the introspection endpoint in the metadata has another origin than `issuer`: set introspect_origin to allow that, or introspect_url"
            }
            Self::ForeignKeys => {
                "the jwks_uri in the metadata has another origin than `issuer`: set jwks_origin to allow that, or jwks_url"
            }
            Self::Malformed => "the metadata have no issuer, or a URL that is not a string",
            Self::NoIntrospectionEndpoint => {
                "the metadata name no introspection endpoint: set introspect_url, or strategy = jwt"
            }
            Self::NoKeys => "the metadata name no jwks_uri: set jwks_url",
            Self::NotThere(status) => {
                return write!(
                    f,
                    "the issuer has no metadata under .well-known, the last response had HTTP status {status}: check `issuer`, or set introspect_url and jwks_url"
                );
            }
            Self::Status(status) => {
                return write!(f, "the issuer responded with HTTP status {status} when asked for its metadata");
            }
            Self::TooLarge => "the metadata are longer than 128 KiB",
        })
    }
}

/// Why a call got no response, as precisely as the host can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// The certificate is for another host name.
    CertificateForAnotherName,
    /// The certificate is past its time, or before it.
    CertificateOutOfDate,
    /// The certificate was rejected, and the host does not say why.
    CertificateRefused,
    /// The certificate was issued by an untrusted authority.
    CertificateUntrusted,
    /// The connection was closed or reset before the response was complete.
    BrokenOff,
    /// The same, or the response is over the limit of the host, which does not say so.
    BrokenOffOrTooLarge,
    /// Nothing listens there.
    ConnectionRefused,
    /// No connection in time.
    ConnectTimeout,
    /// The host forbids the call.
    Denied,
    /// The host has no room for another connection.
    LimitReached,
    /// The host name has no address.
    NameNotFound,
    /// No address of it may be used or can be reached.
    NoRoute,
    /// The name has no address, or the cluster no healthy host.
    NoUpstream,
    /// The bytes received are not HTTP.
    NotHttp,
    /// The server does not speak TLS.
    NotTls,
    /// The connection broke, or the bytes received are not HTTP.
    Protocol,
    /// The connection was refused, or TLS failed on it.
    RefusedOrTls,
    /// No response in time.
    Timeout,
    /// TLS failed, and the host does not say why: the certificate, or a server without TLS.
    Tls,
    /// The other end refused the TLS handshake.
    TlsAlert,
    /// No connection, and the host does not say why.
    Unreachable,
}

impl CallFailure {
    /// The reason with which requests are refused.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Denied => Reason::IssuerCallDenied,
            Self::ConnectTimeout | Self::Timeout => Reason::IssuerTimeout,
            Self::CertificateForAnotherName
            | Self::CertificateOutOfDate
            | Self::CertificateRefused
            | Self::CertificateUntrusted
            | Self::BrokenOff
            | Self::BrokenOffOrTooLarge
            | Self::ConnectionRefused
            | Self::LimitReached
            | Self::NameNotFound
            | Self::NoRoute
            | Self::NoUpstream
            | Self::NotHttp
            | Self::NotTls
            | Self::Protocol
            | Self::RefusedOrTls
            | Self::Tls
            | Self::TlsAlert
            | Self::Unreachable => Reason::IssuerUnreachable,
        }
    }

    const fn phrase(self) -> &'static str {
        match self {
            Self::CertificateForAnotherName => "its certificate is for another host name",
            Self::CertificateOutOfDate => "its certificate has expired or is not valid yet",
            Self::CertificateRefused => {
                "its certificate was rejected: it is not trusted, out of date or for another host name"
            }
            Self::CertificateUntrusted => {
                "its certificate was issued by an authority that is not trusted here"
            }
            Self::BrokenOff => "it closed the connection before its response was complete",
            Self::BrokenOffOrTooLarge => {
                "it closed the connection before its response was complete, or its response is over Envoy's limit (runtime key http.async_response_buffer_limit)"
            }
            Self::ConnectionRefused => {
                "it refuses the connection: nothing listens on its port, or a firewall is in between"
            }
            Self::ConnectTimeout => "there was no connection to it in time",
            Self::Denied => "this host does not allow the call",
            Self::LimitReached => "this host allows no more connections to it",
            Self::NameNotFound => "its host name has no address",
            Self::NoRoute => "none of its addresses can be reached, or this host forbids them",
            Self::NoUpstream => "its host name has no address, or its cluster no healthy host",
            Self::NotHttp => "its response is not HTTP",
            Self::NotTls => "the server does not speak TLS",
            Self::Protocol => "it broke the connection, or its response is not HTTP",
            Self::RefusedOrTls => {
                "it refuses the connection, or TLS with it failed; the statistics of the Envoy cluster show which"
            }
            Self::Timeout => "it did not respond in time",
            Self::Tls => {
                "TLS with it failed: its certificate was rejected, or the server does not speak TLS"
            }
            Self::TlsAlert => "it refused the TLS handshake",
            Self::Unreachable => "there was no connection to it, and this host does not say why",
        }
    }
}

/// The media type of a response that is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    Absent,
    Form,
    Html,
    Jwt,
    Other,
    Text,
    Xml,
}

impl Media {
    const fn phrase(self) -> &'static str {
        match self {
            Self::Absent => "no media type",
            Self::Form => "the media type of a form",
            Self::Html => "the media type of HTML",
            Self::Jwt => "the media type of a JWT",
            Self::Other => "another media type than JSON",
            Self::Text => "the media type of plain text",
            Self::Xml => "the media type of XML",
        }
    }
}

/// The content coding of a response (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Br,
    Deflate,
    Gzip,
    Other,
    Zstd,
}

impl Coding {
    const fn phrase(self) -> &'static str {
        match self {
            Self::Br => "the content coding br",
            Self::Deflate => "the content coding deflate",
            Self::Gzip => "the content coding gzip",
            Self::Other => "an unknown content coding",
            Self::Zstd => "the content coding zstd",
        }
    }
}

/// What is wrong with a whole document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    NotJson,
    NotObject(JsonType),
    NotUtf8,
    TooDeep,
    TooLarge,
    TooManyMembers,
    /// A member that the core does not use, and so cannot name.
    Twice,
}

/// What is wrong with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberFault {
    /// It holds an element of this type.
    Element(JsonType),
    Milliseconds,
    Missing,
    NotBoolean(JsonType),
    NotScopes,
    NotString(JsonType),
    NotStrings(JsonType),
    NotTime(JsonType),
    TooFar,
    Twice,
}

impl Fault {
    pub(crate) const fn new(reason: Reason, detail: Detail) -> Self {
        Self { reason, detail }
    }

    pub(crate) const fn from_call(failure: CallFailure) -> Self {
        Self::new(failure.reason(), Detail::Call(failure))
    }

    /// Whether the issuer has said that it has no key.
    #[cfg(feature = "jwt")]
    pub(crate) const fn is_without_keys(self) -> bool {
        matches!(self.detail, Detail::Keys(KeysFault::NoUsableKey))
    }

    /// The reason with which requests are refused.
    #[must_use]
    pub const fn reason(self) -> Reason {
        self.reason
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.name())?;
        f.write_str(": ")?;
        match self.detail {
            Detail::None => f.write_str(self.reason.description()),
            Detail::Status(status) => {
                write!(f, "the issuer responded with HTTP status {status}")?;
                match self.reason {
                    Reason::IssuerRedirected => {
                        f.write_str(": set introspect_url to the final address")
                    }
                    Reason::IssuerUnexpectedStatus => f.write_str(
                        ": check introspect_url, and any proxy between here and the issuer",
                    ),
                    _ => Ok(()),
                }
            }
            Detail::Credentials { status, kind } => {
                write!(f, "the issuer responded with HTTP status {status}: check ")?;
                f.write_str(match kind {
                    CredentialsKind::Secret { .. } => "resource_client_id, resource_client_secret and client_auth",
                    CredentialsKind::AssertionBySecret => {
                        "resource_client_id, resource_client_secret, assertion_audience and the clock of this machine"
                    }
                    CredentialsKind::AssertionByKey => {
                        "resource_client_id, client_key and its registration at the issuer, assertion_audience and the clock of this machine"
                    }
                    CredentialsKind::Token => "introspect_token, which may have expired, and client_auth",
                    CredentialsKind::Certificate => {
                        "resource_client_id and the client certificate that this host presents to the issuer"
                    }
                })?;
                if matches!(
                    kind,
                    CredentialsKind::Secret {
                        encoding_changes_them: true
                    }
                ) {
                    f.write_str("; id or secret has characters that form-encoding changes; an issuer that does not decode them needs client_auth=basic-raw or post")?;
                }
                Ok(())
            }
            Detail::Media(media) => write!(f, "the issuer's response has {}", media.phrase()),
            Detail::Coding(coding) => write!(
                f,
                "the issuer's response has {}; the call accepts none",
                coding.phrase()
            ),
            Detail::Document(document) => {
                f.write_str("the issuer's response ")?;
                match document {
                    Document::NotJson => f.write_str("is not JSON"),
                    Document::NotObject(found) => {
                        write!(f, "is not a JSON object: it is {}", found.phrase())
                    }
                    Document::NotUtf8 => f.write_str("is not UTF-8"),
                    Document::TooDeep => f.write_str("is nested too deeply"),
                    Document::TooLarge => f.write_str("is longer than max_answer_bytes"),
                    Document::TooManyMembers => f.write_str("has an object with too many members"),
                    Document::Twice => f.write_str("has a duplicate member in one object"),
                }
            }
            Detail::Member(name, fault) => {
                write!(f, "the member {name} ")?;
                match fault {
                    MemberFault::Element(found) => {
                        write!(f, "is not an array of strings: it holds {}", found.phrase())
                    }
                    MemberFault::Milliseconds => {
                        f.write_str("is not a time in seconds: it looks like milliseconds")
                    }
                    MemberFault::Missing => f.write_str("is missing"),
                    MemberFault::NotBoolean(found) => {
                        write!(f, "is not true or false: it is {}", found.phrase())
                    }
                    MemberFault::NotScopes => f.write_str("has characters that no scope has"),
                    MemberFault::NotString(found) => {
                        write!(f, "is not a string: it is {}", found.phrase())
                    }
                    MemberFault::NotStrings(found) => write!(
                        f,
                        "is neither a string nor an array of strings: it is {}",
                        found.phrase()
                    ),
                    MemberFault::NotTime(found) => {
                        write!(f, "is not a time in seconds: it is {}", found.phrase())
                    }
                    MemberFault::TooFar => {
                        f.write_str("is not a time in seconds: it is past the year 9999")
                    }
                    MemberFault::Twice => f.write_str("appears twice in one object"),
                }
            }
            Detail::Call(failure) => {
                f.write_str("no response from the issuer: ")?;
                f.write_str(failure.phrase())
            }
            #[cfg(feature = "jwt")]
            Detail::Keys(fault) => fault.fmt(f),
            #[cfg(feature = "jwt")]
            Detail::Metadata(fault) => fault.fmt(f),
            #[cfg(feature = "jwt")]
            Detail::Signature(fault) => fault.fmt(f),
        }
    }
}
