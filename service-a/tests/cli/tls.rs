//! https with a private certificate authority.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::PrivateKeyDer,
        server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    },
    server::TlsStream,
};

use crate::fixture::{Finished, TOKEN, TOKEN_LINE, TemporaryFile, run, service_a};

/// Signs certificates for 127.0.0.1; its own certificate is in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    roots: TemporaryFile,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer =
            CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let roots = TemporaryFile::new(name, &issuer.pem());
        Self { issuer, roots }
    }

    fn acceptor(&self) -> TlsAcceptor {
        self.acceptor_for(&[])
    }

    /// Offers only these protocols (RFC 7301).
    fn acceptor_for(&self, protocols: &[&str]) -> TlsAcceptor {
        self.acceptor_with(protocols, WebPkiClientVerifier::no_client_auth())
    }

    /// Accepts only callers with a certificate of this authority.
    fn mutual_acceptor(&self) -> TlsAcceptor {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        self.acceptor_with(&[], clients.build().unwrap())
    }

    /// A certificate for a client and its key, in PEM.
    fn client_certificate(&self) -> String {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(["service-a".to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        certificate.pem() + &key.serialize_pem()
    }

    fn acceptor_with(
        &self,
        protocols: &[&str],
        clients: Arc<dyn ClientCertVerifier>,
    ) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Reads the head of one request.
async fn read_head(
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

/// Responds to every request with `body` and passes on the heads of the requests.
fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    body: serde_json::Value,
) -> mpsc::UnboundedReceiver<String> {
    let (sender, heads) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Some((mut stream, head)) = read_head(&acceptor, stream).await else {
                continue;
            };
            let _ = sender.send(head);
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + &body).as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    heads
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("https://{}", listener.local_addr().unwrap());
    (listener, origin)
}

#[tokio::test]
async fn https_metadata_may_name_a_token_endpoint_of_another_origin() {
    let authority = Authority::new("trusted");
    let (metadata, issuer) = listener().await;
    let (tokens, endpoint) = listener().await;
    serve(
        metadata,
        authority.acceptor(),
        json!({"issuer": issuer, "token_endpoint": format!("{endpoint}/t")}),
    );
    let mut requests = serve(
        tokens,
        authority.acceptor(),
        json!({"access_token": TOKEN, "token_type": "bearer"}),
    );
    let mut command = service_a(&issuer, &["--token-only"]);
    command.env("SSL_CERT_FILE", authority.roots.path());
    let finished = run(command).await;
    assert_eq!(finished.stdout, format!("{TOKEN}\n"), "{}", finished.stderr);
    let head = requests.recv().await.unwrap();
    assert!(head.starts_with("POST /t HTTP/1.1\r\n"), "{head}");
}

#[tokio::test]
async fn rfc8705_s2_a_client_certificate_stands_for_the_secret() {
    let authority = Authority::new("mutual");
    let (tokens, origin) = listener().await;
    let response = json!({"access_token": TOKEN, "token_type": "bearer"});
    let mut requests = serve(tokens, authority.mutual_acceptor(), response);
    let endpoint = format!("{origin}/t");
    let certificate = TemporaryFile::new("client.pem", &authority.client_certificate());
    let command = |flags: &[&str]| {
        let common = [
            "--token-only",
            "--client-auth",
            "none",
            "--token-url",
            &endpoint,
        ];
        let mut command = service_a("", &[&common[..], flags].concat());
        command.env_remove("WORKOUT18_CLIENT_SECRET");
        command.env("SSL_CERT_FILE", authority.roots.path());
        command
    };
    let finished = run(command(&["--client-certificate", certificate.path()])).await;
    assert_eq!(finished.stdout, format!("{TOKEN}\n"), "{}", finished.stderr);
    let head = requests.recv().await.unwrap();
    assert!(head.starts_with("POST /t HTTP/1.1\r\n"), "{head}");
    assert!(!head.contains("authorization"), "{head}");
    assert_eq!(run(command(&[])).await.code, Some(3));

    for (content, problem) in [
        (
            "",
            "holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`)",
        ),
        (
            &authority.issuer.pem(),
            "holds no private key in PEM (`-----BEGIN PRIVATE KEY-----`): append it",
        ),
    ] {
        let file = TemporaryFile::new("wrong.pem", content);
        let problem = format!(
            "WORKOUT18_CLIENT_CERTIFICATE (--client-certificate) names {}, which {problem}",
            file.path()
        );
        let finished = run(command(&["--client-certificate", file.path()])).await;
        assert_eq!(finished, Finished::wrong_settings(&[&problem]));
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_with_an_untrusted_certificate() {
    let stranger = Authority::new("stranger");
    let trusted = Authority::new("other");
    let (metadata, issuer) = listener().await;
    let mut requests = serve(metadata, stranger.acceptor(), json!({}));
    let mut command = service_a(&issuer, &[]);
    command.env("SSL_CERT_FILE", trusted.roots.path());
    let finished = run(command).await;
    assert_eq!(finished.code, Some(3));
    let reason = "\n  reason: certificate_refused\n";
    assert!(finished.stderr.contains(reason), "{}", finished.stderr);
    assert!(requests.try_recv().is_err());
}

/// An issuer and a Service B in HTTP/2 (RFC 9113). They close connections that begin in HTTP/1.1.
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
                    let body = match request.uri().path() {
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
                    let mut stream = respond.send_response(head, false).unwrap();
                    let body = bytes::Bytes::from(body.to_string());
                    stream.send_data(body, true).unwrap();
                }
            });
        }
    });
}

