//! What instances share: records in a store of the host, under keys that tell nothing.
//!
//! Whoever can write into the store must not be able to let anybody in: a record carries a code (HMAC-SHA-256) over
//! everything in it, made with a key that follows from our client secret, the issuer's endpoint and our client id. It
//! names its token by a keyed digest and the time at which the issuer was asked, so that one put back later, or in
//! another token's place, is worth nothing. A record holds the issuer's answer as it came, and is read as strictly.

use core::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::cache::Known;
use crate::introspection::Facts;
use crate::policy::Policy;
use crate::time::Now;
use crate::time::milliseconds;

/// The first bytes of a record, with its version: what another version wrote is not read.
const RECORD: &[u8; 4] = b"ttf1";
/// The first bytes of a lease.
const LEASE: &[u8; 4] = b"ttl1";
/// HMAC-SHA-256, in bytes.
const DIGEST_BYTES: usize = 32;
/// Milliseconds since 1970, in bytes.
const TIME_BYTES: usize = 8;
/// The largest document shared, in bytes: it bounds the store, and a typical one has 400.
const MAX_SHARED_BYTES: usize = 4 * 1024;
/// The document of a token that is not active, as a record has it (RFC 7662 section 2.2).
const INACTIVE: &[u8] = br#"{"active":false}"#;
/// Slots that are looked at for each record written, to erase what has expired there: stores of WASI know no expiry. Few, so
/// that a write stays cheap; enough that the store is swept while as many tokens as it has slots come by.
const SWEPT_PER_WRITE: u64 = 4;
/// How long the store is left alone after it failed: a broken one costs one attempt per second, not one per request.
const REST: Duration = Duration::from_secs(1);
/// How much longer than its question a lease holds: for the host's own delays.
const LEASE_SLACK: Duration = Duration::from_secs(1);

/// What the host's store can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// There is none.
    None,
    /// It reads and writes.
    Plain,
    /// It also writes only if nobody else has meanwhile, so one instance at a time can be the one that asks.
    CompareAndSwap,
}

/// A key of the shared store. There is a fixed number of them, so that no store grows without end.
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
    /// Where it belongs.
    pub key: StoreKey,
    /// What to write there; empty: whatever is there is over.
    pub bytes: Vec<u8>,
}

type HmacSha256 = Hmac<Sha256>;

/// Keyed digests that are the same in every instance of the same policy, and in no other.
pub(crate) struct Digests {
    tokens: HmacSha256,
    records: HmacSha256,
    fingerprints: HmacSha256,
}

impl Digests {
    pub(crate) fn new(policy: &Policy) -> Option<Self> {
        let secret = policy.client_secret().secret().as_bytes();
        let key = |purpose: &str| {
            let mut mac = HmacSha256::new_from_slice(secret).ok()?;
            // The lengths first, so that no two policies read the same.
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

    /// Short, for the audit: tells tokens apart, and tells nothing of them.
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

/// A token as the store knows it.
#[derive(Clone)]
pub(crate) struct SharedToken {
    digest: [u8; DIGEST_BYTES],
    slot: u64,
}

impl SharedToken {
    pub(crate) fn facts_key(&self) -> StoreKey {
        facts_key(self.slot)
    }

    /// Leases have slots of their own: a spray of tokens must not drive out facts.
    pub(crate) fn lease_key(&self) -> StoreKey {
        StoreKey(format!("trust-triangle.lease.{}", self.slot))
    }
}

fn facts_key(slot: u64) -> StoreKey {
    StoreKey(format!("trust-triangle.facts.{slot}"))
}

/// A record that we wrote, about any token.
struct Opened<'a> {
    digest: [u8; DIGEST_BYTES],
    /// Milliseconds since 1970.
    asked: i64,
    document: &'a [u8],
}

impl Opened<'_> {
    fn known(&self, now: Now) -> Option<Known> {
        let age = milliseconds(now.unix).saturating_sub(self.asked);
        // From the future: another machine's clock is ahead of ours, and nobody knows how old it is.
        if age < 0 {
            return None;
        }
        Some(Known {
            facts: Facts::of_document(core::str::from_utf8(self.document).ok()?).ok()?,
            asked: milliseconds(now.monotonic).saturating_sub(age),
        })
    }
}

/// What stands in the slot of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occupant {
    /// Nothing that anybody uses.
    None,
    /// A record about the same token.
    This,
    /// What stays: a record of another active token, or what we did not write.
    Other,
}

/// The shared store as the core sees it: what to write, and what to believe.
pub(crate) struct Store {
    digests: Digests,
    slots: u64,
    /// Nothing older than this is used by anybody, in milliseconds.
    longest_age: i64,
    leeway_seconds: i64,
    can_claim: bool,
    rests_until: Duration,
}

impl Store {
    pub(crate) fn new(policy: &Policy, sharing: Sharing) -> Option<Self> {
        if sharing == Sharing::None || !policy.keeps_facts() {
            return None;
        }
        Some(Self {
            digests: Digests::new(policy)?,
            slots: policy.cache_entries().into(),
            longest_age: policy.longest_age_seconds().saturating_mul(1000),
            leeway_seconds: policy.leeway_seconds(),
            can_claim: sharing == Sharing::CompareAndSwap,
            rests_until: Duration::ZERO,
        })
    }

