//! The answer to a request that is refused: status, challenge and body, from its reason alone.

use crate::policy::Policy;
use crate::policy::Requirements;
use crate::reason::{Kind, RETRY_AFTER_SECONDS, Reason};

/// A complete answer to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status, 400 to 599.
    pub status: u16,
    /// Header fields; names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// JSON, in UTF-8.
    pub body: String,
}

impl Reason {
    /// The whole answer. `policy` gives the realm; without one (our settings are wrong) there is no challenge.
    /// `requirements` are those of the route, for the scope that it needs.
    #[must_use]
    pub fn reply(self, policy: Option<&Policy>, requirements: Option<&Requirements>) -> Reply {
        self.answer(policy, requirements, RETRY_AFTER_SECONDS)
    }

    pub(crate) fn answer(
        self,
        policy: Option<&Policy>,
        requirements: Option<&Requirements>,
        retry_after: u32,
    ) -> Reply {
        // Every part comes from the closed set above, so nothing needs escaping.
        let body = format!(
            r#"{{"error":"{}","error_description":"{}","reason":"{}"}}"#,
            self.error(),
            self.description(),
            self.name()
        );
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("content-length", body.len().to_string()),
            ("cache-control", "no-store".to_owned()),
        ];
        if let Some(challenge) = policy.and_then(|policy| self.challenge(policy, requirements)) {
            headers.push(("www-authenticate", challenge));
        }
        if self.status() == 503 {
            headers.push(("retry-after", retry_after.to_string()));
        }
        Reply {
            status: self.status(),
            headers,
            body,
        }
    }

    /// `WWW-Authenticate` (RFC 6750 section 3). Realm and scopes were checked when the policy was made.
    fn challenge(self, policy: &Policy, requirements: Option<&Requirements>) -> Option<String> {
        let realm = policy.realm();
        let error = self.error();
        let text = self.description();
        let scope = match (self.kind(), requirements) {
            (Kind::Scope, Some(requirements)) => format!(r#", scope="{}""#, requirements.scope()),
            _ => String::new(),
        };
        match self.kind() {
            Kind::Unauthenticated => Some(format!(r#"Bearer realm="{realm}""#)),
            Kind::Request | Kind::Token | Kind::Scope | Kind::Forbidden => Some(format!(
                r#"Bearer realm="{realm}", error="{error}", error_description="{text}"{scope}"#
            )),
            Kind::Denied | Kind::Unavailable => None,
        }
    }
}
