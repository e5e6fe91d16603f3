//! The one list of sequences that every host runs, and the list for hosts with a store that tests
//! can write into.

mod facts;
mod outage;
mod store;

use crate::sequence::row::Sequence;

/// About a token that anybody may have.
const ACTIVE: &str = r#"{"active":true,"client_id":"service-a","sub":"service-a"}"#;

pub(crate) fn all() -> Vec<Sequence> {
    [facts::rows(), outage::rows()]
        .into_iter()
        .flatten()
        .collect()
}

pub(crate) fn with_a_store() -> Vec<Sequence> {
    store::rows()
}
