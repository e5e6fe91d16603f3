//! What ships, against hosts and issuers that answer at random: statuses, sizes, bytes, calls that
//! fail, callbacks in any order. No instance traps, and no request is granted without an active
//! answer about its token.
//!
//! A failure names its seed. `SEED` repeats it, and `SEQUENCES` runs more than `cargo test` does:
//!
//! ```text
//! SEQUENCES=1000000 cargo test --test random_host
//! SEED=7 SEQUENCES=1 cargo test --test random_host
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may panic as tests do"
)]

mod component;
mod filter;
#[path = "../support/mod.rs"]
mod support;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use serde_json::json;

/// Small enough to be typed.
const SEEDS: u64 = 1_000_000_000;

/// The seeds of this run: one sequence each.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name| {
        let value = std::env::var(name).ok()?;
        Some(value.parse().unwrap())
    };
    let first =
        number("SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish() % SEEDS);
    let seeds = first..first + number("SEQUENCES").unwrap_or(usual);
    println!("seeds {seeds:?}");
    seeds
}

/// Random bytes, at most `most`.
fn bytes(rng: &mut fastrand::Rng, most: usize) -> Vec<u8> {
    let length = rng.usize(..=most);
    std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

/// What an issuer may say about an active token, and whether that grants: about half of the answers
/// are damaged.
fn active_answer(rng: &mut fastrand::Rng, client: &str) -> (Vec<u8>, bool) {
    let answer = json!({"active": true, "client_id": client, "token_type": "Bearer"}).to_string();
    let mut answer = answer.into_bytes();
    match rng.u8(..8) {
        0 => answer.truncate(rng.usize(..answer.len())),
        1 => {
            // Within the word `active`.
            answer[rng.usize(2..8)] = rng.u8(b'A'..=b'Z');
        }
        2 => answer.extend([0xff, 0]),
        3 => answer = answer.repeat(2),
        _ => return (answer, true),
    }
    (answer, false)
}

/// What an issuer may say that never grants.
fn other_answer(rng: &mut fastrand::Rng) -> Vec<u8> {
    match rng.u8(..6) {
        0 => json!({"active": false}).to_string().into_bytes(),
        1 => json!({"active": "true"}).to_string().into_bytes(),
        2 => vec![b' '; rng.usize(..200_000)],
        3 => [b"[".repeat(rng.usize(..5000)), b"]".repeat(10)].concat(),
        4 => Vec::new(),
        _ => bytes(rng, 3000),
    }
}
