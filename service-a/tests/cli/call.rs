//! One call, from the settings to the exit code.

use wiremock::Request;

use crate::fixture::{
    BASIC, CLIENT_ID, Finished, RAW_BASIC, SECRET, TOKEN, TOKEN_LINE, World, run,
};

fn authorization(request: &Request) -> Option<&str> {
    let value = request.headers.get("authorization")?;
    Some(value.to_str().unwrap())
}

#[tokio::test]
async fn a_granted_call_prints_the_masked_token_and_the_document() {
    let world = World::working().await;
    let expected = format!(
        "{TOKEN_LINE}\
Service B response:
  message: Service B trusted the token
  issuer: https://tenant.verify.ibm.com/oauth2
  subject: service-a-client
  aud: ['service-a-client']
  scopes: None
"
    );
    let finished = run(world.service_a(&[])).await;
    assert_eq!(finished, Finished::ok(expected));
    let calls = world.calls().await;
    assert_eq!(calls.len(), 1);
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(authorization(&calls[0]), Some(bearer.as_str()));
}

/// RFC 6749 section 2.3.1 and RFC 7617 section 2: form-encoded, as they are, or in the body only.
#[tokio::test]
async fn rfc6749_4_4_2_the_token_is_requested_once_with_one_style_of_client_authentication() {
    let basic = format!("Basic {BASIC}");
    let raw_basic = format!("Basic {RAW_BASIC}");
    let post = "--client-auth post --audience b --resource urn:b --resource urn:c --scope";
    let mut post: Vec<_> = post.split(' ').collect();
    post.push("read  write");
    let grant = ("grant_type", "client_credentials");
    let table: [(&[&str], _, &[_]); 3] = [
        (&[], Some(basic.as_str()), &[grant]),
        (
            &["--client-auth", "basic-raw"],
            Some(raw_basic.as_str()),
            &[grant],
        ),
        (
            &post,
            None,
            &[
                grant,
                ("scope", "read write"),
                ("client_id", CLIENT_ID),
                ("client_secret", SECRET),
                ("audience", "b"),
                ("resource", "urn:b"),
                ("resource", "urn:c"),
            ],
        ),
    ];
    for (arguments, header, parameters) in table {
        let world = World::working().await;
        assert_eq!(run(world.service_a(arguments)).await.code, Some(0));
        let requests = world.token_requests().await;
        assert_eq!(requests.len(), 1);
        assert_eq!(authorization(&requests[0]), header);
        let form = form_urlencoded::parse(&requests[0].body).into_owned();
        let expected = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        assert_eq!(form.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn token_only_prints_the_token_and_does_not_call_service_b() {
    let world = World::working().await;
    let finished = run(world.service_a(&["--token-only"])).await;
    assert_eq!(finished, Finished::ok(format!("{TOKEN}\n")));
    assert_eq!(world.calls().await.len(), 0);
}
