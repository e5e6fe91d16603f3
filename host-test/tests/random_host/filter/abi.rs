//! The calls of proxy-wasm 0.2.1 and of WASI that the filter makes.

use core::time::Duration;

use wasmtime::{Caller, Linker, Result};

use super::driver::{SECRET, TOKEN};
use super::state::{Call, End, Headers, State, Stream};

/// Statuses of the ABI.
const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const BAD_ARGUMENT: u32 = 2;
const SERIALIZATION_FAILURE: u32 = 3;
const PARSE_FAILURE: u32 = 4;
const EMPTY: u32 = 7;
const CAS_MISMATCH: u32 = 8;
const INTERNAL_FAILURE: u32 = 10;
pub(super) const FAILURES: &[u32] = &[
    NOT_FOUND,
    BAD_ARGUMENT,
    SERIALIZATION_FAILURE,
    PARSE_FAILURE,
    EMPTY,
    CAS_MISMATCH,
    INTERNAL_FAILURE,
];

/// Kinds of header maps and buffers.
const REQUEST_HEADERS: u32 = 0;
const REQUEST_TRAILERS: u32 = 1;
const RESPONSE_HEADERS: u32 = 2;
const CALL_HEADERS: u32 = 6;
const CALL_BODY: u32 = 4;
const CONFIGURATION: u32 = 7;

/// WASI's `EIO`.
const WASI_FAILURE: u32 = 29;
/// The wall clock of WASI and of Envoy starts here, in seconds since 1970.
const START: Duration = Duration::from_secs(1_800_000_000);

type Host<'a> = Caller<'a, State>;

fn read(host: &mut Host<'_>, at: u32, size: u32) -> Vec<u8> {
    let memory = host.data().memory.unwrap();
    let (at, size) = (at as usize, size as usize);
    memory.data(host)[at..at + size].to_vec()
}

fn write(host: &mut Host<'_>, at: u32, bytes: &[u8]) {
    let memory = host.data().memory.unwrap();
    memory.write(host, at as usize, bytes).unwrap();
}

fn write_number(host: &mut Host<'_>, at: u32, number: u32) {
    write(host, at, &number.to_le_bytes());
}

/// Hands bytes over as Envoy does: in memory that the filter allocates; a null pointer for none.
fn hand_over(host: &mut Host<'_>, bytes: &[u8], at: u32, size_at: u32) -> Result<()> {
    let mut address = 0;
    let size = u32::try_from(bytes.len()).unwrap();
    if size > 0 {
        let allocate = host.data().allocate.clone().unwrap();
        address = allocate.call(&mut *host, size)?;
        write(host, address, bytes);
    }
    write_number(host, at, address);
    write_number(host, size_at, size);
    Ok(())
}

/// Header lines in the encoding of the ABI.
fn encode(headers: &Headers) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
    let mut sizes = u32::try_from(headers.len()).unwrap().to_le_bytes().to_vec();
    let mut texts = Vec::new();
    for (name, value) in headers {
        sizes.extend(length(name.as_bytes()));
        sizes.extend(length(value));
        texts.extend(name.as_bytes());
        texts.push(0);
        texts.extend(value);
        texts.push(0);
    }
    sizes.extend(texts);
    sizes
}

impl State {
    fn stream(&mut self) -> Option<&mut Stream> {
        self.streams.get_mut(&self.effective)
    }

    fn headers(&mut self, map: u32) -> Option<&mut Headers> {
        match map {
            CALL_HEADERS => Some(&mut self.response_headers),
            REQUEST_HEADERS => self.stream().map(|stream| &mut stream.request),
            REQUEST_TRAILERS => self.stream().map(|stream| &mut stream.trailers),
            RESPONSE_HEADERS => self.stream().map(|stream| &mut stream.response),
            other => panic!("header map {other}"),
        }
    }

