//! Missing and wrong settings: each is one error that names the variable and the flag.

use crate::world::{Ended, SECRET, World, bare, run};

fn failed(lines: &[&str]) -> Ended {
    let mut stderr = String::new();
    for line in lines {
        stderr.push_str(&format!("Error: {line}\n"));
    }
    Ended {
        code: Some(2),
        stdout: String::new(),
        stderr: stderr + "Run service-a --help for all settings.\n",
    }
}

const MISSING: [&str; 3] = [
    "WORKOUT18_ISSUER (--issuer) is missing or empty: set it",
    "WORKOUT18_CLIENT_ID (--client-id) is missing or empty: set it",
    "WORKOUT18_CLIENT_SECRET (--secret-file, --secret-stdin) is missing or empty: set it",
];

#[tokio::test]
async fn every_missing_setting_is_named() {
    assert_eq!(run(bare(&[])).await, failed(&MISSING));
}

#[tokio::test]
async fn an_empty_value_is_not_set() {
    let mut command = bare(&[]);
    for variable in [
        "ISSUER",
        "CLIENT_ID",
        "CLIENT_SECRET",
        "SERVICE_B_URL",
        "SCOPE",
    ] {
        command.env(format!("WORKOUT18_{variable}"), "");
    }
    assert_eq!(run(command).await, failed(&MISSING));
}

#[tokio::test]
async fn an_empty_service_b_url_and_scope_are_the_defaults() {
    let world = World::sound().await;
    let mut command = world.service_a(&["--token-only"]);
    command
        .env("WORKOUT18_SERVICE_B_URL", "")
        .env("WORKOUT18_SCOPE", "");
    assert_eq!(run(command).await.code, Some(0));
}

#[tokio::test]
async fn flags_win_over_the_environment() {
    let world = World::sound().await;
    let issuer = world.issuer_url();
    let url = world.data_url();
    let mut command = bare(&[
        "--issuer",
        &issuer,
        "--client-id",
        "flagged",
        "--service-b-url",
        &url,
        "--scope",
        "a",
        "--client-auth",
        "post",
    ]);
    command
        .env("WORKOUT18_ISSUER", "http://127.0.0.1:1")
        .env("WORKOUT18_CLIENT_ID", "environment")
        .env("WORKOUT18_SERVICE_B_URL", "http://127.0.0.1:1")
        .env("WORKOUT18_SCOPE", "b")
        .env("WORKOUT18_CLIENT_SECRET", SECRET);
    assert_eq!(run(command).await.code, Some(0));
    let body = world.token_requests().await.remove(0).body;
    let body = String::from_utf8(body).unwrap();
    assert!(
        body.contains("client_id=flagged") && body.contains("scope=a"),
        "{body}"
    );
}

#[tokio::test]
async fn wrong_settings_are_named_with_their_problem_and_without_their_value() {
    let not_a_url = "is not an http or https URL with a host";
    let extras = "must not have a user, a password or a fragment";
    let plain_issuer =
        "is plain http to another machine, which shows the secret to the network: use https";
    let plain_b = "is plain http to another machine, which shows the token to the network: use https, or add --allow-http";
    let table = [
        ("ISSUER", "--issuer", "tenant.verify.ibm.com", not_a_url),
        ("ISSUER", "--issuer", "ftp://tenant/", not_a_url),
        ("ISSUER", "--issuer", "https://", not_a_url),
        ("ISSUER", "--issuer", "https://tenant/ ", not_a_url),
        ("ISSUER", "--issuer", "https://ten\nant/", not_a_url),
        ("ISSUER", "--issuer", "https://a:b@tenant/", extras),
        ("ISSUER", "--issuer", "https://tenant/#x", extras),
        (
            "ISSUER",
            "--issuer",
            "https://tenant/?x",
            "must not have a query",
        ),
        ("ISSUER", "--issuer", "http://tenant.example/", plain_issuer),
        (
            "ISSUER",
            "--issuer",
            "http://localhost.evil.example/",
            plain_issuer,
        ),
        ("SERVICE_B_URL", "--service-b-url", "data", not_a_url),
        (
            "SERVICE_B_URL",
            "--service-b-url",
            "http://b:c@127.0.0.1/",
            extras,
        ),
        (
            "SERVICE_B_URL",
            "--service-b-url",
            "http://10.0.0.1/data",
            plain_b,
        ),
        (
            "SCOPE",
            "--scope",
            "a \"b\"",
            "must be scope tokens separated by spaces (RFC 6749 section 3.3)",
        ),
        (
            "SCOPE",
            "--scope",
            "a\tb",
            "must be scope tokens separated by spaces (RFC 6749 section 3.3)",
        ),
    ];
    let world = World::sound().await;
    for (name, flag, value, problem) in table {
        let expected = failed(&[&format!("WORKOUT18_{name} ({flag}) {problem}")]);
        let mut command = world.service_a(&[]);
        command.env(format!("WORKOUT18_{name}"), value);
        assert_eq!(run(command).await, expected, "{value}");
        assert_eq!(
            run(world.service_a(&[flag, value])).await,
            expected,
            "{value}"
        );
    }
    assert_eq!(world.token_requests().await.len(), 0);
}

