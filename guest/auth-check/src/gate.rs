//! The one auth check of this component instance, made from Spin's variables by the first request.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use spin_sdk::variables::{self, Error};
use spin_sdk::wasip3::random::random::get_random_u64;
use spin_sdk::wasip3::wit_bindgen::StreamWriter;
use token_check::{
    AuthCheck, CacheUse, Given, Place, Policy, Problem, SETTINGS, SPIN_PREFIX, SettingsError,
    Sharing, Summary, Verdict,
};

use crate::flights::now;
use crate::store::Shared;

/// The same about the issuer is told to the log no more often.
const TELL_AGAIN: Duration = Duration::from_secs(10);

pub(crate) struct Gate {
    /// Dropping the writer wakes the request that reads its other end. A stream of the component model, because that wakes
    /// another task of the instance; a waker of Rust does not.
    pub(crate) check: RefCell<AuthCheck<StreamWriter<u8>>>,
    pub(crate) store: Option<Rc<Shared>>,
    told: RefCell<Vec<(&'static str, Duration)>>,
}

/// The variable with a JSON object of settings, without the prefix.
const SETTINGS_KEY: &str = "settings";

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
                eprintln!("auth-check: {line}");
                // Its provider may answer the next request.
                return Rc::new(None);
            }
            (None, line)
        }
    };
    // Of requests that came together, the first to get here wins: there is one gate, and so one table of flights.
    let first = || {
        eprintln!("auth-check: {line}");
        Rc::new(gate)
    };
    GATE.with(|cell| Rc::clone(cell.get_or_init(first)))
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
            told: RefCell::default(),
        }
    }

    /// What is to be in the log of a decision.
    pub(crate) fn tell(&self, verdict: &Verdict) {
        if let Some(line) = &verdict.audit {
            eprintln!("{line}");
        }
        if verdict.cache == Some(CacheUse::Stale) {
            self.warn("stale: what the issuer said counts past its time while it fails");
        }
    }

    pub(crate) fn warn(&self, text: &'static str) {
        let time = now().monotonic;
        let mut told = self.told.borrow_mut();
        told.retain(|(_, last)| time < last.saturating_add(TELL_AGAIN));
        if told.iter().all(|(known, _)| *known != text) {
            told.push((text, time));
            eprintln!("auth-check: {text}");
        }
    }
}

/// From the variable with a JSON object of settings, and from one variable for each setting. The app's own variables are
/// there too, so all of ours have a prefix.
async fn policy() -> Result<Policy, SettingsError> {
    let mut given = Given::new();
    if let Some(settings) = variable(SETTINGS_KEY).await? {
        given.put_json(&settings, Place::SpinSettings)?;
    }
    for setting in SETTINGS {
        if let Some(value) = variable(setting.key).await? {
            given.put_once(setting.key, value, Place::SpinVariable)?;
        }
    }
    given.into_policy(Place::SpinVariable)
}

/// The variable of this key. One that the manifest does not pass on counts as not set: the policy says which one it needs.
async fn variable(key: &str) -> Result<Option<String>, SettingsError> {
    match variables::get(format!("{SPIN_PREFIX}{key}")).await {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(Error::Undefined(_)) => Ok(None),
        Err(_) => Err(SettingsError::new(key, Problem::Unreadable).at(Place::SpinVariable)),
    }
}
