//! wasmtime takes minutes to compile: `cargo test` and `cargo serve` have to ask for it with the
//! same features, and what does not run components has to do without.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use programs::repository;

#[test]
fn tests_and_the_embedded_host_share_one_build_of_wasmtime() {
    let demo = wasmtime("normal,build");
    let tests = wasmtime("normal,build,dev");
    assert!(demo.len() > 50, "{demo:#?}");
    let differ: Vec<_> = demo.symmetric_difference(&tests).collect();
    assert!(
        differ.is_empty(),
        "ask for these features in host-test/spin-host/Cargo.toml, beside hashbrown: {differ:#?}"
    );
}

#[test]
fn the_demo_and_the_stub_are_built_without_wasmtime() {
    for package in ["envoy-runner", "host-test", "service-a", "verify-stub"] {
        let tree = cargo_tree(&[
            "--package",
            package,
            "--edges",
            "normal,build",
            "--prefix",
            "none",
        ]);
        assert!(tree.starts_with(package), "{tree}");
        let found: Vec<_> = tree
            .lines()
            .filter(|line| line.starts_with("wasmtime") || line.starts_with("cranelift"))
            .collect();
        assert!(found.is_empty(), "{package}: {found:#?}");
    }
}

fn cargo_tree(arguments: &[&str]) -> String {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked"])
        .args(arguments)
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{tree:?}");
    String::from_utf8(tree.stdout).unwrap()
}

/// wasmtime and everything below it, each with its features, as cargo selects them for dependencies
/// of these kinds.
fn wasmtime(kinds: &str) -> BTreeSet<String> {
    let text = cargo_tree(&[
        "--prefix", "depth", "--format", " {p} {f}", "--edges", kinds,
    ]);

    let mut below = BTreeMap::<_, BTreeSet<_>>::new();
    let mut path = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (depth, package) = line.split_once(' ').unwrap();
        // A package that stands there a second time has what is below it only the first time.
        let package = package.trim_end_matches(" (*)");
        path.truncate(depth.parse().unwrap());
        if let Some(above) = path.last() {
            below.entry(*above).or_default().insert(package);
        }
        path.push(package);
    }

    let names = ["wasmtime ", "wasmtime-wasi ", "wasmtime-wasi-http "];
    let mut open: Vec<_> = below
        .keys()
        .copied()
        .filter(|package| names.iter().any(|name| package.starts_with(name)))
        .collect();
    assert_eq!(open.len(), names.len());
    let mut found = BTreeSet::new();
    while let Some(package) = open.pop() {
        if found.insert(package.to_owned()) && below.contains_key(package) {
            open.extend(&below[package]);
        }
    }
    found
}
