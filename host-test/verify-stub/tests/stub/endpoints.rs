//! The normal behaviour of the endpoints.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use verify_stub::{Provider, StubClient, StubOptions, TokenSpec};

use crate::caller::{
    INACTIVE, basic, basic_of, form, get, introspect, names, post, request, send, start,
};

#[tokio::test]
async fn a_client_gets_a_token_that_introspection_describes_in_both_families() {
    let stub = start(StubOptions::default()).await;
    let client = stub.client("service-a").clone();
    let base = format!("http://{}", stub.address());
    let new = (
        "/oauth2",
        "/oauth2",
        "bearer",
        "active aud client_id exp grant_id grant_type iat iss sub token_type",
        json!([client.id]),
    );
    let old = (
        "/oidc/endpoint/default",
        "/v1.0/endpoint/default",
        "Bearer",
        "active aud client_id entitlements exp ext grant_id grant_type iat iss realmName sub \
         token_type uniqueSecurityName",
        json!(client.id),
    );
    for (provider, (issuer, endpoints, token_type, members, audience)) in
        [(Provider::New, new), (Provider::Old, old)]
    {
        let urls = stub.urls(provider).clone();
        assert_eq!(urls.issuer, format!("{base}{issuer}"));
        assert_eq!(urls.token, format!("{base}{endpoints}/token"));
        let grant = "grant_type=client_credentials";
        let response = post(&stub, &urls.token, &[&basic_of(&client)], grant).await;
        assert_eq!(response.status, 200, "{}", response.body);
        assert!(response.has("cache-control: no-store") && response.has("pragma: no-cache"));
        let issued = response.json();
        assert_eq!(
            names(&issued),
            "access_token expires_in grant_id scope token_type"
        );
        assert_eq!(issued["expires_in"], 7199);
        assert_eq!(issued["scope"], "");
        assert_eq!(issued["token_type"], token_type);
        let token = response.token();
        let parts = token
            .split('.')
            .map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
        let parts: Vec<_> = parts.collect();
        let lengths: Vec<_> = parts.iter().map(Vec::len).collect();
        assert_eq!(lengths, [32, 64, 15]);
        assert!(serde_json::from_slice::<Value>(&parts[0]).is_err());

        let service_b = basic_of(stub.client("service-b"));
        let body = form(&[("token", &token)]);
        let response = post(&stub, &urls.introspect, &[&service_b], &body).await;
        assert_eq!(response.status, 200);
        let document = response.json();
        assert_eq!(names(&document), members);
        assert_eq!(document["active"], true);
        assert_eq!(document["aud"], audience);
        assert_eq!(document["client_id"], json!(client.id));
        assert_eq!(document["sub"], json!(client.id));
        assert_eq!(document["iss"], json!(urls.issuer));
        assert_eq!(document["grant_type"], "client_credentials");
        assert_eq!(document["grant_id"], issued["grant_id"]);
        assert_eq!(document["token_type"], token_type);
        let seconds = |member: &str| document[member].as_i64().unwrap();
        assert_eq!(seconds("exp") - seconds("iat"), 7199);
        assert_eq!(stub.introspections_of(&token), 1);
    }
}

