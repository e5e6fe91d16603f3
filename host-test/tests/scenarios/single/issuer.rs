//! The stub of IBM Verify as scenarios use it: one for all scenarios of a host, told apart by their
//! tokens.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use token_check::{IntrospectionCall, IssuerCall as _};
use tokio::net::TcpSocket;
use verify_stub::{Endpoint, Reaction, StubClient, StubOptions, StubResponse, VerifyStub};

use crate::fixture::{CLIENT_ID, CLIENT_SECRET, with_times};
use crate::single::scenario::{Answer, Issuer, NOW, Scenario};
use crate::single::table::{client_auth, signed_introspection};

/// Between two bytes of an answer that drips: never done within the timeout, never silent as long
/// as it.
const DRIP: Duration = Duration::from_millis(300);

pub(crate) struct SharedStub {
    stub: VerifyStub,
    /// Bound, so that nobody else takes the port, and never listened on.
    gone: TcpSocket,
}

impl SharedStub {
    pub(crate) async fn start() -> Self {
        let mut clients = client_auth::clients();
        clients.extend(signed_introspection::clients());
        clients.push(StubClient::new("service-b").with_credentials(CLIENT_ID, CLIENT_SECRET));
        let options = StubOptions {
            clients,
            signing_keys: signed_introspection::ALGORITHMS.into(),
            ..StubOptions::default()
        };
        let stub = VerifyStub::start(options).await.unwrap();
        let gone = TcpSocket::new_v4().unwrap();
        gone.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self { stub, gone }
    }

    /// Where the scenario's host calls.
    pub(crate) fn introspect_url(&self, scenario: &Scenario) -> String {
        match scenario.issuer {
            Issuer::Gone => format!(
                "http://{}/oauth2/introspect",
                self.gone.local_addr().unwrap()
            ),
            Issuer::SpeaksNoTls => self.stub.introspect_url().replace("http://", "https://"),
            _ => self.stub.introspect_url().to_owned(),
        }
    }

    /// Tells the stub what to do when it is called about the scenario's token.
    pub(crate) fn prepare(&self, scenario: &Scenario, token: &str) {
        let reaction = match &scenario.issuer {
            Issuer::Authenticates(document) => {
                let document = with_times(document, *NOW);
                let document = serde_json::from_str(&document).unwrap();
                return self.stub.register(token, &document);
            }
            Issuer::Answers(answer) => Reaction::respond(stub_answer(answer)),
            Issuer::Drops => Reaction::drop_connection(),
            Issuer::Resets => Reaction::reset(),
            Issuer::Hangs => Reaction::hang(),
            Issuer::Cuts(answer) => Reaction::cut(stub_answer(answer), answer.body.len() / 2),
            Issuer::Drips(answer) => Reaction::drip(stub_answer(answer), DRIP),
            Issuer::Floods(bytes) => Reaction::huge(*bytes),
            Issuer::Gone | Issuer::SpeaksNoTls => return,
        };
        self.stub.script(token, vec![reaction]);
    }

    pub(crate) fn introspections(&self, token: &str) -> u64 {
        self.stub.introspections_of(token)
    }

    /// What the issuer responds to this call, without a network.
    pub(crate) fn responds(&self, call: &IntrospectionCall) -> StubResponse {
        let mut headers = HeaderMap::new();
        for (name, value) in call.headers() {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        self.stub.introspect(headers, call.body().to_vec())
    }

    /// The keys that the issuer publishes.
    pub(crate) fn key_set(&self) -> StubResponse {
        StubResponse::json(StatusCode::OK, &self.stub.key_set())
    }

    /// Whether the introspection call was put as RFC 7662 section 2.1 and RFC 6749 section 2.3.1
    /// say.
    pub(crate) fn check_call(&self, scenario: &Scenario, token: &str) -> Result<(), String> {
        if let Issuer::Authenticates(_) = scenario.issuer {
            // The stub has checked it.
            return Ok(());
        }
        let requests = self.stub.requests();
        let Some(call) = requests
            .iter()
            .find(|request| request.parameter("token") == Some(token))
        else {
            return Err("the stub did not keep the question".to_owned());
        };
        let form =
            |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let post = scenario
            .settings
            .contains(&("client_auth", "post".to_owned()));
        let signed = ("signed_introspection", "true".to_owned());
        let accept = match scenario.settings.contains(&signed) {
            true => "application/token-introspection+jwt",
            false => "application/json",
        };
        let mut body = format!("token={}&token_type_hint=access_token", form(token));
        let mut basic = Some(format!(
            "Basic {}",
            STANDARD.encode(format!("{}:{}", form(CLIENT_ID), form(CLIENT_SECRET)))
        ));
        if post {
            body = format!(
                "{body}&client_id={}&client_secret={}",
                form(CLIENT_ID),
                form(CLIENT_SECRET)
            );
            basic = None;
        }
        let header = |name: &str| call.headers.get(name).and_then(|value| value.to_str().ok());
        let seen = (
            call.endpoint,
            call.method.as_str(),
            call.path_and_query.as_str(),
            header("content-type"),
            header("accept"),
            header("accept-encoding"),
            header("user-agent"),
            header("authorization"),
            call.body.as_ref(),
        );
        let expected = (
            Endpoint::Introspect,
            "POST",
            "/oauth2/introspect",
            Some("application/x-www-form-urlencoded"),
            Some(accept),
            Some("identity"),
            Some(token_check::USER_AGENT),
            basic.as_deref(),
            body.as_bytes(),
        );
        if seen == expected {
            Ok(())
        } else {
            Err(format!("the question is not RFC 7662's: {seen:?}"))
        }
    }
}

fn stub_answer(answer: &Answer) -> StubResponse {
    let mut stub =
        StubResponse::new(StatusCode::from_u16(answer.status).unwrap()).body(answer.body.clone());
    for (name, value) in &answer.headers {
        stub = stub.header(
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    stub
}
