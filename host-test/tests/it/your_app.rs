//! examples/your-app: an app that is not ours, with the fewest lines that auth check it.

use std::collections::BTreeMap;
use std::path::Path;

use programs::{Guest, repository};
use spin_host::{App, Running, ServeOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use verify_stub::{StubOptions, TokenSpec, VerifyStub};

const MARK: &str = "# auth-check";

fn manifest() -> String {
    std::fs::read_to_string(repository().join("examples/your-app/spin.toml")).unwrap()
}

#[test]
fn the_auth_check_takes_seven_lines_of_spin_toml_as_documented() {
    let manifest = manifest();
    let marked = manifest
        .lines()
        .filter(|line| !line.starts_with('#') && line.contains(MARK));
    assert_eq!(marked.count(), 7);
    let docs = std::fs::read_to_string(repository().join("docs/spin.md")).unwrap();
    assert!(docs.contains("Seven lines of its"), "{docs}");
    for (number, line) in manifest
        .lines()
        .filter(|line| !line.starts_with('#') && line.contains(MARK))
        .enumerate()
    {
        let numbered = format!("# {}", number + 1);
        let key = line.split([' ', '=']).next().unwrap();
        assert!(
            docs.lines()
                .any(|line| line.starts_with(key) && line.contains(&numbered)),
            "{key} {numbered}"
        );
    }
}

/// The sample as it is, but for the issuer that it names.
async fn serve(stub: &VerifyStub) -> Running {
    let client = stub.client("service-b");
    let origin = stub.introspect_url().replace("/oauth2/introspect", "");
    let manifest = manifest()
        .replace("https://tenant.verify.ibm.com", &origin)
        .replace(
            r#""resource_client_id": "service-b""#,
            &format!(r#""resource_client_id": "{}""#, client.id),
        );
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("your-app-spin.toml");
    std::fs::write(&path, manifest).unwrap();
    let components = BTreeMap::from([
        ("auth-check".to_owned(), Guest::AuthCheck.build().unwrap()),
        ("your-app".to_owned(), Guest::YourApp.build().unwrap()),
    ]);
    let app = App::load(&path, &components).unwrap();
    let options = ServeOptions {
        environment: Some(BTreeMap::new()),
        variables: BTreeMap::from([("resource_client_secret".to_owned(), client.secret.clone())]),
        ..ServeOptions::default()
    };
    app.serve(options).await.unwrap()
}

/// The whole answer, however the app frames it.
async fn call(running: &Running, token: Option<&str>) -> String {
    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "GET /any/path HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n{}\r\n",
        authorization.unwrap_or_default()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_app_answers_who_may_call_and_keeps_its_own_variables() {
    let stub = VerifyStub::start(StubOptions::default()).await.unwrap();
    let running = serve(&stub).await;
    let spec = || {
        TokenSpec::default()
            .client("service-a")
            .audience(["service-a"])
    };
    let answer = call(&running, Some(&stub.issue(spec()))).await;
    let id = &stub.client("service-a").id;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let greeting = format!("hello, {id}; my own timeout is 30s\n");
    assert!(answer.contains(&greeting), "{answer}");

    let refused = [
        (None, r#""reason":"no_credentials""#),
        (
            Some(stub.issue(spec().audience(["another-service"]))),
            r#""reason":"wrong_audience""#,
        ),
    ];
    for (token, reason) in refused {
        let answer = call(&running, token.as_deref()).await;
        assert!(
            answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"),
            "{answer}"
        );
        assert!(answer.ends_with('}') && answer.contains(reason), "{answer}");
    }
}
