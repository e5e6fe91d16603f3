//! wit/worlds.wit is the budget of capabilities: the components import what their worlds name, and nothing else.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use host_test::guests::{Guest, repository};
use wit_component::DecodedWasm;
use wit_parser::{Resolve, UnresolvedPackageGroup, World, WorldId};

/// The patch of WASI 0.2 that Rust's standard library names, and the one whose WIT wasmtime carries. Patches only add.
const RUST_STD: &str = "@0.2.6";
const WASMTIME: &str = "@0.2.12";

#[test]
fn auth_check_imports_what_its_world_names_and_nothing_else() {
    check(Guest::AuthCheck, "auth-check");
}

#[test]
fn service_b_imports_what_its_world_names_and_nothing_else() {
    check(Guest::ServiceB, "service-b");
}

#[test]
fn a_component_that_imports_more_than_its_world_is_found() {
    let (resolve, worlds) = worlds();
    let world = worlds
        .iter()
        .find(|id| resolve.worlds[**id].name == "service-b")
        .unwrap();
    let auth_check = std::fs::read(Guest::AuthCheck.build().unwrap()).unwrap();
    let error = wit_component::targets(&resolve, *world, &auth_check).unwrap_err();
    assert!(format!("{error:#}").contains("wasi:"), "{error:#}");
}

fn check(guest: Guest, name: &str) {
    let bytes = std::fs::read(guest.build().unwrap()).unwrap();
    let (resolve, worlds) = worlds();
    let world = *worlds
        .iter()
        .find(|id| resolve.worlds[**id].name == name)
        .unwrap();
    // Types and functions, too.
    wit_component::targets(&resolve, world, &bytes).unwrap();

    let DecodedWasm::Component(component, its_world) = wit_component::decode(&bytes).unwrap()
    else {
        panic!("{name} is no component");
    };
    assert_eq!(
        imports(&component, &component.worlds[its_world]),
        imports(&resolve, &resolve.worlds[world]),
        "left: {name}.wasm, right: world {name} of wit/worlds.wit"
    );
}

fn imports(resolve: &Resolve, world: &World) -> BTreeSet<String> {
    world
        .imports
        .keys()
        .map(|key| resolve.name_world_key(key))
        .collect()
}

/// Our worlds, resolved against the WIT that our dependencies carry.
fn worlds() -> (Resolve, Vec<WorldId>) {
    let mut resolve = Resolve::default();
    let wasi_0_3 = dependency("wasip3").join("wit/deps");
    for package in ["clocks", "random", "filesystem", "sockets", "cli", "http"] {
        push(
            &mut resolve,
            &wasi_0_3.join(format!("{package}.wit")),
            |text| text,
        );
    }
    let spin = dependency("spin-sdk").join("wit/deps/spin-variables@3.0.0");
    for file in std::fs::read_dir(spin).unwrap() {
        push(&mut resolve, &file.unwrap().path(), |text| text);
    }
    let wasi_0_2 = dependency("wasmtime-wasi").join("src/p2/wit/deps");
    for package in ["io", "clocks", "random", "filesystem", "sockets", "cli"] {
        push(
            &mut resolve,
            &wasi_0_2.join(format!("{package}.wit")),
            |text| text.replace(WASMTIME, RUST_STD),
        );
    }
    let ours = push(&mut resolve, &repository().join("wit/worlds.wit"), |text| {
        text
    });
    let worlds = resolve.packages[ours].worlds.values().copied().collect();
    (resolve, worlds)
}

fn push(
    resolve: &mut Resolve,
    path: &Path,
    edit: impl FnOnce(String) -> String,
) -> wit_parser::PackageId {
    let text =
        edit(std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
    let group = UnresolvedPackageGroup::parse(path, &text)
        .unwrap_or_else(|e| panic!("{}: {e:?}", path.display()));
    resolve
        .push_group(group)
        .unwrap_or_else(|e| panic!("{}: {e:?}", path.display()))
}

/// Where cargo keeps the source of a dependency.
fn dependency(name: &str) -> PathBuf {
    let metadata = cargo_metadata::MetadataCommand::new()
        .current_dir(repository())
        .other_options(["--locked", "--filter-platform", "wasm32-wasip2"].map(str::to_owned))
        .exec()
        .unwrap();
    let package = metadata
        .packages
        .iter()
        .find(|package| package.name == name)
        .unwrap();
    package.manifest_path.parent().unwrap().into()
}
