//! Key-value stores of the embedded host, as a guest meets them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use host_test::wire::{exchange, get};
use programs::Guest;
use spin_host::{App, Running, STORE_BYTES, ServeOptions, StoreFault};
use tokio::time::timeout;

/// An app that may open two of the stores, and one that may open none.
const MANIFEST: &str = r#"
spin_manifest_version = 2
application = { name = "stores" }
[[trigger.http]]
route = "/kv/..."
component = "granted"
[[trigger.http]]
route = "/denied/kv/..."
component = "denied"
[component.granted]
source = "echo_app.wasm"
key_value_stores = ["default", "cache"]
[component.denied]
source = "echo_app.wasm"
"#;

const RUNTIME_CONFIG: &str = r#"
[key_value_store.cache]
type = "spin"
[key_value_store.other]
type = "spin"
"#;

const BROKEN: &str = r#"{"error":"Error::Other(\"the store is broken\")"}"#;
const DENIED: &str = r#"{"error":"Error::AccessDenied"}"#;
const DONE: &str = r#"{"ok":null}"#;

fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn load(name: &str, manifest: &str) -> App {
    let echo = Guest::EchoApp.build().unwrap();
    let sources = ["granted", "denied"].map(|id| (id.to_owned(), echo.clone()));
    App::load(&file(name, manifest), &BTreeMap::from(sources)).unwrap()
}

fn options(name: &str, runtime_config: &str) -> ServeOptions {
    ServeOptions {
        runtime_config: Some(file(name, runtime_config)),
        environment: Some(BTreeMap::new()),
        ..ServeOptions::default()
    }
}

/// Each request has an instance of its own.
async fn serve() -> Running {
    // Files too are written once: tests run at the same time.
    static APP: OnceLock<(App, ServeOptions)> = OnceLock::new();
    let (app, options) = APP.get_or_init(|| {
        let options = ServeOptions {
            max_instance_reuse_count: 1,
            ..options("stores-runtime-config.toml", RUNTIME_CONFIG)
        };
        (load("stores-spin.toml", MANIFEST), options)
    });
    app.serve(options.clone()).await.unwrap()
}

async fn call(to: SocketAddr, command: &str) -> String {
    let reply = exchange(to, &get(command, "")).await.unwrap();
    assert_eq!(reply.status, 200, "{command}");
    reply.text()
}

#[tokio::test]
async fn what_one_instance_sets_another_one_gets() {
    let running = serve().await;
    let to = running.address();
    let table = [
        ("/kv/get/cache/a", DONE),
        ("/kv/set/cache/a/1", DONE),
        ("/kv/get/cache/a", r#"{"ok":"1"}"#),
        ("/kv/set/cache/a/2", DONE),
        ("/kv/set/cache/b/3", DONE),
        ("/kv/get/cache/a", r#"{"ok":"2"}"#),
        ("/kv/exists/cache/b", r#"{"ok":true}"#),
        ("/kv/keys/cache", r#"{"ok":["a","b"]}"#),
        // A store of its own.
        ("/kv/keys/default", r#"{"ok":[]}"#),
        ("/kv/delete/cache/b", DONE),
        ("/kv/delete/cache/b", DONE),
        ("/kv/exists/cache/b", r#"{"ok":false}"#),
    ];
    for (command, expected) in table {
        assert_eq!(call(to, command).await, expected, "{command}");
    }
    let stats = running.stats();
    assert_eq!((stats.instances, stats.traps), (table.len() as u64, 0));
}

#[tokio::test]
async fn a_label_that_was_not_granted_is_denied_whether_it_exists_or_not() {
    let running = serve().await;
    for command in [
        "/kv/get/other/a",
        "/kv/get/none/a",
        "/denied/kv/get/default/a",
        "/denied/kv/set/cache/a/1",
    ] {
        assert_eq!(call(running.address(), command).await, DENIED, "{command}");
    }
    assert_eq!(running.key_value_store("cache").unwrap().keys(), [""; 0]);
}

#[tokio::test]
async fn an_instance_may_have_256_stores_open() {
    let running = serve().await;
    let to = running.address();
    assert_eq!(call(to, "/kv/open/default/256").await, r#"{"ok":256}"#);
    let full = r#"{"error":"Error::StoreTableFull"}"#;
    assert_eq!(call(to, "/kv/open/default/257").await, full);
}

#[tokio::test]
async fn tests_read_write_and_clear_a_store_from_outside() {
    let running = serve().await;
    let to = running.address();
    let store = running.key_value_store("cache").unwrap();
    assert_eq!(call(to, "/kv/set/cache/a/1").await, DONE);
    assert_eq!(store.get("a"), Some(b"1".to_vec()));
    store.set("a", b"poison".to_vec()).unwrap();
    assert_eq!(call(to, "/kv/get/cache/a").await, r#"{"ok":"poison"}"#);
    store.clear();
    assert_eq!(call(to, "/kv/get/cache/a").await, DONE);
    store.set("a", vec![0; STORE_BYTES - 50]).unwrap();
    let full = r#"{"error":"Error::Other(\"the store is full: it may hold 33554432 bytes\")"}"#;
    assert_eq!(call(to, "/kv/set/cache/b/1").await, full);
    assert!(running.key_value_store("none").is_none());
}

#[tokio::test]
async fn every_call_to_a_broken_store_fails_until_it_is_mended() {
    let running = serve().await;
    let to = running.address();
    let store = running.key_value_store("cache").unwrap();
    store.set("a", b"1".to_vec()).unwrap();
    store.break_with(StoreFault::Fail);
    assert_eq!(call(to, "/kv/get/cache/a").await, BROKEN);
    // The others are whole.
    assert_eq!(call(to, "/kv/get/default/a").await, DONE);
    store.mend();
    assert_eq!(call(to, "/kv/get/cache/a").await, r#"{"ok":"1"}"#);
}

#[tokio::test]
async fn every_call_to_a_hanging_store_waits_until_it_is_mended() {
    let running = serve().await;
    let to = running.address();
    let store = running.key_value_store("cache").unwrap();
    store.break_with(StoreFault::Hang);
    let mut waiting = tokio::spawn(async move { call(to, "/kv/set/cache/a/1").await });
    let early = timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "{early:?}");
    assert_eq!(call(to, "/kv/get/default/a").await, DONE);
    store.mend();
    assert_eq!(waiting.await.unwrap(), DONE);
    assert_eq!(store.get("a"), Some(b"1".to_vec()));
}

#[tokio::test]
async fn an_app_whose_stores_cannot_be_had_is_not_served() {
    let app = load("nowhere-spin.toml", &MANIFEST.replace("cache", "nowhere"));
    let lacking = format!(
        "{}: [component.granted] key_value_stores names \"nowhere\", which the runtime configuration lacks: \
         add [key_value_store.nowhere] with type = \"spin\" there",
        app.manifest().path().display()
    );
    let redis = RUNTIME_CONFIG.replacen("spin", "redis", 1);
    let table = [
        (RUNTIME_CONFIG, lacking.as_str()),
        (
            redis.as_str(),
            "url is missing: write url = \"redis://<host>[:<port>][/<database>]\"",
        ),
    ];
    for (runtime_config, expected) in table {
        let error = app
            .serve(options("unsound-runtime-config.toml", runtime_config))
            .await
            .err()
            .unwrap();
        assert_eq!(error.root_cause().to_string(), expected);
    }
}
