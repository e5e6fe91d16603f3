//! What README.md promises of each refusal. The rows are checked against it and not against the code's own table.

use std::collections::BTreeMap;
use std::sync::LazyLock;

const README: &str = include_str!("../../../README.md");

pub(crate) struct Published {
    pub(crate) status: u16,
    pub(crate) text: &'static str,
}

static REASONS: LazyLock<BTreeMap<&str, Published>> = LazyLock::new(|| {
    let (_, table) = README.split_once("| reason | status | text |\n").unwrap();
    let rows = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, reason, status, text, _] = cells[..] else {
            panic!("a row of README.md: {row}");
        };
        (
            reason.trim_matches('`'),
            Published {
                status: status.parse().unwrap(),
                text,
            },
        )
    })
    .collect()
});

pub(crate) fn reason(name: &str) -> &'static Published {
    REASONS
        .get(name)
        .unwrap_or_else(|| panic!("README.md has no reason `{name}`"))
}

pub(crate) fn reasons() -> impl Iterator<Item = &'static str> {
    REASONS.keys().copied()
}
