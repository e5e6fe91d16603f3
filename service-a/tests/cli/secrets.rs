//! Where the secret comes from, and that neither secret nor token is shown.

use std::{io::Write as _, path::PathBuf, process::Stdio};

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use wiremock::{Request, Respond, ResponseTemplate};

use crate::fixture::{
    ENCODED_SECRET, Finished, MASKED, RAW_BASIC, SECRET, TOKEN, TemporaryFile, World, granted,
    inactive, json_body, refusal, run, token_response,
};

/// Accepts [`SECRET`] and rejects all others as IBM Verify does. `rotate` names a secret that is
/// written to the file before it does.
#[derive(Default)]
struct SecretCheck {
    rotate: Option<(PathBuf, &'static str)>,
}

impl Respond for SecretCheck {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut parameters = form_urlencoded::parse(&request.body);
        if parameters.any(|(name, value)| name == "client_secret" && value == SECRET) {
            return token_response(TOKEN);
        }
        if let Some((path, secret)) = &self.rotate {
            let mut file = std::fs::File::create(path).unwrap();
            file.write_all(secret.as_bytes()).unwrap();
        }
        let body = json!({"error": "request_unauthorized", "error_description": "CSIAQ0155E No."});
        json_body(401, body)
    }
}

async fn checking(check: SecretCheck) -> World {
    let world = World::with_token_response(check).await;
    world.serve_call(granted()).await;
    world
}

#[tokio::test]
async fn the_secret_comes_from_a_file_without_its_line_end() {
    for end in ["", "\n", "\r\n"] {
        let world = checking(SecretCheck::default()).await;
        let file = TemporaryFile::new("plain", &format!("{SECRET}{end}"));
        let arguments = ["--client-auth", "post", "--secret-file", file.path()];
        let mut command = world.service_a(&arguments);
        // The flag takes precedence.
        command.env("WORKOUT18_CLIENT_SECRET", "another one");
        assert_eq!(run(command).await.code, Some(0), "{end:?}");
    }
}

