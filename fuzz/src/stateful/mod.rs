//! Random sequences of events in several instances that share a store, against a naive model that
//! has no cache and no flights: it knows what the issuer said, to whom and when.
//!
//! - Nobody is granted without an active answer young enough for the route, or past `exp`.
//! - A revoked token is refused within the documented time.
//! - Nobody waits past the deadline, and each request that waits has a flight that will end.
//! - At most one call per token and instance is in flight, and `max_calls` in all; at most
//!   `max_waiting` requests wait.
//! - Nobody gets stale facts unless a probe failed.
//! - When the issuer and the store are well again, every decision is the issuer's.

mod event;
mod issuer;
pub mod keys;
mod model;
mod store;
mod world;

use arbitrary::Unstructured;

use event::{Config, Event};
use world::World;

/// Longest sequence. Longer ones find nothing more, and are slower.
const MAX_EVENTS: usize = 200;

/// Runs a sequence.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let config = Config::read(&mut input);
    let mut world = World::new(&config);
    for _ in 0..MAX_EVENTS {
        if input.is_empty() {
            break;
        }
        world.apply(Event::read(&mut input));
    }
    world.end();
}
