//! What instances share: records in a store of the host, under keys that reveal nothing.
//!
//! Write access to the store must let nobody in, and read access must not show what callers are and
//! may do. So records and leases are sealed (XChaCha20-Poly1305) with a
//! key derived from our secret, the issuer's endpoint and our client id. A record names its token by
//! a keyed digest, and the time of the introspection call: one that is replayed later, or copied to
//! another token's slot, is worthless. A record holds the issuer's response as it came, and is parsed
//! as strictly.

use core::time::Duration;
use std::sync::Arc;

use super::cache::CachedFacts;
use super::derived_keys::{DIGEST_BYTES, DerivedKeys};
use super::voucher::Voucher;
use crate::introspection::{ClaimsHeader, Facts};
use crate::policy::Policy;
use crate::time::{Now, milliseconds};

/// The first bytes of a record, with its version: records of another version are not read.
const RECORD: &[u8; 4] = b"ttf2";
/// The longest document of the issuer shared, in bytes: it bounds what a store has to take as one
/// value.
#[cfg(feature = "jwt")]
const MAX_SHARED_DOCUMENT_BYTES: usize = 32 * 1024;
/// The first bytes of a lease.
const LEASE: &[u8; 4] = b"ttl2";
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

/// A document of the issuer that instances share.
#[cfg(feature = "jwt")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SharedDocument {
    Keys,
    Metadata,
}

#[cfg(feature = "jwt")]
impl SharedDocument {
    /// In the name of its record.
    const fn word(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Metadata => "metadata",
        }
    }

    /// The first bytes of its record, with its version.
    const fn kind(self) -> &'static [u8; 4] {
        match self {
            Self::Keys => b"ttk1",
            Self::Metadata => b"ttm1",
        }
    }
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

/// The digest of a token, and its slot in the store.
#[derive(Clone)]
pub(crate) struct SharedToken {
    digest: [u8; DIGEST_BYTES],
    slot: u64,
    salt: Arc<str>,
}

impl SharedToken {
    pub(crate) fn facts_key(&self) -> StoreKey {
        facts_key(&self.salt, self.slot)
    }

    /// Leases have their own slots, so that a spray of tokens evicts no facts.
    pub(crate) fn lease_key(&self) -> StoreKey {
        StoreKey(format!("trust-triangle.lease.{}{}", self.salt, self.slot))
    }
}

fn facts_key(salt: &str, slot: u64) -> StoreKey {
    StoreKey(format!("trust-triangle.facts.{salt}{slot}"))
}

/// An authentic record, about any token.
struct OpenRecord {
    digest: [u8; DIGEST_BYTES],
    /// Milliseconds since 1970.
    called: i64,
    document: Vec<u8>,
}

