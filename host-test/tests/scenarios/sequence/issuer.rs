//! Two stubs of IBM Verify, for hosts that ask over sockets.

use http::StatusCode;
use serde_json::json;
use tokio::runtime::Handle;
use verify_stub::{Reaction, StubClient, StubOptions, StubResponse, VerifyStub};

use crate::fixture::{CLIENT_ID, CLIENT_SECRET};
use crate::sequence::hosts::Answer;

pub(crate) struct Issuers {
    runtime: Handle,
    stubs: [VerifyStub; 2],
}

impl Issuers {
    pub(crate) fn start(runtime: &Handle) -> Self {
        let start = || {
            let client = |id: &str| StubClient::new(id).with_credentials(id, CLIENT_SECRET);
            let options = StubOptions {
                clients: [CLIENT_ID, "tenant 2"].map(client).into(),
                ..StubOptions::default()
            };
            runtime.block_on(VerifyStub::start(options)).unwrap()
        };
        Self {
            runtime: runtime.clone(),
            stubs: [start(), start()],
        }
    }

    pub(crate) fn stub(&self, which: usize) -> &VerifyStub {
        &self.stubs[which]
    }

    pub(crate) fn responds(&self, which: usize, token: &str, answer: &Answer) {
        let answer = match answer {
            Answer::Document(text) => StubResponse::document(text.clone()),
            Answer::Inactive => StubResponse::inactive(),
            Answer::Status(status) => StubResponse::json(
                StatusCode::from_u16(*status).unwrap(),
                &json!({ "error": "invalid_client" }),
            ),
        };
        self.stubs[which].script(token, vec![Reaction::respond(answer)]);
    }

    pub(crate) fn listens(&self, it_does: bool) {
        let [stub, _] = &self.stubs;
        if it_does {
            self.runtime.block_on(stub.up()).unwrap();
        } else {
            self.runtime.block_on(stub.down());
        }
    }
}
