//! The header lines of a request that matter here, from one pass over all of them.

use smallvec::SmallVec;
use token_check::is_identity_header;

use crate::grpc;
use crate::host::HeaderMap;

/// Values of the lines of one name, of which a request mostly has one.
type Values<'a> = SmallVec<[&'a [u8]; 1]>;

/// The value of each line, as received.
#[derive(Default)]
pub(crate) struct RequestLines<'a> {
    pub(crate) authorization: Values<'a>,
    pub(crate) traceparent: Values<'a>,
    pub(crate) authority: Option<&'a [u8]>,
    pub(crate) path: Option<&'a [u8]>,
    pub(crate) method: Option<&'a [u8]>,
    /// Whether Envoy takes the request for gRPC.
    pub(crate) is_grpc_to_envoy: bool,
    /// Whether each identity header was removed.
    pub(crate) is_clean: bool,
}

impl<'a> RequestLines<'a> {
    /// `remove`: removes the lines of this name from the request.
    pub(crate) fn read(headers: &'a HeaderMap, remove: impl Fn(&[u8]) -> bool) -> Self {
        let mut lines = Self {
            is_clean: true,
            ..Self::default()
        };
        for (name, value) in headers.iter() {
            match name {
                b"authorization" => lines.authorization.push(value),
                b"traceparent" => lines.traceparent.push(value),
                b":authority" => lines.authority = Some(value),
                b":path" => lines.path = Some(value),
                b":method" => lines.method = Some(value),
                b"content-type" => lines.is_grpc_to_envoy |= grpc::is_grpc_type(value),
                _ if is_identity_header(name) => lines.is_clean &= remove(name),
                _ => {}
            }
        }
        lines
    }
}
