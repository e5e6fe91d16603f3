//! Whether other workers run the filter, with which results are shared. One that is alone need not
//! write what nobody reads, which is a third of what a call to the issuer costs.
//!
//! Envoy tells a filter neither how many workers there are nor in which it runs, and its main thread
//! has a VM too, which never gets a request. So each VM counts itself in the data that workers
//! share: once when its timer first fires, and once more when it has had a request. A worker is
//! alone if it is the only one with requests, and only one VM, that of the main thread, has none.
//!
//! A wrong count, from a VM that failed or a plugin that writes what it should not, costs
//! introspection calls or time, and lets nobody in.

use core::time::Duration;

use crate::host::Host;

/// Two decimal numbers with a space between: VMs, and VMs that have had a request.
const WORKERS: &str = "trust-triangle.workers";
/// How often another worker may change the numbers before this one gives up.
const ATTEMPTS: u32 = 8;
/// Workers start at about the same time: nobody is alone before all have had this long.
const START: Duration = Duration::from_secs(1);
/// How often the numbers are read: to share with a worker that has just begun can wait.
const INTERVAL: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, PartialEq, Eq)]
struct Counts {
    vms: u32,
    with_requests: u32,
}

impl Counts {
    const MAIN_THREAD_AND_ONE_WORKER: Self = Self {
        vms: 2,
        with_requests: 1,
    };

    fn parse(value: &[u8]) -> Option<Self> {
        let (vms, with_requests) = core::str::from_utf8(value).ok()?.split_once(' ')?;
        Some(Self {
            vms: vms.parse().ok()?,
            with_requests: with_requests.parse().ok()?,
        })
    }

    fn changed(self, vms: i32, with_requests: i32) -> Option<Self> {
        Some(Self {
            vms: self.vms.checked_add_signed(vms)?,
            with_requests: self.with_requests.checked_add_signed(with_requests)?,
        })
    }
}

pub(crate) struct Workers<H> {
    host: H,
    /// When this VM was counted. `None`: it is not, or could not be.
    counted_at: Option<Duration>,
    /// Whether it is also counted among those with requests.
    is_counted_with_requests: bool,
    /// When the numbers were read, and whether this worker was alone.
    seen: Option<(Duration, bool)>,
}

impl<H: Host> Workers<H> {
    pub(crate) const fn new(host: H) -> Self {
        Self {
            host,
            counted_at: None,
            is_counted_with_requests: false,
            seen: None,
        }
    }

    /// Counts this VM, and says whether it is the only worker. In doubt it is not. `has_requests`:
    /// whether it has had one.
    pub(crate) fn is_alone(&mut self, has_requests: bool, now: Duration) -> bool {
        let Some(counted_at) = self.counted_at else {
            if self.change(1, 0) {
                self.counted_at = Some(now);
            }
            return false;
        };
        if has_requests && !self.is_counted_with_requests {
            self.is_counted_with_requests = self.change(0, 1);
        }
        if !self.is_counted_with_requests || now.saturating_sub(counted_at) < START {
            return false;
        }
        if let Some((at, is_alone)) = self.seen
            && now.saturating_sub(at) < INTERVAL
        {
            return is_alone;
        }
        let is_alone = self.counts() == Some(Counts::MAIN_THREAD_AND_ONE_WORKER);
        self.seen = Some((now, is_alone));
        is_alone
    }

    /// This VM ends.
    pub(crate) fn leave(&mut self) {
        if self.counted_at.take().is_some() {
            let with_requests = core::mem::take(&mut self.is_counted_with_requests);
            self.change(-1, -i32::from(with_requests));
        }
    }

    fn counts(&self) -> Option<Counts> {
        Counts::parse(&self.host.shared_data(WORKERS).ok()?.value?)
    }

    fn change(&self, vms: i32, with_requests: i32) -> bool {
        for _ in 0..ATTEMPTS {
            let Ok(data) = self.host.shared_data(WORKERS) else {
                return false;
            };
            let counts = match data.value {
                None => Some(Counts {
                    vms: 0,
                    with_requests: 0,
                }),
                Some(value) => Counts::parse(&value),
            };
            let changed = counts.and_then(|counts| counts.changed(vms, with_requests));
            let Some(Counts { vms, with_requests }) = changed else {
                return false;
            };
            let value = format!("{vms} {with_requests}");
            let swapped =
                (self.host).compare_and_swap_shared_data(WORKERS, data.version, value.as_bytes());
            match swapped {
                Ok(true) => return true,
                Ok(false) => {}
                Err(_) => return false,
            }
        }
        false
    }
}
