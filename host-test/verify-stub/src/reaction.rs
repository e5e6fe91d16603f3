//! What the stub does with a call: respond as IBM Verify does, respond otherwise, or fail.

use std::{str::FromStr, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, LOCATION, RETRY_AFTER},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The reaction to one call.
#[derive(Clone, Debug)]
pub struct Reaction {
    /// How long to wait first.
    pub delay: Duration,
    /// Then waits until this token is cancelled.
    pub hold: Option<CancellationToken>,
    /// What to do then.
    pub kind: ReactionKind,
}

/// The reaction to one call, after its delay.
#[derive(Clone, Debug)]
pub enum ReactionKind {
    /// Respond as IBM Verify does.
    Normal,
    /// Respond with this, whatever the request.
    Respond(StubResponse),
    /// Close the connection without a response.
    Drop,
    /// End the connection with a TCP reset.
    Reset,
    /// Never respond.
    Hang,
    /// Send a head that promises the whole body, then a part of the body, then close the
    /// connection.
    Cut {
        /// The response to cut. `None`: the normal one.
        response: Option<StubResponse>,
        /// How many bytes of the body to send.
        after: usize,
    },
    /// Send the body byte by byte.
    Drip {
        /// The response to drip. `None`: the normal one.
        response: Option<StubResponse>,
        /// How long to wait before each byte.
        every: Duration,
    },
    /// Send a chunked body of white space. The stub does not hold it in memory.
    Huge {
        /// The length of the body.
        bytes: u64,
    },
    /// Send these bytes in place of an HTTP response, then close the connection.
    Raw {
        /// The bytes to send.
        bytes: Bytes,
        /// How long to wait before each byte; zero sends them at once.
        every: Duration,
    },
}

impl Reaction {
    /// Responds as IBM Verify does.
    pub fn normal() -> Self {
        ReactionKind::Normal.into()
    }

    /// Responds with this.
    pub fn respond(response: StubResponse) -> Self {
        ReactionKind::Respond(response).into()
    }

    /// Closes the connection without a response.
    pub fn drop_connection() -> Self {
        ReactionKind::Drop.into()
    }

    /// Ends the connection with a TCP reset.
    pub fn reset() -> Self {
        ReactionKind::Reset.into()
    }

    /// Never responds.
    pub fn hang() -> Self {
        ReactionKind::Hang.into()
    }

    /// Closes the connection after `after` bytes of the body of `response` (`None`: the normal
    /// one).
    pub fn cut(response: impl Into<Option<StubResponse>>, after: usize) -> Self {
        let response = response.into();
        ReactionKind::Cut { response, after }.into()
    }

    /// Sends the body of `response` (`None`: the normal one) byte by byte.
    pub fn drip(response: impl Into<Option<StubResponse>>, every: Duration) -> Self {
        let response = response.into();
        ReactionKind::Drip { response, every }.into()
    }

    /// Sends a body of this many bytes of white space.
    pub fn huge(bytes: u64) -> Self {
        ReactionKind::Huge { bytes }.into()
    }

    /// Sends these bytes in place of an HTTP response.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::raw_drip(bytes, Duration::ZERO)
    }

    /// Sends these bytes in place of an HTTP response, one at a time, so that the head drips too.
    pub fn raw_drip(bytes: impl Into<Bytes>, every: Duration) -> Self {
        let bytes = bytes.into();
        ReactionKind::Raw { bytes, every }.into()
    }

    /// The same, after this delay.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// The same, once the token is cancelled: the test decides when, not a clock.
    #[must_use]
    pub fn held_until(self, released: CancellationToken) -> Self {
        let hold = Some(released);
        Self { hold, ..self }
    }
}

impl From<ReactionKind> for Reaction {
    fn from(kind: ReactionKind) -> Self {
        Self {
            delay: Duration::ZERO,
            hold: None,
            kind,
        }
    }
}

impl From<StubResponse> for Reaction {
    fn from(response: StubResponse) -> Self {
        Self::respond(response)
    }
}

impl ReactionKind {
    /// The name in log lines.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Respond(_) => "respond",
            Self::Drop => "drop",
            Self::Reset => "reset",
            Self::Hang => "hang",
            Self::Cut { .. } => "cut",
            Self::Drip { .. } => "drip",
            Self::Huge { .. } => "huge",
            Self::Raw { .. } => "raw",
        }
    }
}

/// The syntax of reactions on the control endpoint, as `FromStr` parses it.
pub(super) const SYNTAX: &str = "  normal          respond as IBM Verify does
  delay:MS        the same, after this many milliseconds
  status:CODE     this status and a JSON error
  refuse          401 CSIAQ0155E: the credentials of the client are rejected
  no-keys         a key set without keys
  page            404 with the HTML page for unknown URLs
  redirect:URL    302 to this URL
  busy:SECONDS    429 with Retry-After
  drop            close the connection without a response
  reset           reset the connection
  hang            never respond
  cut:BYTES       close the connection after this many bytes of the body
  drip:MS         send the body byte by byte, this many milliseconds before each
  huge:BYTES      send a body of this many bytes of white space
  raw:TEXT        send this text in place of an HTTP response";

