//! The byte stream below HTTP, for what HTTP libraries refuse to send.

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

/// How to end the connection, set by the handler.
#[derive(Default)]
pub(super) struct ConnectionEnd {
    reset: AtomicBool,
    raw: Mutex<Option<(Bytes, Duration)>>,
}

impl ConnectionEnd {
    /// Ends the connection with a TCP reset instead of an orderly close.
    pub(super) fn reset(&self) {
        self.reset.store(true, Relaxed);
    }

    /// Sends these bytes in place of everything written from now on.
    pub(super) fn send(&self, bytes: Bytes, every: Duration) {
        let mut raw = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
        *raw = Some((bytes, every));
    }
}

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection, with or without TLS, that ends as its [`ConnectionEnd`] says.
pub(super) struct Wire {
    stream: Stream,
    end: Arc<ConnectionEnd>,
    raw: Option<Raw>,
}

struct Raw {
    rest: Bytes,
    every: Duration,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub(super) fn new(stream: Stream, end: Arc<ConnectionEnd>) -> Self {
        Self {
            stream,
            end,
            raw: None,
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.end.reset.load(Relaxed) {
            let stream = match &self.stream {
                Stream::Plain(stream) => stream,
                Stream::Tls(stream) => stream.get_ref().0,
            };
            // Best effort: if it fails, a test that expects a reset fails.
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
            let mut raw = this.end.raw.lock().unwrap_or_else(PoisonError::into_inner);
            this.raw = raw.take().map(|(rest, every)| Raw {
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
        // Discards what HTTP wrote.
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
