//! Runs the actions of flights, and finds out which requests can continue.
//!
//! A call belongs to the root context, whichever context makes it, so it goes on if the caller that
//! it was made for leaves. While a call is under way, others are sent in a callback of the root
//! context, which Envoy makes in the same turn of the worker's loop: callers that leave at once cause
//! none.

use core::task::Poll;
use core::time::Duration;

use token_check::{
    Action, AuthCheck, AwaitingWake, CallFailure, Finished, IssuerCall as _, LogEvent, Now, Parked,
    PendingRequest, Policy, Progress, Reason, RequestHead, Step, StoreFailed, Verdict,
};

use crate::calls::{Call, Calls, CompletedCall, FlightCall};
use crate::host::{Host, LogLevel};
use crate::metrics::Metrics;
use crate::scheduler::{FETCH_TICK, METRICS_INTERVAL, METRICS_TICK, SHORT_TICK, Scheduler, TICK};
use crate::waiting::{WaitingRequest, WaitingRequests};

/// A flight that waits for another worker's introspection call.
struct SleepingFlight {
    leader: u32,
    ticket: AwaitingWake,
    until: Duration,
}

pub(crate) struct Dispatcher<H> {
    host: H,
    /// The root context, to which calls belong.
    root: u32,
    check: AuthCheck<u32>,
    calls: Calls<H>,
    metrics: Metrics<H>,
    scheduler: Scheduler<H>,
    sleeping: Vec<SleepingFlight>,
    waiting: WaitingRequests,
}

impl<H: Host> Dispatcher<H> {
    pub(crate) fn new(
        host: H,
        root: u32,
        check: AuthCheck<u32>,
        calls: Calls<H>,
        metrics: Metrics<H>,
    ) -> Self {
        Self {
            scheduler: Scheduler::new(host.clone()),
            host,
            root,
            check,
            calls,
            metrics,
            sleeping: Vec::new(),
            waiting: WaitingRequests::default(),
        }
    }

    pub(crate) fn policy(&self) -> &Policy {
        self.check.policy()
    }

    pub(crate) const fn metrics(&self) -> &Metrics<H> {
        &self.metrics
    }

    /// A request has arrived. Pending: it waits.
    pub(crate) fn begin(
        &mut self,
        stream: u32,
        head: &RequestHead<'_>,
        whoami_method: Option<&[u8]>,
        now: Now,
    ) -> Poll<Verdict> {
        match self.check.begin(head, now) {
            Step::Done(verdict) => Poll::Ready(verdict),
            step => self.advance(stream, step, whoami_method, now),
        }
    }

    /// Does what is to be done for the filter's own sake. Nothing of it belongs to a stream.
    fn run_fetch(&mut self, now: Now) {
        if let Some(action) = self.check.next_fetch(now) {
            self.continue_flight(self.root, Progress::Continue(action), None, now);
            self.schedule_ready();
        }
    }

    /// A request that waited can continue. Pending: it waits again.
    pub(crate) fn resume(
        &mut self,
        stream: u32,
        pending: PendingRequest,
        whoami_method: Option<&[u8]>,
        now: Now,
    ) -> Poll<Verdict> {
        let step = self.check.resume(pending, now);
        self.advance(stream, step, whoami_method, now)
    }

    pub(crate) fn is_waiting(&self, stream: u32) -> bool {
        self.waiting.contains(stream)
    }

    /// The stream has ended, or Envoy has answered it.
    pub(crate) fn forget(&mut self, stream: u32) {
        if let Some(request) = self.waiting.remove(stream) {
            let finished = self.check.leave(request.pending, self.host.now());
            self.finish(finished);
            self.schedule_ready();
        }
    }

    pub(crate) fn take_ready(&mut self) -> Option<(u32, WaitingRequest)> {
        self.waiting.take_ready()
    }

    pub(crate) fn on_queue_ready(&mut self, queue: u32) {
        self.scheduler.on_queue_ready(queue);
    }

    pub(crate) fn on_tick(&mut self, now: Now, is_alone: bool) {
        self.check.pause_sharing(is_alone);
        if self.scheduler.on_tick() {
            self.calls.warm_up(now.monotonic);
        }
        for id in self.calls.lost(now.monotonic) {
            if let Some(completed) = self.calls.give_up(id, now.monotonic) {
                self.complete(completed, now);
            }
        }
        let (over, sleeping): (Vec<_>, _) = core::mem::take(&mut self.sleeping)
            .into_iter()
            .partition(|flight| now.monotonic >= flight.until);
        self.sleeping = sleeping;
        for SleepingFlight { leader, ticket, .. } in over {
            let progress = self.check.woke(ticket, now);
            self.continue_flight(leader, progress, None, now);
        }
        self.waiting.make_overdue_ready(now.monotonic);
        self.run_fetch(now);
    }

