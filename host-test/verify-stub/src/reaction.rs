//! What the stub does with a call: answer as IBM Verify does, answer something else, or fail to.

use std::{str::FromStr, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, LOCATION, RETRY_AFTER},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// What is done with one call.
#[derive(Clone, Debug)]
pub struct Reaction {
    /// How long to wait first.
    pub delay: Duration,
    /// What to wait for then, until it is cancelled.
    pub hold: Option<CancellationToken>,
    /// What comes then.
    pub kind: ReactionKind,
}

/// What is done with one call, once the delay is over.
#[derive(Clone, Debug)]
pub enum ReactionKind {
    /// What IBM Verify would do.
    Normal,
    /// This answer, whatever was asked.
    Answer(StubAnswer),
    /// Close the connection without a word.
    Drop,
    /// End the connection with a TCP reset.
    Reset,
    /// Say nothing for as long as the caller waits.
    Hang,
    /// A head that promises the whole body, then a part of the body, then the end of the connection.
    Cut {
        /// The answer that is cut. None: the normal one.
        answer: Option<StubAnswer>,
        /// Bytes of the body that are sent.
        after: usize,
    },
    /// The body byte by byte.
    Drip {
        /// The answer that drips. None: the normal one.
        answer: Option<StubAnswer>,
        /// How long to wait before each byte.
        every: Duration,
    },
    /// A chunked JSON body of that many bytes of white space; the stub's own memory does not grow with it.
    Huge {
        /// How many.
        bytes: u64,
    },
    /// These bytes in place of an HTTP answer, then the end of the connection.
    Raw {
        /// What is sent.
        bytes: Bytes,
        /// How long to wait before each byte; zero sends them at once.
        every: Duration,
    },
}

impl Reaction {
    /// What IBM Verify would do.
    pub fn normal() -> Self {
        ReactionKind::Normal.into()
    }

    /// This answer.
    pub fn answer(answer: StubAnswer) -> Self {
        ReactionKind::Answer(answer).into()
    }

    /// Closes the connection without a word.
    pub fn drop_connection() -> Self {
        ReactionKind::Drop.into()
    }

    /// Ends the connection with a TCP reset.
    pub fn reset() -> Self {
        ReactionKind::Reset.into()
    }

    /// Says nothing for as long as the caller waits.
    pub fn hang() -> Self {
        ReactionKind::Hang.into()
    }

    /// The answer (None: the normal one), closed after so many bytes of its body.
    pub fn cut(answer: impl Into<Option<StubAnswer>>, after: usize) -> Self {
        let answer = answer.into();
        ReactionKind::Cut { answer, after }.into()
    }

    /// The answer (None: the normal one), its body byte by byte.
    pub fn drip(answer: impl Into<Option<StubAnswer>>, every: Duration) -> Self {
        let answer = answer.into();
        ReactionKind::Drip { answer, every }.into()
    }

    /// That many bytes of JSON white space.
    pub fn huge(bytes: u64) -> Self {
        ReactionKind::Huge { bytes }.into()
    }

    /// These bytes in place of an HTTP answer.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::raw_drip(bytes, Duration::ZERO)
    }

    /// These bytes in place of an HTTP answer, one at a time: this way the head drips too.
    pub fn raw_drip(bytes: impl Into<Bytes>, every: Duration) -> Self {
        let bytes = bytes.into();
        ReactionKind::Raw { bytes, every }.into()
    }

    /// The same, after waiting so long.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// The same, once the token is cancelled: then a test says when, and not a clock.
    #[must_use]
    pub fn once(self, released: CancellationToken) -> Self {
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

impl From<StubAnswer> for Reaction {
    fn from(answer: StubAnswer) -> Self {
        Self::answer(answer)
    }
}

impl ReactionKind {
    /// For log lines.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Answer(_) => "answer",
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

/// The words of the control endpoint, as [`Reaction`]'s `FromStr` reads them.
pub(super) const WORDS: &str = "  normal          what IBM Verify would do
  delay:MS        the same, after so many milliseconds
  status:CODE     that status and a JSON error
  refuse          401 CSIAQ0155E: the client's credentials are refused
  page            the HTML page of a wrong URL, 404
  redirect:URL    302 to there
  busy:SECONDS    429 with Retry-After
  drop            the connection is closed without an answer
  reset           the connection is reset
  hang            no answer for as long as the caller waits
  cut:BYTES       the connection is closed after so many bytes of the body
  drip:MS         the body byte by byte, so many milliseconds before each
  huge:BYTES      that many bytes of JSON white space
  raw:TEXT        that text in place of an HTTP answer";

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
                let status = status.ok_or("a status lies between 200 and 599")?;
                Ok(StubAnswer::json(status, &json!({"error": "scripted"})).into())
            }
            "refuse" => plain(StubAnswer::request_unauthorized().into()),
            "page" => plain(StubAnswer::wrong_url().into()),
            "redirect" => {
                let location = HeaderValue::from_str(value)
                    .map_err(|_| "redirect needs a URL, as in redirect:http://127.0.0.1:1/")?;
                Ok(StubAnswer::redirect(StatusCode::FOUND, location).into())
            }
            "busy" => Ok(StubAnswer::too_many_requests(number()?).into()),
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
            _ => Err(format!("there is no such reaction; these are:\n{WORDS}")),
        }
    }
}

/// A complete HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StubAnswer {
    /// The status.
    pub status: StatusCode,
    /// Header fields; `content-length` and `date` are added when it is sent.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

impl StubAnswer {
    /// An answer without header fields and body.
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// The same with one more header field.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same with another body.
    #[must_use]
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    /// A body of this media type.
    pub fn text(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::new(status)
            .header(CONTENT_TYPE, HeaderValue::from_static(media_type))
            .body(body)
    }

    /// A JSON document.
    pub fn json(status: StatusCode, document: &Value) -> Self {
        Self::text(status, "application/json", document.to_string())
    }

    /// 200 and `application/json` with exactly these bytes, whether they are JSON or not.
    pub fn document(body: impl Into<Bytes>) -> Self {
        Self::text(StatusCode::OK, "application/json", body)
    }

    /// What introspection says of a token that is not active (RFC 7662 section 2.2).
    pub fn inactive() -> Self {
        Self::document(r#"{"active":false}"#)
    }

    /// IBM's answer at introspection and revocation to a client whose credentials are wrong: 401 CSIAQ0155E.
    pub fn request_unauthorized() -> Self {
        Self::error(
            StatusCode::UNAUTHORIZED,
            "request_unauthorized",
            "CSIAQ0155E No client has this id and this secret.",
        )
    }

    /// IBM's answer at the token endpoint to a client whose credentials are wrong (RFC 6749 section 5.2).
    pub fn invalid_client() -> Self {
        Self::error(
            StatusCode::UNAUTHORIZED,
            "invalid_client",
            "CSIAQ0155E No client has this id and this secret.",
        )
    }

    /// The HTML page that a wrong URL gets, 404.
    pub fn wrong_url() -> Self {
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

    /// A redirect that carries the answer to go on with as its body too, so that reading it would show.
    pub fn redirect(status: StatusCode, location: HeaderValue) -> Self {
        Self::json(status, &json!({"active": true})).header(LOCATION, location)
    }

    /// An OAuth error document.
    pub(super) fn error(status: StatusCode, error: &str, description: &str) -> Self {
        let document = json!({"error": error, "error_description": description});
        Self::json(status, &document)
    }
}
