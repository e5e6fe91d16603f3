//! What the user sees: exports, Envoy, a call.

use envoy_runner::EnvoyOptions;
use host_test::wire::exchange;
use serde_json::json;
use verify_stub::TokenSpec;

use crate::{
    fixture::{Fixture, skip_without_envoy},
    wire::{bearer, get, head, send},
};

/// The filter's size that Envoy has to load, at most.
const MAX_FILTER_BYTES: u64 = 748 * 1024;

#[tokio::test]
async fn exports_alone_make_data_answer_who_calls_and_refuse_who_may_not() {
    skip_without_envoy!();
    let fixture = Fixture::start(&[]).await;
    let token = fixture.stub.issue(TokenSpec::default());
    // The very first request: the issuer's name is not known to Envoy before.
    let answer = get(fixture.address(), "/data", &token).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let caller = fixture.stub.client("service-a").id.clone();
    assert_eq!(
        answer.json(),
        json!({
            "message": "Service B trusted the token",
            "issuer": fixture.stub.issuer(),
            "subject": caller,
            "aud": [caller],
            "scopes": null,
        })
    );
    assert_eq!(fixture.stub.introspections_of(&token), 1);

    fixture.stub.revoke(&token);
    let answer = get(fixture.address(), "/data", &token).await;
    assert_eq!((answer.status, answer.reason().as_str()), (401, "inactive"));
    assert_eq!(
        answer.header("www-authenticate"),
        [
            r#"Bearer realm="service-b", error="invalid_token", error_description="The issuer says that the access token is not active.""#
        ]
    );
    let answer = send(fixture.address(), &head("GET", "/data", b"")).await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (401, "no_credentials")
    );
    assert_eq!(
        answer.header("www-authenticate"),
        [r#"Bearer realm="service-b""#]
    );
    assert!(fixture.app.seen().is_empty());
    fixture.finish().await;
}

