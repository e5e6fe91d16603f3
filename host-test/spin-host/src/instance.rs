//! Component instances: what they may access, how long they live, and when they are stopped.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use wasmtime::{
    Engine, Store, StoreContextMut,
    component::{ComponentType, GuestTaskId, Lift, Linker, Lower, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    WasiHttpCtx,
    handler::{
        HandlerState, Instance, Proxy, ShouldAccept, ViewFn, WorkerExpiration, WorkerState,
        WorkerStatus,
    },
    p3::{WasiHttpCtxView, WasiHttpView, bindings::ServicePre},
};

use super::{
    epoch_budget::EpochBudget,
    key_value_import::{self, GrantedStores, GuestStores},
    outbound::Outbound,
    output::{GuestOutput, Logs, Stream},
    stats::{Counters, LiveInstance},
    timeouts::deadline_after,
    variables::{ComponentVariables, Unavailable},
};

/// The host state of one wasmtime store.
pub(crate) struct HostState {
    pub(super) table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: Outbound,
    variables: Arc<ComponentVariables>,
    pub(super) stores: GuestStores,
    _live: LiveInstance,
    _tracked: TaskTrackerToken,
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for HostState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.outbound,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

/// `spin:variables/variables.error`, in its WIT order.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum VariablesError {
    #[component(name = "invalid-name")]
    InvalidName(String),
    #[component(name = "undefined")]
    Undefined(String),
    #[component(name = "provider")]
    Provider(String),
    #[component(name = "other")]
    Other(String),
}

/// `wasi:config/store.error`, in its WIT order.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum ConfigError {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

/// A linker with every interface that a guest may import.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::<HostState>::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    linker
        .instance("spin:variables/variables@3.0.0")?
        .func_wrap_concurrent("get", |accessor, (name,): (String,)| {
            Box::pin(async move {
                let variables =
                    accessor.with(|mut access| Arc::clone(&access.data_mut().variables));
                let value = variables.get(&name).map_err(|error| match error {
                    Unavailable::InvalidName(text) => VariablesError::InvalidName(text),
                    Unavailable::Undefined(text) => VariablesError::Undefined(text),
                });
                Ok((value,))
            })
        })?;
    let mut config = linker.instance("wasi:config/store@0.2.0-draft-2024-09-27")?;
    config.func_wrap(
        "get",
        |store: StoreContextMut<'_, HostState>, (name,): (String,)| {
            // No name is an error here, as in Spin.
            let value: Result<_, ConfigError> = Ok(store.data().variables.get(&name).ok());
            Ok((value,))
        },
    )?;
    config.func_wrap(
        "get-all",
        |store: StoreContextMut<'_, HostState>, (): ()| {
            let values: Result<_, ConfigError> = Ok(store.data().variables.all());
            Ok((values,))
        },
    )?;
    key_value_import::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// How often instances are reused and when they are dropped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    pub(crate) reuse: usize,
    pub(crate) concurrent_reuse: usize,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) idle_timeout: Duration,
    pub(crate) busy_limit: Duration,
}

/// Creates the instances of one unit: a component with its middleware.
pub(crate) struct Instances {
    pub(crate) engine: Engine,
    pub(crate) pre: ServicePre<HostState>,
    pub(crate) component: Arc<str>,
    pub(crate) variables: Arc<ComponentVariables>,
    pub(crate) stores: GrantedStores,
    pub(crate) outbound: Outbound,
    pub(crate) logs: Arc<Logs>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) end: CancellationToken,
    /// Tracks every live instance.
    pub(crate) alive: TaskTracker,
}

impl Instances {
    fn store(&self) -> Store<HostState> {
        let output =
            |stream| GuestOutput::new(Arc::clone(&self.logs), Arc::clone(&self.component), stream);
        let wasi = WasiCtx::builder()
            .stdout(output(Stream::Stdout))
            .stderr(output(Stream::Stderr))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        let state = HostState {
            table: ResourceTable::new(),
            wasi,
            http: WasiHttpCtx::new(),
            outbound: self.outbound.clone(),
            variables: Arc::clone(&self.variables),
            stores: GuestStores::new(Arc::clone(&self.stores)),
            _live: self.counters.instance(),
            _tracked: self.alive.token(),
        };
        Store::new(&self.engine, state)
    }
}

impl HandlerState for Instances {
    type StoreData = HostState;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<HostState, Expiration, Worker>> {
        let budget = EpochBudget::default();
        let mut store = self.store();
        budget.enforce(&mut store, self.lifetimes.busy_limit);
        let service = self.pre.instantiate_async(&mut store).await?;
        budget.reset();
        let expired = Arc::new(AtomicBool::new(false));
        Ok(Instance {
            store,
            proxy: Proxy::P3(service),
            view: ViewFn::P3(HostState::http),
            expiration: Expiration {
                lifetimes: self.lifetimes,
                sleep: Box::pin(sleep(self.lifetimes.idle_timeout)),
                end: Box::pin(self.end.clone().cancelled_owned()),
                budget,
                expired: Arc::clone(&expired),
            },
            state: Worker {
                lifetimes: self.lifetimes,
                component: Arc::clone(&self.component),
                counters: Arc::clone(&self.counters),
                expired,
            },
        })
    }
}

/// Ends an instance that is idle for too long, whose request takes too long, or whose host ends.
pub(crate) struct Expiration {
    lifetimes: Lifetimes,
    sleep: Pin<Box<Sleep>>,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
    budget: EpochBudget,
    expired: Arc<AtomicBool>,
}

impl WorkerExpiration for Expiration {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        status: WorkerStatus,
        start: Instant,
    ) -> Poll<()> {
        let this = &mut *self;
        // Called whenever the guest has returned control.
        this.budget.on_return();
        let ended = this.end.as_mut().poll(cx).is_ready();
        let limit = match status {
            WorkerStatus::Idle => Some(this.lifetimes.idle_timeout),
            WorkerStatus::Requests | WorkerStatus::PostReturn => this.lifetimes.request_timeout,
        };
        let timed_out = limit.is_some_and(|limit| {
            let deadline = start
                .checked_add(limit)
                .map_or_else(|| deadline_after(limit), Into::into);
            if this.sleep.deadline() != deadline {
                this.sleep.as_mut().reset(deadline);
            }
            this.sleep.as_mut().poll(cx).is_ready()
        });
        if ended || timed_out {
            this.expired.store(true, Relaxed);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// The bookkeeping of one instance.
pub(crate) struct Worker {
    lifetimes: Lifetimes,
    component: Arc<str>,
    counters: Arc<Counters>,
    expired: Arc<AtomicBool>,
}

impl WorkerState for Worker {
    type StoreData = HostState;
    type RequestId = ();

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        if total >= self.lifetimes.reuse {
            ShouldAccept::Never
        } else if concurrent >= self.lifetimes.concurrent_reuse {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, HostState>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        self.counters.requests.fetch_add(1, Relaxed);
        let limit = self.lifetimes.request_timeout;
        Box::pin(async move {
            match limit {
                Some(limit) => sleep(limit).await,
                None => std::future::pending().await,
            }
        })
    }

    fn drop(&self, store: Store<HostState>, result: wasmtime::Result<()>) {
        // Dropped first, so that the guest's last output is logged before the trap.
        drop(store);
        let Err(error) = result else { return };
        if self.expired.load(Relaxed) {
            tracing::debug!("[{}] an instance was ended: {error:#}", self.component);
            return;
        }
        self.counters.traps.fetch_add(1, Relaxed);
        tracing::error!("[{}] an instance trapped: {error:?}", self.component);
    }
}
