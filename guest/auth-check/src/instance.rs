//! The auth check of this component instance, configured from Spin's variables by the first
//! request.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use spin_sdk::experimental::wasi::config::store::get_all;
use spin_sdk::variables::{self, Error};
use spin_sdk::wasip3::random::random::get_random_u64;
use spin_sdk::wasip3::spawn;
use token_check::{
    Action, AuthCheck, Policy, Problem, SPIN_PREFIX, SettingSource, SettingValues, SettingsError,
    Sharing, Summary, spin_variables,
};

use crate::clock::{now, sleep};
use crate::host::Host;
use crate::host::wasi::Wasi;
use crate::kv_store::KvStore;
use crate::{driver, log};

pub(crate) struct Instance {
    pub(crate) check: RefCell<AuthCheck<<Wasi as Host>::Waker>>,
    pub(crate) host: Wasi,
}

/// How long the first request of an instance waits after reading the settings: the shortest time
/// that host timers resolve.
const FIRST_WAIT: Duration = Duration::from_millis(1);

thread_local! {
    static INSTANCE: OnceCell<Rc<Option<Instance>>> = const { OnceCell::new() };
}

/// `None` while the settings are wrong: every request is then refused.
pub(crate) async fn get() -> Rc<Option<Instance>> {
    if let Some(instance) = INSTANCE.with(|instance| instance.get().cloned()) {
        return instance;
    }
    let (instance, line) = match policy().await {
        Ok(policy) => {
            let [low, high] = [
                get_random_u64().to_le_bytes(),
                get_random_u64().to_le_bytes(),
            ];
            let mut seed = [0; 16];
            seed.iter_mut()
                .zip(low.into_iter().chain(high))
                .for_each(|(to, from)| *to = from);
            let Summary { line, is_warning } = policy.summary();
            let level = if is_warning { "warning: " } else { "" };
            (Some(Instance::new(policy, seed)), format!("{level}{line}"))
        }
        Err(error) => {
            let line = format!("every request is refused: {error}");
            if error.problem == Problem::Unreadable {
                log::line(line);
                // The variable provider may respond for the next request.
                return Rc::new(None);
            }
            (None, line)
        }
    };
    // Spin reads variables on a thread that it takes out of its scheduler until the guest waits for
    // something. Another thread at once picks up what the guest sends before that: head and body
    // leave in two segments, and the second waits 40 ms for the delayed acknowledgement of the
    // first.
    sleep(FIRST_WAIT).await;
    // Of concurrent first requests, the first one here wins: all share one table of flights.
    let first = || {
        log::line(line);
        Rc::new(instance)
    };
    INSTANCE.with(|cell| Rc::clone(cell.get_or_init(first)))
}

/// Whether these bytes of the shared store are an expired record of ours.
fn has_expired(bytes: &[u8]) -> bool {
    INSTANCE.with(|instance| {
        let instance = instance
            .get()
            .and_then(|instance| instance.as_ref().as_ref());
        instance.is_some_and(|instance| instance.check.borrow().has_expired(bytes, now()))
    })
}

/// Runs the fetch beside the requests: callers that leave do not end it.
fn start_fetch(fetch: Action) {
    let instance = INSTANCE.with(|instance| instance.get().cloned());
    let Some(instance) = instance else {
        return;
    };
    spawn(async move {
        if let Some(instance) = &*instance {
            driver::run_flight(&instance.host, &instance.check, fetch).await;
        }
    });
}

impl Instance {
    fn new(policy: Policy, seed: [u8; 16]) -> Self {
        let store = policy
            .cache_store()
            .map(|label| Rc::new(KvStore::new(label)));
        let sharing = if store.is_some() {
            Sharing::Plain
        } else {
            Sharing::None
        };
        Self {
            check: RefCell::new(AuthCheck::new(policy, seed).sharing(sharing)),
            host: Wasi {
                store,
                has_expired,
                start_fetch,
            },
        }
    }
}

async fn policy() -> Result<Policy, SettingsError> {
    let variables = match get_all() {
        Ok(variables) => variables,
        // Spin lists none if one of them cannot be read, which may be the app's, and none that this
        // component may not read at all.
        Err(_) => {
            log::line("warning: Spin lists no variables, so a misspelt one is not seen");
            one_by_one().await?
        }
    };
    Policy::from_values(
        &SettingValues::from_spin_variables(variables)?,
        SettingSource::SpinVariable,
    )
}

/// The values of our variables. A misspelt one is not seen.
async fn one_by_one() -> Result<Vec<(String, String)>, SettingsError> {
    let mut values = Vec::new();
    for name in spin_variables() {
        match variables::get(name.clone()).await {
            Ok(value) => values.push((name, value)),
            // A variable that the manifest does not pass on counts as not set: the policy reports
            // the ones that it needs.
            Err(Error::Undefined(_)) => {}
            Err(_) => {
                let key = name.strip_prefix(SPIN_PREFIX).unwrap_or(&name);
                return Err(
                    SettingsError::new(key, Problem::Unreadable).at(SettingSource::SpinVariable)
                );
            }
        }
    }
    Ok(values)
}