#[tokio::test]
async fn the_app_gets_who_calls_in_headers_of_ours_only_and_no_token() {
    skip_without_envoy!();
    let fixture = Fixture::start_with_app(&[]).await;
    fixture.active("good");
    let mut extra = bearer("good");
    for forged in [
        "x-auth-subject: evil",
        "X-Auth-Subject: evil",
        "x-auth-client-id: evil",
        "X-AUTH-ISSUER: evil",
        "x.auth.scope: evil",
        "x-auth.claims: evil",
        "x-auth-claims: evil",
        "x-auth-user: mine",
    ] {
        extra.extend_from_slice(format!("{forged}\r\n").as_bytes());
    }
    let answer = send(fixture.address(), &head("GET", "/data?x=1", &extra)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let [seen] = &fixture.app.seen()[..] else {
        panic!("one request");
    };
    assert_eq!(seen.path, "/data?x=1");
    let expected = [
        ("x-auth-subject", "caller"),
        ("x-auth-client-id", "caller"),
        ("x-auth-issuer", "https://issuer.example"),
        ("x-auth-scope", "read"),
        ("x-auth-user", "mine"),
    ];
    for (name, value) in expected {
        assert_eq!(seen.values(name), [value], "{name}");
    }
    assert_eq!(seen.values("x-auth-claims").len(), 1);
    assert!(seen.values("authorization").is_empty());
    assert!(
        !seen.headers.iter().any(|(_, value)| value == "evil"),
        "{seen:?}"
    );

    // A name with an underscore is the same header to many servers: Envoy refuses it.
    for forged in ["x_auth_subject: evil", "X_Auth-Subject: evil"] {
        let mut extra = bearer("good");
        extra.extend_from_slice(format!("{forged}\r\n").as_bytes());
        let answer = send(fixture.address(), &head("GET", "/data", &extra)).await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    // Named in Connection, our headers would be taken off on the way; a server does not get to see
    // such a request.
    for named in ["x-auth-subject", "x-auth-claims"] {
        let mut extra = bearer("good");
        extra.extend_from_slice(format!("connection: {named}\r\n").as_bytes());
        let answer = send(fixture.address(), &head("GET", "/named", &extra)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = fixture.app.seen();
        let seen = seen.last().unwrap();
        assert_eq!(
            (seen.path.as_str(), seen.values(named).len()),
            ("/named", 1)
        );
    }
    fixture.finish().await;
}

#[tokio::test]
async fn the_token_is_forwarded_only_with_forward_token() {
    skip_without_envoy!();
    let fixture = Fixture::start_with_app(&[("forward_token", "true")]).await;
    fixture.active("good");
    assert_eq!(get(fixture.address(), "/", "good").await.status, 200);
    let seen = fixture.app.seen();
    assert_eq!(seen[0].values("authorization"), ["Bearer good"]);
    fixture.finish().await;
}

#[tokio::test]
async fn the_path_that_the_filter_answers_itself_takes_get_and_head_and_has_no_other_spelling() {
    skip_without_envoy!();
    let fixture = Fixture::start(&[]).await;
    fixture.active("good");
    for path in ["/data", "/data?x=1", "/x/../data", "//data"] {
        let answer = get(fixture.address(), path, "good").await;
        assert_eq!(
            answer.json()["message"],
            "Service B trusted the token",
            "{path}"
        );
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let extra = [bearer("good"), b"content-length: 0\r\n".to_vec()].concat();
        let answer = send(fixture.address(), &head(method, "/data", &extra)).await;
        assert_eq!(answer.status, 405, "{method}: {answer:?}");
        assert_eq!(answer.header("allow"), ["GET, HEAD"]);
    }
    assert!(fixture.app.seen().is_empty());
    for path in ["/data/", "/dataset", "/", "/x?y=/data"] {
        assert_eq!(
            get(fixture.address(), path, "good").await.text(),
            "0 bytes",
            "{path}"
        );
    }
    assert_eq!(fixture.app.seen().len(), 4);
    for path in ["/data%2f", "/x%2fdata", "/x%5cdata"] {
        let answer = get(fixture.address(), path, "good").await;
        assert_eq!(answer.status, 400, "{path}: {answer:?}");
    }
    assert_eq!(fixture.app.seen().len(), 4);
    fixture.finish().await;
}

#[tokio::test]
async fn rfc9110_s9_3_2_head_gets_the_status_and_the_fields_of_get_and_no_body() {
    skip_without_envoy!();
    let fixture = Fixture::start(&[]).await;
    fixture.active("good");
    for (token, status) in [("good", 200), ("bad", 401)] {
        let answer = async |method| {
            let close = [&bearer(token)[..], b"connection: close\r\n"].concat();
            let request = head(method, "/data", &close);
            let mut answer = exchange(fixture.address(), &request).await.unwrap();
            answer.headers.retain(|(name, _)| name != "date");
            answer
        };
        let (get, head) = (answer("GET").await, answer("HEAD").await);
        assert_eq!((get.status, head.status), (status, status));
        assert_eq!(head.headers, get.headers);
        assert_eq!(head.header("content-length"), [get.body.len().to_string()]);
        assert!(head.body.is_empty());
    }
    fixture.finish().await;
}

#[tokio::test]
async fn the_first_request_succeeds_and_so_does_the_first_after_the_name_was_forgotten() {
    skip_without_envoy!();
    let dns = "/static_resources/clusters/issuer_http/cluster_type/typed_config/dns_cache_config";
    let tls = dns.replace("issuer_http", "issuer_https");
    let name_lives = |options: &mut EnvoyOptions, seconds: &str| {
        for cache in [dns, &tls] {
            let settings = json!({
                "name": "issuer",
                "dns_lookup_family": "V4_PREFERRED",
                "host_ttl": seconds,
                "dns_refresh_rate": "1s",
                "dns_min_refresh_rate": "1s",
            });
            options.overrides.push((cache.to_owned(), settings));
        }
    };
    let fixture = Fixture::start_with(&[], |options, stub| {
        let url = stub.introspect_url().replace("127.0.0.1", "localhost");
        options.settings.insert("introspect_url".to_owned(), url);
        name_lives(options, "1s");
    })
    .await;
    fixture.active("good");
    assert_eq!(get(fixture.address(), "/data", "good").await.status, 200);
    let removed = async || {
        let stats = fixture.envoy.stats().await.unwrap();
        stats["dns_cache.issuer.host_removed"]
    };
    let until = std::time::Instant::now() + crate::wire::PATIENCE;
    while removed().await == 0 {
        assert!(std::time::Instant::now() < until, "the name stays known");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let answer = get(fixture.address(), "/data", "good").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    fixture.finish().await;
}

#[test]
fn the_filter_is_small() {
    programs::Guest::EnvoyFilter.build().unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let file = root.join("target/wasm32-wasip1/release/envoy_filter.wasm");
    let bytes = std::fs::metadata(file).unwrap().len();
    assert!(bytes <= MAX_FILTER_BYTES, "{bytes} bytes");
}
