//! Why a request was refused, and the one place that turns a reason into an answer.

/// `Retry-After` of a 503 that knows no better, in seconds: long enough to spare an issuer in trouble, short enough that
/// its return is noticed at once.
pub const RETRY_AFTER_SECONDS: u32 = 1;

/// RFC 6750 section 3.1 error codes, and what goes beyond them.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// 401 with a bare challenge: the caller did not try.
    Unauthenticated,
    /// 400 `invalid_request`.
    Request,
    /// 401 `invalid_token`.
    Token,
    /// 403 `insufficient_scope`, which names the scope needed.
    Scope,
    /// 403 `insufficient_scope` without a scope: more scope would not help.
    Forbidden,
    /// 403 `access_denied` without a challenge: no token would help.
    Denied,
    /// 503 without a challenge: the caller's token is not at fault.
    Unavailable,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $snake:literal, $kind:ident, $text:literal;)*) => {
        /// Why a request was refused: one variant per offence, none with a payload, so that nothing a caller or an
        /// issuer sent can travel in one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        /// Every reason, in alphabetical order.
        pub const ALL_REASONS: &[Reason] = &[$(Reason::$name,)*];

        impl Reason {
            /// The name that callers, logs and metrics see.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $snake,)* }
            }

            /// One sentence for the caller, from a closed set.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            pub(crate) const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)* }
            }
        }
    };
}

