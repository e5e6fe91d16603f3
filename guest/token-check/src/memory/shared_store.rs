//! What instances share: records in a store of the host, under keys that reveal nothing.
//!
//! Whoever can write to the store must not be able to let anybody in. So a record carries an
//! HMAC-SHA-256 over everything in it, with a key derived from our client secret, the issuer's
//! endpoint and our client id. It names its token by a keyed digest, and the time of the
//! introspection call: a record that is replayed later, or copied to another token's slot, is
//! worthless. A record holds the issuer's response as it came, and is parsed as strictly.

use core::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::cache::CachedFacts;
use crate::introspection::Facts;
use crate::policy::Policy;
use crate::time::{Now, milliseconds};

/// The first bytes of a record, with its version: records of another version are not read.
const RECORD: &[u8; 4] = b"ttf1";
/// The first bytes of a lease.
const LEASE: &[u8; 4] = b"ttl1";
/// HMAC-SHA-256, in bytes.
const DIGEST_BYTES: usize = 32;
/// Milliseconds since 1970, in bytes.
const TIME_BYTES: usize = 8;
/// The largest response shared, in bytes: it bounds the store, and a typical one has 400.
const MAX_SHARED_BYTES: usize = 4 * 1024;
/// The document in the record of an inactive token (RFC 7662 section 2.2).
const INACTIVE: &[u8] = br#"{"active":false}"#;
/// Slots checked for expired records per record written, since WASI stores have no expiry. Few, so
/// that a write stays cheap; enough to sweep the whole store while as many tokens as it has slots
/// arrive.
const SWEPT_PER_WRITE: u64 = 4;
/// How long the store is not used after it failed: a broken store costs one attempt per second, not
/// one per request.
const STORE_COOLDOWN: Duration = Duration::from_secs(1);
/// How much longer than its introspection call a lease lasts, for delays of the host.
const LEASE_SLACK: Duration = Duration::from_secs(1);

/// What the host's store can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// There is no store.
    None,
    /// It reads and writes.
    Plain,
    /// It also writes conditionally, so that one instance at a time holds the lease to introspect.
    CompareAndSwap,
}

/// A key of the shared store. There is a fixed number of keys, so that the store is bounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreKey(String);

impl StoreKey {
    /// The key, in letters, digits, `-` and `.`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A value for the shared store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: StoreKey,
    /// The value; empty erases the record.
    pub bytes: Vec<u8>,
}

impl Record {
    pub(crate) const fn erase(key: StoreKey) -> Self {
        let bytes = Vec::new();
        Self { key, bytes }
    }
}

type HmacSha256 = Hmac<Sha256>;

/// Keyed digests, equal in all instances of the same policy and in no other.
pub(crate) struct Digests {
    tokens: HmacSha256,
    records: HmacSha256,
    fingerprints: HmacSha256,
}

impl Digests {
    /// `None`: there is no secret to derive keys from, and a key that can be guessed protects
    /// nothing.
    pub(crate) fn new(policy: &Policy) -> Option<Self> {
        let secret = policy.client_secret().secret().as_bytes();
        if secret.is_empty() {
            return None;
        }
        let key = |purpose: &str| {
            let mut mac = HmacSha256::new_from_slice(secret).ok()?;
            // Lengths first, so that no two policies produce the same input.
            for part in [
                purpose,
                policy.endpoint().url().as_str(),
                policy.client_id(),
            ] {
                mac.update(&u64::try_from(part.len()).ok()?.to_be_bytes());
                mac.update(part.as_bytes());
            }
            HmacSha256::new_from_slice(&mac.finalize().into_bytes()).ok()
        };
        Some(Self {
            tokens: key("trust-triangle token")?,
            records: key("trust-triangle record")?,
            fingerprints: key("trust-triangle fingerprint")?,
        })
    }

    fn token(&self, token: &[u8]) -> [u8; DIGEST_BYTES] {
        digest(&self.tokens, token)
    }

    /// Short, for the audit line: distinguishes tokens and reveals nothing about them.
    pub(crate) fn fingerprint(&self, token: &[u8]) -> String {
        let digest = digest(&self.fingerprints, token);
        digest.iter().take(8).map(|b| format!("{b:02x}")).collect()
    }
}

