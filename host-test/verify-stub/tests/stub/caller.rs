//! Calls the stub byte by byte, since an HTTP library would hide its faults.

use std::{io, net::SocketAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use verify_stub::{StubClient, StubOptions, VerifyStub};

/// Longer than any response takes that is not scripted to wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const FORM: &str = "content-type: application/x-www-form-urlencoded";
pub(crate) const INACTIVE: &str = r#"{"active":false}"#;

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn parse(bytes: Vec<u8>) -> Self {
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Self {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        assert!(self.has("content-type: application/json"), "{}", self.head);
        serde_json::from_str(&self.body).unwrap()
    }

    /// Whether the head has exactly this line.
    pub(crate) fn has(&self, line: &str) -> bool {
        self.head.lines().any(|one| one == line)
    }

    /// `access_token` of a token response.
    pub(crate) fn token(&self) -> String {
        self.json()["access_token"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn start(options: StubOptions) -> VerifyStub {
    VerifyStub::start(options).await.unwrap()
}

pub(crate) fn request(method: &str, url: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let path = url.splitn(4, '/').nth(3).unwrap();
    let length = body.len();
    let mut text = format!(
        "{method} /{path} HTTP/1.1\r\nhost: stub\r\nconnection: close\r\ncontent-length: {length}\r\n"
    );
    for header in headers {
        text += &format!("{header}\r\n");
    }
    (text + "\r\n" + body).into_bytes()
}

/// The introspection call of Service B.
pub(crate) fn introspection(stub: &VerifyStub, token: &str) -> Vec<u8> {
    let basic = basic_of(stub.client("service-b"));
    let body = form(&[("token", token)]);
    request("POST", stub.introspect_url(), &[FORM, &basic], &body)
}

pub(crate) fn basic(id: &str, secret: &str) -> String {
    let encode = |part: &str| form_urlencoded::byte_serialize(part.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(id), encode(secret));
    format!("authorization: Basic {}", STANDARD.encode(pair))
}

pub(crate) fn basic_of(client: &StubClient) -> String {
    basic(&client.id, &client.secret)
}

pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// Everything that arrives on one connection.
pub(crate) async fn send_bytes(to: SocketAddr, request: Vec<u8>) -> io::Result<Vec<u8>> {
    let exchange = async {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(&request).await?;
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await?;
        Ok(response)
    };
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

pub(crate) async fn send(to: SocketAddr, request: Vec<u8>) -> Response {
    Response::parse(send_bytes(to, request).await.unwrap())
}

pub(crate) async fn post(stub: &VerifyStub, url: &str, headers: &[&str], form: &str) -> Response {
    let headers = [&[FORM], headers].concat();
    send(stub.address(), request("POST", url, &headers, form)).await
}

pub(crate) async fn get(stub: &VerifyStub, url: &str) -> Response {
    send(stub.address(), request("GET", url, &[], "")).await
}

/// Introspects as Service B does.
pub(crate) async fn introspect(stub: &VerifyStub, token: &str) -> Response {
    send(stub.address(), introspection(stub, token)).await
}

/// The names of the members, in order.
pub(crate) fn names(document: &Value) -> String {
    let names: Vec<_> = document.as_object().unwrap().keys().cloned().collect();
    names.join(" ")
}
