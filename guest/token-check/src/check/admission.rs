//! How much callers can make this instance do at once. Tokens that were active lately have a part of
//! every limit for themselves, so that strangers cannot shut them out.

use std::sync::Arc;

use crate::policy::Policy;

/// Strangers may take all places but one in this many.
const RESERVED_PART: usize = 4;

/// The limits.
pub(super) struct Admission {
    /// Introspection calls in progress.
    pub(super) calls: Places,
    /// Requests without a verdict.
    pub(super) waiting: Places,
}

impl Admission {
    pub(super) fn new(policy: &Policy) -> Self {
        Self {
            calls: Places::new(policy.max_calls()),
            waiting: Places::new(policy.max_waiting()),
        }
    }
}

/// A number of places. Each is free again when its [`Place`] is dropped, so none can get lost.
pub(super) struct Places {
    max: usize,
    max_strangers: usize,
    taken: Arc<()>,
    taken_by_strangers: Arc<()>,
}

/// A place that is taken.
#[derive(Debug)]
pub(super) struct Place {
    _taken: Arc<()>,
    _by_stranger: Option<Arc<()>>,
}

impl Places {
    fn new(max: usize) -> Self {
        Self {
            max,
            max_strangers: max.saturating_sub(max / RESERVED_PART),
            taken: Arc::default(),
            taken_by_strangers: Arc::default(),
        }
    }

    /// `None`: all are taken. `is_known`: for a token that was active lately.
    pub(super) fn take(&self, is_known: bool) -> Option<Place> {
        // Each count includes the one here.
        let has_room = Arc::strong_count(&self.taken) <= self.max
            && (is_known || Arc::strong_count(&self.taken_by_strangers) <= self.max_strangers);
        has_room.then(|| Place {
            _taken: Arc::clone(&self.taken),
            _by_stranger: (!is_known).then(|| Arc::clone(&self.taken_by_strangers)),
        })
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        Arc::strong_count(&self.taken).saturating_sub(1)
    }

    /// How many may wait for the same thing, so that one caller cannot take all places.
    pub(super) const fn share(&self) -> usize {
        self.max.div_ceil(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_leave_a_quarter_of_the_places_to_known_tokens() {
        for (max, strangers) in [(1, 1), (3, 3), (4, 3), (8, 6), (1024, 768)] {
            let places = Places::new(max);
            let mut taken = Vec::from_iter(core::iter::from_fn(|| places.take(false)));
            assert_eq!(taken.len(), strangers, "{max}");
            taken.extend(core::iter::from_fn(|| places.take(true)));
            assert_eq!(taken.len(), max);
            taken.remove(0);
            assert!(places.take(true).is_some());
            assert!(places.take(false).is_some());
        }
    }
}
