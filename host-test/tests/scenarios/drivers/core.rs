//! The core alone: this driver is the host, and does what a [`Step`] says.

use std::sync::Mutex;
use std::time::Duration;

use token_check::{
    AnswerBody, AuthCheck, CallFailure, Decision, Errand, Grant, IssuerAnswer, Note, Now, Outcome,
    Policy, Progress, Reason, Reply, RequestHead, Step, is_identity_header,
};

use super::{Driver, settings};
use crate::observed::{Observed, Seen, SeenBody};
use crate::scenario::{Answer, Issuer, NOW, Scenario};

#[derive(Default)]
pub(crate) struct Core {
    /// The Debug output of everything the core hands out.
    printed: Mutex<Vec<String>>,
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
        let policy = match Policy::new(settings(scenario, url)) {
            Ok(policy) => policy,
            Err(error) => {
                self.print(&error);
                return Ok(refused(
                    scenario,
                    Reason::Misconfigured.reply(None, None),
                    0,
                ));
            }
        };
        let mut check = AuthCheck::<()>::new(policy, [7; 16]);
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
        // As hosts hand over several of them.
        let hosts = [vec![b"service-b.test".to_vec()], values("host")].concat();
        let authority = hosts.join(&b", "[..]);
        let target = scenario.filled(request.target.as_bytes());
        let head = RequestHead {
            authorization: &authorization.iter().map(Vec::as_slice).collect::<Vec<_>>(),
            method: request.method.as_bytes(),
            authority: Some(&authority),
            traceparent: &traceparent.iter().map(Vec::as_slice).collect::<Vec<_>>(),
            path_and_query: (request.method != "CONNECT").then_some(&target),
        };
        let mut asked = 0;
        for _ in 0..scenario.before {
            let _before = self.decide(&mut check, &head, scenario, &mut asked)?;
        }
        let decision = self.decide(&mut check, &head, scenario, &mut asked)?;
        Ok(match decision {
            Decision::Granted(grant) => granted(scenario, &grant, &target, asked),
            Decision::Refused(refusal) => refused(scenario, refusal.reply(check.policy()), asked),
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
        asked: &mut u64,
    ) -> Result<Decision, String> {
        let now = Now {
            unix: Duration::from_secs((*NOW).try_into().unwrap()),
            monotonic: Duration::from_secs(1),
        };
        let mut step = check.begin(head, now);
        loop {
            self.print(&step);
            step = match step {
                Step::Done(verdict) => {
                    self.tell(verdict.note.as_ref());
                    return Ok(verdict.decision);
                }
                Step::Lead(waiting, flight, errand) => {
                    let mut next = Some((flight, errand));
                    while let Some((flight, errand)) = next {
                        let Errand::Ask(_call) = errand else {
                            return Err(format!("an errand that no setting asks for: {errand:?}"));
                        };
                        *asked += u64::from(!matches!(
                            scenario.issuer,
                            Issuer::Gone | Issuer::SpeaksNoTls
                        ));
                        let progress = check.settle(flight, outcome(&scenario.issuer), now);
                        self.print(&progress);
                        next = match progress {
                            Progress::More(flight, errand) => Some((flight, errand)),
                            Progress::Ended(ended) => {
                                self.tell(ended.note.as_ref());
                                None
                            }
                        };
                    }
                    check.resume(waiting, now)
                }
                Step::Join(_) => return Err("there is nobody to join".to_owned()),
            };
        }
    }

    fn tell(&self, note: Option<&Note>) {
        let mut printed = self.printed.lock().unwrap();
        printed.extend(note.map(ToString::to_string));
    }

    fn print(&self, value: &impl std::fmt::Debug) {
        self.printed
            .lock()
            .unwrap()
            .push(format!("{value:?} {value:#?}"));
    }
}

/// The request as a host passes it on.
fn granted(scenario: &Scenario, grant: &Grant, target: &[u8], asked: u64) -> Observed {
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
        asked,
    }
}

fn refused(scenario: &Scenario, reply: Reply, asked: u64) -> Observed {
    let headers = reply
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    let body = if scenario.request.method == "HEAD" {
        String::new()
    } else {
        reply.body
    };
    Observed {
        status: reply.status,
        headers: headers.collect(),
        body,
        app: None,
        asked,
    }
}

/// What a host makes of the issuer's behaviour.
fn outcome(issuer: &Issuer) -> Outcome {
    match issuer {
        Issuer::Answers(answer) => answered(answer, answer.body.chunks(1000)),
        Issuer::Floods(bytes) => {
            let piece = [b' '; 64 * 1024];
            let answer = crate::scenario::answer(200, "application/json", "");
            let pieces = bytes / (64 * 1024);
            answered(&answer, (0..pieces).map(|_| piece.as_slice()))
        }
        Issuer::Hangs | Issuer::Drips(_) => Outcome::Failed(CallFailure::Timeout),
        Issuer::Drops | Issuer::Resets | Issuer::Cuts(_) | Issuer::Gone | Issuer::SpeaksNoTls => {
            Outcome::Failed(CallFailure::Unreachable)
        }
    }
}

fn answered<'a>(answer: &Answer, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut body = AnswerBody::default();
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
    Outcome::Answered(IssuerAnswer {
        status: answer.status,
        content_type: field("content-type"),
        content_encoding: field("content-encoding"),
        www_authenticate: field("www-authenticate").into_iter().collect(),
        body,
        ..IssuerAnswer::default()
    })
}
