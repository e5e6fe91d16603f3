//! The requests, and what Envoy and the embedded host make of each.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::{
    http1, http2,
    request::{Answer, Protocol, Request},
    seen::{FORGED, rules},
};

/// The auth check lets it through. A server may still refuse it.
pub(crate) const GRANTED: &str = "granted";
/// As [`GRANTED`], and every server hands it to the app.
const ARRIVES: &str = "arrives";
/// The host refuses it before the auth check sees it.
pub(crate) const HOST: &str = "host";

const PATH: &str = "ambiguous_path";
const METHOD: &str = "ambiguous_method";
const DENIED: &str = "denied_by_rule";

/// Every character of a header name that is no letter or digit (RFC 9110 section 5.6.2).
const MARKS: &str = "!#$%&'*+-.^_`|~";

/// The settings under which all of this holds.
pub(crate) fn settings() -> BTreeMap<String, String> {
    [
        ("rules", rules().to_string()),
        ("audit", "true".to_owned()),
        ("cache_ttl", "60".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) request: Request,
    /// The reason of a refusal, [`GRANTED`] or [`HOST`].
    pub(crate) envoy: &'static str,
    pub(crate) embedded: &'static str,
    /// Whether the app gets it behind every server.
    pub(crate) arrives: bool,
}

impl Row {
    fn new(kind: &str, request: Request, envoy: &'static str, embedded: &'static str) -> Self {
        let shown = [&request.method, &request.target, &request.hosts.concat()];
        let shown = shown.map(|part| part.escape_ascii().to_string());
        let granted = |outcome| if outcome == ARRIVES { GRANTED } else { outcome };
        Self {
            name: format!("{kind}, {:?}: {}", request.protocol, shown.join(" ")),
            request,
            envoy: granted(envoy),
            embedded: granted(embedded),
            arrives: envoy == ARRIVES,
        }
    }

    pub(crate) async fn send(&self, to: SocketAddr, number: usize) -> Answer {
        match self.request.protocol {
            Protocol::Http1 => http1::send(to, &self.request, number).await,
            Protocol::Http2 => http2::send(to, &self.request, number).await,
        }
    }
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = [methods(), paths(), hosts(), identities(), overrides()].concat();
    // Last, so that its lines in the logs are the last ones.
    rows.push(Row::new(
        "plain",
        Request::new("GET", "/data"),
        ARRIVES,
        ARRIVES,
    ));
    rows
}

/// Identity headers and credentials in trailers, then a plain request.
pub(crate) fn trailer_rows() -> Vec<Row> {
    let mut rows = trailers();
    rows.push(Row::new(
        "plain",
        Request::new("GET", "/data"),
        ARRIVES,
        ARRIVES,
    ));
    rows
}

fn methods() -> Vec<Row> {
    use Protocol::{Http1, Http2};
    const TABLE: &[(Protocol, &[u8], &str, &str)] = &[
        (Http1, b"GET", ARRIVES, ARRIVES),
        (Http1, b"POST", ARRIVES, ARRIVES),
        (Http1, b"PUT", ARRIVES, ARRIVES),
        (Http1, b"PATCH", ARRIVES, ARRIVES),
        (Http1, b"OPTIONS", ARRIVES, ARRIVES),
        (Http1, b"DELETE", DENIED, DENIED),
        (Http1, b"delete", HOST, METHOD),
        (Http1, b"Delete", HOST, METHOD),
        (Http1, b"dELETE", HOST, METHOD),
        (Http1, b"get", HOST, GRANTED),
        (Http1, b"DELETE ", DENIED, HOST),
        (Http1, b"DELETE\t", DENIED, HOST),
        (Http1, b" DELETE", HOST, HOST),
        (Http1, b"\r\nDELETE", DENIED, DENIED),
        (Http1, b"GET ", ARRIVES, HOST),
        (Http1, b"DELETE\0", HOST, HOST),
        (Http1, b"DELET\xc5", HOST, HOST),
        (Http1, b"PROPFIND", GRANTED, GRANTED),
        (Http1, b"PURGE", GRANTED, GRANTED),
        (Http1, b"UNKNOWN", HOST, GRANTED),
        (Http1, b"DELETED", HOST, GRANTED),
        (Http1, b"DELETE,GET", HOST, HOST),
        (Http2, b"GET", ARRIVES, ARRIVES),
        (Http2, b"POST", ARRIVES, ARRIVES),
        (Http2, b"DELETE", DENIED, DENIED),
        (Http2, b"delete", METHOD, METHOD),
        (Http2, b"Delete", METHOD, METHOD),
        (Http2, b"dELETE", METHOD, METHOD),
        (Http2, b"get", GRANTED, GRANTED),
        (Http2, b"DELETE ", HOST, HOST),
        (Http2, b" DELETE", HOST, HOST),
        (Http2, b"DELETE\t", HOST, HOST),
        (Http2, b"GET ", HOST, HOST),
        (Http2, b"DELETE\0", HOST, HOST),
        (Http2, b"DELETE\r\n", HOST, HOST),
        (Http2, b"DELET\xc5", HOST, HOST),
        (
            Http2,
            b"GET /admin HTTP/1.1\r\nx: y\r\n\r\nDELETE",
            HOST,
            HOST,
        ),
        (Http2, b"PROPFIND", GRANTED, GRANTED),
        (Http2, b"UNKNOWN", GRANTED, GRANTED),
        (Http2, b"DELETED", GRANTED, GRANTED),
        (Http2, b"DELETE,GET", HOST, HOST),
        (Http2, b"", HOST, HOST),
    ];
    let rows = TABLE.iter().map(|(protocol, method, envoy, embedded)| {
        let request = Request::new(method, "/data").over(*protocol);
        Row::new("method", request, envoy, embedded)
    });
    rows.collect()
}

fn paths() -> Vec<Row> {
    const TABLE: &[(&[u8], &str, &str)] = &[
        // Plain.
        (b"/", ARRIVES, ARRIVES),
        (b"/data/", ARRIVES, ARRIVES),
        (b"/data?x=/admin", ARRIVES, ARRIVES),
        (b"/open/..x/.y", ARRIVES, ARRIVES),
        (b"/administrator", ARRIVES, ARRIVES),
        (b"/caf%C3%A9%20%7e", ARRIVES, ARRIVES),
        (b"/100%25", ARRIVES, ARRIVES),
        (b"/admin", DENIED, DENIED),
        (b"/admin/", DENIED, DENIED),
        (b"/admin/users", DENIED, DENIED),
        (b"/admin?x", DENIED, DENIED),
        (b"/admin#x", HOST, DENIED),
        (b"/open#/../admin", HOST, ARRIVES),
        // Case, which rules tell apart.
        (b"/ADMIN", ARRIVES, ARRIVES),
        (b"/Admin/users", ARRIVES, ARRIVES),
        // Encoded letters.
        (b"/%61dmin", DENIED, DENIED),
        (b"/admi%6e", DENIED, DENIED),
        (b"/admi%6E/", DENIED, DENIED),
        (b"/%61%64%6d%69%6e/users", DENIED, DENIED),
        (b"/%%36%31dmin", PATH, PATH),
        (b"/%2561dmin", PATH, PATH),
        (b"/%u0061dmin", PATH, PATH),
        (b"/admin%", PATH, PATH),
        (b"/admin%2", PATH, PATH),
        // Empty segments.
        (b"//admin", DENIED, PATH),
        (b"///admin", DENIED, PATH),
        (b"/open//admin", ARRIVES, PATH),
        (b"/open/..//admin", DENIED, PATH),
        (b"/admin//users", DENIED, PATH),
        // Dot segments.
        (b"/./admin", DENIED, PATH),
        (b"/open/../admin", DENIED, PATH),
        (b"/open/./../admin", DENIED, PATH),
        (b"/open/../../admin", DENIED, PATH),
        (b"/open/%2e%2e/admin", DENIED, PATH),
        (b"/open/%2E%2E/admin", DENIED, PATH),
        (b"/open/.%2e/admin", DENIED, PATH),
        (b"/open/%2e./admin", DENIED, PATH),
        (b"/admin/.", DENIED, PATH),
        (b"/admin/x/..", DENIED, PATH),
        (b"/open/%252e%252e/admin", PATH, PATH),
        (b"/open?/../admin", ARRIVES, ARRIVES),
        // Encoded slashes.
        (b"/open/..%2fadmin", HOST, PATH),
        (b"/open/..%2Fadmin", HOST, PATH),
        (b"/open%2f..%2fadmin", HOST, PATH),
        (b"/%2fadmin", HOST, PATH),
        (b"/%2Fadmin", HOST, PATH),
        (b"/admin%2fusers", HOST, PATH),
        (b"/admin%2Fusers", HOST, PATH),
        (b"/open/..%252fadmin", PATH, PATH),
        (b"/admin%252Fusers", PATH, PATH),
        // Backslashes.
        (b"\\admin", HOST, HOST),
        (b"/\\admin", DENIED, PATH),
        (b"/open\\..\\admin", DENIED, PATH),
        (b"/open/..\\admin", DENIED, PATH),
        (b"/%5cadmin", HOST, PATH),
        (b"/open/..%5Cadmin", HOST, PATH),
        // Parameters of segments.
        (b"/;/admin", PATH, PATH),
        (b"/admin;x", PATH, PATH),
        (b"/admin;jsessionid=1/users", PATH, PATH),
        (b"/open/..;/admin", DENIED, PATH),
        (b"/open/..;x=y/admin", DENIED, PATH),
        (b"/open;/../admin", DENIED, PATH),
        (b"/admin%3Bx", PATH, PATH),
        // Overlong UTF-8, and characters that look like others.
        (b"/%c1%a1dmin", PATH, PATH),
        (b"/open/%c0%ae%c0%ae/admin", PATH, PATH),
        (b"/open/..%c0%afadmin", PATH, PATH),
        (b"/%e0%80%afadmin", PATH, PATH),
        (b"/open/..%u2215admin", PATH, PATH),
        (b"/open/%ef%bc%8e%ef%bc%8e/admin", ARRIVES, ARRIVES),
        (b"/open/\xc0\xae\xc0\xae/admin", HOST, HOST),
        (b"/adm\xc3\xadn", HOST, ARRIVES),
        // The end of a name.
        (b"/admin.", ARRIVES, ARRIVES),
        (b"/admin./users", ARRIVES, ARRIVES),
        (b"/admin%20", ARRIVES, ARRIVES),
        (b"/admin%00", HOST, PATH),
        (b"/admin%00.html", HOST, PATH),
        (b"/%00/admin", HOST, PATH),
        (b"/admin%09", PATH, PATH),
        (b"/admin%0d%0a", PATH, PATH),
        (b"/open%0a/../admin", DENIED, PATH),
        (b"/admin%7f", PATH, PATH),
        (b"/admin%3fx", PATH, PATH),
        (b"/admin%23x", PATH, PATH),
        (b"/admin\0", HOST, HOST),
        (b"/admin x", HOST, HOST),
        (b"/admin\t", DENIED, HOST),
        // Other forms of a target.
        (b"http://service.test/admin", DENIED, DENIED),
        (b"http://service.test//admin", DENIED, PATH),
        (b"HTTP://SERVICE.TEST/admin", DENIED, DENIED),
        (b"http://service.test/open/../admin", DENIED, PATH),
        (b"http://closed.test/data", DENIED, HOST),
        (b"http://service.test@closed.test/data", DENIED, HOST),
        (b"http://service.test", ARRIVES, ARRIVES),
        (b"admin", HOST, HOST),
        (b"*", HOST, ARRIVES),
        (b"service.test:80", HOST, HOST),
    ];
    let rows = TABLE.iter().map(|(target, envoy, embedded)| {
        Row::new("path", Request::new("GET", target), envoy, embedded)
    });
    rows.collect()
}

fn hosts() -> Vec<Row> {
    use Protocol::{Http1, Http2};
    const TABLE: &[(Protocol, &[&[u8]], &str, &str)] = &[
        (Http1, &[b"SERVICE.test:80"], ARRIVES, ARRIVES),
        (Http1, &[b"closed.test"], DENIED, DENIED),
        (Http1, &[b"CLOSED.Test"], DENIED, DENIED),
        (Http1, &[b"closed.test:80"], DENIED, DENIED),
        (Http1, &[b"closed.test:0080"], DENIED, DENIED),
        (Http1, &[b"closed.test."], DENIED, DENIED),
        (Http1, &[b"closed.test.:80"], DENIED, DENIED),
        (Http1, &[b"closed.test:"], PATH, PATH),
        (Http1, &[b"service.test:"], PATH, PATH),
        (Http1, &[b"closed.test:65536"], PATH, PATH),
        (Http1, &[b"service.test:65536"], PATH, PATH),
        (Http1, &[b"closed.test:8x"], PATH, PATH),
        (Http1, &[b"closed.test.."], PATH, PATH),
        (Http1, &[b"service.test", b"closed.test"], PATH, PATH),
        (Http1, &[b"closed.test", b"service.test"], PATH, PATH),
        (Http1, &[b"service.test", b"service.test"], PATH, PATH),
        (Http1, &[b"service.test, closed.test"], HOST, HOST),
        (Http1, &[b"[::1]"], GRANTED, GRANTED),
        (Http1, &[b"[::1]:80"], GRANTED, GRANTED),
        (Http1, &[b"[::1"], PATH, HOST),
        (Http1, &[b"user@closed.test"], PATH, PATH),
        (Http1, &[b"closed.test@service.test"], PATH, PATH),
        (Http1, &[b"closed%2etest"], PATH, HOST),
        (Http1, &[b"closed.test/x"], HOST, HOST),
        (Http1, &[b"closed.test\\x"], HOST, HOST),
        (Http1, &[b"closed .test"], HOST, HOST),
        (Http1, &[b" closed.test\t"], DENIED, DENIED),
        (Http1, &[b"closed.test\0"], HOST, HOST),
        (Http1, &[b"closed\xadtest"], HOST, HOST),
        (Http1, &[b""], PATH, HOST),
        (Http1, &[], HOST, HOST),
        (Http2, &[b"closed.test"], DENIED, DENIED),
        (Http2, &[b"CLOSED.test:80"], DENIED, DENIED),
        (Http2, &[b"closed.test:"], PATH, PATH),
        (Http2, &[b"closed.test:65536"], PATH, PATH),
        (Http2, &[b"service.test", b"closed.test"], GRANTED, HOST),
        (Http2, &[b"closed.test", b"service.test"], DENIED, HOST),
        (Http2, &[b"user@closed.test"], HOST, PATH),
    ];
    let rows = TABLE.iter().map(|(protocol, hosts, envoy, embedded)| {
        let request = Request::new("GET", "/data").over(*protocol).hosts(hosts);
        Row::new("host", request, envoy, embedded)
    });
    rows.collect()
}

/// Every spelling of two identity headers in which `mark` stands for one or all of its `-`.
fn spellings(mark: char) -> Vec<String> {
    let mark = mark.to_string();
    ["x-auth-subject", "x-auth-client-id"]
        .into_iter()
        .flat_map(|name| {
            let (before, after) = name.rsplit_once('-').unwrap();
            [
                name.replace('-', &mark),
                name.replacen('-', &mark, 1),
                format!("{before}{mark}{after}"),
            ]
        })
        .collect()
}

fn identities() -> Vec<Row> {
    let mut rows = Vec::new();
    for mark in MARKS.chars() {
        // Envoy refuses names with it.
        let envoy = if mark == '_' { HOST } else { ARRIVES };
        for target in ["/data", "/open"] {
            let plain = || Request::new("GET", target);
            let over = plain().over(Protocol::Http2);
            let (mut lower, mut mixed, mut over) = (plain(), plain(), over);
            for name in spellings(mark) {
                let upper = name.replace("auth", "AutH").replace('i', "I");
                mixed = mixed.header(&upper, FORGED);
                lower = lower.header(&name, FORGED);
                over = over.header(&name, FORGED);
            }
            let kind = format!("identity with {mark}");
            for request in [lower, mixed, over] {
                rows.push(Row::new(&kind, request, envoy, ARRIVES));
            }
        }
    }
    const TABLE: &[(&str, &[u8], &str, &str)] = &[
        // Named in `Connection`, it is still not the next hop's to drop.
        ("connection", b"close, x-auth-subject", ARRIVES, ARRIVES),
        ("x-auth-subject ", b"forged", HOST, HOST),
        ("x-auth-subject\t", b"forged", HOST, HOST),
        ("x-auth-subject\0", b"forged", HOST, HOST),
        ("x-auth-subject:x", b"forged", ARRIVES, ARRIVES),
        ("x", b"y\r\n x-auth-subject: forged", ARRIVES, HOST),
        ("x", b"y\nx-auth-subject: forged", ARRIVES, ARRIVES),
        ("x", b"y\rx-auth-subject: forged", ARRIVES, HOST),
    ];
    rows.extend(TABLE.iter().map(|(name, value, envoy, embedded)| {
        let request = Request::new("GET", "/data").header(name, value);
        let kind = format!("{}: {}", name.escape_debug(), value.escape_ascii());
        Row::new(&kind, request, envoy, embedded)
    }));
    rows
}

fn trailers() -> Vec<Row> {
    let mut rows = Vec::new();
    for mark in MARKS.chars() {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let mut request = Request::new("POST", "/data").over(protocol);
            for name in spellings(mark) {
                request = request.trailer(name, FORGED);
            }
            let kind = format!("trailer with {mark}");
            rows.push(Row::new(&kind, request, GRANTED, GRANTED));
        }
    }
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let request = Request::new("POST", "/data").over(protocol);
        let request = request.trailer("authorization", FORGED);
        rows.push(Row::new("trailer authorization", request, GRANTED, GRANTED));
    }
    rows
}

/// Headers in which some frameworks look for a method, a path or a host. Servers do not.
fn overrides() -> Vec<Row> {
    let table = [
        ("x-http-method-override", "DELETE"),
        ("x-http-method", "DELETE"),
        ("x-method-override", "DELETE"),
        ("x-original-url", "/admin"),
        ("x-rewrite-url", "/admin"),
        ("x-forwarded-uri", "/admin"),
        ("x-forwarded-prefix", "/admin"),
        ("x-envoy-original-path", "/admin"),
        ("script-name", "/admin"),
        ("path-info", "/admin"),
        ("x-forwarded-host", "closed.test"),
        ("x-host", "closed.test"),
        ("forwarded", "host=closed.test"),
    ];
    let mut rows: Vec<_> = table
        .map(|(name, value)| {
            let request = Request::new("POST", "/data").header(name, value);
            Row::new(&format!("{name}: {value}"), request, ARRIVES, ARRIVES)
        })
        .into();
    // With these names gunicorn takes them for its own variables.
    for name in ["SCRIPT_NAME", "PATH_INFO"] {
        let request = Request::new("GET", "/data").header(name, "/admin");
        rows.push(Row::new(name, request, HOST, ARRIVES));
    }
    rows
}
