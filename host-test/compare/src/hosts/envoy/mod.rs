//! Real Envoy: one for each contender, with one worker, and with the shipped configuration but for
//! what is said here.

mod filters;
mod instructions;

use std::{collections::BTreeMap, ops::RangeInclusive, rc::Rc};

use anyhow::{Context as _, Result, bail};
use envoy_runner::{Envoy, EnvoyOptions, MANAGER, shipped_config};
use programs::Guest;
use serde_json::{Value, json};

use self::filters::{ISSUER_CLUSTER, floor, issuer_cluster, lua};
use crate::{
    Bench,
    contender::{Contender, EACH_TIME, Headers, NEVER, SELDOM, unread_headers},
    issuer::{BAD_TOKEN, Issuer},
    jwt::Jwt,
    load::{
        steady,
        tokens::{Tokens, opaque},
    },
    report::Part,
    rounds::{self, Achieved},
    target::{Limit, Target},
};

const NO_AUTH: &str = "envoy/no-auth";
const FLOOR_READS: &str = "envoy/floor-reads";
const FLOOR_CALLS: &str = "envoy/floor-calls";
const OURS_HIT: &str = "envoy/ours-hit";
const OURS_HIT_JWT: &str = "envoy/ours-hit-jwt";
const OURS_MISS: &str = "envoy/ours-miss";
const OURS_VERIFIED_HIT: &str = "envoy/ours-verified-hit";
const OURS_VERIFIED_FIRST: &str = "envoy/ours-verified-first";
const FLOOR_VERIFIES: &str = "envoy/floor-verifies";
const JWT_AUTHN: &str = "envoy/jwt-authn";
const JWT_AUTHN_CACHE: &str = "envoy/jwt-authn-cache";
const OURS_MISS_SHIPPED: &str = "envoy/ours-miss-shipped";
const FLOOR_INTROSPECTS: &str = "envoy/floor-asks";
const LUA: &str = "envoy/lua-introspects";
const NO_AUTH_HEADERS: &str = "envoy/no-auth-many-headers";
const OURS_HIT_HEADERS: &str = "envoy/ours-hit-many-headers";
const NO_AUTH_WORKERS: &str = "envoy/no-auth-2-workers";
const OURS_HIT_WORKERS: &str = "envoy/ours-hit-2-workers";

/// So many JWTs in turn, and a cache of so few: hardly one in sixty is found there.
const DIFFERENT_JWTS: u32 = 4096;
const FEW_ENTRIES: u32 = 64;

/// Envoy and hyper accept a hundred in all.
const MANY_HEADERS: usize = 90;

/// A contender and its Envoy.
struct Plan {
    name: &'static str,
    what: &'static str,
    filter: Filter,
    tokens: Rc<Tokens>,
    bad: Option<String>,
    calls_per_request: RangeInclusive<f64>,
    headers: Headers,
    workers: u32,
}

enum Filter {
    None,
    /// Ours, with these settings.
    Ours(Value),
    Other(Value),
}

/// Measures them all.
pub(crate) async fn part(bench: &Bench) -> Result<Part> {
    // They run as long as these are there, and only the one that is loaded has anything to do.
    let (envoys, contenders) = start(bench).await?;
    let achieved = rounds::run(&contenders, bench).await?;
    let mut targets = ratios(&achieved);
    let [hit, no_auth] = steady::tails([OURS_HIT, NO_AUTH], &contenders, &achieved, bench).await?;
    for (measure, limit, value) in [
        (
            "hit: p99 / p50 at half of the saturation rate",
            Some(Limit::AtMost(5.0)),
            hit.whole,
        ),
        ("no auth: the same, at half of its own", None, no_auth.whole),
        ("hit: the same in 100 ms", None, hit.windows),
        ("no auth: the same in 100 ms", None, no_auth.windows),
    ] {
        targets.push(Target::new(measure, limit, value));
    }
    for envoy in envoys {
        envoy.stop().await?;
    }
    targets.extend(instructions::targets(bench).await?);
    Ok(Part {
        name: "envoy",
        title: "Envoy on one core, requests per second",
        contenders: achieved,
        targets,
    })
}

