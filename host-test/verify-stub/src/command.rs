//! The `verify-stub` command.

use std::{convert::Infallible, env, io::Write as _, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use clap::Parser;
use serde_json::json;

use super::{StubClient, StubOptions, VerifyStub, reaction::WORDS};

/// A server that behaves like IBM Verify, for trying the trust triangle without a tenant. Not for anything real.
///
/// It prints what to export for Service A and for Service B, then one line per call on stderr, without tokens and
/// secrets: "token #1a2b3c4d" is a name for a token that lasts as long as the stub. If the WORKOUT18_ variables with
/// client ids and secrets are set already, it takes their values, so that a shell's exports outlive a restart.
#[derive(Parser)]
#[command(name = "verify-stub", version, max_term_width = 100, after_long_help = after_help())]
pub struct StubCommand {
    /// Where to listen. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8090", value_name = "ADDRESS")]
    listen: SocketAddr,

    /// Tells a client of its own tokens only, as IBM Verify can be set to: to Service B, Service A's tokens are
    /// inactive then.
    #[arg(long)]
    only_own_tokens: bool,

    /// How long a token is active, in seconds.
    #[arg(long, default_value = "7199", value_name = "SECONDS")]
    token_lifetime: u32,

    /// The URL of Service B in the exports.
    #[arg(long, default_value = "http://127.0.0.1:9000/data", value_name = "URL")]
    service_b_url: String,

    /// Prints the exports as one JSON object.
    #[arg(long)]
    json: bool,
}

fn after_help() -> String {
    format!(
        "Faults, while it runs:
  # Every question is answered with 500:
  curl http://127.0.0.1:8090/_stub/script -d endpoint=introspect -d do=status:500
  # The next question hangs, the one after it is reset, from then on all is as usual:
  curl http://127.0.0.1:8090/_stub/script -d endpoint=introspect -d do=hang -d do=reset -d do=normal
  # Questions about one token only:
  curl http://127.0.0.1:8090/_stub/script --data-urlencode token=$TOKEN -d do=delay:3000
  # Everything as usual:
  curl -X POST http://127.0.0.1:8090/_stub/clear
  # How often it was called:
  curl http://127.0.0.1:8090/_stub/counters

Endpoints: token, introspect, revoke, discovery, jwks, other. What can be done:
{WORDS}"
    )
}

impl StubCommand {
    /// Serves until `stopped` is done.
    pub async fn run(self, stopped: impl Future<Output = std::io::Result<()>>) -> Result<()> {
        tokio::select! {
            // First, so that an interrupt counts from the start.
            biased;
            stopped = stopped => stopped.context("cannot wait for Ctrl-C"),
            never = self.serve() => never.map(|never| match never {}),
        }
    }

    async fn serve(self) -> Result<Infallible> {
        let stub = VerifyStub::start(StubOptions {
            listen: self.listen,
            clients: vec![
                client(
                    "service-a",
                    "WORKOUT18_CLIENT_ID",
                    "WORKOUT18_CLIENT_SECRET",
                )?,
                client(
                    "service-b",
                    "WORKOUT18_RESOURCE_CLIENT_ID",
                    "WORKOUT18_RESOURCE_CLIENT_SECRET",
                )?,
            ],
            only_own_tokens: self.only_own_tokens,
            token_lifetime: Duration::from_secs(self.token_lifetime.into()),
            control: true,
            ..StubOptions::default()
        })
        .await?;
        self.announce(&stub).context("cannot print the exports")?;
        std::future::pending().await
    }

    fn announce(&self, stub: &VerifyStub) -> std::io::Result<()> {
        let (service_a, service_b) = (stub.client("service-a"), stub.client("service-b"));
        let for_a = [
            ("WORKOUT18_ISSUER", stub.issuer()),
            ("WORKOUT18_CLIENT_ID", &service_a.id),
            ("WORKOUT18_CLIENT_SECRET", &service_a.secret),
            ("WORKOUT18_SERVICE_B_URL", &self.service_b_url),
        ];
        let for_b = [
            ("WORKOUT18_INTROSPECT_URL", stub.introspect_url()),
            ("WORKOUT18_RESOURCE_CLIENT_ID", &service_b.id),
            ("WORKOUT18_RESOURCE_CLIENT_SECRET", &service_b.secret),
            ("WORKOUT18_EXPECTED_AUD", &service_a.id),
        ];
        let mut out = std::io::stdout().lock();
        if self.json {
            let object = |pairs: &[(&str, &str)]| -> serde_json::Map<_, _> {
                let pairs = pairs.iter();
                pairs
                    .map(|(name, value)| ((*name).to_owned(), json!(value)))
                    .collect()
            };
            writeln!(
                out,
                "{}",
                json!({"service_a": object(&for_a), "service_b": object(&for_b)})
            )?;
        } else {
            for (title, pairs) in [("Service A", for_a), ("Service B", for_b)] {
                eprintln!("{title}:");
                for (name, value) in pairs {
                    writeln!(out, "export {name}={}", quoted(value))?;
                }
            }
        }
        out.flush()?;
        eprintln!("Listening on {}; Ctrl-C ends it.", stub.address());
        if !stub.address().ip().is_loopback() {
            eprintln!("Others on the network can reach it, get tokens from it and script it.");
        }
        Ok(())
    }
}

/// A client with the id and secret that the environment has for it, or new ones.
fn client(name: &str, id: &str, secret: &str) -> Result<StubClient> {
    let new = StubClient::new(name);
    let set = |variable: &str, otherwise: &str| match env::var(variable) {
        Ok(value) if !value.is_empty() => Ok(value),
        Ok(_) | Err(env::VarError::NotPresent) => Ok(otherwise.to_owned()),
        Err(env::VarError::NotUnicode(_)) => Err(variable.to_owned()),
    };
    let read = || Ok((set(id, &new.id)?, set(secret, &new.secret)?));
    let (id, secret) = read().map_err(|variable: String| {
        anyhow::anyhow!("the environment variable {variable} is not UTF-8")
    })?;
    Ok(new.with_credentials(id, secret))
}

/// As a POSIX shell reads it back.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/@%+=,".contains(&byte);
    if !value.is_empty() && value.bytes().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        StubCommand::command().debug_assert();
    }

    #[test]
    fn the_default_lifetime_is_the_librarys() {
        let command = StubCommand::parse_from(["verify-stub"]);
        assert_eq!(
            Duration::from_secs(command.token_lifetime.into()),
            StubOptions::DEFAULT_TOKEN_LIFETIME
        );
    }

    #[test]
    fn values_survive_a_shell() {
        for (value, expected) in [
            ("http://127.0.0.1:1/x", "http://127.0.0.1:1/x"),
            ("", "''"),
            ("a b", "'a b'"),
            ("$(x)'y", r"'$(x)'\''y'"),
        ] {
            assert_eq!(quoted(value), expected);
        }
    }
}