impl FromStr for Reaction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, value) = text.split_once(':').unwrap_or((text, ""));
        let number = || -> Result<u64, String> {
            let parsed = value.parse();
            parsed.map_err(|_| format!("{word} needs a number, as in {word}:100"))
        };
        let milliseconds = || number().map(Duration::from_millis);
        let plain = |reaction: Self| match value {
            "" => Ok(reaction),
            _ => Err(format!("{word} takes no value")),
        };
        match word {
            "normal" => plain(Self::normal()),
            "delay" => Ok(Self::normal().after(milliseconds()?)),
            "status" => {
                let status = u16::try_from(number()?).ok();
                let status = status.filter(|status| (200..=599).contains(status));
                let status = status.and_then(|status| StatusCode::from_u16(status).ok());
                let status = status.ok_or("a status is a number from 200 to 599")?;
                Ok(StubResponse::json(status, &json!({"error": "scripted"})).into())
            }
            "refuse" => plain(StubResponse::request_unauthorized().into()),
            "no-keys" => plain(StubResponse::no_keys().into()),
            "page" => plain(StubResponse::unknown_url().into()),
            "redirect" => {
                let location = HeaderValue::from_str(value)
                    .map_err(|_| "redirect needs a URL, as in redirect:http://127.0.0.1:1/")?;
                Ok(StubResponse::redirect(StatusCode::FOUND, location).into())
            }
            "busy" => Ok(StubResponse::too_many_requests(number()?).into()),
            "drop" => plain(Self::drop_connection()),
            "reset" => plain(Self::reset()),
            "hang" => plain(Self::hang()),
            "cut" => {
                let after = usize::try_from(number()?).map_err(|error| error.to_string())?;
                Ok(Self::cut(None, after))
            }
            "drip" => Ok(Self::drip(None, milliseconds()?)),
            "huge" => Ok(Self::huge(number()?)),
            "raw" => Ok(Self::raw(value.to_owned())),
            _ => Err(format!("no such reaction; the reactions are:\n{SYNTAX}")),
        }
    }
}

/// A complete HTTP response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StubResponse {
    /// The status.
    pub status: StatusCode,
    /// Header fields; the server adds `content-length` and `date`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

impl StubResponse {
    /// A response without header fields and body.
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Replaces the body.
    #[must_use]
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    /// A response with a body of this media type.
    pub fn text(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::new(status)
            .header(CONTENT_TYPE, HeaderValue::from_static(media_type))
            .body(body)
    }

    /// A JSON document.
    pub fn json(status: StatusCode, document: &Value) -> Self {
        Self::text(status, "application/json", document.to_string())
    }

    /// 200 and `application/json` with exactly these bytes, JSON or not.
    pub fn document(body: impl Into<Bytes>) -> Self {
        Self::text(StatusCode::OK, "application/json", body)
    }

    /// The introspection response for a token that is not active (RFC 7662 section 2.2).
    pub fn inactive() -> Self {
        Self::document(r#"{"active":false}"#)
    }

    /// A JWK set without keys (RFC 7517 section 5).
    pub fn no_keys() -> Self {
        Self::document(r#"{"keys":[]}"#)
    }

    /// The response of IBM Verify's introspection and revocation endpoints to wrong client
    /// credentials: 401 CSIAQ0155E.
    pub fn request_unauthorized() -> Self {
        Self::error(
            StatusCode::UNAUTHORIZED,
            "request_unauthorized",
            "CSIAQ0155E No client has this id and this secret.",
        )
    }

    /// The response of IBM Verify's token endpoint to wrong client credentials (RFC 6749 section
    /// 5.2).
    pub fn invalid_client() -> Self {
        Self::error(
            StatusCode::UNAUTHORIZED,
            "invalid_client",
            "CSIAQ0155E No client has this id and this secret.",
        )
    }

    /// 404 with the HTML page for unknown URLs.
    pub fn unknown_url() -> Self {
        const PAGE: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><title>Not found</title></head>\
            <body><h1>Not found</h1><p>There is no page at this address.</p></body></html>\n";
        Self::text(StatusCode::NOT_FOUND, "text/html;charset=UTF-8", PAGE)
    }

    /// 429 with `Retry-After` in seconds.
    pub fn too_many_requests(retry_after: u64) -> Self {
        Self::error(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "Too many requests.",
        )
        .header(RETRY_AFTER, retry_after.into())
    }

    /// A redirect with an active introspection document as its body, so that a caller that uses the
    /// body is noticed.
    pub fn redirect(status: StatusCode, location: HeaderValue) -> Self {
        Self::json(status, &json!({"active": true})).header(LOCATION, location)
    }

    /// An OAuth error document.
    pub(super) fn error(status: StatusCode, error: &str, description: &str) -> Self {
        let document = json!({"error": error, "error_description": description});
        Self::json(status, &document)
    }
}
