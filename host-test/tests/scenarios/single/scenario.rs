//! What a scenario is: a request, settings, what the issuer does, and what has to come of it.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::fixture::{unix_seconds, with_times};

/// The time that `{now+N}` and `{now-N}` in a text count from, in seconds since 1970: one for all
/// drivers, so that they see the same documents. Rows keep 10 s from every limit, for the hosts
/// read their own clocks.
pub(crate) static NOW: LazyLock<i64> = LazyLock::new(unix_seconds);

/// Longest wait for the issuer in every row that does not set it, in seconds: hanging issuers cost
/// a test this much.
pub(crate) const TIMEOUT: &str = "1";

pub(crate) struct Scenario {
    /// The row of ATTACKS.md or the clause, and what it pins.
    pub(crate) name: &'static str,
    /// On top of issuer, client and [`TIMEOUT`]. `{issuer}` in a value is the issuer's origin.
    pub(crate) settings: Vec<(&'static str, String)>,
    pub(crate) request: Request,
    pub(crate) issuer: Issuer,
    pub(crate) expect: Expect,
    /// How often the issuer is called.
    pub(crate) introspections: u64,
    /// How often the same request has come before the one that is looked at.
    pub(crate) before: usize,
    /// A part of a line that the host's log has.
    pub(crate) logs: Option<&'static str>,
}

/// `{token}` in a target or a value is the scenario's own token.
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
    pub(crate) body: &'static str,
}

