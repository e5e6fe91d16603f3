//! The ways to an issuer that `envoy/recipes` has, each used as its first lines say, with the names
//! and ports of the test.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use envoy_runner::{Envoy, EnvoyOptions, shipped_config};
use programs::repository;
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};
use verify_stub::{
    Endpoint, Provider, SigningAlgorithm, StubClient, StubOptions, StubTls, TokenSpec, VerifyStub,
};

use crate::{
    fixture::{App, Fixture, active, exports, skip_without_envoy},
    proxy::Proxy,
    waiting::until,
    wire::get,
};

/// What the issuer is called outside. No name server knows it.
const PUBLIC_NAME: &str = "auth.shop.example.test";
/// Where envoy.yaml and the recipes look for roots.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

fn read(recipe: &str) -> String {
    let path = repository().join(format!("envoy/recipes/{recipe}.yaml"));
    std::fs::read_to_string(path).unwrap()
}

/// A recipe with these pieces of it edited; each has to be there.
fn edited(recipe: &str, edits: &[(&str, &str)]) -> String {
    let mut text = read(recipe);
    for (from, to) in edits {
        assert!(text.contains(from), "{recipe} has no {from}");
        text = text.replace(from, to);
    }
    text
}

/// As the recipes write one.
fn port(number: u16) -> String {
    format!("port_value: {number} }}")
}

/// An issuer with these names in its certificate, which is the only thing that knows the public
/// name.
async fn issuer(host: &str, tls: Option<StubTls>) -> VerifyStub {
    let stub = VerifyStub::start(StubOptions {
        tls,
        host: Some(host.to_owned()),
        ..StubOptions::default()
    })
    .await
    .unwrap();
    stub.register("good", &active());
    stub
}

fn named(name: &str) -> StubTls {
    StubTls {
        names: vec![name.to_owned()],
        ..StubTls::default()
    }
}

fn root_of(stub: &VerifyStub) -> NamedTempFile {
    let root = NamedTempFile::new().unwrap();
    std::fs::write(root.path(), stub.certificate().unwrap().pem.as_str()).unwrap();
    root
}

/// Envoy as it is shipped, with a recipe, and the issuer's exports with these on top.
async fn fixture(
    stub: VerifyStub,
    settings: &[(&str, &str)],
    overlay: String,
    environment: &[(&str, &str)],
) -> Fixture {
    let app = App::start().await;
    let envoy = Envoy::start(EnvoyOptions {
        settings: exports(&stub, settings),
        upstream: app.address,
        overlay: Some(overlay),
        environment: owned(environment),
        ..EnvoyOptions::default()
    });
    let envoy = envoy.await.unwrap();
    Fixture { stub, app, envoy }
}

