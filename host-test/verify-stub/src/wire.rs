//! The bytes below HTTP, for what HTTP libraries refuse to send.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_rustls::server::TlsStream;

/// How a connection is to end, told by who answers on it.
#[derive(Default)]
pub(super) struct Fate {
    reset: AtomicBool,
    raw: Mutex<Option<(Bytes, Duration)>>,
}

impl Fate {
    /// A TCP reset in place of an orderly end.
    pub(super) fn reset(&self) {
        self.reset.store(true, Relaxed);
    }

    /// These bytes in place of whatever is written from now on.
    pub(super) fn send(&self, bytes: Bytes, every: Duration) {
        let mut raw = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
        *raw = Some((bytes, every));
    }
}

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection, with or without TLS, that meets its fate.
pub(super) struct Wire {
    stream: Stream,
    fate: Arc<Fate>,
    raw: Option<Raw>,
}

struct Raw {
    rest: Bytes,
    every: Duration,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub(super) fn new(stream: Stream, fate: Arc<Fate>) -> Self {
        Self {
            stream,
            fate,
            raw: None,
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.fate.reset.load(Relaxed) {
            let stream = match &self.stream {
                Stream::Plain(stream) => stream,
                Stream::Tls(stream) => stream.get_ref().0,
            };
            // Without it the connection ends in an orderly way, and a test that wants a reset says so.
            _ = stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.raw.is_none() {
            let mut fate = this.fate.raw.lock().unwrap_or_else(PoisonError::into_inner);
            this.raw = fate.take().map(|(rest, every)| Raw {
                rest,
                every,
                pause: None,
            });
        }
        let Some(raw) = &mut this.raw else {
            return this.stream.as_mut().poll_write(cx, bytes);
        };
        while !raw.rest.is_empty() {
            let now = if raw.every.is_zero() {
                raw.rest.len()
            } else {
                let every = raw.every;
                let pause = raw.pause.get_or_insert_with(|| Box::pin(sleep(every)));
                ready!(pause.as_mut().poll(cx));
                1
            };
            let piece = raw.rest.get(..now).unwrap_or_default();
            let written = ready!(this.stream.as_mut().poll_write(cx, piece))?;
            raw.rest.advance(written);
            raw.pause = None;
            ready!(this.stream.as_mut().poll_flush(cx))?;
        }
        // What HTTP had to say is swallowed.
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(cx)
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

impl Stream {
    fn as_mut(&mut self) -> Pin<&mut dyn Io> {
        match self {
            Self::Plain(stream) => Pin::new(stream),
            Self::Tls(stream) => Pin::new(&mut **stream),
        }
    }
}
