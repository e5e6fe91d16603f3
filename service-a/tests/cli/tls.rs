//! https, with an authority of our own.

use std::{path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
    server::TlsStream,
};

use crate::world::{CLIENT_ID, SECRET, TOKEN, bare, run};

/// Certificates for 127.0.0.1, and a file that says who signed them.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    roots: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer =
            CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let roots = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{name}-{}.pem", std::process::id()));
        std::fs::write(&roots, issuer.pem()).unwrap();
        Self { issuer, roots }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.roots);
    }
}

async fn request(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
) -> Option<(TlsStream<TcpStream>, String)> {
    let mut stream = acceptor.accept(stream).await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some((stream, String::from_utf8(head).unwrap()))
}

/// Answers every request with `answer` and tells of its head.
fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    answer: serde_json::Value,
) -> mpsc::UnboundedReceiver<String> {
    let (heard, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Some((mut stream, head)) = request(&acceptor, stream).await else {
                continue;
            };
            let _ = heard.send(head);
            let body = answer.to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + &body).as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    requests
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("https://{}", listener.local_addr().unwrap());
    (listener, origin)
}

#[tokio::test]
async fn discovery_over_https_may_name_a_token_endpoint_elsewhere() {
    let authority = Authority::new("trusted");
    let (metadata, issuer) = listener().await;
    let (tokens, endpoint) = listener().await;
    serve(
        metadata,
        authority.acceptor(),
        json!({"issuer": issuer, "token_endpoint": format!("{endpoint}/t")}),
    );
    let mut asked = serve(
        tokens,
        authority.acceptor(),
        json!({"access_token": TOKEN, "token_type": "bearer"}),
    );
    let mut command = bare(&["--token-only", "--issuer", &issuer]);
    command
        .env("WORKOUT18_CLIENT_ID", CLIENT_ID)
        .env("WORKOUT18_CLIENT_SECRET", SECRET)
        .env("SSL_CERT_FILE", &authority.roots);
    let ended = run(command).await;
    assert_eq!(ended.stdout, format!("{TOKEN}\n"), "{}", ended.stderr);
    assert!(
        asked
            .recv()
            .await
            .unwrap()
            .starts_with("POST /t HTTP/1.1\r\n")
    );
}

#[tokio::test]
async fn a_certificate_of_nobody_we_trust_ends_before_anything_is_sent() {
    let stranger = Authority::new("stranger");
    let trusted = Authority::new("other");
    let (metadata, issuer) = listener().await;
    let mut asked = serve(metadata, stranger.acceptor(), json!({}));
    let mut command = bare(&["--issuer", &issuer]);
    command
        .env("WORKOUT18_CLIENT_ID", CLIENT_ID)
        .env("WORKOUT18_CLIENT_SECRET", SECRET)
        .env("SSL_CERT_FILE", &trusted.roots);
    let ended = run(command).await;
    assert_eq!(ended.code, Some(3));
    assert!(
        ended.stderr.contains("\n  reason: certificate_refused\n"),
        "{}",
        ended.stderr
    );
    assert!(asked.try_recv().is_err());
}
