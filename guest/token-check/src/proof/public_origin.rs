//! Whether a proof is for the URL of a request.

use url::Url;

/// The origin of the URLs under which callers know this service: never from the request itself.
#[derive(Debug)]
pub(crate) struct PublicOrigin(String);

impl PublicOrigin {
    /// Of this URL.
    pub(crate) fn new(url: &Url) -> Self {
        Self(url.origin().ascii_serialization())
    }

    /// Whether `htu` is the URL of a request with this path, whatever the query of both (RFC 9449
    /// section 4.3, number 9). Equal are those that normalization makes equal (RFC 3986 section 6.2).
    pub(super) fn is_target(&self, htu: &str, path_and_query: Option<&[u8]>) -> bool {
        let target = path_and_query.and_then(|target| core::str::from_utf8(target).ok());
        let Some(target) = target.filter(|target| target.starts_with('/')) else {
            return false;
        };
        let expected = normalized(&[&self.0, target].concat());
        expected.is_some() && normalized(htu) == expected
    }
}

/// The URL without query and fragment. `None`: it is none.
fn normalized(url: &str) -> Option<String> {
    let url = url.split(['?', '#']).next()?;
    // The parser skips tabs and line ends, and takes backslashes for slashes.
    if !url
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    {
        return None;
    }
    Some(with_normal_escapes(Url::parse(url).ok()?.as_str()))
}

/// RFC 3986 section 6.2.2: escapes in upper case, and none where none is needed.
fn with_normal_escapes(url: &str) -> String {
    let mut parts = url.split('%');
    let mut normal = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_at_checked(2) {
            Some((digits, rest)) => {
                let byte = u8::from_str_radix(digits, 16).map(char::from);
                match byte {
                    Ok(byte) if byte.is_ascii_alphanumeric() || "-._~".contains(byte) => {
                        normal.push(byte);
                    }
                    _ => {
                        normal.push('%');
                        normal.push_str(&digits.to_ascii_uppercase());
                    }
                }
                normal.push_str(rest);
            }
            None => {
                normal.push('%');
                normal.push_str(part);
            }
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_target(origin: &str, htu: &str, target: &str) -> bool {
        let origin = PublicOrigin::new(&Url::parse(origin).unwrap());
        origin.is_target(htu, Some(target.as_bytes()))
    }

    #[test]
    fn rfc9449_s4_3_equal_urls_are_equal_after_normalization() {
        for (origin, htu, target) in [
            ("https://b.example", "https://b.example/data", "/data"),
            ("https://b.example", "https://b.example/data", "/data?a=b"),
            (
                "https://b.example",
                "https://b.example/data?c#d",
                "/data?a=b",
            ),
            ("https://b.example", "HTTPS://B.Example:443/data", "/data"),
            ("https://b.example:443/", "https://b.example/data", "/data"),
            ("https://b.example", "https://b.example", "/"),
            ("https://b.example", "https://b.example", "/?a"),
            ("https://b.example:8443", "https://b.example:8443/", "/"),
            ("http://127.0.0.1:80", "http://127.0.0.1/data", "/data"),
            (
                "https://b.example",
                "https://b.example/%7Edata/%2f",
                "/~data/%2F",
            ),
            ("https://b.example", "https://b.example/a/./b/../c", "/a/c"),
            ("https://b.example", "https://b.example//a;b=c", "//a;b=c"),
            ("https://b.example", "https://b.example/100%", "/100%"),
            ("https://b.example", "https://b.example/%zz%2", "/%zz%2"),
        ] {
            assert!(is_target(origin, htu, target), "{htu} {target}");
        }
    }

    #[test]
    fn j8_a_proof_for_another_url_is_for_another_url() {
        for (htu, target) in [
            ("http://b.example/data", "/data"),
            ("https://b.example:8443/data", "/data"),
            ("https://b.example./data", "/data"),
            ("https://a.b.example/data", "/data"),
            ("https://user@b.example/data", "/data"),
            ("https://b.example/data/", "/data"),
            ("https://b.example/Data", "/data"),
            ("https://b.example/data2", "/data"),
            ("https://b.example/a%2Fb", "/a/b"),
            ("https://b.example/a%252fb", "/a%2fb"),
            ("https://b.example//data", "/data"),
            ("https://b.example/data;a", "/data"),
            ("https://b.example", "/data"),
            ("b.example/data", "/data"),
            ("//b.example/data", "/data"),
            ("/data", "/data"),
            ("", "/data"),
            ("https:\\\\b.example/data", "/data"),
            ("https://b.example/da\tta", "/data"),
            (" https://b.example/data", "/data"),
            ("https://b.example/dat\u{e4}", "/dat\u{e4}"),
            ("https://b.example/data", "*"),
            ("https://b.example/data", ""),
            ("https://b.example.evil.test/", ".evil.test/"),
            ("https://b.example@evil.test/", "@evil.test/"),
        ] {
            assert!(
                !is_target("https://b.example", htu, target),
                "{htu} {target}"
            );
        }
        let origin = PublicOrigin::new(&Url::parse("https://b.example").unwrap());
        assert!(!origin.is_target("https://b.example/", None), "CONNECT");
        assert!(!origin.is_target("https://b.example/\u{fffd}", Some(b"/\xff")));
    }
}
