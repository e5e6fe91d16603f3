//! Path and host of a request, in the one form that rules are matched on.
//!
//! The app parses the request target again, by its own rules: it may decode `%2e%2e`, fold `//`,
//! drop `;x` or treat `\` as `/`. A path that two parsers could map to two resources is refused,
//! never normalized: the app would still see the original.

use core::fmt;
use std::borrow::Cow;

/// Longest host name there is, in bytes (RFC 1035 section 2.3.4, without the root label).
const MAX_HOST_BYTES: usize = 253;
/// Longest label of one, in bytes.
const MAX_LABEL_BYTES: usize = 63;

/// Why parsers may disagree about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// A backslash, plain or percent-encoded.
    Backslash,
    /// `%` that is not followed by two hexadecimal digits.
    BadEncoding,
    /// A space or a control character; for control characters also percent-encoded.
    ControlCharacter,
    /// A segment that is `.` or `..`, in any encoding.
    DotSegment,
    /// A percent-encoded `%` that is followed by two hexadecimal digits.
    DoubleEncoding,
    /// An empty segment: `//`.
    EmptySegment,
    /// A percent-encoded `/`, `?` or `#`.
    EncodedDelimiter,
    /// `#`, which a request target cannot contain (RFC 9112 section 3.2).
    Fragment,
    /// It does not begin with `/`.
    NotAPath,
    /// Not UTF-8 after decoding.
    NotUtf8,
    /// `;`, plain or percent-encoded: some parsers drop it and what follows.
    Parameter,
}

impl fmt::Display for Ambiguity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backslash => "has a backslash: write `/`",
            Self::BadEncoding => "has a `%` without two hexadecimal digits after it: write `%25`",
            Self::ControlCharacter => "has a space or a control character: write a space as `%20`",
            Self::DotSegment => "has a segment `.` or `..`: write the path that it leads to",
            Self::DoubleEncoding => "is percent-encoded twice: encode it once",
            Self::EmptySegment => "has an empty segment: write one `/`",
            Self::EncodedDelimiter => {
                "has a percent-encoded `/`, `?` or `#`: no request with one is let through"
            }
            Self::Fragment => "has a `#`: leave out what begins with it",
            Self::NotAPath => "does not begin with `/`: write the whole path",
            Self::NotUtf8 => "is not UTF-8 once decoded: encode it from UTF-8",
            Self::Parameter => "has a `;`: no request with one is let through",
        })
    }
}

/// The path of a request target in origin form (RFC 9112 section 3.2.1), without query and trailing
/// `/`, percent-decoded (RFC 3986 section 6.2.2.2). It splits at `/` into the segments that the
/// sender meant; the path of `/` is empty.
///
/// Reserved characters are decoded too, as nearly all apps do: otherwise `/a%3Ab` would evade a
/// rule for `/a:b`.
#[inline]
pub(crate) fn normalize(target: &[u8]) -> Result<Cow<'_, str>, Ambiguity> {
    let path = target.split(|b| *b == b'?').next().unwrap_or_default();
    if !path.starts_with(b"/") {
        return Err(Ambiguity::NotAPath);
    }
    let path = decode(path.strip_suffix(b"/").unwrap_or(path))?;
    if !path.is_ascii() && path.chars().any(char::is_control) {
        return Err(Ambiguity::ControlCharacter);
    }
    for segment in path.split('/').skip(1) {
        match segment {
            "" => return Err(Ambiguity::EmptySegment),
            "." | ".." => return Err(Ambiguity::DotSegment),
            _ => {}
        }
    }
    Ok(path)
}

#[inline]
fn decode(path: &[u8]) -> Result<Cow<'_, str>, Ambiguity> {
    let mut encoded = false;
    for byte in path {
        match byte {
            b'%' => encoded = true,
            b'#' => return Err(Ambiguity::Fragment),
            b' ' => return Err(Ambiguity::ControlCharacter),
            _ => character(*byte)?,
        }
    }
    if !encoded {
        let text = core::str::from_utf8(path).map_err(|_| Ambiguity::NotUtf8)?;
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let byte = encoded_byte(rest).ok_or(Ambiguity::BadEncoding)?;
        match byte {
            b'/' | b'?' | b'#' => return Err(Ambiguity::EncodedDelimiter),
            _ => character(byte)?,
        }
        decoded.push(byte);
        rest = rest.get(2..).unwrap_or_default();
    }
    if decoded
        .split(|b| *b == b'%')
        .skip(1)
        .any(|after| encoded_byte(after).is_some())
    {
        return Err(Ambiguity::DoubleEncoding);
    }
    String::from_utf8(decoded)
        .map(Cow::Owned)
        .map_err(|_| Ambiguity::NotUtf8)
}

