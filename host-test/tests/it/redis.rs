//! Key-value stores in Redis: two embedded hosts on one real `redis-server`, as two `spin up` would
//! be.

use std::{
    env,
    ffi::OsString,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
    sync::OnceLock,
    time::{Duration, Instant},
};

use crate::support::{self, bearer, load, stub};
use host_test::wire::{Reply, exchange, get};
use programs::{Guest, Process, install::debian, on_path, repository};
use spin_host::{App, Running, ServeOptions};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};
use verify_stub::{TokenSpec, VerifyStub};

/// Set to 1, these tests are skipped.
const SKIP: &str = "SKIP_REDIS";

/// How long a process may take to get ready, or to be gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// A caller waits no longer for an answer, whatever ails the store: far below the time limit of the
/// introspection call.
const IN_TIME: Duration = Duration::from_secs(5);

/// A server of the test's own. Dropped, it is gone.
struct Redis {
    program: PathBuf,
    libraries: OsString,
    port: u16,
    folder: TempDir,
    process: Option<Process>,
}

/// None if the tests are to be skipped.
fn redis() -> Option<Redis> {
    if env::var_os(SKIP).is_some_and(|value| value == "1") {
        eprintln!("skipped: {SKIP}=1");
        return None;
    }
    let (program, libraries) = match on_path("redis-server") {
        Some(installed) => (installed, OsString::new()),
        None => {
            let unpacked = debian("redis", &["redis-server"], SKIP).unwrap();
            (
                unpacked.root.join("usr/bin/redis-server"),
                unpacked.libraries,
            )
        }
    };
    // Free a moment ago; should another process take it meanwhile, the server does not start and
    // says so.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    Some(Redis {
        program,
        libraries,
        port,
        folder: TempDir::new().unwrap(),
        process: None,
    })
}

impl Redis {
    async fn start(&mut self) {
        let process = Process::start(&self.program, |command| {
            command.env("LD_LIBRARY_PATH", &self.libraries);
            command
                .args([
                    "--bind",
                    "127.0.0.1",
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                    "--port",
                ])
                .arg(self.port.to_string())
                .arg("--dir")
                .arg(self.folder.path());
        });
        self.process = Some(process.unwrap());
        let begin = Instant::now();
        while self.ask("PING").await.as_deref() != Some("+PONG\r\n") {
            let process = self.process.as_ref().unwrap();
            assert!(begin.elapsed() < PATIENCE, "no Redis: {}", process.out());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the server answers to one line; None without a server.
    async fn ask(&self, line: &str) -> Option<String> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream
            .write_all(format!("{line}\r\n").as_bytes())
            .await
            .ok()?;
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).await.ok()?;
        Some(String::from_utf8_lossy(answer.get(..read)?).into_owned())
    }

    fn signal(&self, signal: &str) {
        let id = self.process.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(status.success(), "kill {signal} {id}");
    }

    fn stop(&mut self) {
        self.process = None;
    }

