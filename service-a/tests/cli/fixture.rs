//! An issuer, a Service B, and the real binary between them.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::process::Command;
use wiremock::{
    Mock, MockServer, Request, Respond, ResponseTemplate,
    matchers::{method, path},
};

/// An opaque token of three segments, as IBM Verify issues them.
pub(crate) const TOKEN: &str = "cace6X_XbWlkZGxl.c2Vjb25k.dGhpcmQtQyXzUw";
pub(crate) const MASKED: &str = "cace6X_X…QyXzUw";
/// The first line of the output, once there is a token.
pub(crate) const TOKEN_LINE: &str = "Access token (masked): cace6X_X…QyXzUw\n";
pub(crate) const CLIENT_ID: &str = "service-a-client";
/// Form encoding changes this secret.
pub(crate) const SECRET: &str = "s3cret:with+signs/%";
pub(crate) const ENCODED_SECRET: &str = "s3cret%3Awith%2Bsigns%2F%25";
/// base64 of id and secret, both form-encoded.
pub(crate) const BASIC: &str = "c2VydmljZS1hLWNsaWVudDpzM2NyZXQlM0F3aXRoJTJCc2lnbnMlMkYlMjU=";
/// base64 of id and secret as they are.
pub(crate) const RAW_BASIC: &str = "c2VydmljZS1hLWNsaWVudDpzM2NyZXQ6d2l0aCtzaWducy8l";

/// The path of the metadata that is tried first.
pub(crate) const METADATA_PATH: &str = "/oauth2/.well-known/openid-configuration";

/// Issuer and Service B, on free ports.
pub(crate) struct World {
    pub(crate) issuer: MockServer,
    pub(crate) service_b: MockServer,
}

impl World {
    /// Both respond with 404 only.
    pub(crate) async fn empty() -> Self {
        Self {
            issuer: MockServer::start().await,
            service_b: MockServer::start().await,
        }
    }

    /// An issuer with metadata and this token response.
    pub(crate) async fn with_token_response(response: impl Respond + 'static) -> Self {
        let world = Self::empty().await;
        world.serve_metadata().await;
        world.serve_token(response).await;
        world
    }

    /// An issuer that issues [`TOKEN`], and a Service B with this response.
    pub(crate) async fn with_call_response(response: impl Respond + 'static) -> Self {
        let world = Self::with_token_response(token_response(TOKEN)).await;
        world.serve_call(response).await;
        world
    }

