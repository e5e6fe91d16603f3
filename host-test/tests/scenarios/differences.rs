//! Where a host itself answers before the auth check sees the request: each with its reason, and nothing else may differ.

pub(crate) struct Difference {
    pub(crate) scenario: &'static str,
    pub(crate) driver: &'static str,
    /// The status the host answers with, whatever its body.
    pub(crate) status: u16,
    pub(crate) why: &'static str,
}

pub(crate) const DIFFERENCES: &[Difference] = &[];

pub(crate) fn of(scenario: &str, driver: &str) -> Option<&'static Difference> {
    DIFFERENCES
        .iter()
        .find(|d| d.scenario == scenario && d.driver == driver)
}
