//! Missing and wrong settings: each is one error that names the variable and the flag.

use crate::{
    secrets::SecretFile,
    world::{Ended, SECRET, TOKEN, World, bare, run},
};

const RETURN: &str = "has a carriage return in it: remove what does not belong to it";
const LINE: &str = "has a line feed in it, which `echo` adds and `printf %s` does not: remove what does not belong to it";

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
    let plain_issuer = "is plain http to another machine, which shows the secret to the network: use https, or add --allow-http (WORKOUT18_ALLOW_HTTP=true) on a network that nobody else is on";
    let plain_b = "is plain http to another machine, which shows the token to the network: use https, or add --allow-http (WORKOUT18_ALLOW_HTTP=true) on a network that nobody else is on";
    let blanks = "begins or ends with a blank: remove what does not belong to it";
    let quotes = "stands in quotes (') that are part of it: remove what does not belong to it";
    let bom = "has a byte order mark (U+FEFF) in it: remove what does not belong to it";
    let comma = "has a comma: separate by spaces";
    let uris = "must be absolute URIs without a fragment (RFC 8707 section 2)";
    let table = [
        ("ISSUER", "--issuer", "tenant.verify.ibm.com", not_a_url),
        ("ISSUER", "--issuer", "ftp://tenant/", not_a_url),
        ("ISSUER", "--issuer", "https://", not_a_url),
        ("ISSUER", "--issuer", "https://ten ant/", not_a_url),
        ("ISSUER", "--issuer", "https://tenant/ ", blanks),
        ("ISSUER", "--issuer", "'https://tenant/'", quotes),
        ("ISSUER", "--issuer", "\u{feff}https://tenant/", bom),
        ("ISSUER", "--issuer", "https://ten\nant/", LINE),
        ("CLIENT_ID", "--client-id", "svc\n", LINE),
        ("CLIENT_ID", "--client-id", " svc", blanks),
        ("CLIENT_ID", "--client-id", "'svc'", quotes),
        ("CLIENT_ID", "--client-id", "svc\u{feff}", bom),
        (
            "SERVICE_B_URL",
            "--service-b-url",
            "http://127.0.0.1/\n",
            LINE,
        ),
        ("AUDIENCE", "--audience", "b\r\n", RETURN),
        ("AUDIENCE", "--audience", "'b'", quotes),
        ("SCOPE", "--scope", "read,write", comma),
        ("SCOPE", "--scope", "read, write", comma),
        ("SCOPE", "--scope", "'read write'", quotes),
        ("RESOURCE", "--resource", "https://b,https://c", comma),
        ("RESOURCE", "--resource", "https://b\n", LINE),
        ("RESOURCE", "--resource", "b", uris),
        ("RESOURCE", "--resource", "https://b#c", uris),
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
            "has a tab in it: remove what does not belong to it",
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
    let table = [
        ("token", not_a_url),
        ("https://a:b@tenant/t", extras),
        ("https://tenant/t\n", LINE),
        ("http://tenant.example/t", plain_issuer),
    ];
    for (value, problem) in table {
        let expected = failed(&[&format!("WORKOUT18_TOKEN_URL (--token-url) {problem}")]);
        let mut command = world.service_a(&[]);
        command
            .env("WORKOUT18_TOKEN_URL", value)
            .env_remove("WORKOUT18_ISSUER");
        assert_eq!(run(command).await, expected, "{value}");
        assert_eq!(
            run(world.service_a(&["--token-url", value])).await,
            expected,
            "{value}"
        );
    }
    assert_eq!(world.token_requests().await.len(), 0);
}

#[tokio::test]
async fn only_one_setting_says_where_the_secret_goes() {
    let both = "WORKOUT18_ISSUER (--issuer) and WORKOUT18_TOKEN_URL (--token-url) are both set, and only one may say where the secret goes: unset the other";
    let world = World::sound().await;
    let mut exported = world.service_a(&[]);
    exported.env("WORKOUT18_TOKEN_URL", world.token_url());
    assert_eq!(run(exported).await, failed(&[both]));
    let (issuer, url) = (world.issuer_url(), world.token_url());
    let typed = world.service_a(&["--issuer", &issuer, "--token-url", &url]);
    assert_eq!(run(typed).await, failed(&[both]));
    assert_eq!(world.token_requests().await.len(), 0);

    // What was typed wins over what was exported, both ways.
    let thief = World::sound().await;
    let elsewhere = thief.issuer_url();
    let mut command = world.service_a(&["--token-only", "--issuer", &elsewhere]);
    command
        .env_remove("WORKOUT18_ISSUER")
        .env("WORKOUT18_TOKEN_URL", world.token_url());
    assert_eq!(run(command).await.code, Some(0));
    assert_eq!(world.token_requests().await.len(), 0);
    assert_eq!(thief.token_requests().await.len(), 1);
}

