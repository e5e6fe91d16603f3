//! The filters of Envoy's that stand in the place of ours, as configuration.

use std::path::Path;

use serde_json::{Value, json};

use crate::issuer::{self, Issuer};

/// One of the floors.
pub(crate) fn floor(name: &str, wasm: &Path) -> Value {
    json!({
        "name": name,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": name,
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": name,
                },
                "vm_config": {
                    "vm_id": name,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": wasm } },
                },
            },
        },
    })
}

/// Asks the issuer for each request.
pub(crate) fn lua(issuer: &Issuer) -> Value {
    let code = include_str!("introspect.lua")
        .replace("@PATH@", issuer::PATH)
        .replace("@AUTHORITY@", &issuer.address().to_string());
    json!({
        "name": "lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": { "inline_string": code },
        },
    })
}

/// The cluster of those that ask for each request.
pub(crate) const ISSUER_CLUSTER: &str = "issuer";

/// The issuer at a fixed address, which is the cheapest kind of cluster.
pub(crate) fn issuer_cluster(issuer: &Issuer) -> Value {
    json!({
        "name": ISSUER_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "2s",
        "circuit_breakers": {
            "thresholds": [{ "max_connections": 256, "max_pending_requests": 65536, "max_requests": 65536 }],
        },
        "load_assignment": {
            "cluster_name": ISSUER_CLUSTER,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": { "socket_address": {
                "address": issuer.address().ip().to_string(),
                "port_value": issuer.address().port(),
            } } } }] }],
        },
    })
}