    fn root(&self) -> u32 {
        let stream = self.streams.get(&self.effective);
        stream.map_or(self.effective, |stream| stream.root)
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// Fails this host call, if its turn has come.
macro_rules! may_fail {
    ($host:expr, $($known:expr),*) => {
        if let Some(status) = $host.data_mut().fault(&[$($known),*]) {
            return Ok(status);
        }
    };
}

pub(super) fn add_to(linker: &mut Linker<State>) -> Result<()> {
    add_wasi(linker)?;
    add_headers(linker)?;
    add_streams(linker)?;
    add_shared(linker)?;
    add_rest(linker)
}

fn add_wasi(linker: &mut Linker<State>) -> Result<()> {
    const WASI: &str = "wasi_snapshot_preview1";
    linker.func_wrap(
        WASI,
        "random_get",
        |mut host: Host<'_>, at: u32, size: u32| {
            may_fail!(host,);
            let rng = &mut host.data_mut().rng;
            let bytes: Vec<u8> = (0..size).map(|_| rng.u8(..)).collect();
            write(&mut host, at, &bytes);
            Result::Ok(OK)
        },
    )?;
    linker.func_wrap(
        WASI,
        "environ_sizes_get",
        |mut host: Host<'_>, count: u32, size: u32| {
            let (variables, bytes) = (host.data().variables, host.data().environment.len());
            write_number(&mut host, count, variables);
            write_number(&mut host, size, u32::try_from(bytes).unwrap());
            OK
        },
    )?;
    linker.func_wrap(
        WASI,
        "environ_get",
        |mut host: Host<'_>, pointers: u32, at: u32| {
            let bytes = host.data().environment.clone();
            let starts = std::iter::once(0).chain(
                (1..)
                    .zip(&bytes)
                    .filter(|(_, b)| **b == 0)
                    .map(|(end, _)| end),
            );
            for (place, start) in (0..host.data().variables).zip(starts) {
                write_number(&mut host, pointers + 4 * place, at + start);
            }
            write(&mut host, at, &bytes);
            OK
        },
    )?;
    linker.func_wrap(
        WASI,
        "clock_time_get",
        |mut host: Host<'_>, clock: u32, _: u64, at: u32| {
            may_fail!(host,);
            let now = host.data().now + if clock == 0 { START } else { Duration::ZERO };
            let nanoseconds = u64::try_from(now.as_nanos()).unwrap();
            write(&mut host, at, &nanoseconds.to_le_bytes());
            Result::Ok(OK)
        },
    )?;
    linker.func_wrap(WASI, "fd_write", |_: u32, _: u32, _: u32, _: u32| {
        WASI_FAILURE
    })?;
    Ok(())
}

fn add_headers(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_header_map_pairs",
        |mut host: Host<'_>, map: u32, at: u32, size_at: u32| {
            may_fail!(host,);
            let headers = host.data_mut().headers(map).map(|headers| encode(headers));
            hand_over(&mut host, &headers.unwrap_or_default(), at, size_at)?;
            Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_remove_header_map_value",
        |mut host: Host<'_>, map: u32, at: u32, size: u32| {
            may_fail!(host,);
            let name = text(read(&mut host, at, size));
            if let Some(headers) = host.data_mut().headers(map) {
                headers.retain(|(known, _)| *known != name);
            }
            Result::Ok(OK)
        },
    )?;
    for (function, replaces) in [
        ("proxy_add_header_map_value", false),
        ("proxy_replace_header_map_value", true),
    ] {
        linker.func_wrap(
            "env",
            function,
            move |mut host: Host<'_>,
                  map: u32,
                  name_at: u32,
                  name_size: u32,
                  at: u32,
                  size: u32| {
                may_fail!(host,);
                let name = text(read(&mut host, name_at, name_size));
                let value = read(&mut host, at, size);
                if let Some(headers) = host.data_mut().headers(map) {
                    headers.retain(|(known, _)| !replaces || *known != name);
                    headers.push((name, value));
                }
                Result::Ok(OK)
            },
        )?;
    }
    linker.func_wrap(
        "env",
        "proxy_get_buffer_bytes",
        |mut host: Host<'_>, buffer: u32, start: u32, most: u32, at: u32, size_at: u32| {
            may_fail!(host, NOT_FOUND);
            let bytes = match buffer {
                CALL_BODY => &host.data().response_body,
                CONFIGURATION => &host.data().configuration,
                other => panic!("buffer {other}"),
            };
            let bytes = bytes.iter().skip(start as usize).take(most as usize);
            let bytes: Vec<u8> = bytes.copied().collect();
            hand_over(&mut host, &bytes, at, size_at)?;
            Ok(OK)
        },
    )?;
    Ok(())
}

fn add_streams(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_set_effective_context",
        |mut host: Host<'_>, id: u32| {
            let state = host.data_mut();
            let exists = state.roots.contains(&id) || state.streams.contains_key(&id);
            if !exists {
                return Ok(BAD_ARGUMENT);
            }
            may_fail!(host,);
            host.data_mut().effective = id;
            Result::Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_continue_stream",
        |mut host: Host<'_>, kind: u32| {
            may_fail!(host,);
            assert_eq!(kind, 0, "only requests are held");
            let id = host.data().effective;
            host.data_mut().grant(id);
            Result::Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_send_local_response",
        |mut host: Host<'_>,
         status: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         at: u32,
         size: u32,
         _: u32| {
            may_fail!(host,);
            let _ = (read(&mut host, at, size), status);
            assert!((400..=599).contains(&status), "local reply {status}");
            if let Some(stream) = host.data_mut().stream() {
                assert_ne!(stream.end, Some(End::Granted), "refused after a grant");
                stream.end.get_or_insert(End::Refused);
            }
            Result::Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_property",
        |mut host: Host<'_>, path_at: u32, path_size: u32, at: u32, size_at: u32| {
            may_fail!(host, NOT_FOUND, SERIALIZATION_FAILURE, INTERNAL_FAILURE);
            let path = read(&mut host, path_at, path_size);
            let value = if path == b"request\0protocol" {
                let protocols: [&[u8]; 4] = [b"HTTP/1.1", b"HTTP/2", b"", b"\xff"];
                host.data_mut().rng.choice(protocols).map(<[u8]>::to_vec)
            } else {
                let stream = host.data_mut().stream();
                stream.and_then(|stream| stream.filter_state.get(&path).cloned())
            };
            let Some(value) = value else {
                return Ok(NOT_FOUND);
            };
            hand_over(&mut host, &value, at, size_at)?;
            Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_property",
        |mut host: Host<'_>, path_at: u32, path_size: u32, at: u32, size: u32| {
            may_fail!(host,);
            let path = read(&mut host, path_at, path_size);
            let value = read(&mut host, at, size);
            if let Some(stream) = host.data_mut().stream() {
                stream.filter_state.insert(path, value);
            }
            Result::Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_http_call",
        |mut host: Host<'_>,
         _cluster: u32,
         _cluster_size: u32,
         _headers: u32,
         _headers_size: u32,
         body: u32,
         body_size: u32,
         _trailers: u32,
         _trailers_size: u32,
         _timeout: u32,
         id_at: u32| {
            may_fail!(host, BAD_ARGUMENT, INTERNAL_FAILURE);
            let body = read(&mut host, body, body_size);
            let token = form_urlencoded::parse(&body)
                .find(|(name, _)| name == "token")
                .map(|(_, token)| token.into_owned());
            let state = host.data_mut();
            state.last_call += 1;
            let id = state.last_call;
            let call = Call {
                owner: state.effective,
                token,
                sent: state.now,
            };
            state.calls.insert(id, call);
            write_number(&mut host, id_at, id);
            Result::Ok(OK)
        },
    )?;
    Ok(())
}

