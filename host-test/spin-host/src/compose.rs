//! Puts middleware in front of a component, as Spin does: one new component that exports the
//! outermost handler.
//!
//! Or puts the app behind a middleware that is the trigger's component and has the app as a
//! dependency. Only a dependency can be without what the whole has: there it is the middleware, here
//! the app.
//!
//! Spin lets a dependency that was not given a capability set run and fails its calls when they are
//! made. Here it is refused when the app is loaded, with the line to add. Environment and files are
//! no exception worth an error: every standard library imports them, Spin's adapter answers them
//! with empty lists, and so does this host to everyone.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use wac_graph::{CompositionGraph, EncodeOptions, PackageId, types::Package};

use super::manifest::{HANDLER, Inherit};

/// Interfaces, without versions, that a dependency may import only if it inherits the set they
/// belong to.
const GUARDED: &[(&str, &[&str])] = &[
    (
        "allowed_outbound_hosts",
        &["wasi:http/client", "wasi:http/outgoing-handler"],
    ),
    (
        "key_value_stores",
        &[
            "spin:key-value/key-value",
            "fermyon:spin/key-value",
            "wasi:keyvalue/store",
        ],
    ),
    (
        "variables",
        &[
            "spin:variables/variables",
            "fermyon:spin/variables",
            "fermyon:spin/config",
            "wasi:config/store",
        ],
    ),
];

/// One component of a composition.
pub(crate) struct Part<'a> {
    pub(crate) id: &'a str,
    pub(crate) path: &'a Path,
}

impl Part<'_> {
    fn read(&self) -> Result<Vec<u8>> {
        let Self { id, path } = self;
        fs::read(path).with_context(|| {
            format!("component {id}: cannot read {}: build it with the command in [component.{id}.build]", path.display())
        })
    }
}

/// Chains `middleware`, outermost first, in front of `app`, each with what it inherits.
pub(crate) fn compose(
    middleware: &[(Part<'_>, &Inherit)],
    (app, app_inherits): (&Part<'_>, &Inherit),
) -> Result<Vec<u8>> {
    let app_bytes = app.read()?;
    if middleware.is_empty() {
        return Ok(app_bytes);
    }
    let mut graph = CompositionGraph::new();
    let mut chain = Vec::new();
    for (position, (part, inherit)) in middleware.iter().enumerate() {
        let (package, imports) = register(
            &mut graph,
            &format!("middleware{position}"),
            part,
            part.read()?,
        )?;
        ensure!(
            imports.iter().any(|name| name == HANDLER),
            "component {} is no middleware: it does not import {HANDLER}",
            part.id
        );
        check_inheritance(part.id, &imports, inherit)?;
        chain.push((part.id, package));
    }
    let (innermost, imports) = register(&mut graph, "app", app, app_bytes)?;
    check_inheritance(app.id, &imports, app_inherits)?;

    let mut instance = graph.instantiate(innermost);
    let mut handler = graph.alias_instance_export(instance, HANDLER)?;
    for (id, package) in chain.into_iter().rev() {
        instance = graph.instantiate(package);
        graph
            .set_instantiation_argument(instance, HANDLER, handler)
            .with_context(|| {
                format!("component {id} cannot take what stands behind it as its {HANDLER}")
            })?;
        handler = graph.alias_instance_export(instance, HANDLER)?;
    }
    graph.export(handler, HANDLER)?;
    graph
        .encode(EncodeOptions::default())
        .with_context(|| format!("cannot put middleware in front of component {}", app.id))
}

/// Adds a component to the graph and returns the names of its imports.
fn register(
    graph: &mut CompositionGraph,
    name: &str,
    part: &Part<'_>,
    bytes: Vec<u8>,
) -> Result<(PackageId, Vec<String>)> {
    let package = Package::from_bytes(name, None, bytes, graph.types_mut()).with_context(|| {
        format!(
            "component {}: {} is not a WebAssembly component",
            part.id,
            part.path.display()
        )
    })?;
    let world = &graph.types()[package.ty()];
    ensure!(
        world.exports.contains_key(HANDLER),
        "component {} does not export {HANDLER}, which is what middleware is put in front of",
        part.id
    );
    let imports = world.imports.keys().cloned().collect();
    Ok((graph.register_package(package)?, imports))
}

fn check_inheritance(id: &str, imports: &[String], inherit: &Inherit) -> Result<()> {
    for (set, interfaces) in GUARDED {
        if inherit.covers(set) {
            continue;
        }
        for import in imports {
            let interface = import
                .split_once('@')
                .map_or(import.as_str(), |(interface, _)| interface);
            if interfaces.contains(&interface) {
                bail!(
                    "component {id} imports {import} and does not inherit {set}: \
                     add \"{set}\" to its inherit_configuration, or take the import out"
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_middleware_needs_the_set_of_every_interface_it_imports() {
        let imports = names(&[
            HANDLER,
            "wasi:cli/environment@0.2.6",
            "wasi:http/types@0.3.0",
            "wasi:http/client@0.3.0",
        ]);
        let error = check_inheritance("gate", &imports, &Inherit::Nothing)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "component gate imports wasi:http/client@0.3.0 and does not inherit allowed_outbound_hosts: \
             add \"allowed_outbound_hosts\" to its inherit_configuration, or take the import out"
        );
        let variables = names(&["spin:variables/variables@3.0.0"]);
        let sets = Inherit::Sets(["allowed_outbound_hosts".to_owned()].into());
        assert!(check_inheritance("gate", &imports, &sets).is_ok());
        assert!(check_inheritance("gate", &variables, &sets).is_err());
        assert!(check_inheritance("gate", &variables, &Inherit::Everything).is_ok());
        let stores = names(&["spin:key-value/key-value@3.0.0"]);
        assert!(check_inheritance("gate", &stores, &sets).is_err());
        let sets = Inherit::Sets(["key_value_stores".to_owned()].into());
        assert!(check_inheritance("gate", &stores, &sets).is_ok());
    }

    #[test]
    fn a_missing_file_is_named_with_what_to_do() {
        let app = Part {
            id: "app",
            path: Path::new("/no/such.wasm"),
        };
        let error = compose(&[], (&app, &Inherit::Everything))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "component app: cannot read /no/such.wasm: build it with the command in [component.app.build]"
        );
    }
}
