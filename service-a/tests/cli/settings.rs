//! Missing and wrong settings: each is one error that names the variable and the flag.

use crate::fixture::{Finished, SECRET, TOKEN, TemporaryFile, World, bare, run};

const BLANKS: &str = "begins or ends with a space: remove what does not belong to it";
const QUOTES: &str =
    "has quotes (') around it that are part of it: remove what does not belong to it";
const BOM: &str = "has a byte order mark (U+FEFF) in it: remove what does not belong to it";
const RETURN: &str = "has a carriage return in it: remove what does not belong to it";
const LINE: &str = "has a line feed in it, which `echo` adds and `printf %s` does not: remove what does not belong to it";

const MISSING: [&str; 3] = [
    "WORKOUT18_ISSUER (--issuer) is missing or empty: set it",
    "WORKOUT18_CLIENT_ID (--client-id) is missing or empty: set it",
    "WORKOUT18_CLIENT_SECRET (--secret-file, --secret-stdin) is missing or empty: set it",
];

#[tokio::test]
async fn every_missing_setting_is_named() {
    assert_eq!(run(bare(&[])).await, Finished::wrong_settings(&MISSING));
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
    assert_eq!(run(command).await, Finished::wrong_settings(&MISSING));
}

#[tokio::test]
async fn an_empty_service_b_url_and_scope_are_the_defaults() {
    let world = World::working().await;
    let mut command = world.service_a(&["--token-only"]);
    command
        .env("WORKOUT18_SERVICE_B_URL", "")
        .env("WORKOUT18_SCOPE", "");
    assert_eq!(run(command).await.code, Some(0));
}

#[tokio::test]
async fn flags_take_precedence_over_the_environment() {
    let world = World::working().await;
    let issuer = world.issuer_url();
    let url = world.data_url();
    let flags = format!(
        "--issuer {issuer} --client-id flagged --service-b-url {url} --scope a --client-auth post"
    );
    let mut command = bare(&flags.split(' ').collect::<Vec<_>>());
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
    let plain_issuer = "is plain http to another machine, which exposes the secret to the network: use https, or add --allow-http (WORKOUT18_ALLOW_HTTP=true) on a network that nobody else uses";
    let plain_b = "is plain http to another machine, which exposes the token to the network: use https, or add --allow-http (WORKOUT18_ALLOW_HTTP=true) on a network that nobody else uses";
    let comma = "has a comma: separate with spaces";
    let uris = "must be absolute URIs without a fragment (RFC 8707 section 2)";
    let table = [
        ("TOKEN_URL", "token", not_a_url),
        ("TOKEN_URL", "https://a:b@tenant/t", extras),
        ("TOKEN_URL", "https://tenant/t\n", LINE),
        ("TOKEN_URL", "http://tenant.example/t", plain_issuer),
        ("ISSUER", "tenant.verify.ibm.com", not_a_url),
        ("ISSUER", "ftp://tenant/", not_a_url),
        ("ISSUER", "https://", not_a_url),
        ("ISSUER", "https://ten ant/", not_a_url),
        ("ISSUER", "https://tenant/ ", BLANKS),
        ("ISSUER", "'https://tenant/'", QUOTES),
        ("ISSUER", "\u{feff}https://tenant/", BOM),
        ("ISSUER", "https://ten\nant/", LINE),
        ("CLIENT_ID", "svc\n", LINE),
        ("CLIENT_ID", " svc", BLANKS),
        ("CLIENT_ID", "'svc'", QUOTES),
        ("CLIENT_ID", "svc\u{feff}", BOM),
        ("SERVICE_B_URL", "http://127.0.0.1/\n", LINE),
        ("AUDIENCE", "b\r\n", RETURN),
        ("AUDIENCE", "'b'", QUOTES),
        ("SCOPE", "read,write", comma),
        ("SCOPE", "read, write", comma),
        ("SCOPE", "'read write'", QUOTES),
        ("RESOURCE", "https://b,https://c", comma),
        ("RESOURCE", "https://b\n", LINE),
        ("RESOURCE", "b", uris),
        ("RESOURCE", "https://b#c", uris),
        ("ISSUER", "https://a:b@tenant/", extras),
        ("ISSUER", "https://tenant/#x", extras),
        ("ISSUER", "https://tenant/?x", "must not have a query"),
        ("ISSUER", "http://tenant.example/", plain_issuer),
        ("ISSUER", "http://localhost.evil.example/", plain_issuer),
        ("SERVICE_B_URL", "data", not_a_url),
        ("SERVICE_B_URL", "http://b:c@127.0.0.1/", extras),
        ("SERVICE_B_URL", "http://10.0.0.1/data", plain_b),
        (
            "SCOPE",
            "a \"b\"",
            "must be scope tokens separated by spaces (RFC 6749 section 3.3)",
        ),
        (
            "SCOPE",
            "a\tb",
            "has a tab in it: remove what does not belong to it",
        ),
    ];
    let world = World::working().await;
    for (name, value, problem) in table {
        let flag = format!("--{}", name.to_lowercase().replace('_', "-"));
        let expected = Finished::wrong_settings(&[&format!("WORKOUT18_{name} ({flag}) {problem}")]);
        let mut command = world.service_a(&[]);
        command.env(format!("WORKOUT18_{name}"), value);
        if name == "TOKEN_URL" {
            command.env_remove("WORKOUT18_ISSUER");
        }
        assert_eq!(run(command).await, expected, "{value}");
        let finished = run(world.service_a(&[&flag, value])).await;
        assert_eq!(finished, expected, "{value}");
    }
    assert_eq!(world.token_requests().await.len(), 0);
}