fn add_shared(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_shared_data",
        |mut host: Host<'_>, key_at: u32, key_size: u32, at: u32, size_at: u32, version_at: u32| {
            may_fail!(host, NOT_FOUND);
            let key = read(&mut host, key_at, key_size);
            let Some((mut value, version)) = host.data().shared.get(&key).cloned() else {
                return Ok(NOT_FOUND);
            };
            if host.data_mut().fault(FAILURES).is_some() {
                // Somebody else has written to it.
                value = crate::bytes(&mut host.data_mut().rng, 300);
            }
            hand_over(&mut host, &value, at, size_at)?;
            write_number(&mut host, version_at, version);
            Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_shared_data",
        |mut host: Host<'_>, key_at: u32, key_size: u32, at: u32, size: u32, version: u32| {
            may_fail!(host, CAS_MISMATCH);
            let key = read(&mut host, key_at, key_size);
            let value = read(&mut host, at, size);
            let shared = &mut host.data_mut().shared;
            let known = shared.get(&key).map(|(_, version)| *version);
            if version > 0 && known.is_some_and(|known| known != version) {
                return Ok(CAS_MISMATCH);
            }
            shared.insert(key, (value, known.unwrap_or(0) + 1));
            Result::Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_register_shared_queue",
        |mut host: Host<'_>, _name: u32, _size: u32, id_at: u32| {
            may_fail!(host,);
            let root = host.data().root();
            host.data_mut().queues.push(root);
            let id = u32::try_from(host.data().queues.len()).unwrap();
            write_number(&mut host, id_at, id);
            Result::Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_enqueue_shared_queue",
        |mut host: Host<'_>, queue: u32, _at: u32, _size: u32| {
            may_fail!(host, NOT_FOUND);
            host.data_mut().posted.push(queue);
            Result::Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_dequeue_shared_queue",
        |mut host: Host<'_>, _queue: u32, at: u32, size_at: u32| {
            may_fail!(host, EMPTY, NOT_FOUND);
            hand_over(&mut host, b"", at, size_at)?;
            Ok(OK)
        },
    )?;
    Ok(())
}

fn add_rest(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_log",
        |mut host: Host<'_>, _level: u32, at: u32, size: u32| {
            let line = text(read(&mut host, at, size));
            for secret in [SECRET, TOKEN] {
                assert!(!line.contains(secret), "{line}");
            }
            host.data_mut().log.push(line);
            OK
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_current_time_nanoseconds",
        |mut host: Host<'_>, at: u32| {
            may_fail!(host,);
            let now = u64::try_from((START + host.data().now).as_nanos()).unwrap();
            write(&mut host, at, &now.to_le_bytes());
            Result::Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_tick_period_milliseconds",
        |mut host: Host<'_>, period: u32| {
            may_fail!(host,);
            let root = host.data().root();
            host.data_mut().tick_periods.insert(root, period);
            Result::Ok(OK)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_define_metric",
        |mut host: Host<'_>, _kind: u32, _at: u32, _size: u32, id_at: u32| {
            may_fail!(host,);
            host.data_mut().metrics += 1;
            let id = host.data().metrics;
            write_number(&mut host, id_at, id);
            Result::Ok(OK)
        },
    )?;
    for function in ["proxy_increment_metric", "proxy_record_metric"] {
        linker.func_wrap(
            "env",
            function,
            |mut host: Host<'_>, _metric: u32, _value: u64| {
                may_fail!(host, NOT_FOUND);
                Result::Ok(OK)
            },
        )?;
    }
    Ok(())
}
