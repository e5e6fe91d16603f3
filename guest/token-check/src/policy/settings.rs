//! The one table of settings. README's table, the errors, the JSON schema and the policy come from
//! it.

use core::fmt;

use super::names::SPIN_PREFIX;

/// Longest `leeway`, in seconds: beyond five minutes it is no clock difference but a longer
/// lifetime.
const MAX_LEEWAY_SECONDS: u32 = 300;
/// Longest timeout, in seconds: proxies in front give up by then.
const MAX_TIMEOUT_SECONDS: u32 = 60;
/// Longest time that results are cached, in seconds: a day.
pub(super) const MAX_TTL_SECONDS: u32 = 86_400;
/// Largest `cache_entries`: more do not fit the memory of a WebAssembly instance.
const MAX_CACHE_ENTRIES: u32 = 1_000_000;
/// Shortest times of `jwks_ttl` and `jwks_min_interval`, in seconds: issuers serve keys to everybody.
const MIN_JWKS_SECONDS: u32 = 5;
/// Longest `jwks_max_age`, in seconds: a week.
const MAX_JWKS_AGE_SECONDS: u32 = 604_800;
/// Bounds of `max_token_bytes`, in bytes: issuers' tokens are shorter than the minimum, and servers
/// accept no longer header lines than the maximum.
const TOKEN_BYTES: (u32, u32) = (256, 65_536);
/// Bounds of `max_answer_bytes`, in bytes. The maximum bounds the memory of a call; Envoy cuts off
/// at 1 MiB.
const ANSWER_BYTES: (u32, u32) = (1024, 262_144);
/// Largest `breaker_faults`: above this the breaker would practically never open.
const MAX_BREAKER_FAULTS: u32 = 1000;
/// Largest `max_calls`: a host has fewer connections.
const MAX_CALLS_LIMIT: u32 = 10_000;
/// Largest `max_waiting`: at 4 KB each, more do not fit the memory of a WebAssembly instance.
const MAX_WAITING_LIMIT: u32 = 100_000;

/// Longest `dpop_window`, in seconds: a proof is good for one request, which is sent at once.
const MAX_PROOF_SECONDS: u32 = 300;
/// The words of the Envoy filter's `filter_state`: only refused requests get filter state, or all.
pub const FILTER_STATE: [&str; 2] = ["refused", "all"];

/// One setting. Its environment variable is `WORKOUT18_` and the key in upper case, its Spin
/// variable `auth_` and the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key, in lower snake case.
    pub key: &'static str,
    /// Which values it accepts.
    pub kind: Kind,
    /// Used when it is not set; `None`: it must be set. Empty means off.
    pub default: Option<&'static str>,
    /// What it does; `{}` stands for the unit and the range. Not in components, which never show
    /// it.
    #[cfg(not(target_family = "wasm"))]
    meaning: &'static str,
}

/// Which values a setting accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Strings separated by spaces.
    List,
    /// A whole number.
    Number(Range),
    /// The rules document.
    Rules,
    /// A string that is never printed.
    Secret,
    /// Any string.
    String,
}

/// The whole numbers that a setting accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// What they count.
    pub unit: Unit,
    /// The smallest.
    pub min: u32,
    /// The largest.
    pub max: u32,
}

/// What the number of a setting counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things that the setting names.
    Count,
    /// Seconds.
    Seconds,
}

/// As in an error: `a whole number of seconds from 0 to 300`.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.unit {
            Unit::Bytes => "a whole number of bytes",
            Unit::Count => "a whole number",
            Unit::Seconds => "a whole number of seconds",
        })?;
        write!(f, " from {} to {}", self.min, self.max)
    }
}

const fn seconds(min: u32, max: u32) -> Kind {
    let unit = Unit::Seconds;
    Kind::Number(Range { unit, min, max })
}

const fn bytes((min, max): (u32, u32)) -> Kind {
    let unit = Unit::Bytes;
    Kind::Number(Range { unit, min, max })
}

const fn count(min: u32, max: u32) -> Kind {
    let unit = Unit::Count;
    Kind::Number(Range { unit, min, max })
}