impl OpenRecord {
    fn facts(&self, claims_header: &ClaimsHeader, now: Now) -> Option<CachedFacts> {
        let age = milliseconds(now.unix).saturating_sub(self.called);
        // From the future: another machine's clock is ahead of ours, so the age is unknown.
        if age < 0 {
            return None;
        }
        Some(CachedFacts {
            facts: Facts::parse(core::str::from_utf8(&self.document).ok()?, claims_header).ok()?,
            voucher: Voucher::ISSUER,
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
    keys: DerivedKeys,
    /// In the names of keys of memory that other plugins can read.
    salt: Arc<str>,
    slots: u64,
    /// No route uses anything older than this, in milliseconds.
    longest_age: i64,
    leeway_seconds: i64,
    claims_header: ClaimsHeader,
    supports_leases: bool,
    /// Facts are shared, and not only documents.
    shares_facts: bool,
    cools_down_until: Duration,
    is_paused: bool,
}

impl SharedStore {
    /// `keys`: if they are derived already, which takes a while. `issuer`: its number, for names of
    /// its own where there are several.
    pub(crate) fn new(
        policy: &Policy,
        sharing: Sharing,
        keys: Option<DerivedKeys>,
        issuer: usize,
    ) -> Option<Self> {
        let shares_facts = policy.caches_facts();
        if sharing == Sharing::None || !(shares_facts || policy.fetches_documents()) {
            return None;
        }
        let keys = keys.or_else(|| DerivedKeys::new(policy))?;
        let supports_leases = sharing == Sharing::CompareAndSwap;
        Some(Self {
            salt: match supports_leases {
                true => (keys.salt() + ".").into(),
                false if issuer > 0 => format!("{issuer}.").into(),
                // The store is ours, and must not grow with every new secret.
                false => Arc::default(),
            },
            keys,
            slots: policy.cache_entries().into(),
            longest_age: policy.longest_age_seconds().saturating_mul(1000),
            leeway_seconds: policy.leeway_seconds(),
            claims_header: policy.claims_header().clone(),
            supports_leases,
            shares_facts,
            cools_down_until: Duration::ZERO,
            is_paused: false,
        })
    }

    pub(crate) const fn supports_leases(&self) -> bool {
        self.supports_leases
    }

    pub(crate) fn is_in_use(&self, now: Now) -> bool {
        !self.is_paused && now.monotonic >= self.cools_down_until
    }

    /// Whether facts are shared now.
    pub(crate) fn is_in_use_for_facts(&self, now: Now) -> bool {
        self.shares_facts && self.is_in_use(now)
    }

    /// Where instances share this document.
    #[cfg(feature = "jwt")]
    pub(crate) fn document_key(&self, document: SharedDocument) -> StoreKey {
        StoreKey(format!("trust-triangle.{}.{}0", document.word(), self.salt))
    }

    /// The record of a document; `None` if it is too long to share. `source`: where it is from.
    /// `asked`: in milliseconds of the monotonic clock.
    #[cfg(feature = "jwt")]
    pub(crate) fn document_record(
        &self,
        document: SharedDocument,
        source: &str,
        bytes: &[u8],
        asked: i64,
        now: Now,
    ) -> Option<Record> {
        if bytes.len() > MAX_SHARED_DOCUMENT_BYTES {
            return None;
        }
        let age = milliseconds(now.monotonic).saturating_sub(asked);
        let called = milliseconds(now.unix).saturating_sub(age).saturating_sub(1);
        // A URL has no NUL.
        let value = [&called.to_be_bytes(), source.as_bytes(), b"\0", bytes].concat();
        let key = self.document_key(document);
        let bytes = self.keys.seal(document.kind(), &value)?;
        Some(Record { key, bytes })
    }

    /// The document that an instance fetched from there, and when it did, in milliseconds of our
    /// monotonic clock.
    #[cfg(feature = "jwt")]
    pub(crate) fn read_document(
        &self,
        document: SharedDocument,
        source: &str,
        bytes: &[u8],
        now: Now,
    ) -> Option<(Vec<u8>, i64)> {
        let value = self.keys.open(document.kind(), bytes)?;
        let (&called, rest) = value.split_first_chunk::<TIME_BYTES>()?;
        let document = rest.strip_prefix(source.as_bytes())?.strip_prefix(b"\0")?;
        let age = milliseconds(now.unix).saturating_sub(i64::from_be_bytes(called));
        // From the future: another machine's clock is ahead of ours, so the age is unknown.
        let asked = milliseconds(now.monotonic).saturating_sub(age);
        (age >= 0).then(|| (document.to_vec(), asked))
    }

    pub(crate) const fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    pub(crate) fn cool_down(&mut self, now: Now) {
        self.cools_down_until = now.monotonic.saturating_add(STORE_COOLDOWN);
    }

    pub(crate) fn token(&self, token: &[u8]) -> SharedToken {
        let digest = self.keys.token(token);
        let slot = digest
            .first_chunk()
            .map_or(0, |head| u64::from_be_bytes(*head));
        SharedToken {
            digest,
            slot: slot.checked_rem(self.slots).unwrap_or_default(),
            salt: Arc::clone(&self.salt),
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
        let value = [token.digest.as_slice(), &called.to_be_bytes(), document].concat();
        let key = token.facts_key();
        let bytes = self.keys.seal(RECORD, &value)?;
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
                (SlotState::SameToken, record.facts(&self.claims_header, now))
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
            .map(|slot| facts_key(&self.salt, slot))
            .collect()
    }

    /// Whether these bytes are an authentic record that has expired. Foreign values are never
    /// erased.
    pub(crate) fn has_expired(&self, bytes: &[u8], now: Now) -> bool {
        self.read(bytes)
            .is_some_and(|record| self.is_expired(&record, now))
    }

    fn read(&self, bytes: &[u8]) -> Option<OpenRecord> {
        let mut value = self.keys.open(RECORD, bytes)?;
        let (&digest, rest) = value.split_first_chunk::<DIGEST_BYTES>()?;
        let (&called, _) = rest.split_first_chunk::<TIME_BYTES>()?;
        value.drain(..DIGEST_BYTES + TIME_BYTES);
        Some(OpenRecord {
            digest,
            called: i64::from_be_bytes(called),
            document: value,
        })
    }

    /// Whether an inactive token may replace it, so that no record that lets anybody in is evicted.
    fn is_replaceable(&self, record: &OpenRecord, now: Now) -> bool {
        record.document == INACTIVE || self.is_expired(record, now)
    }

    fn is_expired(&self, record: &OpenRecord, now: Now) -> bool {
        let age = milliseconds(now.unix).saturating_sub(record.called);
        let has_expired = |cached: CachedFacts| {
            let end = cached.facts.claims().map(|claims| claims.expires());
            end.is_some_and(|end| end.saturating_add(self.leeway_seconds) < now.unix_seconds())
        };
        age > self.longest_age
            || record
                .facts(&self.claims_header, now)
                .is_some_and(has_expired)
    }

    /// The lease for an introspection call that ends within `left`. Empty if it cannot be made.
    pub(crate) fn lease(&self, token: &SharedToken, left: Duration, now: Now) -> Vec<u8> {
        let ends = now.unix.saturating_add(left).saturating_add(LEASE_SLACK);
        let value = [token.digest.as_slice(), &milliseconds(ends).to_be_bytes()].concat();
        self.keys.seal(LEASE, &value).unwrap_or_default()
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
        let value = self.keys.open(LEASE, bytes);
        let ends = (value.as_deref())
            .and_then(|value| value.strip_prefix(&token.digest))
            .and_then(|rest| <[u8; TIME_BYTES]>::try_from(rest).ok());
        ends.is_some_and(|ends| {
            let left = i64::from_be_bytes(ends).saturating_sub(milliseconds(now.unix));
            // Another worker may have read its clock a moment later.
            let most = longest.saturating_add(LEASE_SLACK.saturating_mul(2));
            left > 0 && left <= milliseconds(most)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_secs(5);

    fn store(cache_key: &str, sharing: Sharing) -> SharedStore {
        let settings = [
            ("introspect_url", "https://issuer.example/introspect"),
            ("resource_client_id", "service-b"),
            ("resource_client_secret", "a secret of some length"),
            ("cache_key", cache_key),
            ("cache_ttl", "60"),
            // One slot, so that all tokens have the same keys.
            ("cache_entries", "1"),
        ];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        SharedStore::new(&Policy::new(settings).unwrap(), sharing, None, 0).unwrap()
    }

    fn leasing() -> SharedStore {
        store("0123456789abcdef0123456789abcdef", Sharing::CompareAndSwap)
    }

    /// This long after the start.
    fn at(time: Duration) -> Now {
        Now {
            unix: Duration::from_secs(1_800_000_000) + time,
            monotonic: Duration::from_secs(5_000) + time,
        }
    }

    #[test]
    fn a_lease_holds_for_its_call_and_a_second_and_not_if_it_is_longer_than_any_call() {
        let store = leasing();
        let token = store.token(b"token");
        let holds = |left, now| {
            let lease = store.lease(&token, left, at(Duration::ZERO));
            store.is_leased(&token, &lease, LONGEST, at(now))
        };
        assert!(holds(LONGEST, Duration::ZERO));
        assert!(holds(LONGEST, LONGEST + SECOND - MS));
        assert!(!holds(LONGEST, LONGEST + SECOND));
        // The second is for clocks that differ.
        assert!(holds(LONGEST + SECOND, Duration::ZERO));
        assert!(!holds(LONGEST + SECOND + MS, Duration::ZERO));
        assert!(holds(LONGEST + SECOND + MS, MS));
    }

    #[test]
    fn a_lease_is_one_for_its_token_and_its_keys_only() {
        let store = leasing();
        let (token, other) = (store.token(b"token"), store.token(b"other"));
        let now = at(Duration::ZERO);
        let lease = store.lease(&token, LONGEST, now);
        assert!(store.is_leased(&token, &lease, LONGEST, now));
        assert!(!store.is_leased(&other, &lease, LONGEST, now));
        let stranger = self::store(
            "another-key-another-key-another-key",
            Sharing::CompareAndSwap,
        );
        let forged = stranger.lease(&token, LONGEST, now);
        assert!(!store.is_leased(&token, &forged, LONGEST, now));
        assert!(stranger.is_leased(&token, &forged, LONGEST, now));
    }

    /// Whoever writes to the store could make leases without the seal, from what they read there.
    #[test]
    fn a_lease_is_sealed_and_a_plain_one_or_a_record_is_none() {
        let store = leasing();
        let token = store.token(b"token");
        let now = at(Duration::ZERO);
        let ends = milliseconds(now.unix + LONGEST).to_be_bytes();
        let plain = [token.digest.as_slice(), &ends].concat();
        let seal = |kind| store.keys.seal(kind, &plain).unwrap();
        assert!(store.is_leased(&token, &seal(LEASE), LONGEST, now));
        for forged in [
            plain.clone(),
            [LEASE.as_slice(), &plain].concat(),
            [LEASE.as_slice(), &[0; 24], &plain, &[0; 16]].concat(),
            seal(RECORD),
            seal(b"ttl1"),
            [LEASE, &seal(RECORD)[LEASE.len()..]].concat(),
        ] {
            assert!(!store.is_leased(&token, &forged, LONGEST, now));
        }
        let lease = store.lease(&token, LONGEST, now);
        // The kind, a nonce, the digest and the time, and the tag.
        assert_eq!(lease.len(), 4 + 24 + 32 + 8 + 16);
        assert!(!lease.windows(8).any(|part| token.digest.starts_with(part)));
    }

    #[test]
    fn names_of_entries_that_others_can_read_are_salted_with_the_keys() {
        let names = |cache_key, sharing| {
            let token = store(cache_key, sharing).token(b"token");
            [token.facts_key().0, token.lease_key().0]
        };
        let rows = [
            ("0123456789abcdef0123456789abcdef", "aff8edd0a56ed925"),
            ("", "e51a7a327238be1f"),
        ];
        for (cache_key, salt) in rows {
            assert_eq!(
                names(cache_key, Sharing::CompareAndSwap),
                ["facts", "lease"].map(|kind| format!("trust-triangle.{kind}.{salt}.0"))
            );
            assert_eq!(
                names(cache_key, Sharing::Plain),
                ["trust-triangle.facts.0", "trust-triangle.lease.0"]
            );
        }
    }

    #[test]
    fn a_slot_with_a_foreign_value_is_occupied() {
        let store = leasing();
        let (token, now) = (store.token(b"token"), at(Duration::ZERO));
        let read = |bytes: Option<&[u8]>| store.read_slot(&token, bytes, now).0;
        assert_eq!(read(None), SlotState::Free);
        assert_eq!(read(Some(b"")), SlotState::Free);
        for foreign in [&b"somebody else's"[..], b"ttf2", &[0; 84]] {
            assert_eq!(read(Some(foreign)), SlotState::Occupied);
        }
        let record = |token| {
            let facts = CachedFacts {
                facts: Facts::parse(r#"{"active":true}"#, &ClaimsHeader::All)
                    .ok()
                    .unwrap(),
                voucher: Voucher::ISSUER,
                called: milliseconds(now.monotonic),
            };
            store.record(token, &facts, now).unwrap().bytes
        };
        assert_eq!(read(Some(&record(&token))), SlotState::SameToken);
        let other = store.token(b"other");
        assert_eq!(read(Some(&record(&other))), SlotState::Occupied);
    }
}
