//! What somebody who can write into the shared store can do with it: nothing.

use spin_host::StoreFault;

use super::ACTIVE;
use crate::sequence::row::{Facts, Responds, Sequence, Step, Tamper, sequence};

/// Bytes of a record before its document: version, digest of the token, time.
const HEAD: isize = 4 + 32 + 8;
/// Bytes of its code.
const CODE: isize = 32;

/// More than any row has tokens: no two of them share a key.
const ENTRIES: &str = "1000000";

pub(crate) fn rows() -> Vec<Sequence> {
    let known = |name| {
        sequence(name)
            .with("cache_ttl", "60")
            .with("cache_entries", ENTRIES)
            .responds("t", Responds::Active(ACTIVE))
            .granted("t", "/", Facts::IntrospectedOnce)
            .tamper(Tamper::Copy("t"))
    };
    let revoked = |name| known(name).responds("t", Responds::Inactive);
    let refused = |row: Sequence, tamper: Tamper| {
        row.tamper(tamper)
            .refused("t", "/", "inactive", Facts::Introspected)
    };

    let mut flipped = revoked("a_record_with_a_bit_changed_is_nothing");
    for at in [
        0,
        3,
        4,
        HEAD - 9,
        HEAD - 8,
        HEAD - 1,
        HEAD,
        HEAD + 9,
        -CODE - 1,
        -CODE,
        -1,
    ] {
        flipped = refused(flipped, Tamper::Flip("t", at));
    }
    let mut cut = revoked("a_record_cut_short_or_made_longer_is_nothing");
    for bytes in [0, 1, 4, 35, 36, 44, 45, 75, 76, 100, 130] {
        cut = refused(cut, Tamper::Truncate("t", bytes));
    }
    cut = refused(cut, Tamper::Extend("t"));
    let mut forged = revoked("a_record_that_we_did_not_write_is_nothing");
    for record in [
        ACTIVE.as_bytes(),
        b"ttf1",
        &[0; 200],
        &[0xff; 200],
        b"ttf1\0\0\0\0",
    ] {
        forged = refused(forged, Tamper::Forge("t", record));
    }
    // Within its time the record itself is good, so it was the changes that made it worthless.
    let good = |row: Sequence| {
        row.tamper(Tamper::PutBack("t"))
            .granted("t", "/", Facts::Cached)
    };
    vec![
        good(flipped),
        good(cut),
        good(forged),
        sequence("a_record_put_back_when_its_time_is_over_is_nothing")
            .with("cache_ttl", "2")
            .with("cache_entries", ENTRIES)
            .responds("t", Responds::Active(ACTIVE))
            .granted("t", "/", Facts::IntrospectedOnce)
            .tamper(Tamper::Copy("t"))
            .responds("t", Responds::Inactive)
            .granted("t", "/", Facts::Cached)
            .wait_ms(2100)
            .refused("t", "/", "inactive", Facts::Introspected)
            .tamper(Tamper::PutBack("t"))
            .refused("t", "/", "inactive", Facts::Introspected),
        revoked("a_record_in_another_tokens_place_is_nothing")
            .responds("u", Responds::Active(ACTIVE))
            .granted("u", "/", Facts::IntrospectedOnce)
            .tamper(Tamper::Copy("u"))
            .responds("u", Responds::Inactive)
            .tamper(Tamper::Swap { of: "t", over: "u" })
            .tamper(Tamper::Swap { of: "u", over: "t" })
            .refused("u", "/", "inactive", Facts::Introspected)
            .refused("t", "/", "inactive", Facts::Introspected)
            .tamper(Tamper::PutBack("u"))
            .granted("u", "/", Facts::Cached),
        known("c2_a_record_about_another_issuers_word_is_nothing")
            .other(&[], true)
            .tamper(Tamper::Import("t"))
            .refused("t", "/", "inactive", Facts::Introspected)
            .at_other(),
        known("c7_a_record_about_what_another_client_was_told_is_nothing")
            .other(&[("resource_client_id", "tenant 2")], false)
            .responds("t", Responds::Inactive)
            .tamper(Tamper::Import("t"))
            .refused("t", "/", "inactive", Facts::Introspected)
            .at_other()
            .granted("t", "/", Facts::Cached),
        known("a_broken_store_is_done_without")
            .step(Step::Store(Some(StoreFault::Fail)))
            .granted("t", "/", Facts::Introspected)
            .within_ms(2000)
            .responds("cold", Responds::Inactive)
            .refused("cold", "/", "inactive", Facts::Introspected)
            .within_ms(2000)
            .step(Step::Store(None))
            .granted("t", "/", Facts::Cached),
        known("a_store_that_hangs_is_done_without")
            .step(Step::Store(Some(StoreFault::Hang)))
            .granted("t", "/", Facts::Introspected)
            .within_ms(2000)
            .step(Step::Store(None))
            .granted("t", "/", Facts::Cached),
        known("a_store_that_breaks_changes_nothing_about_who_gets_in")
            .responds("t", Responds::Status(500))
            .step(Step::Store(Some(StoreFault::Fail)))
            .refused("t", "/", "issuer_failed", Facts::Introspected)
            .step(Step::Store(None))
            .granted("t", "/", Facts::Cached),
    ]
}
