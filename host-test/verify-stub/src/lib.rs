//! An HTTP server that behaves like IBM Verify, as far as service-to-service trust meets it: token, introspection,
//! revocation, discovery and keys, in both of its endpoint families.
//!
//! What it answers by itself is what IBM answers. On top of that it can be told to misbehave, call by call, and it
//! counts and remembers what it was asked.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use verify_stub::{Endpoint, Reaction, StubOptions, TokenSpec, VerifyStub};
//!
//! let stub = VerifyStub::start(StubOptions::default()).await?;
//! let token = stub.issue(TokenSpec::default().scope("read"));
//! stub.script(&token, vec![Reaction::hang(), Reaction::normal()]);
//! // The first question about the token is never answered, the next ones are.
//! println!("ask {} as {}", stub.introspect_url(), stub.client("service-b").id);
//! assert_eq!(stub.questions_about(&token), 0);
//! stub.script_endpoint(Endpoint::Token, vec![Reaction::reset()]);
//! stub.down().await; // connection refused
//! stub.up().await?; // the same port, tokens and counts
//! # Ok(())
//! # }
//! ```
//!
//! What it refuses to be: a place for real secrets, or an issuer that anything but tests should trust.

mod body;
mod clients;
mod command;
mod control;
mod endpoints;
mod reaction;
mod record;
mod server;
mod state;
mod tls;
mod tokens;
mod urls;
mod wire;

pub use self::{
    clients::StubClient,
    command::StubCommand,
    reaction::{Reaction, ReactionKind, StubAnswer},
    record::{Counters, Endpoint, RecordedRequest},
    server::{StubOptions, VerifyStub},
    tls::{StubCertificate, StubTls},
    tokens::TokenSpec,
    urls::{Provider, Urls},
};
