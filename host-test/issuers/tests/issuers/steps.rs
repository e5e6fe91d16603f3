//! What has to come out at every issuer, behind either host.

use anyhow::{Context as _, Result, ensure};
use issuers::{Issuer, JWT_RESOURCE, Product, RESOURCE, SERVICE_A};
use serde_json::Value;

use crate::{
    deployment::{Deployment, Host},
    service_a,
};

/// RFC 8037 appendix A.2.
const ANY_KEY: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    ServiceAIsGranted,
    ARevokedTokenIsRefused,
    AnotherAudienceIsRefused,
    NoAudienceIsRefused,
    AJwtThatIsNotIntrospectedIsRefused,
    AJwtIsVerifiedHere,
    ASignedResponseIsDemanded,
    ARefusalOfOurCredentialsIsOurs,
}

impl Step {
    pub(crate) const ALL: [Self; 8] = [
        Self::ServiceAIsGranted,
        Self::ARevokedTokenIsRefused,
        Self::AnotherAudienceIsRefused,
        Self::NoAudienceIsRefused,
        Self::AJwtThatIsNotIntrospectedIsRefused,
        Self::AJwtIsVerifiedHere,
        Self::ASignedResponseIsDemanded,
        Self::ARefusalOfOurCredentialsIsOurs,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ServiceAIsGranted => "service_a_is_granted",
            Self::ARevokedTokenIsRefused => "a_revoked_token_is_refused",
            Self::AnotherAudienceIsRefused => "another_audience_is_refused",
            Self::NoAudienceIsRefused => "no_audience_is_refused",
            Self::AJwtThatIsNotIntrospectedIsRefused => "a_jwt_that_is_not_introspected_is_refused",
            Self::AJwtIsVerifiedHere => "a_jwt_is_verified_here_and_other_tokens_are_introspected",
            Self::ASignedResponseIsDemanded => "a_signed_response_is_demanded",
            Self::ARefusalOfOurCredentialsIsOurs => "a_refusal_of_our_credentials_is_ours",
        }
    }

    /// Whether the issuer has what it takes.
    pub(crate) fn applies_to(self, product: Product) -> bool {
        is_node(product)
            || !matches!(
                self,
                Self::AJwtThatIsNotIntrospectedIsRefused | Self::AJwtIsVerifiedHere
            )
    }

    pub(crate) async fn play(self, host: Host, issuer: &Issuer) -> Result<()> {
        let (aud, secret) = match self {
            Self::AnotherAudienceIsRefused => ("https://another.example/", None),
            Self::AJwtThatIsNotIntrospectedIsRefused => (JWT_RESOURCE, None),
            Self::ARefusalOfOurCredentialsIsOurs => (RESOURCE, Some("wrong")),
            _ => (RESOURCE, None),
        };
        let mut settings = vec![
            ("expected_aud", aud),
            ("required_scope", issuers::SCOPE),
            ("allowed_clients", SERVICE_A.id),
        ];
        let (jwks, both) = (
            format!("{}/jwks", issuer.url()),
            format!("{JWT_RESOURCE} {RESOURCE}"),
        );
        if self == Self::AJwtIsVerifiedHere {
            settings.extend([
                ("strategy", "auto"),
                ("jwks_url", jwks.as_str()),
                ("expected_issuer", issuer.url()),
                ("expected_aud", both.as_str()),
            ]);
        }
        if self == Self::ASignedResponseIsDemanded {
            settings.extend([
                ("signed_introspection", "true"),
                ("expected_issuer", issuer.url()),
            ]);
            settings.push(match is_node(issuer.product()) {
                true => ("jwks_url", &jwks),
                // Nothing is signed, so the key does not matter.
                false => ("jwks", ANY_KEY),
            });
        }
        settings.extend(secret.map(|secret| ("resource_client_secret", secret)));
        let deployment = Deployment::start(host, issuer, &settings).await?;
        self.played(issuer, &deployment)
            .await
            .with_context(|| format!("Service B logged:\n{}", deployment.log()))
    }

    async fn played(self, issuer: &Issuer, deployment: &Deployment) -> Result<()> {
        let url = deployment.data_url();
        match self {
            Self::ServiceAIsGranted => service_a_is_granted(issuer, &url).await,
            Self::ARevokedTokenIsRefused => {
                let token = service_a::token(issuer, Some(RESOURCE)).await?;
                expect(&url, &token, 200, None).await?;
                issuer.revoke(&token).await?;
                expect(&url, &token, 401, Some("inactive")).await
            }
            Self::AnotherAudienceIsRefused => {
                let token = service_a::token(issuer, Some(RESOURCE)).await?;
                expect(&url, &token, 401, Some("wrong_audience")).await
            }
            Self::NoAudienceIsRefused => {
                let token = service_a::token(issuer, None).await?;
                let reason = match issuer.product() {
                    // It names the scopes.
                    Product::Glewlwyd => "wrong_audience",
                    _ => "no_audience",
                };
                expect(&url, &token, 401, Some(reason)).await
            }
            Self::AJwtThatIsNotIntrospectedIsRefused => {
                let token = service_a::token(issuer, Some(JWT_RESOURCE)).await?;
                ensure!(token.split('.').count() == 3, "it is no JWT");
                expect(&url, &token, 401, Some("inactive")).await
            }
            Self::AJwtIsVerifiedHere => {
                let jwt = service_a::token(issuer, Some(JWT_RESOURCE)).await?;
                let opaque = service_a::token(issuer, Some(RESOURCE)).await?;
                for token in [&jwt, &opaque, &jwt] {
                    expect(&url, token, 200, None).await?;
                }
                let (signed, _) = jwt.rsplit_once('.').context("it is no JWT")?;
                expect(
                    &url,
                    &format!("{signed}.AAAA"),
                    401,
                    Some("invalid_signature"),
                )
                .await?;
                issuer.revoke(&opaque).await?;
                expect(&url, &opaque, 401, Some("inactive")).await
            }
            Self::ASignedResponseIsDemanded => {
                let token = service_a::token(issuer, Some(RESOURCE)).await?;
                if !is_node(issuer.product()) {
                    return expect(&url, &token, 503, Some("issuer_response_unsigned")).await;
                }
                expect(&url, &token, 200, None).await?;
                issuer.revoke(&token).await?;
                expect(&url, &token, 401, Some("inactive")).await
            }
            Self::ARefusalOfOurCredentialsIsOurs => {
                let token = service_a::token(issuer, Some(RESOURCE)).await?;
                expect(&url, &token, 503, Some("issuer_rejected_client")).await
            }
        }
    }
}

