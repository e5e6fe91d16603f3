//! An HTTP server that behaves like IBM Verify, as far as service-to-service calls need it: token,
//! introspection, revocation, metadata and keys, in both of its endpoint families.
//!
//! By default it responds as IBM Verify does. Tests can script faults, call by call; the stub
//! counts and records the requests. It also issues JWTs (RFC 9068), signed well or badly, and
//! rotates their keys.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use verify_stub::{Endpoint, Reaction, StubOptions, TokenSpec, VerifyStub};
//!
//! let stub = VerifyStub::start(StubOptions::default()).await?;
//! let token = stub.issue(TokenSpec::default().scope("read"));
//! stub.script(&token, vec![Reaction::hang(), Reaction::normal()]);
//! // The first introspection call for the token hangs, the next ones get a response.
//! println!("introspect at {} as {}", stub.introspect_url(), stub.client("service-b").id);
//! assert_eq!(stub.introspections_of(&token), 0);
//! stub.script_endpoint(Endpoint::Token, vec![Reaction::reset()]);
//! stub.down().await; // connection refused
//! stub.up().await?; // the same port, tokens and counts
//! # Ok(())
//! # }
//! ```
//!
//! It is not a place for real secrets, nor an issuer that anything but tests should trust.

mod assertions;
mod body;
mod clients;
mod command;
mod control;
mod counters;
mod dpop;
mod endpoints;
mod jwt;
mod reaction;
mod record;
mod server;
mod signed_responses;
mod state;
mod stub;
mod tables;
mod tls;
mod tokens;
mod urls;
mod wire;

pub use self::{
    clients::StubClient,
    command::StubCommand,
    counters::Counters,
    jwt::{DpopKey, DpopProof, PublicKeyForm, SignatureFault, SigningAlgorithm, TokenFormat},
    reaction::{Reaction, ReactionKind, StubResponse},
    record::{Endpoint, RecordedRequest},
    signed_responses::{ResponseFault, SignedResponses},
    stub::{StubOptions, VerifyStub},
    tls::{ClientCertificate, StubCertificate, StubTls},
    tokens::TokenSpec,
    urls::{Provider, Urls},
};