#[cfg(not(target_family = "wasm"))]
impl Setting {
    /// What it does, with unit and range: for documents.
    #[must_use]
    pub fn description(&self) -> String {
        match self.kind {
            Kind::Number(Range { unit, min, max }) => {
                let unit = match unit {
                    Unit::Bytes => "in bytes, ",
                    Unit::Count => "",
                    Unit::Seconds => "in seconds, ",
                };
                self.meaning.replace("{}", &format!("{unit}{min} to {max}"))
            }
            Kind::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                self.meaning.replace("{}", &words.join(", "))
            }
            Kind::Boolean | Kind::List | Kind::Rules | Kind::Secret | Kind::String => {
                self.meaning.to_owned()
            }
        }
    }
}

macro_rules! settings {
    ($($name:ident: $key:literal, $kind:expr, $default:expr, $meaning:literal;)*) => {
        /// Every setting of Service B.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            key: $key,
            kind: $kind,
            default: $default,
            #[cfg(not(target_family = "wasm"))]
            meaning: $meaning,
        },)*];

        /// Positions in [`SETTINGS`].
        #[cfg_attr(not(feature = "jwt"), allow(dead_code, reason = "settings of JWTs"))]
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "names of constants")]
        enum At { $($name,)* }

        $(
            #[cfg_attr(not(feature = "jwt"), allow(dead_code, reason = "settings of JWTs"))]
            #[expect(clippy::indexing_slicing, reason = "checked when it is compiled")]
            pub(super) const $name: &Setting = &SETTINGS[At::$name as usize];
        )*
    };
}