#[tokio::test]
async fn secrets_that_cannot_be_one_are_refused() {
    let world = World::sound().await;
    let mut command = world.service_a(&[]);
    command.env("WORKOUT18_CLIENT_SECRET", "two\nlines");
    let problem = "WORKOUT18_CLIENT_SECRET (--secret-file, --secret-stdin) holds control characters or more than one line, which is no secret";
    assert_eq!(run(command).await, failed(&[problem]));

    let missing = world.service_a(&["--secret-file", "/nowhere/secret"]);
    let problem = "--secret-file cannot be read: No such file or directory (os error 2)";
    assert_eq!(run(missing).await, failed(&[problem]));

    let endless = world.service_a(&["--secret-file", "/dev/zero"]);
    let problem = "--secret-file holds more than 65536 bytes, which is no secret";
    assert_eq!(run(endless).await, failed(&[problem]));

    // Standard input of these runs is empty.
    let empty = world.service_a(&["--secret-stdin"]);
    assert_eq!(
        run(empty).await,
        failed(&["--secret-stdin holds an empty secret"])
    );
}

#[tokio::test]
async fn plain_http_to_another_machine_needs_a_word() {
    let world = World::sound().await;
    // TEST-NET-1 answers nowhere.
    let arguments = [
        "--json",
        "--service-b-url",
        "http://192.0.2.1/",
        "--allow-http",
        "--timeout",
        "0.2",
    ];
    assert_eq!(run(world.service_a(&arguments)).await.code, Some(6));
}

#[tokio::test]
async fn flags_that_contradict_each_other_or_make_no_sense_are_refused() {
    let table: [&[&str]; 13] = [
        &["--token-only", "--json"],
        &["--token-only", "--repeat", "2"],
        &["--token-only", "--watch"],
        &["--repeat", "2", "--watch"],
        &["--concurrency", "2"],
        &["--rate", "2"],
        &["--repeat", "0"],
        &["--repeat", "2", "--concurrency", "0"],
        &["--repeat", "2", "--rate", "nan"],
        &["--timeout", "0"],
        &["--timeout", "inf"],
        &["--client-auth", "none"],
        &["--secret-file", "x", "--secret-stdin"],
    ];
    let world = World::sound().await;
    for arguments in table {
        let ended = run(world.service_a(arguments)).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        let told = ended.stdout + &ended.stderr;
        let json = arguments.contains(&"--json");
        assert!(told.starts_with("error: ") != json, "{told}");
    }
    assert_eq!(world.token_requests().await.len(), 0);
}

#[tokio::test]
async fn settings_and_command_line_fail_in_json_too() {
    let ended = run(bare(&["--json"])).await;
    assert_eq!(ended.code, Some(2));
    assert_eq!(ended.stderr, "");
    let error = ended.json()["error"].take();
    assert_eq!(error["class"], "usage");
    assert_eq!(error["reason"], "settings");
    assert_eq!(error["problems"], serde_json::json!(MISSING));

    let ended = run(bare(&["--json", "--bogus"])).await;
    assert_eq!(ended.code, Some(2));
    assert_eq!(ended.stderr, "");
    let error = ended.json()["error"].take();
    assert_eq!(error["reason"], "command_line");
    assert_eq!(
        error["problems"],
        serde_json::json!(["unexpected argument '--bogus' found"])
    );
}

#[tokio::test]
async fn help_lists_every_exit_code() {
    let ended = run(bare(&["--help"])).await;
    assert_eq!(ended.code, Some(0));
    for code in [0, 1, 2, 3, 4, 5, 6, 130] {
        assert!(ended.stdout.contains(&format!("\n  {code:>3}  ")), "{code}");
    }
}
