//! The one auth check of this component instance, made from Spin's variables by the first request.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use spin_sdk::variables::{self, Error};
use spin_sdk::wasip3::random::random::get_random_u64;
use spin_sdk::wasip3::wit_bindgen::StreamWriter;
use token_check::{
    AuthCheck, Given, Note, Place, Policy, Problem, SPIN_PREFIX, SettingsError, Sharing, Summary,
    spin_variables,
};

use crate::flights::{now, until};
use crate::log;
use crate::store::Shared;

pub(crate) struct Gate {
    /// Dropping the writer wakes the request that reads its other end. A stream of the component model, because that wakes
    /// another task of the instance; a waker of Rust does not.
    pub(crate) check: RefCell<AuthCheck<StreamWriter<u8>>>,
    pub(crate) store: Option<Rc<Shared>>,
}

/// How long the first request of an instance waits once its settings are read: the least that a host's timer tells.
const FIRST_WAIT: Duration = Duration::from_millis(1);

thread_local! {
    static GATE: OnceCell<Rc<Option<Gate>>> = const { OnceCell::new() };
}

/// The gate; `None` while our settings are wrong, which lets nobody in.
pub(crate) async fn open() -> Rc<Option<Gate>> {
    if let Some(gate) = GATE.with(|gate| gate.get().cloned()) {
        return gate;
    }
    let (gate, line) = match policy().await {
        Ok(policy) => {
            let [low, high] = [
                get_random_u64().to_le_bytes(),
                get_random_u64().to_le_bytes(),
            ];
            let mut seed = [0; 16];
            seed.iter_mut()
                .zip(low.into_iter().chain(high))
                .for_each(|(to, from)| *to = from);
            let Summary { line, is_open } = policy.summary();
            let level = if is_open { "warning: " } else { "" };
            (Some(Gate::new(policy, seed)), format!("{level}{line}"))
        }
        Err(error) => {
            let line = format!("every request is refused: {error}");
            if error.problem == Problem::Unreadable {
                log::tell(line);
                // Its provider may answer the next request.
                return Rc::new(None);
            }
            (None, line)
        }
    };
    // Spin reads variables on a thread that it takes out of its scheduler, until the guest waits for something. What the guest
    // sends before that is picked up by another thread at once: head and body go out in two segments, and the second one
    // waits 40 ms for the delayed acknowledgement of the first.
    until(now().monotonic.saturating_add(FIRST_WAIT)).await;
    // Of requests that came together, the first to get here wins: there is one gate, and so one table of flights.
    let first = || {
        log::tell(line);
        Rc::new(gate)
    };
    GATE.with(|cell| Rc::clone(cell.get_or_init(first)))
}

/// Whether these bytes of the shared store are a record of ours that nobody uses any more.
pub(crate) fn has_expired(bytes: &[u8]) -> bool {
    GATE.with(|gate| {
        let gate = gate.get().and_then(|gate| gate.as_ref().as_ref());
        gate.is_some_and(|gate| gate.check.borrow().has_expired(bytes, now()))
    })
}

impl Gate {
    fn new(policy: Policy, seed: [u8; 16]) -> Self {
        let store = policy
            .cache_store()
            .map(|label| Rc::new(Shared::new(label)));
        let sharing = if store.is_some() {
            Sharing::Plain
        } else {
            Sharing::None
        };
        Self {
            check: RefCell::new(AuthCheck::new(policy, seed).sharing(sharing)),
            store,
        }
    }
}

/// What the log says, beside the audit.
pub(crate) fn tell(note: Option<&Note>) {
    if let Some(note) = note {
        log::tell(note);
    }
}

async fn policy() -> Result<Policy, SettingsError> {
    let mut given = Vec::new();
    for key in spin_variables() {
        match variables::get(format!("{SPIN_PREFIX}{key}")).await {
            Ok(value) => given.push((key, value)),
            // One that the manifest does not pass on counts as not set: the policy says which one it needs.
            Err(Error::Undefined(_)) => {}
            Err(_) => {
                return Err(SettingsError::new(key, Problem::Unreadable).at(Place::SpinVariable));
            }
        }
    }
    Given::of_spin(given)?.into_policy(Place::SpinVariable)
}
