//! The core alone, with a host played by this driver.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use token_check::test_util::{Host, run_action, run_flight};
use token_check::{
    AuthCheck, BodyCollector, CallFailure, CertificateSource, Decision, DocumentCall, Finished,
    Grant, IntrospectionCall, IssuerCall as _, IssuerResponse, LogEvent, Now, Policy, Progress,
    RequestHead, Response, Step, is_identity_header,
};
use verify_stub::StubResponse;

use super::{Driver, settings};
use crate::fixture::unix_seconds;
use crate::single::issuer::SharedStub;
use crate::single::observed::{Observed, Seen, SeenBody};
use crate::single::scenario::{Answer, Issuer, NOW, Scenario, answer};

pub(crate) struct Core {
    stub: Arc<SharedStub>,
    /// The Debug output of everything the core hands out.
    printed: Mutex<Vec<String>>,
}

impl Core {
    pub(crate) fn new(stub: Arc<SharedStub>) -> Self {
        Self {
            stub,
            printed: Mutex::default(),
        }
    }
}

impl Driver for Core {
    fn name(&self) -> &'static str {
        "core"
    }

    fn observe(&self, scenario: &Scenario) -> Result<Observed, String> {
        let url = match scenario.issuer {
            Issuer::SpeaksNoTls => "https://127.0.0.1:9/oauth2/introspect",
            _ => "http://127.0.0.1:9/oauth2/introspect",
        };
        let url = match scenario.issuer {
            Issuer::Authenticates(_) => {
                self.stub.prepare(scenario, &scenario.credential());
                self.stub.introspect_url(scenario)
            }
            _ => url.to_owned(),
        };
        let policy = match Policy::new(settings(scenario, &url)) {
            Ok(policy) => policy,
            Err(error) => {
                self.print(&error);
                return Ok(answered(scenario, Response::misconfigured(None), 0));
            }
        };
        // As in a host: with one seed for all, two instances would send one `jti` twice.
        let seed = fastrand::u128(..).to_be_bytes();
        let mut check = AuthCheck::<()>::new(policy, seed);
        self.print(check.policy());
        let request = &scenario.request;
        let values = |name: &str| -> Vec<Vec<u8>> {
            let lines = request
                .headers
                .iter()
                .filter(|(line, _)| line.eq_ignore_ascii_case(name));
            lines
                .map(|(_, value)| scenario.filled(value.trim_ascii()))
                .collect()
        };
        let (authorization, traceparent) = (values("authorization"), values("traceparent"));
        let dpop = values("dpop");
        let certificate = match check.policy().certificate_source() {
            CertificateSource::Header(name) => values(name),
            CertificateSource::None | CertificateSource::Connection => Vec::new(),
        };
        // As hosts hand over several of them.
        let hosts = [vec![b"service-b.test".to_vec()], values("host")].concat();
        let authority = hosts.join(&b", "[..]);
        let target = scenario.filled(request.target.as_bytes());
        let head = RequestHead {
            authorization: &authorization.iter().map(Vec::as_slice).collect::<Vec<_>>(),
            dpop: &dpop.iter().map(Vec::as_slice).collect::<Vec<_>>(),
            client_certificate: &certificate.iter().map(Vec::as_slice).collect::<Vec<_>>(),
            method: request.method.as_bytes(),
            authority: Some(&authority),
            traceparent: &traceparent.iter().map(Vec::as_slice).collect::<Vec<_>>(),
            path_and_query: (request.method != "CONNECT").then_some(&target),
        };
        let mut introspections = 0;
        for _ in 0..scenario.before {
            let _before = self.decide(&mut check, &head, scenario, &mut introspections)?;
        }
        let decision = self.decide(&mut check, &head, scenario, &mut introspections)?;
        Ok(match decision {
            Decision::Granted(grant) => granted(scenario, &grant, &target, introspections),
            Decision::Refused(refusal) => {
                answered(scenario, refusal.response(check.policy()), introspections)
            }
            Decision::Answered(response) => answered(scenario, response, introspections),
        })
    }

    fn printed(&self) -> Vec<String> {
        self.printed.lock().unwrap().clone()
    }

    fn healthy(&self) -> Result<(), String> {
        Ok(())
    }
}

impl Core {
    fn decide(
        &self,
        check: &mut AuthCheck<()>,
        head: &RequestHead<'_>,
        scenario: &Scenario,
        introspections: &mut u64,
    ) -> Result<Decision, String> {
        let mut host = FakeHost {
            issuer: &scenario.issuer,
            stub: &self.stub,
            calls: 0,
            printed: &self.printed,
        };
        let mut step = check.begin(head, host.now());
        let decision = loop {
            self.print(&step);
            step = match step {
                Step::Done(verdict) => {
                    host.log(verdict.event.as_ref());
                    break verdict.decision;
                }
                Step::Lead(request, mut action) => {
                    loop {
                        let progress = run_action(check, action, &mut host);
                        self.print(&progress);
                        match progress {
                            Progress::Continue(next) => action = next,
                            Progress::Queued => return Err("it has no turn".to_owned()),
                            Progress::Finished(finished) => break host.finished(&finished),
                        }
                    }
                    check.resume(request, host.now())
                }
                Step::Finished(request, finished) => {
                    host.finished(&finished);
                    check.resume(request, host.now())
                }
                Step::Join(request) => {
                    let fetch = check.next_fetch(host.now());
                    let fetch = fetch.ok_or("there is no flight to join")?;
                    let _woken = run_flight(check, fetch, &mut host).woken;
                    check.resume(request, host.now())
                }
            };
        };
        *introspections += host.calls;
        Ok(decision)
    }