const fn is_node(product: Product) -> bool {
    matches!(
        product,
        Product::NodeOidcProvider | Product::NodeOidcProviderHttps
    )
}

/// The whole triangle, as a user sees it.
async fn service_a_is_granted(issuer: &Issuer, url: &str) -> Result<()> {
    let flags = ["--service-b-url", url, "--resource", RESOURCE];
    let ended = service_a::run(issuer, &flags, SERVICE_A.secret).await?;
    ensure!(ended.code == Some(0), "{ended:?}");
    let iss = if is_node(issuer.product()) {
        issuer.url()
    } else {
        "None"
    };
    let aud = match issuer.product() {
        Product::DjangoOauthToolkit => format!("['{RESOURCE}']"),
        _ => RESOURCE.to_owned(),
    };
    let (_, response) = ended
        .output
        .split_once('\n')
        .context("one line is printed")?;
    let expected = format!(
        "Service B response:\n  message: Service B trusted the token\n  issuer: {iss}\n  subject: None\n  aud: {aud}\n  \
         scopes: {}\n",
        issuers::SCOPE
    );
    ensure!(response == expected, "expected\n{expected}got\n{response}");
    Ok(())
}

/// Each says it in its own way, some without a word.
pub(crate) async fn service_a_is_told_of_a_wrong_secret(issuer: &Issuer) -> Result<()> {
    let ended = service_a::run(issuer, &["--token-only"], "wrong").await?;
    ensure!(ended.code == Some(4), "{ended:?}");
    let next = "next: Check WORKOUT18_CLIENT_ID and the client secret";
    ensure!(ended.errors.contains(next), "{ended:?}");
    Ok(())
}

/// Calls Service B once.
pub(crate) async fn expect(
    url: &str,
    token: &str,
    status: u16,
    reason: Option<&str>,
) -> Result<()> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()?;
    let response = client.get(url).bearer_auth(token).send().await?;
    let got = response.status().as_u16();
    let body = response.text().await?;
    let json: Value = serde_json::from_str(&body).unwrap_or_default();
    let said = json.get("reason").and_then(Value::as_str);
    ensure!(
        (got, said) == (status, reason),
        "expected {status} {reason:?}, got {got} {body}"
    );
    Ok(())
}
