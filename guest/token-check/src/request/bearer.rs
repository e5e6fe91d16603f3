//! Finds the access token of a request (RFC 6750 section 2, RFC 9449 section 7.1). Works on bytes,
//! since callers may send any.

use codec::grammar::{is_tchar, is_token};

use super::RequestHead;
use crate::reason::Reason;

/// The scheme of credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scheme {
    #[default]
    Bearer,
    /// With a proof in another header.
    Dpop,
}

/// The credentials of a request.
pub(crate) struct Credentials<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) token: &'a [u8],
}

/// `max_bytes`: longer tokens are not hashed, kept or introspected.
#[inline]
pub(crate) fn credentials<'a>(
    request: &RequestHead<'a>,
    max_bytes: usize,
    accepts_dpop: bool,
) -> Result<Credentials<'a>, Reason> {
    let value = match request.authorization {
        [] => return Err(Reason::NoCredentials),
        [value] => *value,
        // The app might read the other one, and see another caller than the one that was checked.
        _ => return Err(Reason::RepeatedAuthorization),
    };
    let credentials = credential(value, max_bytes, accepts_dpop).map_err(|reason| {
        // A value that parses as one credential cannot hide a second; look only after a parse
        // error.
        if holds_two_credentials(value) {
            Reason::RepeatedAuthorization
        } else {
            reason
        }
    })?;
    // RFC 6750 section 2: a request sends its token in one way only.
    if query_has_token(request.path_and_query.unwrap_or_default()) {
        return Err(Reason::TokenInQuery);
    }
    Ok(credentials)
}

/// One well-formed credential.
#[inline]
fn credential(
    value: &[u8],
    max_bytes: usize,
    accepts_dpop: bool,
) -> Result<Credentials<'_>, Reason> {
    let value = value.trim_ascii();
    if value.is_empty() {
        return Err(Reason::MalformedAuthorization);
    }
    let scheme_end = value
        .iter()
        .position(|b| *b == b' ' || *b == b'\t')
        .unwrap_or(value.len());
    let (scheme, rest) = value.split_at(scheme_end);
    // RFC 9110 section 11.1: a scheme is a token, compared without regard to case.
    if !scheme.iter().all(|b| is_tchar(*b)) {
        return Err(Reason::MalformedAuthorization);
    }
    let scheme = if scheme.eq_ignore_ascii_case(b"bearer") {
        Scheme::Bearer
    } else if accepts_dpop && scheme.eq_ignore_ascii_case(b"dpop") {
        Scheme::Dpop
    } else {
        return Err(Reason::UnsupportedScheme);
    };
    // RFC 6750 section 2.1: "Bearer" 1*SP b64token, and one character more.
    let start = rest.iter().position(|b| *b != b' ').unwrap_or(rest.len());
    let (_, token) = rest.split_at(start);
    if token.len() > max_bytes {
        return Err(Reason::TokenTooLong);
    }
    if !is_token(token) {
        return Err(Reason::MalformedAuthorization);
    }
    Ok(Credentials { scheme, token })
}

/// RFC 9110 section 5.3: intermediaries may join the lines of a field with commas, as Envoy does.
/// So a second credential after a comma is a second header: a scheme, a space, and something that
/// is not a parameter of the first.
fn holds_two_credentials(value: &[u8]) -> bool {
    value.split(|b| *b == b',').skip(1).any(|part| {
        let part = part.trim_ascii();
        let scheme = part.iter().take_while(|b| is_tchar(**b)).count();
        let (scheme, rest) = part.split_at(scheme);
        !scheme.is_empty() && rest.starts_with(b" ") && !rest.trim_ascii_start().starts_with(b"=")
    })
}

