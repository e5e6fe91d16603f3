//! The demo, run as a user runs it.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do"
)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use programs::native;
use serde_json::{Value, json};

/// Longer than any run of the demo takes that builds nothing.
const PATIENCE: Duration = Duration::from_secs(60);

const DEMO: &str = env!("CARGO_BIN_EXE_demo");

fn demo(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR_FORCE")
        // None of these may reach what the demo starts.
        .env("WORKOUT18_SCOPE", "from this shell")
        .env("WORKOUT18_REQUIRED_SCOPE", "from this shell");
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{text}"));
    rest.split_once(after).unwrap_or_else(|| panic!("{text}")).0
}

#[test]
fn everything_comes_out_as_expected_and_is_printed_line_by_line() {
    let output = demo(Path::new(DEMO)).output().unwrap();
    let text = stdout(&output);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}{errors}");

    let issuer = between(&text, "Issuer:    ", "  (");
    let port = between(issuer, "http://127.0.0.1:", "/oauth2");
    assert!(port.parse::<u16>().is_ok(), "{issuer}");
    let service_b = between(&text, "Service B: ", "  (");
    let port = between(service_b, "http://127.0.0.1:", "/data");
    assert!(port.parse::<u16>().is_ok(), "{service_b}");
    let token = between(&text, "Access token (masked): ", "\n");
    let (first, last) = token.split_once('…').unwrap();
    assert_eq!((first.chars().count(), last.chars().count()), (8, 6));
    let id = between(&text, "  subject: ", "\n");
    assert_eq!(id.len(), 36, "a UUID");
    let seconds = between(&text, "came out as expected (", " s)");
    assert!(seconds.parse::<f64>().is_ok(), "{seconds}");
    assert_eq!(
        text,
        format!(
            r#"Issuer:    {issuer}  (a stub of IBM Verify)
Service B: {service_b}  (behind auth-check, both as spin.toml says)

1. Service A gets a token and calls Service B
Access token (masked): {token}
Service B response:
  message: Service B trusted the token
  issuer: {issuer}
  subject: {id}
  aud: ['{id}']
  scopes: None
✓ as expected; one introspection call reached the issuer

2. The same call without a token
  status: 401 Unauthorized
  challenge: Bearer realm="service-b"
  reason: no_credentials (An access token is needed.)
✓ as expected

3. With a token that was revoked
  status: 401 Unauthorized
  challenge: Bearer realm="service-b", error="invalid_token", error_description="The issuer says that the access token is not active."
  reason: inactive (The issuer says that the access token is not active.)
✓ as expected; one introspection call reached the issuer

4. With a token for another audience
  status: 401 Unauthorized
  challenge: Bearer realm="service-b", error="invalid_token", error_description="The access token is for another audience."
  reason: wrong_audience (The access token is for another audience.)
✓ as expected; one introspection call reached the issuer

5. With a JWT, which is verified here
  status: 200 OK
  message: Service B trusted the token
✓ as expected; no introspection call reached the issuer

6. With a JWT whose claims were changed
  status: 401 Unauthorized
  challenge: Bearer realm="service-b", error="invalid_token", error_description="The signature of the access token is invalid."
  reason: invalid_signature (The signature of the access token is invalid.)
✓ as expected; no introspection call reached the issuer

7. With a JWT signed with a key that the issuer has just begun to use
  status: 200 OK
  message: Service B trusted the token
✓ as expected; no introspection call reached the issuer

8. With a good token while the issuer is stopped
  status: 503 Service Unavailable
  challenge: none
  retry after: 1
  reason: issuer_unreachable (The issuer could not be reached.)
✓ as expected; no introspection call reached the issuer

All 8 calls came out as expected ({seconds} s).
"#
        )
    );
}

