//! Header maps as Envoy serializes them, against a second reader of the format.

use proxy_wasm_abi::HeaderMap;

/// Reads a map, and writes it again.
pub fn run(data: &[u8]) {
    let map = HeaderMap::new(data.to_vec());
    let Some(expected) = read(data) else {
        assert_eq!(map, None);
        return;
    };
    let map = map.expect("the second reader reads it");
    let lines: Vec<_> = map.iter().collect();
    assert_eq!(lines, expected);
    if !data.is_empty() {
        assert_eq!(HeaderMap::from_lines(lines).as_bytes(), data);
    }
}

type Line<'a> = (&'a [u8], &'a [u8]);

/// Every length first, then every string, with positions counted from the start.
fn read(data: &[u8]) -> Option<Vec<Line<'_>>> {
    if data.is_empty() {
        return Some(Vec::new());
    }
    let number = |at: usize| -> Option<usize> {
        let bytes = data.get(at..at.checked_add(4)?)?;
        let sum = bytes
            .iter()
            .rev()
            .fold(0_u64, |sum, b| sum * 256 + u64::from(*b));
        usize::try_from(sum).ok()
    };
    let count = number(0)?;
    let mut lengths = Vec::new();
    for place in 0..count.checked_mul(2)? {
        lengths.push(number(4 + 4 * place)?);
    }
    let mut at = 4 + 4 * lengths.len();
    let mut strings = Vec::new();
    for length in lengths {
        let end = at.checked_add(length)?;
        if data.get(end) != Some(&0) {
            return None;
        }
        strings.push(&data[at..end]);
        at = end + 1;
    }
    let lines = strings.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    (at == data.len()).then(|| lines.collect())
}
