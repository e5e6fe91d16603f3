//! Why a request was refused, and which RFC error that is.

/// Default `Retry-After` of a 503, in seconds: long enough to spare an issuer in trouble, short
/// enough to notice at once that it is back.
pub const RETRY_AFTER_SECONDS: u32 = 1;

/// The error codes of RFC 6750 section 3.1, and those that go beyond them.
#[derive(Clone, Copy)]
pub(crate) enum ErrorClass {
    /// 401 with a challenge without an error code: the caller sent no credentials.
    Unauthenticated,
    /// 400 `invalid_request`.
    Request,
    /// 401 `invalid_token`.
    Token,
    /// 401 `invalid_dpop_proof` (RFC 9449 section 7.1).
    Proof,
    /// 401 `use_dpop_nonce` (RFC 9449 section 9), with a nonce.
    ProofNonce,
    /// 403 `insufficient_scope`, which names the scope needed.
    Scope,
    /// 403 `insufficient_scope` without a scope: more scope would not help.
    Forbidden,
    /// 403 `access_denied` without a challenge: a token that the caller could ask for would not
    /// help.
    Denied,
    /// 503 without a challenge: the caller's token is not at fault.
    Unavailable,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $snake:literal, $kind:ident, $text:literal;)*) => {
        /// Why a request was refused: one variant per violation. None has a payload, so that
        /// nothing sent by a caller or an issuer can travel in one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        /// Every reason, in alphabetical order.
        pub const ALL_REASONS: &[Reason] = &[$(Reason::$name,)*];

        impl Reason {
            /// The name in responses, logs and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $snake,)* }
            }

            /// One sentence for the caller.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            pub(crate) const fn class(self) -> ErrorClass {
                match self { $(Self::$name => ErrorClass::$kind,)* }
            }
        }
    };
}

