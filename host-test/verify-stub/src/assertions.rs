//! Clients that authenticate with a signed assertion: `client_secret_jwt` and `private_key_jwt`
//! (RFC 7523 section 3).

use serde_json::Value;

use super::{clients::StubClient, jwt::Jws, tables::UsedIds, tokens::unix_now, urls::Urls};

/// `client_assertion_type`.
pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How far in the future an assertion may expire, in seconds: it is for one request.
const MAX_LIFETIME: i64 = 300;

/// How far in the future an assertion may be issued, in seconds: for clocks that differ a little.
const MAX_AHEAD: i64 = 5;

/// The client that made the assertion, or what is wrong with it.
pub(super) fn authenticate<'a>(
    clients: &'a [StubClient],
    assertion: &str,
    client_id: Option<&str>,
    urls: &Urls,
    used: &UsedIds,
) -> Result<&'a StubClient, &'static str> {
    let jws = Jws::parse(assertion).ok_or("the assertion is no JWT")?;
    let subject = jws.claim("sub").ok_or("the assertion has no sub")?;
    if jws.claim("iss") != Some(subject) || client_id.is_some_and(|id| id != subject) {
        return Err("iss, sub and client_id are not the same");
    }
    let client = clients.iter().find(|client| client.id == subject);
    let client = client.ok_or("no such client")?;
    let is_signed = match &client.key {
        Some(key) => jws.is_by_key(key),
        None => jws.is_by_secret(&client.secret),
    };
    if !is_signed {
        return Err("the assertion is not signed by the client");
    }
    // Exactly one audience: this issuer, or the endpoint that is called.
    let audience = match jws.claims.get("aud") {
        Some(Value::Array(one)) => match one.as_slice() {
            [one] => one.as_str(),
            _ => None,
        },
        Some(one) => one.as_str(),
        None => None,
    };
    let is_here = |audience| {
        [&urls.issuer, &urls.token, &urls.introspect, &urls.revoke]
            .into_iter()
            .any(|url| url == audience)
    };
    if !audience.is_some_and(is_here) {
        return Err("the assertion is for another audience");
    }
    let now = unix_now() + client.clock_ahead;
    let expires = jws.claims.get("exp").and_then(Value::as_i64);
    if !expires.is_some_and(|expires| expires > now && expires <= now + MAX_LIFETIME) {
        return Err("the assertion has expired, or is valid for too long");
    }
    let issued = jws.claims.get("iat");
    if issued.is_some_and(|issued| issued.as_i64().is_none_or(|at| at > now + MAX_AHEAD)) {
        return Err("the assertion is from the future");
    }
    let id = jws.claim("jti").ok_or("the assertion has no jti")?;
    if !used.is_first_use(&client.id, id) {
        return Err("the assertion was used before");
    }
    Ok(client)
}
