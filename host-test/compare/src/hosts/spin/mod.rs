//! The shipped spin.toml, with our middleware, with middleware that does nothing, and with none: in
//! the embedded host, and in Spin where it is installed.

#[path = "../../../../bench-floors/src/identity.rs"]
mod identity;
mod manifest;
mod serve;
mod signed;

use std::{collections::BTreeMap, ops::RangeInclusive, process::Stdio, rc::Rc};

use anyhow::{Context as _, Result, ensure};

use self::{
    identity::IDENTITY,
    manifest::Deployment,
    serve::{Host, Served, environment},
};
use crate::{
    Bench,
    contender::{Contender, EACH_TIME, Headers, NEVER, SELDOM, unread_headers},
    issuer::{BAD_TOKEN, Issuer},
    jwt::Jwt,
    load::tokens::{Tokens, opaque},
    report::Part,
    rounds::{self, Achieved},
    spread::Spread,
    target::{Limit, Target},
};

/// The names of a host and of its contenders.
struct Names {
    host: &'static str,
    title: &'static str,
    bare: &'static str,
    pass_through: &'static str,
    identity: &'static str,
    same_calls: &'static str,
    hit: &'static str,
    miss: &'static str,
    jwt_hit: &'static str,
    rs256: &'static str,
    es256: &'static str,
    eddsa: &'static str,
}

const EMBEDDED: Names = Names {
    host: "embedded",
    title: "The embedded host on one core, requests per second",
    bare: "embedded/bare",
    pass_through: "embedded/pass-through",
    identity: "embedded/pass-through-identity",
    same_calls: "embedded/same-calls",
    hit: "embedded/ours-hit",
    miss: "embedded/ours-miss",
    jwt_hit: "embedded/ours-verified-hit",
    rs256: "embedded/ours-verified-first-rs256",
    es256: "embedded/ours-verified-first-es256",
    eddsa: "embedded/ours-verified-first-eddsa",
};

const SPIN: Names = Names {
    host: "spin",
    title: "Spin on one core, requests per second",
    bare: "spin/bare",
    pass_through: "spin/pass-through",
    identity: "spin/pass-through-identity",
    same_calls: "spin/same-calls",
    hit: "spin/ours-hit",
    miss: "spin/ours-miss",
    jwt_hit: "spin/ours-verified-hit",
    rs256: "spin/ours-verified-first-rs256",
    es256: "spin/ours-verified-first-es256",
    eddsa: "spin/ours-verified-first-eddsa",
};

impl Names {
    fn contenders(&self) -> impl Iterator<Item = &'static str> {
        [
            self.bare,
            self.pass_through,
            self.identity,
            self.same_calls,
            self.hit,
            self.miss,
            self.jwt_hit,
            self.rs256,
            self.es256,
            self.eddsa,
        ]
        .into_iter()
    }
}

/// How often an instance is made.
const INSTANCES: u32 = 500;

/// Measures the embedded host, which is built for that.
pub(crate) async fn embedded(bench: &Bench) -> Result<Option<Part>> {
    if !EMBEDDED.contenders().any(|name| bench.options.takes(name)) {
        return Ok(None);
    }
    let mut part = part(&Host::embedded()?, &EMBEDDED, bench).await?;
    if bench.options.takes(EMBEDDED.hit) {
        part.targets.push(instantiation(&bench.issuer).await?);
    }
    Ok(Some(part))
}

/// Measures Spin. `None`: there is none, or it is not asked for.
pub(crate) async fn spin(bench: &Bench) -> Result<Option<Part>> {
    let is_asked_for = SPIN.contenders().any(|name| bench.options.takes(name));
    match Host::spin().filter(|_| is_asked_for) {
        Some(host) => part(&host, &SPIN, bench).await.map(Some),
        None => Ok(None),
    }
}

async fn part(host: &Host, names: &Names, bench: &Bench) -> Result<Part> {
    let (_servers, contenders) = start(host, names, bench).await?;
    let achieved = rounds::run(&contenders, bench).await?;
    let mut targets = ratios(names, &achieved);
    targets.push(alone(names, &contenders, bench).await?);
    Ok(Part {
        name: names.host,
        title: names.title,
        contenders: achieved,
        targets,
    })
}

