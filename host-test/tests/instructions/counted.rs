//! Envoy under callgrind, with a listener for each filter, and one without any.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use host_test::wire::read_reply;
use programs::Process;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, process::Command, time::timeout};

use crate::{issuer::Issuer, jwt::Jwt};

/// Requests of each kind before anything is counted, after which V8 compiles no more.
const WARM_UP: u32 = 1200;
/// Requests once callgrind counts, before those that matter: the first ones fill its tables.
const SETTLE: u32 = 50;
/// Requests that are counted.
const COUNTED: u32 = 400;
/// Calls that fresh tokens take.
const CALLS: u64 = FRESH as u64;
/// Fresh tokens that a listener takes.
const FRESH: u32 = WARM_UP + SETTLE + COUNTED;
/// More of them than that are cached.
const CACHE_ENTRIES: u32 = 10_000;

/// How long Envoy may take to start, in valgrind and on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long callgrind may take to do what it is told.
const CONTROL_LIMIT: Duration = Duration::from_secs(60);

/// Instructions per request, in user mode and in all threads.
#[derive(Debug)]
pub(crate) struct Counted {
    /// Without a filter.
    pub(crate) bare: u32,
    /// What the filter adds if the token is cached.
    pub(crate) hit: u32,
    /// What the filter adds if the issuer is called.
    pub(crate) miss: u32,
    pub(crate) floors: Floors,
    pub(crate) jwt: Verified,
}

/// What filters add to a request whose token is a JWT, signed with RS256.
#[derive(Debug)]
pub(crate) struct Verified {
    /// Ours, if it has not seen the token before.
    pub(crate) first_sight: u32,
    /// Ours, if the token is cached.
    pub(crate) hit: u32,
    /// Envoy's own, without its cache.
    pub(crate) jwt_authn: u32,
    /// The host calls of a first sight.
    pub(crate) verifies: u32,
}

/// What filters add that make host calls and decide nothing: see `bench-floors`.
#[derive(Debug)]
pub(crate) struct Floors {
    /// Reads the headers of the request.
    pub(crate) reads: u32,
    /// The host calls of a hit.
    pub(crate) calls: u32,
    /// Calls the issuer, reads none of the response, and lets the request go on as it is.
    pub(crate) asks: u32,
    /// The host calls of a miss.
    pub(crate) asks_calls: u32,
}

/// The tokens of the counted requests.
#[derive(Clone, Copy)]
enum Token<'a> {
    /// One, of which the filter knows.
    Cached,
    /// A new one each time.
    Fresh,
    /// One JWT.
    Jwt(&'a Jwt),
    /// A new one each time.
    FreshJwt(&'a Jwt),
}

impl Token<'_> {
    fn take(self, fresh: &mut usize) -> Result<String> {
        Ok(match self {
            Self::Cached => "cached-token-abcdefghijklmnopqrstuvw".to_owned(),
            Self::Fresh => {
                *fresh += 1;
                format!("fresh-{fresh:06}-abcdefghijklmnopqrstuvwx")
            }
            Self::Jwt(jwt) => jwt.token.clone(),
            Self::FreshJwt(jwt) => {
                let token = jwt.different.get(*fresh).context("too few tokens")?;
                *fresh += 1;
                token.clone()
            }
        })
    }
}