    pub(crate) const fn can_claim(&self) -> bool {
        self.can_claim
    }

    pub(crate) fn is_resting(&self, now: Now) -> bool {
        now.monotonic < self.rests_until
    }

    pub(crate) fn failed(&mut self, now: Now) {
        self.rests_until = now.monotonic.saturating_add(REST);
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

    /// The record of these facts; `None`: they are too large to share.
    pub(crate) fn record(&self, token: &SharedToken, known: &Known, now: Now) -> Option<Record> {
        let claims = known.facts.claims();
        let document = claims.map_or(INACTIVE, |claims| claims.document().as_bytes());
        if document.len() > MAX_SHARED_BYTES {
            return None;
        }
        let age = milliseconds(now.monotonic).saturating_sub(known.asked);
        // Whole milliseconds of two clocks: a record is rather older than it is.
        let asked = milliseconds(now.unix).saturating_sub(age).saturating_sub(1);
        let mut bytes = Vec::with_capacity(
            RECORD.len() + DIGEST_BYTES + TIME_BYTES + document.len() + DIGEST_BYTES,
        );
        bytes.extend_from_slice(RECORD);
        bytes.extend_from_slice(&token.digest);
        bytes.extend_from_slice(&asked.to_be_bytes());
        bytes.extend_from_slice(document);
        let code = digest(&self.digests.records, &bytes);
        bytes.extend_from_slice(&code);
        let key = token.facts_key();
        Some(Record { key, bytes })
    }

    /// What the slot of this token holds, and the facts of a record about it, if it is one that we wrote.
    pub(crate) fn found(
        &self,
        token: &SharedToken,
        bytes: Option<&[u8]>,
        now: Now,
    ) -> (Occupant, Option<Known>) {
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else {
            return (Occupant::None, None);
        };
        match self.read(bytes) {
            None => (Occupant::Other, None),
            Some(record) if record.digest == token.digest => (Occupant::This, record.known(now)),
            Some(record) if self.is_spent(&record, now) => (Occupant::None, None),
            Some(_) => (Occupant::Other, None),
        }
    }

    /// Keys of slots to look at for what has expired, beside the one of this token. None where workers share memory: it has
    /// its slots for good, and what is in them is not kept past the process.
    pub(crate) fn neighbours(&self, token: &SharedToken) -> Vec<StoreKey> {
        if self.can_claim {
            return Vec::new();
        }
        let count = SWEPT_PER_WRITE.min(self.slots.saturating_sub(1));
        (1..=count)
            .filter_map(|next| token.slot.saturating_add(next).checked_rem(self.slots))
            .map(facts_key)
            .collect()
    }

    /// Whether these bytes are a record of ours that nobody uses any more. What we did not write is somebody else's.
    pub(crate) fn has_expired(&self, bytes: &[u8], now: Now) -> bool {
        self.read(bytes)
            .is_some_and(|record| self.is_over(&record, now))
    }

    fn read<'a>(&self, bytes: &'a [u8]) -> Option<Opened<'a>> {
        let (signed, code) = bytes.split_last_chunk::<DIGEST_BYTES>()?;
        let mac = self.digests.records.clone().chain_update(signed);
        mac.verify_slice(code).ok()?;
        let rest = signed.strip_prefix(RECORD)?;
        let (digest, rest) = rest.split_first_chunk::<DIGEST_BYTES>()?;
        let (asked, document) = rest.split_first_chunk::<TIME_BYTES>()?;
        Some(Opened {
            digest: *digest,
            asked: i64::from_be_bytes(*asked),
            document,
        })
    }

    /// Whether a token that is not active may take its place: it drives out nothing that lets anybody in.
    fn is_spent(&self, record: &Opened<'_>, now: Now) -> bool {
        record.document == INACTIVE || self.is_over(record, now)
    }

    fn is_over(&self, record: &Opened<'_>, now: Now) -> bool {
        let age = milliseconds(now.unix).saturating_sub(record.asked);
        let has_expired = |known: Known| {
            let end = known.facts.claims().map(|claims| claims.expires());
            end.is_some_and(|end| end.saturating_add(self.leeway_seconds) < now.unix_seconds())
        };
        age > self.longest_age || record.known(now).is_some_and(has_expired)
    }

    /// The lease of a question that ends in `left`.
    pub(crate) fn lease(&self, token: &SharedToken, left: Duration, now: Now) -> Vec<u8> {
        let ends = now.unix.saturating_add(left).saturating_add(LEASE_SLACK);
        let mut bytes = LEASE.to_vec();
        bytes.extend_from_slice(&token.digest);
        bytes.extend_from_slice(&milliseconds(ends).to_be_bytes());
        bytes
    }

    /// Whether somebody else asks about this token now. `longest`: the longest that a question takes; a lease that claims
    /// more is none.
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
