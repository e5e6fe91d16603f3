//! The stub of IBM Verify: what it answers, how it fails when told to, and that it stays small.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do"
)]

use std::{
    io,
    net::SocketAddr,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{HeaderValue, StatusCode};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use verify_stub::{
    Endpoint, Provider, Reaction, StubAnswer, StubClient, StubOptions, StubTls, TokenSpec,
    VerifyStub,
};

/// Longer than any answer takes that is not scripted to wait.
const PATIENCE: Duration = Duration::from_secs(10);

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert!(
            self.has("content-type: application/json"),
            "no JSON: {}",
            self.head
        );
        serde_json::from_str(&self.body).unwrap()
    }

    /// Whether the head has exactly this line.
    fn has(&self, line: &str) -> bool {
        self.head.lines().any(|one| one == line)
    }
}

fn path(url: &str) -> &str {
    url.splitn(4, '/').nth(3).unwrap()
}

fn request(method: &str, url: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let mut text = format!(
        "{method} /{} HTTP/1.1\r\nhost: stub\r\nconnection: close\r\n",
        path(url)
    );
    if !body.is_empty() {
        text += &format!("content-length: {}\r\n", body.len());
    }
    for header in headers {
        text += &format!("{header}\r\n");
    }
    (text + "\r\n" + body).into_bytes()
}

const FORM: &str = "content-type: application/x-www-form-urlencoded";

fn basic(id: &str, secret: &str) -> String {
    let encode = |part: &str| form_urlencoded::byte_serialize(part.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(id), encode(secret));
    format!("authorization: Basic {}", STANDARD.encode(pair))
}

fn basic_of(client: &StubClient) -> String {
    basic(&client.id, &client.secret)
}