#[tokio::test]
async fn every_flag_has_a_variable_that_says_the_same() {
    let world = World::sound().await;
    let variables = |variables: &[(&str, &str)]| {
        let mut command = world.service_a(&[]);
        for (name, value) in variables {
            command.env(format!("WORKOUT18_{name}"), value);
        }
        command
    };
    let ended = run(variables(&[
        ("TOKEN_ONLY", "true"),
        ("JSON", "false"),
        ("VERBOSE", ""),
        ("REPEAT", ""),
        ("WATCH", ""),
        ("RATE", ""),
        ("CONCURRENCY", ""),
        ("TIMEOUT", ""),
        ("CLIENT_AUTH", "post"),
        ("CONNECT_TIMEOUT", "2"),
        ("SCOPE", "read write"),
        ("AUDIENCE", "b"),
        ("RESOURCE", "urn:b urn:c"),
        // Service B's: known, and not read here.
        ("EXPECTED_AUD", "b"),
        ("INTROSPECT_URL", "https://tenant.example/introspect"),
        ("MAX_TOKEN_BYTES", "1000"),
    ]))
    .await;
    assert_eq!(ended.stderr, "");
    assert_eq!(ended.stdout, format!("{TOKEN}\n"));
    let body = world.token_requests().await.remove(0).body;
    assert_eq!(
        String::from_utf8(body).unwrap(),
        "grant_type=client_credentials&scope=read+write&client_id=service-a-client&client_secret=s3cret%3Awith%2Bsigns%2F%25&audience=b&resource=urn%3Ab&resource=urn%3Ac"
    );
    let summary = run(variables(&[
        ("REPEAT", "3"),
        ("CONCURRENCY", "2"),
        ("RATE", "1000"),
        ("JSON", "true"),
    ]))
    .await;
    assert_eq!(summary.code, Some(0));
    assert_eq!(world.calls().await.len(), 3);
}

#[tokio::test]
async fn a_variable_that_cannot_be_used_is_named() {
    let world = World::sound().await;
    let invalid = "invalid value '0' for '--timeout <SECONDS>': a number of seconds is needed, above 0, at most 3600";
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], String);
    let table: [Row<'_>; 5] = [
        (
            &[("TIMEOUT", "0")],
            &[],
            format!("{invalid} (the environment sets WORKOUT18_TIMEOUT)"),
        ),
        (&[("TIMEOUT", "1")], &["--timeout", "0"], invalid.to_owned()),
        (
            &[("VERBOSE", "yes")],
            &[],
            "invalid value 'yes' for '--verbose' [possible values: true, false] (the environment sets WORKOUT18_VERBOSE)"
                .to_owned(),
        ),
        (
            &[("REPEAT", "2")],
            &["--watch"],
            "the argument '--watch [<SECONDS>]' cannot be used with '--repeat <COUNT>' (the environment sets WORKOUT18_REPEAT)".to_owned(),
        ),
        (
            &[("CONCURRENCY", "2")],
            &[],
            "the following required arguments were not provided: --repeat <COUNT> (the environment sets WORKOUT18_CONCURRENCY)".to_owned(),
        ),
    ];
    for (variables, arguments, problem) in table {
        let mut json = world.service_a(arguments);
        let mut text = world.service_a(arguments);
        json.env("WORKOUT18_JSON", "true");
        for (name, value) in variables {
            json.env(format!("WORKOUT18_{name}"), value);
            text.env(format!("WORKOUT18_{name}"), value);
        }
        // In JSON too, as a variable asks for it.
        let ended = run(json).await;
        assert_eq!(ended.code, Some(2));
        assert_eq!(ended.json()["error"]["reason"], "command_line");
        assert_eq!(
            ended.json()["error"]["problems"],
            serde_json::json!([problem])
        );
        let ended = run(text).await;
        assert_eq!(ended.code, Some(2));
        let tip = problem
            .split_once('(')
            .map(|(_, tip)| tip.trim_end_matches(')'));
        let told = ended
            .stderr
            .lines()
            .find_map(|line| line.strip_prefix("  tip: "));
        assert_eq!(told, tip, "{}", ended.stderr);
    }
    assert_eq!(world.token_requests().await.len(), 0);
}

