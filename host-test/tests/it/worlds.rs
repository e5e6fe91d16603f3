//! wit/worlds.wit is the budget of capabilities: the components import what their worlds name, and
//! nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use programs::{Guest, repository};
use wit_component::DecodedWasm;
use wit_parser::{Resolve, UnresolvedPackageGroup, World, WorldId};

const WORLDS: &str = "wit/worlds.wit";

/// The patch of WASI 0.2 that Rust's standard library names. wasmtime carries the WIT of a later
/// one; patches only add.
const RUST_STD: &str = "0.2.6";

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
        named(name),
        "left: {name}.wasm, right: world {name} of wit/worlds.wit"
    );
}

/// What the component imports.
fn imports(component: &Resolve, world: &World) -> BTreeSet<String> {
    let keys = world.imports.keys();
    keys.map(|key| component.name_world_key(key)).collect()
}

/// What the world names, itself and through `include`.
fn named(world: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(repository().join(WORLDS)).unwrap();
    let (_, rest) = text.split_once(&format!("world {world} {{\n")).unwrap();
    let (body, _) = rest.split_once("\n}").unwrap();
    let mut names = BTreeSet::new();
    for line in body.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("import ") {
            names.insert(name.trim_end_matches(';').to_owned());
        } else if let Some(included) = line.strip_prefix("include ") {
            names.extend(named(included.trim_end_matches(';')));
        }
    }
    names
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
    let spin = dependency("spin-sdk").join("wit/deps");
    for package in ["spin-key-value@3.0.0", "spin-variables@3.0.0"] {
        for file in std::fs::read_dir(spin.join(package)).unwrap() {
            push(&mut resolve, &file.unwrap().path(), |text| text);
        }
    }
    let config = spin.join("wasi-runtime-config-2024-09-27");
    resolve.push_dir(config).unwrap();
    let wasi_0_2 = dependency("wasmtime-wasi").join("src/p2/wit/deps");
    for package in ["io", "clocks", "random", "filesystem", "sockets", "cli"] {
        push(
            &mut resolve,
            &wasi_0_2.join(format!("{package}.wit")),
            |text| {
                (7..=99).rev().fold(text, |text, patch| {
                    text.replace(&format!("0.2.{patch}"), RUST_STD)
                })
            },
        );
    }
    let ours = push(&mut resolve, &repository().join(WORLDS), |text| text);
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