fn ratios(all: &[Achieved]) -> Vec<Target> {
    let ratio = |measure, least, of| Target::ratio(measure, least, all, of);
    vec![
        ratio(
            "hit / floor with the same host calls",
            Some(0.95),
            (OURS_HIT, FLOOR_CALLS),
        ),
        ratio(
            "hit / floor that only reads",
            Some(0.92),
            (OURS_HIT, FLOOR_READS),
        ),
        ratio(
            "floor with the same host calls / floor that only reads",
            None,
            (FLOOR_CALLS, FLOOR_READS),
        ),
        ratio(
            "hit / jwt_authn with its cache",
            Some(0.95),
            (OURS_HIT, JWT_AUTHN_CACHE),
        ),
        ratio(
            "floor with the same host calls / jwt_authn with its cache",
            None,
            (FLOOR_CALLS, JWT_AUTHN_CACHE),
        ),
        ratio(
            "hit / jwt_authn with its cache, same JWT",
            Some(0.88),
            (OURS_HIT_JWT, JWT_AUTHN_CACHE),
        ),
        ratio("hit / jwt_authn", Some(2.3), (OURS_HIT, JWT_AUTHN)),
        ratio("hit / jwt_authn, same JWT", None, (OURS_HIT_JWT, JWT_AUTHN)),
        ratio(
            "JWT verified here, first sight / jwt_authn",
            Some(1.0),
            (OURS_VERIFIED_FIRST, JWT_AUTHN),
        ),
        ratio(
            "floor that verifies / jwt_authn",
            None,
            (FLOOR_VERIFIES, JWT_AUTHN),
        ),
        ratio(
            "JWT verified here, first sight / floor that verifies",
            None,
            (OURS_VERIFIED_FIRST, FLOOR_VERIFIES),
        ),
        ratio(
            "JWT verified here, cached / the same JWT introspected, cached",
            Some(0.98),
            (OURS_VERIFIED_HIT, OURS_HIT_JWT),
        ),
        ratio("miss / Lua", Some(1.0), (OURS_MISS, LUA)),
        ratio("floor that asks / Lua", None, (FLOOR_INTROSPECTS, LUA)),
        ratio(
            "miss / floor that asks",
            None,
            (OURS_MISS, FLOOR_INTROSPECTS),
        ),
        ratio(
            "hit with 90 more headers / hit",
            None,
            (OURS_HIT_HEADERS, OURS_HIT),
        ),
        ratio(
            "no auth with 90 more headers / no auth",
            None,
            (NO_AUTH_HEADERS, NO_AUTH),
        ),
        ratio(
            "hit with 2 workers / hit",
            None,
            (OURS_HIT_WORKERS, OURS_HIT),
        ),
        ratio(
            "no auth with 2 workers / no auth",
            None,
            (NO_AUTH_WORKERS, NO_AUTH),
        ),
    ]
}

async fn start(bench: &Bench) -> Result<(Vec<Envoy>, Vec<Contender>)> {
    let issuer = &bench.issuer;
    let mut envoys = Vec::new();
    let mut contenders = Vec::new();
    for plan in plans(issuer, &Jwt::generate(DIFFERENT_JWTS)?)? {
        let is_growth = plan.workers > 1 || !plan.headers.is_empty();
        let is_taken = if is_growth {
            bench.options.takes_growth(plan.name)
        } else {
            bench.options.takes(plan.name)
        };
        if !is_taken {
            continue;
        }
        let mut options = envoy_options(plan.filter, issuer)?;
        options.concurrency = plan.workers;
        let envoy = Envoy::start(options).await.with_context(|| plan.name)?;
        bench.machine.pin_server(envoy.pid(), plan.workers)?;
        contenders.push(Contender {
            name: plan.name,
            what: plan.what,
            address: envoy.address(),
            pid: Some(envoy.pid()),
            tokens: plan.tokens,
            headers: plan.headers,
            bad: plan.bad,
            issuer: Rc::clone(issuer),
            calls_per_request: plan.calls_per_request,
        });
        envoys.push(envoy);
    }
    Ok((envoys, contenders))
}

