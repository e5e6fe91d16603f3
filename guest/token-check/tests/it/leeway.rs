//! `exp`, `nbf` and `iat` against the clock, at every boundary and far beyond any that makes sense.

use core::time::Duration;

use token_check::{AuthCheck, Decision, Now, Progress, Reason, Step};

use crate::fixture::{active, head, introspects, policy};

/// The last second of year 9999: no issuer may name a later one.
const LAST: i64 = 253_402_300_799;

/// Late in this second.
fn at(seconds: u64) -> Now {
    Now {
        unix: Duration::new(seconds, 999_999_999),
        monotonic: Duration::from_secs(5000),
    }
}

/// Why a token with these members is refused now.
fn verdict(check: &mut AuthCheck<u32>, members: &str, now: Now) -> Option<Reason> {
    let step = check.begin(&head(&[b"Bearer a"], "/"), now);
    let (request, ticket, _) = introspects(step);
    let progress = check.responded(ticket, active(members).response(), now);
    assert!(matches!(progress, Progress::Finished(_)), "{members}");
    let Step::Done(verdict) = check.resume(request, now) else {
        panic!("not decided: {members}");
    };
    match verdict.decision {
        Decision::Granted(_) => None,
        Decision::Refused(refusal) => Some(refusal.reason()),
        Decision::Answered(response) => panic!("{response:?}"),
    }
}

/// Seconds around a point, as far as they can be written.
fn around(point: i128, leeway: i128) -> impl Iterator<Item = i128> {
    [point - leeway, point, point + leeway]
        .into_iter()
        .flat_map(|at| [at - 1, at, at + 1])
}

/// RFC 7519 sections 4.1.4 to 4.1.6, in numbers that cannot overflow.
fn expected(exp: Option<i128>, start: Option<i128>, leeway: i128, now: i128) -> Option<Reason> {
    if exp.is_some_and(|exp| now >= exp + leeway) {
        return Some(Reason::Expired);
    }
    start
        .is_some_and(|start| start - leeway > now)
        .then_some(Reason::NotYetValid)
}

#[test]
fn rfc7519_s4_1_4_times_are_compared_exactly_with_any_leeway_at_any_time() {
    let mut counts = [0; 3];
    for leeway in [0, 1, 30, 299, 300] {
        let setting = leeway.to_string();
        let mut check = AuthCheck::<u32>::new(policy(&[("leeway", &setting)]), [0; 16]);
        // The last one: a clock that is broken, but must break nothing else.
        for seconds in [0, 1, 300, 1_800_000_000, LAST.cast_unsigned(), u64::MAX / 4] {
            let now = at(seconds);
            let far = [i64::MIN, i64::MIN + 1, -1, 0, 1, LAST - 1, LAST].map(i128::from);
            let times: Vec<Option<i128>> = around(seconds.into(), leeway)
                .chain(far)
                .filter(|time| (i64::MIN.into()..=LAST.into()).contains(time))
                .map(Some)
                .chain([None])
                .collect();
            for exp in &times {
                for start in &times {
                    for name in ["nbf", "iat"] {
                        let member = |name: &str, time: &Option<i128>| {
                            time.map_or(String::new(), |time| format!(r#","{name}":{time}"#))
                        };
                        let members = member("exp", exp) + &member(name, start);
                        let reason = verdict(&mut check, &members, now);
                        let expected = expected(*exp, *start, leeway, seconds.into());
                        assert_eq!(reason, expected, "{members} at {seconds}, ±{leeway}");
                        counts[match reason {
                            None => 0,
                            Some(Reason::Expired) => 1,
                            Some(_) => 2,
                        }] += 1;
                    }
                }
            }
        }
    }
    assert!(counts.iter().all(|count| *count > 500), "{counts:?}");
}

#[test]
fn no_token_is_accepted_once_the_clock_is_past_what_can_be_compared() {
    for seconds in [i64::MAX.cast_unsigned(), u64::MAX] {
        let mut check = AuthCheck::<u32>::new(policy(&[("leeway", "300")]), [0; 16]);
        let now = at(seconds);
        let verdict = verdict(&mut check, "", now);
        assert_eq!(verdict, Some(Reason::Expired), "{seconds}");
    }
}
