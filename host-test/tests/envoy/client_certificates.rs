//! Tokens bound to the certificate of the caller's connection (RFC 8705 section 3), in a listener that
//! terminates TLS.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    fixture::{Fixture, skip_without_envoy},
    wire::PATIENCE,
};

const LISTENER: &str = "/static_resources/listeners/service_b/filter_chains/0/transport_socket";

fn certificate() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["service-b.test".to_owned()]).unwrap()
}

/// Status and reason of `GET /data` with the token over TLS, with this client certificate.
async fn get(
    fixture: &Fixture,
    server: &CertificateDer<'static>,
    client: Option<&CertifiedKey<KeyPair>>,
    header: &str,
) -> (u16, String) {
    let mut roots = RootCertStore::empty();
    roots.add(server.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        None => config.with_no_client_auth(),
        Some(client) => {
            let key = PrivatePkcs8KeyDer::from(client.signing_key.serialize_der());
            let chain = vec![client.cert.der().clone()];
            config
                .with_client_auth_cert(chain, PrivateKeyDer::Pkcs8(key))
                .unwrap()
        }
    };
    let stream = TcpStream::connect(fixture.address()).await.unwrap();
    let name = ServerName::try_from("service-b.test").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await.unwrap();
    let request = format!(
        "GET /data HTTP/1.1\r\nhost: service-b.test\r\nauthorization: Bearer bound\r\nconnection: close\r\n{header}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    // Envoy may end the connection without the alert that TLS expects.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut reply))
        .await
        .unwrap();
    let reply = String::from_utf8(reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let reason = body["reason"].as_str().unwrap_or_default();
    (status, reason.to_owned())
}

#[tokio::test]
async fn j9_the_certificate_of_the_connection_is_needed_and_no_header_makes_up_for_it() {
    skip_without_envoy!();
    let (server, client, other) = (certificate(), certificate(), certificate());
    let sha256 = Sha256::digest(client.cert.der());
    let settings = [("certificate_binding", "connection"), ("cache_ttl", "60")];
    let fixture = Fixture::start_with(&settings, |options, _| {
        let socket = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "tls_certificates": [{
                        "certificate_chain": { "inline_string": server.cert.pem() },
                        "private_key": { "inline_string": server.signing_key.serialize_pem() },
                    }],
                    "validation_context": {
                        "trusted_ca": { "inline_string": client.cert.pem() },
                        // RFC 8705 section 2.2: clients may sign their certificates themselves.
                        "trust_chain_verification": "ACCEPT_UNTRUSTED",
                    },
                },
            },
        });
        options.overrides.push((LISTENER.to_owned(), socket));
    })
    .await;
    let mut document = crate::fixture::active();
    document["cnf"] = json!({ "x5t#S256": URL_SAFE_NO_PAD.encode(sha256) });
    fixture.stub.register("bound", &document);

    let hex: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let forged = format!("x-forwarded-client-cert: Hash={hex}\r\n");
    let missing = (401, "client_certificate_missing".to_owned());
    let mismatch = (401, "client_certificate_mismatch".to_owned());
    let granted = (200, String::new());
    for (client, header, expected) in [
        (None, "", &missing),
        (Some(&other), "", &mismatch),
        (Some(&client), "", &granted),
        (None, forged.as_str(), &missing),
        (Some(&other), &forged, &mismatch),
        (Some(&client), "", &granted),
    ] {
        let answer = get(&fixture, server.cert.der(), client, header).await;
        assert_eq!(answer, *expected, "{header:?}");
    }
    fixture.finish().await;
}
