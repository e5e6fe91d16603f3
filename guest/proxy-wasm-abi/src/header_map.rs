//! Header maps as Envoy serializes them.
//!
//! The format: the number of lines; the lengths of name and value of each line; then each name and
//! value with a NUL after it. Numbers are 32 bits, little-endian.

/// Bytes of a number.
const NUMBER: usize = size_of::<u32>();

/// Header or trailer lines, in one allocation. Well-formed by construction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderMap {
    bytes: Vec<u8>,
    lines: usize,
}

impl HeaderMap {
    /// Takes a serialized map over. `None`: it is not one.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        // Envoy's form of an empty map.
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let (lines, _) = number(&bytes)?;
        let mut parts = Lines::new(&bytes, lines)?;
        let map = Self {
            lines,
            bytes: Vec::new(),
        };
        // Every line is there, and nothing else.
        if parts.by_ref().count() != lines || !parts.is_at_the_end() {
            return None;
        }
        Some(Self { bytes, ..map })
    }

    /// Serializes these lines. Lengths above 4 GiB cannot be, and are not in WebAssembly.
    #[must_use]
    pub fn from_lines<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        lines: impl IntoIterator<Item = (N, V), IntoIter: Clone>,
    ) -> Self {
        let lines = lines.into_iter();
        let count = lines.clone().count();
        let size: usize = (lines.clone())
            .map(|(name, value)| name.as_ref().len() + value.as_ref().len() + 2 * NUMBER + 2)
            .sum();
        let mut bytes = Vec::with_capacity(NUMBER + size);
        let number = |bytes: &mut Vec<u8>, number: usize| {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&number.to_le_bytes());
        };
        number(&mut bytes, count);
        for (name, value) in lines.clone() {
            number(&mut bytes, name.as_ref().len());
            number(&mut bytes, value.as_ref().len());
        }
        for (name, value) in lines {
            for part in [name.as_ref(), value.as_ref()] {
                bytes.extend_from_slice(part);
                bytes.push(0);
            }
        }
        Self {
            bytes,
            lines: count,
        }
    }

    /// Name and value of each line, in the order in which Envoy has them.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        Lines::new(&self.bytes, self.lines).into_iter().flatten()
    }

    /// The value of the first line with this name, in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.iter();
        lines.find_map(|(known, value)| (known == name.as_bytes()).then_some(value))
    }

    /// The serialized map.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A number, and what follows it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<NUMBER>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

/// The lines that are left.
struct Lines<'a> {
    lengths: &'a [u8],
    strings: &'a [u8],
}

impl<'a> Lines<'a> {
    fn new(bytes: &'a [u8], lines: usize) -> Option<Self> {
        let (_, rest) = bytes.split_at_checked(NUMBER)?;
        let (lengths, strings) = rest.split_at_checked(lines.checked_mul(2 * NUMBER)?)?;
        Some(Self { lengths, strings })
    }

    const fn is_at_the_end(&self) -> bool {
        self.strings.is_empty()
    }

    fn string(&mut self, length: usize) -> Option<&'a [u8]> {
        let (string, rest) = self.strings.split_at_checked(length)?;
        let (&0, rest) = rest.split_first()? else {
            return None;
        };
        self.strings = rest;
        Some(string)
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = number(self.lengths)?;
        let (value, rest) = number(rest)?;
        self.lengths = rest;
        Some((self.string(name)?, self.string(value)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [(&str, &str); 4] = [(":path", "/"), ("a", ""), ("", "b"), ("a", "\0é")];

    fn map() -> HeaderMap {
        HeaderMap::from_lines(LINES)
    }

    #[test]
    fn what_is_serialized_is_read_back() {
        let read = HeaderMap::new(map().as_bytes().to_vec()).unwrap();
        assert_eq!(read, map());
        let lines: Vec<_> = read.iter().collect();
        assert_eq!(
            lines,
            LINES.map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        );
        assert_eq!(read.get("a"), Some(&b""[..]));
        assert_eq!(read.get("A"), None);
    }

    #[test]
    fn the_format_is_that_of_envoy() {
        let bytes = b"\x01\0\0\0\x01\0\0\0\x02\0\0\0a\0bc\0";
        assert_eq!(HeaderMap::from_lines([("a", "bc")]).as_bytes(), bytes);
        for empty in [&b""[..], b"\0\0\0\0"] {
            assert_eq!(HeaderMap::new(empty.to_vec()).unwrap().iter().count(), 0);
        }
    }

    #[test]
    fn a_map_is_serialized_into_one_allocation_of_its_size() {
        assert_eq!(map().bytes.capacity(), map().bytes.len());
    }

    #[test]
    fn a_map_with_any_byte_cut_added_or_a_length_changed_is_none() {
        let whole = map().as_bytes().to_vec();
        for end in 1..whole.len() {
            assert_eq!(HeaderMap::new(whole[..end].to_vec()), None, "{end} bytes");
        }
        assert_eq!(HeaderMap::new([&whole[..], b"x"].concat()), None);
        for at in 0..NUMBER + LINES.len() * 2 * NUMBER {
            for value in [0xff, 0x80, whole[at].wrapping_add(1)] {
                let mut changed = whole.clone();
                changed[at] = value;
                // Lengths may be exchanged for others only if every string still ends with a NUL.
                if let Some(map) = HeaderMap::new(changed) {
                    assert_eq!(map.iter().count(), map.lines, "byte {at} is {value}");
                }
            }
        }
    }
}