#[tokio::test]
async fn only_one_setting_decides_where_the_secret_is_sent() {
    let both = "WORKOUT18_ISSUER (--issuer) and WORKOUT18_TOKEN_URL (--token-url) are both set, but only one may decide where the secret is sent: unset the other";
    let world = World::working().await;
    let mut exported = world.service_a(&[]);
    exported.env("WORKOUT18_TOKEN_URL", world.token_url());
    assert_eq!(run(exported).await, Finished::wrong_settings(&[both]));
    let (issuer, url) = (world.issuer_url(), world.token_url());
    let typed = world.service_a(&["--issuer", &issuer, "--token-url", &url]);
    assert_eq!(run(typed).await, Finished::wrong_settings(&[both]));
    assert_eq!(world.token_requests().await.len(), 0);

    // A flag takes precedence over a variable, both ways.
    let thief = World::working().await;
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
async fn every_flag_has_a_variable_with_the_same_meaning() {
    let world = World::working().await;
    let variables = |variables: &[(&str, &str)]| {
        let mut command = world.service_a(&[]);
        for (name, value) in variables {
            command.env(format!("WORKOUT18_{name}"), value);
        }
        command
    };
    let finished = run(variables(&[
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
        // Settings of Service B are accepted and ignored.
        ("EXPECTED_AUD", "b"),
        ("INTROSPECT_URL", "https://tenant.example/introspect"),
        ("MAX_TOKEN_BYTES", "1000"),
    ]))
    .await;
    assert_eq!(finished.stderr, "");
    assert_eq!(finished.stdout, format!("{TOKEN}\n"));
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
    let world = World::working().await;
    let invalid = "invalid value '0' for '--timeout <SECONDS>': expected a number of seconds above 0, at most 3600";
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
        // The variable selects JSON for this error too.
        let finished = run(json).await;
        assert_eq!(finished.code, Some(2));
        assert_eq!(finished.json()["error"]["reason"], "command_line");
        assert_eq!(
            finished.json()["error"]["problems"],
            serde_json::json!([problem])
        );
        let finished = run(text).await;
        assert_eq!(finished.code, Some(2));
        let tip = problem
            .split_once('(')
            .map(|(_, tip)| tip.trim_end_matches(')'));
        let shown = finished
            .stderr
            .lines()
            .find_map(|line| line.strip_prefix("  tip: "));
        assert_eq!(shown, tip, "{}", finished.stderr);
    }
    assert_eq!(world.token_requests().await.len(), 0);
}

#[tokio::test]
async fn an_unknown_variable_is_refused_with_the_name_that_was_meant() {
    let world = World::working().await;
    let mut command = world.service_a(&[]);
    command
        .env("WORKOUT18_SCOPES", "admin")
        .env("WORKOUT18_EXPECTED_AUDIENCE", "https://b")
        .env("WORKOUT18_QQQ", "");
    let expected = Finished::wrong_settings(&[
        "environment variable WORKOUT18_EXPECTED_AUDIENCE is not a setting: did you mean WORKOUT18_EXPECTED_AUD?",
        "environment variable WORKOUT18_QQQ is not a setting: unset it, or see the table of settings in README.md",
        "environment variable WORKOUT18_SCOPES is not a setting: did you mean WORKOUT18_SCOPE?",
    ]);
    assert_eq!(run(command).await, expected);
    assert_eq!(world.token_requests().await.len(), 0);
}

#[tokio::test]
async fn rfc7617_2_raw_basic_refuses_a_colon_in_the_id() {
    let world = World::working().await;
    let arguments = ["--client-id", "a:b", "--client-auth", "basic-raw"];
    let problem = "WORKOUT18_CLIENT_ID (--client-id) has a colon, which --client-auth basic-raw cannot send (RFC 7617 section 2): use basic or post";
    assert_eq!(
        run(world.service_a(&arguments)).await,
        Finished::wrong_settings(&[problem])
    );
}