fn owned(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// Host and SNI of every request the issuer was sent.
fn addressed(stub: &VerifyStub) -> Vec<(String, Option<String>)> {
    let requests = stub.requests();
    let mut addressed: Vec<_> = requests
        .iter()
        .map(|request| {
            let host = request.headers["host"].to_str().unwrap().to_owned();
            (host, request.server_name.clone())
        })
        .collect();
    addressed.sort();
    addressed.dedup();
    addressed
}

#[tokio::test]
async fn private_ca_the_pem_in_the_environment_is_what_is_trusted() {
    skip_without_envoy!();
    let stranger = issuer("localhost", Some(StubTls::default())).await;
    let stranger = stranger.certificate().unwrap().pem.clone();
    for (own, status) in [(true, 200), (false, 503)] {
        let stub = issuer("localhost", Some(StubTls::default())).await;
        let pem = if own {
            stub.certificate().unwrap().pem.clone()
        } else {
            stranger.clone()
        };
        let fixture = fixture(
            stub,
            &[("issuer_cluster", "issuer_private_ca")],
            read("private-ca"),
            &[("ISSUER_CA_PEM", &pem)],
        )
        .await;
        let answer = get(fixture.address(), "/data", "good").await;
        assert_eq!(answer.status, status, "{answer:?}");
        if !own {
            assert_eq!(answer.reason(), "issuer_unreachable");
            assert_eq!(fixture.stub.counters().introspect, 0);
        }
        fixture.finish().await;
    }
}

#[tokio::test]
async fn private_ca_without_a_pem_envoy_does_not_start() {
    skip_without_envoy!();
    let rows: [(&[(&str, &str)], &str); 2] = [
        (&[], "Environment variable doesn't exist: ISSUER_CA_PEM"),
        (&[("ISSUER_CA_PEM", "")], "DataSource cannot be empty"),
    ];
    for (environment, error) in rows {
        let started = Envoy::start(EnvoyOptions {
            settings: owned(&[
                ("introspect_url", "https://issuer.example/introspect"),
                ("resource_client_id", "b"),
                ("resource_client_secret", "s3cr3t"),
            ]),
            overlay: Some(read("private-ca")),
            environment: owned(environment),
            ..EnvoyOptions::default()
        })
        .await;
        let output = started.err().expect("it starts").to_string();
        assert!(output.contains(error), "{error}: {output}");
    }
}

#[tokio::test]
async fn internal_address_host_and_sni_are_the_public_name() {
    skip_without_envoy!();
    let url = format!("https://{PUBLIC_NAME}/oauth2/introspect");
    for (tls, cluster, shipped, proto, sni) in [
        (
            Some(named(PUBLIC_NAME)),
            "issuer_internal",
            "port_value: 8443 }",
            None,
            Some(PUBLIC_NAME.to_owned()),
        ),
        (
            None,
            "issuer_internal_http",
            "port_value: 8080 }",
            Some("https"),
            None,
        ),
    ] {
        let stub = issuer(PUBLIC_NAME, tls).await;
        let root = stub.certificate().map(|_| root_of(&stub));
        let roots = root
            .as_ref()
            .map_or(SYSTEM_ROOTS, |root| root.path().to_str().unwrap());
        let own = port(stub.address().port());
        let overlay = edited(
            "internal-address",
            &[
                ("keycloak.internal", "localhost"),
                (shipped, &own),
                (SYSTEM_ROOTS, roots),
            ],
        );
        let settings = [
            ("introspect_url", url.as_str()),
            ("issuer_cluster", cluster),
        ];
        let fixture = fixture(stub, &settings, overlay, &[]).await;
        let answer = get(fixture.address(), "/data", "good").await;
        assert_eq!(answer.status, 200, "{cluster}: {answer:?}");
        assert_eq!(
            addressed(&fixture.stub),
            [(PUBLIC_NAME.to_owned(), sni)],
            "{cluster}"
        );
        for request in fixture.stub.requests() {
            let sent = request.headers.get("x-forwarded-proto");
            assert_eq!(sent.map(|sent| sent.to_str().unwrap()), proto, "{cluster}");
        }
        fixture.finish().await;
    }
}

#[tokio::test]
async fn internal_address_a_certificate_for_the_internal_name_is_not_enough() {
    skip_without_envoy!();
    let stub = issuer(PUBLIC_NAME, Some(named("localhost"))).await;
    let root = root_of(&stub);
    let own = port(stub.address().port());
    let overlay = edited(
        "internal-address",
        &[
            ("keycloak.internal", "localhost"),
            ("port_value: 8443 }", &own),
            (SYSTEM_ROOTS, root.path().to_str().unwrap()),
        ],
    );
    let settings = [("issuer_cluster", "issuer_internal")];
    let fixture = fixture(stub, &settings, overlay, &[]).await;
    let answer = get(fixture.address(), "/data", "good").await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (503, "issuer_unreachable")
    );
    assert!(fixture.stub.requests().is_empty());
    fixture.finish().await;
}