/// Counts them in this Envoy, with these builds of the filter and of `bench-floors`.
pub(crate) async fn count(
    valgrind: &Path,
    envoy: &Path,
    filter: &Path,
    floors: &Path,
) -> Result<Counted> {
    let issuer = Issuer::start().await?;
    let with_filter = auth_check(&issuer, filter);
    let counts = Envoy { valgrind, envoy }
        .count(
            &issuer,
            &[
                (None, &[Token::Cached]),
                (Some(with_filter), &[Token::Cached, Token::Fresh]),
            ],
        )
        .await?;
    let [bare, hit, miss] = counts[..] else {
        bail!("{counts:?}");
    };
    // One more for the cached token.
    ensure!(
        issuer.calls() == 1 + CALLS,
        "{} calls for {CALLS} tokens",
        issuer.calls()
    );
    // Each in an Envoy of its own, so that what one does costs no other one.
    let floor = async |name: &str, token: &[Token<'_>], bare: u32, calls: u64| {
        let issuer = Issuer::start().await?;
        let listeners = [(Some(wasm(name, floors, name, &json!({}))), token)];
        let counts = Envoy { valgrind, envoy }.count(&issuer, &listeners).await?;
        ensure!(issuer.calls() == calls, "{name}: {} calls", issuer.calls());
        let count = counts.first().context("no count")?;
        Ok(count.saturating_sub(bare))
    };
    // Envoy's own filter and ours with the same tokens, and a request that has one and no filter.
    let jwt = Jwt::generate(FRESH)?;
    let [same, fresh] = [Token::Jwt(&jwt), Token::FreshJwt(&jwt)];
    let settings = jwt.settings(CACHE_ENTRIES).to_string();
    let verifying = wasm("auth_check", filter, &settings, &json!({}));
    let counts = Envoy { valgrind, envoy }
        .count(
            &issuer,
            &[
                (None, &[same]),
                (Some(jwt.jwt_authn(false)), &[fresh]),
                (Some(verifying), &[same, fresh]),
            ],
        )
        .await?;
    let [bare_jwt, jwt_authn, hit_jwt, first_sight] = counts[..] else {
        bail!("{counts:?}");
    };
    Ok(Counted {
        bare,
        hit: hit.saturating_sub(bare),
        miss: miss.saturating_sub(bare),
        floors: Floors {
            reads: floor("reads", &[Token::Cached], bare, 0).await?,
            calls: floor("calls", &[Token::Cached], bare, 0).await?,
            asks: floor("asks", &[Token::Fresh], bare, CALLS).await?,
            asks_calls: floor("asks-calls", &[Token::Fresh], bare, CALLS).await?,
        },
        jwt: Verified {
            first_sight: first_sight.saturating_sub(bare_jwt),
            hit: hit_jwt.saturating_sub(bare_jwt),
            jwt_authn: jwt_authn.saturating_sub(bare_jwt),
            verifies: floor("verifies", &[fresh], bare_jwt, 0).await?,
        },
    })
}

struct Envoy<'a> {
    valgrind: &'a Path,
    envoy: &'a Path,
}

