//! What a server answers, as a row of the table in docs/issuers.md: the row is right or the test
//! fails.

use anyhow::{Context as _, Result, ensure};
use issuers::{Answer, Basic, Client, Issuer, JWT_RESOURCE, Product, RESOURCE, SERVICE_B};
use serde_json::Value;

const DOCS: &str = include_str!("../../../../docs/issuers.md");

/// The header of the table.
const COLUMNS: [&str; 9] = [
    "issuer",
    "version",
    "`token_type`: token endpoint, introspection",
    "`aud` for a resource, without one",
    "`iss`",
    "a JWT",
    "unknown token",
    "wrong secret of Service B",
    "decodes Basic",
];

/// The table has these products in this order, and their versions.
pub(crate) fn docs_list_the_issuers() -> Result<()> {
    let listed: Vec<_> = rows()?
        .into_iter()
        .map(|row| row.into_iter().take(2).collect::<Vec<_>>())
        .collect();
    let mut known: Vec<Vec<String>> = Vec::new();
    for product in Product::ALL {
        known.push(vec![format!("`{}`", product.name()), product.version()?]);
    }
    ensure!(
        listed == known,
        "docs/issuers.md lists {listed:?}, and the tests run {known:?}"
    );
    Ok(())
}

/// The server answers as its row says.
pub(crate) async fn docs_say_what_it_answers(issuer: &Issuer) -> Result<()> {
    let product = issuer.product();
    let name = format!("`{}`", product.name());
    let documented = rows()?.into_iter().find(|row| row.first() == Some(&name));
    let documented = documented.with_context(|| format!("docs/issuers.md has no row {name}"))?;
    let (with, token) = issuer.token(Some(RESOURCE)).await?;
    let (without, _) = issuer.token(None).await?;
    let ask = async |token: &str| issuer.introspect(token, SERVICE_B, basic(product)).await;
    let about_with = ask(&with).await?;
    let about_without = ask(&without).await?;
    let wrong = Client {
        secret: "wrong",
        ..SERVICE_B
    };
    let row = vec![
        name,
        product.version()?,
        format!(
            "{}, {}",
            member(&token, "token_type"),
            member(&about_with, "token_type")
        ),
        format!(
            "{}, {}",
            member(&about_with, "aud"),
            member(&about_without, "aud")
        ),
        present(&about_with, "iss"),
        jwt(issuer, [&with, &issuer.token(Some(JWT_RESOURCE)).await?.0]).await?,
        shown(&ask("unknown").await?),
        shown(&issuer.introspect(&with, wrong, basic(product)).await?),
        decodes(issuer, &with).await?.to_owned(),
    ];
    ensure!(
        documented == row,
        "the row of docs/issuers.md has to be\n| {} |",
        row.join(" | ")
    );
    Ok(())
}

/// The cells of the table's rows.
fn rows() -> Result<Vec<Vec<String>>> {
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim_start_matches("| ").trim_end_matches(" |");
        line.split(" | ").map(str::to_owned).collect()
    };
    let mut lines = DOCS
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(cells);
    ensure!(
        lines.next().is_some_and(|header| header == COLUMNS),
        "the table of docs/issuers.md has to begin with\n| {} |",
        COLUMNS.join(" | ")
    );
    Ok(lines
        .filter(|row| row.iter().any(|cell| cell != "---"))
        .collect())
}

const fn basic(product: Product) -> Basic {
    if product.decodes_basic() {
        Basic::Encoded
    } else {
        Basic::Raw
    }
}

/// The member as JSON.
fn member(answer: &Answer, name: &str) -> String {
    match answer.json().get(name) {
        Some(value) => format!("`{value}`"),
        None => "none".to_owned(),
    }
}

fn present(answer: &Answer, name: &str) -> String {
    let json = answer.json();
    let found = json.get(name).is_some();
    if found { "yes" } else { "none" }.to_owned()
}

fn shown(answer: &Answer) -> String {
    let json = answer.json();
    let error = json.get("error").and_then(Value::as_str);
    let body = match (error, json.get("active")) {
        (Some(error), _) => format!("`{error}`"),
        (None, Some(active)) => format!("`{{\"active\":{active}}}`"),
        (None, None) if answer.body.is_empty() => "no body".to_owned(),
        (None, None) => answer.body.clone(),
    };
    format!("{} {body}", answer.status)
}

/// What is said of the first of these tokens that is a JWT.
async fn jwt(issuer: &Issuer, tokens: [&String; 2]) -> Result<String> {
    let jwt = tokens
        .into_iter()
        .find(|token| token.split('.').count() == 3);
    let Some(jwt) = jwt else {
        return Ok("makes none".to_owned());
    };
    let answer = issuer
        .introspect(jwt, SERVICE_B, basic(issuer.product()))
        .await?;
    Ok(shown(&answer))
}

/// Which of the two forms of our credentials it takes.
async fn decodes(issuer: &Issuer, token: &str) -> Result<&'static str> {
    let encoded = issuer.introspect(token, SERVICE_B, Basic::Encoded).await?;
    let raw = issuer.introspect(token, SERVICE_B, Basic::Raw).await?;
    match (encoded.status, raw.status) {
        (200, not) if not != 200 => Ok("yes"),
        (not, 200) if not != 200 => Ok("no: `client_auth` is `basic-raw`"),
        both => anyhow::bail!("with both forms of the credentials: {both:?}"),
    }
}