#[test]
fn machines_get_one_json_object() {
    let output = demo(Path::new(DEMO)).arg("--json").output().unwrap();
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert_eq!(document["ok"], true);
    assert_eq!(document["gate"], "embedded");
    assert!(document["milliseconds"].is_u64());
    assert_eq!(document["log"], json!([]));
    let steps: Vec<_> = document["scenes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            json!([
                step["name"],
                step["ok"],
                step["status"],
                step["reason"],
                step["retry_after"],
                step["issuer_asked"],
                step["problems"]
            ])
        })
        .collect();
    assert_eq!(
        json!(steps),
        json!([
            ["service_a", true, null, null, null, 1, []],
            ["no_token", true, 401, "no_credentials", null, null, []],
            ["revoked_token", true, 401, "inactive", null, 1, []],
            ["other_audience", true, 401, "wrong_audience", null, 1, []],
            ["jwt", true, 200, null, null, 0, []],
            [
                "invalid_signature",
                true,
                401,
                "invalid_signature",
                null,
                0,
                []
            ],
            ["rotated_key", true, 200, null, null, 0, []],
            [
                "issuer_stopped",
                true,
                503,
                "issuer_unreachable",
                "1",
                0,
                []
            ],
        ])
    );
}

/// A folder with the demo, the embedded host, and a script in place of Service A. Removed at the
/// end.
struct Staged(PathBuf);

impl Staged {
    fn new(name: &str, script: &str) -> Self {
        let folder = format!("demo-{name}-{}", std::process::id());
        let staged = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder));
        fs::create_dir(&staged.0).unwrap();
        let [serve] = native(["serve"]).unwrap();
        fs::hard_link(DEMO, staged.demo()).unwrap();
        fs::hard_link(serve, staged.0.join("serve")).unwrap();
        let service_a = staged.0.join("service-a");
        fs::write(&service_a, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&service_a, fs::Permissions::from_mode(0o755)).unwrap();
        staged
    }

    fn demo(&self) -> PathBuf {
        self.0.join("demo")
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn an_unexpected_result_is_reported_and_the_rest_still_shown() {
    let staged = Staged::new("wrong", "echo 'nonsense'; echo 'a complaint' >&2; exit 5");
    let output = demo(&staged.demo())
        .env("CLICOLOR_FORCE", "1")
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let step = between(&text, "1. Service A gets", "\n2. The same call");
    for line in [
        "nonsense",
        "a complaint",
        "✗ Service A ended with exit status: 5",
        "✗ expected this output:",
        "✗ expected introspection calls: 1, got 0",
    ] {
        assert!(step.lines().any(|one| one == line), "{line:?} in {step}");
    }
    assert_eq!(text.matches("✓ as expected").count(), 7);
    assert!(
        text.ends_with("\nNot as expected: 1. Service A gets a token and calls Service B\n"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "colour in spite of NO_COLOR");
}

#[test]
fn colour_is_for_those_who_want_it() {
    let staged = Staged::new("colour", "exit 5");
    let output = demo(&staged.demo()).env("CLICOLOR_FORCE", "1").output();
    let text = stdout(&output.unwrap());
    assert!(text.contains("\u{1b}[1m1. Service A gets"), "{text:?}");
    assert!(
        text.contains("\u{1b}[1m\u{1b}[32m✓ as expected"),
        "{text:?}"
    );
}

/// Killed at the end, should it still run.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn ctrl_c_ends_the_demo_and_what_it_started() {
    for signal in ["-INT", "-TERM"] {
        let staged = Staged::new(
            signal,
            r#"echo $$ > "$0.tmp"; mv "$0.tmp" "$0.pid"; exec sleep 60"#,
        );
        let child = demo(&staged.demo()).stdout(Stdio::null()).spawn().unwrap();
        let mut child = Killed(child);
        let service_a = wait_for("Service A has not started", || {
            fs::read_to_string(staged.0.join("service-a.pid")).ok()
        });
        let id = child.0.id().to_string();
        let killed = Command::new("kill").args([signal, &id]).status();
        assert!(killed.unwrap().success());
        let status = wait_for("the demo goes on", || child.0.try_wait().unwrap());
        assert_eq!(status.code(), Some(130), "{signal}");
        wait_for("Service A goes on", || {
            // Gone, or dead and not yet taken notice of.
            let stat = format!("/proc/{}/stat", service_a.trim());
            let stat = fs::read_to_string(stat).unwrap_or_default();
            let state = stat
                .rsplit(") ")
                .next()
                .and_then(|rest| rest.chars().next());
            state.is_none_or(|state| "ZX".contains(state)).then_some(())
        });
    }
}