reasons! {
    /// With rules: a path or a host that another reader could take for another one.
    AmbiguousPath = "ambiguous_path", Request, "The path or the host of the request is ambiguous.";
    /// `client_id` is not in `ALLOWED_CLIENTS`.
    ClientNotAllowed = "client_not_allowed", Forbidden, "This client may not call this service.";
    /// A rule with `deny`.
    DeniedByRule = "denied_by_rule", Denied, "Nobody may do this here.";
    /// `exp` has passed (RFC 7662 section 2.2, RFC 7519 section 4.1.4).
    Expired = "expired", Token, "The access token has expired.";
    /// `grant_type` is not in `ALLOWED_GRANT_TYPES`.
    GrantTypeNotAllowed = "grant_type_not_allowed", Forbidden, "Tokens of this grant type may not call this service.";
    /// The issuer said `active: false` (RFC 7662 section 2.2).
    Inactive = "inactive", Token, "The issuer says that the access token is not active.";
    /// A scope of `REQUIRED_SCOPE` is missing.
    InsufficientScope = "insufficient_scope", Scope, "The access token lacks a scope that this service needs.";
    /// The issuer's answer is not the JSON document of RFC 7662 section 2.2.
    IssuerAnswerMalformed = "issuer_answer_malformed", Unavailable, "The issuer's answer could not be understood.";
    /// The issuer's answer is over the limit.
    IssuerAnswerTooLarge = "issuer_answer_too_large", Unavailable, "The issuer's answer was longer than max_answer_bytes of this service.";
    /// The host's outbound rules do not let us call the issuer.
    IssuerCallDenied = "issuer_call_denied", Unavailable, "This service is not allowed to reach its issuer.";
    /// The issuer failed `BREAKER_FAULTS` times in a row and is left alone for `PROBE_INTERVAL`.
    IssuerCircuitOpen = "issuer_circuit_open", Unavailable, "The issuer failed repeatedly and is not asked for a moment.";
    /// The issuer answered 5xx.
    IssuerFailed = "issuer_failed", Unavailable, "The issuer failed to answer.";
    /// The issuer's answer is not JSON.
    IssuerNotJson = "issuer_not_json", Unavailable, "The issuer's answer was not JSON.";
    /// The issuer answered 429, or asked to be left alone for a while that is not over.
    IssuerOverloaded = "issuer_overloaded", Unavailable, "The issuer asks for fewer requests.";
    /// The issuer answered with a redirect, which is never followed: it would carry our credentials along.
    IssuerRedirected = "issuer_redirected", Unavailable, "The issuer redirected the question.";
    /// The issuer refuses the credentials of *this service*.
    IssuerRefusedUs = "issuer_refused_us", Unavailable, "The issuer refused this service's own credentials.";
    /// The issuer did not answer in time.
    IssuerTimeout = "issuer_timeout", Unavailable, "The issuer did not answer in time.";
    /// The issuer answered with a status that RFC 7662 does not know.
    IssuerUnexpectedStatus = "issuer_unexpected_status", Unavailable, "The issuer gave an unexpected answer.";
    /// No connection, or it broke.
    IssuerUnreachable = "issuer_unreachable", Unavailable, "The issuer could not be reached.";
    /// Authorization is not `Bearer` and one token (RFC 6750 section 2.1).
    MalformedAuthorization = "malformed_authorization", Request, "The Authorization header is malformed.";
    /// Our own settings are wrong.
    Misconfigured = "misconfigured", Unavailable, "This service is not set up correctly.";
    /// An audience is demanded and the issuer named none.
    NoAudience = "no_audience", Token, "The issuer named no audience for this token.";
    /// A client is demanded and the issuer named none.
    NoClientId = "no_client_id", Forbidden, "The issuer named no client for this token.";
    /// No Authorization header (RFC 6750 section 3.1: no error code).
    NoCredentials = "no_credentials", Unauthenticated, "An access token is needed.";
    /// A grant type is demanded and the issuer named none.
    NoGrantType = "no_grant_type", Forbidden, "The issuer named no grant type for this token.";
    /// An issuer is demanded and the answer named none.
    NoIssuer = "no_issuer", Token, "The issuer did not name itself for this token.";
    /// `nbf` or `iat` lies ahead (RFC 7519 sections 4.1.5 and 4.1.6).
    NotYetValid = "not_yet_valid", Token, "The access token is not valid yet.";
    /// The token is bound to a key (`cnf`, RFC 7800) and no proof came with it.
    ProofOfPossessionMissing = "proof_of_possession_missing", Token, "The access token needs a proof of possession.";
    /// More than one Authorization header.
    RepeatedAuthorization = "repeated_authorization", Request, "There is more than one Authorization header.";
    /// A token in the query as well (RFC 6750 section 2: one way only).
    TokenInQuery = "token_in_query", Request, "An access token must not be in the query.";
    /// The token is over the limit.
    TokenTooLong = "token_too_long", Request, "The access token is longer than max_token_bytes of this service.";
    /// `scope` holds `mfa_challenge`: a login that is not finished.
    UnfinishedLogin = "unfinished_login", Token, "The login behind the access token is not finished.";
    /// A scheme other than Bearer.
    UnsupportedScheme = "unsupported_scheme", Unauthenticated, "Only Bearer access tokens are accepted.";
    /// `aud` does not hold `EXPECTED_AUD`.
    WrongAudience = "wrong_audience", Token, "The access token is for another audience.";
    /// `iss` is not `EXPECTED_ISSUER`.
    WrongIssuer = "wrong_issuer", Token, "The access token is from another issuer.";
    /// A refresh token, an ID token or something else that is not known to be an access token.
    WrongTokenType = "wrong_token_type", Token, "This kind of token is not accepted.";
}

impl Reason {
    /// HTTP status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self.kind() {
            Kind::Request => 400,
            Kind::Unauthenticated | Kind::Token => 401,
            Kind::Scope | Kind::Forbidden | Kind::Denied => 403,
            Kind::Unavailable => 503,
        }
    }

    /// The `error` member of the body; RFC 6750 section 3.1 where it has a code, else RFC 6749 section 4.1.2.1's
    /// `access_denied` or `temporarily_unavailable`.
    #[must_use]
    pub const fn error(self) -> &'static str {
        match self.kind() {
            Kind::Unauthenticated | Kind::Token => "invalid_token",
            Kind::Request => "invalid_request",
            Kind::Scope | Kind::Forbidden => "insufficient_scope",
            Kind::Denied => "access_denied",
            Kind::Unavailable => "temporarily_unavailable",
        }
    }

    /// Whether the issuer fails, so that what it said before may count for longer. Not so if it answers, but wrongly, or
    /// refuses us.
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