    /// The callback of a call.
    pub(crate) fn on_call_response(&mut self, id: u32, headers: usize, body_size: usize, now: Now) {
        let limit = self.check.policy().max_answer_bytes();
        let completed = (self.calls).on_response(id, headers, body_size, limit, now.monotonic);
        if let Some(completed) = completed {
            self.complete(completed, now);
        }
    }

    /// Sends the queued calls, in a callback of the root context.
    pub(crate) fn send_queued(&mut self, now: Now) {
        for call in self.calls.take_queued() {
            // A caller can reset many streams before the first call is sent.
            let call = match call {
                FlightCall {
                    call: Call::Introspect(ticket, _),
                    ..
                } if !self.check.is_awaited(&ticket) => {
                    let finished = self.check.abandon(ticket, now);
                    self.finish(finished);
                    continue;
                }
                call => call,
            };
            if let Some(completed) = self.calls.send(call, now.monotonic) {
                self.complete(completed, now);
            }
        }
    }

    /// Ends a callback of the root context: schedules another one if work is left.
    pub(crate) fn end_callback(&mut self) {
        if self.waiting.has_ready() {
            self.return_to_root();
            self.schedule_ready();
        }
    }

    /// The following host calls concern the root context, not a stream that was resumed.
    pub(crate) fn return_to_root(&self) {
        // It exists as long as it is called back.
        let _ = self.host.set_effective_context(self.root);
    }

    /// Counters that a request has changed are handed to Envoy by a tick.
    pub(crate) fn start_metrics_tick(&mut self) {
        if self.metrics.is_pending() && !self.scheduler.ticks() {
            self.set_tick_period();
        }
    }

    /// Hands counters to Envoy. While ticks come often, not in each of them.
    pub(crate) fn flush_metrics(&self, now: Now) {
        let interval = match self.is_busy() {
            true => METRICS_INTERVAL,
            false => Duration::ZERO,
        };
        self.metrics.flush_after(interval, now.monotonic);
    }

    /// Whether requests or calls have deadlines to be seen.
    fn is_busy(&self) -> bool {
        !self.waiting.is_empty() || self.calls.has_sent()
    }

    pub(crate) fn set_tick_period(&mut self) {
        let period = if !self.sleeping.is_empty() {
            SHORT_TICK
        } else if self.is_busy() {
            TICK
        } else if self.metrics.is_pending() {
            METRICS_TICK
        } else if self.check.fetches_documents() {
            FETCH_TICK
        } else {
            Duration::ZERO
        };
        self.scheduler.set_tick_period(period);
    }

    /// What is the issuer's fault or ours is an error; what a token lacks is a warning.
    pub(crate) fn log_event(&self, event: Option<&LogEvent>) {
        let is_denied = |event: &LogEvent| {
            let fault = event.fault();
            fault.is_some_and(|fault| fault.reason() == Reason::IssuerCallDenied)
        };
        match event {
            None => {}
            Some(event) if is_denied(event) => {
                let cluster = self.calls.denied_cluster();
                let line = format!("{event}: there is no Envoy cluster {cluster:?}");
                self.host.log(LogLevel::Error, &line);
            }
            Some(event) if event.is_error() => self.host.log(LogLevel::Error, &event.to_string()),
            Some(event) => self.host.log(LogLevel::Warn, &event.to_string()),
        }
    }

    /// Takes a request on until it has its verdict, or waits.
    fn advance(
        &mut self,
        stream: u32,
        mut step: Step<u32>,
        whoami_method: Option<&[u8]>,
        now: Now,
    ) -> Poll<Verdict> {
        let pending = loop {
            match step {
                Step::Done(verdict) => return Poll::Ready(verdict),
                Step::Lead(pending, action) => {
                    match self.run(stream, Progress::Continue(action), None, now) {
                        Poll::Pending => break pending,
                        Poll::Ready(finished) => step = self.finished(pending, finished, now),
                    }
                }
                Step::Finished(pending, finished) => step = self.finished(pending, finished, now),
                Step::Join(pending) => match self.check.park(&pending, stream) {
                    Parked::Yes => {
                        if self.check.is_queued(&pending) {
                            self.metrics.queued();
                        } else {
                            self.metrics.joined();
                        }
                        break pending;
                    }
                    Parked::FlightOver(_) => step = self.check.resume(pending, now),
                },
            }
        };
        let request = WaitingRequest {
            pending,
            whoami_method: whoami_method.map(<[u8]>::to_vec),
        };
        self.waiting.insert(stream, request);
        self.run_fetch(now);
        self.set_tick_period();
        Poll::Pending
    }