reasons! {
    /// A JWT whose `alg` is not in `ALGORITHMS`, such as `none` or HMAC (RFC 8725 section 3.1).
    AlgorithmNotAllowed = "algorithm_not_allowed", Token, "The access token is signed with an algorithm that is not accepted.";
    /// With rules: a method that differs from one that they name only by case, which many apps
    /// ignore.
    AmbiguousMethod = "ambiguous_method", Request, "The method of the request is ambiguous: write it in upper case.";
    /// A malformed host; with rules, also a path or a host that the app may interpret differently.
    AmbiguousPath = "ambiguous_path", Request, "The path or the host of the request is ambiguous.";
    /// `x-auth-claims` would be longer than apps accept.
    ClaimsTooLong = "claims_too_long", Denied, "The access token has more claims than this service accepts.";
    /// The token is bound to another client certificate (RFC 8705 section 3).
    ClientCertificateMismatch = "client_certificate_mismatch", Token, "The access token is bound to another client certificate.";
    /// The token is bound to a client certificate, and the request has none that can be read.
    ClientCertificateMissing = "client_certificate_missing", Token, "The access token needs the client certificate that it is bound to.";
    /// `client_id` is not in `ALLOWED_CLIENTS`.
    ClientNotAllowed = "client_not_allowed", Forbidden, "This client may not call this service.";
    /// A rule with `deny`.
    DeniedByRule = "denied_by_rule", Denied, "Access to this resource is denied.";
    /// The token is bound to another key than the one that signed the proof, or to none (RFC 9449
    /// section 7.1).
    DpopKeyMismatch = "dpop_key_mismatch", Token, "The access token is not bound to the key of the DPoP proof.";
    /// The proof has no nonce that this service gave lately (RFC 9449 section 9).
    DpopNonceNeeded = "dpop_nonce_needed", ProofNonce, "The DPoP proof needs the nonce of this response.";
    /// The proof is not good for this request (RFC 9449 section 4.3).
    DpopProofInvalid = "dpop_proof_invalid", Proof, "The DPoP proof is not valid for this request.";
    /// The proof was used before (RFC 9449 section 11.1), or so many were that nobody can tell.
    DpopProofReplayed = "dpop_proof_replayed", Proof, "The DPoP proof was used before.";
    /// `exp` has passed (RFC 7662 section 2.2, RFC 7519 section 4.1.4).
    Expired = "expired", Token, "The access token has expired.";
    /// `grant_type` is not in `ALLOWED_GRANT_TYPES`.
    GrantTypeNotAllowed = "grant_type_not_allowed", Forbidden, "Tokens of this grant type may not call this service.";
    /// The issuer responded `active: false` (RFC 7662 section 2.2).
    Inactive = "inactive", Token, "The issuer says that the access token is not active.";
    /// A scope of `REQUIRED_SCOPE` is missing.
    InsufficientScope = "insufficient_scope", Scope, "The access token lacks a scope that this service needs.";
    /// The signature of a JWT is not by the key that it names (RFC 7515 section 5.2), or its header
    /// asks for a way to verify it that is not supported.
    InvalidSignature = "invalid_signature", Token, "The signature of the access token is invalid.";
    /// The response is not the JSON document of RFC 7662 section 2.2.
    IssuerAnswerMalformed = "issuer_answer_malformed", Unavailable, "The issuer's answer could not be understood.";
    /// The response is over the limit.
    IssuerAnswerTooLarge = "issuer_answer_too_large", Unavailable, "The issuer's answer is longer than max_answer_bytes allows.";
    /// The host does not allow calls to the issuer.
    IssuerCallDenied = "issuer_call_denied", Unavailable, "This service is not allowed to reach its issuer.";
    /// The issuer failed `BREAKER_FAULTS` times in a row: it is not called for `PROBE_INTERVAL`.
    IssuerCircuitOpen = "issuer_circuit_open", Unavailable, "The issuer failed repeatedly and is not called for a moment.";
    /// The issuer responded with a 5xx.
    IssuerFailed = "issuer_failed", Unavailable, "The issuer failed to answer.";
    /// No key of the issuer can be used.
    IssuerKeysUnusable = "issuer_keys_unusable", Unavailable, "The issuer's keys could not be used.";
    /// The metadata of the issuer are not its own, or name an endpoint that must not be called.
    IssuerMetadataUnusable = "issuer_metadata_unusable", Unavailable, "The issuer's metadata could not be used.";
    /// The response is not JSON.
    IssuerNotJson = "issuer_not_json", Unavailable, "The issuer's answer was not JSON.";
    /// The issuer responded with 429, or the time of its `Retry-After` is not over.
    IssuerOverloaded = "issuer_overloaded", Unavailable, "The issuer asks for fewer requests.";
    /// The issuer responded with a redirect, which is never followed: it would leak our
    /// credentials.
    IssuerRedirected = "issuer_redirected", Unavailable, "The issuer answered with a redirect.";
    /// The issuer rejected the credentials of *this service*.
    IssuerRejectedClient = "issuer_rejected_client", Unavailable, "The issuer rejected the credentials of this service.";
    /// The response is not signed by the issuer for this service (RFC 9701 section 5).
    IssuerResponseUnsigned = "issuer_response_unsigned", Unavailable, "The issuer's answer is not signed as this service needs it.";
    /// The issuer did not respond in time.
    IssuerTimeout = "issuer_timeout", Unavailable, "The issuer did not answer in time.";
    /// The issuer responded with a status that RFC 7662 does not define.
    IssuerUnexpectedStatus = "issuer_unexpected_status", Unavailable, "The issuer gave an unexpected answer.";
    /// There was no connection, or it broke.
    IssuerUnreachable = "issuer_unreachable", Unavailable, "The issuer could not be reached.";
    /// Authorization is not `Bearer` and one token (RFC 6750 section 2.1).
    MalformedAuthorization = "malformed_authorization", Request, "The Authorization header is malformed.";
    /// A JWT without the form or the claims of an access token (RFC 9068 section 2).
    MalformedJwt = "malformed_jwt", Token, "The access token is a malformed JWT.";
    /// Our own settings are wrong.
    Misconfigured = "misconfigured", Unavailable, "This service is not set up correctly.";
    /// An audience is required, and the response has none.
    NoAudience = "no_audience", Token, "The issuer named no audience for this token.";
    /// A client is required, and the response has none.
    NoClientId = "no_client_id", Forbidden, "The issuer named no client for this token.";
    /// No Authorization header (RFC 6750 section 3.1: no error code).
    NoCredentials = "no_credentials", Unauthenticated, "An access token is needed.";
    /// A grant type is required, and the response has none.
    NoGrantType = "no_grant_type", Forbidden, "The issuer named no grant type for this token.";
    /// An issuer is required, and the response has none.
    NoIssuer = "no_issuer", Token, "The issuer did not name itself for this token.";
    /// Only JWTs are accepted.
    NotAJwt = "not_a_jwt", Token, "The access token is not a JWT.";
    /// `nbf` or `iat` is in the future (RFC 7519 sections 4.1.5 and 4.1.6).
    NotYetValid = "not_yet_valid", Token, "The access token is not valid yet.";
    /// The token is bound to a key (`cnf`, RFC 7800) and no proof came with it, or none that is
    /// accepted.
    ProofOfPossessionMissing = "proof_of_possession_missing", Token, "The access token needs a proof of possession.";
    /// More than one Authorization header.
    RepeatedAuthorization = "repeated_authorization", Request, "There is more than one Authorization header.";
    /// A token in the query as well (RFC 6750 section 2: one way only).
    TokenInQuery = "token_in_query", Request, "An access token must not be in the query.";
    /// The token is longer than `MAX_TOKEN_BYTES`.
    TokenTooLong = "token_too_long", Request, "The access token is longer than max_token_bytes allows.";
    /// More requests than `MAX_WAITING` wait for the issuer.
    TooBusy = "too_busy", Unavailable, "Too many requests wait for the issuer.";
    /// `scope` contains `mfa_challenge`: the login is not finished.
    UnfinishedLogin = "unfinished_login", Token, "The login behind the access token is not finished.";
    /// The issuer has no key as the JWT names it.
    UnknownKey = "unknown_key", Token, "The access token is signed with a key that the issuer does not publish.";
    /// A scheme other than Bearer, and DPoP where proofs are accepted.
    UnsupportedScheme = "unsupported_scheme", Unauthenticated, "The scheme of the Authorization header is not accepted.";
    /// `aud` does not contain `EXPECTED_AUD`.
    WrongAudience = "wrong_audience", Token, "The access token is for another audience.";
    /// `iss` is not `EXPECTED_ISSUER`.
    WrongIssuer = "wrong_issuer", Token, "The access token is from another issuer.";
    /// A refresh token, an ID token or anything else that is not known to be an access token.
    WrongTokenType = "wrong_token_type", Token, "This kind of token is not accepted.";
}

