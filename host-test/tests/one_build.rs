//! wasmtime takes minutes to compile: `cargo test` and `cargo demo` have to ask for it with the same features.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use programs::repository;

#[test]
fn tests_and_the_demo_share_one_build_of_wasmtime() {
    let demo = wasmtime("normal,build");
    let tests = wasmtime("normal,build,dev");
    assert!(demo.len() > 50, "{demo:#?}");
    let differ: Vec<_> = demo.symmetric_difference(&tests).collect();
    assert!(
        differ.is_empty(),
        "ask for these features in host-test/Cargo.toml, beside hashbrown: {differ:#?}"
    );
}

/// wasmtime and everything below it, each with its features, as cargo selects them for dependencies of these kinds.
fn wasmtime(kinds: &str) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree", "--locked", "--prefix", "depth", "--format", " {p} {f}",
        ])
        .args(["--edges", kinds])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{tree:?}");
    let text = String::from_utf8(tree.stdout).unwrap();

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
