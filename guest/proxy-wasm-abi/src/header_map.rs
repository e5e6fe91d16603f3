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
}

impl HeaderMap {
    /// Takes a serialized map over. `None`: it is not one.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        // Envoy's form of an empty map.
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let (lengths, strings) = parts(&bytes)?;
        // Every string is there with its NUL, and nothing else.
        let mut end = 0_usize;
        for length in lengths.as_flattened() {
            end = end.checked_add(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
            if strings.get(end) != Some(&0) {
                return None;
            }
            end = end.checked_add(1)?;
        }
        (end == strings.len()).then_some(Self { bytes })
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
        Self { bytes }
    }

    /// The same lines, and one more at the end. Cheaper than to serialize them all once more.
    #[must_use]
    pub fn with_line(&self, name: &str, value: &str) -> Self {
        let (lengths, strings) = parts(&self.bytes).unwrap_or_default();
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        let more = name.len() + value.len() + 2 * NUMBER + 2;
        let mut bytes = Vec::with_capacity(NUMBER.max(self.bytes.len()) + more);
        bytes.extend_from_slice(&number(lengths.len() + 1));
        bytes.extend_from_slice(lengths.as_flattened().as_flattened());
        bytes.extend_from_slice(&number(name.len()));
        bytes.extend_from_slice(&number(value.len()));
        bytes.extend_from_slice(strings);
        for part in [name, value] {
            bytes.extend_from_slice(part.as_bytes());
            bytes.push(0);
        }
        Self { bytes }
    }

    /// Name and value of each line, in the order in which Envoy has them.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (lengths, strings) = parts(&self.bytes).unwrap_or_default();
        Lines {
            lengths: lengths.iter(),
            strings,
        }
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

/// Lengths of a name and its value.
type Lengths = [[u8; NUMBER]; 2];

/// The lengths of each line, and what follows them.
fn parts(bytes: &[u8]) -> Option<(&[Lengths], &[u8])> {
    let (lines, rest) = bytes.split_first_chunk()?;
    let lines = usize::try_from(u32::from_le_bytes(*lines)).ok()?;
    let (lengths, strings) = rest.split_at_checked(lines.checked_mul(size_of::<Lengths>())?)?;
    let (numbers, _) = lengths.as_chunks();
    let (lengths, _) = numbers.as_chunks();
    Some((lengths, strings))
}

/// The lines that are left, of a map that is well-formed.
struct Lines<'a> {
    lengths: core::slice::Iter<'a, Lengths>,
    strings: &'a [u8],
}

impl<'a> Lines<'a> {
    #[inline]
    fn string(&mut self, length: [u8; NUMBER]) -> Option<&'a [u8]> {
        let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
        let (string, rest) = self.strings.split_at_checked(length)?;
        // Without the NUL.
        (_, self.strings) = rest.split_first()?;
        Some(string)
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let [name, value] = *self.lengths.next()?;
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
    fn a_line_is_added_at_the_end() {
        let mut map = HeaderMap::default();
        for count in 0..=LINES.len() {
            assert_eq!(map.iter().count(), count);
            if count > 0 {
                assert_eq!(map, HeaderMap::from_lines(LINES.into_iter().take(count)));
                assert_eq!(map.bytes.capacity(), map.bytes.len());
            }
            if let Some((name, value)) = LINES.get(count) {
                map = map.with_line(name, value);
            }
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
                    let (lengths, _) = parts(&map.bytes).unwrap();
                    assert_eq!(map.iter().count(), lengths.len(), "byte {at} is {value}");
                }
            }
        }
    }
}