    /// A runtime configuration that puts the store `default` into this server.
    fn runtime_config(&self) -> PathBuf {
        let path = self.folder.path().join("runtime-config.toml");
        let text = format!(
            "[key_value_store.default]\ntype = \"redis\"\nurl = \"redis://127.0.0.1:{}\"\n",
            self.port
        );
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// spin.toml as it ships, with the store for all instances, of which each serves one request.
async fn serve(redis: &Redis, stub: &VerifyStub, extra: &[(&str, &str)]) -> Running {
    static APP: OnceLock<App> = OnceLock::new();
    let app = APP.get_or_init(|| load(&repository().join("spin.toml"), Guest::ServiceB));
    let settings = [&[("cache_ttl", "60"), ("cache_store", "default")], extra].concat();
    let options = ServeOptions {
        runtime_config: Some(redis.runtime_config()),
        max_instance_reuse_count: 1,
        ..support::options(stub, &settings)
    };
    app.serve(options).await.unwrap()
}

/// What a caller gets, who never waits for a store that is in trouble.
async fn call(running: &Running, token: &str) -> Reply {
    let begin = Instant::now();
    let reply = exchange(running.address(), &get("/data", bearer(token))).await;
    assert!(begin.elapsed() < IN_TIME, "after {:?}", begin.elapsed());
    reply.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_one_host_is_used_by_another_until_it_is_too_old() {
    let Some(mut redis) = redis() else { return };
    redis.start().await;
    let stub = stub().await;
    let hosts = [
        serve(&redis, &stub, &[]).await,
        serve(&redis, &stub, &[]).await,
    ];
    let token = stub.issue(TokenSpec::default());
    for _ in 0..3 {
        for host in &hosts {
            assert_eq!(call(host, &token).await.status, 200);
        }
    }
    assert_eq!(stub.introspections_of(&token), 1);
    assert_eq!(redis.ask("DBSIZE").await.as_deref(), Some(":1\r\n"));
    // No token stands in the database, and no key but ours.
    let keys = redis.ask("KEYS *").await.unwrap();
    assert!(!keys.contains(&token), "{keys}");

    // What the store holds past its time is not believed.
    let hosts = [
        serve(&redis, &stub, &[("cache_ttl", "1")]).await,
        serve(&redis, &stub, &[("cache_ttl", "1")]).await,
    ];
    let token = stub.issue(TokenSpec::default());
    assert_eq!(call(&hosts[0], &token).await.status, 200);
    assert_eq!(call(&hosts[1], &token).await.status, 200);
    stub.revoke(&token);
    let begin = Instant::now();
    while call(&hosts[1], &token).await.status == 200 {
        assert!(begin.elapsed() < PATIENCE, "a record is believed for ever");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_dies_or_comes_back_costs_no_caller_an_answer() {
    let Some(mut redis) = redis() else { return };
    redis.start().await;
    let stub = stub().await;
    let host = serve(&redis, &stub, &[]).await;
    let token = stub.issue(TokenSpec::default());
    assert_eq!(call(&host, &token).await.status, 200);
    assert_eq!(call(&host, &token).await.status, 200);
    assert_eq!(stub.introspections_of(&token), 1);

    redis.signal("-STOP");
    for _ in 0..3 {
        assert_eq!(call(&host, &token).await.status, 200, "while it hangs");
    }
    let introspections = stub.introspections_of(&token);
    assert!((2..=4).contains(&introspections), "{introspections}");
    redis.signal("-CONT");
    until_shared(&host, &stub).await;

    redis.stop();
    for _ in 0..3 {
        assert_eq!(call(&host, &token).await.status, 200, "when it has died");
    }
    stub.revoke(&token);
    assert_eq!(
        call(&host, &token).await.status,
        401,
        "nothing is believed unasked"
    );
    redis.start().await;
    until_shared(&host, &stub).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_starts_without_its_server_and_uses_it_once_it_is_there() {
    let Some(mut redis) = redis() else { return };
    let stub = stub().await;
    let host = serve(&redis, &stub, &[]).await;
    let token = stub.issue(TokenSpec::default());
    assert_eq!(call(&host, &token).await.status, 200);
    assert_eq!(call(&host, &token).await.status, 200);
    assert_eq!(stub.introspections_of(&token), 2);
    redis.start().await;
    until_shared(&host, &stub).await;
}

/// Waits until the host finds in the store what it has put there.
async fn until_shared(host: &Running, stub: &VerifyStub) {
    let begin = Instant::now();
    loop {
        let token = stub.issue(TokenSpec::default());
        for _ in 0..2 {
            assert_eq!(call(host, &token).await.status, 200);
        }
        if stub.introspections_of(&token) == 1 {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "the store is not used again");
        sleep(Duration::from_millis(50)).await;
    }
}

/// The store as any guest meets it.
#[tokio::test(flavor = "multi_thread")]
async fn guests_get_set_list_and_delete_and_see_errors() {
    const MANIFEST: &str = r#"
spin_manifest_version = 2
application = { name = "stores" }
[[trigger.http]]
route = "/kv/..."
component = "app"
[component.app]
source = "echo_app.wasm"
key_value_stores = ["default"]
"#;
    let Some(mut redis) = redis() else { return };
    redis.start().await;
    let manifest = redis.folder.path().join("spin.toml");
    std::fs::write(&manifest, MANIFEST).unwrap();
    let echo = Guest::EchoApp.build().unwrap();
    let app = App::load(&manifest, &[("app".to_owned(), echo)].into()).unwrap();
    let options = || ServeOptions {
        runtime_config: Some(redis.runtime_config()),
        environment: Some([].into()),
        ..ServeOptions::default()
    };
    let hosts = [
        app.serve(options()).await.unwrap(),
        app.serve(options()).await.unwrap(),
    ];
    const DONE: &str = r#"{"ok":null}"#;
    let table = [
        (0, "/kv/get/default/a", DONE),
        (0, "/kv/set/default/a/1", DONE),
        (1, "/kv/get/default/a", r#"{"ok":"1"}"#),
        (1, "/kv/set/default/a/2", DONE),
        (0, "/kv/get/default/a", r#"{"ok":"2"}"#),
        (0, "/kv/exists/default/a", r#"{"ok":true}"#),
        (1, "/kv/keys/default", r#"{"ok":["a"]}"#),
        (1, "/kv/delete/default/a", DONE),
        (1, "/kv/delete/default/a", DONE),
        (0, "/kv/exists/default/a", r#"{"ok":false}"#),
        (0, "/kv/get/other/a", r#"{"error":"Error::AccessDenied"}"#),
    ];
    for (host, command, expected) in table {
        let reply = exchange(hosts[host].address(), &get(command, ""))
            .await
            .unwrap();
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (200, expected),
            "{command}"
        );
    }
    assert!(
        hosts[0].key_value_store("default").is_none(),
        "it is not ours to break"
    );

    assert_eq!(hosts[0].stats().traps, 0);
}
