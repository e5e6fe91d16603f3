//! How many connections may be open, and which of them is closed for a new one.
//!
//! A connection takes a file descriptor, and costs its caller next to nothing. So there is a limit,
//! well below that of the process, and at the limit a new connection takes the place of the one
//! that has waited longest for its caller: for a request, or for its caller to read a response.
//! One that waits for the app keeps its place; if all do, a new connection waits to be accepted.

use std::{
    collections::BTreeMap,
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;

use super::body::WasiBody;

/// The most connections, however many file descriptors there are. An idle one takes about 10 KB.
const MOST_CONNECTIONS: usize = 10_000;

/// File descriptors that are neither for a connection of a caller nor for an outbound call for it:
/// the runtime, the listener, files of the app, a store.
const OTHER_DESCRIPTORS: u64 = 64;

/// As many connections as leave a file descriptor for an outbound call for each of them.
pub(crate) fn default_limit() -> usize {
    limit_for(descriptor_limit())
}

/// `descriptors` is the most that the process may have open; `None` if there is no limit.
fn limit_for(descriptors: Option<u64>) -> usize {
    let Some(descriptors) = descriptors else {
        return MOST_CONNECTIONS;
    };
    let connections = descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2;
    usize::try_from(connections).map_or(MOST_CONNECTIONS, |connections| {
        connections.clamp(1, MOST_CONNECTIONS)
    })
}

/// `ulimit -n`.
#[cfg(unix)]
fn descriptor_limit() -> Option<u64> {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Nofile).current
}

#[cfg(not(unix))]
fn descriptor_limit() -> Option<u64> {
    None
}

/// The open connections of a server.
pub(crate) struct Connections {
    limit: usize,
    table: Mutex<Table>,
    /// A connection has closed, or begun to wait for its caller.
    changed: Notify,
}

#[derive(Default)]
struct Table {
    open: BTreeMap<u64, Connection>,
    /// How many of them were told to close and have not yet.
    closing: usize,
    /// Those that wait for their caller, by [`Connection::idle_since`].
    idle: BTreeMap<u64, u64>,
    /// Counts up: the next key of both maps.
    next: u64,
}

struct Connection {
    /// Requests that wait for the app.
    busy: usize,
    idle_since: Option<u64>,
    /// Cancelled when it has to close.
    close: CancellationToken,
}

impl Connections {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            table: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// A place for one more connection: at once below the limit, else that of the one that has
    /// waited longest for its caller, else the next that becomes free. Only for one task at a time.
    pub(crate) async fn place(self: &Arc<Self>) -> Place {
        loop {
            if let Some(place) = self.free_place() {
                return place;
            }
            self.close_longest_idle();
            self.changed.notified().await;
        }
    }

    fn free_place(self: &Arc<Self>) -> Option<Place> {
        let mut table = self.table();
        if table.open.len() >= self.limit {
            return None;
        }
        let id = table.next();
        let close = CancellationToken::new();
        let connection = Connection {
            busy: 0,
            idle_since: None,
            close: close.clone(),
        };
        table.open.insert(id, connection);
        table.wait_for_caller(id);
        drop(table);
        Some(Place {
            connections: Arc::clone(self),
            id,
            close,
            used: AtomicBool::new(false),
        })
    }

