//! The `verify-stub` command.

use std::{convert::Infallible, env, io::Write as _, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use clap::Parser;
use serde_json::json;

use super::{StubClient, StubOptions, TokenFormat, VerifyStub, reaction::SYNTAX};

/// A server that behaves like IBM Verify, to try the trust triangle without a tenant. Only for
/// tests.
///
/// It prints what to export for Service A and for Service B, then one line per call on stderr,
/// without tokens and secrets: "token #1a2b3c4d" names a token for as long as the stub runs. If the
/// WORKOUT18_ variables with client ids and secrets are set already, it uses their values, so that
/// the exports of a shell survive a restart.
#[derive(Parser)]
#[command(name = "verify-stub", version, max_term_width = 100, after_long_help = after_help())]
pub struct StubCommand {
    /// The address to listen on. Port 0 takes a free port.
    #[arg(long, default_value = "127.0.0.1:8090", value_name = "ADDRESS")]
    listen: SocketAddr,

    /// Reports the tokens of other clients as inactive, as IBM Verify can be configured to. Service
    /// B then sees Service A's tokens as inactive.
    #[arg(long)]
    only_own_tokens: bool,

    /// The lifetime of tokens, in seconds.
    #[arg(long, default_value = "7199", value_name = "SECONDS")]
    token_lifetime: u32,

    /// What the token endpoint issues: opaque tokens, or JWTs signed with an algorithm such as
    /// RS256 or ES256.
    #[arg(long, default_value = "opaque", value_name = "FORMAT")]
    token_format: TokenFormat,

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
  # Every introspection call gets a 500:
  curl http://127.0.0.1:8090/_stub/script -d endpoint=introspect -d do=status:500
  # The next introspection call hangs, the one after it is reset, then the behaviour is normal:
  curl http://127.0.0.1:8090/_stub/script -d endpoint=introspect -d do=hang -d do=reset -d do=normal
  # Introspection calls for one token only:
  curl http://127.0.0.1:8090/_stub/script --data-urlencode token=$TOKEN -d do=delay:3000
  # Normal behaviour:
  curl -X POST http://127.0.0.1:8090/_stub/clear
  # The next calls get no keys, then a page that is not JSON, then the keys:
  curl http://127.0.0.1:8090/_stub/script -d endpoint=jwks -d do=no-keys -d do=page -d do=normal
  # How often it has been called:
  curl http://127.0.0.1:8090/_stub/counters

JWTs and keys, while it runs; each response is the token or the kid of the key:
  # A good token, and one whose signature is by another key:
  curl http://127.0.0.1:8090/_stub/issue -d format=RS256 -d scope=read
  curl http://127.0.0.1:8090/_stub/issue -d format=RS256 -d fault=other-key
  # From now on the token endpoint issues JWTs:
  curl http://127.0.0.1:8090/_stub/format -d format=ES256
  # A new key signs; the old one is published for a while, then withdrawn:
  curl http://127.0.0.1:8090/_stub/keys -d do=rotate -d algorithm=ES256
  curl http://127.0.0.1:8090/_stub/keys -d do=withdraw-old
  # Unusable keys among the good ones, and no more:
  curl http://127.0.0.1:8090/_stub/keys -d do=break
  curl http://127.0.0.1:8090/_stub/keys -d do=mend

Endpoints: token, introspect, revoke, discovery, metadata, jwks, other. Reactions:
{SYNTAX}"
    )
}

impl StubCommand {
    /// Serves until `stopped` completes.
    ///
    /// # Errors
    ///
    /// If the stub cannot start or print the exports.
    pub async fn run(self, stopped: impl Future<Output = std::io::Result<()>>) -> Result<()> {
        tokio::select! {
            // First, so that Ctrl-C works from the start.
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
            token_format: self.token_format,
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
        eprintln!("Listening on {}; stop it with Ctrl-C.", stub.address());
        if !stub.address().ip().is_loopback() {
            eprintln!("Anyone on the network can reach it, get tokens from it and script it.");
        }
        Ok(())
    }
}

/// A client with the id and secret in the environment, or with new ones.
fn client(name: &str, id: &str, secret: &str) -> Result<StubClient> {
    let new = StubClient::new(name);
    let value_or = |variable: &str, default: &str| match env::var(variable) {
        Ok(value) if !value.is_empty() => Ok(value),
        Ok(_) | Err(env::VarError::NotPresent) => Ok(default.to_owned()),
        Err(env::VarError::NotUnicode(_)) => Err(variable.to_owned()),
    };
    let read = || Ok((value_or(id, &new.id)?, value_or(secret, &new.secret)?));
    let (id, secret) = read().map_err(|variable: String| {
        anyhow::anyhow!("the environment variable {variable} is not UTF-8")
    })?;
    Ok(new.with_credentials(id, secret))
}

/// Quotes the value for a POSIX shell.
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
    fn the_clap_definition_is_valid() {
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
