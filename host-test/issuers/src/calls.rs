//! Calls that tests make to a server directly.

use anyhow::{Context as _, Result, ensure};
use form_urlencoded::{Serializer, byte_serialize};
use reqwest::{Certificate, RequestBuilder, Response};
use serde_json::Value;

use crate::{Client, Issuer, SCOPE, SERVICE_A};

/// A response of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON; null if it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// How the client id and secret are encoded in a Basic header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basic {
    /// Form-encoded, as RFC 6749 section 2.3.1 says.
    Encoded,
    /// Unencoded.
    Raw,
}

impl Issuer {
    /// Requests a token with the client credentials grant, as Service A.
    ///
    /// # Errors
    /// The server does not respond, or the response has no token.
    pub async fn token(&self, resource: Option<&str>) -> Result<(String, Answer)> {
        let endpoint = format!("{}{}", self.url, self.token_path);
        let mut form = vec![("grant_type", "client_credentials"), ("scope", SCOPE)];
        form.extend(resource.map(|resource| ("resource", resource)));
        let answer = self.post(&endpoint, SERVICE_A, self.basic(), &form).await?;
        let json = answer.json();
        let token = json.get("access_token").and_then(Value::as_str);
        let token = token.with_context(|| format!("{endpoint}: {answer:?}"))?;
        Ok((token.to_owned(), answer))
    }

    /// Requests a token that is bound to a key (RFC 9449 section 5). `prove` makes a proof for a POST
    /// to this URL, with this nonce.
    ///
    /// # Errors
    /// The server does not respond, does not ask for a nonce, or the response has no such token.
    pub async fn bound_token(
        &self,
        resource: &str,
        prove: impl Fn(&str, Option<&str>) -> String,
    ) -> Result<String> {
        let endpoint = format!("{}{}", self.url, self.token_path);
        let form = [
            ("grant_type", "client_credentials"),
            ("scope", SCOPE),
            ("resource", resource),
        ];
        let send = async |nonce: Option<&str>| {
            let request = self.request(&endpoint, SERVICE_A, self.basic(), &form)?;
            let request = request.header("dpop", prove(&endpoint, nonce));
            anyhow::Ok(request.send().await?)
        };
        let challenge = send(None).await?;
        let nonce = challenge.headers().get("dpop-nonce");
        let nonce = nonce.context("the issuer asks for no nonce")?.to_str()?;
        let answer = answer(send(Some(nonce)).await?).await?;
        let json = answer.json();
        let member = |name| json.get(name).and_then(Value::as_str);
        ensure!(member("token_type") == Some("DPoP"), "{answer:?}");
        let token = member("access_token");
        Ok(token.with_context(|| format!("{answer:?}"))?.to_owned())
    }

    /// Replaces the keys with those of these names, of which the first one signs. A key is made when
    /// it is first named; at the start there is one, `first`. Only node-oidc-provider can do it.
    ///
    /// # Errors
    /// The server does not respond, or not with 204.
    pub async fn publish_keys(&self, names: &[&str]) -> Result<()> {
        let url = format!("{}/keys", self.url);
        let body = serde_json::to_string(names)?;
        let answer = answer(self.http()?.put(&url).body(body).send().await?).await?;
        ensure!(answer.status == 204, "{url}: {answer:?}");
        Ok(())
    }

    /// Introspects a token (RFC 7662).
    ///
    /// # Errors
    /// The server does not respond.
    pub async fn introspect(&self, token: &str, client: Client, basic: Basic) -> Result<Answer> {
        let form = [("token", token), ("token_type_hint", "access_token")];
        self.post(&self.introspection, client, basic, &form).await
    }

    /// Revokes a token of Service A (RFC 7009), as Service A.
    ///
    /// # Errors
    /// The server does not respond, or not with 200.
    pub async fn revoke(&self, token: &str) -> Result<()> {
        let form = [("token", token)];
        let answer = self
            .post(&self.revocation, SERVICE_A, self.basic(), &form)
            .await?;
        ensure!(answer.status == 200, "{}: {answer:?}", self.revocation);
        Ok(())
    }

    const fn basic(&self) -> Basic {
        if self.product.decodes_basic() {
            Basic::Encoded
        } else {
            Basic::Raw
        }
    }

    async fn post(
        &self,
        url: &str,
        client: Client,
        basic: Basic,
        form: &[(&str, &str)],
    ) -> Result<Answer> {
        let request = self.request(url, client, basic, form)?;
        answer(request.send().await.with_context(|| url.to_owned())?).await
    }

    fn request(
        &self,
        url: &str,
        client: Client,
        basic: Basic,
        form: &[(&str, &str)],
    ) -> Result<RequestBuilder> {
        let encode = |value: &str| match basic {
            Basic::Encoded => byte_serialize(value.as_bytes()).collect(),
            Basic::Raw => value.to_owned(),
        };
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        Ok(self
            .http()?
            .post(url)
            .basic_auth(encode(client.id), Some(encode(client.secret)))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body))
    }

    fn http(&self) -> Result<reqwest::Client> {
        // Fails if another thread has already installed a provider, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let trusted = match self.authority() {
            Some(authority) => vec![Certificate::from_pem(&std::fs::read(authority)?)?],
            None => Vec::new(),
        };
        let builder = reqwest::Client::builder().no_proxy();
        Ok(builder.tls_certs_only(trusted).build()?)
    }
}

async fn answer(response: Response) -> Result<Answer> {
    Ok(Answer {
        status: response.status().as_u16(),
        body: response.text().await?,
    })
}
