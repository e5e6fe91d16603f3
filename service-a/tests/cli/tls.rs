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

use crate::world::{CLIENT_ID, Ended, MASKED, SECRET, TOKEN, bare, run};

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
        self.acceptor_for(&[])
    }

    /// Speaks these protocols and no other (RFC 7301).
    fn acceptor_for(&self, protocols: &[&str]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
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

/// Answers as issuer and as Service B in HTTP/2 (RFC 9113), and breaks with whoever begins in HTTP/1.1.
fn serve_http2(listener: TcpListener, acceptor: TlsAcceptor, origin: String) {
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let origin = origin.clone();
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else {
                    return;
                };
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let answer = match request.uri().path() {
                        "/.well-known/openid-configuration" => {
                            json!({"issuer": origin, "token_endpoint": format!("{origin}/t")})
                        }
                        "/t" => json!({"access_token": TOKEN, "token_type": "Bearer"}),
                        _ => json!({"message": "Service B trusted the token"}),
                    };
                    let head = http::Response::builder()
                        .header("content-type", "application/json")
                        .body(())
                        .unwrap();
                    let mut body = respond.send_response(head, false).unwrap();
                    let bytes = bytes::Bytes::from(answer.to_string());
                    body.send_data(bytes, true).unwrap();
                }
            });
        }
    });
}

#[tokio::test]
async fn rfc7301_an_issuer_and_a_service_b_that_speak_http2_only_are_reached() {
    let authority = Authority::new("http2");
    let (listener, origin) = listener().await;
    serve_http2(listener, authority.acceptor_for(&["h2"]), origin.clone());
    let data = format!("{origin}/data");
    let mut command = bare(&["--verbose", "--issuer", &origin, "--service-b-url", &data]);
    command
        .env("WORKOUT18_CLIENT_ID", CLIENT_ID)
        .env("WORKOUT18_CLIENT_SECRET", SECRET)
        .env("SSL_CERT_FILE", &authority.roots);
    let ended = run(command).await;
    assert_eq!(
        ended.stdout,
        format!(
            "\
Access token (masked): {MASKED}
Service B response:
  message: Service B trusted the token
"
        ),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.stderr.matches("\n< HTTP/2.0 200 OK\n").count(), 3);
}

#[tokio::test]
async fn an_ssl_cert_file_that_cannot_be_used_is_named() {
    let write = |name: &str, content: &str| {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{name}-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let empty = write("no-certificate.pem", "");
    let key = write("key.pem", &KeyPair::generate().unwrap().serialize_pem());
    let broken = write(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    );
    let none = "holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`) that can be trusted";
    let table = [
        (
            "/nowhere/ca.pem",
            "cannot be read: No such file or directory (os error 2)".to_owned(),
        ),
        (
            "/",
            "cannot be read: Is a directory (os error 21)".to_owned(),
        ),
        (&empty, none.to_owned()),
        (&key, none.to_owned()),
        (&broken, none.to_owned()),
    ];
    let service_a = |path: &str, issuer: &str| {
        let mut command = bare(&["--issuer", issuer]);
        command
            .env("WORKOUT18_CLIENT_ID", CLIENT_ID)
            .env("WORKOUT18_CLIENT_SECRET", SECRET)
            .env("SSL_CERT_FILE", path);
        command
    };
    for (path, problem) in table {
        let expected = Ended {
            code: Some(2),
            stdout: String::new(),
            stderr: format!(
                "Error: SSL_CERT_FILE names {path}, which {problem}\nRun service-a --help for all settings.\n"
            ),
        };
        assert_eq!(run(service_a(path, "https://127.0.0.1:1")).await, expected);
        // Where there is no https, nothing is to be trusted.
        let ended = run(service_a(path, "http://127.0.0.1:1")).await;
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    }
    assert_eq!(
        run(service_a("", "https://127.0.0.1:1")).await,
        Ended {
            code: Some(2),
            stdout: String::new(),
            stderr: "Error: SSL_CERT_FILE is empty: unset it, or name a file of certificate authorities\nRun service-a --help for all settings.\n".to_owned(),
        }
    );
    for path in [empty, key, broken] {
        let _ = std::fs::remove_file(path);
    }
}
