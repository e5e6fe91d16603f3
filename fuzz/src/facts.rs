//! Responses of the issuer, against a second reader of RFC 7662 on top of `serde_json::Value`.

use std::time::Duration;

use arbitrary::Unstructured;
use base64_simd::URL_SAFE_NO_PAD;
use serde_json::Value;
use token_check::{CacheStatus, Decision, IssuerResponse, Progress, Reason, Step, Verdict};

use crate::support::{
    START, at, below, bytes, check, done, flag, head, introspects, is_granted, pick, response, text,
};

const LEEWAY: i64 = 10;
const TTL: Duration = Duration::from_secs(60);
/// Latest time accepted, in seconds since 1970: the end of the year 9999.
const MAX_TIME: i64 = 253_402_300_799;

/// What the two policies require.
const REQUIRED: [(&str, &str); 5] = [
    ("expected_aud", "aud-a aud-b"),
    ("expected_issuer", "https://iss"),
    ("required_scope", "read write"),
    ("allowed_clients", "shop"),
    ("allowed_grant_types", "cc"),
];

/// Which claims the header holds.
const CLAIMS_HEADER: [&str; 3] = ["all", "none", "exp sub x"];
/// Longest header of claims, in bytes.
const MAX_CLAIMS_BYTES: usize = 8000;

/// Reads a response, and decides by it twice.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let required = below(&mut input, CLAIMS_HEADER.len() << REQUIRED.len());
    let claims_header = CLAIMS_HEADER[required >> REQUIRED.len()];
    let required: Vec<_> = (REQUIRED.iter().enumerate())
        .filter(|(place, _)| required >> place & 1 == 1)
        .map(|(_, setting)| *setting)
        .collect();
    let later = Duration::from_millis(u64::from(input.arbitrary::<u16>().unwrap_or_default()) * 2);
    let status = pick(
        &mut input,
        &[200, 200, 200, 200, 400, 401, 403, 302, 500, 204],
    );
    let content_type = content_type(&mut input);
    let coding = pick(
        &mut input,
        &[None, None, Some("identity"), Some("gzip"), Some("")],
    );
    let body = if flag(&mut input) {
        document(&mut input).into_bytes()
    } else {
        input.take_rest().to_vec()
    };
    let mut response = response(status, &content_type, &body);
    response.content_encoding = coding.map(|coding| coding.as_bytes().to_vec());
    let is_json = status == 200
        && is_json_type(&content_type)
        && coding.is_none_or(|coding| coding != "gzip");
    let answer = Answer::read(is_json, &body);
    decide(&required, claims_header, response, &body, answer, later);
}

fn content_type(input: &mut Unstructured<'_>) -> Vec<u8> {
    match below(input, 4) {
        0 => bytes(input, 40),
        1 => pick::<&[u8]>(
            input,
            &[
                b"",
                b"text/html",
                b"application/x+json",
                b"Application/JSON ;a=b",
                b"application/jwt",
            ],
        )
        .to_vec(),
        _ => b"application/json".to_vec(),
    }
}

