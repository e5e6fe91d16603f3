//! The `demo` command: the whole triangle on this machine, with the programs that ship.
//!
//! The issuer is [`verify_stub`]; Service A is its real binary; the auth check and Service B are
//! the components that `spin up` loads, or the filter that Envoy loads. What has to come out is not
//! written down here: it is called of the decision core.

mod call;
mod command;
mod deployment;
mod report;
mod step;

pub use self::command::{DemoCommand, Ended, interrupted};
