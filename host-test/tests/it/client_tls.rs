//! Outbound TLS of the embedded host: private certificate authorities by `[[client_tls]]`, and
//! issuers that speak HTTP/2.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use crate::support::{self, bearer, load};
use bytes::Bytes;
use host_test::wire::{exchange, get};
use http::{Request, Response, Version};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use programs::{Guest, repository};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use spin_host::{App, Running, ServeOptions};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use verify_stub::{StubOptions, StubTls, TokenSpec, VerifyStub};

/// spin.toml as it ships, compiled once.
fn app() -> App {
    static APP: OnceLock<App> = OnceLock::new();
    let load = || load(&repository().join("spin.toml"), Guest::ServiceB);
    APP.get_or_init(load).clone()
}

async fn stub(tls: StubTls) -> VerifyStub {
    let options = StubOptions {
        tls: Some(tls),
        host: Some("localhost".to_owned()),
        ..StubOptions::default()
    };
    VerifyStub::start(options).await.unwrap()
}

/// A runtime configuration beside the certificate authority that it names.
fn runtime_config(folder: &TempDir, authority: &str, entry: &str) -> PathBuf {
    std::fs::write(folder.path().join("ca.pem"), authority).unwrap();
    let path = folder.path().join("runtime-config.toml");
    std::fs::write(&path, format!("[[client_tls]]\n{entry}\n")).unwrap();
    path
}

async fn serve(options: ServeOptions, runtime_config: PathBuf) -> Running {
    let options = ServeOptions {
        runtime_config: Some(runtime_config),
        ..options
    };
    app().serve(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_is_trusted_for_the_components_and_hosts_of_its_entry_alone() {
    let stub = stub(StubTls::default()).await;
    let authority = stub.certificate().unwrap().pem.clone();
    const OURS: &str =
        "component_ids = [\"service-b\"]\nhosts = [\"localhost\"]\nca_roots_file = \"ca.pem\"";
    let table = [
        // Spin gives a middleware what its app has, so the app is named.
        (OURS.to_owned(), 200, ""),
        (
            OURS.replace("service-b", "auth-check"),
            503,
            "issuer_unreachable",
        ),
        (
            OURS.replace("localhost", "127.0.0.1"),
            503,
            "issuer_unreachable",
        ),
        (format!("{OURS}\nca_use_platform_roots = true"), 200, ""),
    ];
    for (entry, status, reason) in table {
        let folder = TempDir::new().unwrap();
        let config = runtime_config(&folder, &authority, &entry);
        let running = serve(support::options(&stub, &[]), config).await;
        let token = stub.issue(TokenSpec::default());
        let reply = exchange(running.address(), &get("/data", bearer(&token)))
            .await
            .unwrap();
        let found = (reply.status, reply.reason());
        assert_eq!(found, (status, reason.to_owned()), "{entry}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc8705_s2_the_certificate_of_an_entry_authenticates_us_at_the_issuer() {
    let stub = stub(StubTls {
        client: Some("service-b".to_owned()),
        ..StubTls::default()
    })
    .await;
    let certificate = stub.certificate().unwrap();
    let own = certificate.client.as_ref().unwrap();
    const TRUSTED: &str =
        "component_ids = [\"service-b\"]\nhosts = [\"localhost\"]\nca_roots_file = \"ca.pem\"";
    let with_certificate = format!(
        "{TRUSTED}\nclient_cert_file = \"client.pem\"\nclient_private_key_file = \"client.key\""
    );
    let stranger = stub.client("service-a").id.clone();
    let tls = ("client_auth", "tls_client_auth");
    let table = [
        (with_certificate.as_str(), vec![tls], 200, ""),
        // A certificate in addition to the secret.
        (&with_certificate, vec![("client_auth", "basic")], 200, ""),
        (
            &with_certificate,
            vec![tls, ("resource_client_id", stranger.as_str())],
            503,
            "issuer_rejected_client",
        ),
        (TRUSTED, vec![tls], 503, "issuer_unreachable"),
    ];
    for (entry, settings, status, reason) in table {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("client.pem"), &own.pem).unwrap();
        std::fs::write(folder.path().join("client.key"), &own.key_pem).unwrap();
        let config = runtime_config(&folder, &certificate.pem, entry);
        let running = serve(support::options(&stub, &settings), config).await;
        let token = stub.issue(TokenSpec::default());
        let reply = exchange(running.address(), &get("/data", bearer(&token)))
            .await
            .unwrap();
        let found = (reply.status, reply.reason());
        assert_eq!(found, (status, reason.to_owned()), "{entry} {settings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_speaks_only_http2_is_called_over_http2() {
    let (address, authority) = http2_issuer().await;
    let folder = TempDir::new().unwrap();
    let entry =
        "component_ids = [\"service-b\"]\nhosts = [\"localhost\"]\nca_roots_file = \"ca.pem\"";
    let config = runtime_config(&folder, &authority, entry);
    let plain = support::stub().await;
    let url = format!("https://localhost:{}/introspect", address.port());
    let options = support::options(&plain, &[("introspect_url", &url)]);
    let running = serve(options, config).await;
    let reply = exchange(running.address(), &get("/data", "Bearer abc"))
        .await
        .unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// Says that every token is good, and hangs up on who does not begin with HTTP/2.
async fn http2_issuer() -> (SocketAddr, String) {
    let names = ["localhost".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.ok()?;
                let server = auto::Builder::new(TokioExecutor::new()).http2_only();
                let service = service_fn(says_active);
                server
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .ok()
            });
        }
    });
    (address, cert.pem())
}

async fn says_active(request: Request<Incoming>) -> http::Result<Response<Full<Bytes>>> {
    assert_eq!(request.version(), Version::HTTP_2);
    let body = r#"{"active":true,"sub":"service-a","client_id":"service-a","exp":4102444800}"#;
    Response::builder()
        .header("content-type", "application/json")
        .body(Full::from(body))
}