fn ratios(names: &Names, achieved: &[Achieved]) -> Vec<Target> {
    let of_hit = |measure, name| Target::ratio(measure, None, achieved, (name, names.hit));
    vec![
        Target::ratio(
            "hit / middleware that does nothing",
            0.75,
            achieved,
            (names.hit, names.pass_through),
        ),
        Target::ratio(
            "hit / middleware that does nothing, of a request that has the identity headers",
            0.75,
            achieved,
            (names.hit, names.identity),
        ),
        Target::ratio(
            "middleware with the same host calls / middleware that does nothing",
            None,
            achieved,
            (names.same_calls, names.pass_through),
        ),
        Target::ratio(
            "hit / middleware with the same host calls",
            None,
            achieved,
            (names.hit, names.same_calls),
        ),
        of_hit("JWT verified here, cached / hit", names.jwt_hit),
        of_hit("the same at first sight, RS256 / hit", names.rs256),
        of_hit("the same, ES256", names.es256),
        of_hit("the same, EdDSA", names.eddsa),
    ]
}

/// What the app gets behind the auth check, sent by the client: reading it is the app's own work.
fn identity_headers() -> Headers {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    IDENTITY.into_iter().map(owned).collect()
}

type Settings = BTreeMap<String, String>;

fn settings(issuer: &Issuer, cache_ttl: Option<&str>) -> Settings {
    let given = [
        ("introspect_url", issuer.introspect_url()),
        ("resource_client_id", "b".to_owned()),
        ("resource_client_secret", "s3cr3t".to_owned()),
    ];
    let cache_ttl = cache_ttl.map(|seconds| ("cache_ttl", seconds.to_owned()));
    given
        .into_iter()
        .chain(cache_ttl)
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// With which the middleware verifies these, with a cache of so many.
fn verifying(jwt: &Jwt, cache_entries: u32) -> Settings {
    // The manifest asks for them.
    let mut settings: Settings = ["resource_client_id", "resource_client_secret"]
        .map(|key| (key.to_owned(), String::new()))
        .into();
    let given = jwt.settings(cache_entries);
    for (key, value) in given.as_object().into_iter().flatten() {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        settings.insert(key.clone(), text);
    }
    settings
}

/// A contender and its deployment.
struct Plan {
    name: &'static str,
    what: &'static str,
    deployment: Deployment,
    settings: Settings,
    tokens: Rc<Tokens>,
    bad: String,
    calls_per_request: RangeInclusive<f64>,
}

/// JWTs that the middleware verifies: one that is cached, and others at first sight, each in turn with
/// a cache of one.
fn verifying_plans(names: &Names) -> Result<Vec<Plan>> {
    let plan = |name, what, jwt: &Jwt, tokens, cache_entries| -> Result<Plan> {
        Ok(Plan {
            name,
            what,
            deployment: Deployment::AuthCheck,
            settings: verifying(jwt, cache_entries),
            tokens: Rc::new(Tokens::of(tokens)?),
            bad: jwt.bad.clone(),
            calls_per_request: NEVER,
        })
    };
    let cached = signed::rs256()?;
    let mut plans = vec![plan(
        names.jwt_hit,
        "trust-triangle, JWT verified here, cached",
        &cached,
        vec![cached.token.clone()],
        1000,
    )?];
    for (name, what, jwt) in [
        (
            names.rs256,
            "trust-triangle, JWT verified here, each request, RS256",
            cached,
        ),
        (names.es256, "the same, ES256", signed::es256()?),
        (names.eddsa, "the same, EdDSA", signed::eddsa()?),
    ] {
        plans.push(plan(name, what, &jwt, jwt.different.clone(), 1)?);
    }
    Ok(plans)
}

async fn start(host: &Host, names: &Names, bench: &Bench) -> Result<(Vec<Served>, Vec<Contender>)> {
    let one = Rc::new(Tokens::one(opaque(0))?);
    let different = Rc::new(Tokens::different()?);
    let plans = [
        (
            names.bare,
            "the app alone",
            Deployment::None,
            None,
            &one,
            NEVER,
        ),
        (
            names.pass_through,
            "middleware that does nothing",
            Deployment::PassThrough,
            None,
            &one,
            NEVER,
        ),
        (
            names.identity,
            "middleware that does nothing, the app gets identity headers as behind ours",
            Deployment::PassThrough,
            None,
            &one,
            NEVER,
        ),
        (
            names.same_calls,
            "middleware with our host calls, checks nothing",
            Deployment::SameCalls,
            None,
            &one,
            NEVER,
        ),
        (
            names.hit,
            "trust-triangle, cached",
            Deployment::AuthCheck,
            Some("3600"),
            &one,
            SELDOM,
        ),
        (
            names.miss,
            "trust-triangle, introspects each request",
            Deployment::AuthCheck,
            None,
            &different,
            EACH_TIME,
        ),
    ];
    let introspecting = plans.map(|(name, what, deployment, cache_ttl, tokens, calls)| Plan {
        name,
        what,
        deployment,
        settings: settings(&bench.issuer, cache_ttl),
        tokens: Rc::clone(tokens),
        bad: BAD_TOKEN.to_owned(),
        calls_per_request: calls,
    });
    let mut servers = Vec::new();
    let mut contenders = Vec::new();
    for plan in introspecting.into_iter().chain(verifying_plans(names)?) {
        let Plan {
            name,
            what,
            deployment,
            settings,
            tokens,
            bad,
            calls_per_request,
        } = plan;
        if !bench.options.takes(name) {
            continue;
        }
        let server = Served::start(host, deployment, &settings, &bench.machine)
            .await
            .context(name)?;
        contenders.push(Contender {
            name,
            what,
            address: server.address,
            pid: server.pid,
            tokens,
            headers: if name == names.identity {
                identity_headers()
            } else {
                unread_headers(0)
            },
            bad: (deployment == Deployment::AuthCheck).then_some(bad),
            issuer: Rc::clone(&bench.issuer),
            calls_per_request,
        });
        servers.push(server);
    }
    Ok((servers, contenders))
}

/// What a miss adds for a caller that is alone: its median, less that of the app and less that of
/// the issuer.
async fn alone(names: &Names, contenders: &[Contender], bench: &Bench) -> Result<Target> {
    let Bench {
        issuer,
        wrk,
        options,
        ..
    } = bench;
    let find = |name: &str| contenders.iter().find(|contender| contender.name == name);
    let mut added = Vec::new();
    if let (Some(bare), Some(miss)) = (find(names.bare), find(names.miss)) {
        let issuer = Contender {
            name: "issuer",
            what: "issuer",
            address: issuer.address(),
            pid: None,
            tokens: Rc::clone(&miss.tokens),
            headers: unread_headers(0),
            bad: None,
            issuer: Rc::clone(issuer),
            calls_per_request: NEVER,
        };
        for _ in 0..options.rounds() {
            let mut medians = Vec::new();
            for contender in [miss, bare, &issuer] {
                let shot = wrk.load(contender, 1, options.load()).await?;
                #[expect(clippy::cast_precision_loss, reason = "microseconds")]
                medians.push(shot.p50 as f64 / 1000.0);
            }
            added.push(
                medians
                    .into_iter()
                    .reduce(|left, part| left - part)
                    .unwrap_or(0.0),
            );
        }
    }
    Ok(Target::new(
        "miss: ms added to app and issuer, one connection",
        Limit::AtMost(0.5),
        Spread::of(added),
    ))
}

/// Of the app with its auth check, in a process of its own.
async fn instantiation(issuer: &Issuer) -> Result<Target> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("spin.toml");
    std::fs::write(&path, manifest::with(Deployment::AuthCheck)?)?;
    let [instantiate] = programs::native(["instantiate"])?;
    let output = tokio::process::Command::new(instantiate)
        .arg(&path)
        .arg(INSTANCES.to_string())
        .envs(environment(&settings(issuer, None)))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(output.status.success(), "instantiate: {}", output.status);
    let mut microseconds = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        microseconds.push(line.parse::<f64>().context("not a time")? / 1e3);
    }
    Ok(Target::new(
        "instance of app and auth check, µs",
        Limit::AtMost(200.0),
        Spread::of(microseconds),
    ))
}
