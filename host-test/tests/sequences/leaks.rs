//! F13: no token and no secret of ours, in any form, is in what was logged, answered or put into a store.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hosts::{CLIENT_ID, CLIENT_SECRET};

pub(crate) fn check(texts: &[Vec<u8>], tokens: &BTreeSet<String>) -> Result<(), String> {
    let form = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let mut secrets = vec![
        CLIENT_SECRET.to_owned(),
        form(CLIENT_SECRET),
        STANDARD.encode(format!("{}:{}", form(CLIENT_ID), form(CLIENT_SECRET))),
        STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}")),
        serde_json::Value::from(CLIENT_SECRET).to_string(),
        CLIENT_SECRET.escape_debug().to_string(),
    ];
    // What a token of this run begins with, with or without what form encoding does to its end.
    secrets.extend(tokens.iter().filter_map(|token| {
        let (start, _) = token.split_once('~')?;
        Some(start.to_owned())
    }));
    for text in texts {
        // A text that is not UTF-8 has its secrets in it all the same.
        let text = String::from_utf8_lossy(text);
        if let Some(found) = secrets.iter().find(|secret| text.contains(secret.as_str())) {
            return Err(format!("{found:?} is in {text}"));
        }
    }
    Ok(())
}