#[tokio::test]
async fn rfc6749_s2_3_1_credentials_are_in_the_header_form_encoded_or_in_the_body() {
    let client = StubClient::new("awkward").with_credentials("id:with %+ä", "s:e c+r&e=t%41ö");
    let stub = start(StubOptions {
        clients: vec![client.clone(), StubClient::new("service-b")],
        ..StubOptions::default()
    })
    .await;
    let grant = ("grant_type", "client_credentials");
    let header = basic_of(&client);
    let bare = form(&[grant]);
    let id = ("client_id", client.id.as_str());
    let posted = form(&[grant, id, ("client_secret", &client.secret)]);
    for (headers, body) in [(vec![header.as_str()], &bare), (vec![], &posted)] {
        let response = post(&stub, stub.token_url(), &headers, body).await;
        assert_eq!(response.status, 200, "{}", response.body);
        let token = response.token();
        let body = format!("{body}&{}", form(&[("token", &token)]));
        let response = post(&stub, stub.introspect_url(), &headers, &body).await;
        assert_eq!(response.json()["active"], true);
        let response = post(&stub, stub.revoke_url(), &headers, &body).await;
        assert_eq!(response.status, 200);
        assert_eq!(introspect(&stub, &token).await.body, INACTIVE);
    }

    let pair = STANDARD.encode(format!("{}:{}", client.id, client.secret));
    let raw = format!("authorization: Basic {pair}");
    let wrong = basic(&client.id, "wrong");
    let unknown = basic("unknown", &client.secret);
    let wrong_post = form(&[grant, id, ("client_secret", "wrong")]);
    for (headers, body) in [
        (vec![raw.as_str()], &bare),
        (vec![wrong.as_str()], &bare),
        (vec![unknown.as_str()], &bare),
        (vec!["authorization: Basic !!!"], &bare),
        (vec!["authorization: Bearer x"], &bare),
        (vec![header.as_str(), header.as_str()], &bare),
        (vec![], &wrong_post),
        (vec![], &bare),
    ] {
        let response = post(&stub, stub.token_url(), &headers, body).await;
        assert_eq!(response.status, 401, "{headers:?} {body}");
        assert_eq!(response.json()["error"], "invalid_client");
        let challenged = response.has(r#"www-authenticate: Basic realm="verify-stub""#);
        assert_eq!(challenged, !headers.is_empty(), "{}", response.head);
        for url in [stub.introspect_url(), stub.revoke_url()] {
            let response = post(&stub, url, &headers, &format!("{body}&token=x")).await;
            assert_eq!(response.status, 401);
            let document = response.json();
            assert_eq!(document["error"], "request_unauthorized");
            let text = document["error_description"].as_str().unwrap();
            assert!(text.starts_with("CSIAQ0155E "), "{text}");
        }
    }
    for url in [stub.token_url(), stub.introspect_url(), stub.revoke_url()] {
        let response = post(&stub, url, &[&header], &posted).await;
        assert_eq!(response.status, 400, "two methods");
        assert_eq!(response.json()["error"], "invalid_request");
    }
}

#[tokio::test]
async fn rfc6749_s4_4_grant_type_and_scope_are_checked() {
    let stub = start(StubOptions::default()).await;
    let basic = basic_of(stub.client("service-a"));
    let grant = ("grant_type", "client_credentials");
    let password = ("grant_type", "password");
    for (parameters, status, member, value) in [
        (&[("scope", "read")][..], 400, "error", "invalid_request"),
        (&[password], 400, "error", "unsupported_grant_type"),
        (&[grant, ("scope", "a b:c")], 200, "scope", "a b:c"),
        (&[grant, ("scope", "a  b")], 400, "error", "invalid_scope"),
        (&[grant, ("scope", "a\"")], 400, "error", "invalid_scope"),
        (&[grant, grant], 400, "error", "invalid_request"),
    ] {
        let response = post(&stub, stub.token_url(), &[&basic], &form(parameters)).await;
        assert_eq!(response.status, status, "{parameters:?}");
        assert_eq!(response.json()[member], value, "{parameters:?}");
    }
}

#[tokio::test]
async fn rfc7662_s2_2_unknown_expired_and_revoked_tokens_are_inactive() {
    let stub = start(StubOptions::default()).await;
    let revoked = stub.issue(TokenSpec::default());
    stub.revoke(&revoked);
    let expired = stub.issue(TokenSpec::default().expires_in(0));
    stub.register("registered", &json!({"active": true}));
    stub.revoke("registered");
    let long = "a".repeat(100_000);
    for token in [&revoked, &expired, "registered", "unknown", "", &long] {
        let response = introspect(&stub, token).await;
        assert_eq!((response.status, response.body.as_str()), (200, INACTIVE));
        assert_eq!(stub.introspections_of(token), 1);
    }
    let basic = basic_of(stub.client("service-b"));
    for body in ["tokens=x", "token=x&token=y"] {
        let response = post(&stub, stub.introspect_url(), &[&basic], body).await;
        assert_eq!(response.status, 400, "{body}");
        assert_eq!(response.json()["error"], "invalid_request", "{body}");
    }
    let headers = [basic.as_str(), "content-type: application/json"];
    let json = request("POST", stub.introspect_url(), &headers, "{}");
    assert_eq!(send(stub.address(), json).await.status, 400);
    let response = get(&stub, stub.introspect_url()).await;
    assert_eq!(response.status, 405);
    assert!(response.has("allow: POST"));
}

#[tokio::test]
async fn rfc7009_a_client_revokes_its_own_tokens_only() {
    let stub = start(StubOptions::default()).await;
    let token = stub.issue(TokenSpec::default().client("service-a"));
    let body = form(&[("token", &token), ("token_type_hint", "access_token")]);
    let [a, b] = ["service-a", "service-b"].map(|name| basic_of(stub.client(name)));
    let response = post(&stub, stub.revoke_url(), &[&b], &body).await;
    assert_eq!(response.status, 400);
    assert_eq!(response.json()["error"], "unauthorized_client");
    assert_eq!(introspect(&stub, &token).await.json()["active"], true);
    for body in [&body, &body, "token=unknown"] {
        let response = post(&stub, stub.revoke_url(), &[&a], body).await;
        assert_eq!((response.status, response.body.as_str()), (200, ""));
        assert_eq!(introspect(&stub, &token).await.body, INACTIVE);
    }
    let response = post(&stub, stub.revoke_url(), &[&a], "").await;
    assert_eq!(response.status, 400);
}

#[tokio::test]
async fn only_own_tokens_makes_the_tokens_of_other_clients_inactive() {
    let stub = start(StubOptions {
        only_own_tokens: true,
        ..StubOptions::default()
    })
    .await;
    for (client, active) in [("service-a", false), ("service-b", true)] {
        let token = stub.issue(TokenSpec::default().client(client));
        assert_eq!(introspect(&stub, &token).await.json()["active"], active);
    }
}

#[tokio::test]
async fn both_kinds_of_metadata_name_the_endpoints_and_the_key_set_is_empty() {
    let stub = start(StubOptions::default()).await;
    for provider in [Provider::New, Provider::Old] {
        let urls = stub.urls(provider);
        let document = get(&stub, &urls.discovery).await.json();
        assert_eq!(get(&stub, &urls.metadata).await.json(), document);
        for (member, expected) in [
            ("issuer", &urls.issuer),
            ("token_endpoint", &urls.token),
            ("introspection_endpoint", &urls.introspect),
            ("revocation_endpoint", &urls.revoke),
            ("jwks_uri", &urls.jwks),
        ] {
            assert_eq!(document[member], json!(expected), "{member}");
        }
        let keys = get(&stub, &urls.jwks).await;
        assert_eq!((keys.status, keys.json()), (200, json!({"keys": []})));
    }
    let base = format!("http://{}", stub.address());
    assert_eq!(
        stub.urls(Provider::Old).metadata,
        format!("{base}/.well-known/oauth-authorization-server/oidc/endpoint/default")
    );
    let counters = stub.counters();
    assert_eq!((counters.discovery, counters.metadata), (2, 2));
}

#[tokio::test]
async fn any_other_url_gets_an_html_page() {
    let stub = start(StubOptions::default()).await;
    let base = format!("http://{}", stub.address());
    for path in [
        "/",
        "/oauth2/introspect/",
        "/OAuth2/introspect",
        "/oidc/endpoint/default/introspect",
        "/.well-known/openid-configuration",
        "/_stub/counters",
    ] {
        let response = post(&stub, &format!("{base}{path}"), &[], "token=x").await;
        assert_eq!(response.status, 404, "{path}");
        assert!(response.has("content-type: text/html;charset=UTF-8"));
        assert!(response.body.starts_with("<!DOCTYPE html>"));
    }
    assert_eq!(stub.counters().other, 6);
    assert_eq!(stub.counters().introspect, 0);
}

#[tokio::test]
async fn a_test_chooses_the_introspection_document() {
    let stub = start(StubOptions::default()).await;
    let spec = TokenSpec::default().client("service-b").scope("read write");
    let spec = spec.audience(["x", "y"]).member("exp", 12);
    let token = stub.issue(spec.member("nbf", Value::Null));
    let document = introspect(&stub, &token).await.json();
    assert_eq!(document["aud"], json!(["x", "y"]));
    assert_eq!(document["scope"], "read write");
    assert_eq!(document["exp"], 12);
    assert_eq!(document.get("nbf"), Some(&Value::Null));
    assert_eq!(document["client_id"], json!(stub.client("service-b").id));
    stub.register("t", &json!({"active": "true"}));
    assert_eq!(introspect(&stub, "t").await.body, r#"{"active":"true"}"#);
}