fn digest(mac: &HmacSha256, bytes: &[u8]) -> [u8; DIGEST_BYTES] {
    mac.clone()
        .chain_update(bytes)
        .finalize()
        .into_bytes()
        .into()
}

/// The digest of a token, and its slot in the store.
#[derive(Clone)]
pub(crate) struct SharedToken {
    digest: [u8; DIGEST_BYTES],
    slot: u64,
}

impl SharedToken {
    pub(crate) fn facts_key(&self) -> StoreKey {
        facts_key(self.slot)
    }

    /// Leases have their own slots, so that a spray of tokens evicts no facts.
    pub(crate) fn lease_key(&self) -> StoreKey {
        StoreKey(format!("trust-triangle.lease.{}", self.slot))
    }
}

fn facts_key(slot: u64) -> StoreKey {
    StoreKey(format!("trust-triangle.facts.{slot}"))
}

/// An authentic record, about any token.
struct OpenRecord<'a> {
    digest: [u8; DIGEST_BYTES],
    /// Milliseconds since 1970.
    called: i64,
    document: &'a [u8],
}

impl OpenRecord<'_> {
    fn facts(&self, now: Now) -> Option<CachedFacts> {
        let age = milliseconds(now.unix).saturating_sub(self.called);
        // From the future: another machine's clock is ahead of ours, so the age is unknown.
        if age < 0 {
            return None;
        }
        Some(CachedFacts {
            facts: Facts::parse(core::str::from_utf8(self.document).ok()?).ok()?,
            called: milliseconds(now.monotonic).saturating_sub(age),
        })
    }
}

/// What the slot of a token holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotState {
    /// Nothing of use.
    Free,
    /// A record about the same token.
    SameToken,
    /// What an inactive token must not replace: a record about another active token, or a foreign
    /// value.
    Occupied,
}

/// The shared store: what to write to it, and what to believe of what it holds.
pub(crate) struct SharedStore {
    digests: Digests,
    slots: u64,
    /// No route uses anything older than this, in milliseconds.
    longest_age: i64,
    leeway_seconds: i64,
    supports_leases: bool,
    cools_down_until: Duration,
}

impl SharedStore {
    pub(crate) fn new(policy: &Policy, sharing: Sharing) -> Option<Self> {
        if sharing == Sharing::None || !policy.caches_facts() {
            return None;
        }
        Some(Self {
            digests: Digests::new(policy)?,
            slots: policy.cache_entries().into(),
            longest_age: policy.longest_age_seconds().saturating_mul(1000),
            leeway_seconds: policy.leeway_seconds(),
            supports_leases: sharing == Sharing::CompareAndSwap,
            cools_down_until: Duration::ZERO,
        })
    }

    pub(crate) const fn supports_leases(&self) -> bool {
        self.supports_leases
    }

    pub(crate) fn is_cooling_down(&self, now: Now) -> bool {
        now.monotonic < self.cools_down_until
    }

    pub(crate) fn cool_down(&mut self, now: Now) {
        self.cools_down_until = now.monotonic.saturating_add(STORE_COOLDOWN);
    }

    pub(crate) fn token(&self, token: &[u8]) -> SharedToken {
        let digest = self.digests.token(token);
        let (head, _) = digest.split_at(TIME_BYTES);
        let slot = head.iter().fold(0, |n: u64, b| n << 8 | u64::from(*b));
        SharedToken {
            digest,
            slot: slot.checked_rem(self.slots).unwrap_or_default(),
        }
    }

    /// The record of these facts; `None` if they are too large to share.
    pub(crate) fn record(
        &self,
        token: &SharedToken,
        cached: &CachedFacts,
        now: Now,
    ) -> Option<Record> {
        let claims = cached.facts.claims();
        let document = claims.map_or(INACTIVE, |claims| claims.document().as_bytes());
        if document.len() > MAX_SHARED_BYTES {
            return None;
        }
        let age = milliseconds(now.monotonic).saturating_sub(cached.called);
        // Rounded so that a record looks up to 1 ms older, never younger.
        let called = milliseconds(now.unix).saturating_sub(age).saturating_sub(1);
        let mut bytes = Vec::with_capacity(
            RECORD.len() + DIGEST_BYTES + TIME_BYTES + document.len() + DIGEST_BYTES,
        );
        bytes.extend_from_slice(RECORD);
        bytes.extend_from_slice(&token.digest);
        bytes.extend_from_slice(&called.to_be_bytes());
        bytes.extend_from_slice(document);
        let code = digest(&self.digests.records, &bytes);
        bytes.extend_from_slice(&code);
        let key = token.facts_key();
        Some(Record { key, bytes })
    }