    /// The flight of this request has finished in its own callback.
    fn finished(
        &mut self,
        pending: PendingRequest,
        finished: Finished<u32>,
        now: Now,
    ) -> Step<u32> {
        self.finish(finished);
        self.schedule_ready();
        self.check.resume(pending, now)
    }

    /// Requests are resumed in callbacks of the root context only.
    fn schedule_ready(&mut self) {
        if self.waiting.has_ready() {
            self.scheduler.schedule();
        }
    }

    /// Runs actions of a flight until it has finished, or waits for its turn, in which case it
    /// leaves nothing. Pending: an action takes time.
    fn run(
        &mut self,
        leader: u32,
        mut progress: Progress<u32>,
        mut warm_up_first: Option<CallFailure>,
        now: Now,
    ) -> Poll<Finished<u32>> {
        let mut version = None;
        loop {
            let action = match progress {
                Progress::Continue(action) => action,
                Progress::Queued => return Poll::Ready(Finished::default()),
                Progress::Finished(finished) => return Poll::Ready(finished),
            };
            progress = match action {
                Action::Introspect(ticket, call) => {
                    let call = FlightCall {
                        leader,
                        deadline: now.monotonic.saturating_add(call.timeout()),
                        call: Call::Introspect(ticket, call),
                        warm_up_first,
                    };
                    // A caller can reset many streams at once: of calls that nobody waits for any
                    // more, no more than one is sent.
                    if self.calls.has_sent() {
                        self.calls.queue(call);
                        self.scheduler.schedule();
                        return Poll::Pending;
                    }
                    let Some(completed) = self.calls.send(call, now.monotonic) else {
                        return Poll::Pending;
                    };
                    warm_up_first = completed.no_connection;
                    self.responded(completed, now)
                }
                #[cfg(feature = "jwt")]
                Action::ReadDocument(ticket, key) => {
                    let value = self.host.shared_data(key.as_str()).map(|data| data.value);
                    self.check.document_read(ticket, value, now)
                }
                #[cfg(feature = "jwt")]
                Action::FetchDocument(ticket, call) => {
                    let call = FlightCall {
                        leader,
                        deadline: now.monotonic.saturating_add(call.timeout()),
                        call: Call::FetchDocument(ticket, call),
                        warm_up_first,
                    };
                    let Some(completed) = self.calls.send(call, now.monotonic) else {
                        return Poll::Pending;
                    };
                    warm_up_first = completed.no_connection;
                    self.responded(completed, now)
                }
                Action::StoreGet(ticket, key) => {
                    let value = self.host.shared_data(key.as_str()).map(|data| {
                        version = Some(data.version);
                        data.value
                    });
                    self.check.store_read(ticket, value, now)
                }
                Action::StoreCompareAndSwap(ticket, key, value) => {
                    let swapped = version.ok_or(StoreFailed).and_then(|version| {
                        (self.host).compare_and_swap_shared_data(key.as_str(), version, &value)
                    });
                    self.check.store_swapped(ticket, swapped, now)
                }
                Action::Sleep(ticket, time) => {
                    self.sleeping.push(SleepingFlight {
                        leader,
                        ticket,
                        until: now.monotonic.saturating_add(time),
                    });
                    self.set_tick_period();
                    return Poll::Pending;
                }
            };
        }
    }

    fn complete(&mut self, completed: CompletedCall, now: Now) {
        let (leader, no_connection) = (completed.leader, completed.no_connection);
        let progress = self.responded(completed, now);
        self.continue_flight(leader, progress, no_connection, now);
    }

    fn responded(&mut self, completed: CompletedCall, now: Now) -> Progress<u32> {
        let CompletedCall { result, took, .. } = completed;
        match completed.call {
            Call::Introspect(ticket, _) => {
                let failure = result.as_ref().err().copied();
                self.metrics.introspected(failure, took);
                self.check.responded(ticket, result, now)
            }
            #[cfg(feature = "jwt")]
            Call::FetchDocument(ticket, _) => {
                self.metrics.fetched(result.as_ref().err().copied());
                self.check.document_responded(ticket, result, now)
            }
        }
    }

    fn continue_flight(
        &mut self,
        leader: u32,
        progress: Progress<u32>,
        warm_up_first: Option<CallFailure>,
        now: Now,
    ) {
        if let Poll::Ready(finished) = self.run(leader, progress, warm_up_first, now) {
            // Without a result the first one leads again, and the leader has the least time left.
            self.finish(finished);
            self.waiting.make_ready([leader]);
        }
    }

    fn finish(&mut self, finished: Finished<u32>) {
        for record in finished.records {
            (self.host).set_shared_data(record.key.as_str(), &record.bytes);
        }
        if let Some(fault) = finished.fault {
            self.metrics.fault(fault.reason());
        }
        self.log_event(finished.event.as_ref());
        self.waiting.make_ready(finished.woken);
    }
}