    fn print(&self, value: &impl std::fmt::Debug) {
        self.printed
            .lock()
            .unwrap()
            .push(format!("{value:?} {value:#?}"));
    }
}

struct FakeHost<'a> {
    issuer: &'a Issuer,
    stub: &'a SharedStub,
    /// Calls that reach the issuer.
    calls: u64,
    printed: &'a Mutex<Vec<String>>,
}

impl FakeHost<'_> {
    fn log(&self, event: Option<&LogEvent>) {
        let mut printed = self.printed.lock().unwrap();
        printed.extend(event.map(ToString::to_string));
    }
}

impl Host for FakeHost<'_> {
    fn now(&self) -> Now {
        let seconds = match self.issuer {
            // The stub has a clock of its own.
            Issuer::Authenticates(_) => unix_seconds(),
            _ => *NOW,
        };
        Now {
            unix: Duration::from_secs(seconds.try_into().unwrap()),
            monotonic: Duration::from_secs(1),
        }
    }

    fn introspect(&mut self, call: &IntrospectionCall) -> Result<IssuerResponse, CallFailure> {
        self.calls += u64::from(!matches!(self.issuer, Issuer::Gone | Issuer::SpeaksNoTls));
        response(self.issuer, || self.stub.responds(call))
    }

    /// What is elsewhere at the issuer is no key set.
    fn fetch_document(&mut self, call: &DocumentCall) -> Result<IssuerResponse, CallFailure> {
        Ok(match call.path_and_query() {
            "/oauth2/jwks" => stub_response(self.stub.key_set()),
            _ => IssuerResponse {
                status: 200,
                ..IssuerResponse::default()
            },
        })
    }

    fn finished<W>(&mut self, finished: &Finished<W>) {
        self.log(finished.event.as_ref());
    }
}

/// The request as a host passes it on.
fn granted(scenario: &Scenario, grant: &Grant, target: &[u8], introspections: u64) -> Observed {
    let request = &scenario.request;
    let kept = request.headers.iter().filter(|(name, _)| {
        !is_identity_header(name.as_bytes())
            && (grant.forward_token || !name.eq_ignore_ascii_case("authorization"))
    });
    let mut headers: Vec<_> = kept
        .map(|(name, value)| {
            let value = scenario
                .filled(value)
                .iter()
                .copied()
                .map(char::from)
                .collect();
            (name.to_ascii_lowercase(), value)
        })
        .collect();
    headers.extend(
        grant
            .headers()
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let app = Seen {
        method: request.method.to_owned(),
        target: String::from_utf8_lossy(target).into_owned(),
        headers,
        body: SeenBody::of(request.body.as_bytes()),
    };
    Observed {
        status: 200,
        headers: Vec::new(),
        body: String::new(),
        app: Some(app),
        introspections,
    }
}

fn answered(scenario: &Scenario, response: Response, introspections: u64) -> Observed {
    let headers = response
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    let body = if scenario.request.method == "HEAD" {
        String::new()
    } else {
        response.body
    };
    Observed {
        status: response.status,
        headers: headers.collect(),
        body,
        app: None,
        introspections,
    }
}

/// What a host reports of the issuer's behaviour.
fn response(
    issuer: &Issuer,
    authenticates: impl FnOnce() -> StubResponse,
) -> Result<IssuerResponse, CallFailure> {
    match issuer {
        Issuer::Authenticates(_) => Ok(stub_response(authenticates())),
        Issuer::Answers(answer) => Ok(collected(answer, answer.body.chunks(1000))),
        Issuer::Floods(bytes) => {
            let piece = [b' '; 64 * 1024];
            let answer = answer(200, "application/json", "");
            let pieces = bytes / (64 * 1024);
            Ok(collected(&answer, (0..pieces).map(|_| piece.as_slice())))
        }
        Issuer::Hangs | Issuer::Drips(_) => Err(CallFailure::Timeout),
        Issuer::Drops | Issuer::Resets | Issuer::Cuts(_) | Issuer::Gone | Issuer::SpeaksNoTls => {
            Err(CallFailure::Unreachable)
        }
    }
}

fn stub_response(response: StubResponse) -> IssuerResponse {
    let mut headers = response.headers.iter();
    let content_type = headers.find(|(name, _)| name == CONTENT_TYPE);
    let mut body = BodyCollector::default();
    let _ = body.push(&response.body);
    IssuerResponse {
        status: response.status.as_u16(),
        content_type: content_type.map(|(_, value)| value.as_bytes().to_vec()),
        body,
        ..IssuerResponse::default()
    }
}

fn collected<'a>(answer: &Answer, pieces: impl Iterator<Item = &'a [u8]>) -> IssuerResponse {
    let mut body = BodyCollector::default();
    for piece in pieces {
        if !body.push(piece) {
            break;
        }
    }
    let field = |name| {
        let mut fields = answer.headers.iter();
        let field = fields.find(|(known, _)| *known == name);
        field.map(|(_, value)| value.clone().into_bytes())
    };
    IssuerResponse {
        status: answer.status,
        content_type: field("content-type"),
        content_encoding: field("content-encoding"),
        www_authenticate: field("www-authenticate").into_iter().collect(),
        body,
        ..IssuerResponse::default()
    }
}