    /// What the slot of this token holds, and the facts of an authentic record about the token.
    pub(crate) fn read_slot(
        &self,
        token: &SharedToken,
        bytes: Option<&[u8]>,
        now: Now,
    ) -> (SlotState, Option<CachedFacts>) {
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else {
            return (SlotState::Free, None);
        };
        match self.read(bytes) {
            None => (SlotState::Occupied, None),
            Some(record) if record.digest == token.digest => {
                (SlotState::SameToken, record.facts(now))
            }
            Some(record) if self.is_replaceable(&record, now) => (SlotState::Free, None),
            Some(_) => (SlotState::Occupied, None),
        }
    }

    /// Keys of further slots to check for expired records. None where workers share memory: its
    /// slots are never freed, and its content ends with the process.
    pub(crate) fn keys_to_sweep(&self, token: &SharedToken) -> Vec<StoreKey> {
        if self.supports_leases {
            return Vec::new();
        }
        let count = SWEPT_PER_WRITE.min(self.slots.saturating_sub(1));
        (1..=count)
            .filter_map(|next| token.slot.saturating_add(next).checked_rem(self.slots))
            .map(facts_key)
            .collect()
    }

    /// Whether these bytes are an authentic record that has expired. Foreign values are never
    /// erased.
    pub(crate) fn has_expired(&self, bytes: &[u8], now: Now) -> bool {
        self.read(bytes)
            .is_some_and(|record| self.is_expired(&record, now))
    }

    fn read<'a>(&self, bytes: &'a [u8]) -> Option<OpenRecord<'a>> {
        let (signed, code) = bytes.split_last_chunk::<DIGEST_BYTES>()?;
        let mac = self.digests.records.clone().chain_update(signed);
        mac.verify_slice(code).ok()?;
        let rest = signed.strip_prefix(RECORD)?;
        let (digest, rest) = rest.split_first_chunk::<DIGEST_BYTES>()?;
        let (called, document) = rest.split_first_chunk::<TIME_BYTES>()?;
        Some(OpenRecord {
            digest: *digest,
            called: i64::from_be_bytes(*called),
            document,
        })
    }

    /// Whether an inactive token may replace it, so that no record that lets anybody in is evicted.
    fn is_replaceable(&self, record: &OpenRecord<'_>, now: Now) -> bool {
        record.document == INACTIVE || self.is_expired(record, now)
    }

    fn is_expired(&self, record: &OpenRecord<'_>, now: Now) -> bool {
        let age = milliseconds(now.unix).saturating_sub(record.called);
        let has_expired = |cached: CachedFacts| {
            let end = cached.facts.claims().map(|claims| claims.expires());
            end.is_some_and(|end| end.saturating_add(self.leeway_seconds) < now.unix_seconds())
        };
        age > self.longest_age || record.facts(now).is_some_and(has_expired)
    }

    /// The lease for an introspection call that ends within `left`.
    pub(crate) fn lease(&self, token: &SharedToken, left: Duration, now: Now) -> Vec<u8> {
        let ends = now.unix.saturating_add(left).saturating_add(LEASE_SLACK);
        let mut bytes = LEASE.to_vec();
        bytes.extend_from_slice(&token.digest);
        bytes.extend_from_slice(&milliseconds(ends).to_be_bytes());
        bytes
    }

    /// Whether another instance introspects this token now. `longest`: the longest call; a lease
    /// that ends later is invalid.
    pub(crate) fn is_leased(
        &self,
        token: &SharedToken,
        bytes: &[u8],
        longest: Duration,
        now: Now,
    ) -> bool {
        let ends = bytes
            .strip_prefix(LEASE)
            .and_then(|rest| rest.strip_prefix(&token.digest))
            .and_then(|rest| <[u8; TIME_BYTES]>::try_from(rest).ok());
        ends.is_some_and(|ends| {
            let left = i64::from_be_bytes(ends).saturating_sub(milliseconds(now.unix));
            // Another worker may have read its clock a moment later.
            let most = longest.saturating_add(LEASE_SLACK.saturating_mul(2));
            left > 0 && left <= milliseconds(most)
        })
    }
}
