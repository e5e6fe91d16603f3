//! A company's HTTP proxy: CONNECT (RFC 9110 section 9.3.6), and nothing is looked up.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    introspections: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Whatever name CONNECT has, it leads to this machine.
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Answers every CONNECT with this status line.
    pub(crate) async fn start_refusing(status: &'static str) -> Self {
        Self::start_with(Some(status)).await
    }

    async fn start_with(refusal: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let introspections = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&introspections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(tunnel(stream, Arc::clone(&record), refusal));
            }
        });
        Self {
            address,
            introspections,
            task,
        }
    }

    /// The heads of the requests so far, names in lower case.
    pub(crate) fn introspections(&self) -> Vec<String> {
        self.introspections.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends with either side.
async fn tunnel(
    mut caller: TcpStream,
    introspections: Arc<Mutex<Vec<String>>>,
    refusal: Option<&'static str>,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(caller.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let port = head.split_whitespace().nth(1)?.rsplit(':').next()?;
    let port: u16 = port.parse().ok()?;
    let (line, fields) = head.trim_end().split_once("\r\n")?;
    let fields = fields.replace("Host:", "host:");
    introspections
        .lock()
        .unwrap()
        .push(format!("{line}\r\n{fields}"));
    if let Some(status) = refusal {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        return caller.write_all(answer.as_bytes()).await.ok();
    }
    let mut issuer = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let established = b"HTTP/1.1 200 Connection established\r\n\r\n";
    caller.write_all(established).await.ok()?;
    copy_bidirectional(&mut caller, &mut issuer)
        .await
        .ok()
        .map(drop)
}