#[tokio::test]
async fn unusable_secrets_are_refused() {
    let world = World::working().await;
    let table = [
        ("two\nlines", LINE),
        ("s3cret\n", LINE),
        ("s3cret\r\n", RETURN),
        (" s3cret ", BLANKS),
        ("'s3cret'", QUOTES),
        ("\u{feff}s3cret", BOM),
    ];
    for (secret, problem) in table {
        let mut command = world.service_a(&[]);
        command.env("WORKOUT18_CLIENT_SECRET", secret);
        let named = "WORKOUT18_CLIENT_SECRET (--secret-file, --secret-stdin)";
        let expected = Finished::wrong_settings(&[&format!("{named} {problem}")]);
        assert_eq!(run(command).await, expected, "{secret:?}");
    }
    // Only one line end at the end of a file is dropped.
    let table = [
        ("two\nlines\n", LINE),
        ("s3cret\n\n", LINE),
        ("s3cret \n", BLANKS),
        ("'s3cret'\n", QUOTES),
        ("\u{feff}s3cret\r\n", BOM),
    ];
    for (content, problem) in table {
        let file = TemporaryFile::new("unusable", content);
        let error = format!("WORKOUT18_SECRET_FILE (--secret-file) {problem}");
        let expected = Finished::wrong_settings(&[&error]);
        let command = world.service_a(&["--secret-file", file.path()]);
        assert_eq!(run(command).await, expected, "{content:?}");
        let mut command = world.service_a(&[]);
        command.env("WORKOUT18_SECRET_FILE", file.path());
        assert_eq!(run(command).await, expected, "{content:?}");
    }

    let table: [(&[&str], &str); 3] = [
        (
            &["--secret-file", "/nowhere/secret"],
            "WORKOUT18_SECRET_FILE (--secret-file) cannot be read: No such file or directory (os error 2)",
        ),
        (
            &["--secret-file", "/dev/zero"],
            "WORKOUT18_SECRET_FILE (--secret-file) holds more than 65536 bytes, which is no secret",
        ),
        // Standard input of these runs is empty.
        (
            &["--secret-stdin"],
            "WORKOUT18_SECRET_STDIN (--secret-stdin) holds an empty secret",
        ),
    ];
    for (arguments, error) in table {
        let finished = run(world.service_a(arguments)).await;
        assert_eq!(finished, Finished::wrong_settings(&[error]));
    }
}

#[tokio::test]
async fn allow_http_permits_plain_http_to_another_machine() {
    let world = World::working().await;
    // Nothing responds in TEST-NET-1.
    let arguments = "--json --service-b-url http://192.0.2.1/ --allow-http --timeout 0.2";
    let arguments: Vec<_> = arguments.split(' ').collect();
    assert_eq!(run(world.service_a(&arguments)).await.code, Some(6));
}

#[tokio::test]
async fn contradictory_and_meaningless_flags_are_refused() {
    let table = [
        "--token-only --json",
        "--token-only --repeat 2",
        "--token-only --watch",
        "--repeat 2 --watch",
        "--concurrency 2",
        "--rate 2",
        "--repeat 0",
        "--repeat 2 --concurrency 0",
        "--repeat 2 --rate nan",
        "--timeout 0",
        "--timeout inf",
        "--client-auth digest",
        "--secret-file x --secret-stdin",
    ];
    let world = World::working().await;
    for flags in table {
        let flags: Vec<_> = flags.split(' ').collect();
        let finished = run(world.service_a(&flags)).await;
        assert_eq!(finished.code, Some(2), "{flags:?}");
        let output = finished.stdout + &finished.stderr;
        let json = flags.contains(&"--json");
        assert!(output.starts_with("error: ") != json, "{output}");
    }
    assert_eq!(world.token_requests().await.len(), 0);
}

#[tokio::test]
async fn settings_and_command_line_fail_in_json_too() {
    let finished = run(bare(&["--json"])).await;
    assert_eq!(finished.code, Some(2));
    assert_eq!(finished.stderr, "");
    let error = finished.json()["error"].take();
    assert_eq!(error["class"], "usage");
    assert_eq!(error["reason"], "settings");
    assert_eq!(error["problems"], serde_json::json!(MISSING));

    let finished = run(bare(&["--json", "--bogus"])).await;
    assert_eq!(finished.code, Some(2));
    assert_eq!(finished.stderr, "");
    let error = finished.json()["error"].take();
    assert_eq!(error["reason"], "command_line");
    assert_eq!(
        error["problems"],
        serde_json::json!(["unexpected argument '--bogus' found"])
    );
}

#[tokio::test]
async fn help_lists_every_exit_code() {
    let finished = run(bare(&["--help"])).await;
    assert_eq!(finished.code, Some(0));
    for code in [0, 1, 2, 3, 4, 5, 6, 130] {
        assert!(
            finished.stdout.contains(&format!("\n  {code:>3}  ")),
            "{code}"
        );
    }
}
