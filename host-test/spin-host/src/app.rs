//! An app: manifest, components composed and compiled, routes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use wasmtime::{
    Engine,
    component::{Component, Linker},
};
use wasmtime_wasi_http::p3::bindings::ServicePre;

use super::{
    build::BuildCommand,
    compose::{Part, compose},
    engine::engine,
    instance::{HostState, linker},
    manifest::{HANDLER, Inherit, Manifest, Trigger},
    router::Router,
};

/// A compiled app. Expensive to load, cheap to clone, and can be served many times.
#[derive(Clone)]
pub struct App(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) manifest: Manifest,
    pub(crate) engine: Engine,
    pub(crate) router: Router,
    pub(crate) units: Vec<Unit>,
    /// The unit each trigger dispatches to, in the manifest's order.
    pub(crate) unit_of_trigger: Vec<usize>,
}

/// A unit of instantiation: a component with its middleware.
pub(crate) struct Unit {
    pub(crate) component: Arc<str>,
    pub(crate) pre: ServicePre<HostState>,
}

impl App {
    /// Reads the manifest, then composes and compiles its components.
    ///
    /// `replaced` names another .wasm for a component id, as tests do to put a probe in place of an
    /// app.
    ///
    /// # Errors
    /// The manifest is invalid, or a component cannot be composed or compiled.
    pub fn load(manifest: &Path, replaced: &BTreeMap<String, PathBuf>) -> Result<Self> {
        Self::from_manifest(Manifest::read(manifest)?, replaced)
    }

    /// Like [`App::load`], for a manifest that was already read.
    ///
    /// # Errors
    /// A component cannot be composed or compiled.
    pub fn from_manifest(manifest: Manifest, replaced: &BTreeMap<String, PathBuf>) -> Result<Self> {
        let mut sources = BTreeMap::new();
        for (id, source) in replaced {
            manifest.component(id).context("a replaced component")?;
            sources.insert(id.as_str(), source.clone());
        }
        let router = Router::new(&manifest)?;
        let engine = engine()?;
        let linker = linker(&engine).map_err(anyhow::Error::from)?;

        let mut units = Vec::<Unit>::new();
        let mut unit_of_trigger = Vec::new();
        for (position, trigger) in manifest.triggers().iter().enumerate() {
            // As in Spin: triggers without middleware share their component's instances, others
            // have their own.
            let earlier = manifest
                .triggers()
                .iter()
                .zip(&unit_of_trigger)
                .take(position);
            let shared = earlier
                .filter(|(other, _)| other.component == trigger.component)
                .find(|(other, _)| other.middleware().is_empty() && trigger.middleware().is_empty())
                .map(|(_, unit)| *unit);
            if let Some(unit) = shared {
                unit_of_trigger.push(unit);
                continue;
            }
            unit_of_trigger.push(units.len());
            units.push(
                compile(&manifest, &sources, trigger, &engine, &linker).with_context(|| {
                    format!(
                        "{}: [[trigger.http]] route = {:?}",
                        manifest.path().display(),
                        trigger.route
                    )
                })?,
            );
        }
        Ok(Self(Arc::new(Inner {
            manifest,
            engine,
            router,
            units,
            unit_of_trigger,
        })))
    }

    /// The manifest the app was loaded from.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// The commands that build the app's components.
    pub fn build_commands(&self) -> Vec<BuildCommand> {
        self.0.manifest.build_commands()
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }
}

fn compile(
    manifest: &Manifest,
    replaced: &BTreeMap<&str, PathBuf>,
    trigger: &Trigger,
    engine: &Engine,
    linker: &Linker<HostState>,
) -> Result<Unit> {
    let source = |id: &str| match replaced.get(id) {
        Some(source) => Ok(source.clone()),
        None => manifest.source_of(id),
    };
    let mut front = Vec::new();
    for middleware in trigger.middleware() {
        let id = middleware.component.as_str();
        front.push((id, source(id)?, &middleware.inherit_configuration));
    }
    let mut app = (trigger.component.as_str(), &Inherit::Everything);
    if let Some(next) = manifest.component(app.0)?.next() {
        front.push((app.0, source(app.0)?, app.1));
        app = (next.component.as_str(), &next.inherit_configuration);
    }
    let (id, inherit) = app;
    let front: Vec<_> = front
        .iter()
        .map(|(id, path, inherit)| (Part { id, path }, *inherit))
        .collect();
    let app_path = source(id)?;
    let path = &app_path;
    let bytes = compose(&front, (&Part { id, path }, inherit))?;

    let component = Component::from_binary(engine, &bytes)
        .map_err(anyhow::Error::from)
        .with_context(|| {
            format!(
                "component {}: cannot compile {}",
                trigger.component,
                app_path.display()
            )
        })?;
    let exported = component
        .component_type()
        .exports(engine)
        .any(|(name, _)| name == HANDLER);
    ensure!(
        exported,
        "component {}: {} does not export {HANDLER}, the only kind of HTTP app this host serves",
        trigger.component,
        app_path.display()
    );
    let pre = linker
        .instantiate_pre(&component)
        .and_then(ServicePre::new)
        .map_err(anyhow::Error::from)
        .with_context(|| {
            format!(
                "component {}: it, or its middleware, imports what this host does not offer",
                trigger.component
            )
        })?;
    Ok(Unit {
        component: Arc::from(trigger.component.as_str()),
        pre,
    })
}