#[tokio::test]
async fn rfc7301_an_issuer_and_a_service_b_with_http2_only_are_reached() {
    let authority = Authority::new("http2");
    let (listener, origin) = listener().await;
    serve_http2(listener, authority.acceptor_for(&["h2"]), origin.clone());
    let data = format!("{origin}/data");
    let mut command = service_a(&origin, &["--verbose", "--service-b-url", &data]);
    command.env("SSL_CERT_FILE", authority.roots.path());
    let finished = run(command).await;
    let document = "Service B response:\n  message: Service B trusted the token\n";
    let expected = format!("{TOKEN_LINE}{document}");
    assert_eq!(finished.stdout, expected, "{}", finished.stderr);
    assert_eq!(finished.code, Some(0));
    assert_eq!(finished.stderr.matches("\n< HTTP/2.0 200 OK\n").count(), 3);
}

#[tokio::test]
async fn an_unusable_ssl_cert_file_is_named() {
    let empty = TemporaryFile::new("no-certificate.pem", "");
    let key = TemporaryFile::new("key.pem", &KeyPair::generate().unwrap().serialize_pem());
    let broken = TemporaryFile::new(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    );
    let none = "holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`) that can be trusted";
    let table = [
        (
            "/nowhere/ca.pem",
            "cannot be read: No such file or directory (os error 2)",
        ),
        ("/", "cannot be read: Is a directory (os error 21)"),
        (empty.path(), none),
        (key.path(), none),
        (broken.path(), none),
    ];
    let with_roots = |path: &str, issuer: &str| {
        let mut command = service_a(issuer, &[]);
        command.env("SSL_CERT_FILE", path);
        command
    };
    for (path, problem) in table {
        let error = format!("SSL_CERT_FILE names {path}, which {problem}");
        let expected = Finished::wrong_settings(&[&error]);
        assert_eq!(run(with_roots(path, "https://127.0.0.1:1")).await, expected);
        // Without https the file is not needed.
        let finished = run(with_roots(path, "http://127.0.0.1:1")).await;
        assert_eq!(finished.code, Some(3), "{}", finished.stderr);
    }
    let error = "SSL_CERT_FILE is empty: unset it, or name a file of certificate authorities";
    let finished = run(with_roots("", "https://127.0.0.1:1")).await;
    assert_eq!(finished, Finished::wrong_settings(&[error]));
}