/// What the issuer does when it is called about the scenario's token.
#[derive(Clone, Debug)]
pub(crate) enum Issuer {
    Answers(Answer),
    /// Checks the credentials of the auth check as IBM Verify does, and knows this of the token.
    Authenticates(&'static str),
    /// Closes the connection without a word.
    Drops,
    /// Resets it.
    Resets,
    /// Accepts the introspection call and never answers.
    Hangs,
    /// Announces the whole body and closes after half of it.
    Cuts(Answer),
    /// One byte now and then.
    Drips(Answer),
    /// That many bytes of white space.
    Floods(u64),
    /// Nobody listens there.
    Gone,
    /// `https` is configured, and plain http is spoken there.
    SpeaksNoTls,
}

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

pub(crate) enum Expect {
    /// The app sees the request with exactly these identity headers.
    Granted {
        identity: Vec<(&'static str, String)>,
        /// The Authorization header that goes on.
        authorization: Option<&'static str>,
    },
    /// The metadata of Service B (RFC 9728).
    Metadata(&'static str),
    /// Refused with a reason of README.md; `scope` is what the challenge names.
    Refused {
        status: u16,
        reason: &'static str,
        scope: Option<&'static str>,
    },
}

/// What IBM Verify says about a token of service-a.
pub(crate) const IBM: &str = r#"{"active":true,"aud":["service-a"],"client_id":"service-a","exp":{now+3600},"grant_id":"6f9a41dc-2b1c-4f0e-8a7d-0d6c5f3f1e11","grant_type":"client_credentials","iat":{now-60},"iss":"https://tenant.verify.ibm.com/oauth2","sub":"service-a","token_type":"bearer"}"#;

/// A request with the scenario's token, about which the issuer says [`IBM`]; it is granted.
pub(crate) fn scenario(name: &'static str) -> Scenario {
    Scenario {
        name,
        settings: Vec::new(),
        request: Request {
            method: "GET",
            target: "/data".to_owned(),
            headers: vec![("authorization", b"Bearer {token}".to_vec())],
            body: "",
        },
        issuer: Issuer::Answers(json(IBM)),
        expect: Expect::Granted {
            identity: vec![
                ("x-auth-subject", "service-a".to_owned()),
                ("x-auth-client-id", "service-a".to_owned()),
                (
                    "x-auth-issuer",
                    "https://tenant.verify.ibm.com/oauth2".to_owned(),
                ),
                claims_header(IBM),
            ],
            authorization: None,
        },
        introspections: 1,
        before: 0,
        logs: None,
    }
}

/// 200 with this JSON.
pub(crate) fn json(body: &str) -> Answer {
    answer(200, "application/json", timed(body))
}

pub(crate) fn answer(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Answer {
    Answer {
        status,
        headers: vec![("content-type", content_type.to_owned())],
        body: body.into(),
    }
}

/// The claims as the auth check hands them on: base64url of the document (Envoy's
/// `forward_payload_header`).
pub(crate) fn claims_header(document: &str) -> (&'static str, String) {
    ("x-auth-claims", URL_SAFE_NO_PAD.encode(timed(document)))
}

fn timed(text: &str) -> String {
    with_times(text, *NOW)
}

impl Scenario {
    /// Unlike every other scenario's.
    pub(crate) fn token(&self) -> String {
        format!("{}.AAAB-7x_c2VydmljZQ.Q~3+w/8=", self.name)
    }

    /// What the request's Authorization header holds after its scheme, which is what the issuer is
    /// called about.
    pub(crate) fn credential(&self) -> String {
        let sent = self
            .request
            .headers
            .iter()
            .find(|(name, _)| *name == "authorization");
        let value = sent
            .map(|(_, value)| self.filled(value))
            .unwrap_or_default();
        let text = String::from_utf8_lossy(&value);
        text.split_ascii_whitespace()
            .nth(1)
            .map_or_else(|| self.token(), str::to_owned)
    }

    pub(crate) fn with(mut self, setting: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((setting, value.into()));
        self
    }

    pub(crate) fn method(mut self, method: &'static str) -> Self {
        self.request.method = method;
        self
    }

    pub(crate) fn target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.request.target);
        self
    }

    pub(crate) fn body(mut self, body: &'static str) -> Self {
        self.request.body = body;
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.request.headers.push((name, value.as_ref().to_vec()));
        self
    }

    /// This Authorization header in place of the usual one.
    pub(crate) fn authorization(mut self, value: impl AsRef<[u8]>) -> Self {
        self.request.headers.clear();
        self.header("authorization", value)
    }

    pub(crate) fn no_authorization(mut self) -> Self {
        self.request.headers.clear();
        self
    }

    /// The issuer answers 200 with this JSON.
    pub(crate) fn responds(self, document: &str) -> Self {
        self.issuer(Issuer::Answers(json(document)))
    }

    pub(crate) fn issuer(mut self, issuer: Issuer) -> Self {
        // A introspection call that does not get through reaches nobody who could count it.
        if matches!(issuer, Issuer::Gone | Issuer::SpeaksNoTls) {
            self.introspections = 0;
        }
        self.issuer = issuer;
        self
    }

    /// The issuer checks our credentials, and knows [`IBM`] of the token.
    pub(crate) fn authenticates(self) -> Self {
        self.issuer(Issuer::Authenticates(IBM))
    }

    /// Granted, with these identity headers and the claims header of `document`.
    pub(crate) fn granted(mut self, identity: &[(&'static str, &str)], document: &str) -> Self {
        let mut identity: Vec<_> = identity
            .iter()
            .map(|(n, v)| (*n, (*v).to_owned()))
            .collect();
        identity.push(claims_header(document));
        self.expect = Expect::Granted {
            identity,
            authorization: None,
        };
        self
    }

    /// There is no claims header.
    pub(crate) fn without_claims(mut self) -> Self {
        if let Expect::Granted { identity, .. } = &mut self.expect {
            identity.retain(|(name, _)| *name != "x-auth-claims");
        }
        self
    }

    /// Granted without anybody being called: nothing is known of the caller.
    pub(crate) fn granted_without_identity(mut self) -> Self {
        self.expect = Expect::Granted {
            identity: Vec::new(),
            authorization: None,
        };
        self.introspections = 0;
        self
    }

    /// Granted, and the Authorization header goes on.
    pub(crate) fn with_authorization(mut self, value: &'static str) -> Self {
        if let Expect::Granted { authorization, .. } = &mut self.expect {
            *authorization = Some(value);
        }
        self
    }

    /// Answered with this document, before anybody is called.
    pub(crate) fn metadata(mut self, document: &'static str) -> Self {
        self.expect = Expect::Metadata(document);
        self.introspections = 0;
        self
    }

    pub(crate) fn refused(mut self, status: u16, reason: &'static str) -> Self {
        self.expect = Expect::Refused {
            status,
            reason,
            scope: None,
        };
        self
    }

    /// The issuer is called so often.
    pub(crate) fn introspections(mut self, times: u64) -> Self {
        self.introspections = times;
        self
    }

    /// The same request has come so often before.
    pub(crate) fn after_requests(mut self, before: usize) -> Self {
        self.before = before;
        self
    }

    /// The host's log has a line with this text, once per interval for all scenarios with the same
    /// settings.
    pub(crate) fn logs(mut self, line: &'static str) -> Self {
        self.logs = Some(line);
        self
    }

    /// Refused before anybody is called.
    pub(crate) fn refused_without_introspection(self, status: u16, reason: &'static str) -> Self {
        let mut scenario = self.refused(status, reason);
        scenario.introspections = 0;
        scenario
    }

    pub(crate) fn refused_for_scope(mut self, needed: &'static str) -> Self {
        self.expect = Expect::Refused {
            status: 403,
            reason: "insufficient_scope",
            scope: Some(needed),
        };
        self
    }

    /// The scenario's token in place of `{token}`.
    pub(crate) fn filled(&self, text: &[u8]) -> Vec<u8> {
        let mark = b"{token}";
        match text.windows(mark.len()).position(|window| window == mark) {
            None => text.to_vec(),
            Some(at) => [
                &text[..at],
                self.token().as_bytes(),
                &text[at + mark.len()..],
            ]
            .concat(),
        }
    }

    /// The request as it goes over the wire.
    pub(crate) fn wire(&self) -> Vec<u8> {
        let Request {
            method,
            target,
            headers,
            body,
        } = &self.request;
        let mut wire = [method.as_bytes(), b" ", &self.filled(target.as_bytes())].concat();
        wire.extend_from_slice(b" HTTP/1.1\r\nhost: service-b.test\r\n");
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("connection"))
        {
            wire.extend_from_slice(b"connection: close\r\n");
        }
        for (name, value) in headers {
            wire.extend_from_slice(name.as_bytes());
            wire.extend_from_slice(b": ");
            wire.extend_from_slice(&self.filled(value));
            wire.extend_from_slice(b"\r\n");
        }
        if !body.is_empty() {
            wire.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        wire.extend_from_slice(b"\r\n");
        wire.extend_from_slice(body.as_bytes());
        wire
    }
}
