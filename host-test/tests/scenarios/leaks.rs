//! F13: no token and no form of the client secret is in anything that was logged, answered, stored
//! or printed by Debug.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::fixture::{CLIENT_ID, CLIENT_SECRET};
use crate::single::table::client_auth;

/// The client secret verbatim, form-encoded, in Basic with and without form-encoding, in JSON and
/// in Debug.
fn own_secrets() -> Vec<String> {
    let form = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    vec![
        CLIENT_SECRET.to_owned(),
        form(CLIENT_SECRET),
        STANDARD.encode(format!("{}:{}", form(CLIENT_ID), form(CLIENT_SECRET))),
        STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}")),
        serde_json::Value::from(CLIENT_SECRET).to_string(),
        CLIENT_SECRET.escape_debug().to_string(),
    ]
}

/// `texts`: each with what it is. `tokens`: as sent, or the part that no encoding changes.
pub(crate) fn check(
    texts: impl IntoIterator<Item = (String, Vec<u8>)>,
    tokens: impl IntoIterator<Item = String>,
) -> Result<(), String> {
    let others = client_auth::SECRETS.map(str::to_owned);
    let secrets: Vec<_> = (own_secrets().into_iter().chain(others).chain(tokens)).collect();
    for (what, text) in texts {
        // Bytes that are not UTF-8 may surround a secret.
        let text = String::from_utf8_lossy(&text);
        if let Some(found) = secrets.iter().find(|secret| text.contains(secret.as_str())) {
            return Err(format!("{what} contains {found:?}: {text}"));
        }
    }
    Ok(())
}