    /// An issuer that issues [`TOKEN`], and a Service B that grants every call.
    pub(crate) async fn working() -> Self {
        Self::with_call_response(granted()).await
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

    pub(crate) async fn serve_metadata(&self) {
        let metadata = json!({"issuer": self.issuer_url(), "token_endpoint": self.token_url()});
        serve(&self.issuer, "GET", METADATA_PATH, json_body(200, metadata)).await;
    }

    pub(crate) async fn serve_token(&self, response: impl Respond + 'static) {
        serve(&self.issuer, "POST", "/oauth2/token", response).await;
    }

    pub(crate) async fn serve_call(&self, response: impl Respond + 'static) {
        serve(&self.service_b, "GET", "/data", response).await;
    }

    /// The binary with valid settings and nothing else in its environment.
    pub(crate) fn service_a(&self, arguments: &[&str]) -> Command {
        let mut command = service_a(&self.issuer_url(), arguments);
        command.env("WORKOUT18_SERVICE_B_URL", self.data_url());
        command
    }

    /// Requests to the token endpoint.
    pub(crate) async fn token_requests(&self) -> Vec<Request> {
        let mut requests = received(&self.issuer).await;
        requests.retain(|request| request.url.path() == "/oauth2/token");
        requests
    }

    pub(crate) async fn calls(&self) -> Vec<Request> {
        received(&self.service_b).await
    }
}

pub(crate) async fn serve(
    server: &MockServer,
    verb: &str,
    at: &str,
    response: impl Respond + 'static,
) {
    let mock = Mock::given(method(verb)).and(path(at));
    mock.respond_with(response).mount(server).await;
}

pub(crate) async fn received(server: &MockServer) -> Vec<Request> {
    server.received_requests().await.unwrap()
}

pub(crate) fn json_body(status: u16, body: Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}

/// A body that is served byte for byte.
pub(crate) fn raw_json(body: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(body, "application/json")
}

pub(crate) fn html(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw("<html></html>", "text/html")
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

/// The binary with an issuer, an id and a secret.
pub(crate) fn service_a(issuer: &str, arguments: &[&str]) -> Command {
    let mut command = bare(arguments);
    command
        .env("WORKOUT18_ISSUER", issuer)
        .env("WORKOUT18_CLIENT_ID", CLIENT_ID)
        .env("WORKOUT18_CLIENT_SECRET", SECRET);
    command
}

pub(crate) fn token_response(token: &str) -> ResponseTemplate {
    let body = json!({
        "access_token": token,
        "expires_in": 7199,
        "grant_id": "00000000-0000-0000-0000-000000000000",
        "scope": "",
        "token_type": "bearer",
    });
    json_body(200, body)
}

/// A raw string, because the order of its members matters.
pub(crate) const DOCUMENT: &str = r#"{"message":"Service B trusted the token","issuer":"https://tenant.verify.ibm.com/oauth2","subject":"service-a-client","aud":["service-a-client"],"scopes":null}"#;

pub(crate) fn granted() -> ResponseTemplate {
    raw_json(DOCUMENT)
}

/// A refusal as the auth check writes it.
pub(crate) fn refusal(
    status: u16,
    error: &str,
    description: &str,
    reason: &str,
) -> ResponseTemplate {
    let body = json!({"error": error, "error_description": description, "reason": reason});
    json_body(status, body)
}

pub(crate) fn inactive() -> ResponseTemplate {
    let text = "The issuer says that the access token is not active.";
    refusal(401, "invalid_token", text, "inactive").insert_header(
        "www-authenticate",
        format!(r#"Bearer realm="service-b", error="invalid_token", error_description="{text}""#),
    )
}

/// A temporary file that is removed at the end of its test.
pub(crate) struct TemporaryFile(PathBuf);

impl TemporaryFile {
    pub(crate) fn new(name: &str, content: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = directory.join(format!("{name}-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Exit code and output of one run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Finished {
    /// Exit code 0 and only standard output.
    pub(crate) fn ok(stdout: impl Into<String>) -> Self {
        Self {
            code: Some(0),
            stdout: stdout.into(),
            stderr: String::new(),
        }
    }

    /// A failure before there was a token: only standard error.
    pub(crate) fn failed(code: i32, stderr: impl Into<String>) -> Self {
        Self {
            code: Some(code),
            stdout: String::new(),
            stderr: stderr.into(),
        }
    }

    /// Wrong settings: each error on its own line, and the hint at the help.
    pub(crate) fn wrong_settings(errors: &[&str]) -> Self {
        let lines = errors.iter().map(|error| format!("Error: {error}\n"));
        let hint = "Run service-a --help for all settings.\n";
        Self::failed(2, lines.collect::<String>() + hint)
    }

    /// What `--json` printed: one object on one line.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.stdout.matches('\n').count(), 1, "{}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// Neither output holds any of these.
    pub(crate) fn holds_none_of(&self, needles: &[&str]) {
        for needle in needles {
            assert!(!self.stdout.contains(needle), "{needle}: {}", self.stdout);
            assert!(!self.stderr.contains(needle), "{needle}: {}", self.stderr);
        }
    }

    /// Neither output holds the token, the secret, or a form in which the secret is sent.
    pub(crate) fn holds_no_secret(&self) {
        self.holds_none_of(&[TOKEN, SECRET, ENCODED_SECRET, BASIC]);
    }
}

/// Longer than any run takes; only a hang reaches it.
const HANG: Duration = Duration::from_secs(60);

pub(crate) async fn run(mut command: Command) -> Finished {
    let output = tokio::time::timeout(HANG, command.output()).await;
    let finished = Finished::from(output.expect("the program hangs").unwrap());
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    finished
}

/// What this system says if nothing listens.
pub(crate) fn refused_connection() -> String {
    std::net::TcpStream::connect("127.0.0.1:1")
        .unwrap_err()
        .to_string()
}