#[inline]
fn query_has_token(path_and_query: &[u8]) -> bool {
    let Some(mark) = path_and_query.iter().position(|b| *b == b'?') else {
        return false;
    };
    let (_, query) = path_and_query.split_at(mark.saturating_add(1));
    form_urlencoded::parse(query).any(|(name, _)| name == "access_token")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::every;

    const MAX_BYTES: usize = 1024;

    fn read(lines: &[&[u8]], target: &[u8]) -> Result<Vec<u8>, Reason> {
        let head = RequestHead {
            authorization: lines,
            method: b"GET",
            authority: None,
            path_and_query: Some(target),
            dpop: &[],
            client_certificate: &[],
            traceparent: &[],
        };
        credentials(&head, MAX_BYTES, false).map(|credentials| credentials.token.to_vec())
    }

    #[test]
    fn rfc6750_s2_1_bearer_is_read_whatever_the_case_of_the_scheme() {
        for line in [
            &b"Bearer abc"[..],
            b"bearer abc",
            b"BEARER   abc",
            b" Bearer abc ",
        ] {
            assert_eq!(read(&[line], b"/data"), Ok(b"abc".to_vec()));
        }
        assert_eq!(
            read(&[b"Bearer aZ09-._~+/=="], b"/data"),
            Ok(b"aZ09-._~+/==".to_vec())
        );
        assert_eq!(
            read(&[b"Bearer 00D2x!AQ4A.Fu_X"], b"/data"),
            Ok(b"00D2x!AQ4A.Fu_X".to_vec()),
            "RFC 6749 appendix A.12: as Salesforce writes it"
        );
    }

    #[test]
    fn rfc6750_s3_1_what_is_not_one_well_formed_credential_is_named() {
        use Reason::*;
        let rows: &[(&[&[u8]], Reason)] = &[
            (&[], NoCredentials),
            (&[b""], MalformedAuthorization),
            (&[b" \t"], MalformedAuthorization),
            (&[b"Bearer"], MalformedAuthorization),
            (&[b"Bearer "], MalformedAuthorization),
            (&[b"Bearer\tabc"], MalformedAuthorization),
            (&[b"Bearer ="], MalformedAuthorization),
            (&[b"Bearer a b"], MalformedAuthorization),
            (&[b"Bearer a,Bearer b"], RepeatedAuthorization),
            (&[b"Basic YTpi, Bearer b"], RepeatedAuthorization),
            (&[b"Bearer a,b"], MalformedAuthorization),
            (&[b"Bearer 00D!a,Bearer b"], RepeatedAuthorization),
            (&[b"Bearer 00D!a,00D!b"], MalformedAuthorization),
            (&[b"Bearer 00D!a 00D!b"], MalformedAuthorization),
            (&[b"Bearer 00D!a=b"], MalformedAuthorization),
            (&[b"Bearer a;b"], MalformedAuthorization),
            (&[br#"Digest username="a", realm = "b""#], UnsupportedScheme),
            (&[b"Bearer a\0b"], MalformedAuthorization),
            (&[b"Bearer a=b"], MalformedAuthorization),
            (&[b"Bear\xe9r abc"], MalformedAuthorization),
            (&[b"Basic YTpi"], UnsupportedScheme),
            (&[b"Bearerabc"], UnsupportedScheme),
            (&[b"Bearer a", b"Bearer a"], RepeatedAuthorization),
            (&[b"Basic YTpi", b"Bearer a"], RepeatedAuthorization),
        ];
        for (lines, reason) in rows {
            assert_eq!(read(lines, b"/data"), Err(*reason), "{lines:?}");
        }
    }

    #[test]
    fn rfc9449_s7_1_dpop_is_a_scheme_like_bearer_where_proofs_are_accepted() {
        let read = |line: &[u8], accepts_dpop| {
            let credentials = credential(line, MAX_BYTES, accepts_dpop);
            credentials.map(|credentials| (credentials.scheme, credentials.token.to_vec()))
        };
        for line in [&b"DPoP abc"[..], b"dpop abc", b" DPOP   abc "] {
            assert_eq!(read(line, true), Ok((Scheme::Dpop, b"abc".to_vec())));
            assert_eq!(read(line, false), Err(Reason::UnsupportedScheme));
        }
        assert_eq!(
            read(b"Bearer abc", true),
            Ok((Scheme::Bearer, b"abc".to_vec()))
        );
        assert_eq!(read(b"DPoPabc", true), Err(Reason::UnsupportedScheme));
        assert_eq!(read(b"DPoP a b", true), Err(Reason::MalformedAuthorization));
    }

    /// The grammar as it is written: 1*( ALPHA / DIGIT / ... ) *"=", with our "!".
    fn is_token68(text: &[u8]) -> bool {
        const CHARACTERS: &str =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/!";
        let mut rest = text;
        let mut characters = 0_u32;
        while let [first, after @ ..] = rest
            && CHARACTERS.as_bytes().contains(first)
        {
            (rest, characters) = (after, characters + 1);
        }
        characters > 0 && rest.iter().all(|b| *b == b'=')
    }

    #[test]
    fn rfc9110_s11_2_every_short_string_is_a_token_exactly_if_the_grammar_says_so() {
        let bytes: Vec<[u8; 1]> = (0..=u8::MAX).map(|byte| [byte]).collect();
        let bytes: Vec<&[u8]> = bytes.iter().map(<[u8; 1]>::as_slice).collect();
        // One byte or more of each kind that matters to any reader.
        let kinds = b"aZ5-.~+/!=% ,\xff"
            .as_slice()
            .chunks(1)
            .collect::<Vec<_>>();
        for (symbols, most) in [(&bytes, 2), (&kinds, 5)] {
            let mut count = [0_usize; 2];
            every::string(symbols, most, &mut |text| {
                let is_good = is_token68(text);
                assert_eq!(is_token(text), is_good, "{}", text.escape_ascii());
                *count.get_mut(usize::from(is_good)).unwrap() += 1;
            });
            assert!(count.iter().all(|count| *count > 1000), "{count:?}");
        }
    }

    #[test]
    fn rfc6750_s2_1_every_short_line_is_a_credential_exactly_if_the_grammar_says_so() {
        let symbols: [&[u8]; 11] = [
            b"Bearer", b"bEARER", b"Basic", b" ", b"\t", b",", b"=", b"a", b"!", b";", b"\xff",
        ];
        let mut found = 0;
        every::string(&symbols, 5, &mut |line| {
            let start = line.iter().take_while(|b| b" \t".contains(b)).count();
            let end = line.iter().rev().take_while(|b| b" \t".contains(b)).count();
            // `OWS "Bearer" 1*SP b64token OWS`, of RFC 6750 and RFC 9110 section 5.5.
            let expected = line
                .get(start..line.len().saturating_sub(end))
                .and_then(|value| value.split_at_checked(6))
                .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer"))
                .map(|(_, rest)| rest.split_at(rest.iter().take_while(|b| **b == b' ').count()))
                .filter(|(spaces, token)| !spaces.is_empty() && is_token68(token))
                .map(|(_, token)| token.to_vec());
            let is = read(&[line], b"/data");
            assert_eq!(is.ok(), expected, "{}", line.escape_ascii());
            found += usize::from(expected.is_some());
        });
        assert_eq!(found, 900);
    }

    #[test]
    fn no_byte_from_0x80_up_is_part_of_a_token() {
        for byte in 0x80..=0xff_u8 {
            assert_eq!(
                read(&[&[b"Bearer ab".as_slice(), &[byte]].concat()], b"/"),
                Err(Reason::MalformedAuthorization)
            );
            assert_eq!(read(&[&[byte]], b"/"), Err(Reason::MalformedAuthorization));
        }
    }

    #[test]
    fn a_token_over_the_limit_is_refused_and_one_at_the_limit_is_read() {
        let at = [b"Bearer ".as_slice(), &[b'a'; MAX_BYTES]].concat();
        assert_eq!(read(&[&at], b"/").map(|t| t.len()), Ok(MAX_BYTES));
        assert_eq!(
            read(&[&[at.as_slice(), b"a"].concat()], b"/"),
            Err(Reason::TokenTooLong)
        );
    }

    #[test]
    fn rfc6750_s2_a_token_in_the_query_too_is_refused_in_every_spelling() {
        for target in [
            &b"/data?access_token=x"[..],
            b"/data?a=1&access%5Ftoken=x",
            b"/data?%61ccess_token",
        ] {
            assert_eq!(read(&[b"Bearer abc"], target), Err(Reason::TokenInQuery));
            assert_eq!(read(&[], target), Err(Reason::NoCredentials));
        }
        assert_eq!(
            read(&[b"Bearer abc"], b"/data?x=access_token"),
            Ok(b"abc".to_vec())
        );
    }
}