impl Reason {
    /// HTTP status of the response.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self.class() {
            ErrorClass::Request => 400,
            ErrorClass::Unauthenticated
            | ErrorClass::Token
            | ErrorClass::Proof
            | ErrorClass::ProofNonce => 401,
            ErrorClass::Scope | ErrorClass::Forbidden | ErrorClass::Denied => 403,
            ErrorClass::Unavailable => 503,
        }
    }

    /// The `error` member of the body; RFC 6750 section 3.1 and RFC 9449 sections 7.1 and 9 where they
    /// have a code, else RFC 6749
    /// section 4.1.2.1's `access_denied` or `temporarily_unavailable`.
    #[must_use]
    pub const fn error(self) -> &'static str {
        match self.class() {
            ErrorClass::Unauthenticated | ErrorClass::Token => "invalid_token",
            ErrorClass::Proof => "invalid_dpop_proof",
            ErrorClass::ProofNonce => "use_dpop_nonce",
            ErrorClass::Request => "invalid_request",
            ErrorClass::Scope | ErrorClass::Forbidden => "insufficient_scope",
            ErrorClass::Denied => "access_denied",
            ErrorClass::Unavailable => "temporarily_unavailable",
        }
    }

    /// Whether it is about what the token is bound to.
    #[cfg(feature = "jwt")]
    pub(crate) const fn is_about_possession(self) -> bool {
        matches!(
            self,
            Self::ClientCertificateMismatch
                | Self::ClientCertificateMissing
                | Self::DpopKeyMismatch
                | Self::ProofOfPossessionMissing
        )
    }

    /// Whether the issuer is unavailable, so that `stale_if_error` applies. It does not apply to an
    /// issuer that responds, but incorrectly, or that rejects our credentials.
    pub(crate) const fn is_outage(self) -> bool {
        matches!(
            self,
            Self::IssuerCircuitOpen
                | Self::IssuerFailed
                | Self::IssuerOverloaded
                | Self::IssuerTimeout
                | Self::IssuerUnreachable
        )
    }
}