#[tokio::test]
async fn the_secret_comes_from_standard_input() {
    let world = checking(SecretCheck::default()).await;
    let mut command = world.service_a(&["--client-auth", "post", "--secret-stdin"]);
    command
        .env_remove("WORKOUT18_CLIENT_SECRET")
        .stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let secret = format!("{SECRET}\n");
    stdin.write_all(secret.as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn s4_a_rejected_secret_is_read_again_and_a_new_one_is_tried_once() {
    let table = [
        ("rotated", Some(SECRET), 0, 2),
        ("wrong-again", Some("new-secret-that-is-wrong-too"), 4, 2),
        ("unchanged", None, 4, 1),
    ];
    for (name, rotated, code, requests) in table {
        let file = TemporaryFile::new(name, "old-secret");
        let rotate = rotated.map(|secret| (PathBuf::from(file.path()), secret));
        let world = checking(SecretCheck { rotate }).await;
        let post = ["--json", "--client-auth", "post", "--secret-file"];
        let arguments = [&post[..], &[file.path()]].concat();
        let finished = run(world.service_a(&arguments)).await;
        assert_eq!(finished.code, Some(code), "{name}: {}", finished.stdout);
        let json = finished.json();
        assert_eq!(json["token_requests"], requests, "{name}");
        assert_eq!(world.token_requests().await.len(), requests, "{name}");
        if code == 4 {
            let error = &json["error"];
            assert_eq!(error["reason"], "request_unauthorized", "{name}");
            let next = error["next"].as_str().unwrap();
            let advice = "Check WORKOUT18_CLIENT_ID and the client secret";
            assert!(next.starts_with(advice), "{name}: {next}");
        }
    }
}

#[tokio::test]
async fn s5_the_secret_on_the_command_line_is_refused_with_the_name_of_the_flag() {
    let world = World::working().await;
    let table: [(&str, &[&str]); 7] = [
        ("--secret-stdin", &["--secret-stdin=hunter22"]),
        ("--secret", &["--secret", "hunter22"]),
        ("--secret", &["--secret=hunter22"]),
        ("--client-secret", &["--client-secret", "hunter22"]),
        ("--client-secret", &["--client-secret=hunter22"]),
        (
            "--client_secret",
            &["--json=no", "--client_secret=hunter22"],
        ),
        ("--password", &["stray", "--password", "hunter22"]),
    ];
    for (flag, arguments) in table {
        let finished = run(world.service_a(arguments)).await;
        let error = format!(
            "{flag} with a secret is refused: other users of the machine can read command lines, and shells keep them. Set WORKOUT18_CLIENT_SECRET, or use --secret-file FILE or --secret-stdin; and rotate a secret that was typed here"
        );
        assert_eq!(finished, Finished::wrong_settings(&[&error]));
    }
    assert_eq!(world.token_requests().await.len(), 0);
}

/// Sends back everything that it got, as it is and in every encoding that a peer may use.
struct Echo(u16);

impl Respond for Echo {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let authorization = request
            .headers
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default();
        let encoded =
            |value: &str| -> String { form_urlencoded::byte_serialize(value.as_bytes()).collect() };
        let received = [
            authorization.clone(),
            encoded(&authorization),
            String::from_utf8_lossy(&request.body).into_owned(),
            SECRET.to_owned(),
            encoded(SECRET).to_lowercase(),
            TOKEN.to_owned(),
        ]
        .join(" ");
        let mut body = json!({
            "error": received,
            "error_description": received,
            "reason": received,
            "scope": [received],
            "issuer": {"a": received},
            received.as_str(): [received],
        });
        if request.method.as_str() == "POST" && self.0 == 200 {
            body["access_token"] = TOKEN.into();
            body["token_type"] = "Bearer".into();
        }
        let challenge = format!("Bearer realm=\"{authorization}\"");
        json_body(self.0, body)
            .insert_header("x-echo", received.as_str())
            .insert_header("set-cookie", received.as_str())
            .insert_header("www-authenticate", challenge)
            .insert_header("retry-after", authorization.as_str())
            .insert_header("location", format!("/{}", encoded(&received)))
    }
}

/// The start of the Basic credentials in both styles.
const BASIC_START: &str = "c2VydmljZS1hLWNsaWVudDpzM2NyZXQ";

#[tokio::test]
async fn neither_secret_nor_token_is_printed_even_if_peers_send_them_back() {
    let formats: [&[&str]; 5] = [
        &[],
        &["--json"],
        &["--repeat", "3"],
        &["--repeat", "3", "--json"],
        &["--client-auth", "post", "--json"],
    ];
    for arguments in formats {
        for response in [granted(), inactive(), refusal(503, TOKEN, TOKEN, TOKEN)] {
            let world = World::with_call_response(response).await;
            let finished = run(world.service_a(arguments)).await;
            finished.holds_no_secret();
            assert!(finished.stdout.contains(MASKED), "{}", finished.stdout);
        }
        for status in [200, 302, 400, 401, 503] {
            let world = World::with_call_response(Echo(status)).await;
            run(world.service_a(arguments))
                .await
                .holds_none_of(&[TOKEN]);
        }
        for status in [302, 400, 401, 500] {
            let world = World::with_token_response(Echo(status)).await;
            let finished = run(world.service_a(arguments)).await;
            assert_eq!(finished.code, Some(4));
            // The token of this echo was never issued.
            finished.holds_none_of(&[SECRET, "s3cret%3A", BASIC_START]);
        }
    }
}

#[tokio::test]
async fn neither_secret_nor_token_is_traced_even_if_peers_send_them_back_encoded() {
    let encoded = ENCODED_SECRET.to_lowercase();
    // Without the padding, which a peer may drop.
    let basic = "c2VydmljZS1hLWNsaWVudDpzM2NyZXQlM0F3aXRoJTJCc2lnbnMlMkYlMjU";
    let secrets = [SECRET, &encoded, ENCODED_SECRET, basic, RAW_BASIC];
    for status in [200, 302, 400, 401, 500] {
        for style in ["basic", "basic-raw", "post"] {
            let arguments = ["--verbose", "--json", "--client-auth", style];
            let world = World::empty().await;
            world.serve_metadata().await;
            if status == 200 {
                world.serve_token(Echo(status)).await;
            } else {
                world.serve_token(token_response(TOKEN)).await;
            }
            world.serve_call(Echo(status)).await;
            let finished = run(world.service_a(&arguments)).await;
            for secret in secrets.into_iter().chain([TOKEN]) {
                let stderr = &finished.stderr;
                assert!(!stderr.contains(secret), "{secret}: {stderr}");
            }
            // Service B never got the secret: what it pretends to know of it is its own document.
            let stdout = &finished.stdout;
            assert!(!stdout.contains(TOKEN), "{stdout}");

            let refusing = if status == 200 { 403 } else { status };
            let world = World::with_token_response(Echo(refusing)).await;
            let finished = run(world.service_a(&arguments)).await;
            assert_eq!(finished.code, Some(4));
            // The token of this echo was never issued.
            finished.holds_none_of(&secrets);
        }
    }
}
