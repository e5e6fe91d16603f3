//! What tests put behind the auth check: answers with what reached it, as JSON, with a body that
//! never ends, or with what a key-value store says.

#![cfg(target_family = "wasm")]

use serde_json::{Value, json};
use spin_sdk::key_value::{Error, Store};
use spin_sdk::wasip3::http::service::export;
use spin_sdk::wasip3::http::types::{ErrorCode, Fields, HeaderError, Method, Request, Response};
use spin_sdk::wasip3::wit_bindgen::StreamResult;
use spin_sdk::wasip3::{spawn, wit_future, wit_stream};

/// Bytes read or written at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// A path that ends so is answered without end.
const ENDLESS: &str = "/endless";

/// A path that ends so is answered with what becomes of fields that are made of the request's own.
const FIELDS: &str = "/fields";

/// What follows this in a path says what to do with a store: `/kv/get/LABEL/KEY`,
/// `set/LABEL/KEY/VALUE`, `delete/LABEL/KEY`, `exists/LABEL/KEY`, `keys/LABEL`, or
/// `open/LABEL/COUNT` to have so many handles at once.
const STORES: &str = "/kv/";

struct EchoApp;
export!(EchoApp);

impl spin_sdk::wasip3::exports::http::handler::Guest for EchoApp {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        if target.ends_with(ENDLESS) {
            return Ok(endless());
        }
        if target.ends_with(FIELDS) {
            return Ok(whole(
                fields(&request.get_headers()).to_string().into_bytes(),
            ));
        }
        if let Some((_, command)) = target.split_once(STORES) {
            let answer = match call(command).await {
                Ok(value) => json!({ "ok": value }),
                Err(error) => json!({ "error": format!("{error:?}") }),
            };
            return Ok(whole(answer.to_string().into_bytes()));
        }
        let headers = pairs(&request.get_headers());
        let method = method(&request.get_method());
        let authority = request.get_authority();
        let (bytes, crc32, trailers) = read(request).await?;
        let seen = json!({
            "method": method,
            "target": target,
            "authority": authority,
            "headers": headers,
            "body": { "bytes": bytes, "crc32": crc32 },
            "trailers": trailers,
        });
        Ok(whole(seen.to_string().into_bytes()))
    }
}

/// Names and values, of which each byte becomes one character (Latin-1), so none is changed.
fn pairs(fields: &Fields) -> Vec<(String, String)> {
    let text = |bytes: Vec<u8>| bytes.into_iter().map(char::from).collect();
    let all = fields.copy_all().into_iter();
    all.map(|(name, value)| (name, text(value))).collect()
}

/// Makes the same fields anew in two ways.
fn fields(own: &Fields) -> Value {
    let told = |result: Result<(), HeaderError>| match result {
        Ok(()) => "ok".to_owned(),
        Err(error) => format!("{error:?}"),
    };
    let list = Fields::from_list(&own.copy_all());
    let copy = own.clone();
    json!({ "from_list": told(list.map(drop)), "clone": told(copy.append("x-more", b"1")) })
}

/// Does what a path says with the store that it names.
async fn call(command: &str) -> Result<Value, Error> {
    let words: Vec<_> = command.split('/').collect();
    let store = Store::open(words.get(1).copied().unwrap_or_default()).await?;
    match *words.as_slice() {
        ["get", _, key] => {
            let value = store.get(key).await?;
            Ok(json!(
                value.map(|value| String::from_utf8_lossy(&value).into_owned())
            ))
        }
        ["set", _, key, value] => Ok(json!(store.set(key, value).await?)),
        ["delete", _, key] => Ok(json!(store.delete(key).await?)),
        ["exists", _, key] => Ok(json!(store.exists(key).await?)),
        ["keys", _] => Ok(json!(store.get_keys().await.collect().await?)),
        ["open", label, count] => {
            let mut open = vec![store];
            while open.len().to_string() != count {
                open.push(Store::open(label).await?);
            }
            Ok(json!(open.len()))
        }
        _ => Ok(json!("no such command")),
    }
}

fn method(method: &Method) -> String {
    match method {
        Method::Get => "GET".to_owned(),
        Method::Head => "HEAD".to_owned(),
        Method::Post => "POST".to_owned(),
        Method::Put => "PUT".to_owned(),
        Method::Delete => "DELETE".to_owned(),
        Method::Connect => "CONNECT".to_owned(),
        Method::Options => "OPTIONS".to_owned(),
        Method::Trace => "TRACE".to_owned(),
        Method::Patch => "PATCH".to_owned(),
        Method::Other(name) => name.clone(),
    }
}

/// Length and checksum of the body, which is never held, and the trailers.
async fn read(request: Request) -> Result<(u64, u32, Vec<(String, String)>), ErrorCode> {
    let (_done, done) = wit_future::new(|| Ok(()));
    let (mut stream, end) = Request::consume_body(request, done);
    let mut bytes = 0_u64;
    let mut crc32 = crc32fast::Hasher::new();
    let mut buffer = Vec::with_capacity(PIECE_BYTES);
    loop {
        let result;
        (result, buffer) = stream.read(buffer).await;
        bytes = bytes.saturating_add(u64::try_from(buffer.len()).unwrap_or(u64::MAX));
        crc32.update(&buffer);
        buffer.clear();
        match result {
            StreamResult::Complete(_) => {}
            StreamResult::Dropped | StreamResult::Cancelled => break,
        }
    }
    let trailers = end.await?.as_ref().map(pairs);
    Ok((bytes, crc32.finalize(), trailers.unwrap_or_default()))
}

fn whole(body: Vec<u8>) -> Response {
    let fields = Fields::from_list(&[
        ("content-type".to_owned(), b"application/json".to_vec()),
        (
            "content-length".to_owned(),
            body.len().to_string().into_bytes(),
        ),
    ]);
    let (mut stream, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(
        fields.unwrap_or_else(|_| Fields::new()),
        Some(contents),
        no_trailers,
    );
    spawn(async move {
        let _unread = stream.write_all(body).await;
        drop(stream);
        drop(trailers);
    });
    response
}

fn endless() -> Response {
    let (mut stream, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(contents), no_trailers);
    spawn(async move {
        // What comes back is what nobody read any more: the reader has gone.
        while stream.write_all(vec![b'.'; PIECE_BYTES]).await.is_empty() {}
        drop(trailers);
    });
    response
}
