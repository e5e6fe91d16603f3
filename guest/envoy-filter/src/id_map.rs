//! A map by ids that Envoy chose.

use core::hash::BuildHasherDefault;
use std::collections::HashMap;
use std::hash::DefaultHasher;

/// Without random seeds: no caller chooses the keys, and the order of iteration is reproducible.
pub(crate) type IdMap<V> = HashMap<u32, V, BuildHasherDefault<DefaultHasher>>;
