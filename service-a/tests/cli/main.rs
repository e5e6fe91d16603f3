//! The real binary against real sockets.

mod call;
mod world;
