//! [`is_identity_header`], against how a CGI server names header fields (RFC 3875 section 4.1.18).

use std::collections::BTreeSet;

use token_check::{IDENTITY_HEADERS, is_identity_header};

/// RFC 9110 section 5.6.2: the characters of a field name.
const TCHARS: &[u8] = b"!#$%&'*+-.^_`|~0123456789\
ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The meta-variable of a field. RFC 3875 replaces `-` only; servers replace whatever a variable of
/// a shell cannot contain.
fn cgi(name: &[u8]) -> String {
    let mut variable = "HTTP_".to_owned();
    for byte in name {
        variable.push(match byte {
            b'a'..=b'z' => char::from(byte - 32),
            b'A'..=b'Z' | b'0'..=b'9' => char::from(*byte),
            _ => '_',
        });
    }
    variable
}

struct Oracle {
    ours: BTreeSet<String>,
    found: usize,
}

impl Oracle {
    fn new() -> Self {
        let ours = IDENTITY_HEADERS.iter().map(|name| cgi(name.as_bytes()));
        Self {
            ours: ours.collect(),
            found: 0,
        }
    }

    fn check(&mut self, name: &[u8]) {
        let is_ours = self.ours.contains(&cgi(name));
        assert_eq!(is_identity_header(name), is_ours, "{}", name.escape_ascii());
        self.found += usize::from(is_ours);
    }
}

/// Calls `each` with the name after every way to put one of `choices` at each of its places.
fn fill(name: &mut Vec<u8>, places: &[(usize, &[u8])], each: &mut impl FnMut(&[u8])) {
    let [(at, choices), others @ ..] = places else {
        each(name);
        return;
    };
    let before = name[*at];
    for choice in *choices {
        name[*at] = *choice;
        fill(name, others, each);
    }
    name[*at] = before;
}

#[test]
fn rfc3875_s4_1_18_a_name_is_removed_exactly_if_cgi_gives_it_the_variable_of_ours() {
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let some = b"-_.!0aAxXsS\0\xff";
    let mut oracle = Oracle::new();
    for ours in IDENTITY_HEADERS {
        let ours = ours.as_bytes();
        let mut name = ours.to_vec();
        // Any character for each mark.
        let marks: Vec<(usize, &[u8])> = (0..ours.len())
            .filter(|at| ours[*at] == b'-')
            .map(|at| (at, TCHARS))
            .collect();
        fill(&mut name, &marks, &mut |name| oracle.check(name));
        // Any byte at one place, added or left out, and some at each two places.
        for at in 0..ours.len() {
            fill(&mut name, &[(at, &all)], &mut |name| oracle.check(name));
            for byte in &all {
                oracle.check(&[&ours[..at], &[*byte], &ours[at..]].concat());
            }
            oracle.check(&[&ours[..at], &ours[at + 1..]].concat());
            for other in 0..at {
                fill(&mut name, &[(at, some), (other, some)], &mut |name| {
                    oracle.check(name);
                });
            }
        }
        for byte in &all {
            oracle.check(&[ours, &[*byte]].concat());
        }
        // Each letter in either case, each mark in two ways.
        let spellings: Vec<[u8; 2]> = ours
            .iter()
            .map(|b| match b {
                b'-' => *b"-_",
                letter => [*letter, letter.to_ascii_uppercase()],
            })
            .collect();
        let places: Vec<(usize, &[u8])> = spellings
            .iter()
            .enumerate()
            .map(|(at, choices)| (at, choices.as_slice()))
            .collect();
        let before = oracle.found;
        fill(&mut name, &places, &mut |name| oracle.check(name));
        assert_eq!(
            oracle.found - before,
            1 << ours.len(),
            "every spelling is ours"
        );
    }
    // 15 characters of a field name are neither letters nor digits.
    assert!(oracle.found > 4 * 15_usize.pow(2) + 15_usize.pow(3));
    // No short name.
    for a in TCHARS {
        for b in TCHARS {
            for name in [&[][..], &[*a], &[*a, *b]] {
                oracle.check(name);
            }
        }
    }
}
