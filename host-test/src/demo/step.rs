//! What is shown, and what has to come out.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use token_check::{Policy, Reason};
use tokio::{process::Command, time::timeout};

use super::call;
use verify_stub::{Endpoint, SignatureFault, SigningAlgorithm, TokenSpec, VerifyStub};

/// Longer than Service A's own timeouts.
const PATIENCE: Duration = Duration::from_secs(30);

/// The message of Service B.
const TRUSTED: &str = "Service B trusted the token";

/// How the issuer signs.
pub(super) const ALGORITHM: SigningAlgorithm = SigningAlgorithm::Es256;

fn jwt() -> TokenSpec {
    TokenSpec::default().client("service-a").jwt(ALGORITHM)
}

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    ServiceA,
    NoToken,
    RevokedToken,
    OtherAudience,
    Jwt,
    InvalidSignature,
    RotatedKey,
    IssuerStopped,
}

impl Step {
    pub(super) const ALL: [Self; 8] = [
        Self::ServiceA,
        Self::NoToken,
        Self::RevokedToken,
        Self::OtherAudience,
        Self::Jwt,
        Self::InvalidSignature,
        Self::RotatedKey,
        Self::IssuerStopped,
    ];

    /// For machines.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ServiceA => "service_a",
            Self::NoToken => "no_token",
            Self::RevokedToken => "revoked_token",
            Self::OtherAudience => "other_audience",
            Self::Jwt => "jwt",
            Self::InvalidSignature => "invalid_signature",
            Self::RotatedKey => "rotated_key",
            Self::IssuerStopped => "issuer_stopped",
        }
    }

    /// For people.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::ServiceA => "Service A gets a token and calls Service B",
            Self::NoToken => "The same call without a token",
            Self::RevokedToken => "With a token that was revoked",
            Self::OtherAudience => "With a token for another audience",
            Self::Jwt => "With a JWT, which is verified here",
            Self::InvalidSignature => "With a JWT whose claims were changed",
            Self::RotatedKey => {
                "With a JWT signed with a key that the issuer has just begun to use"
            }
            Self::IssuerStopped => "With a good token while the issuer is stopped",
        }
    }

    pub(super) fn number(self) -> usize {
        let before = Self::ALL.iter().take_while(|other| **other != self);
        before.count() + 1
    }
}

/// What came out of a scene.
#[derive(Default, Serialize)]
pub(super) struct Outcome {
    /// What Service A printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) challenge: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retry_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    /// How often the issuer was called about the token.
    #[serde(rename = "issuer_asked", skip_serializing_if = "Option::is_none")]
    pub(super) issuer_calls: Option<u64>,
    /// What Service B said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    /// What is not as expected, each a sentence.
    pub(super) problems: Vec<String>,
}

impl Outcome {
    fn expect<T: PartialEq>(
        &mut self,
        what: &str,
        found: &T,
        expected: &T,
        shown: impl Fn(&T) -> String,
    ) {
        if found != expected {
            self.problems.push(format!(
                "expected {what} {}, got {}",
                shown(expected),
                shown(found)
            ));
        }
    }
}

/// Everything that is running.
pub(super) struct Stage<'a> {
    pub(super) stub: &'a VerifyStub,
    pub(super) policy: &'a Policy,
    pub(super) service_a: &'a Path,
    pub(super) service_b: String,
}

