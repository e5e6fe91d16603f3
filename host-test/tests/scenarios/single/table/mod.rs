//! The one list of scenarios that every host runs. Names begin with the row of ATTACKS.md or the
//! clause they pin.

mod answers;
mod bound_tokens;
pub(crate) mod client_auth;
mod failures;
mod headers;
mod issuers;
mod jwt;
mod metadata;
mod policy;
mod requests;
mod rules;
pub(crate) mod signed_introspection;

use std::collections::BTreeSet;

use crate::single::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    let mut table = answers::rows();
    table.extend(bound_tokens::rows());
    table.extend(client_auth::rows());
    table.extend(failures::rows());
    table.extend(headers::rows());
    table.extend(issuers::rows());
    table.extend(jwt::rows());
    table.extend(metadata::rows());
    table.extend(policy::rows());
    table.extend(requests::rows());
    table.extend(rules::rows());
    table.extend(signed_introspection::rows());
    let names: BTreeSet<_> = table.iter().map(|row| row.name).collect();
    assert_eq!(
        names.len(),
        table.len(),
        "two scenarios share a name, and so a token"
    );
    table
}