/// The folder that `credentials-file.yaml` reads from, and the recipe with it.
fn credentials_file(root: &NamedTempFile) -> (TempDir, String) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().to_str().unwrap();
    let secrets = edited("credentials-file.sds", &[("/etc/envoy/issuer", path)]);
    let file = format!("{path}/secrets.yaml");
    std::fs::write(&file, secrets).unwrap();
    let recipe = edited(
        "credentials-file",
        &[
            (
                "path: envoy/recipes/credentials-file.sds.yaml",
                &format!("path: {file}"),
            ),
            (SYSTEM_ROOTS, root.path().to_str().unwrap()),
        ],
    );
    (directory, recipe)
}

/// Moves a file into place, as the recipe says.
fn replace(directory: &TempDir, text: &str) {
    let new = directory.path().join("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, directory.path().join("authorization")).unwrap();
}

/// The `Authorization` headers of the introspection calls so far.
fn authorizations(stub: &VerifyStub) -> Vec<String> {
    let requests = stub.requests();
    (requests.iter())
        .filter(|request| request.endpoint == Endpoint::Introspect)
        .map(|request| {
            request.headers["authorization"]
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

fn basic(client: &StubClient) -> String {
    let pair = format!("{}:{}", client.id, client.secret);
    format!("Basic {}", STANDARD.encode(pair))
}

#[tokio::test]
async fn f14_credentials_file_a_new_file_rotates_the_secret_without_a_restart_and_nothing_shows_it()
{
    skip_without_envoy!();
    let old = StubClient::new("old");
    // The same client with another secret: while it rotates, the issuer accepts both.
    let new = StubClient::new("new").with_credentials(&old.id, "n3w-s3cret");
    let revoked = StubClient::new("revoked").with_credentials(&old.id, "r3voked-s3cret");
    let stub = VerifyStub::start(StubOptions {
        tls: Some(StubTls::default()),
        host: Some("localhost".to_owned()),
        clients: vec![old.clone(), new.clone()],
        ..StubOptions::default()
    });
    let stub = stub.await.unwrap();
    stub.register("good", &active());
    let root = root_of(&stub);
    let (directory, overlay) = credentials_file(&root);
    replace(&directory, &basic(&old));
    let app = App::start().await;
    let settings = owned(&[
        ("introspect_url", stub.introspect_url()),
        ("resource_client_id", &old.id),
        ("issuer_cluster", "issuer_with_credentials"),
        ("client_auth", "none"),
        ("breaker_faults", "0"),
    ]);
    let envoy = Envoy::start(EnvoyOptions {
        settings,
        upstream: app.address,
        overlay: Some(overlay),
        ..EnvoyOptions::default()
    });
    let envoy = envoy.await.unwrap();
    let fixture = Fixture { stub, app, envoy };
    for (client, status) in [(&old, 200), (&new, 200), (&revoked, 503), (&new, 200)] {
        replace(&directory, &basic(client));
        // Envoy is told of the new file by the system.
        until(async || {
            get(fixture.address(), "/data", "good").await;
            authorizations(&fixture.stub).last() == Some(&basic(client))
        })
        .await;
        let answer = get(fixture.address(), "/data", "good").await;
        assert_eq!(answer.status, status, "{}: {answer:?}", client.name);
        if status == 503 {
            assert_eq!(answer.reason(), "issuer_rejected_client");
        }
        assert_eq!(authorizations(&fixture.stub).last(), Some(&basic(client)));
    }
    let everything = fixture.envoy.config_dump().await.unwrap() + &fixture.envoy.log();
    assert!(everything.contains("issuer_credentials"), "{everything}");
    for client in [&old, &new, &revoked] {
        let encoded = basic(client);
        for secret in [client.secret.as_str(), encoded.split_at(6).1] {
            assert!(!everything.contains(secret), "{}", client.name);
        }
    }
    fixture.finish().await;
}

/// An issuer that also signs tokens.
async fn signing_issuer() -> VerifyStub {
    let stub = VerifyStub::start(StubOptions {
        tls: Some(StubTls::default()),
        host: Some("localhost".to_owned()),
        signing_keys: vec![SigningAlgorithm::Es256],
        ..StubOptions::default()
    });
    stub.await.unwrap()
}

/// What is trusted where two issuers are called.
fn roots_of(stubs: [&VerifyStub; 2]) -> NamedTempFile {
    let roots = NamedTempFile::new().unwrap();
    let pems = stubs.map(|stub| stub.certificate().unwrap().pem.clone());
    std::fs::write(roots.path(), pems.concat()).unwrap();
    roots
}

/// Has `issuer_https` trust these roots.
fn shipped_cluster_trusting(roots: &NamedTempFile) -> (String, Value) {
    let context =
        "/static_resources/clusters/issuer_https/transport_socket/typed_config/common_tls_context";
    let file = json!({ "filename": roots.path() });
    (format!("{context}/validation_context/trusted_ca"), file)
}

#[tokio::test]
async fn f20_credentials_file_keys_of_another_origin_are_fetched_without_the_secret() {
    skip_without_envoy!();
    let (stub, other) = (signing_issuer().await, signing_issuer().await);
    let roots = roots_of([&stub, &other]);
    let (directory, overlay) = credentials_file(&roots);
    let client = stub.client("service-b").clone();
    replace(&directory, &basic(&client));
    let settings = owned(&[
        ("introspect_url", stub.introspect_url()),
        ("resource_client_id", &client.id),
        ("issuer_cluster", "issuer_with_credentials"),
        ("client_auth", "none"),
        ("strategy", "auto"),
        ("jwks_url", &other.urls(Provider::New).jwks),
        ("expected_issuer", stub.issuer()),
        ("expected_aud", "service-b"),
    ]);
    let envoy = Envoy::start(EnvoyOptions {
        settings,
        overlay: Some(overlay),
        overrides: vec![shipped_cluster_trusting(&roots)],
        ..EnvoyOptions::default()
    });
    let envoy = envoy.await.unwrap();
    let spec = || TokenSpec::default().audience(["service-b"]);
    let opaque = stub.issue(spec());
    let jwt = spec().member("iss", stub.issuer());
    let jwt = other.issue(jwt.jwt(SigningAlgorithm::Es256));
    for token in [&jwt, &opaque] {
        let answer = get(envoy.address(), "/data", token).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(authorizations(&stub), [basic(&client)]);
    assert!(other.counters().jwks >= 1);
    for request in other.requests() {
        assert_eq!(request.headers.get("authorization"), None, "{request:?}");
    }
    envoy.stop().await.unwrap();
}

#[tokio::test]
async fn f20_credentials_file_no_issuer_gets_the_secret_of_another_one() {
    skip_without_envoy!();
    let (stub, other) = (signing_issuer().await, signing_issuer().await);
    let roots = roots_of([&stub, &other]);
    let (directory, overlay) = credentials_file(&roots);
    let client = stub.client("service-b").clone();
    replace(&directory, &basic(&client));
    let start = async |strategy: &str, auth: &str| {
        let issuers = json!([
            {
                "issuer": stub.issuer(),
                "strategy": "auto",
                "client_auth": "none",
                "resource_client_id": client.id,
            },
            {
                "issuer": other.issuer(),
                "strategy": strategy,
                "client_auth": auth,
                "resource_client_id": other.client("service-b").id,
                "resource_client_secret": other.client("service-b").secret,
            },
        ]);
        Envoy::start(EnvoyOptions {
            settings: owned(&[
                ("issuers", &issuers.to_string()),
                ("issuer_cluster", "issuer_with_credentials"),
                ("expected_aud", "service-b"),
            ]),
            overlay: Some(overlay.clone()),
            overrides: vec![shipped_cluster_trusting(&roots)],
            ..EnvoyOptions::default()
        })
        .await
    };
    for auth in ["basic", "none"] {
        let started = start("both", auth).await;
        let output = started.err().expect("it starts").to_string();
        let error = "setting `issuer_cluster` (WORKOUT18_ISSUER_CLUSTER) must not be set with issuers at several \
                     origins";
        assert!(output.contains(error), "{output}");
    }
    assert!(other.requests().is_empty());

    let envoy = start("jwt", "basic").await.unwrap();
    let spec = || TokenSpec::default().audience(["service-b"]);
    let opaque = stub.issue(spec());
    let own = stub.issue(spec().jwt(SigningAlgorithm::Es256));
    let of_other = other.issue(spec().jwt(SigningAlgorithm::Es256));
    for token in [&own, &of_other, &opaque] {
        let answer = get(envoy.address(), "/data", token).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(authorizations(&stub), [basic(&client)]);
    let counters = other.counters();
    assert!(counters.discovery >= 1 && counters.jwks >= 1);
    for request in other.requests() {
        assert_eq!(request.headers.get("authorization"), None, "{request:?}");
    }
    envoy.stop().await.unwrap();
}

#[tokio::test]
async fn credentials_file_without_credentials_no_call_is_sent_and_nobody_gets_in() {
    skip_without_envoy!();
    for file in [None, Some("")] {
        let stub = issuer("localhost", Some(StubTls::default())).await;
        let root = root_of(&stub);
        let (directory, overlay) = credentials_file(&root);
        if let Some(text) = file {
            replace(&directory, text);
        }
        let settings = [
            ("issuer_cluster", "issuer_with_credentials"),
            ("client_auth", "none"),
        ];
        let fixture = fixture(stub, &settings, overlay, &[]).await;
        let answer = get(fixture.address(), "/data", "good").await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (503, "issuer_unreachable"),
            "{file:?}"
        );
        assert_eq!(fixture.stub.counters().introspect, 0);
        let stats = fixture.envoy.stats().await.unwrap();
        let failed = "cluster.issuer_with_credentials.credential_injector.failed";
        assert!(stats[failed] > 0, "{file:?}");
        fixture.finish().await;
    }
}

/// An issuer that wants the certificate of service-b on every connection.
async fn issuer_that_wants_a_certificate() -> VerifyStub {
    let tls = StubTls {
        client: Some("service-b".to_owned()),
        ..StubTls::default()
    };
    issuer("localhost", Some(tls)).await
}

#[tokio::test]
async fn rfc8705_s2_client_certificate_envoy_presents_it_and_the_call_says_whose_it_is() {
    skip_without_envoy!();
    let rows = [
        ("tls_client_auth", "service-b", 200, ""),
        (
            "tls_client_auth",
            "service-a",
            503,
            "issuer_rejected_client",
        ),
        ("none", "service-b", 503, "issuer_rejected_client"),
        // In addition to the secret.
        ("basic", "service-b", 200, ""),
    ];
    for (client_auth, client, status, reason) in rows {
        let stub = issuer_that_wants_a_certificate().await;
        let root = root_of(&stub);
        let directory = TempDir::new().unwrap();
        let [certificate, key] =
            ["client.pem", "client.key"].map(|name| directory.path().join(name));
        let own = stub.certificate().unwrap().client.as_ref().unwrap();
        std::fs::write(&certificate, &own.pem).unwrap();
        std::fs::write(&key, &own.key_pem).unwrap();
        let overlay = edited(
            "client-certificate",
            &[
                (SYSTEM_ROOTS, root.path().to_str().unwrap()),
                (
                    "/etc/envoy/issuer/client.pem",
                    certificate.to_str().unwrap(),
                ),
                ("/etc/envoy/issuer/client.key", key.to_str().unwrap()),
            ],
        );
        let id = stub.client(client).id.clone();
        let settings = [
            ("issuer_cluster", "issuer_with_certificate"),
            ("client_auth", client_auth),
            ("resource_client_id", id.as_str()),
        ];
        let fixture = fixture(stub, &settings, overlay, &[]).await;
        let answer = get(fixture.address(), "/data", "good").await;
        assert_eq!(answer.status, status, "{client_auth} {client}: {answer:?}");
        if status == 503 {
            assert_eq!(answer.reason(), reason, "{client_auth} {client}");
        }
        assert_eq!(fixture.stub.counters().introspect, 1);
        fixture.finish().await;
    }
}

#[tokio::test]
async fn rfc8705_s2_without_the_certificate_no_call_reaches_the_issuer() {
    skip_without_envoy!();
    let stub = issuer_that_wants_a_certificate().await;
    let pem = stub.certificate().unwrap().pem.clone();
    let settings = [
        ("issuer_cluster", "issuer_private_ca"),
        ("client_auth", "tls_client_auth"),
    ];
    let environment = [("ISSUER_CA_PEM", pem.as_str())];
    let fixture = fixture(stub, &settings, read("private-ca"), &environment).await;
    let answer = get(fixture.address(), "/data", "good").await;
    let seen = (answer.status, answer.reason());
    assert_eq!(seen, (503, "issuer_unreachable".to_owned()));
    assert_eq!(fixture.stub.counters().introspect, 0);
    fixture.finish().await;
}

/// A recipe for a proxy with this issuer and this proxy in it.
fn by_proxy(recipe: &str, stub: &VerifyStub, root: &NamedTempFile, proxy: &Proxy) -> String {
    let issuer_port = stub.address().port().to_string();
    let proxy_port = port(proxy.address.port());
    let mut edits = vec![
        (SYSTEM_ROOTS, root.path().to_str().unwrap()),
        ("port_value: 3128 }", proxy_port.as_str()),
    ];
    let authority = format!("hostname: {PUBLIC_NAME}:{issuer_port}");
    let own = port(stub.address().port());
    if recipe == "company-proxy" {
        edits.extend([
            (
                "hostname: tenant.verify.ibm.com",
                "hostname: auth.shop.example.test",
            ),
            ("port_value: 443 }", own.as_str()),
            ("10.0.0.1", "127.0.0.1"),
        ]);
    } else {
        edits.extend([
            ("hostname: tenant.verify.ibm.com:443", authority.as_str()),
            ("proxy.example.com", "localhost"),
        ]);
    }
    edited(recipe, &edits)
}

const PROXIES: [(&str, &str); 2] = [
    ("company-proxy", "issuer_by_proxy"),
    ("company-proxy-tunnel", "issuer_by_tunnel"),
];
/// `user:password`
const PASSWORD: (&str, &str) = ("COMPANY_PROXY_BASIC", "dXNlcjpwYXNzd29yZA==");

#[tokio::test]
async fn company_proxy_it_looks_the_issuers_name_up_and_sees_nothing_else() {
    skip_without_envoy!();
    for (recipe, cluster) in PROXIES {
        for http2_only in [false, true] {
            let tls = StubTls {
                http2_only,
                ..named(PUBLIC_NAME)
            };
            let stub = issuer(PUBLIC_NAME, Some(tls)).await;
            let root = root_of(&stub);
            let proxy = Proxy::start().await;
            let overlay = by_proxy(recipe, &stub, &root, &proxy);
            let authority = format!("{PUBLIC_NAME}:{}", stub.address().port());
            let fixture = fixture(stub, &[("issuer_cluster", cluster)], overlay, &[PASSWORD]).await;
            let answer = get(fixture.address(), "/data", "good").await;
            assert_eq!(answer.status, 200, "{recipe}: {answer:?}");
            let mut connect = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}");
            if recipe == "company-proxy-tunnel" {
                connect += &format!("\r\nproxy-authorization: Basic {}", PASSWORD.1);
            }
            let mut introspections = proxy.introspections();
            introspections.dedup();
            assert_eq!(introspections, [connect], "{recipe}");
            assert_eq!(
                addressed(&fixture.stub),
                [(authority, Some(PUBLIC_NAME.to_owned()))],
                "{recipe}"
            );
            fixture.finish().await;
        }
    }
}

#[tokio::test]
async fn company_proxy_one_that_refuses_is_an_issuer_that_cannot_be_reached() {
    skip_without_envoy!();
    for (recipe, cluster) in PROXIES {
        let stub = issuer(PUBLIC_NAME, Some(named(PUBLIC_NAME))).await;
        let root = root_of(&stub);
        let proxy = Proxy::start_refusing("407 Proxy Authentication Required").await;
        let overlay = by_proxy(recipe, &stub, &root, &proxy);
        let fixture = fixture(stub, &[("issuer_cluster", cluster)], overlay, &[PASSWORD]).await;
        let answer = get(fixture.address(), "/data", "good").await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (503, "issuer_unreachable"),
            "{recipe}"
        );
        assert!(!proxy.introspections().is_empty());
        assert!(fixture.stub.requests().is_empty());
        fixture.finish().await;
    }
}

#[tokio::test]
async fn company_proxy_the_variables_of_other_programs_are_not_used() {
    skip_without_envoy!();
    let stub = issuer("localhost", Some(StubTls::default())).await;
    let pem = stub.certificate().unwrap().pem.clone();
    let proxy = Proxy::start().await;
    let url = format!("http://{}", proxy.address);
    let mut environment: Vec<_> = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"]
        .map(|name| (name, url.as_str()))
        .into();
    environment.push(("ISSUER_CA_PEM", &pem));
    let settings = [("issuer_cluster", "issuer_private_ca")];
    let fixture = fixture(stub, &settings, read("private-ca"), &environment).await;
    assert_eq!(get(fixture.address(), "/data", "good").await.status, 200);
    assert_eq!(proxy.introspections(), [""; 0]);
    fixture.finish().await;
}

fn cluster(config: &Value, name: &str) -> Value {
    let clusters = config["static_resources"]["clusters"].as_array().unwrap();
    let found = clusters.iter().find(|cluster| cluster["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}")).clone()
}

#[test]
fn the_clusters_of_the_recipes_have_the_limits_of_the_shipped_one() {
    let shipped = cluster(&shipped_config().unwrap(), "issuer_https");
    let http = "typed_extension_protocol_options";
    let tls = |cluster: &Value| {
        let socket = &cluster["transport_socket"];
        let inner = &socket["typed_config"]["transport_socket"];
        let socket = if inner.is_null() { socket } else { inner };
        let mut context = socket["typed_config"].clone();
        context["common_tls_context"]["validation_context"] = json!(null);
        context
    };
    for (recipe, name) in [
        ("private-ca", "issuer_private_ca"),
        ("internal-address", "issuer_internal"),
        ("internal-address", "issuer_internal_http"),
        PROXIES[0],
        PROXIES[1],
    ] {
        let recipe: Value = serde_saphyr::from_str(&read(recipe)).unwrap();
        let found = cluster(&recipe, name);
        for limit in [
            "connect_timeout",
            "per_connection_buffer_limit_bytes",
            "circuit_breakers",
        ] {
            assert_eq!(found[limit], shipped[limit], "{name}: {limit}");
        }
        if name != "issuer_internal_http" {
            assert_eq!(found[http], shipped[http], "{name}");
            assert_eq!(tls(&found), tls(&shipped), "{name}");
        }
    }
    // Two are the shipped cluster but for what their recipes are about.
    let recipe: Value = serde_saphyr::from_str(&read("credentials-file")).unwrap();
    let mut found = cluster(&recipe, "issuer_with_credentials");
    found["name"] = shipped["name"].clone();
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let options = found[http][options].as_object_mut().unwrap();
    let filters = options.remove("http_filters").unwrap();
    let names: Vec<_> = (filters.as_array().unwrap().iter())
        .map(|filter| filter["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "envoy.filters.http.credential_injector",
            "envoy.filters.http.upstream_codec"
        ]
    );
    assert_eq!(found, shipped);
    let recipe: Value = serde_saphyr::from_str(&read("private-ca")).unwrap();
    let mut found = cluster(&recipe, "issuer_private_ca");
    found["name"] = shipped["name"].clone();
    let context = "/transport_socket/typed_config/common_tls_context/validation_context";
    let context = found.pointer_mut(context).unwrap();
    assert_eq!(
        context.take(),
        json!({ "trusted_ca": { "environment_variable": "ISSUER_CA_PEM" } })
    );
    *context = json!({ "trusted_ca": { "filename": SYSTEM_ROOTS } });
    assert_eq!(found, shipped);
}
