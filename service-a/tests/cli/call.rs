//! One call, from the settings to the exit code.

use crate::world::{CLIENT_ID, Ended, MASKED, SECRET, TOKEN, World, run};
use wiremock::Request;

fn header(request: &Request, name: &str) -> Option<String> {
    let value = request.headers.get(name)?;
    Some(value.to_str().unwrap().to_owned())
}

fn form(request: &Request) -> Vec<(String, String)> {
    form_urlencoded::parse(&request.body).into_owned().collect()
}

#[tokio::test]
async fn a_granted_call_prints_the_masked_token_and_the_document() {
    let world = World::sound().await;
    let ended = run(world.service_a(&[])).await;
    let expected = format!(
        "\
Access token (masked): {MASKED}
Service B response:
  message: Service B trusted the token
  issuer: https://tenant.verify.ibm.com/oauth2
  subject: service-a-client
  aud: ['service-a-client']
  scopes: None
"
    );
    assert_eq!(
        ended,
        Ended {
            code: Some(0),
            stdout: expected,
            stderr: String::new()
        }
    );
    let calls = world.calls().await;
    assert_eq!(calls.len(), 1);
    assert_eq!(
        header(&calls[0], "authorization").unwrap(),
        format!("Bearer {TOKEN}")
    );
}

#[tokio::test]
async fn rfc6749_4_4_2_the_token_is_asked_for_once_with_basic_form_encoded_first() {
    let world = World::sound().await;
    run(world.service_a(&[])).await;
    let requests = world.token_requests().await;
    assert_eq!(requests.len(), 1);
    // base64("service-a-client:s3cret%3Awith%2Bsigns%2F%25")
    assert_eq!(
        header(&requests[0], "authorization").unwrap(),
        "Basic c2VydmljZS1hLWNsaWVudDpzM2NyZXQlM0F3aXRoJTJCc2lnbnMlMkYlMjU="
    );
    assert_eq!(
        form(&requests[0]),
        [("grant_type".to_owned(), "client_credentials".to_owned())]
    );
}

#[tokio::test]
async fn rfc6749_2_3_1_post_puts_id_and_secret_into_the_body_only() {
    let world = World::sound().await;
    run(world.service_a(&[
        "--client-auth",
        "post",
        "--scope",
        "read  write",
        "--audience",
        "b",
        "--resource",
        "urn:b",
        "--resource",
        "urn:c",
    ]))
    .await;
    let requests = world.token_requests().await;
    assert_eq!(requests.len(), 1);
    assert_eq!(header(&requests[0], "authorization"), None);
    let expected = [
        ("grant_type", "client_credentials"),
        ("scope", "read write"),
        ("client_id", CLIENT_ID),
        ("client_secret", SECRET),
        ("audience", "b"),
        ("resource", "urn:b"),
        ("resource", "urn:c"),
    ];
    assert_eq!(
        form(&requests[0]),
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[tokio::test]
async fn rfc7617_2_raw_basic_sends_id_and_secret_as_they_are() {
    let world = World::sound().await;
    let ended = run(world.service_a(&["--client-auth", "basic-raw"])).await;
    assert_eq!(ended.code, Some(0));
    let requests = world.token_requests().await;
    assert_eq!(requests.len(), 1);
    // base64("service-a-client:s3cret:with+signs/%")
    assert_eq!(
        header(&requests[0], "authorization").unwrap(),
        "Basic c2VydmljZS1hLWNsaWVudDpzM2NyZXQ6d2l0aCtzaWducy8l"
    );
    assert_eq!(
        form(&requests[0]),
        [("grant_type".to_owned(), "client_credentials".to_owned())]
    );
}

#[tokio::test]
async fn token_only_prints_the_token_and_calls_nobody_else() {
    let world = World::sound().await;
    let ended = run(world.service_a(&["--token-only"])).await;
    assert_eq!(
        ended,
        Ended {
            code: Some(0),
            stdout: format!("{TOKEN}\n"),
            stderr: String::new()
        }
    );
    assert_eq!(world.calls().await.len(), 0);
}
