//! Tokens signed by keys that the issuer publishes, withdraws and cannot serve, in several instances
//! that share a store, against a model that knows only which keys came with which response.
//!
//! - Nobody is granted by a key that the last response did not have, or that came longer ago than
//!   `jwks_ttl`; up to `jwks_max_age` only while fetching fails, and never after the issuer said that
//!   it has no keys.
//! - Nobody is granted by a signature of another key, an unknown key, or none.
//! - A good token is refused with a 401 only if no key of it came, and a new key was not looked for
//!   lately; with a 503 only if the last fetch failed, or takes too long.
//! - Fetches are no more than documented, whatever callers send.
//! - Who waits is woken, or has a fetch or a call in progress. In the end keys and issuer are well
//!   again, and so is every decision.

mod event;
mod model;
mod world;

use arbitrary::Unstructured;

use self::event::{Config, Event};
use self::world::World;

/// Longest sequence.
const MAX_EVENTS: usize = 200;

/// Runs a sequence.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut world = World::new(&Config::read(&mut input));
    for _ in 0..MAX_EVENTS {
        if input.is_empty() {
            break;
        }
        world.apply(Event::read(&mut input));
    }
    world.end();
}