impl Stage<'_> {
    /// Plays one scene. What cannot be tried is a problem of its own.
    pub(super) async fn play(&self, step: Step) -> Outcome {
        let played = match step {
            Step::ServiceA => self.call_as_service_a().await,
            Step::NoToken => self.refused(None, Reason::NoCredentials, 0).await,
            Step::RevokedToken => {
                let token = self.stub.issue(TokenSpec::default().client("service-a"));
                self.stub.revoke(&token);
                self.refused(Some(&token), Reason::Inactive, 1).await
            }
            Step::OtherAudience => {
                let spec = TokenSpec::default().client("service-a");
                let token = self.stub.issue(spec.audience(["another-service"]));
                self.refused(Some(&token), Reason::WrongAudience, 1).await
            }
            Step::Jwt => self.granted(&self.stub.issue(jwt())).await,
            Step::InvalidSignature => {
                let forged = jwt().signature_fault(SignatureFault::OtherClaims);
                let token = self.stub.issue(forged);
                self.refused(Some(&token), Reason::InvalidSignature, 0)
                    .await
            }
            Step::RotatedKey => {
                self.stub.rotate_key(ALGORITHM);
                self.granted(&self.stub.issue(jwt())).await
            }
            Step::IssuerStopped => {
                let token = self.stub.issue(TokenSpec::default().client("service-a"));
                self.stub.down().await;
                let reason = Reason::IssuerUnreachable;
                self.refused(Some(&token), reason, 0).await
            }
        };
        played.unwrap_or_else(|error| Outcome {
            problems: vec![format!("{error:#}")],
            ..Outcome::default()
        })
    }

    /// The real program, with the environment that the README names.
    async fn call_as_service_a(&self) -> Result<Outcome> {
        let client = self.stub.client("service-a");
        let mut command = Command::new(self.service_a);
        for (name, _) in std::env::vars_os() {
            // What this shell exports is not meant for the demo.
            if name.to_string_lossy().starts_with("WORKOUT18_") {
                command.env_remove(name);
            }
        }
        let child = command
            .env("WORKOUT18_ISSUER", self.stub.issuer())
            .env("WORKOUT18_CLIENT_ID", &client.id)
            .env("WORKOUT18_CLIENT_SECRET", &client.secret)
            .env("WORKOUT18_SERVICE_B_URL", &self.service_b)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.service_a.display()))?;
        let ended = timeout(PATIENCE, child.wait_with_output()).await;
        let ended = ended
            .with_context(|| format!("Service A has not ended after {PATIENCE:?}"))?
            .context("cannot wait for Service A")?;
        let printed = String::from_utf8_lossy(&ended.stdout).into_owned();
        let complaints = String::from_utf8_lossy(&ended.stderr);

        let mut outcome = Outcome::default();
        if !ended.status.success() {
            outcome
                .problems
                .push(format!("Service A ended with {}", ended.status));
        }
        let token = self.token_of_service_a();
        let expected = self.expected_output(token.as_deref().unwrap_or_default());
        if printed != expected {
            outcome
                .problems
                .push(format!("expected this output:\n{}", expected.trim_end()));
        }
        let calls = token.map_or(0, |token| self.stub.introspections_of(&token));
        outcome.issuer_calls = Some(calls);
        outcome.expect("introspection calls:", &calls, &1, u64::to_string);
        outcome.output = Some(printed + complaints.as_ref());
        Ok(outcome)
    }

    /// The token in the last introspection call: Service A shows its own only in part.
    fn token_of_service_a(&self) -> Option<String> {
        let requests = self.stub.requests();
        let mut calls = requests.iter().rev();
        calls
            .find(|request| request.endpoint == Endpoint::Introspect)
            .and_then(|request| request.parameter("token"))
            .map(str::to_owned)
    }

    fn expected_output(&self, token: &str) -> String {
        let (issuer, id) = (self.stub.issuer(), &self.stub.client("service-a").id);
        let first: String = token.chars().take(8).collect();
        let last: String = token
            .chars()
            .skip(token.chars().count().saturating_sub(6))
            .collect();
        format!(
            "Access token (masked): {first}…{last}\nService B response:\n  \
             message: {TRUSTED}\n  issuer: {issuer}\n  subject: {id}\n  \
             aud: ['{id}']\n  scopes: None\n"
        )
    }

    /// A call that has to be granted without a question about the token.
    async fn granted(&self, token: &str) -> Result<Outcome> {
        let answer = call::get(&self.service_b, Some(token)).await?;
        let calls = self.stub.introspections_of(token);
        let mut outcome = Outcome {
            status: Some(answer.status.as_u16()),
            reason: answer.member("reason"),
            message: answer.member("message"),
            issuer_calls: Some(calls),
            ..Outcome::default()
        };
        let (status, trusted) = (answer.status.as_u16(), Some(TRUSTED.to_owned()));
        outcome.expect("status", &status, &200, u16::to_string);
        outcome.expect("message", &answer.member("message"), &trusted, |message| {
            message.clone().unwrap_or_else(|| "none".to_owned())
        });
        outcome.expect("introspection calls:", &calls, &0, u64::to_string);
        Ok(outcome)
    }

    /// A call that has to be refused for this reason, with the answer that the decision core gives
    /// for it.
    async fn refused(&self, token: Option<&str>, reason: Reason, calls: u64) -> Result<Outcome> {
        let answer = call::get(&self.service_b, token).await?;
        let mut outcome = Outcome {
            status: Some(answer.status.as_u16()),
            challenge: answer.header(&WWW_AUTHENTICATE),
            retry_after: answer.header(&RETRY_AFTER),
            reason: answer.member("reason"),
            description: answer.member("error_description"),
            ..Outcome::default()
        };
        let expected = token_check::Response::for_reason(reason, Some(self.policy));
        let status = answer.status.as_u16();
        outcome.expect("status", &status, &expected.status, u16::to_string);
        for header in [WWW_AUTHENTICATE, RETRY_AFTER] {
            let expected = expected.headers.iter().find(|(name, _)| header == *name);
            let expected = expected.map(|(_, value)| value.clone());
            outcome.expect(
                header.as_str(),
                &answer.header(&header),
                &expected,
                |value| value.clone().unwrap_or_else(|| "none".to_owned()),
            );
        }
        outcome.expect("body", &answer.body, &expected.body, String::clone);
        if let Some(token) = token {
            let count = self.stub.introspections_of(token);
            outcome.issuer_calls = Some(count);
            outcome.expect("introspection calls:", &count, &calls, u64::to_string);
        }
        Ok(outcome)
    }
}
