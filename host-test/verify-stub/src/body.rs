//! Response bodies, including broken ones.

use std::{fmt, io, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use tokio::{task::yield_now, time::sleep};

pub(super) type StubBody = UnsyncBoxBody<Bytes, Abort>;

/// Ends the connection without sending another byte.
#[derive(Debug)]
pub(super) struct Abort;

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection ends here, as scripted")
    }
}

impl std::error::Error for Abort {}

impl From<Abort> for io::Error {
    fn from(abort: Abort) -> Self {
        Self::other(abort)
    }
}

pub(super) fn full(bytes: Bytes) -> StubBody {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// The first `after` bytes, then the end of the connection.
pub(super) fn cut(mut bytes: Bytes, after: usize) -> StubBody {
    bytes.truncate(after);
    let part = stream::iter([Ok(Frame::data(bytes))]);
    let end = stream::once(async {
        // Lets the connection send these bytes first.
        yield_now().await;
        Err(Abort)
    });
    StreamBody::new(part.chain(end)).boxed_unsync()
}

/// Byte by byte.
pub(super) fn drip(bytes: Bytes, every: Duration) -> StubBody {
    let drops = stream::unfold(bytes, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        sleep(every).await;
        Some((Ok(Frame::data(rest.split_to(1))), rest))
    });
    StreamBody::new(drops).boxed_unsync()
}

/// A body of white space.
pub(super) fn huge(bytes: u64) -> StubBody {
    static SPACES: [u8; 64 * 1024] = [b' '; 64 * 1024];
    let pieces = stream::unfold(bytes, |left| async move {
        if left == 0 {
            return None;
        }
        let now = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(SPACES.len());
        let piece = Bytes::from_static(&SPACES).split_to(now);
        // A `usize` fits into a `u64`.
        Some((Ok(Frame::data(piece)), left - now as u64))
    });
    StreamBody::new(pieces).boxed_unsync()
}
