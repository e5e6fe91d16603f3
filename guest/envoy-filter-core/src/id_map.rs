//! A map by ids that Envoy chose.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

/// Hashed fast and without random seeds: no caller chooses the keys, and the order of iteration is
/// reproducible.
pub(crate) type IdMap<V> = HashMap<u32, V, FxBuildHasher>;