/// Everything that comes back on one connection.
async fn bytes(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &[u8],
) -> io::Result<Vec<u8>> {
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

async fn send_bytes(to: SocketAddr, request: Vec<u8>) -> io::Result<Vec<u8>> {
    let stream = TcpStream::connect(to).await?;
    let answer = tokio::time::timeout(PATIENCE, bytes(stream, &request));
    answer
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn parse(answer: Vec<u8>) -> Answer {
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

async fn send(stub: &VerifyStub, request: Vec<u8>) -> Answer {
    parse(send_bytes(stub.address(), request).await.unwrap())
}

async fn post(stub: &VerifyStub, url: &str, headers: &[&str], form: &str) -> Answer {
    let headers: Vec<_> = [FORM].iter().chain(headers).copied().collect();
    send(stub, request("POST", url, &headers, form)).await
}

async fn get(stub: &VerifyStub, url: &str) -> Answer {
    send(stub, request("GET", url, &[], "")).await
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// Asks as Service B does.
async fn ask(stub: &VerifyStub, token: &str) -> Answer {
    let basic = basic_of(stub.client("service-b"));
    post(
        stub,
        stub.introspect_url(),
        &[&basic],
        &form(&[("token", token)]),
    )
    .await
}

fn question(stub: &VerifyStub, token: &str) -> Vec<u8> {
    let basic = basic_of(stub.client("service-b"));
    request(
        "POST",
        stub.introspect_url(),
        &[FORM, &basic],
        &form(&[("token", token)]),
    )
}

async fn start() -> VerifyStub {
    VerifyStub::start(StubOptions::default()).await.unwrap()
}

fn keys(document: &Value) -> Vec<&str> {
    document
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

const INACTIVE: &str = r#"{"active":false}"#;

#[tokio::test]
async fn a_client_gets_a_token_and_introspection_tells_of_it_in_both_families() {
    let stub = start().await;
    let client = stub.client("service-a").clone();
    let base = format!("http://{}", stub.address());
    let new_members = vec![
        "active",
        "aud",
        "client_id",
        "exp",
        "grant_id",
        "grant_type",
        "iat",
        "iss",
        "sub",
        "token_type",
    ];
    let old_members = vec![
        "active",
        "aud",
        "client_id",
        "entitlements",
        "exp",
        "ext",
        "grant_id",
        "grant_type",
        "iat",
        "iss",
        "realmName",
        "sub",
        "token_type",
        "uniqueSecurityName",
    ];
    for (provider, issuer, endpoints, kind, members, audience) in [
        (
            Provider::New,
            "/oauth2",
            "/oauth2",
            "bearer",
            new_members,
            json!([client.id]),
        ),
        (
            Provider::Old,
            "/oidc/endpoint/default",
            "/v1.0/endpoint/default",
            "Bearer",
            old_members,
            json!(client.id),
        ),
    ] {
        let urls = stub.urls(provider).clone();
        assert_eq!(urls.issuer, format!("{base}{issuer}"));
        assert_eq!(urls.token, format!("{base}{endpoints}/token"));
        let answer = post(
            &stub,
            &urls.token,
            &[&basic_of(&client)],
            "grant_type=client_credentials",
        )
        .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.has("cache-control: no-store") && answer.has("pragma: no-cache"));
        let issued = answer.json();
        assert_eq!(
            keys(&issued),
            [
                "access_token",
                "expires_in",
                "grant_id",
                "scope",
                "token_type"
            ]
        );
        assert_eq!(issued["expires_in"], 7199);
        assert_eq!(issued["scope"], "");
        assert_eq!(issued["token_type"], kind);
        let token = issued["access_token"].as_str().unwrap();

        let answer = post(
            &stub,
            &urls.introspect,
            &[&basic_of(stub.client("service-b"))],
            &form(&[("token", token)]),
        )
        .await;
        assert_eq!(answer.status, 200);
        let about = answer.json();
        assert_eq!(keys(&about), members);
        assert_eq!(about["active"], true);
        assert_eq!(about["aud"], audience);
        assert_eq!(about["client_id"], json!(client.id));
        assert_eq!(about["sub"], json!(client.id));
        assert_eq!(about["iss"], json!(urls.issuer));
        assert_eq!(about["grant_type"], "client_credentials");
        assert_eq!(about["grant_id"], issued["grant_id"]);
        assert_eq!(about["token_type"], kind);
        let (exp, iat) = (about["exp"].as_i64(), about["iat"].as_i64());
        assert_eq!(exp.unwrap() - iat.unwrap(), 7199);
        assert_eq!(stub.questions_about(token), 1);
    }
}

#[tokio::test]
async fn a_token_is_three_base64url_segments_of_which_the_first_is_not_json() {
    let stub = start().await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..1000 {
        let token = stub.issue(TokenSpec::default());
        let parts: Vec<_> = token
            .split('.')
            .map(|part| URL_SAFE_NO_PAD.decode(part).unwrap())
            .collect();
        assert_eq!(
            parts.iter().map(Vec::len).collect::<Vec<_>>(),
            [32, 64, 15],
            "{token}"
        );
        assert!(serde_json::from_slice::<Value>(&parts[0]).is_err());
        assert!(seen.insert(token));
    }
}

#[tokio::test]
async fn rfc6749_s2_3_1_credentials_go_in_the_header_form_encoded_or_in_the_body() {
    let awkward = StubClient::new("awkward").with_credentials("id:with %+ä", "s:e c+r&e=t%41ö");
    let stub = VerifyStub::start(StubOptions {
        clients: vec![awkward.clone(), StubClient::new("service-b")],
        ..StubOptions::default()
    })
    .await
    .unwrap();
    let grant = ("grant_type", "client_credentials");
    let posted = form(&[
        grant,
        ("client_id", &awkward.id),
        ("client_secret", &awkward.secret),
    ]);
    let in_header = basic_of(&awkward);
    let lower = in_header.replace("Basic", "basic");
    let bare = form(&[grant]);
    for (headers, body) in [
        (vec![in_header.as_str()], bare.as_str()),
        (vec![lower.as_str()], bare.as_str()),
        (vec![], posted.as_str()),
    ] {
        let answer = post(&stub, stub.token_url(), &headers, body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        let body = format!("{body}&{}", form(&[("token", &token)]));
        for (url, expected) in [
            (stub.introspect_url(), "\"active\":true"),
            (stub.revoke_url(), ""),
        ] {
            let answer = post(&stub, url, &headers, &body).await;
            assert_eq!(answer.status, 200);
            assert!(answer.body.contains(expected), "{}", answer.body);
        }
        assert_eq!(ask(&stub, &token).await.body, INACTIVE);
    }

    let raw = format!(
        "authorization: Basic {}",
        STANDARD.encode(format!("{}:{}", awkward.id, awkward.secret))
    );
    let wrong = basic(&awkward.id, "wrong");
    let unknown = basic("unknown", &awkward.secret);
    let wrong_post = posted.replace("client_secret=", "client_secret=x");
    let no_secret = form(&[grant, ("client_id", &awkward.id)]);
    for (headers, body) in [
        (vec![raw.as_str()], bare.as_str()),
        (vec![wrong.as_str()], bare.as_str()),
        (vec![unknown.as_str()], bare.as_str()),
        (vec!["authorization: Basic"], bare.as_str()),
        (vec!["authorization: Basic !!!"], bare.as_str()),
        (vec!["authorization: Bearer x"], bare.as_str()),
        (vec![in_header.as_str(), in_header.as_str()], bare.as_str()),
        (vec![], wrong_post.as_str()),
        (vec![], no_secret.as_str()),
        (vec![], bare.as_str()),
    ] {
        let answer = post(&stub, stub.token_url(), &headers, body).await;
        assert_eq!(answer.status, 401, "{headers:?} {body}");
        assert_eq!(answer.json()["error"], "invalid_client");
        assert_eq!(
            answer.has(r#"www-authenticate: Basic realm="verify-stub""#),
            !headers.is_empty(),
            "{}",
            answer.head
        );
        for url in [stub.introspect_url(), stub.revoke_url()] {
            let answer = post(&stub, url, &headers, &format!("{body}&token=x")).await;
            assert_eq!(answer.status, 401);
            let document = answer.json();
            assert_eq!(keys(&document), ["error", "error_description"]);
            assert_eq!(document["error"], "request_unauthorized");
            let text = document["error_description"].as_str().unwrap();
            assert!(text.starts_with("CSIAQ0155E "), "{text}");
        }
    }

    for url in [stub.token_url(), stub.introspect_url(), stub.revoke_url()] {
        let answer = post(&stub, url, &[&in_header], &posted).await;
        assert_eq!(answer.status, 400, "two ways at once");
        assert_eq!(answer.json()["error"], "invalid_request");
    }
}

#[tokio::test]
async fn rfc6749_s4_4_grant_type_and_scope_are_checked() {
    let mut limited = StubClient::new("limited");
    limited.scopes = Some(vec!["read".to_owned(), "write".to_owned()]);
    limited.audience = vec!["service-b".to_owned(), "other".to_owned()];
    let mut options = StubOptions::default();
    options.clients.push(limited);
    let stub = VerifyStub::start(options).await.unwrap();
    for (client, body, status, field, value) in [
        ("service-a", "scope=read", 400, "error", "invalid_request"),
        (
            "service-a",
            "grant_type=password",
            400,
            "error",
            "unsupported_grant_type",
        ),
        (
            "service-a",
            "grant_type=client_credentials&scope=a+b:c",
            200,
            "scope",
            "a b:c",
        ),
        (
            "service-a",
            "grant_type=client_credentials&scope=",
            200,
            "scope",
            "",
        ),
        (
            "service-a",
            "grant_type=client_credentials&scope=a++b",
            400,
            "error",
            "invalid_scope",
        ),
        (
            "service-a",
            "grant_type=client_credentials&scope=a%22",
            400,
            "error",
            "invalid_scope",
        ),
        (
            "limited",
            "grant_type=client_credentials&scope=write",
            200,
            "scope",
            "write",
        ),
        (
            "limited",
            "grant_type=client_credentials&scope=write+admin",
            400,
            "error",
            "invalid_scope",
        ),
        (
            "limited",
            "grant_type=client_credentials&scope=read&scope=write",
            400,
            "error",
            "invalid_request",
        ),
    ] {
        let basic = basic_of(stub.client(client));
        let answer = post(&stub, stub.token_url(), &[&basic], body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        assert_eq!(answer.json()[field], value, "{body}");
    }
    let basic = basic_of(stub.client("limited"));
    let answer = post(
        &stub,
        stub.token_url(),
        &[&basic],
        "grant_type=client_credentials&scope=read",
    )
    .await;
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let about = ask(&stub, &token).await.json();
    assert_eq!(about["scope"], "read");
    assert_eq!(about["aud"], json!(["service-b", "other"]));
}

#[tokio::test]
async fn rfc7662_s2_2_unknown_expired_and_revoked_tokens_are_inactive_and_say_no_more() {
    let stub = start().await;
    let revoked = stub.issue(TokenSpec::default());
    stub.revoke(&revoked);
    let expired = stub.issue(TokenSpec::default().expires_in(-1));
    let just_expired = stub.issue(TokenSpec::default().expires_in(0));
    stub.register("registered", &json!({"active": true}));
    stub.revoke("registered");
    let unknown = "a".repeat(100_000);
    for token in [
        &revoked,
        &expired,
        &just_expired,
        "registered",
        "unknown",
        "",
        &unknown,
    ] {
        let answer = ask(&stub, token).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, INACTIVE));
        assert_eq!(stub.questions_about(token), 1);
    }
    let basic = basic_of(stub.client("service-b"));
    let answer = post(&stub, stub.introspect_url(), &[&basic], "tokens=x").await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"], "invalid_request");
    let answer = post(&stub, stub.introspect_url(), &[&basic], "token=x&token=y").await;
    assert_eq!(answer.status, 400);
    let answer = send(
        &stub,
        request(
            "POST",
            stub.introspect_url(),
            &[&basic, "content-type: application/json"],
            "{}",
        ),
    )
    .await;
    assert_eq!(answer.status, 400);
    let answer = get(&stub, stub.introspect_url()).await;
    assert_eq!(answer.status, 405);
    assert!(answer.has("allow: POST"));
}

#[tokio::test]
async fn tokens_end_when_their_lifetime_ends() {
    let stub = VerifyStub::start(StubOptions {
        token_lifetime: Duration::from_secs(2),
        ..StubOptions::default()
    })
    .await
    .unwrap();
    let token = stub.issue(TokenSpec::default());
    let other = stub.issue(TokenSpec::default().expires_in(100));
    assert_eq!(ask(&stub, &token).await.json()["active"], true);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(ask(&stub, &token).await.body, INACTIVE);
    assert_eq!(ask(&stub, &other).await.json()["active"], true);
}

#[tokio::test]
async fn rfc7009_a_client_revokes_its_own_tokens_and_no_others() {
    let stub = start().await;
    let token = stub.issue(TokenSpec::default().client("service-a"));
    let body = form(&[("token", &token), ("token_type_hint", "access_token")]);
    let (a, b) = (
        basic_of(stub.client("service-a")),
        basic_of(stub.client("service-b")),
    );
    let answer = post(&stub, stub.revoke_url(), &[&b], &body).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"], "unauthorized_client");
    assert_eq!(ask(&stub, &token).await.json()["active"], true);
    for _ in 0..2 {
        let answer = post(&stub, stub.revoke_url(), &[&a], &body).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
        assert_eq!(ask(&stub, &token).await.body, INACTIVE);
    }
    let answer = post(&stub, stub.revoke_url(), &[&a], "token=unknown").await;
    assert_eq!(answer.status, 200);
    let answer = post(&stub, stub.revoke_url(), &[&a], "").await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn only_own_tokens_makes_the_tokens_of_others_inactive() {
    let stub = VerifyStub::start(StubOptions {
        only_own_tokens: true,
        ..StubOptions::default()
    })
    .await
    .unwrap();
    let (a, b) = (
        stub.issue(TokenSpec::default().client("service-a")),
        stub.issue(TokenSpec::default().client("service-b")),
    );
    assert_eq!(ask(&stub, &a).await.body, INACTIVE);
    assert_eq!(ask(&stub, &b).await.json()["active"], true);
}

#[tokio::test]
async fn discovery_names_the_endpoints_and_the_keys_are_a_valid_set() {
    let stub = start().await;
    for provider in [Provider::New, Provider::Old] {
        let urls = stub.urls(provider);
        assert_eq!(
            urls.discovery,
            format!("{}/.well-known/openid-configuration", urls.issuer)
        );
        let answer = get(&stub, &urls.discovery).await;
        assert_eq!(answer.status, 200);
        let document = answer.json();
        for (member, expected) in [
            ("issuer", &urls.issuer),
            ("token_endpoint", &urls.token),
            ("introspection_endpoint", &urls.introspect),
            ("revocation_endpoint", &urls.revoke),
            ("jwks_uri", &urls.jwks),
        ] {
            assert_eq!(document[member], json!(expected), "{member}");
        }
        assert_eq!(
            document["introspection_endpoint_auth_methods_supported"],
            json!(["client_secret_basic", "client_secret_post"])
        );
        let answer = get(&stub, &urls.jwks).await;
        assert_eq!((answer.status, answer.json()), (200, json!({"keys": []})));
        let answer = send(&stub, request("POST", &urls.jwks, &[FORM], "")).await;
        assert_eq!(answer.status, 405);
        assert!(answer.has("allow: GET, HEAD"));
    }
}

#[tokio::test]
async fn a_wrong_url_is_an_html_page() {
    let stub = start().await;
    let base = format!("http://{}", stub.address());
    for path in [
        "/",
        "/oauth2",
        "/oauth2/",
        "/oauth2/introspection",
        "/oauth2/introspect/",
        "/OAuth2/introspect",
        "/oidc/endpoint/default/introspect",
        "/v1.0/endpoint/default/.well-known/openid-configuration",
        "/.well-known/openid-configuration",
        "/_stub/counters",
    ] {
        let answer = post(&stub, &format!("{base}{path}"), &[], "token=x").await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.has("content-type: text/html;charset=UTF-8"));
        assert!(answer.body.starts_with("<!DOCTYPE html>"));
    }
    assert_eq!(stub.counters().other, 10);
    assert_eq!(stub.counters().introspect, 0);
}

#[tokio::test]
async fn a_token_can_be_said_anything_about() {
    let stub = start().await;
    let token = stub.issue(
        TokenSpec::default()
            .client("service-b")
            .audience(["x", "y"])
            .scope("read write")
            .member("exp", 12)
            .member("nbf", Value::Null)
            .member("cnf", json!({"jkt": "k"}))
            .without("sub")
            .without("iat"),
    );
    let about = ask(&stub, &token).await.json();
    assert_eq!(
        keys(&about),
        [
            "active",
            "aud",
            "client_id",
            "cnf",
            "exp",
            "grant_id",
            "grant_type",
            "iss",
            "nbf",
            "scope",
            "token_type"
        ]
    );
    assert_eq!(about["aud"], json!(["x", "y"]));
    assert_eq!(about["scope"], "read write");
    assert_eq!(about["exp"], 12);
    assert_eq!(about["nbf"], Value::Null);
    assert_eq!(about["client_id"], json!(stub.client("service-b").id));

    let twice = r#"{"active":false,"active":true}"#;
    let token = stub.issue(TokenSpec::default().document(twice));
    assert_eq!(ask(&stub, &token).await.body, twice);
    stub.register("t", &json!({"active": "true"}));
    assert_eq!(ask(&stub, "t").await.body, r#"{"active":"true"}"#);
    stub.register_bytes("t", "nonsense");
    assert_eq!(ask(&stub, "t").await.body, "nonsense");
}

#[tokio::test]
async fn a_script_is_followed_call_by_call_and_its_last_reaction_repeats() {
    let stub = start().await;
    let token = stub.issue(TokenSpec::default());
    stub.script(
        &token,
        vec![
            StubAnswer::new(StatusCode::SERVICE_UNAVAILABLE).into(),
            Reaction::normal(),
            StubAnswer::too_many_requests(7).into(),
        ],
    );
    for expected in [503, 200, 429, 429] {
        assert_eq!(ask(&stub, &token).await.status, expected);
    }
    assert!(ask(&stub, &token).await.has("retry-after: 7"));
    let other = stub.issue(TokenSpec::default());
    assert_eq!(ask(&stub, &other).await.status, 200);

    stub.script_endpoint(
        Endpoint::Introspect,
        vec![StubAnswer::request_unauthorized().into()],
    );
    assert_eq!(ask(&stub, &other).await.status, 401);
    assert_eq!(
        ask(&stub, &token).await.status,
        429,
        "the token's script wins"
    );
    stub.script(&token, vec![]);
    assert_eq!(ask(&stub, &token).await.status, 401);
    stub.clear_scripts();
    assert_eq!(ask(&stub, &token).await.json()["active"], true);
    assert_eq!(stub.questions_about(&token), 8);

    for (endpoint, url) in [
        (Endpoint::Token, stub.token_url()),
        (Endpoint::Revoke, stub.revoke_url()),
        (Endpoint::Discovery, &stub.urls(Provider::Old).discovery),
        (Endpoint::Jwks, &stub.urls(Provider::New).jwks),
    ] {
        stub.script_endpoint(endpoint, vec![StubAnswer::wrong_url().into()]);
        assert_eq!(get(&stub, url).await.status, 404, "{endpoint}");
    }
}

#[tokio::test]
async fn every_way_to_fail_is_what_it_says() {
    let stub = start().await;
    let to = stub.address();
    let token = stub.issue(TokenSpec::default());
    let raw = async |reaction: Reaction| {
        stub.script(&token, vec![reaction]);
        send_bytes(to, question(&stub, &token)).await
    };

    let answer = raw(Reaction::drop_connection()).await.unwrap();
    assert_eq!(answer, b"", "closed without a word");
    let error = raw(Reaction::reset()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

    let began = Instant::now();
    let answer = raw(Reaction::normal().after(Duration::from_millis(300))).await;
    assert_eq!(parse(answer.unwrap()).json()["active"], true);
    assert!(began.elapsed() >= Duration::from_millis(300));

    stub.script(&token, vec![Reaction::hang()]);
    let hanging = send_bytes(to, question(&stub, &token));
    let waited = tokio::time::timeout(Duration::from_millis(300), hanging).await;
    assert!(waited.is_err(), "it answered");

    let answer = parse(raw(Reaction::cut(None, 5)).await.unwrap());
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"act"#));
    let answer = raw(Reaction::cut(StubAnswer::document("0123456789"), 3)).await;
    let answer = parse(answer.unwrap());
    assert!(answer.has("content-length: 10"), "{}", answer.head);
    assert_eq!(answer.body, "012");
    let answer = raw(Reaction::cut(StubAnswer::document("0123456789"), 0)).await;
    let answer = parse(answer.unwrap());
    assert!(answer.has("content-length: 10"), "{}", answer.head);
    assert_eq!(answer.body, "");

    let began = Instant::now();
    let every = Duration::from_millis(30);
    let answer = raw(Reaction::drip(StubAnswer::inactive(), every)).await;
    assert_eq!(parse(answer.unwrap()).body, INACTIVE);
    assert!(began.elapsed() >= every * 16, "16 bytes");

    let answer = parse(raw(Reaction::huge(100_001)).await.unwrap());
    assert!(answer.has("transfer-encoding: chunked"));
    assert!(answer.has("content-type: application/json"));
    let spaces = answer.body.bytes().filter(|byte| *byte == b' ').count();
    assert_eq!(spaces, 100_001);

    let answer = raw(Reaction::raw(&b"\xff\xfeSMTP\r\n"[..])).await.unwrap();
    assert_eq!(answer, b"\xff\xfeSMTP\r\n");
    let began = Instant::now();
    let answer = raw(Reaction::raw_drip("HTTP/1.1 2", every)).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 2");
    assert!(began.elapsed() >= every * 10, "10 bytes");

    let location = HeaderValue::from_static("http://127.0.0.1:1/");
    let answer = raw(StubAnswer::redirect(StatusCode::TEMPORARY_REDIRECT, location).into()).await;
    let answer = parse(answer.unwrap());
    assert_eq!(answer.status, 307);
    assert!(answer.has("location: http://127.0.0.1:1/"));

    let answer = raw(StubAnswer::text(StatusCode::OK, "text/html", "<p>").into()).await;
    let answer = parse(answer.unwrap());
    assert!(answer.has("content-type: text/html"));

    stub.clear_scripts();
    assert_eq!(ask(&stub, &token).await.json()["active"], true);
}

#[tokio::test]
async fn the_words_of_the_control_endpoint_mean_what_the_help_says() {
    for word in [
        "normal",
        "delay:3",
        "status:500",
        "refuse",
        "page",
        "redirect:http://x/",
        "busy:3",
        "drop",
        "reset",
        "hang",
        "cut:3",
        "drip:3",
        "huge:3",
        "raw:text",
    ] {
        let reaction = word.parse::<Reaction>();
        assert!(reaction.is_ok(), "{word}: {reaction:?}");
    }
    for word in [
        "",
        "Normal",
        "delay",
        "delay:x",
        "status:100",
        "status:600",
        "status:99999",
        "hang:1",
        "cut:-1",
        "redirect:a\nb",
        "explode",
    ] {
        assert!(word.parse::<Reaction>().is_err(), "{word}");
    }
}

#[tokio::test]
async fn faults_can_be_switched_on_by_hand_where_that_is_allowed() {
    let stub = VerifyStub::start(StubOptions {
        control: true,
        ..StubOptions::default()
    })
    .await
    .unwrap();
    let base = format!("http://{}/_stub", stub.address());
    let token = stub.issue(TokenSpec::default());
    let script = format!("{base}/script");
    let answer = post(
        &stub,
        &script,
        &[],
        "endpoint=introspect&do=status:500&do=normal",
    )
    .await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "scripted\n"));
    assert_eq!(ask(&stub, &token).await.status, 500);
    assert_eq!(ask(&stub, &token).await.status, 200);
    let by_token = form(&[("token", &token), ("do", "refuse")]);
    assert_eq!(post(&stub, &script, &[], &by_token).await.status, 200);
    assert_eq!(ask(&stub, &token).await.status, 401);
    let answer = post(&stub, &format!("{base}/clear"), &[], "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(ask(&stub, &token).await.status, 200);

    for (wrong, text) in [
        ("", "say which calls: either endpoint or token\n"),
        (
            "endpoint=token&token=x",
            "say which calls: either endpoint or token\n",
        ),
        (
            "endpoint=x",
            "there is no such endpoint: token, introspect, revoke, discovery, jwks, other are\n",
        ),
        (
            "endpoint=token&do=cut",
            "cut needs a number, as in cut:100\n",
        ),
        (
            "endpoint=token&to=cut",
            "there are endpoint, token and do\n",
        ),
    ] {
        let answer = post(&stub, &script, &[], wrong).await;
        assert_eq!((answer.status, answer.body.as_str()), (400, text));
    }
    assert_eq!(get(&stub, &script).await.status, 405);
    assert_eq!(get(&stub, &format!("{base}/x")).await.status, 404);
    let counters = get(&stub, &format!("{base}/counters")).await.json();
    assert_eq!(counters["introspect"], 4);
    assert_eq!(counters["connections_open"], 1);
}

#[tokio::test]
async fn requests_are_remembered_and_their_debug_form_tells_no_secret() {
    let stub = start().await;
    let token = stub.issue(TokenSpec::default());
    ask(&stub, &token).await;
    let requests = stub.requests();
    let [request] = requests.as_slice() else {
        panic!("{requests:?}");
    };
    assert_eq!(request.endpoint, Endpoint::Introspect);
    assert_eq!(request.method, http::Method::POST);
    assert_eq!(request.path_and_query, "/oauth2/introspect");
    assert_eq!(request.parameter("token"), Some(token.as_str()));
    assert_eq!(request.headers["host"], "stub");
    let basic = request.headers["authorization"].to_str().unwrap();
    assert!(basic.starts_with("Basic "));
    let client = stub.client("service-b");
    let printed = format!("{requests:?} {client:?} {:?}", StubOptions::default());
    assert!(
        !printed.contains(&token)
            && !printed.contains(basic)
            && !printed.contains(&client.secret)
            && printed.contains("Introspect"),
        "{printed}"
    );
}

#[tokio::test]
async fn down_means_refused_and_up_means_the_same_as_before() {
    let stub = start().await;
    let to = stub.address();
    let token = stub.issue(TokenSpec::default());
    stub.script(&token, vec![Reaction::hang(), Reaction::normal()]);
    let waiting = tokio::spawn(send_bytes(to, question(&stub, &token)));
    while stub.questions_about(&token) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..3 {
        stub.down().await;
        stub.down().await;
        let refused = TcpStream::connect(to).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(stub.counters().connections_open, 0);
        stub.up().await.unwrap();
        stub.up().await.unwrap();
        assert_eq!(ask(&stub, &token).await.json()["active"], true);
    }
    let cut = waiting.await.unwrap();
    assert!(cut.is_err() || cut.is_ok_and(|answer| answer.is_empty()));
    assert_eq!(stub.questions_about(&token), 4);
}

#[tokio::test]
async fn the_port_stays_the_stubs_while_it_is_down() {
    let stub = start().await;
    stub.down().await;
    let taken = std::net::TcpListener::bind(stub.address()).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_port_that_is_in_use_is_an_error_that_says_so() {
    let stub = start().await;
    let options = StubOptions {
        listen: stub.address(),
        ..StubOptions::default()
    };
    let error = VerifyStub::start(options).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen on {}: end what uses the port, or choose another with --listen",
            stub.address()
        )
    );
}

#[tokio::test]
async fn dropping_the_stub_ends_its_connections() {
    let stub = start().await;
    let to = stub.address();
    let token = stub.issue(TokenSpec::default());
    stub.script(&token, vec![Reaction::hang()]);
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(&question(&stub, &token)).await.unwrap();
    while stub.questions_about(&token) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stub);
    let end = tokio::time::timeout(PATIENCE, stream.read_u8()).await;
    assert!(end.unwrap().is_err());
    let refused = TcpStream::connect(to).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_are_served_at_once() {
    let stub = start().await;
    let token = stub.issue(TokenSpec::default());
    stub.script(
        &token,
        vec![Reaction::normal().after(Duration::from_millis(1500))],
    );
    let calls = (0..1000).map(|_| send_bytes(stub.address(), question(&stub, &token)));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(parse(answer.unwrap()).json()["active"], true);
    }
    let counters = stub.counters();
    assert_eq!(counters.introspect, 1000);
    assert_eq!(counters.connections_accepted, 1000);
    assert_eq!(counters.connections_open_most, 1000);
    assert_eq!(stub.questions_about(&token), 1000);
}

#[tokio::test]
async fn tls_is_trusted_by_its_own_authority_and_for_its_names_only() {
    let start = async |tls: StubTls| {
        let options = StubOptions {
            tls: Some(tls),
            ..StubOptions::default()
        };
        VerifyStub::start(options).await.unwrap()
    };
    let call = async |stub: &VerifyStub| -> io::Result<Answer> {
        let mut roots = RootCertStore::empty();
        let certificate = stub.certificate().unwrap();
        assert!(certificate.pem.starts_with("-----BEGIN CERTIFICATE-----"));
        roots.add(certificate.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(stub.address()).await?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, stream).await?;
        Ok(parse(bytes(stream, &question(stub, "unknown")).await?))
    };

    let stub = start(StubTls::default()).await;
    assert_eq!(stub.issuer(), format!("https://{}/oauth2", stub.address()));
    assert_eq!(call(&stub).await.unwrap().body, INACTIVE);
    stub.script("unknown", vec![Reaction::reset()]);
    let error = call(&stub).await.err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    stub.script("unknown", vec![Reaction::cut(None, 3)]);
    let error = call(&stub).await.err().unwrap();
    assert_eq!(
        error.kind(),
        io::ErrorKind::UnexpectedEof,
        "no close_notify"
    );

    let other_name = StubTls {
        names: vec!["verify.example".to_owned()],
        ..StubTls::default()
    };
    let expired = StubTls {
        expired: true,
        ..StubTls::default()
    };
    for (tls, expected) in [(other_name, "NotValidForName"), (expired, "Expired")] {
        let error = call(&start(tls).await).await.err().unwrap();
        assert!(
            format!("{error:?}").contains(expected),
            "{expected}: {error:?}"
        );
    }
}

/// The command, ended when the test ends, however that is.
struct Command(tokio::process::Child);

impl Command {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_verify-stub"))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .env_clear()
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self(child)
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let out = self.0.stdout.as_mut().unwrap();
        while !line.ends_with('\n') {
            line.push(char::from(out.read_u8().await.unwrap()));
        }
        line.trim_end().to_owned()
    }

    /// Ends it as Ctrl-C does; what it wrote to stderr.
    async fn interrupt(mut self) -> String {
        let id = self.0.id().unwrap().to_string();
        let killed = std::process::Command::new("kill")
            .args(["-INT", &id])
            .status();
        assert!(killed.unwrap().success());
        let ended = tokio::time::timeout(PATIENCE, self.0.wait()).await;
        assert_eq!(ended.unwrap().unwrap().code(), Some(0));
        let mut errors = String::new();
        let stderr = self.0.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut errors).await.unwrap();
        errors
    }
}

#[tokio::test]
async fn the_command_prints_exports_and_logs_calls_without_tokens_and_secrets() {
    let mut command = Command::start(
        &["--token-lifetime", "60", "--json"],
        &[("WORKOUT18_CLIENT_SECRET", "kept by the shell")],
    );
    let printed: Value = serde_json::from_str(&command.line().await).unwrap();
    let of = |service: &str, name: &str| {
        let value = printed[service][name].as_str();
        value
            .unwrap_or_else(|| panic!("{service} {name}"))
            .to_owned()
    };
    assert_eq!(
        keys(&printed["service_a"]),
        [
            "WORKOUT18_CLIENT_ID",
            "WORKOUT18_CLIENT_SECRET",
            "WORKOUT18_ISSUER",
            "WORKOUT18_SERVICE_B_URL"
        ]
    );
    assert_eq!(
        keys(&printed["service_b"]),
        [
            "WORKOUT18_EXPECTED_AUD",
            "WORKOUT18_INTROSPECT_URL",
            "WORKOUT18_RESOURCE_CLIENT_ID",
            "WORKOUT18_RESOURCE_CLIENT_SECRET"
        ]
    );
    let issuer = of("service_a", "WORKOUT18_ISSUER");
    let introspect = of("service_b", "WORKOUT18_INTROSPECT_URL");
    assert_eq!(introspect, format!("{issuer}/introspect"));
    let id = of("service_a", "WORKOUT18_CLIENT_ID");
    assert_eq!(of("service_b", "WORKOUT18_EXPECTED_AUD"), id);
    let secret = of("service_a", "WORKOUT18_CLIENT_SECRET");
    assert_eq!(secret, "kept by the shell");
    assert_eq!(
        of("service_a", "WORKOUT18_SERVICE_B_URL"),
        "http://127.0.0.1:9000/data"
    );

    let to: SocketAddr = issuer.split('/').nth(2).unwrap().parse().unwrap();
    let call = async |url: &str, authorization: &str, body: &str| {
        let request = request("POST", url, &[FORM, authorization], body);
        parse(send_bytes(to, request).await.unwrap())
    };
    let (a, b) = (
        basic(&id, &secret),
        basic(
            &of("service_b", "WORKOUT18_RESOURCE_CLIENT_ID"),
            &of("service_b", "WORKOUT18_RESOURCE_CLIENT_SECRET"),
        ),
    );
    let grant = "grant_type=client_credentials";
    let issued = call(&format!("{issuer}/token"), &a, grant).await.json();
    assert_eq!(issued["expires_in"], 60);
    let token = issued["access_token"].as_str().unwrap();
    let about = form(&[("token", token)]);
    assert_eq!(call(&introspect, &b, &about).await.json()["active"], true);
    let wrong = basic(&id, "another secret");
    assert_eq!(call(&introspect, &wrong, &about).await.status, 401);
    let script = issuer.replace("/oauth2", "/_stub/script");
    let scripted = form(&[("token", token), ("do", "drop")]);
    assert_eq!(call(&script, &b, &scripted).await.status, 200);
    let dropped = request("POST", &introspect, &[FORM, &b], &about);
    assert_eq!(send_bytes(to, dropped).await.unwrap(), b"");

    let log = command.interrupt().await;
    for expected in [
        "token      200 token issued, client service-a, ",
        "introspect 200 active, client service-b, token #",
        "introspect 401 wrong client credentials, token #",
        " scripted, 1 reactions",
        "introspect --- scripted: drop, token #",
    ] {
        assert!(log.contains(expected), "{expected:?} is not in {log}");
    }
    for secret in [
        token,
        &secret,
        "another secret",
        a.rsplit(' ').next().unwrap(),
        b.rsplit(' ').next().unwrap(),
    ] {
        assert!(!log.contains(secret), "{secret:?} is in {log}");
    }
}

#[tokio::test]
async fn the_exports_are_lines_for_a_shell() {
    let mut command = Command::start(
        &["--service-b-url", "http://127.0.0.1:1/a b"],
        &[("WORKOUT18_RESOURCE_CLIENT_ID", "it's me")],
    );
    let mut lines = Vec::new();
    for _ in 0..8 {
        lines.push(command.line().await);
    }
    assert!(lines[0].starts_with("export WORKOUT18_ISSUER=http://127.0.0.1:"));
    assert_eq!(
        lines[3],
        "export WORKOUT18_SERVICE_B_URL='http://127.0.0.1:1/a b'"
    );
    assert_eq!(
        lines[5],
        r"export WORKOUT18_RESOURCE_CLIENT_ID='it'\''s me'"
    );
    let id = lines[1].strip_prefix("export WORKOUT18_CLIENT_ID=");
    assert_eq!(
        lines[7],
        format!("export WORKOUT18_EXPECTED_AUD={}", id.unwrap())
    );
    let errors = command.interrupt().await;
    assert!(errors.starts_with("Service A:\nService B:\nListening on 127.0.0.1:"));
}
