//! The one auth check of this component instance, made from Spin's variables by the first request.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use spin_sdk::variables;
use spin_sdk::wasip3::random::random::get_random_u64;
use spin_sdk::wasip3::wit_bindgen::StreamWriter;
use token_check::{AuthCheck, Policy, SETTINGS, SettingsError};

/// Dropping the writer wakes the request that reads its other end. A stream of the component model, because that wakes
/// another task of the instance; a waker of Rust does not.
pub(crate) type Gate = RefCell<AuthCheck<StreamWriter<u8>>>;

thread_local! {
    static GATE: OnceCell<Rc<Option<Gate>>> = const { OnceCell::new() };
}

/// The gate; `None` while our settings are wrong, which lets nobody in.
pub(crate) async fn open() -> Rc<Option<Gate>> {
    if let Some(gate) = GATE.with(|gate| gate.get().cloned()) {
        return gate;
    }
    let gate = match policy().await {
        Ok(policy) => {
            let [low, high] = [
                get_random_u64().to_le_bytes(),
                get_random_u64().to_le_bytes(),
            ];
            let mut seed = [0; 16];
            seed.iter_mut()
                .zip(low.into_iter().chain(high))
                .for_each(|(to, from)| *to = from);
            Some(RefCell::new(AuthCheck::new(policy, seed)))
        }
        Err(error) => {
            eprintln!("auth-check: every request is refused: {error}");
            None
        }
    };
    // Of requests that came together, the first to get here wins: there is one gate, and so one table of flights.
    GATE.with(|cell| Rc::clone(cell.get_or_init(|| Rc::new(gate))))
}

async fn policy() -> Result<Policy, SettingsError> {
    let mut given = Vec::with_capacity(SETTINGS.len());
    for setting in SETTINGS {
        // A variable that the manifest does not pass on counts as not set: the policy says which one it needs.
        if let Ok(value) = variables::get(setting.key).await {
            given.push((setting.key.to_owned(), value));
        }
    }
    Policy::new(given)
}
