//! Drives the core to a verdict with a scripted host, for tests and benches.

use core::time::Duration;

use crate::{
    Action, AuthCheck, CallFailure, Finished, IntrospectionCall, IssuerResponse, Now, Parked,
    Progress, RequestHead, Step, StoreFailed, StoreKey, Verdict,
};

/// What [`drive`] needs of a host. Everything but the clock and the issuer has a default.
pub trait Host {
    /// The clock.
    fn now(&self) -> Now;

    /// Sends the call to the issuer.
    ///
    /// # Errors
    /// The issuer did not respond.
    fn introspect(&mut self, call: &IntrospectionCall) -> Result<IssuerResponse, CallFailure>;

    /// Fetches the keys of the issuer.
    ///
    /// # Errors
    /// The issuer did not respond.
    #[cfg(feature = "jwt")]
    fn fetch_document(
        &mut self,
        _call: &crate::DocumentCall,
    ) -> Result<IssuerResponse, CallFailure> {
        Err(CallFailure::Unreachable)
    }

    /// Reads the shared store.
    ///
    /// # Errors
    /// The store failed.
    fn store_get(&mut self, _key: &StoreKey) -> Result<Option<Vec<u8>>, StoreFailed> {
        Err(StoreFailed)
    }

    /// Writes if the key still holds what was read last.
    ///
    /// # Errors
    /// The store failed.
    fn store_compare_and_swap(
        &mut self,
        _key: &StoreKey,
        _value: &[u8],
    ) -> Result<bool, StoreFailed> {
        Err(StoreFailed)
    }

    /// Advances the clock.
    fn sleep(&mut self, _time: Duration) {}

    /// Takes what a finished flight leaves: records to write, a fault to count, an event to log.
    fn finished<W>(&mut self, _finished: &Finished<W>) {}
}

/// Takes one request from its arrival to its verdict. A request that joins a flight led by somebody
/// else waits until its deadline.
pub fn drive<W>(
    check: &mut AuthCheck<W>,
    request: &RequestHead<'_>,
    host: &mut impl Host,
) -> Verdict {
    let mut step = check.begin(request, host.now());
    loop {
        step = match step {
            Step::Done(verdict) => {
                // As in a host without a timer.
                if let Some(fetch) = check.next_fetch(host.now()) {
                    let _woken = run_flight(check, fetch, host).woken;
                }
                return verdict;
            }
            Step::Lead(request, action) => {
                let _woken = run_flight(check, action, host).woken;
                check.resume(request, host.now())
            }
            Step::Finished(request, finished) => {
                host.finished(&finished);
                check.resume(request, host.now())
            }
            Step::Join(request) => {
                match check.next_fetch(host.now()) {
                    Some(fetch) => {
                        let _woken = run_flight(check, fetch, host).woken;
                    }
                    None => host.sleep(request.deadline().saturating_sub(host.now().monotonic)),
                }
                check.resume(request, host.now())
            }
        };
    }
}

/// Runs a flight to its end, or until it waits for its turn.
pub fn run_flight<W>(
    check: &mut AuthCheck<W>,
    mut action: Action,
    host: &mut impl Host,
) -> Finished<W> {
    loop {
        match run_action(check, action, host) {
            Progress::Continue(next) => action = next,
            Progress::Queued => return Finished::default(),
            Progress::Finished(finished) => {
                host.finished(&finished);
                return finished;
            }
        }
    }
}

/// Runs one action and reports its outcome.
pub fn run_action<W>(
    check: &mut AuthCheck<W>,
    action: Action,
    host: &mut impl Host,
) -> Progress<W> {
    match action {
        Action::Introspect(ticket, call) => {
            let response = host.introspect(&call);
            check.responded(ticket, response, host.now())
        }
        Action::StoreGet(ticket, key) => {
            let value = host.store_get(&key);
            check.store_read(ticket, value, host.now())
        }
        Action::StoreCompareAndSwap(ticket, key, value) => {
            let swapped = host.store_compare_and_swap(&key, &value);
            check.store_swapped(ticket, swapped, host.now())
        }
        #[cfg(feature = "jwt")]
        Action::ReadDocument(ticket, key) => {
            let value = host.store_get(&key);
            check.document_read(ticket, value, host.now())
        }
        #[cfg(feature = "jwt")]
        Action::FetchDocument(ticket, call) => {
            let response = host.fetch_document(&call);
            check.document_responded(ticket, response, host.now())
        }
        Action::Sleep(ticket, time) => {
            host.sleep(time);
            check.woke(ticket, host.now())
        }
    }
}

impl<W> Parked<W> {
    /// Whether the request waits for its flight.
    #[must_use]
    pub const fn is_parked(&self) -> bool {
        matches!(self, Self::Yes)
    }
}