fn plans(issuer: &Issuer, jwt: &Jwt) -> Result<Vec<Plan>> {
    let floors = Guest::BenchFloors.build()?;
    let floor = |name| Filter::Other(floor(name, &floors));
    let one = Rc::new(Tokens::one(opaque(0))?);
    let different = Rc::new(Tokens::different()?);
    let signed = Rc::new(Tokens::one(jwt.token.clone())?);
    let different_signed = Rc::new(Tokens::of(jwt.different.clone())?);
    let cached = json!({ "cache_ttl": 3600 });
    let verified = |entries| Filter::Ours(jwt.settings(entries));
    let plan =
        |name, what, filter, tokens: &Rc<Tokens>, bad: Option<&str>, calls_per_request| Plan {
            name,
            what,
            filter,
            tokens: Rc::clone(tokens),
            bad: bad.map(str::to_owned),
            calls_per_request,
            headers: unread_headers(0),
            workers: 1,
        };
    let other = Filter::Other;
    let bad = Some(BAD_TOKEN);
    let mut plans = vec![
        plan(NO_AUTH, "no auth", Filter::None, &one, None, NEVER),
        plan(
            FLOOR_READS,
            "wasm filter that only reads the headers",
            floor("reads"),
            &one,
            None,
            NEVER,
        ),
        plan(
            FLOOR_CALLS,
            "wasm filter with our host calls, checks nothing",
            floor("calls"),
            &one,
            None,
            NEVER,
        ),
        plan(
            OURS_HIT,
            "trust-triangle, cached",
            Filter::Ours(cached.clone()),
            &one,
            bad,
            NEVER,
        ),
        plan(
            OURS_HIT_JWT,
            "trust-triangle, cached, the JWT of jwt_authn",
            Filter::Ours(cached.clone()),
            &signed,
            bad,
            NEVER,
        ),
        plan(
            OURS_VERIFIED_HIT,
            "trust-triangle, JWT verified here, cached",
            verified(1000),
            &signed,
            Some(&jwt.bad),
            NEVER,
        ),
        plan(
            OURS_VERIFIED_FIRST,
            "trust-triangle, JWT verified here, each request",
            verified(FEW_ENTRIES),
            &different_signed,
            Some(&jwt.bad),
            NEVER,
        ),
        plan(
            FLOOR_VERIFIES,
            "wasm filter with our host calls for a JWT, checks nothing",
            floor("verifies"),
            &different_signed,
            None,
            NEVER,
        ),
        plan(
            JWT_AUTHN_CACHE,
            "jwt_authn with its cache",
            other(jwt.jwt_authn(true)),
            &signed,
            Some(&jwt.bad),
            NEVER,
        ),
        plan(
            JWT_AUTHN,
            "jwt_authn",
            other(jwt.jwt_authn(false)),
            &different_signed,
            Some(&jwt.bad),
            NEVER,
        ),
        plan(
            OURS_MISS,
            "trust-triangle, introspects each request",
            // As the others that ask have it; the shipped ones find an issuer anywhere.
            Filter::Ours(json!({ "issuer_cluster": ISSUER_CLUSTER })),
            &different,
            bad,
            EACH_TIME,
        ),
        plan(
            OURS_MISS_SHIPPED,
            "trust-triangle, introspects each request, shipped cluster",
            Filter::Ours(json!({})),
            &different,
            bad,
            EACH_TIME,
        ),
        plan(
            FLOOR_INTROSPECTS,
            "wasm filter that introspects each request, does nothing else",
            floor("asks"),
            &different,
            None,
            EACH_TIME,
        ),
        plan(
            LUA,
            "Lua that introspects each request, validates nothing",
            other(lua(issuer)),
            &different,
            bad,
            EACH_TIME,
        ),
    ];
    for (name, what, headers, workers) in [
        (NO_AUTH_HEADERS, "no auth, 90 more headers", MANY_HEADERS, 1),
        (NO_AUTH_WORKERS, "no auth, 2 workers", 0, 2),
    ] {
        plans.push(Plan {
            headers: unread_headers(headers),
            workers,
            ..plan(name, what, Filter::None, &one, None, NEVER)
        });
    }
    for (name, what, headers, workers) in [
        (
            OURS_HIT_HEADERS,
            "trust-triangle, cached, 90 more headers",
            MANY_HEADERS,
            1,
        ),
        (OURS_HIT_WORKERS, "trust-triangle, cached, 2 workers", 0, 2),
    ] {
        let filter = Filter::Ours(cached.clone());
        plans.push(Plan {
            headers: unread_headers(headers),
            workers,
            ..plan(name, what, filter, &one, bad, SELDOM)
        });
    }
    Ok(plans)
}

/// The answer comes from Envoy itself, so that nothing but Envoy is measured and no share of a
/// filter is hidden behind the cost of forwarding; and nobody writes an access log.
fn envoy_options(filter: Filter, issuer: &Issuer) -> Result<EnvoyOptions> {
    let set = |path: &str, value| (format!("{MANAGER}/{path}"), value);
    let route = json!([{
        "match": { "prefix": "/" },
        "direct_response": { "status": 200, "body": { "inline_string": "ok" } },
    }]);
    let shipped = shipped_config()?;
    let mut clusters = shipped
        .pointer("/static_resources/clusters")
        .and_then(Value::as_array)
        .context("no clusters in envoy.yaml")?
        .clone();
    clusters.push(issuer_cluster(issuer));
    let mut overrides = vec![
        set("access_log", json!([])),
        set("route_config/virtual_hosts/service_b/routes", route),
        ("/static_resources/clusters".to_owned(), json!(clusters)),
    ];
    // Without the limit on requests of one address, which no variant has by itself.
    let [_, ours, router] = (shipped.pointer(&format!("{MANAGER}/http_filters")))
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
    else {
        bail!("envoy.yaml has other filters");
    };
    let mut filters = match filter {
        Filter::Ours(settings) => {
            let mut ours = ours.clone();
            let value = ours.pointer_mut("/typed_config/config/configuration/value");
            *value.context("no configuration of the filter in envoy.yaml")? =
                settings.to_string().into();
            vec![ours]
        }
        Filter::None => vec![],
        Filter::Other(filter) => vec![filter],
    };
    filters.push(router.clone());
    overrides.push(set("http_filters", json!(filters)));
    let settings = [
        ("introspect_url", issuer.introspect_url()),
        ("resource_client_id", "b".to_owned()),
        ("resource_client_secret", "s3cr3t".to_owned()),
    ];
    Ok(EnvoyOptions {
        settings: settings
            .map(|(key, value)| (key.to_owned(), value))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        overrides,
        ..EnvoyOptions::default()
    })
}