    /// Tells the connection to close that has waited longest for its caller, unless another one is
    /// about to.
    pub(crate) fn close_longest_idle(&self) {
        let mut table = self.table();
        if table.closing > 0 {
            return;
        }
        if let Some((_, id)) = table.idle.pop_first()
            && let Some(connection) = table.open.get_mut(&id)
        {
            connection.idle_since = None;
            connection.close.cancel();
            table.closing = 1;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn next(&mut self) -> u64 {
        self.next = self.next.saturating_add(1);
        self.next
    }

    /// It waits for the app.
    fn wait_for_app(&mut self, id: u64) {
        if let Some(connection) = self.open.get_mut(&id) {
            connection.busy = connection.busy.saturating_add(1);
            if let Some(since) = connection.idle_since.take() {
                self.idle.remove(&since);
            }
        }
    }

    /// It waits for its caller from now on, unless another request of it waits for the app.
    fn wait_for_caller(&mut self, id: u64) {
        let now = self.next();
        if let Some(connection) = self.open.get_mut(&id)
            && connection.busy == 0
            && !connection.close.is_cancelled()
        {
            if let Some(since) = connection.idle_since.replace(now) {
                self.idle.remove(&since);
            }
            self.idle.insert(now, id);
        }
    }

    fn remove(&mut self, id: u64) {
        if let Some(connection) = self.open.remove(&id) {
            if let Some(since) = connection.idle_since {
                self.idle.remove(&since);
            }
            if connection.close.is_cancelled() {
                self.closing = self.closing.saturating_sub(1);
            }
        }
    }
}

/// The place of one open connection. Dropped when the connection is closed.
pub(crate) struct Place {
    connections: Arc<Connections>,
    id: u64,
    close: CancellationToken,
    used: AtomicBool,
}

impl Place {
    /// Done when the connection has to close.
    pub(crate) async fn needed(&self) {
        self.close.cancelled().await;
    }

    /// Whether a request has begun on the connection.
    pub(crate) fn used(&self) -> bool {
        self.used.load(Relaxed)
    }

    /// A request has begun, and it is the app's turn.
    pub(crate) fn request(&self) -> RequestTurn {
        self.used.store(true, Relaxed);
        let mut turn = RequestTurn {
            connections: Arc::clone(&self.connections),
            connection: self.id,
            with_app: false,
        };
        turn.pass_to_app();
        turn
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.table().remove(self.id);
        self.connections.changed.notify_one();
    }
}

/// Whether a request waits for the app or for its caller. Dropped when the request has ended, which
/// may be after its connection.
pub(crate) struct RequestTurn {
    connections: Arc<Connections>,
    connection: u64,
    with_app: bool,
}

impl RequestTurn {
    fn pass_to_app(&mut self) {
        if !mem::replace(&mut self.with_app, true) {
            self.connections.table().wait_for_app(self.connection);
        }
    }

    /// Also if it was the caller's turn before: it has read something, and has to read again.
    fn pass_to_caller(&mut self) {
        let mut table = self.connections.table();
        if mem::take(&mut self.with_app)
            && let Some(connection) = table.open.get_mut(&self.connection)
        {
            connection.busy = connection.busy.saturating_sub(1);
        }
        table.wait_for_caller(self.connection);
        let full = table.open.len() >= self.connections.limit;
        drop(table);
        if full {
            self.connections.changed.notify_one();
        }
    }

    /// The rest of the request is to send this body.
    pub(crate) fn follow(mut self, body: WasiBody) -> FollowedBody {
        self.pass_to_caller();
        FollowedBody { body, turn: self }
    }
}

impl Drop for RequestTurn {
    fn drop(&mut self) {
        self.pass_to_caller();
    }
}

/// The body of a response. It is polled whenever the caller has read enough of it, so what is asked
/// for and not there is the app's turn.
pub(crate) struct FollowedBody {
    body: WasiBody,
    turn: RequestTurn,
}

impl Body for FollowedBody {
    type Data = Bytes;
    type Error = ErrorCode;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ErrorCode>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending() {
            self.turn.pass_to_app();
        } else {
            self.turn.pass_to_caller();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn half_of_the_descriptors_that_are_left_are_for_connections_and_there_is_always_one() {
        let table = [
            (Some(0), 1),
            (Some(64), 1),
            (Some(67), 1),
            (Some(68), 2),
            (Some(1024), 480),
            (Some(2048), 992),
            (Some(20_064), 10_000),
            (Some(u64::MAX), 10_000),
            (None, 10_000),
        ];
        for (descriptors, connections) in table {
            assert_eq!(limit_for(descriptors), connections, "{descriptors:?}");
        }
    }

    /// The place, if there is one without waiting.
    fn now(connections: &Arc<Connections>) -> Option<Place> {
        let mut place = std::pin::pin!(connections.place());
        match place.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    #[test]
    fn at_the_limit_the_connection_goes_that_has_waited_longest_for_its_caller() {
        let connections = Connections::new(3);
        let [first, second, third] = [(); 3].map(|()| now(&connections).unwrap());
        // The first has had a request since, so the second has waited longest.
        drop(first.request());
        assert!(now(&connections).is_none());
        let closed = || [&first, &second, &third].map(|place| place.close.is_cancelled());
        assert_eq!(closed(), [false, true, false]);
        // One is enough for one.
        assert!(now(&connections).is_none());
        assert_eq!(closed(), [false, true, false]);
        drop(second);
        assert!(now(&connections).is_some());
        assert!(!first.close.is_cancelled() && !third.close.is_cancelled());
    }

    #[test]
    fn a_connection_that_waits_for_the_app_keeps_its_place_until_it_is_the_callers_turn() {
        let connections = Connections::new(1);
        let place = now(&connections).unwrap();
        let (mut one, mut other) = (place.request(), place.request());
        assert!(place.used());
        assert!(now(&connections).is_none());
        one.pass_to_caller();
        assert!(now(&connections).is_none());
        other.pass_to_caller();
        other.pass_to_app();
        drop(one);
        assert!(now(&connections).is_none());
        assert!(!place.close.is_cancelled());
        // The app has done its part, and the caller reads nothing of it.
        other.pass_to_caller();
        assert!(now(&connections).is_none());
        assert!(place.close.is_cancelled());
        drop(other);
        drop(place);
        assert!(now(&connections).is_some());
    }
}