#[tokio::test]
async fn a_variable_that_nobody_reads_is_refused_with_the_one_that_was_meant() {
    let world = World::sound().await;
    let mut command = world.service_a(&[]);
    command
        .env("WORKOUT18_SCOPES", "admin")
        .env("WORKOUT18_EXPECTED_AUDIENCE", "https://b")
        .env("WORKOUT18_QQQ", "");
    let expected = failed(&[
        "environment variable WORKOUT18_EXPECTED_AUDIENCE is not a setting: did you mean WORKOUT18_EXPECTED_AUD?",
        "environment variable WORKOUT18_QQQ is not a setting: unset it, or see the table of settings in README.md",
        "environment variable WORKOUT18_SCOPES is not a setting: did you mean WORKOUT18_SCOPE?",
    ]);
    assert_eq!(run(command).await, expected);
    assert_eq!(world.token_requests().await.len(), 0);
}

#[tokio::test]
async fn rfc7617_2_a_colon_in_the_id_and_raw_basic_do_not_go_together() {
    let world = World::sound().await;
    let arguments = ["--client-id", "a:b", "--client-auth", "basic-raw"];
    let problem = "WORKOUT18_CLIENT_ID (--client-id) has a colon, which --client-auth basic-raw cannot send (RFC 7617 section 2): use basic or post";
    assert_eq!(run(world.service_a(&arguments)).await, failed(&[problem]));
}

#[tokio::test]
async fn secrets_that_cannot_be_one_are_refused() {
    let world = World::sound().await;
    let quotes = "stands in quotes (') that are part of it: remove what does not belong to it";
    let blanks = "begins or ends with a blank: remove what does not belong to it";
    let bom = "has a byte order mark (U+FEFF) in it: remove what does not belong to it";
    let table = [
        ("two\nlines", LINE),
        ("s3cret\n", LINE),
        ("s3cret\r\n", RETURN),
        (" s3cret ", blanks),
        ("'s3cret'", quotes),
        ("\u{feff}s3cret", bom),
    ];
    for (secret, problem) in table {
        let mut command = world.service_a(&[]);
        command.env("WORKOUT18_CLIENT_SECRET", secret);
        let named = "WORKOUT18_CLIENT_SECRET (--secret-file, --secret-stdin)";
        let expected = failed(&[&format!("{named} {problem}")]);
        assert_eq!(run(command).await, expected, "{secret:?}");
    }
    // One line end of a file is not part of the secret; anything else is.
    let table = [
        ("two\nlines\n", LINE),
        ("s3cret\n\n", LINE),
        ("s3cret \n", blanks),
        ("'s3cret'\n", quotes),
        ("\u{feff}s3cret\r\n", bom),
    ];
    for (content, problem) in table {
        let file = SecretFile::new("unusable", content);
        let expected = failed(&[&format!("WORKOUT18_SECRET_FILE (--secret-file) {problem}")]);
        let command = world.service_a(&["--secret-file", file.path()]);
        assert_eq!(run(command).await, expected, "{content:?}");
        let mut command = world.service_a(&[]);
        command.env("WORKOUT18_SECRET_FILE", file.path());
        assert_eq!(run(command).await, expected, "{content:?}");
    }

    let missing = world.service_a(&["--secret-file", "/nowhere/secret"]);
    let problem = "WORKOUT18_SECRET_FILE (--secret-file) cannot be read: No such file or directory (os error 2)";
    assert_eq!(run(missing).await, failed(&[problem]));

    let endless = world.service_a(&["--secret-file", "/dev/zero"]);
    let problem =
        "WORKOUT18_SECRET_FILE (--secret-file) holds more than 65536 bytes, which is no secret";
    assert_eq!(run(endless).await, failed(&[problem]));

    // Standard input of these runs is empty.
    let empty = world.service_a(&["--secret-stdin"]);
    assert_eq!(
        run(empty).await,
        failed(&["WORKOUT18_SECRET_STDIN (--secret-stdin) holds an empty secret"])
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
