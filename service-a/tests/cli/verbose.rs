//! `--verbose`: requests and responses on standard error, and no secret in them.

use crate::fixture::{MASKED, World, refused_connection, run};

/// Removes the headers that the mock server adds, which differ from run to run.
fn lines(stderr: &str) -> String {
    let own = ["< date: ", "< content-length: "];
    stderr
        .lines()
        .filter(|line| !own.iter().any(|own| line.starts_with(own)))
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

#[tokio::test]
async fn every_request_and_response_is_shown_masked() {
    let world = World::working().await;
    let finished = run(world.service_a(&["--verbose", "--scope", "read"])).await;
    assert_eq!(finished.code, Some(0));
    let (issuer, service_b) = (world.issuer.uri(), world.service_b.uri());
    let host = |uri: &str| uri.trim_start_matches("http://").to_owned();
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "\
* request 1, to {issuer}
> GET /oauth2/.well-known/openid-configuration
> host: {issuer_host}
> accept: application/json
> user-agent: service-a/{version}
* response 1
< HTTP/1.1 200 OK
< content-type: application/json
<
< {{\"issuer\":\"{issuer}/oauth2\",\"token_endpoint\":\"{issuer}/oauth2/token\"}}
* request 2, to {issuer}
> POST /oauth2/token
> host: {issuer_host}
> accept: application/json
> content-type: application/x-www-form-urlencoded
> authorization: Basic [redacted]
> user-agent: service-a/{version}
>
> grant_type=client_credentials&scope=read
* response 2
< HTTP/1.1 200 OK
< content-type: application/json
<
< {{\"access_token\":\"{MASKED}\",\"expires_in\":7199,\"scope\":\"\",\"token_type\":\"bearer\"}}
* members not shown: 1
* request 3, to {service_b}
> GET /data
> host: {service_b_host}
> accept: application/json
> authorization: Bearer {MASKED}
> user-agent: service-a/{version}
* response 3
< HTTP/1.1 200 OK
< content-type: application/json
<
< {{\"issuer\":\"https://tenant.verify.ibm.com/oauth2\"}}
* members not shown: 4
",
        issuer_host = host(&issuer),
        service_b_host = host(&service_b),
    );
    assert_eq!(lines(&finished.stderr), expected);
    assert_eq!(finished.stdout.matches(MASKED).count(), 1);
    finished.holds_no_secret();
}

#[tokio::test]
async fn it_works_with_json_which_has_standard_output_to_itself() {
    let world = World::working().await;
    let finished = run(world.service_a(&["-v", "--json", "--client-auth", "post"])).await;
    assert_eq!(finished.json()["ok"], true);
    assert!(
        finished
            .stderr
            .contains("\n> grant_type=client_credentials&client_id=service-a-client&client_secret=[redacted]\n"),
        "{}",
        finished.stderr
    );
    finished.holds_no_secret();
}

#[tokio::test]
async fn a_request_without_a_response_is_shown_with_the_error() {
    let world = World::empty().await;
    let finished =
        run(world.service_a(&["--verbose", "--token-url", "http://127.0.0.1:1/t"])).await;
    assert_eq!(finished.code, Some(3));
    let error = refused_connection();
    assert!(
        finished
            .stderr
            .contains(&format!("* response 1: none, connection_failed: {error}\n")),
        "{}",
        finished.stderr
    );
}
