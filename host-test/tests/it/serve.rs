//! `cargo serve` as a process: how it starts, what it says and how it ends.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    thread::sleep,
    time::{Duration, Instant},
};

use host_test::wire::{exchange, get};
use programs::{Guest, Process, native, repository};
use tokio::net::TcpStream;

/// How long it may take to start, to compile the components, and to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts `serve` on a free port with these settings and those that it cannot do without.
fn start(settings: &[(&str, &str)]) -> Process {
    start_with("unlimited", settings)
}

/// With at most this many file descriptors, or as many as this process may have.
fn start_with(descriptors: &str, settings: &[(&str, &str)]) -> Process {
    static SERVE: OnceLock<PathBuf> = OnceLock::new();
    let serve = SERVE.get_or_init(|| {
        Guest::ServiceB.build().unwrap();
        let [serve] = native(["serve"]).unwrap();
        serve
    });
    let needed = [
        ("INTROSPECT_URL", "http://127.0.0.1:9/introspect"),
        ("RESOURCE_CLIENT_ID", "service-b"),
        ("RESOURCE_CLIENT_SECRET", "s3cret-of-this-test"),
    ];
    Process::start(Path::new("sh"), |command| {
        let limited = r#"[ "$0" = unlimited ] || ulimit -n "$0"; exec "$@""#;
        command
            .args(["-c", limited, descriptors])
            .arg(serve)
            .args(["--listen", "127.0.0.1:0"])
            .current_dir(repository())
            .env_remove("RUST_LOG")
            .env_remove("NO_COLOR");
        for (name, value) in needed.iter().chain(settings) {
            command.env(format!("WORKOUT18_{name}"), value);
        }
    })
    .unwrap()
}

fn until<T>(process: &Process, found: impl Fn() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "{}{}",
            process.out(),
            process.log()
        );
        sleep(Duration::from_millis(20));
    }
}

/// Where it says that it listens.
fn address(process: &Process) -> SocketAddr {
    until(process, || {
        let out = process.out();
        let line = out.lines().find(|line| line.starts_with("Serving "))?;
        let (_, address) = line.split_once("http://")?;
        Some(address.parse().unwrap())
    })
}

#[tokio::test]
async fn ctrl_c_and_sigterm_right_after_a_request_end_it_without_a_word_of_trouble() {
    for signal in ["-INT", "-TERM"] {
        let serve = start(&[]);
        let address = address(&serve);
        assert_ne!(address.port(), 0);
        let reply = exchange(address, &get("/health", "")).await.unwrap();
        assert_eq!(reply.status, 200);
        let status = Command::new("kill")
            .args([signal, &serve.id().to_string()])
            .status();
        assert!(status.unwrap().success());
        let status = until(&serve, || serve.exit_status());
        let log = serve.log();
        assert!(status.success(), "{signal}: {status}: {log}");
        for trouble in ["panic", "trapped", "ERROR"] {
            assert!(!log.contains(trouble), "{signal}: {log}");
        }
        assert!(
            log.ends_with("Stopping: waiting for requests that are under way\n"),
            "{signal}: {log}"
        );
        // No colours: it is not a terminal.
        assert!(!log.contains('\x1b'), "{signal}: {log:?}");
    }
}

#[tokio::test]
async fn d4_more_idle_connections_than_file_descriptors_keep_nobody_waiting() {
    // With 256 descriptors there are 96 connections.
    let serve = start_with("256", &[]);
    let address = address(&serve);
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    let reply = exchange(address, &get("/health", "")).await.unwrap();
    assert_eq!(reply.status, 200);
    // It took the place of one more. The system needs a moment to report what is closed.
    let still_open = |stream: &TcpStream| {
        let read = stream.try_read(&mut [0]);
        read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    let begin = Instant::now();
    while idle.iter().filter(|stream| still_open(stream)).count() > 95 {
        assert!(begin.elapsed() < PATIENCE, "{}", serve.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(idle.iter().filter(|stream| still_open(stream)).count(), 95);
    let log = serve.log();
    assert!(!log.contains("cannot accept a connection"), "{log}");
}

#[test]
fn wrong_settings_end_it_before_it_listens() {
    let table = [
        (
            ("TIMEOUT", "5s"),
            "component service-b: setting `timeout` (Spin variable auth_timeout) must be a whole number of seconds \
             from 1 to 60",
        ),
        (
            ("EXPECTED_AUDIENCE", ""),
            "environment variable WORKOUT18_EXPECTED_AUDIENCE is not a setting: did you mean WORKOUT18_EXPECTED_AUD?",
        ),
        (
            ("REQUIRE", "audience"),
            "component service-b: setting `require` (Spin variable auth_require) has `audience`, and none is required: \
             set `expected_aud`; if it is set, is auth_expected_aud in [component.<app>.variables] of spin.toml?",
        ),
        (
            ("RESOURCE_CLIENT_SECRET", "s3cret-of-this-test\n"),
            "component service-b: setting `resource_client_secret` (Spin variable auth_resource_client_secret) has a \
             line feed in it, which `echo` adds and `printf %s` does not: remove what does not belong to it",
        ),
        (
            ("INTROSPECT_ORIGIN", "http://127.0.0.1:9/"),
            "component service-b: setting `introspect_origin` (Spin variable auth_introspect_origin) must be \
             `http://127.0.0.1:9`, the scheme, host and port of `introspect_url`, and nothing more",
        ),
        (
            ("RESOURCE_CLIENT_SECRET", ""),
            "component service-b: setting `resource_client_secret` (Spin variable auth_resource_client_secret) is \
             missing or empty: set auth_resource_client_secret, or `resource_client_secret` in auth_settings, in \
             [component.<app>.variables] of spin.toml, and have \"variables\" in `inherit_configuration` of the \
             middleware",
        ),
    ];
    for (setting, expected) in table {
        let serve = start(&[setting]);
        let status = until(&serve, || serve.exit_status());
        let log = serve.log();
        assert_eq!(status.code(), Some(1), "{setting:?}: {log}");
        assert_eq!(log, format!("Error: {expected}\n"), "{setting:?}");
        assert!(!log.contains("s3cret"), "{setting:?}: {log}");
        assert_eq!(serve.out(), "", "{setting:?}");
    }
}

#[test]
fn the_requirements_are_logged_once_at_the_start() {
    let table = [
        (
            vec![],
            "component service-b: warning: nothing is required: every active token of this issuer is accepted; rules: none; cache: none",
        ),
        (
            vec![("EXPECTED_AUD", "https://b"), ("CACHE_TTL", "60")],
            "component service-b: required of a token: audience \"https://b\", scope any, client any, issuer any, grant type any; \
             rules: none; cache: 60 s",
        ),
    ];
    for (settings, expected) in table {
        let serve = start(&settings);
        address(&serve);
        let log = serve.log();
        let transcript: Vec<_> = log
            .lines()
            .filter(|line| line.contains(" required"))
            .collect();
        assert_eq!(transcript, [expected], "{log}");
    }
}
