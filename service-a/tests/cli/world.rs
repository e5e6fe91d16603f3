//! A world for Service A: an issuer, a Service B, and the real binary between them.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::process::Command;
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{method, path},
};

/// Opaque, in three segments, as IBM Verify's are.
pub(crate) const TOKEN: &str = "cace6X_XbWlkZGxl.c2Vjb25k.dGhpcmQtQyXzUw";
pub(crate) const MASKED: &str = "cace6X_X…QyXzUw";
pub(crate) const CLIENT_ID: &str = "service-a-client";
/// Its form-encoded form differs from itself.
pub(crate) const SECRET: &str = "s3cret:with+signs/%";

/// Issuer and Service B on free ports.
pub(crate) struct World {
    pub(crate) issuer: MockServer,
    pub(crate) service_b: MockServer,
}

impl World {
    /// Both silent.
    pub(crate) async fn empty() -> Self {
        Self {
            issuer: MockServer::start().await,
            service_b: MockServer::start().await,
        }
    }

    /// Both in order: discovery, [`TOKEN`], a granted call.
    pub(crate) async fn sound() -> Self {
        let world = Self::empty().await;
        world.discovery().await;
        world.answer_token(token_answer(TOKEN)).await;
        world.answer_call(granted()).await;
        world
    }

    pub(crate) fn issuer_url(&self) -> String {
        format!("{}/oauth2", self.issuer.uri())
    }

    pub(crate) fn token_url(&self) -> String {
        format!("{}/oauth2/token", self.issuer.uri())
    }

    pub(crate) fn data_url(&self) -> String {
        format!("{}/data", self.service_b.uri())
    }

    pub(crate) async fn discovery(&self) {
        let metadata = json!({"issuer": self.issuer_url(), "token_endpoint": self.token_url()});
        Mock::given(method("GET"))
            .and(path("/oauth2/.well-known/openid-configuration"))
            .respond_with(ResponseTemplate::new(200).set_body_json(metadata))
            .mount(&self.issuer)
            .await;
    }

    pub(crate) async fn answer_token(&self, answer: ResponseTemplate) {
        Mock::given(method("POST"))
            .and(path("/oauth2/token"))
            .respond_with(answer)
            .mount(&self.issuer)
            .await;
    }

    pub(crate) async fn answer_call(&self, answer: ResponseTemplate) {
        Mock::given(method("GET"))
            .and(path("/data"))
            .respond_with(answer)
            .mount(&self.service_b)
            .await;
    }

    /// The binary with good settings and nothing else in its environment.
    pub(crate) fn service_a(&self, arguments: &[&str]) -> Command {
        let mut command = bare(arguments);
        command
            .env("WORKOUT18_ISSUER", self.issuer_url())
            .env("WORKOUT18_CLIENT_ID", CLIENT_ID)
            .env("WORKOUT18_CLIENT_SECRET", SECRET)
            .env("WORKOUT18_SERVICE_B_URL", self.data_url());
        command
    }

    /// Requests at the token endpoint.
    pub(crate) async fn token_requests(&self) -> Vec<Request> {
        let mut requests = received(&self.issuer).await;
        requests.retain(|request| request.url.path() == "/oauth2/token");
        requests
    }

    pub(crate) async fn calls(&self) -> Vec<Request> {
        received(&self.service_b).await
    }
}

pub(crate) async fn received(server: &MockServer) -> Vec<Request> {
    server.received_requests().await.unwrap()
}

/// The binary without any setting.
pub(crate) fn bare(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_service-a"));
    command
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

pub(crate) fn token_answer(token: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({
        "access_token": token,
        "expires_in": 7199,
        "grant_id": "00000000-0000-0000-0000-000000000000",
        "scope": "",
        "token_type": "bearer",
    }))
}

/// Raw, as the order of its members matters.
pub(crate) const DOCUMENT: &str = r#"{"message":"Service B trusted the token","issuer":"https://tenant.verify.ibm.com/oauth2","subject":"service-a-client","aud":["service-a-client"],"scopes":null}"#;

pub(crate) fn granted() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(DOCUMENT, "application/json")
}

/// A refusal as the auth check writes it.
pub(crate) fn refusal(
    status: u16,
    error: &str,
    description: &str,
    reason: &str,
) -> ResponseTemplate {
    let body = json!({"error": error, "error_description": description, "reason": reason});
    ResponseTemplate::new(status).set_body_json(body)
}

pub(crate) fn inactive() -> ResponseTemplate {
    let text = "The issuer says that the access token is not active.";
    refusal(401, "invalid_token", text, "inactive").insert_header(
        "www-authenticate",
        format!(r#"Bearer realm="service-b", error="invalid_token", error_description="{text}""#),
    )
}

/// Everything a program left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Ended {
    /// What `--json` printed: one object on one line.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.stdout.matches('\n').count(), 1, "{}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// No output holds the token, the secret, or a form in which the secret is sent.
    pub(crate) fn tells_no_secret(&self) {
        let basic = "c2VydmljZS1hLWNsaWVudDpzM2NyZXQlM0F3aXRoJTJCc2lnbnMlMkYlMjU=";
        for secret in [TOKEN, SECRET, "s3cret%3Awith%2Bsigns%2F%25", basic] {
            assert!(!self.stdout.contains(secret), "{}", self.stdout);
            assert!(!self.stderr.contains(secret), "{}", self.stderr);
        }
    }
}

/// Longer than any run here may take; only a hang reaches it.
const HANG: Duration = Duration::from_secs(60);

pub(crate) async fn run(mut command: Command) -> Ended {
    let output = tokio::time::timeout(HANG, command.output()).await;
    let ended = Ended::from(output.expect("the program hangs").unwrap());
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    ended
}

/// What this system says when nothing listens.
pub(crate) fn refused_connection() -> String {
    std::net::TcpStream::connect("127.0.0.1:1")
        .unwrap_err()
        .to_string()
}