/// Rejects characters that no path may contain, encoded or not.
const fn character(byte: u8) -> Result<(), Ambiguity> {
    match byte {
        b'\\' => Err(Ambiguity::Backslash),
        b';' => Err(Ambiguity::Parameter),
        0..=0x1f | 0x7f => Err(Ambiguity::ControlCharacter),
        _ => Ok(()),
    }
}

/// The byte that the first two hexadecimal digits encode.
fn encoded_byte(digits: &[u8]) -> Option<u8> {
    let [high, low, ..] = digits else {
        return None;
    };
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}

/// The host of a request (RFC 9110 section 7.2).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Host<'a> {
    /// A name or an IPv4 address, in lower case, without port and trailing dot.
    Name(Cow<'a, str>),
    /// An IPv6 address, which rules cannot name.
    Address,
    /// Several, joined with commas (RFC 9110 section 5.3): the app may choose another one than we
    /// do (RFC 9112 section 3.2).
    Several,
    /// None, or not a host.
    Unknown,
}

#[inline]
pub(crate) fn host(authority: Option<&[u8]>) -> Host<'_> {
    let Some(authority) = authority else {
        return Host::Unknown;
    };
    // No host name, address or port contains a comma.
    if authority.contains(&b',') {
        return Host::Several;
    }
    if let Some(rest) = authority.strip_prefix(b"[") {
        let address = rest.split(|b| *b == b']').next().unwrap_or_default();
        let good = address.contains(&b':')
            && address
                .iter()
                .all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
            && is_port(rest.get(address.len().saturating_add(1)..));
        return if good { Host::Address } else { Host::Unknown };
    }
    let name = authority.split(|b| *b == b':').next().unwrap_or_default();
    if !is_port(authority.get(name.len()..)) {
        return Host::Unknown;
    }
    let name = name.strip_suffix(b".").unwrap_or(name);
    match core::str::from_utf8(name) {
        Ok(name) if is_host_name(name) => {
            Host::Name(if name.bytes().any(|b| b.is_ascii_uppercase()) {
                Cow::Owned(name.to_ascii_lowercase())
            } else {
                Cow::Borrowed(name)
            })
        }
        _ => Host::Unknown,
    }
}

/// Nothing, or a colon and a number of 16 bits. RFC 3986 section 3.2.3 allows no digits and any
/// number of them, and what servers make of those differs.
fn is_port(text: Option<&[u8]>) -> bool {
    match text {
        Some([]) => true,
        Some([b':', digits @ ..]) => {
            let digits = core::str::from_utf8(digits).ok();
            digits.is_some_and(|digits| {
                digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok()
            })
        }
        _ => false,
    }
}

