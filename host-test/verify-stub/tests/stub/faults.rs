//! Scripted faults.

use std::{
    io,
    time::{Duration, Instant},
};

use http::{HeaderValue, StatusCode};
use verify_stub::{Endpoint, Provider, Reaction, StubOptions, StubResponse, TokenSpec};

use crate::caller::{
    INACTIVE, Response, form, get, introspect, introspection, post, send_bytes, start,
};

#[tokio::test]
async fn a_script_is_followed_call_by_call_and_its_last_reaction_repeats() {
    let stub = start(StubOptions::default()).await;
    let token = stub.issue(TokenSpec::default());
    let script = vec![
        StubResponse::new(StatusCode::SERVICE_UNAVAILABLE).into(),
        Reaction::normal(),
        StubResponse::too_many_requests(7).into(),
    ];
    stub.script(&token, script);
    for expected in [503, 200, 429, 429] {
        assert_eq!(introspect(&stub, &token).await.status, expected);
    }
    assert!(introspect(&stub, &token).await.has("retry-after: 7"));
    let other = stub.issue(TokenSpec::default());
    assert_eq!(introspect(&stub, &other).await.status, 200);

    let refuse = vec![StubResponse::request_unauthorized().into()];
    stub.script_endpoint(Endpoint::Introspect, refuse);
    assert_eq!(introspect(&stub, &other).await.status, 401);
    let status = introspect(&stub, &token).await.status;
    assert_eq!(status, 429, "the token's script takes precedence");
    stub.script(&token, vec![]);
    assert_eq!(introspect(&stub, &token).await.status, 401);
    stub.clear_scripts();
    assert_eq!(introspect(&stub, &token).await.json()["active"], true);
    assert_eq!(stub.introspections_of(&token), 8);

    for (endpoint, url) in [
        (Endpoint::Token, stub.token_url()),
        (Endpoint::Revoke, stub.revoke_url()),
        (Endpoint::Discovery, &stub.urls(Provider::Old).discovery),
        (Endpoint::Jwks, &stub.urls(Provider::New).jwks),
    ] {
        stub.script_endpoint(endpoint, vec![StubResponse::unknown_url().into()]);
        assert_eq!(get(&stub, url).await.status, 404, "{endpoint}");
    }
}

