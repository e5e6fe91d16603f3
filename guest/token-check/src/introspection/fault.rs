//! What was wrong with the issuer, for the log: from a closed set, and never its own text.

use core::fmt;

use crate::json::Type;
use crate::reason::Reason;

/// A fault of the issuer, or of the way to it. Prints as a line for the log: the reason and a sentence.
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
    /// HTTP status of an answer about our own credentials.
    Credentials {
        status: u16,
        /// Basic sends the id or the secret otherwise than they are set.
        are_changed: bool,
    },
    Media(Media),
    Coding(Coding),
    Document(Document),
    Member(&'static str, Wrong),
    Call(CallFailure),
}

/// Why a call brought no answer, as exactly as the host can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// The certificate is for another host name.
    CertificateForAnotherName,
    /// The certificate is past its time, or before it.
    CertificateOutOfDate,
    /// The certificate is refused, and the host does not say why.
    CertificateRefused,
    /// The certificate is of an authority that is not trusted.
    CertificateUntrusted,
    /// The connection was closed or reset before the answer was complete.
    BrokenOff,
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
    /// What came is not HTTP.
    NotHttp,
    /// What listens there does not speak TLS.
    NotTls,
    /// The connection broke, or what came is not HTTP.
    Protocol,
    /// The connection was refused, or TLS failed on it.
    RefusedOrTls,
    /// No answer in time.
    Timeout,
    /// TLS failed, and the host does not say why: a certificate, or no TLS there.
    Tls,
    /// The other end refused the TLS handshake.
    TlsAlert,
    /// No connection, and the host does not say why.
    Unreachable,
}

impl CallFailure {
    /// Why a request is refused for it.
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

    const fn text(self) -> &'static str {
        match self {
            Self::CertificateForAnotherName => "its certificate is for another host name",
            Self::CertificateOutOfDate => "its certificate has expired or is not valid yet",
            Self::CertificateRefused => {
                "its certificate is refused: it is not trusted, out of date or for another host name"
            }
            Self::CertificateUntrusted => {
                "its certificate is of an authority that is not trusted here"
            }
            Self::BrokenOff => "it closed the connection before its answer was complete",
            Self::ConnectionRefused => {
                "it refuses the connection: nothing listens on its port, or a firewall is in between"
            }
            Self::ConnectTimeout => "there was no connection to it in time",
            Self::Denied => "this host does not allow the call",
            Self::LimitReached => "this host allows no more connections to it",
            Self::NameNotFound => "its host name has no address",
            Self::NoRoute => "none of its addresses can be reached, or this host forbids them",
            Self::NoUpstream => "its host name has no address, or its cluster no healthy host",
            Self::NotHttp => "what it sent is not HTTP",
            Self::NotTls => "what listens there does not speak TLS",
            Self::Protocol => "it broke the connection off, or what it sent is not HTTP",
            Self::RefusedOrTls => {
                "it refuses the connection, or TLS with it failed; the counters of Envoy's cluster tell which"
            }
            Self::Timeout => "it did not answer in time",
            Self::Tls => {
                "TLS with it failed: its certificate is refused, or what listens there does not speak TLS"
            }
            Self::TlsAlert => "it refused the TLS handshake",
            Self::Unreachable => "there was no connection to it, and this host does not say why",
        }
    }
}

/// The media type of an answer that is not JSON.
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
    const fn text(self) -> &'static str {
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

/// The content coding of an answer (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Br,
    Deflate,
    Gzip,
    Other,
    Zstd,
}

impl Coding {
    const fn text(self) -> &'static str {
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
    NotObject(Type),
    NotUtf8,
    TooDeep,
    TooLarge,
    TooManyMembers,
    /// Some member, of which we have no name.
    Twice,
}

/// What is wrong with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It holds an element of this type.
    Element(Type),
    Milliseconds,
    Missing,
    NotBoolean(Type),
    NotScopes,
    NotString(Type),
    NotStrings(Type),
    NotTime(Type),
    TooFar,
    Twice,
}

impl Fault {
    pub(crate) const fn new(reason: Reason, detail: Detail) -> Self {
        Self { reason, detail }
    }

    pub(crate) const fn of_call(failure: CallFailure) -> Self {
        Self::new(failure.reason(), Detail::Call(failure))
    }

    /// Why requests are refused for it.
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
                write!(f, "the issuer answered with HTTP status {status}")?;
                match self.reason {
                    Reason::IssuerRedirected => {
                        f.write_str(": set introspect_url to the final address")
                    }
                    Reason::IssuerUnexpectedStatus => f.write_str(
                        ": check introspect_url, and what stands between here and the issuer",
                    ),
                    _ => Ok(()),
                }
            }
            Detail::Credentials {
                status,
                are_changed,
            } => {
                write!(
                    f,
                    "the issuer answered with HTTP status {status}: check resource_client_id, resource_client_secret and client_auth"
                )?;
                if are_changed {
                    f.write_str("; id or secret has characters that form-encoding changes; an issuer that does not decode them needs client_auth=basic-raw or post")?;
                }
                Ok(())
            }
            Detail::Media(media) => write!(f, "the issuer's answer has {}", media.text()),
            Detail::Coding(coding) => write!(
                f,
                "the issuer's answer has {}; the question allows none",
                coding.text()
            ),
            Detail::Document(document) => {
                f.write_str("the issuer's answer ")?;
                match document {
                    Document::NotJson => f.write_str("is not JSON"),
                    Document::NotObject(found) => {
                        write!(f, "is not a JSON object: it is {}", found.text())
                    }
                    Document::NotUtf8 => f.write_str("is not UTF-8"),
                    Document::TooDeep => f.write_str("is nested too deep"),
                    Document::TooLarge => f.write_str("is longer than max_answer_bytes"),
                    Document::TooManyMembers => f.write_str("has an object with too many members"),
                    Document::Twice => f.write_str("has a member twice in one object"),
                }
            }
            Detail::Member(name, wrong) => {
                write!(f, "the member {name} ")?;
                match wrong {
                    Wrong::Element(found) => {
                        write!(f, "is not an array of strings: it holds {}", found.text())
                    }
                    Wrong::Milliseconds => {
                        f.write_str("is not a time in seconds: it looks like milliseconds")
                    }
                    Wrong::Missing => f.write_str("is missing"),
                    Wrong::NotBoolean(found) => {
                        write!(f, "is not true or false: it is {}", found.text())
                    }
                    Wrong::NotScopes => f.write_str("has characters that no scope has"),
                    Wrong::NotString(found) => write!(f, "is not a string: it is {}", found.text()),
                    Wrong::NotStrings(found) => write!(
                        f,
                        "is neither a string nor an array of strings: it is {}",
                        found.text()
                    ),
                    Wrong::NotTime(found) => {
                        write!(f, "is not a time in seconds: it is {}", found.text())
                    }
                    Wrong::TooFar => {
                        f.write_str("is not a time in seconds: it is past the year 9999")
                    }
                    Wrong::Twice => f.write_str("stands in one object twice"),
                }
            }
            Detail::Call(failure) => {
                f.write_str("no answer of the issuer: ")?;
                f.write_str(failure.text())
            }
        }
    }
}