fn is_json_type(value: &[u8]) -> bool {
    let value: String = value.iter().map(|b| char::from(*b)).collect();
    let essence = value.split(';').next().unwrap_or_default();
    let essence = essence
        .trim_matches([' ', '\t', '\n', '\r', '\x0c'])
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

// Documents.

const NAMES: [&str; 15] = [
    "active",
    "exp",
    "nbf",
    "iat",
    "aud",
    "iss",
    "sub",
    "client_id",
    "scope",
    "grant_type",
    "token_type",
    "token_use",
    "typ",
    "cnf",
    "x",
];

const STRINGS: [&str; 16] = [
    "aud-a",
    "aud-b",
    "https://iss",
    "shop",
    "cc",
    "read",
    "read write",
    "write  read x",
    "Bearer",
    "access_token",
    "refresh_token",
    "id_token",
    "mfa_challenge",
    "",
    "a\\u0022b",
    "\\u0072ead write",
];

fn document(input: &mut Unstructured<'_>) -> String {
    let mut members = Vec::new();
    if below(input, 8) > 0 {
        members.push(r#""active":true"#.to_owned());
    }
    for _ in 0..below(input, 10) {
        let name = match below(input, 12) {
            0 => serde_json::Value::from(text(input, 8)).to_string(),
            1 => r#""\u0061ctive""#.to_owned(),
            _ => format!("\"{}\"", pick(input, &NAMES)),
        };
        members.push(format!("{name}:{}", json_value(input, 3)));
    }
    format!("{{{}}}", members.join(","))
}

fn json_value(input: &mut Unstructured<'_>, depth: usize) -> String {
    match below(input, if depth == 0 { 5 } else { 7 }) {
        0 => pick(
            input,
            &[
                "true",
                "false",
                "null",
                "0",
                "-1",
                "1e400",
                "1.5",
                "253402300800",
            ],
        )
        .to_owned(),
        1 => {
            let near = i64::try_from(START).unwrap_or_default();
            let near = near + pick(input, &[-100, -11, -10, -9, 0, 9, 10, 11, 30, 70, 71, 3600]);
            format!("{near}{}", pick(input, &["", ".5", "e0"]))
        }
        2 => input.arbitrary::<i64>().unwrap_or_default().to_string(),
        3 => serde_json::Value::from(text(input, 12)).to_string(),
        4 => format!("\"{}\"", pick(input, &STRINGS)),
        5 => {
            let elements: Vec<_> = (0..below(input, 4))
                .map(|_| json_value(input, depth - 1))
                .collect();
            format!("[{}]", elements.join(","))
        }
        _ => {
            let member = |input: &mut Unstructured<'_>| {
                format!(
                    "\"{}\":{}",
                    pick(input, &NAMES),
                    json_value(input, depth - 1)
                )
            };
            let members: Vec<_> = (0..below(input, 4)).map(|_| member(input)).collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

// The second reader.

/// What a response says.
enum Answer {
    /// Nothing that lets anybody in.
    Nothing,
    /// The members of an object without duplicates, in which `active` is true.
    Active(Box<Value>),
}

impl Answer {
    fn read(is_json: bool, body: &[u8]) -> Self {
        let Some(text) = core::str::from_utf8(body).ok().filter(|_| is_json) else {
            return Self::Nothing;
        };
        let Ok(value) = serde_json::from_str::<Value>(&in_range(text)) else {
            return Self::Nothing;
        };
        let is_active = value.get("active") == Some(&Value::Bool(true));
        if is_active && colons(text) == members(&value) && depth(&value) <= 16 {
            Self::Active(Box::new(value))
        } else {
            Self::Nothing
        }
    }
}

/// The document with numbers that `serde_json` reads: one out of its range becomes one that is past
/// every time that is accepted, or before every time.
pub(crate) fn in_range(text: &str) -> String {
    let (mut out, mut rest, mut in_string, mut escaped) = (String::new(), text, false, false);
    while let Some(c) = rest.chars().next() {
        let is_part = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
        let end = if in_string {
            0
        } else {
            rest.find(|c| !is_part(c)).unwrap_or(rest.len())
        };
        // `e` alone is in `true`.
        let (part, after) = rest.split_at(end.max(c.len_utf8()));
        let is_out = |error: &serde_json::Error| error.to_string().contains("out of range");
        out.push_str(match serde_json::from_str::<f64>(part) {
            Err(error) if end > 0 && is_out(&error) => match part.starts_with('-') {
                true => "-1e300",
                false => "1e300",
            },
            _ => part,
        });
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
        rest = after;
    }
    out
}

/// How many members the text of a valid document has, duplicates included: colons outside strings.
pub(crate) fn colons(text: &str) -> usize {
    let (mut colons, mut in_string, mut escaped) = (0, false, false);
    for b in text.bytes() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b':' if !in_string => colons += 1,
            _ => {}
        }
    }
    colons
}

/// How many members a value has at any depth. `serde_json` keeps one of several with one name.
pub(crate) fn members(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(members).sum(),
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

pub(crate) fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(depth).max().unwrap_or_default(),
        Value::Object(object) => 1 + object.values().map(depth).max().unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// A time, if it is absent or in seconds.
pub(crate) fn time(value: &Value, name: &str, round: fn(f64) -> f64) -> Option<Option<i64>> {
    let number = match value.get(name) {
        None | Some(Value::Null) => return Some(None),
        Some(Value::Number(number)) => number,
        Some(_) => return None,
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates; the bound follows"
    )]
    let seconds = number
        .as_i64()
        .or_else(|| Some(round(number.as_f64()?) as i64))?;
    (seconds <= MAX_TIME).then_some(Some(seconds))
}

/// The strings of a member; `None` if it has another type.
pub(crate) fn strings(value: &Value, name: &str) -> Option<Vec<String>> {
    match value.get(name) {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::String(string)) => Some(vec![string.clone()]),
        Some(Value::Array(values)) => (values.iter())
            .map(|value| value.as_str().map(str::to_owned))
            .collect(),
        Some(_) => None,
    }
}

fn one(value: &Value, name: &str) -> Option<Option<String>> {
    match value.get(name) {
        Some(Value::Array(_)) => None,
        _ => strings(value, name).map(|strings| strings.into_iter().next()),
    }
}

/// When the token expires, if it meets every requirement now; `None` if not.
fn valid_until(value: &Value, required: &[(&str, &str)], now: i64) -> Option<i64> {
    let expires = time(value, "exp", f64::floor)?.unwrap_or(i64::MAX);
    let not_before = time(value, "nbf", f64::ceil)?.unwrap_or(i64::MIN);
    let issued = time(value, "iat", f64::floor)?.unwrap_or(i64::MIN);
    if now >= expires.saturating_add(LEEWAY) || not_before.max(issued) > now + LEEWAY {
        return None;
    }
    for name in ["token_type", "token_use", "typ"] {
        if let Some(kind) = one(value, name)? {
            let known = [
                "bearer",
                "access_token",
                "access-token",
                "access",
                "bearertoken",
                "client_credentials",
                "at+jwt",
                "application/at+jwt",
                "jwt",
                "urn:ietf:params:oauth:token-type:access_token",
            ];
            if !known.contains(&kind.to_ascii_lowercase().as_str()) {
                return None;
            }
        }
    }
    if value.get("cnf").is_some_and(|cnf| !cnf.is_null()) {
        return None;
    }
    let scopes: Vec<String> = match value.get("scope") {
        Some(Value::String(scope)) => scope
            .split(' ')
            .filter(|s| !s.is_empty())
            .map(str::to_owned)
            .collect(),
        _ => strings(value, "scope")?,
    };
    let is_scope = |scope: &String| {
        !scope.is_empty()
            && scope
                .chars()
                .all(|c| matches!(c, '!'..='~') && c != '"' && c != '\\')
    };
    if !scopes.iter().all(is_scope) || scopes.iter().any(|scope| scope == "mfa_challenge") {
        return None;
    }
    // Every claim that is a string must be one, even if nothing is required of it.
    one(value, "sub")?;
    let audiences = strings(value, "aud")?;
    let [issuer, client, grant_type] =
        ["iss", "client_id", "grant_type"].map(|name| one(value, name));
    let claims = [
        ("expected_aud", audiences),
        ("expected_issuer", issuer?.into_iter().collect()),
        ("allowed_clients", client?.into_iter().collect()),
        ("allowed_grant_types", grant_type?.into_iter().collect()),
    ];
    for (setting, wanted) in required {
        let mut wanted = wanted.split(' ');
        let is_met = match claims.iter().find(|(name, _)| name == setting) {
            Some((_, values)) => wanted.any(|wanted| values.iter().any(|value| value == wanted)),
            None => wanted.all(|wanted| scopes.iter().any(|scope| scope == wanted)),
        };
        if !is_met {
            return None;
        }
    }
    Some(expires)
}

// The comparison.

fn decide(
    required: &[(&str, &str)],
    claims_header: &str,
    response: IssuerResponse,
    body: &[u8],
    answer: Answer,
    later: Duration,
) {
    let leeway = LEEWAY.to_string();
    let mut settings = vec![
        ("leeway", leeway.as_str()),
        ("cache_ttl", "60"),
        ("breaker_faults", "0"),
        ("claims_header", claims_header),
    ];
    settings.extend(required);

    let mut check = check(&settings);
    let head = head(&[b"Bearer abc"], b"/");
    let (pending, ticket) = introspects(check.begin(&head, at(Duration::ZERO)));
    let Progress::Finished(finished) = check.responded(ticket, Ok(response), at(Duration::ZERO))
    else {
        panic!("a response ends a flight");
    };
    if let Some(event) = &finished.event {
        let line = event.to_string();
        assert!(line.bytes().all(|b| matches!(b, b' '..=b'~')), "{line:?}");
    }
    let verdict = done(check.resume(pending, at(Duration::ZERO)));
    let expires = |time: Duration| match &answer {
        Answer::Active(value) => {
            let now = (Duration::from_secs(START) + time).as_secs();
            valid_until(value, required, i64::try_from(now).unwrap_or_default())
        }
        Answer::Nothing => None,
    };
    match &answer {
        Answer::Active(value) => {
            check_identity(&verdict, value);
            check_claims(&verdict, claims_header, body, value);
        }
        Answer::Nothing => {}
    }
    let is_good = expires(Duration::ZERO).is_some();
    let is_too_long = matches!(&verdict.decision, Decision::Refused(refusal) if refusal.reason() == Reason::ClaimsTooLong);
    if is_too_long {
        assert!(is_good && claims_header != "none");
        assert!((body.len() * 4).div_ceil(3) > MAX_CLAIMS_BYTES);
    } else {
        assert_eq!(is_granted(&verdict), is_good, "{:?}", verdict.decision);
    }

    match check.begin(&head, at(later)) {
        Step::Done(verdict) => {
            assert_eq!(verdict.cache, Some(CacheStatus::Hit));
            assert!(later < TTL, "used for longer than cache_ttl");
            if is_granted(&verdict) {
                let expires = expires(later).expect("granted without a reason");
                let now = i64::try_from((Duration::from_secs(START) + later).as_secs());
                let end = expires.saturating_sub(LEEWAY);
                assert!(now.is_ok_and(|now| now < end), "used past its end");
            }
        }
        Step::Lead(..) => {}
        Step::Join(_) | Step::Finished(..) => panic!("there is no flight to join"),
    }
}

/// The headers say what the issuer said.
fn check_identity(verdict: &Verdict, value: &Value) {
    let Decision::Granted(grant) = &verdict.decision else {
        return;
    };
    for (name, header) in grant.headers() {
        assert!(
            header.bytes().all(|b| matches!(b, b' '..=b'~')),
            "{name}: {header:?}"
        );
        let member = match name {
            "x-auth-subject" => "sub",
            "x-auth-client-id" => "client_id",
            "x-auth-issuer" => "iss",
            _ => continue,
        };
        assert_eq!(
            value.get(member).and_then(Value::as_str),
            Some(header),
            "{name}"
        );
    }
}

/// The header of claims has those that were chosen, as the issuer wrote them.
fn check_claims(verdict: &Verdict, claims_header: &str, body: &[u8], value: &Value) {
    let Decision::Granted(grant) = &verdict.decision else {
        return;
    };
    let header = grant.headers().find(|(name, _)| *name == "x-auth-claims");
    let Some((_, header)) = header else {
        assert_eq!(claims_header, "none");
        return;
    };
    assert!(header.len() <= MAX_CLAIMS_BYTES);
    let claims = URL_SAFE_NO_PAD.decode_to_vec(header).expect("base64url");
    if claims_header == "all" {
        assert_eq!(claims, body);
        return;
    }
    let mut expected = value.clone();
    if let Value::Object(members) = &mut expected {
        members.retain(|name, _| claims_header.split(' ').any(|wanted| wanted == name));
    }
    let claims = in_range(core::str::from_utf8(&claims).expect("UTF-8"));
    assert_eq!(
        serde_json::from_str::<Value>(&claims).expect("JSON"),
        expected
    );
}
