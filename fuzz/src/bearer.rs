//! Authorization lines and a path, against a second reader of RFC 6750 and RFC 9110.

use std::time::Duration;

use arbitrary::Unstructured;
use token_check::{Action, Decision, Reason, Step};

use crate::support::{at, below, bytes, check, flag, form_decoded, head, pick, token};

const MAX_TOKEN_BYTES: usize = 256;

/// Pieces of which interesting lines are made.
const PIECES: [&[u8]; 22] = [
    b"Bearer",
    b"bearer",
    b"BEARER",
    b" ",
    b"  ",
    b"\t",
    b",",
    b", ",
    b"abc",
    b"a.b-c_d~e+f/g!",
    b"=",
    b"==",
    b"Basic ",
    b"DPoP ",
    b"Bearer abc",
    b"\"",
    b";",
    b"\\",
    b"\r\n",
    b"\x00",
    b"\xff",
    b"realm=\"x\"",
];

const QUERIES: [&[u8]; 8] = [
    b"",
    b"?access_token=x",
    b"?a=b&access_token",
    b"?%61ccess%5Ftoken=1",
    b"?access+token=1",
    b"?access_token%00=1",
    b"?a=access_token",
    b"?a?access_token=1&",
];

/// Reads lines and a path, and compares.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut lines: Vec<Vec<u8>> = (0..pick(&mut input, &[1, 0, 1, 2]))
        .map(|_| line(&mut input))
        .collect();
    let mut path = b"/data".to_vec();
    path.extend(pick(&mut input, &QUERIES));
    path.extend(bytes(&mut input, 24));
    // Any bytes after a good credential: whole lines of any bytes seldom begin with one.
    for line in &mut lines {
        line.extend(bytes(&mut input, 8));
    }
    compare(&lines, &path);
}

fn line(input: &mut Unstructured<'_>) -> Vec<u8> {
    if flag(input) {
        return bytes(input, 400);
    }
    let mut line = Vec::new();
    for _ in 0..below(input, 8) {
        line.extend(pick(input, &PIECES));
    }
    if flag(input) {
        line.extend(vec![b'x'; below(input, MAX_TOKEN_BYTES + 3)]);
    }
    line
}

fn compare(lines: &[Vec<u8>], path: &[u8]) {
    let mut check = check(&[("max_token_bytes", &MAX_TOKEN_BYTES.to_string())]);
    let slices: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    let expected = naive(lines, path);
    match check.begin(&head(&slices, path), at(Duration::ZERO)) {
        Step::Lead(_, Action::Introspect(_, call)) => {
            let found = token(&call);
            assert_eq!(Some(&found), expected.as_ref(), "another token was read");
        }
        Step::Done(verdict) => {
            let Decision::Refused(refusal) = &verdict.decision else {
                panic!("granted without a call to the issuer");
            };
            let reason = refusal.reason();
            assert_eq!(expected, None, "a good credential was refused: {reason:?}");
            assert!(
                matches!(
                    reason,
                    Reason::MalformedAuthorization
                        | Reason::NoCredentials
                        | Reason::RepeatedAuthorization
                        | Reason::TokenInQuery
                        | Reason::TokenTooLong
                        | Reason::UnsupportedScheme
                ),
                "{reason:?}"
            );
            assert_eq!(reason == Reason::NoCredentials, lines.is_empty());
            if lines.len() > 1 {
                assert_eq!(reason, Reason::RepeatedAuthorization);
            }
        }
        other => panic!("neither refused nor asked about: {other:?}"),
    }
}

/// The token of exactly one well-formed credential, sent in no other way.
fn naive(lines: &[Vec<u8>], path: &[u8]) -> Option<Vec<u8>> {
    let [line] = lines else { return None };
    let query = path.splitn(2, |b| *b == b'?').nth(1).unwrap_or_default();
    for pair in query.split(|b| *b == b'&') {
        let name = pair.split(|b| *b == b'=').next().unwrap_or_default();
        if form_decoded(name) == b"access_token" {
            return None;
        }
    }
    // Characters of Latin-1, so that any byte is one character.
    let line: String = line.iter().map(|b| char::from(*b)).collect();
    let line = line.trim_matches([' ', '\t', '\n', '\r', '\x0c']);
    let (scheme, token) = line.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let token = token.trim_start_matches(' ');
    let body = token.trim_end_matches('=');
    let is_good = !body.is_empty()
        && token.len() <= MAX_TOKEN_BYTES
        && body
            .chars()
            .all(|c| matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' | '_' | '~' | '+' | '/' | '!'));
    is_good.then(|| token.as_bytes().to_vec())
}