impl Envoy<'_> {
    /// Instructions per request, for each listener's filter and each kind of tokens.
    async fn count(
        self,
        issuer: &Issuer,
        listeners: &[(Option<Value>, &[Token<'_>])],
    ) -> Result<Vec<u32>> {
        let Self { valgrind, envoy } = self;
        let mut ports = Vec::new();
        let mut configured = Vec::new();
        for (filter, _) in listeners {
            let port = free_port()?;
            ports.push(port);
            configured.push(listener(port, filter.as_slice()));
        }
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("envoy.json");
        let text = configuration(issuer, &configured);
        fs::write(&config, text.to_string())?;
        let counts = directory.path().join("counts");
        // Ended when it is dropped, however this ends.
        let process = Process::start(valgrind, |command| {
            command
                .args(["--tool=callgrind", "--instr-atstart=no"])
                // V8 writes code that valgrind would otherwise take from its cache.
                .arg("--smc-check=all-non-file")
                .arg(format!("--callgrind-out-file={}", counts.display()))
                .arg(envoy)
                .arg("--config-path")
                .arg(&config)
                .args(["--concurrency", "1", "--log-level", "warn"])
                .arg("--disable-hot-restart");
        })?;
        let mut callgrind = Callgrind {
            process,
            counts,
            dumps: 0,
        };
        let mut streams = Vec::new();
        for port in ports {
            streams.push(callgrind.connect(port).await?);
        }
        let mut fresh = vec![0; listeners.len()];
        // In the order in which they are counted, and all before callgrind has to slow them down.
        for (((_, tokens), stream), fresh) in listeners.iter().zip(&mut streams).zip(&mut fresh) {
            for token in *tokens {
                send(stream, WARM_UP, || token.take(fresh)).await?;
            }
        }
        callgrind.control(&["--instr=on"]).await?;
        let mut counted = Vec::new();
        for (((_, tokens), stream), fresh) in listeners.iter().zip(&mut streams).zip(&mut fresh) {
            for token in *tokens {
                let count = callgrind.count(stream, || token.take(fresh)).await?;
                counted.push(count);
            }
        }
        Ok(counted)
    }
}

struct Callgrind {
    /// Envoy in valgrind.
    process: Process,
    /// Where the counts are written, each time with one more number at the end.
    counts: PathBuf,
    dumps: u32,
}

impl Callgrind {
    /// A connection to Envoy, once it listens there.
    async fn connect(&self, port: u16) -> Result<TcpStream> {
        let until = Instant::now() + START_LIMIT;
        loop {
            if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            if let Some(status) = self.process.exit_status() {
                bail!("Envoy ended with {status}: {}", self.process.log());
            }
            ensure!(
                Instant::now() < until,
                "Envoy does not listen after {START_LIMIT:?}: {}",
                self.process.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Instructions for each request.
    async fn count(
        &mut self,
        stream: &mut TcpStream,
        mut token: impl FnMut() -> Result<String>,
    ) -> Result<u32> {
        send(stream, SETTLE, &mut token).await?;
        self.control(&["--zero"]).await?;
        send(stream, COUNTED, token).await?;
        self.control(&["--dump"]).await?;
        self.dumps += 1;
        let file = format!("{}.{}", self.counts.display(), self.dumps);
        let text = fs::read_to_string(&file).context("callgrind wrote no counts")?;
        // The last line, so all of it is there.
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let total: u64 = total.context("counts without a total")?.trim().parse()?;
        Ok((total / u64::from(COUNTED)).try_into()?)
    }

    async fn control(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("callgrind_control");
        command
            .args(arguments)
            .arg(self.process.id().to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = timeout(CONTROL_LIMIT, command.output())
            .await
            .with_context(|| format!("callgrind does not obey {arguments:?}"))?
            .context("callgrind_control")?;
        ensure!(output.status.success(), "{arguments:?}: {output:?}");
        Ok(())
    }
}

/// Sends so many requests, one after the other.
async fn send(
    stream: &mut TcpStream,
    count: u32,
    mut token: impl FnMut() -> Result<String>,
) -> Result<()> {
    for _ in 0..count {
        stream.write_all(request(&token()?).as_bytes()).await?;
        let reply = read_reply(stream, false).await?;
        ensure!(reply.status == 200, "{}: {}", reply.status, reply.text());
    }
    Ok(())
}

/// With the headers that such requests mostly have.
fn request(token: &str) -> String {
    format!(
        "GET /data HTTP/1.1\r\n\
         host: b.test\r\n\
         user-agent: curl/8\r\n\
         accept: */*\r\n\
         authorization: Bearer {token}\r\n\
         x-request-id: 9d5f1e0a-1111-2222-3333-444455556666\r\n\
         traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
         accept-encoding: gzip\r\n\
         accept-language: en\r\n\r\n"
    )
}

/// A port that nobody listens on. If another process takes it meanwhile, Envoy does not start.
fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Envoy answers by itself, so that only the filter makes a difference.
fn configuration(issuer: &Issuer, listeners: &[Value]) -> Value {
    json!({
        // Nothing that comes by time, as far as it can be put off.
        "stats_flush_on_admin": true,
        "static_resources": {
            "listeners": listeners,
            // That of the shipped configuration, and that of the floors.
            "clusters": [cluster("issuer_http", issuer), cluster("issuer", issuer)],
        },
    })
}

fn cluster(name: &str, issuer: &Issuer) -> Value {
    json!({
        "name": name,
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": {
                "address": address(issuer.address()),
            } }] }],
        },
    })
}

fn auth_check(issuer: &Issuer, filter: &Path) -> Value {
    let settings = json!({
        "introspect_url": issuer.introspect_url(),
        "resource_client_id": "service-b",
        "cache_ttl": 600,
    });
    // With a secret there are keys, and so results that workers share.
    let secret = json!({ "WORKOUT18_RESOURCE_CLIENT_SECRET": "a secret of this measurement" });
    wasm("auth_check", filter, &settings.to_string(), &secret)
}

fn wasm(name: &str, code: &Path, configuration: &str, environment: &Value) -> Value {
    json!({
        "name": name,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": name,
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": configuration,
                },
                "vm_config": {
                    "vm_id": name,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": code } },
                    "environment_variables": { "key_values": environment },
                },
            },
        },
    })
}

fn listener(port: u16, filters: &[Value]) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
    });
    let filters: Vec<_> = filters.iter().chain([&router]).collect();
    json!({
        "address": address(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        "filter_chains": [{ "filters": [{
            "name": "manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "instructions",
                "route_config": { "virtual_hosts": [{
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{
                        "match": { "prefix": "/" },
                        "direct_response": { "status": 200, "body": { "inline_string": "ok" } },
                    }],
                }] },
                "http_filters": filters,
            },
        }] }],
    })
}

fn address(of: SocketAddr) -> Value {
    json!({ "socket_address": { "address": of.ip().to_string(), "port_value": of.port() } })
}