#[tokio::test]
async fn every_reaction_does_what_it_says() {
    let stub = start(StubOptions::default()).await;
    let token = stub.issue(TokenSpec::default());
    let raw = async |reaction: Reaction| {
        stub.script(&token, vec![reaction]);
        send_bytes(stub.address(), introspection(&stub, &token)).await
    };
    let response = async |reaction: Reaction| Response::parse(raw(reaction).await.unwrap());

    assert_eq!(raw(Reaction::drop_connection()).await.unwrap(), b"");
    let error = raw(Reaction::reset()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let waited = tokio::time::timeout(Duration::from_millis(300), raw(Reaction::hang())).await;
    assert!(waited.is_err(), "it responded");

    let began = Instant::now();
    let delayed = response(Reaction::normal().after(Duration::from_millis(300))).await;
    assert_eq!(delayed.json()["active"], true);
    assert!(began.elapsed() >= Duration::from_millis(300));

    let cut = response(Reaction::cut(None, 5)).await;
    assert_eq!((cut.status, cut.body.as_str()), (200, r#"{"act"#));
    for (after, body) in [(3, "012"), (0, "")] {
        let cut = response(Reaction::cut(StubResponse::document("0123456789"), after)).await;
        assert!(cut.has("content-length: 10"), "{}", cut.head);
        assert_eq!(cut.body, body);
    }

    let every = Duration::from_millis(30);
    let began = Instant::now();
    let dripped = response(Reaction::drip(StubResponse::inactive(), every)).await;
    assert_eq!(dripped.body, INACTIVE);
    assert!(began.elapsed() >= every * 16, "16 bytes");

    let huge = response(Reaction::huge(100_001)).await;
    assert!(huge.has("transfer-encoding: chunked") && huge.has("content-type: application/json"));
    assert_eq!(huge.body.matches(' ').count(), 100_001);

    let bytes = &b"\xff\xfeSMTP\r\n"[..];
    assert_eq!(raw(Reaction::raw(bytes)).await.unwrap(), bytes);
    let began = Instant::now();
    let dripped = raw(Reaction::raw_drip("HTTP/1.1 2", every)).await.unwrap();
    assert_eq!(dripped, b"HTTP/1.1 2");
    assert!(began.elapsed() >= every * 10, "10 bytes");

    let location = HeaderValue::from_static("http://127.0.0.1:1/");
    let redirect = StubResponse::redirect(StatusCode::TEMPORARY_REDIRECT, location);
    let redirect = response(redirect.into()).await;
    assert_eq!(redirect.status, 307);
    assert!(redirect.has("location: http://127.0.0.1:1/"));
    let html = response(StubResponse::text(StatusCode::OK, "text/html", "<p>").into()).await;
    assert!(html.has("content-type: text/html"));
}

#[test]
fn reactions_are_parsed_as_the_help_says() {
    let valid = "normal delay:3 status:500 refuse no-keys page redirect:http://x/ busy:3 drop reset hang \
                 cut:3 drip:3 huge:3 raw:text";
    for reaction in valid.split(' ') {
        let parsed = reaction.parse::<Reaction>();
        assert!(parsed.is_ok(), "{reaction}: {parsed:?}");
    }
    let invalid = ";Normal;delay;delay:x;status:100;status:600;status:99999;hang:1;cut:-1;\
                   redirect:a\nb;explode";
    for reaction in invalid.split(';') {
        assert!(reaction.parse::<Reaction>().is_err(), "{reaction}");
    }
}

#[tokio::test]
async fn the_control_endpoint_scripts_faults_by_hand() {
    let stub = start(StubOptions {
        control: true,
        ..StubOptions::default()
    })
    .await;
    let base = format!("http://{}/_stub", stub.address());
    let script = format!("{base}/script");
    let token = stub.issue(TokenSpec::default());
    let two = "endpoint=introspect&do=status:500&do=normal";
    let response = post(&stub, &script, &[], two).await;
    assert_eq!(
        (response.status, response.body.as_str()),
        (200, "scripted\n")
    );
    assert_eq!(introspect(&stub, &token).await.status, 500);
    assert_eq!(introspect(&stub, &token).await.status, 200);
    let by_token = form(&[("token", &token), ("do", "refuse")]);
    assert_eq!(post(&stub, &script, &[], &by_token).await.status, 200);
    assert_eq!(introspect(&stub, &token).await.status, 401);
    let cleared = post(&stub, &format!("{base}/clear"), &[], "").await;
    assert_eq!(cleared.status, 200);
    assert_eq!(introspect(&stub, &token).await.status, 200);

    let which = "set either endpoint or token to select the calls\n";
    for (wrong, text) in [
        ("", which),
        ("endpoint=token&token=x", which),
        (
            "endpoint=x",
            "no such endpoint: choose one of token, introspect, revoke, discovery, metadata, jwks, other\n",
        ),
        (
            "endpoint=token&do=cut",
            "cut needs a number, as in cut:100\n",
        ),
        (
            "endpoint=token&to=cut",
            "unknown parameter: the parameters are endpoint, token and do\n",
        ),
    ] {
        let response = post(&stub, &script, &[], wrong).await;
        assert_eq!((response.status, response.body.as_str()), (400, text));
    }
    assert_eq!(get(&stub, &script).await.status, 405);
    assert_eq!(get(&stub, &format!("{base}/x")).await.status, 404);
    let counters = get(&stub, &format!("{base}/counters")).await.json();
    assert_eq!(counters["introspect"], 4);
    assert_eq!(counters["connections_open"], 1);
}