settings! {
    ISSUER: "issuer", Kind::String, Some(""),
        "The issuer, exactly as its metadata name it: `https`, or `http` on loopback. Its metadata (RFC 8414, OpenID Connect Discovery) then name what `introspect_url` and `jwks_url` do not, and `expected_issuer` defaults to it. Without effect if `introspect_url` is set and `strategy` is `introspect`.";
    ISSUERS: "issuers", Kind::Secret, Some(""),
        "Several issuers, as a JSON list of objects with the settings of one issuer each: see docs/several-issuers.md.";
    INTROSPECT_URL: "introspect_url", Kind::String, None,
        "The issuer's introspection endpoint (RFC 7662): `https`, or `http` on loopback. Not needed with `issuer`, or with `strategy` = `jwt`.";
    RESOURCE_CLIENT_ID: "resource_client_id", Kind::String, None,
        "The client id of Service B at the issuer. Not needed with `strategy` = `jwt`.";
    RESOURCE_CLIENT_SECRET: "resource_client_secret", Kind::Secret, None,
        "The client secret of Service B at the issuer; not needed with `client_auth` = `private_key_jwt`, `bearer`, `tls_client_auth` and `none`, and with `strategy` = `jwt`. In Envoy only from the environment: see docs/envoy.md.";
    STRATEGY: "strategy", Kind::Choice(&["introspect", "jwt", "auto", "both"]), Some("introspect"),
        "How a token is checked: {}. `jwt`: here, by its signature. `auto`: JWTs so, all others by introspection. `both`: by its signature, then by introspection. See docs/strategies.md.";
    JWKS_URL: "jwks_url", Kind::String, Some(""),
        "Where the issuer publishes the keys that verify its JWTs (a JWK set, RFC 7517): `https`, or `http` on loopback.";
    JWKS: "jwks", Kind::String, Some(""),
        "The JWK set itself, as JSON, in place of `jwks_url`: nothing is fetched.";
    JWKS_ORIGIN: "jwks_origin", Kind::String, Some(""),
        "`scheme://host[:port]` of `jwks_url`: in Spin allowed as outbound host, and with `issuer` allowed for keys of another origin. Not needed for IBM Verify and loopback.";
    ALGORITHMS: "algorithms", Kind::List, Some("RS256 PS256 ES256 EdDSA"),
        "Signature algorithms of JWTs that are accepted, separated by spaces; also `RS384`, `RS512`, `PS384`, `PS512`, `ES384`.";
    REQUIRE_AT_JWT: "require_at_jwt", Kind::Boolean, Some("false"),
        "`true`: a JWT must say `at+jwt` in `typ` (RFC 9068). `false`: `JWT` and no `typ` are accepted too.";
    CLIENT_ID_CLAIM: "client_id_claim", Kind::String, Some("client_id"),
        "The claim of a JWT that holds the client id: `client_id` by RFC 9068, with some issuers `azp`, `appid` or `cid`.";
    SCOPE_CLAIM: "scope_claim", Kind::String, Some("scope"),
        "The claim of a JWT that holds the scopes: `scope` by RFC 9068, with some issuers `scp`.";
    JWKS_TTL: "jwks_ttl", seconds(MIN_JWKS_SECONDS, MAX_TTL_SECONDS), Some("600"),
        "How long keys are used before they are fetched again, {}. A key that the issuer has removed ends by then, and what it signed.";
    JWKS_MIN_INTERVAL: "jwks_min_interval", seconds(MIN_JWKS_SECONDS, MAX_TTL_SECONDS), Some("30"),
        "Interval in which tokens with unknown keys cause one fetch at most, per Envoy worker or Spin instance, {}.";
    JWKS_MAX_AGE: "jwks_max_age", seconds(MIN_JWKS_SECONDS, MAX_JWKS_AGE_SECONDS), Some("7200"),
        "How long keys are used at most while they cannot be fetched again, {}; never shorter than `jwks_ttl`.";
    ISSUER_ORIGIN: "issuer_origin", Kind::String, Some(""),
        "Spin only: `scheme://host[:port]` of `issuer`, allowed as outbound host. Not needed for IBM Verify and loopback.";
    SIGNED_INTROSPECTION: "signed_introspection", Kind::Boolean, Some("false"),
        "`true`: the issuer must sign its introspection responses (RFC 9701); one that it has not signed accepts no token. Needs the keys (`issuer`, `jwks_url` or `jwks`) and `expected_issuer`. See docs/strategies.md.";
    INTROSPECT_ORIGIN: "introspect_origin", Kind::String, Some(""),
        "`scheme://host[:port]` of `introspect_url`: in Spin allowed as outbound host, and with `issuer` allowed for an endpoint of another origin. Not needed for IBM Verify and loopback.";
    EXPECTED_AUD: "expected_aud", Kind::List, Some(""),
        "Audiences, separated by spaces; the token must have one of them.";
    EXPECTED_ISSUER: "expected_issuer", Kind::String, Some(""),
        "The `iss` that the token must have; `issuer` if not set.";
    REQUIRED_SCOPE: "required_scope", Kind::List, Some(""),
        "Scopes, separated by spaces; the token must have all of them.";
    ALLOWED_CLIENTS: "allowed_clients", Kind::List, Some(""),
        "Client ids that may call, separated by spaces.";
    ALLOWED_GRANT_TYPES: "allowed_grant_types", Kind::List, Some(""),
        "Grant types whose tokens may call, separated by spaces. Some issuers never report one: then no token may.";
    REQUIRE: "require", Kind::List, Some(""),
        "Requirements that must be configured: `audience`, `scope`, `client`, `issuer`, separated by spaces. If one is not, every request is refused.";
    TOKEN_TYPES: "token_types", Kind::List, Some(""),
        "Values of `token_type` to accept in addition to the known ones of access tokens, separated by spaces.";
    RULES: "rules", Kind::Rules, Some(""),
        "Per-route requirements that replace the settings above, as JSON: see docs/rules.md.";
    CLIENT_AUTH: "client_auth", Kind::Choice(&["basic", "basic-raw", "post", "client_secret_jwt", "private_key_jwt", "bearer", "tls_client_auth", "none"]), Some("basic"),
        "How Service B authenticates at the issuer: {}. `basic-raw` is for issuers that do not form-decode id and secret (Glewlwyd, old Keycloak, WSO2). With `tls_client_auth` the host presents a client certificate, and with `none` something on the way to the issuer adds the credentials: see docs/client-auth.md.";
    CLIENT_KEY: "client_key", Kind::Secret, Some(""),
        "For `client_auth` = `private_key_jwt`: the private key, as a JWK (RFC 7517) of type EC with `crv` P-256, OKP with `crv` Ed25519, or, in Envoy, RSA. Its `kid` is sent if it has one.";
    INTROSPECT_TOKEN: "introspect_token", Kind::Secret, Some(""),
        "For `client_auth` = `bearer`: the access token with which Service B calls the introspection endpoint (RFC 7662 section 2.1).";
    ASSERTION_AUDIENCE: "assertion_audience", Kind::String, Some(""),
        "For `client_auth` = `client_secret_jwt` and `private_key_jwt`: the `aud` of assertions (RFC 7523 section 3). If not set, `expected_issuer`, and without that `introspect_url`.";
    LEEWAY: "leeway", seconds(0, MAX_LEEWAY_SECONDS), Some("30"),
        "Tolerated clock difference to the issuer, {}.";
    TIMEOUT: "timeout", seconds(1, MAX_TIMEOUT_SECONDS), Some("5"),
        "Longest wait for the issuer, {}.";
    CONNECT_TIMEOUT: "connect_timeout", seconds(1, MAX_TIMEOUT_SECONDS), Some("2"),
        "Spin only: longest wait for a connection to the issuer, {}, within `timeout`. In Envoy the cluster sets it.";
    FIRST_BYTE_TIMEOUT: "first_byte_timeout", seconds(1, MAX_TIMEOUT_SECONDS), Some(""),
        "Spin only: longest wait for the first byte of the response, {}, within `timeout`. If not set, `timeout`.";
    MAX_TOKEN_BYTES: "max_token_bytes", bytes(TOKEN_BYTES), Some("16384"),
        "Longest access token accepted, {}.";
    MAX_ANSWER_BYTES: "max_answer_bytes", bytes(ANSWER_BYTES), Some("65536"),
        "Longest response of the issuer accepted, {}.";
    MAX_CALLS: "max_calls", count(1, MAX_CALLS_LIMIT), Some("1024"),
        "Introspection calls at once, {}. More wait for their turn; tokens that were active lately go first.";
    MAX_WAITING: "max_waiting", count(1, MAX_WAITING_LIMIT), Some("4096"),
        "Requests that wait for the issuer at once, {}. More are refused (`too_busy`).";
    BREAKER_FAULTS: "breaker_faults", count(0, MAX_BREAKER_FAULTS), Some("5"),
        "Consecutive failed introspection calls after which a probe decides whether to open the circuit breaker, {}. 0: only a `Retry-After` to the probe opens it.";
    PROBE_INTERVAL: "probe_interval", seconds(1, MAX_TIMEOUT_SECONDS), Some("1"),
        "Interval at which a probe is sent while the circuit is open, {}.";
    CACHE_TTL: "cache_ttl", seconds(0, MAX_TTL_SECONDS), Some("0"),
        "How long an introspection result is cached, {}. 0: every request is introspected.";
    NEGATIVE_CACHE_TTL: "negative_cache_ttl", seconds(0, MAX_TTL_SECONDS), Some("0"),
        "How long an inactive result is cached, {}; never longer than `cache_ttl`.";
    CACHE_ENTRIES: "cache_entries", count(1, MAX_CACHE_ENTRIES), Some("10000"),
        "How many tokens are cached, for active and inactive ones each, {}.";
    STALE_IF_ERROR: "stale_if_error", seconds(0, MAX_TTL_SECONDS), Some("0"),
        "How long past `cache_ttl` a cached active result may still be used while the issuer is unavailable (as stale-if-error, RFC 5861), {}.";
    CACHE_STORE: "cache_store", Kind::String, Some(""),
        "Spin only: label of the key-value store in which instances share cached results.";
    CACHE_KEY: "cache_key", Kind::Secret, Some(""),
        "A random string of 32 characters or more. Cached results that instances share, and the digests in audit lines, are protected with a key derived from it; if not set, from the client secret, which takes some milliseconds at the start.";
    CERTIFICATE_BINDING: "certificate_binding", Kind::Choice(&["off", "connection", "header"]), Some("off"),
        "Where the client certificate is found to which a token is bound (RFC 8705): {}. `connection`: in Envoy, the caller's TLS connection. `header`: in `certificate_header`. `off`: such tokens are refused. See docs/bound-tokens.md.";
    CERTIFICATE_HEADER: "certificate_header", Kind::String, Some(""),
        "The header with the client certificate: `client-cert` (RFC 9440), `x-forwarded-client-cert`, or another one that holds its SHA-256 in hexadecimal. Every caller who can set it is believed: a proxy in front must overwrite it.";
    DPOP: "dpop", Kind::Choice(&["off", "accept", "require"]), Some("off"),
        "Whether tokens bound to a key are accepted with a DPoP proof (RFC 9449): {}. `accept`: Bearer tokens too. `require`: no other tokens. See docs/bound-tokens.md.";
    DPOP_WINDOW: "dpop_window", seconds(5, MAX_PROOF_SECONDS), Some("60"),
        "How old a DPoP proof may be, {}.";
    DPOP_NONCE: "dpop_nonce", Kind::Boolean, Some("false"),
        "`true`: a DPoP proof must contain a nonce that this service gave lately.";
    PUBLIC_ORIGIN: "public_origin", Kind::String, Some(""),
        "`scheme://host[:port]` of the URLs that callers use, which DPoP proofs name. Must be set with `dpop`.";
    AUDIT: "audit", Kind::Boolean, Some("false"),
        "`true`: log one line of JSON per decision.";
    REALM: "realm", Kind::String, Some("service-b"),
        "The realm of challenges (RFC 9110 section 11.5).";
    RESOURCE_IDENTIFIER: "resource_identifier", Kind::String, Some(""),
        "The URL of Service B as clients know it, its resource identifier (RFC 9728). With it, the metadata under `/.well-known/oauth-protected-resource` are answered without a token, and challenges name them.";
    FORWARD_TOKEN: "forward_token", Kind::Boolean, Some("false"),
        "`true`: forward the Authorization header to the app.";
    CLAIMS_HEADER: "claims_header", Kind::List, Some("all"),
        "The claims that `x-auth-claims` holds: `all`, `none`, or names separated by spaces. Over 8000 bytes of it are refused (`claims_too_long`).";
    ALLOW_HTTP: "allow_http", Kind::Boolean, Some("false"),
        "`true`: `resource_identifier`, `public_origin` and the URLs of the issuer, also those that its metadata name, may be plain `http` to any host. Dangerous: who is on the way then sees every token, and can change the keys.";
}

