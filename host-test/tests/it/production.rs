//! examples/production: only the issuer can be called, and only by the auth check.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::{bearer, options, stub};
use host_test::spin::{SpinApp, SpinOptions, SpinProgram, find_spin};
use host_test::wire::{Reply, exchange, get};
use programs::{Guest, repository};
use spin_host::{App, Running, ServeOptions};
use tempfile::TempDir;
use verify_stub::{TokenSpec, VerifyStub};

const SAMPLE: &str = "examples/production/spin.toml";

/// The origin of the stub's introspection endpoint.
fn origin(stub: &VerifyStub) -> String {
    let url = stub.introspect_url();
    let (origin, _) = url.split_once("/oauth2/").unwrap();
    origin.to_owned()
}

const IDENTIFIER: &str = "https://service-b.example/data";
const METADATA: &str = "/.well-known/oauth-protected-resource/data";

/// The sample as it is, with what it names.
fn sample() -> App {
    for guest in [Guest::AuthCheck, Guest::ServiceB] {
        guest.build().unwrap();
    }
    App::load(&repository().join(SAMPLE), &BTreeMap::new()).unwrap()
}

async fn serve(stub: &VerifyStub, introspect_origin: &str) -> Running {
    let options = options(stub, &[("introspect_origin", introspect_origin)]);
    sample().serve(options).await.unwrap()
}