/// Labels of valid length, made of letters, digits, `-` and `_`. In one pass, since every request
/// has a host.
pub(crate) fn is_host_name(name: &str) -> bool {
    let mut label = 0_usize;
    for byte in name.bytes() {
        label = match byte {
            b'.' if label > 0 => 0,
            b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' if label < MAX_LABEL_BYTES => {
                label.saturating_add(1)
            }
            _ => return false,
        };
    }
    label > 0 && name.len() <= MAX_HOST_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::every;

    #[test]
    fn rfc3986_s6_2_2_2_every_spelling_of_a_path_is_one_path() {
        let rows: &[(&[u8], &str)] = &[
            (b"/", ""),
            (b"/?a=/b/../c", ""),
            (b"/data", "/data"),
            (b"/data/", "/data"),
            (b"/data/?x", "/data"),
            (b"/%64at%61", "/data"),
            (b"/%7Euser%2D1", "/~user-1"),
            (b"/a%3Ab%40c%2B", "/a:b@c+"),
            (b"/caf%C3%A9", "/caf\u{e9}"),
            ("/caf\u{e9}".as_bytes(), "/caf\u{e9}"),
            (b"/a%20b", "/a b"),
            (b"/100%25", "/100%"),
            (b"/100%25off", "/100%off"),
            (b"/100%25%20%7E", "/100% ~"),
            (b"/...", "/..."),
            (b"/.well-known/x..y", "/.well-known/x..y"),
            (b"/data?x=/health;a//..%2f%00\\#", "/data"),
        ];
        for (target, path) in rows {
            assert_eq!(
                normalize(target).as_deref(),
                Ok(*path),
                "{}",
                target.escape_ascii()
            );
        }
    }

    #[test]
    fn h14_a_path_that_two_readers_could_read_as_two_is_refused() {
        use Ambiguity::*;
        let rows: &[(&[u8], Ambiguity)] = &[
            (b"/public/../data", DotSegment),
            (b"/public/./data", DotSegment),
            (b"/public/%2e%2e/data", DotSegment),
            (b"/public/%2E./data", DotSegment),
            (b"/public/.%2e", DotSegment),
            (b"/..", DotSegment),
            (b"/./", DotSegment),
            (b"//data", EmptySegment),
            (b"/public//data", EmptySegment),
            (b"/data//", EmptySegment),
            (b"//", EmptySegment),
            (b"/public%2fdata", EncodedDelimiter),
            (b"/public%2Fdata", EncodedDelimiter),
            (b"/public%3fdata", EncodedDelimiter),
            (b"/public%23data", EncodedDelimiter),
            (b"/public#data", Fragment),
            (b"/public/..;a/data", Parameter),
            (b"/data;x=y", Parameter),
            (b"/data%3Bx=y", Parameter),
            (b"/public\\..\\data", Backslash),
            (b"/public%5c..%5Cdata", Backslash),
            (b"/data%00", ControlCharacter),
            (b"/data\0", ControlCharacter),
            (b"/data%0d%0a", ControlCharacter),
            (b"/data\t", ControlCharacter),
            (b"/data%7f", ControlCharacter),
            (b"/data%C2%85", ControlCharacter),
            (b"/da ta", ControlCharacter),
            (b"/data%", BadEncoding),
            (b"/data%2", BadEncoding),
            (b"/data%2x", BadEncoding),
            (b"/data%%32%66", BadEncoding),
            (b"/data%u002f", BadEncoding),
            (b"/data%+1", BadEncoding),
            (b"/public%252fdata", DoubleEncoding),
            (b"/public%25%32%66data", DoubleEncoding),
            (b"/public%25252fdata", DoubleEncoding),
            (b"/public/%252e%252e/data", DoubleEncoding),
            (b"/data\xff", NotUtf8),
            (b"/data%ff", NotUtf8),
            (b"/public/%c0%ae%c0%ae/data", NotUtf8),
            (b"/public%c0%afdata", NotUtf8),
            (b"", NotAPath),
            (b"?x", NotAPath),
            (b"*", NotAPath),
            (b"data", NotAPath),
            (b"http://example.com/data", NotAPath),
        ];
        for (target, why) in rows {
            assert_eq!(normalize(target), Err(*why), "{}", target.escape_ascii());
        }
    }

    /// What a reader takes a path for: its segments, as it understands them.
    type Segments = Vec<Vec<u8>>;

    /// Decodes each `%` with two hexadecimal digits, and leaves any other as it is.
    fn percent_decoded(text: &[u8]) -> Vec<u8> {
        let mut decoded = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let digits = text.get(at + 1..at + 3).filter(|_| text[at] == b'%');
            let digits = digits.and_then(|digits| core::str::from_utf8(digits).ok());
            let digits = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
            let byte = digits.map(|digits| u8::from_str_radix(digits, 16).unwrap());
            decoded.push(byte.unwrap_or(text[at]));
            at += if byte.is_some() { 3 } else { 1 };
        }
        decoded
    }

    fn segments(path: &[u8]) -> Segments {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        path.split(|b| *b == b'/').map(<[u8]>::to_vec).collect()
    }

    /// RFC 3986 section 3.3: splits, then decodes.
    fn reads_as_written(path: &[u8]) -> Segments {
        segments(path)
            .iter()
            .map(|segment| percent_decoded(segment))
            .collect()
    }

    /// Readers that differ from the standard in one way each, as servers and frameworks do.
    const LAX: [fn(&[u8]) -> Segments; 8] = [
        |path| segments(&percent_decoded(path)),
        |path| reads_as_written(&percent_decoded(path)),
        |path| {
            let path = percent_decoded(path);
            segments(path.split(|b| b"?#".contains(b)).next().unwrap())
        },
        |path| {
            let path = percent_decoded(path);
            segments(&path.split(|b| *b == b'\\').collect::<Vec<_>>().join(&b'/'))
        },
        |path| {
            let mut read = reads_as_written(path);
            for segment in &mut read {
                segment.truncate(segment.split(|b| *b == b';').next().unwrap().len());
            }
            read
        },
        |path| {
            let mut read = reads_as_written(path);
            // The first is what is before the first `/`.
            let mut index = 0..;
            read.retain(|segment| index.next() == Some(0) || !segment.is_empty());
            read
        },
        |path| {
            let mut read = Segments::new();
            for segment in reads_as_written(path) {
                match segment.as_slice() {
                    b"." => {}
                    b".." => _ = read.pop(),
                    _ => read.push(segment),
                }
            }
            read
        },
        // As C does, at the first zero byte.
        |path| {
            let path = percent_decoded(path);
            segments(path.split(|b| *b == 0).next().unwrap())
        },
    ];

    /// The path that all readers see; `None` if they do not see the same, or it is no good path.
    fn agreed(target: &[u8]) -> Option<String> {
        let path = target.split(|b| *b == b'?').next()?;
        if path.first() != Some(&b'/') {
            return None;
        }
        let read = reads_as_written(path);
        if LAX.iter().any(|lax| lax(path) != read) {
            return None;
        }
        let is_escape =
            |part: &[u8]| part.len() >= 2 && part.iter().take(2).all(u8::is_ascii_hexdigit);
        if !path.split(|b| *b == b'%').skip(1).all(is_escape) || path.contains(&b' ') {
            return None;
        }
        let text = String::from_utf8(read.join(&b'/')).ok()?;
        (!text.contains(char::is_control)).then_some(text)
    }

    #[test]
    fn h14_every_short_path_is_accepted_exactly_if_all_readers_agree_on_it() {
        let plain = b"a/.%2fF5c\\;".as_slice().chunks(1).collect::<Vec<_>>();
        let spelt: Vec<&[u8]> = vec![
            b"/", b".", b"a", b"%", b"2f", b"%2e", b"%2F", b"%25", b"%5c", b"%3B", b"?", b"#",
            b"%23", b"%00", b" ", b"%20", b"\xc3", b"%a9",
        ];
        for (symbols, most) in [(plain, 5), (spelt, 4)] {
            let mut accepted = 0;
            every::string(&symbols, most, &mut |rest| {
                let target = [b"/", rest].concat();
                let path = normalize(&target).ok().map(Cow::into_owned);
                assert_eq!(path, agreed(&target), "{}", target.escape_ascii());
                // Written again, it is itself again.
                if let Some(path) = path {
                    accepted += 1;
                    let again = format!("{path}/").replace('%', "%25").replace(' ', "%20");
                    assert_eq!(normalize(again.as_bytes()).as_deref(), Ok(&*path));
                }
            });
            assert!(accepted > 100, "{accepted}");
        }
    }

    #[test]
    fn rfc9110_s7_2_the_host_is_the_name_without_port_and_final_dot_in_lower_case() {
        let rows: &[(&[u8], Option<&str>)] = &[
            (b"api.example.com", Some("api.example.com")),
            (b"API.Example.com:8443", Some("api.example.com")),
            (b"api.example.com.", Some("api.example.com")),
            (b"api.example.com.:80", Some("api.example.com")),
            (b"api.example.com:65535", Some("api.example.com")),
            (b"127.0.0.1:9000", Some("127.0.0.1")),
            (b"a_b-c", Some("a_b-c")),
            (b"", None),
            (b".", None),
            (b":80", None),
            (b"api..example.com", None),
            (b"api.example.com..", None),
            (b".example.com", None),
            (b"api.example.com:80:80", None),
            (b"api.example.com:", None),
            (b"api.example.com:65536", None),
            (b"api.example.com:+80", None),
            (b"api.example.com:8x", None),
            (b"user@api.example.com", None),
            (b"api.example.com/x", None),
            (b"api%2eexample.com", None),
            (b"api.example.com b", None),
            (b"api.example.com\0", None),
            ("b\u{fc}cher.example".as_bytes(), None),
            (b"\xff", None),
            (b"*.example.com", None),
        ];
        for (authority, expected) in rows {
            let expected = expected.map_or(Host::Unknown, |name| Host::Name(name.into()));
            let name = authority.escape_ascii();
            assert_eq!(host(Some(authority)), expected, "{name}");
        }
        assert_eq!(host(None), Host::Unknown);
        for address in ["[::1]", "[::1]:80", "[2001:DB8::1.2.3.4]:443"] {
            assert_eq!(host(Some(address.as_bytes())), Host::Address, "{address}");
        }
        for bad in [
            "[::1",
            "[]",
            "[::1]x",
            "[::1]:",
            "[::1]:x",
            "[fe80::1%25eth0]",
            "::1",
        ] {
            assert_eq!(host(Some(bad.as_bytes())), Host::Unknown, "{bad}");
        }
        for several in ["a,b", "a, b", "a:1, [::1]", "[::1],a", ",", "a,"] {
            let found = host(Some(several.as_bytes()));
            assert_eq!(found, Host::Several, "{several}");
        }
        let label = "a".repeat(63);
        assert!(is_host_name(&label) && !is_host_name(&format!("{label}a")));
        let long = [label.as_str(), &label, &label, &"a".repeat(61)].join(".");
        assert!(is_host_name(&long) && !is_host_name(&format!("{long}a")));
    }
}
