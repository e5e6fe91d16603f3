//! `--verbose`: requests and answers on standard error, and no secret in them.

use serde_json::json;
use wiremock::{Mock, Request, Respond, ResponseTemplate, matchers::method};

use crate::world::{MASKED, SECRET, TOKEN, World, granted, run, token_answer};

/// Without the headers that the server adds itself, which differ from run to run.
fn lines(stderr: &str) -> String {
    let own = ["< date: ", "< content-length: "];
    stderr
        .lines()
        .filter(|line| !own.iter().any(|own| line.starts_with(own)))
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

#[tokio::test]
async fn every_request_and_every_answer_is_shown_masked() {
    let world = World::sound().await;
    let ended = run(world.service_a(&["--verbose", "--scope", "read"])).await;
    assert_eq!(ended.code, Some(0));
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
* answer 1
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
* answer 2
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
* answer 3
< HTTP/1.1 200 OK
< content-type: application/json
<
< {{\"issuer\":\"https://tenant.verify.ibm.com/oauth2\"}}
* members not shown: 4
",
        issuer_host = host(&issuer),
        service_b_host = host(&service_b),
    );
    assert_eq!(lines(&ended.stderr), expected);
    assert_eq!(ended.stdout.matches(MASKED).count(), 1);
    ended.tells_no_secret();
}

#[tokio::test]
async fn it_goes_with_json_which_has_standard_output_for_itself() {
    let world = World::sound().await;
    let ended = run(world.service_a(&["-v", "--json", "--client-auth", "post"])).await;
    assert_eq!(ended.json()["ok"], true);
    assert!(
        ended
            .stderr
            .contains("\n> grant_type=client_credentials&client_id=service-a-client&client_secret=[redacted]\n"),
        "{}",
        ended.stderr
    );
    ended.tells_no_secret();
}

#[tokio::test]
async fn a_request_without_an_answer_is_shown_with_its_fault() {
    let world = World::empty().await;
    let ended = run(world.service_a(&["--verbose", "--token-url", "http://127.0.0.1:1/t"])).await;
    assert_eq!(ended.code, Some(3));
    let fault = crate::world::refused_connection();
    assert!(
        ended
            .stderr
            .contains(&format!("* answer 1: none, connection_failed: {fault}\n")),
        "{}",
        ended.stderr
    );
}

/// Sends back all that it got, as it is and encoded in every way that a peer may.
struct Echo(u16);

impl Respond for Echo {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let authorization = request
            .headers
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default();
        let encoded =
            |value: &str| -> String { form_urlencoded::byte_serialize(value.as_bytes()).collect() };
        let heard = [
            authorization.clone(),
            encoded(&authorization),
            String::from_utf8_lossy(&request.body).into_owned(),
            SECRET.to_owned(),
            encoded(SECRET).to_lowercase(),
            TOKEN.to_owned(),
        ]
        .join(" ");
        let mut body = json!({
            "error": heard,
            "error_description": heard,
            "reason": heard,
            "scope": [heard],
            "issuer": {"a": heard},
            heard.as_str(): heard,
        });
        if request.method.as_str() == "POST" && self.0 == 200 {
            body["access_token"] = TOKEN.into();
            body["token_type"] = "Bearer".into();
        }
        ResponseTemplate::new(self.0)
            .set_body_json(body)
            .insert_header("x-echo", heard.as_str())
            .insert_header("set-cookie", heard.as_str())
            .insert_header("location", format!("/{}", encoded(&heard)))
    }
}

#[tokio::test]
async fn neither_secret_nor_token_is_shown_in_any_form_when_peers_send_them_back() {
    // The secret raw, form-encoded, in Basic credentials both ways, and the token.
    let forms = [
        SECRET,
        "s3cret%3awith%2bsigns%2f%25",
        "s3cret%3Awith%2Bsigns%2F%25",
        "c2VydmljZS1hLWNsaWVudDpzM2NyZXQlM0F3aXRoJTJCc2lnbnMlMkYlMjU",
        "c2VydmljZS1hLWNsaWVudDpzM2NyZXQ6d2l0aCtzaWducy8l",
        TOKEN,
    ];
    for status in [200, 302, 400, 401, 500] {
        for style in ["basic", "basic-raw", "post"] {
            let world = World::empty().await;
            world.discovery().await;
            if status == 200 {
                Mock::given(method("POST"))
                    .respond_with(Echo(status))
                    .mount(&world.issuer)
                    .await;
            } else {
                world.answer_token(token_answer(TOKEN)).await;
            }
            Mock::given(method("GET"))
                .respond_with(Echo(status))
                .mount(&world.service_b)
                .await;
            let arguments = ["--verbose", "--json", "--client-auth", style];
            let ended = run(world.service_a(&arguments)).await;
            for form in forms {
                assert!(!ended.stderr.contains(form), "{form}: {}", ended.stderr);
            }
            // Service B was never told the secret: what it plays to know of it is its own document.
            assert!(!ended.stdout.contains(TOKEN), "{}", ended.stdout);

            let refusing = World::empty().await;
            refusing.discovery().await;
            Mock::given(method("POST"))
                .respond_with(Echo(if status == 200 { 403 } else { status }))
                .mount(&refusing.issuer)
                .await;
            refusing.answer_call(granted()).await;
            let ended = run(refusing.service_a(&arguments)).await;
            assert_eq!(ended.code, Some(4));
            // The token of this echo was never given out.
            for form in forms.into_iter().filter(|form| *form != TOKEN) {
                assert!(!ended.stderr.contains(form), "{form}: {}", ended.stderr);
                assert!(!ended.stdout.contains(form), "{form}: {}", ended.stdout);
            }
        }
    }
}