async fn asked(running: &Running, path: &str, authorization: &str) -> Reply {
    exchange(running.address(), &get(path, authorization))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn f18_the_production_sample_answers_who_may_call_with_the_issuer_as_its_only_grant() {
    let stub = stub().await;
    let running = serve(&stub, &origin(&stub)).await;
    let token = stub.issue(TokenSpec::default().client("service-a"));
    let granted = asked(&running, "/data", &bearer(&token)).await;
    let client = &stub.client("service-a").id;
    let document = format!(
        r#"{{"message":"Service B trusted the token","issuer":"{}","subject":"{client}","aud":["{client}"],"scopes":null}}"#,
        stub.issuer()
    );
    assert_eq!((granted.status, granted.text()), (200, document));
    let refused = asked(&running, "/data", "").await;
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (401, "no_credentials")
    );
    let health = asked(&running, "/health", "").await;
    assert_eq!(
        (health.status, health.text().as_str()),
        (200, r#"{"status":"ok"}"#)
    );
    let stats = running.stats();
    assert_eq!((stats.outbound_calls, stats.denied_calls), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc9728_the_samples_answer_with_metadata_if_there_is_an_identifier() {
    let stub = stub().await;
    let shipped = App::load(&repository().join("spin.toml"), &BTreeMap::new()).unwrap();
    for app in [sample(), shipped] {
        let settings = [
            ("introspect_origin", origin(&stub)),
            ("resource_identifier", IDENTIFIER.to_owned()),
        ];
        let settings = settings
            .each_ref()
            .map(|(key, value)| (*key, value.as_str()));
        let running = app.clone().serve(options(&stub, &settings)).await.unwrap();
        let metadata = asked(&running, METADATA, "").await;
        let document = r#"{"resource":"https://service-b.example/data","bearer_methods_supported":["header"]}"#;
        assert_eq!((metadata.status, metadata.text().as_str()), (200, document));
        let without = app.serve(options(&stub, &settings[..1])).await.unwrap();
        let refused = asked(&without, METADATA, "").await;
        assert_eq!(
            (refused.status, refused.reason().as_str()),
            (401, "no_credentials")
        );
    }
    assert_eq!(stub.counters().introspect, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f18_in_production_an_issuer_at_another_origin_is_not_called() {
    let stub = stub().await;
    let token = stub.issue(TokenSpec::default());
    let origin = origin(&stub);
    let port = origin.rsplit(':').next().unwrap();
    for other in [
        "https://tenant.verify.ibm.com".to_owned(),
        format!("https://127.0.0.1:{port}"),
        "http://127.0.0.1:9".to_owned(),
    ] {
        let running = serve(&stub, &other).await;
        let reply = asked(&running, "/data", &bearer(&token)).await;
        assert_eq!(
            (reply.status, reply.reason().as_str()),
            (503, "misconfigured"),
            "{other}"
        );
        // What is to be granted.
        let line = format!("must be `{origin}`, the scheme, host and port of `introspect_url`");
        let logs = running.logs();
        assert!(
            logs.iter().any(|logged| logged.text.contains(&line)),
            "{logs:?}"
        );
        assert_eq!(running.stats().outbound_calls, 0, "{other}");
    }
    // An empty value counts as not set, and grants nothing.
    let running = serve(&stub, "").await;
    let reply = asked(&running, "/data", &bearer(&token)).await;
    assert_eq!(
        (reply.status, reply.reason().as_str()),
        (503, "issuer_call_denied")
    );
    let stats = running.stats();
    assert_eq!((stats.outbound_calls, stats.denied_calls), (0, 1));
    assert_eq!(stub.introspections_of(&token), 0);
}

#[tokio::test]
async fn f18_without_the_origin_production_is_not_served() {
    let stub = stub().await;
    let options = ServeOptions {
        runtime_config: Some(repository().join("runtime-config.toml")),
        ..options(&stub, &[])
    };
    let error = sample().serve(options).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "variables that {} requires have no value:\n  introspect_origin: export WORKOUT18_INTROSPECT_ORIGIN=...",
            repository().join(SAMPLE).display()
        )
    );
}

#[test]
fn f18_in_production_an_app_can_neither_call_out_nor_read_the_settings() {
    let with = |app: Guest, inherit: &str| {
        let manifest = std::fs::read_to_string(repository().join(SAMPLE)).unwrap();
        let (nothing, some) = (
            r#"{ component = "service-b" }"#,
            format!(r#"{{ component = "service-b", inherit_configuration = {inherit} }}"#),
        );
        assert_eq!(manifest.matches(nothing).count(), 1);
        let path: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("production-spin.toml");
        std::fs::write(&path, manifest.replace(nothing, &some)).unwrap();
        let components = [("auth-check", Guest::AuthCheck), ("service-b", app)];
        let components = components.map(|(id, guest)| (id.to_owned(), guest.build().unwrap()));
        let loaded = App::load(&path, &components.into());
        loaded.err().map(|error| format!("{error:#}"))
    };
    // An app that reads variables, and one that also makes calls.
    for (app, inherit, denied) in [
        (Guest::YourApp, "[]", Some("variables")),
        (Guest::YourApp, "false", Some("variables")),
        (Guest::YourApp, r#"["variables"]"#, None),
        (
            Guest::AuthCheck,
            r#"["variables", "key_value_stores"]"#,
            Some("allowed_outbound_hosts"),
        ),
        (Guest::ServiceB, "[]", None),
    ] {
        let error = with(app, inherit);
        match denied {
            Some(set) => {
                let error = error.unwrap();
                let line = format!("add \"{set}\" to its inherit_configuration");
                assert!(
                    error.contains("component service-b imports ") && error.contains(&line),
                    "{inherit}: {error}"
                );
            }
            None => assert_eq!(error, None, "{inherit}"),
        }
    }
}

/// Spin itself with this manifest of the sample, and its logs and stores in this folder.
async fn in_spin(spin: PathBuf, manifest: PathBuf, stub: &VerifyStub, state: &TempDir) -> SpinApp {
    sample();
    let mut settings = stub.resource_settings();
    settings.insert("introspect_origin".to_owned(), origin(stub));
    settings.insert("resource_identifier".to_owned(), IDENTIFIER.to_owned());
    let options = SpinOptions {
        manifest,
        settings,
        state: Some(state.path().to_owned()),
        ..SpinOptions::default()
    };
    SpinApp::start(&SpinProgram::Spin(spin), &options)
        .await
        .unwrap()
}

/// In Spin itself, if it is there: what the embedded host does is what Spin does.
#[tokio::test(flavor = "multi_thread")]
async fn f18_spin_itself_runs_the_production_sample() {
    let Some(spin) = find_spin() else {
        eprintln!("skipped: without Spin itself");
        return;
    };
    let stub = stub().await;
    let state = TempDir::new().unwrap();
    let app = in_spin(spin, repository().join(SAMPLE), &stub, &state).await;
    let token = stub.issue(TokenSpec::default());
    for (path, authorization, status) in [
        ("/data", bearer(&token), 200),
        ("/data", bearer("unknown"), 401),
        ("/data", String::new(), 401),
        ("/health", String::new(), 200),
        (METADATA, String::new(), 200),
    ] {
        let reply = exchange(app.address(), &get(path, authorization))
            .await
            .unwrap();
        assert_eq!(
            reply.status,
            status,
            "{path}: {}{}",
            reply.text(),
            app.log()
        );
    }
}

/// What the auth check logs about a variable of this manifest that is misspelt.
const MISSPELT: &str = "setting `expected_audience` (Spin variable auth_expected_audience) is unknown: did you mean auth_expected_aud?";

/// The sample with a misspelt variable, in this folder.
fn misspelt(folder: &Path) -> PathBuf {
    let text = std::fs::read_to_string(repository().join(SAMPLE)).unwrap();
    let (right, wrong) = ("auth_expected_aud = ", "auth_expected_audience = ");
    assert_eq!(text.matches(right).count(), 1);
    let target = format!("\"{}/target/", repository().display());
    let manifest = folder.join("spin.toml");
    let text = text
        .replace(right, wrong)
        .replace("\"../../target/", &target);
    std::fs::write(&manifest, text).unwrap();
    manifest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_variable_lets_nobody_in() {
    sample();
    let folder = TempDir::new().unwrap();
    let app = App::load(&misspelt(folder.path()), &BTreeMap::new()).unwrap();
    let stub = stub().await;
    let options = options(&stub, &[("introspect_origin", &origin(&stub))]);
    let running = app.serve(options).await.unwrap();
    let token = bearer(&stub.issue(TokenSpec::default()));
    for _ in 0..2 {
        let reply = asked(&running, "/data", &token).await;
        let got = (reply.status, reply.reason());
        assert_eq!(got, (503, "misconfigured".to_owned()));
    }
    assert_eq!(stub.counters().introspect, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_spin_itself_a_misspelt_variable_lets_nobody_in() {
    let Some(spin) = find_spin() else {
        eprintln!("skipped: without Spin itself");
        return;
    };
    let stub = stub().await;
    let state = TempDir::new().unwrap();
    let app = in_spin(spin, misspelt(state.path()), &stub, &state).await;
    let token = bearer(&stub.issue(TokenSpec::default()));
    for _ in 0..2 {
        let reply = exchange(app.address(), &get("/data", &token))
            .await
            .unwrap();
        let got = (reply.status, reply.reason());
        assert_eq!(got, (503, "misconfigured".to_owned()), "{}", app.log());
    }
    assert!(app.log().contains(MISSPELT), "{}", app.log());
    assert_eq!(stub.counters().introspect, 0);
}
