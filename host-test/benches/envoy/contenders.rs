//! Who is loaded: an Envoy for each, with the shipped configuration but for what is said here.

use std::{collections::BTreeMap, ops::RangeInclusive, rc::Rc};

use anyhow::{Context as _, Result};
use host_test::{
    envoy::{Envoy, EnvoyOptions, shipped_config},
    guests::Guest,
};
use serde_json::{Value, json};

use super::{
    filters::{floor, issuer_cluster, jwt_authn, lua},
    jwt::Jwt,
};
use crate::side_by_side::{
    contender::{Contender, EACH_TIME, NEVER},
    issuer::{BAD_TOKEN, Issuer},
    machine::Machine,
    options::Options,
    tokens::{Tokens, opaque},
};

const MANAGER: &str =
    "/static_resources/listeners/service_b/filter_chains/0/filters/0/typed_config";

pub(crate) const NO_AUTH: &str = "no-auth";
pub(crate) const FLOOR_READS: &str = "floor-reads";
pub(crate) const FLOOR_CALLS: &str = "floor-calls";
pub(crate) const OURS_HIT: &str = "ours-hit";
pub(crate) const OURS_HIT_JWT: &str = "ours-hit-jwt";
pub(crate) const OURS_MISS: &str = "ours-miss";
pub(crate) const JWT_AUTHN: &str = "jwt-authn";
pub(crate) const JWT_AUTHN_CACHE: &str = "jwt-authn-cache";
pub(crate) const LUA: &str = "lua-introspects";

/// A contender and its Envoy.
struct Plan {
    name: &'static str,
    what: &'static str,
    filter: Filter,
    tokens: Rc<Tokens>,
    bad: Option<String>,
    asks: RangeInclusive<f64>,
}

enum Filter {
    None,
    /// Ours, with these settings.
    Ours(Value),
    Other(Value),
}

/// Starts them all. They run as long as what is returned, and only the one that is loaded has anything to do.
pub(crate) async fn start(
    issuer: &Rc<Issuer>,
    machine: &Machine,
    options: &Options,
) -> Result<(Vec<Envoy>, Vec<Contender>)> {
    let jwt = Jwt::generate()?;
    let mut envoys = Vec::new();
    let mut contenders = Vec::new();
    for plan in plans(issuer, &jwt)? {
        if !options.takes(plan.name) {
            continue;
        }
        let envoy = Envoy::start(envoy_options(plan.filter, issuer)?)
            .await
            .with_context(|| plan.name)?;
        machine.pin_server(envoy.pid())?;
        contenders.push(Contender {
            name: plan.name,
            what: plan.what,
            address: envoy.address(),
            pid: Some(envoy.pid()),
            tokens: plan.tokens,
            bad: plan.bad,
            issuer: Rc::clone(issuer),
            asks: plan.asks,
        });
        envoys.push(envoy);
    }
    Ok((envoys, contenders))
}

fn plans(issuer: &Issuer, jwt: &Jwt) -> Result<Vec<Plan>> {
    let floors = Guest::BenchFloors.build()?;
    let one = Rc::new(Tokens::one(opaque(0))?);
    let different = Rc::new(Tokens::different()?);
    let signed = Rc::new(Tokens::one(jwt.token.clone())?);
    let cached = json!({ "cache_ttl": 3600 });
    let plan = |name, what, filter, tokens: &Rc<Tokens>, bad: Option<&str>, asks| Plan {
        name,
        what,
        filter,
        tokens: Rc::clone(tokens),
        bad: bad.map(str::to_owned),
        asks,
    };
    let other = Filter::Other;
    let bad = Some(BAD_TOKEN);
    Ok(vec![
        plan(NO_AUTH, "no auth", Filter::None, &one, None, NEVER),
        plan(
            FLOOR_READS,
            "wasm filter that only reads Authorization",
            other(floor("reads", &floors)),
            &one,
            None,
            NEVER,
        ),
        plan(
            FLOOR_CALLS,
            "wasm filter with our host calls, checks nothing",
            other(floor("calls", &floors)),
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
            Filter::Ours(cached),
            &signed,
            bad,
            NEVER,
        ),
        plan(
            JWT_AUTHN_CACHE,
            "jwt_authn with its cache",
            other(jwt_authn(jwt, true)),
            &signed,
            Some(&jwt.bad),
            NEVER,
        ),
        plan(
            JWT_AUTHN,
            "jwt_authn",
            other(jwt_authn(jwt, false)),
            &signed,
            Some(&jwt.bad),
            NEVER,
        ),
        plan(
            OURS_MISS,
            "trust-triangle, asks for each request",
            Filter::Ours(json!({})),
            &different,
            bad,
            EACH_TIME,
        ),
        plan(
            LUA,
            "Lua that asks for each request, validates nothing",
            other(lua(issuer)),
            &different,
            bad,
            EACH_TIME,
        ),
    ])
}

/// The answer comes from Envoy itself, so that nothing but Envoy is measured and no share of a filter is hidden behind the
/// cost of forwarding; and nobody writes an access log.
fn envoy_options(filter: Filter, issuer: &Issuer) -> Result<EnvoyOptions> {
    let set = |path: &str, value| (format!("{MANAGER}/{path}"), value);
    let route = json!([{
        "match": { "prefix": "/" },
        "direct_response": { "status": 200, "body": { "inline_string": "ok" } },
    }]);
    let mut overrides = vec![
        set("access_log", json!([])),
        set("route_config/virtual_hosts/service_b/routes", route),
    ];
    let shipped = shipped_config()?;
    let mut plugin_json = None;
    let filters = match filter {
        Filter::Ours(settings) => {
            plugin_json = Some(settings);
            None
        }
        Filter::None => Some(vec![]),
        Filter::Other(filter) => Some(vec![filter]),
    };
    if let Some(mut filters) = filters {
        let router = shipped
            .pointer("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/1")
            .context("no router in envoy.yaml")?;
        filters.push(router.clone());
        overrides.push(set("http_filters", json!(filters)));
        let mut clusters = shipped
            .pointer("/static_resources/clusters")
            .and_then(Value::as_array)
            .context("no clusters in envoy.yaml")?
            .clone();
        clusters.push(issuer_cluster(issuer));
        overrides.push(("/static_resources/clusters".to_owned(), json!(clusters)));
    }
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
        plugin_json,
        overrides,
        ..EnvoyOptions::default()
    })
}
