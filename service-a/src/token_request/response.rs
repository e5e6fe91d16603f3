//! The bodies that an issuer sends: a token response or a refusal.

use std::time::Duration;

use oauth2::{RefreshToken, Scope, TokenResponse, basic::BasicTokenType};
use serde::{Deserialize, Deserializer, Serialize, de::IntoDeserializer as _};

use crate::json_value::JsonValue;

/// What Apigee calls its Bearer tokens, in lower case.
const APIGEE_BEARER: &str = "bearertoken";

/// The members of a token response that are used (RFC 6749 section 5.1). Unlike the oauth2 crate's
/// own type, the token can be moved out of it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct TokenResponseBody {
    pub(super) access_token: oauth2::AccessToken,
    #[serde(deserialize_with = "in_any_case")]
    pub(super) token_type: BasicTokenType,
    #[serde(default, deserialize_with = "lifetime")]
    pub(super) expires_in: Option<Duration>,
}

impl TokenResponse for TokenResponseBody {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &oauth2::AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &BasicTokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        None
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

/// The type is case-insensitive (RFC 6749 section 5.1); Apigee writes `BearerToken`.
fn in_any_case<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BasicTokenType, D::Error> {
    let name = String::deserialize(deserializer)?.to_ascii_lowercase();
    if name == APIGEE_BEARER {
        return Ok(BasicTokenType::Bearer);
    }
    BasicTokenType::deserialize(name.into_deserializer())
}

/// Some issuers write the number as a string. An unusable lifetime counts as unknown, since the
/// token works without it.
fn lifetime<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let seconds = match &value {
        serde_json::Value::String(string) => string.parse().ok(),
        value => value.as_f64(),
    };
    Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}

/// What a refusal of the issuer says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Option<String>,
    pub(super) description: Option<String>,
    /// The response has no body.
    pub(super) is_empty: bool,
}

impl Refusal {
    /// Parses the error document of RFC 6749 section 5.2 or Okta's own one. The status does not
    /// matter: some issuers refuse with 200.
    pub(super) fn parse(body: &[u8]) -> Self {
        let Ok(json) = serde_json::from_slice::<JsonValue>(body) else {
            return Self {
                is_empty: body.trim_ascii().is_empty(),
                ..Self::default()
            };
        };
        let member = |name: &str| {
            let string = json.string(name).filter(|string| !string.is_empty());
            string.map(str::to_owned)
        };
        Self {
            code: member("error").or_else(|| member("errorCode")),
            description: member("error_description").or_else(|| member("errorSummary")),
            is_empty: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_all_shapes_are_parsed() {
        let refusal = |code: Option<&str>, description: Option<&str>, is_empty| Refusal {
            code: code.map(str::to_owned),
            description: description.map(str::to_owned),
            is_empty,
        };
        let table = [
            ("", refusal(None, None, true)),
            (" \n", refusal(None, None, true)),
            ("{}", refusal(None, None, false)),
            ("[]", refusal(None, None, false)),
            (r#"{"error":null}"#, refusal(None, None, false)),
            (r#"{"error":""}"#, refusal(None, None, false)),
            (r#"{"error":{"code":1}}"#, refusal(None, None, false)),
            (
                r#"{"error":"invalid_scope"}"#,
                refusal(Some("invalid_scope"), None, false),
            ),
            (
                r#"{"error":"invalid_scope","error_description":"no","errorCode":"E1","errorSummary":"x"}"#,
                refusal(Some("invalid_scope"), Some("no"), false),
            ),
            (
                r#"{"errorCode":"invalid_client","errorSummary":"No."}"#,
                refusal(Some("invalid_client"), Some("No."), false),
            ),
            ("<html></html>", refusal(None, None, false)),
        ];
        for (body, expected) in table {
            assert_eq!(Refusal::parse(body.as_bytes()), expected, "{body}");
        }
    }
}
