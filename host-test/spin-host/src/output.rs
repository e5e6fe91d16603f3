//! What guests print: forwarded to the log line by line, and kept for tests.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};

/// Lines kept for [`Running::logs`](super::Running::logs); the oldest go first.
const KEPT_LINES: usize = 10_000;

/// Bytes after which a line is cut, so that a guest that never ends one does not fill memory.
const LINE_LIMIT: usize = 16 * 1024;

/// Bytes a guest may hand over in one write.
const WRITE_PERMIT: usize = 64 * 1024;

/// One line a guest printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The component of the route; its middleware prints under the same name.
    pub component: Arc<str>,
    /// Where it was printed.
    pub stream: Stream,
    /// The line without its end. What is not UTF-8 is replaced.
    pub text: String,
}

/// One of a guest's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The last lines of all guests.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    lines: Mutex<VecDeque<LogLine>>,
    is_full: AtomicBool,
}

impl Logs {
    /// Nothing more is taken, as by a full disk.
    pub(crate) fn fill(&self) {
        self.is_full.store(true, Ordering::Relaxed);
    }

    fn room(&self) -> io::Result<()> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    pub(crate) fn lines(&self) -> Vec<LogLine> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    fn push(&self, line: LogLine) {
        let LogLine {
            component,
            stream,
            text,
        } = &line;
        match stream {
            Stream::Stdout => tracing::info!(target: "guest", "[{component}] {text}"),
            Stream::Stderr => tracing::warn!(target: "guest", "[{component}] {text}"),
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// A guest's standard output or standard error.
#[derive(Clone)]
pub(crate) struct GuestOutput {
    logs: Arc<Logs>,
    component: Arc<str>,
    stream: Stream,
    line: Arc<Mutex<Vec<u8>>>,
}

impl GuestOutput {
    pub(crate) fn new(logs: Arc<Logs>, component: Arc<str>, stream: Stream) -> Self {
        Self {
            logs,
            component,
            stream,
            line: Arc::default(),
        }
    }

    fn take(&self, bytes: &[u8]) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let pieces = bytes
            .chunks(LINE_LIMIT)
            .flat_map(|chunk| chunk.split_inclusive(|byte| *byte == b'\n'));
        for piece in pieces {
            match piece.strip_suffix(b"\n") {
                Some(end) => {
                    line.extend_from_slice(end);
                    self.end(&mut line);
                }
                None => line.extend_from_slice(piece),
            }
            if line.len() >= LINE_LIMIT {
                self.end(&mut line);
            }
        }
    }

    fn end(&self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line)
            .trim_end_matches('\r')
            .to_owned();
        line.clear();
        self.logs.push(LogLine {
            component: Arc::clone(&self.component),
            stream: self.stream,
            text,
        });
    }
}

impl Drop for GuestOutput {
    fn drop(&mut self) {
        // The last owner hands on what a guest printed without a line end, a panic message for one.
        if Arc::strong_count(&self.line) == 1 {
            let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
            if !line.is_empty() {
                self.end(&mut line);
            }
        }
    }
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for GuestOutput {
    async fn ready(&mut self) {}
}

impl OutputStream for GuestOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let full = |error: io::Error| StreamError::LastOperationFailed(error.into());
        self.logs.room().map_err(full)?;
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_PERMIT)
    }
}

impl AsyncWrite for GuestOutput {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.logs.room()?;
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> (Arc<Logs>, GuestOutput) {
        let logs = Arc::<Logs>::default();
        let output = GuestOutput::new(Arc::clone(&logs), "app".into(), Stream::Stderr);
        (logs, output)
    }

    fn texts(logs: &Logs) -> Vec<String> {
        logs.lines().into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn output_is_cut_into_lines_wherever_the_writes_end() {
        let (logs, output) = output();
        for piece in ["one\ntw", "o\r\n", "\n", "thr", "ee"] {
            output.clone().take(piece.as_bytes());
        }
        assert_eq!(texts(&logs), ["one", "two", ""]);
        drop(output);
        assert_eq!(texts(&logs), ["one", "two", "", "three"]);
    }

    #[test]
    fn a_line_without_an_end_is_cut_and_only_the_last_lines_are_kept() {
        let (logs, output) = output();
        output.take(&vec![b'x'; LINE_LIMIT + 1]);
        drop(output);
        assert_eq!(logs.lines().len(), 2);

        let (logs, output) = self::output();
        output.take(&vec![b'\n'; KEPT_LINES + 5]);
        assert_eq!(logs.lines().len(), KEPT_LINES);
    }
}
