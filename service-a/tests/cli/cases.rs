//! What real issuers do, each as it was reported in public: the name begins with the number of the report's file.

use serde_json::json;
use wiremock::{
    Mock, ResponseTemplate,
    matchers::{method, path},
};

use crate::{
    secrets::SecretFile,
    world::{CLIENT_ID, Ended, SECRET, World, bare, granted, received, run, token_answer},
};

fn failed(code: i32, stderr: String) -> Ended {
    Ended {
        code: Some(code),
        stdout: String::new(),
        stderr,
    }
}

/// kubernetes-sigs/aws-load-balancer-controller#3936: `echo` made the Kubernetes Secret.
#[tokio::test]
async fn case_14_a_line_end_in_the_id_and_a_bom_in_the_secret_file_are_named() {
    let world = World::sound().await;
    let file = SecretFile::new("case-14", &format!("\u{feff}{SECRET}\n"));
    let mut command = world.service_a(&["--secret-file", file.path()]);
    command.env("WORKOUT18_CLIENT_ID", "svc\n");
    let expected = "\
Error: WORKOUT18_CLIENT_ID (--client-id) has a line feed in it, which `echo` adds and `printf %s` does not: remove what does not belong to it
Error: WORKOUT18_SECRET_FILE (--secret-file) has a byte order mark (U+FEFF) in it: remove what does not belong to it
Run service-a --help for all settings.
";
    assert_eq!(run(command).await, failed(2, expected.to_owned()));
    assert_eq!(received(&world.issuer).await.len(), 0);
}

/// DuendeArchive/Support#1413.
#[tokio::test]
async fn case_31_apigees_bearertoken_is_a_bearer_token() {
    let world = World::empty().await;
    world.discovery().await;
    let body = json!({
        "token_type": "BearerToken",
        "access_token": "ok~apigee-0123456789",
        "expires_in": "3599",
        "issued_at": "1",
        "status": "approved",
    });
    world
        .answer_token(ResponseTemplate::new(200).set_body_json(body))
        .await;
    world.answer_call(granted()).await;
    let ended = run(world.service_a(&["--json"])).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert_eq!(ended.json()["token"], "ok~apige…456789");
    assert_eq!(ended.json()["expires_in"], 3599);
    let call = world.calls().await.remove(0);
    assert_eq!(call.headers["authorization"], "Bearer ok~apigee-0123456789");
}

/// freizl/hoauth2#215.
#[tokio::test]
async fn case_32_oktas_own_refusal_is_shown_with_the_advice_for_its_code() {
    let world = World::empty().await;
    world.discovery().await;
    let body = json!({
        "errorCode": "invalid_client",
        "errorSummary": "Client credentials should not be passed in the Authorization header.",
        "errorLink": "invalid_client",
        "errorId": "oae1",
        "errorCauses": [],
    });
    world
        .answer_token(ResponseTemplate::new(401).set_body_json(body))
        .await;
    let mut command = world.service_a(&[]);
    command.env("WORKOUT18_CLIENT_SECRET", "unchanged-by-encoding");
    let expected = format!(
        "\
Error: the issuer gave no access token
  url: {}
  status: 401 Unauthorized
  reason: invalid_client
  error: invalid_client
  description: Client credentials should not be passed in the Authorization header.
  next: Check WORKOUT18_CLIENT_ID and the client secret: the issuer does not know this pair; if it wants them in the body, add --client-auth post.
",
        world.token_url()
    );
    assert_eq!(run(command).await, failed(4, expected));
}

