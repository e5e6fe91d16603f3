//! What real issuers do, as users reported it in public. Each name begins with the number of its
//! report.

use serde_json::json;

use crate::fixture::{
    Finished, SECRET, TemporaryFile, World, granted, json_body, received, run, serve, service_a,
    token_response,
};

/// kubernetes-sigs/aws-load-balancer-controller#3936: `echo` made the Kubernetes Secret.
#[tokio::test]
async fn case_14_a_line_end_in_the_id_and_a_bom_in_the_secret_file_are_named() {
    let world = World::working().await;
    let file = TemporaryFile::new("case-14", &format!("\u{feff}{SECRET}\n"));
    let mut command = world.service_a(&["--secret-file", file.path()]);
    command.env("WORKOUT18_CLIENT_ID", "svc\n");
    let errors = [
        "WORKOUT18_CLIENT_ID (--client-id) has a line feed in it, which `echo` adds and `printf %s` does not: remove what does not belong to it",
        "WORKOUT18_SECRET_FILE (--secret-file) has a byte order mark (U+FEFF) in it: remove what does not belong to it",
    ];
    assert_eq!(run(command).await, Finished::wrong_settings(&errors));
    assert_eq!(received(&world.issuer).await.len(), 0);
}

/// DuendeArchive/Support#1413.
#[tokio::test]
async fn case_31_apigees_bearertoken_is_a_bearer_token() {
    let body = json!({
        "token_type": "BearerToken",
        "access_token": "ok~apigee-0123456789",
        "expires_in": "3599",
        "issued_at": "1",
        "status": "approved",
    });
    let world = World::with_token_response(json_body(200, body)).await;
    world.serve_call(granted()).await;
    let finished = run(world.service_a(&["--json"])).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stdout);
    assert_eq!(finished.json()["token"], "ok~apige…456789");
    assert_eq!(finished.json()["expires_in"], 3599);
    let call = world.calls().await.remove(0);
    assert_eq!(call.headers["authorization"], "Bearer ok~apigee-0123456789");
}

/// freizl/hoauth2#215.
#[tokio::test]
async fn case_32_oktas_own_refusal_is_shown_with_the_advice_for_its_code() {
    let text = "Client credentials should not be passed in the Authorization header.";
    let body = json!({
        "errorCode": "invalid_client",
        "errorSummary": text,
        "errorLink": "invalid_client",
        "errorId": "oae1",
        "errorCauses": [],
    });
    let world = World::with_token_response(json_body(401, body)).await;
    let mut command = world.service_a(&[]);
    command.env("WORKOUT18_CLIENT_SECRET", "unchanged-by-encoding");
    let expected = format!(
        "\
Error: the issuer gave no access token
  url: {}
  status: 401 Unauthorized
  reason: invalid_client
  error: invalid_client
  description: {text}
  next: Check WORKOUT18_CLIENT_ID and the client secret: the issuer rejects this pair; if it expects them in the body, add --client-auth post.
",
        world.token_url()
    );
    assert_eq!(run(command).await, Finished::failed(4, expected));
}

/// Serves metadata that names another issuer.
async fn serve_metadata_of(world: &World, path: &str, issuer: &str, endpoint: &str) {
    let metadata = json!({"issuer": issuer, "token_endpoint": endpoint});
    let path = format!("{path}/.well-known/openid-configuration");
    serve(&world.issuer, "GET", &path, json_body(200, metadata)).await;
}

/// The error for metadata that names another issuer.
fn wrong_issuer(issuer: &str, named: &str, next: &str) -> Finished {
    let expected = format!(
        "\
Error: the issuer gave no access token
  url: {issuer}/.well-known/openid-configuration
  reason: wrong_issuer
  description: the issuer calls itself {named}
  next: {next}
"
    );
    Finished::failed(4, expected)
}

/// coreos/go-oidc#240: the metadata of each Oracle IDCS names the same issuer, which has none.
#[tokio::test]
async fn case_35_advice_for_idcs_names_token_url_and_that_works() {
    let world = World::empty().await;
    let issuer = format!("{}/idcs", world.issuer.uri());
    let endpoint = format!("{issuer}/oauth2/v1/token");
    let named = "https://identity.oraclecloud.example.test/";
    serve_metadata_of(&world, "/idcs", named, &endpoint).await;
    let response = token_response("idcs-token-0123456789");
    serve(&world.issuer, "POST", "/idcs/oauth2/v1/token", response).await;
    let next = "If you trust the issuer that the description names, set WORKOUT18_ISSUER (--issuer) to exactly that; or set the token endpoint itself, WORKOUT18_TOKEN_URL (--token-url).";
    let finished = run(world.service_a(&["--issuer", &issuer])).await;
    assert_eq!(finished, wrong_issuer(&issuer, named, next));
    let finished = run(world.service_a(&["--token-only", "--token-url", &endpoint])).await;
    assert_eq!(finished, Finished::ok("idcs-token-0123456789\n"));
}

/// coreos/go-oidc#121: Microsoft Entra's `common` and `organizations`.
#[tokio::test]
async fn case_36_advice_for_entra_is_to_put_the_tenants_id_in() {
    let world = World::empty().await;
    let issuer = format!("{}/common/v2.0", world.issuer.uri());
    let named = "https://login.entra.example.test/{tenantid}/v2.0";
    let endpoint = format!("{}/t", world.issuer.uri());
    serve_metadata_of(&world, "/common/v2.0", named, &endpoint).await;
    let next = "Put your tenant's id into WORKOUT18_ISSUER (--issuer), where the description has {tenantid}: `common` and `organizations` are not tenants.";
    let finished = run(world.service_a(&["--issuer", &issuer])).await;
    assert_eq!(finished, wrong_issuer(&issuer, named, next));
}

/// keycloak/keycloak#21820. Only a compose network resolves the name, so a proxy serves it here.
#[tokio::test]
async fn case_37_an_http_issuer_of_a_compose_network_needs_allow_http() {
    let world = World::empty().await;
    let issuer = "http://keycloak:8080/realms/shop";
    let endpoint = format!("{issuer}/protocol/openid-connect/token");
    serve_metadata_of(&world, "/realms/shop", issuer, &endpoint).await;
    let path = "/realms/shop/protocol/openid-connect/token";
    let response = token_response("keycloak-token-0123456789");
    serve(&world.issuer, "POST", path, response).await;
    let proxied = |arguments: &[&str]| {
        let mut command = service_a(issuer, arguments);
        command.env("http_proxy", world.issuer.uri());
        command
    };
    let error = "WORKOUT18_ISSUER (--issuer) is plain http to another machine, which exposes the secret to the network: use https, or add --allow-http (WORKOUT18_ALLOW_HTTP=true) on a network that nobody else uses";
    let finished = run(proxied(&["--token-only"])).await;
    assert_eq!(finished, Finished::wrong_settings(&[error]));
    assert_eq!(received(&world.issuer).await.len(), 0);

    let granted = Finished::ok("keycloak-token-0123456789\n");
    let finished = run(proxied(&["--token-only", "--allow-http"])).await;
    assert_eq!(finished, granted);
    let mut by_variable = proxied(&["--token-only"]);
    by_variable.env("WORKOUT18_ALLOW_HTTP", "true");
    assert_eq!(run(by_variable).await, granted);
}
