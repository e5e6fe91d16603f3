//! The middleware in the embedded host, beside middleware that does nothing: `cargo bench --bench embedded`.

mod manifest;
mod serve;
#[path = "../side_by_side/mod.rs"]
mod side_by_side;

use std::{collections::BTreeMap, ops::RangeInclusive, process::ExitCode, rc::Rc, time::Duration};

use anyhow::{Context as _, Result};
use host_test::host::{App, ServeOptions};

use self::{
    manifest::Gate,
    serve::Served,
    side_by_side::{
        contender::{Contender, EACH_TIME, NEVER},
        issuer::{BAD_TOKEN, Issuer},
        machine::Machine,
        options::Options,
        report::Report,
        rounds,
        spread::Spread,
        steady,
        target::{Limit, Target},
        tokens::{Tokens, opaque},
        wrk::Wrk,
    },
};

const BARE: &str = "bare";
const PASS_THROUGH: &str = "pass-through";
const OURS_HIT: &str = "ours-hit";
const OURS_MISS: &str = "ours-miss";

/// Questions to the issuer per request: the cache is an instance's own, and an instance serves 128.
const SELDOM: RangeInclusive<f64> = 0.0..=0.02;

/// How often an instance is made.
const INSTANCES: u32 = 500;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    side_by_side::main(run).await
}

async fn run(options: Options) -> Result<()> {
    let wrk = Wrk::find()?;
    let machine = Machine::take()?;
    let issuer = Rc::new(Issuer::start().await?);
    let (servers, contenders) = start(&issuer, &machine, &options).await?;
    let achieved = rounds::run(&contenders, &wrk, &options).await?;
    let targets = vec![
        Target::ratio(
            "hit / middleware that does nothing",
            0.9,
            &achieved,
            (OURS_HIT, PASS_THROUGH),
        ),
        alone(&contenders, &issuer, &wrk, &options).await?,
        instantiation(&issuer).await?,
        steady::tail(OURS_HIT, &contenders, &achieved, &options).await?,
    ];
    let report = Report {
        name: "embedded",
        title: "The embedded host on one core, requests per second",
        machine,
        rounds: options.rounds(),
        seconds: options.load().as_secs(),
        connections: options.connections,
        contenders: achieved,
        targets,
    };
    report.publish(&options)?;
    drop(servers);
    Ok(())
}

fn settings(issuer: &Issuer, cache_ttl: Option<&str>) -> BTreeMap<String, String> {
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

async fn start(
    issuer: &Rc<Issuer>,
    machine: &Machine,
    options: &Options,
) -> Result<(Vec<Served>, Vec<Contender>)> {
    let one = Rc::new(Tokens::one(opaque(0))?);
    let different = Rc::new(Tokens::different()?);
    let plans = [
        (BARE, "the app alone", Gate::None, None, &one, NEVER),
        (
            PASS_THROUGH,
            "middleware that does nothing",
            Gate::PassThrough,
            None,
            &one,
            NEVER,
        ),
        (
            OURS_HIT,
            "trust-triangle, cached",
            Gate::AuthCheck,
            Some("3600"),
            &one,
            SELDOM,
        ),
        (
            OURS_MISS,
            "trust-triangle, asks for each request",
            Gate::AuthCheck,
            None,
            &different,
            EACH_TIME,
        ),
    ];
    let mut servers = Vec::new();
    let mut contenders = Vec::new();
    for (name, what, gate, cache_ttl, tokens, asks) in plans {
        if !options.takes(name) {
            continue;
        }
        let server = Served::start(gate, &settings(issuer, cache_ttl), machine)
            .await
            .context(name)?;
        contenders.push(Contender {
            name,
            what,
            address: server.address,
            pid: server.pid,
            tokens: Rc::clone(tokens),
            bad: (gate == Gate::AuthCheck).then(|| BAD_TOKEN.to_owned()),
            issuer: Rc::clone(issuer),
            asks,
        });
        servers.push(server);
    }
    Ok((servers, contenders))
}

/// What a miss adds for a caller that is alone: its median, less that of the app and less that of the issuer.
async fn alone(
    contenders: &[Contender],
    issuer: &Rc<Issuer>,
    wrk: &Wrk,
    options: &Options,
) -> Result<Target> {
    let find = |name: &str| contenders.iter().find(|contender| contender.name == name);
    let mut added = Vec::new();
    if let (Some(bare), Some(miss)) = (find(BARE), find(OURS_MISS)) {
        let issuer = Contender {
            name: "issuer",
            what: "issuer",
            address: issuer.address(),
            pid: None,
            tokens: Rc::clone(&miss.tokens),
            bad: None,
            issuer: Rc::clone(issuer),
            asks: NEVER,
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

/// Of the app with its gate, in this process.
async fn instantiation(issuer: &Issuer) -> Result<Target> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("spin.toml");
    std::fs::write(&path, manifest::with(Gate::AuthCheck)?)?;
    let app = App::load(&path, &BTreeMap::new())?;
    let options = ServeOptions {
        environment: Some(BTreeMap::new()),
        variables: settings(issuer, None),
        ..ServeOptions::default()
    };
    let running = app.serve(options).await?;
    let mut times = Vec::new();
    for _ in 0..INSTANCES {
        times.push(running.instantiate().await?);
    }
    running.shutdown().await;
    let microseconds = |time: Duration| time.as_secs_f64() * 1e6;
    Ok(Target::new(
        "instance of app and gate, µs",
        Limit::AtMost(200.0),
        Spread::of(times.into_iter().map(microseconds)),
    ))
}
