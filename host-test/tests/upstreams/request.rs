//! Requests as bytes, so that nothing is corrected on the way.

use std::fmt;

/// The header in which each request carries its number.
pub(crate) const ROW: &str = "x-row";

/// The token of every request.
pub(crate) const TOKEN: &str = "good";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// A request with [`TOKEN`].
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) protocol: Protocol,
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    /// In HTTP/2 the first one is `:authority`.
    pub(crate) hosts: Vec<Vec<u8>>,
    pub(crate) headers: Vec<Field>,
    pub(crate) trailers: Vec<Field>,
}

impl Request {
    /// Of HTTP/1.1, to a host that no rule names.
    pub(crate) fn new(method: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self {
            protocol: Protocol::Http1,
            method: method.as_ref().to_vec(),
            target: target.as_ref().to_vec(),
            hosts: vec![b"service.test".to_vec()],
            headers: Vec::new(),
            trailers: Vec::new(),
        }
    }

    pub(crate) const fn over(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    pub(crate) fn hosts(mut self, hosts: &[&[u8]]) -> Self {
        self.hosts = hosts.iter().map(|host| host.to_vec()).collect();
        self
    }

    pub(crate) fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn trailer(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.trailers
            .push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Its headers other than hosts.
    pub(crate) fn all_headers(&self, row: usize) -> Vec<Field> {
        let mut headers = vec![
            (ROW.into(), row.to_string().into_bytes()),
            (b"authorization".to_vec(), format!("Bearer {TOKEN}").into()),
        ];
        headers.extend(self.headers.iter().cloned());
        headers
    }
}

/// An answer.
#[derive(Clone)]
pub(crate) struct Answer {
    /// None over HTTP/2, and if the connection was closed without an answer.
    pub(crate) status: Option<u16>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A status that does not say that the request is at fault, or of a kind that the server does
    /// not know.
    pub(crate) fn not_a_refusal(&self) -> Option<String> {
        let is_refusal = |status: &u16| (400..500).contains(status) || *status == 501;
        let status = self.status.filter(|status| !is_refusal(status))?;
        Some(format!("answered with {status}"))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.status, self.body.escape_ascii())
    }
}