/// What only the Envoy filter reads, in addition to [`SETTINGS`].
pub const ENVOY_SETTINGS: &[Setting] = &[
    Setting {
        key: "issuer_cluster",
        kind: Kind::String,
        default: Some(""),
        #[cfg(not(target_family = "wasm"))]
        meaning: "The Envoy cluster for the calls to the origin of the introspection endpoint. If not set, and for calls to any other origin: `issuer_https` or `issuer_http`, by the scheme of the URL.",
    },
    Setting {
        key: "filter_state",
        kind: Kind::Choice(&FILTER_STATE),
        default: Some("refused"),
        #[cfg(not(target_family = "wasm"))]
        meaning: "Which requests get filter state, for access logs and other filters: {}. Cheaper for granted ones is their header `x-auth-client-id`.",
    },
    Setting {
        key: "whoami_path",
        kind: Kind::String,
        default: Some(""),
        #[cfg(not(target_family = "wasm"))]
        meaning: "A path that the filter itself answers with the identity of the caller; `/data` in the shipped `envoy.yaml`.",
    },
];

/// What only Service A reads. It shares a shell with Service B, and so the prefix of the
/// environment variables.
pub const SERVICE_A_KEYS: &[&str] = &[
    "allow_http",
    "assertion_audience",
    "audience",
    "client_auth",
    "client_certificate",
    "client_id",
    "client_secret",
    "concurrency",
    "connect_timeout",
    "issuer",
    "json",
    "rate",
    "repeat",
    "resource",
    "scope",
    "secret_file",
    "secret_stdin",
    "service_b_url",
    "timeout",
    "token_only",
    "token_url",
    "use_dpop",
    "verbose",
    "watch",
];

/// The Spin variable that holds a JSON object of settings.
pub(super) const SPIN_SETTINGS: &str = "settings";

/// The variables that the middleware reads in Spin: one that holds a JSON object of any settings,
/// and one for each setting.
pub fn spin_variables() -> impl Iterator<Item = String> {
    spin_keys().map(|key| format!("{SPIN_PREFIX}{key}"))
}

/// What follows [`SPIN_PREFIX`] in their names.
pub(super) fn spin_keys() -> impl Iterator<Item = &'static str> + Clone {
    let keys = SETTINGS.iter().map(|setting| setting.key);
    [SPIN_SETTINGS].into_iter().chain(keys)
}
