//! Where secrets come from, and that they are seen nowhere.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use wiremock::{Mock, Request, Respond, ResponseTemplate, matchers::method};

use crate::world::{
    CLIENT_ID, MASKED, SECRET, TOKEN, World, granted, inactive, refusal, run, token_answer,
};

/// A file that goes away with its test.
pub(crate) struct SecretFile(PathBuf);

impl SecretFile {
    pub(crate) fn new(name: &str, content: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Takes one secret and refuses all others as IBM Verify does; with `rotate` it puts another secret into the file first.
struct Picky {
    secret: &'static str,
    rotate: Option<(PathBuf, &'static str)>,
}

impl Respond for Picky {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let sent: Vec<_> = form_urlencoded::parse(&request.body).collect();
        if sent
            .iter()
            .any(|(name, value)| name == "client_secret" && value == self.secret)
        {
            return token_answer(TOKEN);
        }
        if let Some((path, secret)) = &self.rotate {
            let mut file = std::fs::File::create(path).unwrap();
            file.write_all(secret.as_bytes()).unwrap();
        }
        let body = json!({"error": "request_unauthorized", "error_description": "CSIAQ0155E No."});
        ResponseTemplate::new(401).set_body_json(body)
    }
}

async fn picky(picky: Picky) -> World {
    let world = World::empty().await;
    world.discovery().await;
    Mock::given(method("POST"))
        .respond_with(picky)
        .mount(&world.issuer)
        .await;
    world.answer_call(granted()).await;
    world
}

#[tokio::test]
async fn the_secret_comes_from_a_file_and_its_line_end_is_not_part_of_it() {
    for end in ["", "\n", "\r\n"] {
        let world = picky(Picky {
            secret: SECRET,
            rotate: None,
        })
        .await;
        let file = SecretFile::new("plain", &format!("{SECRET}{end}"));
        let arguments = ["--client-auth", "post", "--secret-file", file.path()];
        let mut command = world.service_a(&arguments);
        // The flag wins.
        command.env("WORKOUT18_CLIENT_SECRET", "another one");
        assert_eq!(run(command).await.code, Some(0), "{end:?}");
    }
}

#[tokio::test]
async fn the_secret_comes_from_standard_input() {
    let world = picky(Picky {
        secret: SECRET,
        rotate: None,
    })
    .await;
    let mut command = world.service_a(&["--client-auth", "post", "--secret-stdin"]);
    command
        .env_remove("WORKOUT18_CLIENT_SECRET")
        .stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(format!("{SECRET}\n").as_bytes())
        .await
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn s4_a_rotated_secret_is_read_again_and_tried_once() {
    let file = SecretFile::new("rotated", "old-secret");
    let rotate = Some((file.0.clone(), SECRET));
    let world = picky(Picky {
        secret: SECRET,
        rotate,
    })
    .await;
    let arguments = [
        "--json",
        "--client-auth",
        "post",
        "--secret-file",
        file.path(),
    ];
    let ended = run(world.service_a(&arguments)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert_eq!(ended.json()["token_requests"], 2);
    assert_eq!(world.token_requests().await.len(), 2);
}

#[tokio::test]
async fn s4_a_secret_that_is_wrong_again_ends_after_the_second_request() {
    let file = SecretFile::new("wrong-again", "old-secret");
    let rotate = Some((file.0.clone(), "new-secret-that-is-wrong-too"));
    let world = picky(Picky {
        secret: SECRET,
        rotate,
    })
    .await;
    let arguments = ["--client-auth", "post", "--secret-file", file.path()];
    let ended = run(world.service_a(&arguments)).await;
    assert_eq!(ended.code, Some(4));
    assert!(
        ended.stderr.contains("\n  reason: request_unauthorized\n"),
        "{}",
        ended.stderr
    );
    assert!(
        ended
            .stderr
            .contains("\n  next: Check WORKOUT18_CLIENT_ID and the client secret")
    );
    assert_eq!(world.token_requests().await.len(), 2);
}

#[tokio::test]
async fn s4_a_secret_that_did_not_change_is_not_tried_again() {
    let file = SecretFile::new("same", "old-secret");
    let world = picky(Picky {
        secret: SECRET,
        rotate: None,
    })
    .await;
    let arguments = ["--client-auth", "post", "--secret-file", file.path()];
    assert_eq!(run(world.service_a(&arguments)).await.code, Some(4));
    assert_eq!(world.token_requests().await.len(), 1);
}

#[tokio::test]
async fn s5_the_secret_on_the_command_line_is_refused_by_name() {
    let world = World::sound().await;
    let table: [&[&str]; 7] = [
        &["--secret-stdin=hunter22"],
        &["--secret", "hunter22"],
        &["--secret=hunter22"],
        &["--client-secret", "hunter22"],
        &["--client-secret=hunter22"],
        &["--json=no", "--client_secret=hunter22"],
        &["stray", "--password", "hunter22"],
    ];
    for arguments in table {
        let ended = run(world.service_a(arguments)).await;
        let flag = arguments
            .iter()
            .find(|argument| argument.contains("secret") || argument.contains("password"))
            .unwrap();
        let flag = flag.split('=').next().unwrap();
        assert_eq!(ended.code, Some(2));
        assert_eq!(ended.stdout, "");
        assert_eq!(
            ended.stderr,
            format!(
                "Error: {flag} with a secret is refused: other users of the machine can read command lines, and shells keep them. Set WORKOUT18_CLIENT_SECRET, or use --secret-file FILE or --secret-stdin; and change a secret that was typed here\nRun service-a --help for all settings.\n"
            )
        );
    }
    assert_eq!(world.token_requests().await.len(), 0);
}

/// A peer that sends back everything it got, to tempt us into showing it.
struct Echo(u16);

impl Respond for Echo {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let authorization = request
            .headers
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default();
        let body = String::from_utf8_lossy(&request.body);
        let heard = format!("{authorization} {body} {SECRET} {TOKEN}");
        let body = json!({
            "error": format!("invalid_client {heard}"),
            "error_description": heard,
            "reason": heard,
            heard.as_str(): [heard],
        });
        ResponseTemplate::new(self.0)
            .set_body_json(body)
            .insert_header(
                "www-authenticate",
                format!("Bearer realm=\"{authorization}\""),
            )
            .insert_header("retry-after", authorization.as_str())
            .insert_header("location", format!("/{authorization}"))
    }
}

#[tokio::test]
async fn secret_and_token_are_shown_nowhere_even_if_peers_send_them_back() {
    let forms: [&[&str]; 5] = [
        &[],
        &["--json"],
        &["--repeat", "3"],
        &["--repeat", "3", "--json"],
        &["--client-auth", "post", "--json"],
    ];
    for form in forms {
        let sound = World::sound().await;
        let refused = World::empty().await;
        refused.discovery().await;
        refused.answer_token(token_answer(TOKEN)).await;
        refused.answer_call(inactive()).await;
        let odd = World::empty().await;
        odd.discovery().await;
        odd.answer_token(token_answer(TOKEN)).await;
        odd.answer_call(refusal(503, TOKEN, TOKEN, TOKEN)).await;
        for world in [&sound, &refused, &odd] {
            let ended = run(world.service_a(form)).await;
            ended.tells_no_secret();
            assert!(ended.stdout.contains(MASKED), "{}", ended.stdout);
        }
        for status in [200, 302, 400, 401, 503] {
            let world = World::empty().await;
            world.discovery().await;
            world.answer_token(token_answer(TOKEN)).await;
            Mock::given(method("GET"))
                .respond_with(Echo(status))
                .mount(&world.service_b)
                .await;
            let ended = run(world.service_a(form)).await;
            assert!(!ended.stdout.contains(TOKEN), "{}", ended.stdout);
            assert!(!ended.stderr.contains(TOKEN), "{}", ended.stderr);
        }
        for status in [302, 400, 401, 500] {
            let world = World::empty().await;
            world.discovery().await;
            Mock::given(method("POST"))
                .respond_with(Echo(status))
                .mount(&world.issuer)
                .await;
            let ended = run(world.service_a(form)).await;
            assert_eq!(ended.code, Some(4));
            // The token of this echo was never given out.
            let basic = "c2VydmljZS1hLWNsaWVudDpzM2NyZXQ";
            for secret in [SECRET, "s3cret%3A", basic] {
                assert!(!ended.stdout.contains(secret), "{}", ended.stdout);
                assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
            }
        }
    }
    assert!(SECRET.starts_with("s3cret:") && CLIENT_ID == "service-a-client");
}
