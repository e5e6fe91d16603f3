//! Imports run one way: between the layers of the core, and between the modules of each crate.
//!
//! Reads the sources. An import that runs up, or a circle, fails the test with the path that causes
//! it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test")]

mod graph;

use std::path::Path;

use graph::ModuleGraph;

const VOCABULARY: &[&str] = &["reason", "secret", "time"];

/// The layers of the core: a module, and the modules that it may use.
const CORE: &[(&str, &[&[&str]])] = &[
    ("reason", &[]),
    ("secret", &[]),
    ("time", &[]),
    ("request", &[VOCABULARY]),
    ("jose", &[VOCABULARY]),
    ("proof", &[VOCABULARY, &["request", "jose"]]),
    ("introspection", &[VOCABULARY, &["jose"]]),
    (
        "policy",
        &[VOCABULARY, &["request", "introspection", "jose", "proof"]],
    ),
    (
        "memory",
        &[VOCABULARY, &["introspection", "jose", "policy"]],
    ),
    // Facts are cached, decisions never are: a decision cannot see what is remembered.
    (
        "decision",
        &[VOCABULARY, &["request", "introspection", "policy"]],
    ),
    (
        "check",
        &[
            VOCABULARY,
            &["request", "introspection", "jose", "proof"],
            &["policy", "memory", "decision"],
        ],
    ),
];

fn graph(source: &str) -> ModuleGraph {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    ModuleGraph::read(&path)
}

#[test]
fn each_layer_of_the_core_uses_only_the_layers_below_it() {
    let graph = graph("src");
    for import in graph.imports() {
        let (Some(user), Some(used)) = (import.user.first(), import.used.first()) else {
            continue; // The crate root re-exports.
        };
        if user == used || user == "test_util" {
            continue;
        }
        let layer = CORE.iter().find(|(layer, _)| layer == user);
        let (_, allowed) = layer.unwrap_or_else(|| panic!("{user} is in no layer of this test"));
        assert!(
            allowed
                .iter()
                .any(|modules| modules.contains(&used.as_str())),
            "{import}: the layer `{user}` may not use `{used}`"
        );
    }
}

#[test]
fn every_module_of_the_core_is_in_a_layer_and_the_other_way_round() {
    let mut modules = graph("src").top_level();
    modules.retain(|module| module != "test_util");
    let mut layers: Vec<_> = CORE.iter().map(|(layer, _)| (*layer).to_owned()).collect();
    layers.sort();
    assert_eq!(modules, layers);
}

#[test]
fn no_modules_of_a_crate_import_each_other_in_a_circle() {
    for source in [
        "src",
        "../auth-check/src",
        "../codec/src",
        "../envoy-filter-core/src",
        "../proxy-wasm-abi/src",
        "../../service-a/src",
    ] {
        let graph = graph(source);
        assert!(graph.len() > 5, "{source} was read");
        assert_eq!(graph.circle(), None, "{source}");
    }
}

#[test]
fn adapters_reach_the_core_through_its_root_only() {
    for source in ["../auth-check/src", "../envoy-filter-core/src"] {
        for path in graph(source).paths_into("token_check") {
            let is_module = CORE
                .iter()
                .any(|(module, _)| path.get(1).is_some_and(|p| p == module));
            assert!(!is_module, "{source}: {}", path.join("::"));
        }
    }
}
