//! The `verify-stub` program.

use std::{net::SocketAddr, process::Stdio};

use serde_json::Value;
use tokio::{io::AsyncReadExt as _, process::Child};

use crate::caller::{FORM, PATIENCE, basic, form, names, request, send, send_bytes};

/// The running program. Dropping it kills it.
struct Program(Child);

impl Program {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_verify-stub"))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .env_clear()
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self(child)
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let out = self.0.stdout.as_mut().unwrap();
        while !line.ends_with('\n') {
            line.push(char::from(out.read_u8().await.unwrap()));
        }
        line.trim_end().to_owned()
    }

    /// Stops it with Ctrl-C and returns its standard error.
    async fn interrupt(mut self) -> String {
        let id = self.0.id().unwrap().to_string();
        let mut kill = std::process::Command::new("kill");
        assert!(kill.args(["-INT", &id]).status().unwrap().success());
        let ended = tokio::time::timeout(PATIENCE, self.0.wait()).await;
        assert_eq!(ended.unwrap().unwrap().code(), Some(0));
        let mut errors = String::new();
        let stderr = self.0.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut errors).await.unwrap();
        errors
    }
}

#[tokio::test]
async fn it_prints_exports_and_logs_calls_without_tokens_and_secrets() {
    let mut program = Program::start(
        &["--token-lifetime", "60", "--json"],
        &[("WORKOUT18_CLIENT_SECRET", "kept by the shell")],
    );
    let printed: Value = serde_json::from_str(&program.line().await).unwrap();
    let (a, b) = (&printed["service_a"], &printed["service_b"]);
    assert_eq!(
        names(a),
        "WORKOUT18_CLIENT_ID WORKOUT18_CLIENT_SECRET WORKOUT18_ISSUER WORKOUT18_SERVICE_B_URL"
    );
    assert_eq!(
        names(b),
        "WORKOUT18_EXPECTED_AUD WORKOUT18_INTROSPECT_URL WORKOUT18_RESOURCE_CLIENT_ID \
         WORKOUT18_RESOURCE_CLIENT_SECRET"
    );
    let value = |service: &Value, name: &str| {
        let value = service[format!("WORKOUT18_{name}")].as_str();
        value.unwrap().to_owned()
    };
    let issuer = value(a, "ISSUER");
    let introspect = value(b, "INTROSPECT_URL");
    assert_eq!(introspect, format!("{issuer}/introspect"));
    let id = value(a, "CLIENT_ID");
    assert_eq!(value(b, "EXPECTED_AUD"), id);
    let secret = value(a, "CLIENT_SECRET");
    assert_eq!(secret, "kept by the shell");
    assert_eq!(value(a, "SERVICE_B_URL"), "http://127.0.0.1:9000/data");

    let to: SocketAddr = issuer.split('/').nth(2).unwrap().parse().unwrap();
    let call = async |url: &str, authorization: &str, body: &str| {
        send(to, request("POST", url, &[FORM, authorization], body)).await
    };
    let service_a = basic(&id, &secret);
    let service_b = basic(
        &value(b, "RESOURCE_CLIENT_ID"),
        &value(b, "RESOURCE_CLIENT_SECRET"),
    );
    let grant = "grant_type=client_credentials";
    let issued = call(&format!("{issuer}/token"), &service_a, grant).await;
    assert_eq!(issued.json()["expires_in"], 60);
    let token = issued.token();
    let body = form(&[("token", &token)]);
    let active = call(&introspect, &service_b, &body).await;
    assert_eq!(active.json()["active"], true);
    let wrong = basic(&id, "another secret");
    assert_eq!(call(&introspect, &wrong, &body).await.status, 401);
    let script = issuer.replace("/oauth2", "/_stub/script");
    let drop = form(&[("token", &token), ("do", "drop")]);
    assert_eq!(call(&script, &service_b, &drop).await.status, 200);
    let dropped = request("POST", &introspect, &[FORM, &service_b], &body);
    assert_eq!(send_bytes(to, dropped).await.unwrap(), b"");

    let log = program.interrupt().await;
    for expected in [
        "token      200 token issued, client service-a, ",
        "introspect 200 active, client service-b, token #",
        "introspect 401 wrong client credentials, token #",
        " scripted, 1 reactions",
        "introspect --- scripted: drop, token #",
    ] {
        assert!(log.contains(expected), "{expected:?} is not in {log}");
    }
    let credentials = |header: &str| header.rsplit(' ').next().unwrap().to_owned();
    for secret in [
        token,
        secret,
        "another secret".to_owned(),
        credentials(&service_a),
        credentials(&service_b),
    ] {
        assert!(!log.contains(&secret), "{secret:?} is in {log}");
    }
}
