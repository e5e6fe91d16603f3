//! What somebody who can write into the shared store can do with it: nothing.

use spin_host::StoreFault;

use super::ACTIVE;
use crate::sequence::row::{Facts, Says, Sequence, Step, Tamper, sequence};

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
            .says("t", Says::Active(ACTIVE))
            .granted("t", "/", Facts::AskedOnce)
            .tamper(Tamper::Copy("t"))
    };
    let revoked = |name| known(name).says("t", Says::Inactive);
    let refused = |row: Sequence, tamper: Tamper| {
        row.tamper(tamper)
            .refused("t", "/", "inactive", Facts::Asked)
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
            .granted("t", "/", Facts::Known)
    };
    vec![
        good(flipped),
        good(cut),
        good(forged),
        sequence("a_record_put_back_when_its_time_is_over_is_nothing")
            .with("cache_ttl", "2")
            .with("cache_entries", ENTRIES)
            .says("t", Says::Active(ACTIVE))
            .granted("t", "/", Facts::AskedOnce)
            .tamper(Tamper::Copy("t"))
            .says("t", Says::Inactive)
            .granted("t", "/", Facts::Known)
            .wait_ms(2100)
            .refused("t", "/", "inactive", Facts::Asked)
            .tamper(Tamper::PutBack("t"))
            .refused("t", "/", "inactive", Facts::Asked),
        revoked("a_record_in_another_tokens_place_is_nothing")
            .says("u", Says::Active(ACTIVE))
            .granted("u", "/", Facts::AskedOnce)
            .tamper(Tamper::Copy("u"))
            .says("u", Says::Inactive)
            .tamper(Tamper::Swap { of: "t", over: "u" })
            .tamper(Tamper::Swap { of: "u", over: "t" })
            .refused("u", "/", "inactive", Facts::Asked)
            .refused("t", "/", "inactive", Facts::Asked)
            .tamper(Tamper::PutBack("u"))
            .granted("u", "/", Facts::Known),
        known("c2_a_record_about_another_issuers_word_is_nothing")
            .other(&[], true)
            .tamper(Tamper::Import("t"))
            .refused("t", "/", "inactive", Facts::Asked)
            .at_other(),
        known("c7_a_record_about_what_another_client_was_told_is_nothing")
            .other(&[("resource_client_id", "tenant 2")], false)
            .says("t", Says::Inactive)
            .tamper(Tamper::Import("t"))
            .refused("t", "/", "inactive", Facts::Asked)
            .at_other()
            .granted("t", "/", Facts::Known),
        known("a_broken_store_is_done_without")
            .step(Step::Store(Some(StoreFault::Fail)))
            .granted("t", "/", Facts::Asked)
            .within_ms(2000)
            .says("cold", Says::Inactive)
            .refused("cold", "/", "inactive", Facts::Asked)
            .within_ms(2000)
            .step(Step::Store(None))
            .granted("t", "/", Facts::Known),
        known("a_store_that_hangs_is_done_without")
            .step(Step::Store(Some(StoreFault::Hang)))
            .granted("t", "/", Facts::Asked)
            .within_ms(2000)
            .step(Step::Store(None))
            .granted("t", "/", Facts::Known),
        known("a_store_that_breaks_changes_nothing_about_who_gets_in")
            .says("t", Says::Status(500))
            .step(Step::Store(Some(StoreFault::Fail)))
            .refused("t", "/", "issuer_failed", Facts::Asked)
            .step(Step::Store(None))
            .granted("t", "/", Facts::Known),
    ]
}