/// coreos/go-oidc#240: the metadata of each Oracle IDCS names the same issuer, which has none of its own.
#[tokio::test]
async fn case_35_advice_for_idcs_names_token_url_and_that_works() {
    let world = World::empty().await;
    let issuer = format!("{}/idcs", world.issuer.uri());
    let endpoint = format!("{issuer}/oauth2/v1/token");
    let metadata = json!({
        "issuer": "https://identity.oraclecloud.example.test/",
        "token_endpoint": endpoint,
    });
    Mock::given(method("GET"))
        .and(path("/idcs/.well-known/openid-configuration"))
        .respond_with(ResponseTemplate::new(200).set_body_json(metadata))
        .mount(&world.issuer)
        .await;
    Mock::given(method("POST"))
        .and(path("/idcs/oauth2/v1/token"))
        .respond_with(token_answer("idcs-token-0123456789"))
        .mount(&world.issuer)
        .await;
    let expected = format!(
        "\
Error: the issuer gave no access token
  url: {issuer}/.well-known/openid-configuration
  reason: wrong_issuer
  description: the issuer calls itself https://identity.oraclecloud.example.test/
  next: Set WORKOUT18_ISSUER (--issuer) to exactly the issuer that the description names, if that is the one you trust; or name the token endpoint itself, WORKOUT18_TOKEN_URL (--token-url).
"
    );
    let ended = run(world.service_a(&["--issuer", &issuer])).await;
    assert_eq!(ended, failed(4, expected));
    let ended = run(world.service_a(&["--token-only", "--token-url", &endpoint])).await;
    assert_eq!(ended.stdout, "idcs-token-0123456789\n");
    assert_eq!(ended.code, Some(0));
}

/// coreos/go-oidc#121: Microsoft Entra's `common` and `organizations`.
#[tokio::test]
async fn case_36_advice_for_entra_is_to_put_the_tenants_id_in() {
    let world = World::empty().await;
    let issuer = format!("{}/common/v2.0", world.issuer.uri());
    let metadata = json!({
        "issuer": "https://login.entra.example.test/{tenantid}/v2.0",
        "token_endpoint": format!("{}/t", world.issuer.uri()),
    });
    Mock::given(method("GET"))
        .and(path("/common/v2.0/.well-known/openid-configuration"))
        .respond_with(ResponseTemplate::new(200).set_body_json(metadata))
        .mount(&world.issuer)
        .await;
    let expected = format!(
        "\
Error: the issuer gave no access token
  url: {issuer}/.well-known/openid-configuration
  reason: wrong_issuer
  description: the issuer calls itself https://login.entra.example.test/{{tenantid}}/v2.0
  next: Put your tenant's id into WORKOUT18_ISSUER (--issuer), where the description has {{tenantid}}: `common` and `organizations` are no tenant.
"
    );
    let ended = run(world.service_a(&["--issuer", &issuer])).await;
    assert_eq!(ended, failed(4, expected));
}

/// keycloak/keycloak#21820. The name is reached through a proxy here, as only a compose network knows it.
#[tokio::test]
async fn case_37_an_http_issuer_of_a_compose_network_needs_allow_http() {
    let world = World::empty().await;
    let issuer = "http://keycloak:8080/realms/shop";
    let metadata = json!({
        "issuer": issuer,
        "token_endpoint": "http://keycloak:8080/realms/shop/protocol/openid-connect/token",
    });
    Mock::given(method("GET"))
        .and(path("/realms/shop/.well-known/openid-configuration"))
        .respond_with(ResponseTemplate::new(200).set_body_json(metadata))
        .mount(&world.issuer)
        .await;
    Mock::given(method("POST"))
        .and(path("/realms/shop/protocol/openid-connect/token"))
        .respond_with(token_answer("keycloak-token-0123456789"))
        .mount(&world.issuer)
        .await;
    let service_a = |arguments: &[&str]| {
        let mut command = bare(arguments);
        command
            .env("WORKOUT18_ISSUER", issuer)
            .env("WORKOUT18_CLIENT_ID", CLIENT_ID)
            .env("WORKOUT18_CLIENT_SECRET", SECRET)
            .env("http_proxy", world.issuer.uri());
        command
    };
    let expected = "\
Error: WORKOUT18_ISSUER (--issuer) is plain http to another machine, which shows the secret to the network: use https, or add --allow-http (WORKOUT18_ALLOW_HTTP=true) on a network that nobody else is on
Run service-a --help for all settings.
";
    assert_eq!(
        run(service_a(&["--token-only"])).await,
        failed(2, expected.to_owned())
    );
    assert_eq!(received(&world.issuer).await.len(), 0);

    let granted = Ended {
        code: Some(0),
        stdout: "keycloak-token-0123456789\n".to_owned(),
        stderr: String::new(),
    };
    assert_eq!(
        run(service_a(&["--token-only", "--allow-http"])).await,
        granted
    );
    let mut by_variable = service_a(&["--token-only"]);
    by_variable.env("WORKOUT18_ALLOW_HTTP", "true");
    assert_eq!(run(by_variable).await, granted);
}
