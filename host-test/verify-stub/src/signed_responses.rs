//! Introspection responses as JWTs (RFC 9701), good and bad.

use anyhow::Result;
use http::{HeaderMap, HeaderValue, header::ACCEPT};
use serde_json::json;

use super::{
    clients::StubClient,
    jwt::{JwtSpec, SignatureFault, SigningAlgorithm, sign},
    reaction::StubResponse,
    state::State,
    tokens::unix_now,
};

const MEDIA_TYPE: &str = "application/token-introspection+jwt";

/// How long ago a response with [`ResponseFault::Time`] was made, in seconds: beyond any `leeway`.
const OLD_SECONDS: i64 = 3600;

/// How introspection responses are signed for a client that asks for it.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedResponses {
    algorithm: SigningAlgorithm,
    issuer: Option<String>,
    fault: Option<ResponseFault>,
}

/// What is wrong with the signed responses for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFault {
    /// They are for another client.
    Audience,
    /// They are by another issuer.
    Issuer,
    /// They are signed with a key that is never published.
    Key,
    /// They are plain JSON.
    Plain,
    /// They are signed over other claims.
    Signature,
    /// They are an hour old.
    Time,
    /// They are access tokens by their `typ`.
    Type,
}

impl SignedResponses {
    /// Signed with the current key of this algorithm (`introspection_signed_response_alg`, RFC 9701
    /// section 6).
    pub const fn new(algorithm: SigningAlgorithm) -> Self {
        Self {
            algorithm,
            issuer: None,
            fault: None,
        }
    }

    /// The same with this `iss` in place of the stub's.
    #[must_use]
    pub fn with_issuer(self, issuer: impl Into<String>) -> Self {
        Self {
            issuer: Some(issuer.into()),
            ..self
        }
    }

    /// The same with this fault.
    #[must_use]
    pub fn with_fault(self, fault: ResponseFault) -> Self {
        Self {
            fault: Some(fault),
            ..self
        }
    }
}

/// The response to a client, signed if the client is registered for it and accepts it (RFC 9701
/// section 4). `issuer`: of the stub.
pub(super) fn signed(
    state: &State,
    issuer: &str,
    client: &StubClient,
    headers: &HeaderMap,
    response: StubResponse,
) -> Result<StubResponse> {
    let Some(how) = client
        .signed_responses
        .as_ref()
        .filter(|how| accepts(headers) && how.fault != Some(ResponseFault::Plain))
    else {
        return Ok(response);
    };
    let issuer = match how.fault {
        Some(ResponseFault::Issuer) => "https://other.example",
        _ => how.issuer.as_deref().unwrap_or(issuer),
    };
    let audience = match how.fault {
        Some(ResponseFault::Audience) => "another client",
        _ => &client.id,
    };
    let made = match how.fault {
        Some(ResponseFault::Time) => unix_now().saturating_sub(OLD_SECONDS),
        _ => unix_now(),
    };
    let typ = match how.fault {
        Some(ResponseFault::Type) => "at+jwt",
        _ => "token-introspection+jwt",
    };
    let spec = JwtSpec {
        fault: match how.fault {
            Some(ResponseFault::Key) => Some(SignatureFault::UnknownKey),
            Some(ResponseFault::Signature) => Some(SignatureFault::OtherClaims),
            _ => None,
        },
        header: vec![("typ".to_owned(), Some(typ.into()))],
        ..JwtSpec::default()
    };
    // Word for word what a plain response would be.
    let document = String::from_utf8_lossy(&response.body);
    let (issuer, audience) = (json!(issuer), json!(audience));
    let claims = format!(
        r#"{{"iss":{issuer},"aud":{audience},"iat":{made},"token_introspection":{document}}}"#
    );
    let jwt = sign(&state.keys, how.algorithm, &spec, &claims)?;
    Ok(StubResponse::text(response.status, MEDIA_TYPE, jwt))
}

fn accepts(headers: &HeaderMap) -> bool {
    let ranges = headers
        .get_all(ACCEPT)
        .iter()
        .map(HeaderValue::as_bytes)
        .flat_map(|line| line.split(|byte| *byte == b','));
    let mut types = ranges.filter_map(|range| range.split(|byte| *byte == b';').next());
    types.any(|kind| {
        kind.trim_ascii()
            .eq_ignore_ascii_case(MEDIA_TYPE.as_bytes())
    })
}
