//! HTTP/2 frame by frame (RFC 9113), for what no client library would send.

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Types of frames.
pub const DATA: u8 = 0;
/// The head or the trailers.
pub const HEADERS: u8 = 1;
/// The end of a stream, at once.
pub const RST_STREAM: u8 = 3;
/// The settings of a connection.
pub const SETTINGS: u8 = 4;
/// The connection is about to be closed.
pub const GOAWAY: u8 = 7;

/// Flags of frames. The stream has no more of them.
pub const END_STREAM: u8 = 1;
/// Of [`SETTINGS`], the same bit.
pub const ACK: u8 = 1;
/// The head is whole.
pub const END_HEADERS: u8 = 4;

/// The error code of a stream that its caller does not need any more.
pub const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// The longest text whose length fits into a byte (RFC 7541 section 5.1, with a prefix of 7 bits).
const LONGEST_SHORT: usize = 126;

/// A frame.
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// What it holds.
    pub payload: Vec<u8>,
}

/// A frame in bytes.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    #[expect(clippy::unwrap_used, reason = "tests send no such payload")]
    let [_, high, middle, low] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![high, middle, low, kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// How a client begins a connection.
#[must_use]
pub fn opening() -> Vec<u8> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    [preface.as_slice(), &frame(SETTINGS, 0, 0, b"")].concat()
}

/// Reads a frame.
///
/// # Errors
/// The connection ends before.
pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Frame> {
    let mut head = [0; 9];
    from.read_exact(&mut head).await?;
    let [high, middle, low, kind, flags, stream @ ..] = head;
    let length = u32::from_be_bytes([0, high, middle, low]);
    let mut payload = vec![0; usize::try_from(length)?];
    from.read_exact(&mut payload).await?;
    Ok(Frame {
        kind,
        flags,
        stream: u32::from_be_bytes(stream),
        payload,
    })
}

/// A text of a head as it is, without Huffman coding (RFC 7541 section 5.2).
#[must_use]
pub fn literal(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.len();
    if rest > LONGEST_SHORT {
        bytes.push(127);
        rest -= 127;
        while rest >= 128 {
            bytes.push(low_bits(rest) | 128);
            rest /= 128;
        }
    }
    bytes.push(low_bits(rest));
    bytes.extend(text);
    bytes
}

fn low_bits(number: usize) -> u8 {
    u8::try_from(number % 128).unwrap_or_default()
}

/// The head of a `GET` with a token.
#[must_use]
pub fn get(path: &str, token: &str) -> Vec<u8> {
    // The method and the scheme are whole in the static table, of the others the name (RFC 7541
    // appendix A); 23 is past the 15 that fit into the first byte.
    const GET: u8 = 0x82;
    const SCHEME_HTTP: u8 = 0x86;
    const PATH: &[u8] = &[4];
    const AUTHORITY: &[u8] = &[1];
    const AUTHORIZATION: &[u8] = &[15, 23 - 15];
    let credentials = format!("Bearer {token}");
    let mut head = vec![GET, SCHEME_HTTP];
    for (name, value) in [
        (PATH, path),
        (AUTHORITY, "b"),
        (AUTHORIZATION, &credentials),
    ] {
        head.extend(name);
        head.extend(literal(value.as_bytes()));
    }
    head
}
