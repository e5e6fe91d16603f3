//! Advice on what to check next, for each reason. The sentences are fixed: they quote nothing of a
//! response.

/// The setting that named the issuer or its token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// `--issuer`.
    Issuer,
    /// `--token-url`.
    TokenUrl,
}

/// If metadata names an issuer with a placeholder for the tenant.
pub(crate) const TENANT_PLACEHOLDER: &str = "Put your tenant's id into WORKOUT18_ISSUER (--issuer), where the description has {tenantid}: `common` and `organizations` are not tenants.";

/// If id or secret are rejected, and form encoding changed one of them.
pub(crate) const ENCODED_CLIENT: &str = "Check WORKOUT18_CLIENT_ID and the client secret: the issuer rejects this pair. If it is right, the issuer may not form-decode it (--client-auth basic-raw), or may expect it in the body (--client-auth post).";

/// If the issuer rejects an assertion that a private key signed.
pub(crate) const REJECTED_KEY: &str = "Check that the issuer has the public key of this private key for WORKOUT18_CLIENT_ID, and this machine's clock; if the issuer expects another audience, set WORKOUT18_ASSERTION_AUDIENCE (--assertion-audience), often to its token endpoint.";

/// If the issuer rejects an assertion that the client secret signed.
pub(crate) const REJECTED_ASSERTION: &str = "Check WORKOUT18_CLIENT_ID, the client secret and this machine's clock; if the issuer expects another audience, set WORKOUT18_ASSERTION_AUDIENCE (--assertion-audience), often to its token endpoint.";

/// If the issuer rejects a client that sends no credential.
pub(crate) const REJECTED_CERTIFICATE: &str = "Check that the issuer knows the certificate in WORKOUT18_CLIENT_CERTIFICATE (--client-certificate) for WORKOUT18_CLIENT_ID, or set another --client-auth: this request has no other credential.";

/// If the key cannot sign.
pub(crate) const CANNOT_SIGN: &str =
    "Check that this machine has a source of randomness, and that its clock is right.";

/// If the issuer gives a token that is not bound to the key.
pub(crate) const NOT_BOUND: &str =
    "Turn DPoP on for this client at the issuer, or leave out --use-dpop (WORKOUT18_USE_DPOP).";

/// If a token has characters outside of `b64token` (RFC 6750 section 2.1), and Service B refuses
/// its header as malformed.
pub(crate) const NOT_B64TOKEN: &str = "Update Service B: the token has characters that RFC 6750 does not allow (Salesforce uses `!`), and older auth checks refuse them; if Service B is up to date, check the proxies between here and it.";

const UNTRUSTED: &str = "Check the host name and this machine's clock; to trust an authority of your own, add it to the system's store or set SSL_CERT_FILE.";

/// For a refusal of Service B, by the reason of its auth check.
pub(crate) fn for_service_b(reason: &str, status: u16) -> &'static str {
    match reason {
        "client_not_allowed" => {
            "Add this client id to WORKOUT18_ALLOWED_CLIENTS of Service B, or use a client that it lists."
        }
        "claims_too_long" => {
            "Set WORKOUT18_CLAIMS_HEADER of Service B to the claims that it needs, or to none, or configure the issuer to put fewer into the introspection response."
        }
        "expired" => {
            "Compare the clocks of this machine, of Service B and of the issuer; a new token was tried already."
        }
        "grant_type_not_allowed" => {
            "Add client_credentials to WORKOUT18_ALLOWED_GRANT_TYPES of Service B."
        }
        "ambiguous_method" => {
            "Check that no proxy between here and Service B changes the case of the method: it must be in upper case."
        }
        "client_certificate_missing" | "client_certificate_mismatch" => {
            "Call Service B with the certificate that the token was requested with (WORKOUT18_CLIENT_CERTIFICATE, --client-certificate), and check that the proxies on the way pass it on."
        }
        "dpop_key_mismatch" => {
            "Request the token with --use-dpop (WORKOUT18_USE_DPOP) in the same run, and check that the issuer binds it to the key (`cnf`)."
        }
        "dpop_nonce_needed" | "dpop_proof_invalid" | "dpop_proof_replayed" => {
            "Check this machine's clock, and that WORKOUT18_PUBLIC_ORIGIN of Service B is the origin of WORKOUT18_SERVICE_B_URL (--service-b-url) here; the log of Service B says what is wrong with the DPoP proof."
        }
        "ambiguous_path" => {
            "Write the path of WORKOUT18_SERVICE_B_URL (--service-b-url) without dot segments, double slashes, `;` and escaped slashes, and check that no proxy changes the Host header or adds a second one."
        }
        "denied_by_rule" => {
            "Check the path of WORKOUT18_SERVICE_B_URL (--service-b-url): a rule of Service B (WORKOUT18_RULES) denies all access to it."
        }
        "algorithm_not_allowed" => {
            "Have the issuer sign this client's tokens with one of WORKOUT18_ALGORITHMS of Service B, or add the issuer's algorithm there."
        }
        "inactive" => {
            "Check that WORKOUT18_ISSUER here and WORKOUT18_INTROSPECT_URL of Service B are the same tenant, and that the client of Service B may introspect the tokens of other clients."
        }
        "invalid_signature" => {
            "Check that nothing on the way changes the token, and that WORKOUT18_JWKS_URL of Service B has the keys of WORKOUT18_ISSUER here."
        }
        "unknown_key" => {
            "Check that WORKOUT18_JWKS_URL of Service B has the keys of WORKOUT18_ISSUER here: the issuer may have rotated them within WORKOUT18_JWKS_MIN_INTERVAL."
        }
        "malformed_jwt" => {
            "Check what the issuer puts into this client's access tokens: a JWT needs iss and exp (RFC 9068)."
        }
        "not_a_jwt" => {
            "Have the issuer make JWTs for this client, or set WORKOUT18_STRATEGY of Service B to auto or introspect."
        }
        "issuer_keys_unusable" => {
            "Check WORKOUT18_JWKS_URL of Service B: what responds there is not a key set, or has no key that can be used."
        }
        "issuer_metadata_unusable" => {
            "Check WORKOUT18_ISSUER of Service B: its metadata name another issuer, or endpoints that Service B may not call."
        }
        "insufficient_scope" => {
            "Request the scope that the challenge names (WORKOUT18_SCOPE, --scope), and grant it to this client at the issuer."
        }
        "issuer_answer_malformed"
        | "issuer_not_json"
        | "issuer_answer_too_large"
        | "issuer_unexpected_status"
        | "issuer_redirected" => {
            "Check WORKOUT18_INTROSPECT_URL of Service B: what responds there is not an introspection endpoint."
        }
        "issuer_call_denied" => {
            "Allow Service B to call its issuer: export WORKOUT18_INTROSPECT_ORIGIN for it, or correct its allowed_outbound_hosts."
        }
        "issuer_circuit_open" | "issuer_failed" | "issuer_overloaded" | "issuer_timeout" => {
            "Try again later: the issuer of Service B is failing."
        }
        "too_busy" => {
            "Try again later: more requests wait for the issuer of Service B than its settings max_calls and max_waiting allow."
        }
        "issuer_rejected_client" => {
            "Check WORKOUT18_RESOURCE_CLIENT_ID, WORKOUT18_CLIENT_AUTH and what it needs (WORKOUT18_RESOURCE_CLIENT_SECRET, WORKOUT18_CLIENT_KEY, WORKOUT18_INTROSPECT_TOKEN) of Service B: the issuer rejects its credentials. Its log says more."
        }
        "issuer_response_unsigned" => {
            "Have the issuer sign the introspection responses for WORKOUT18_RESOURCE_CLIENT_ID of Service B with a key at WORKOUT18_JWKS_URL, or unset WORKOUT18_SIGNED_INTROSPECTION of Service B. Its log says more."
        }
        "issuer_unreachable" => {
            "Check WORKOUT18_INTROSPECT_URL of Service B and the network between it and its issuer."
        }
        "malformed_authorization" | "repeated_authorization" | "token_in_query" => {
            "Check the proxies between here and Service B, and the query of WORKOUT18_SERVICE_B_URL: the token did not arrive as it was sent."
        }
        "token_too_long" => {
            "Configure the issuer to put less into its tokens, or to issue opaque ones."
        }
        "misconfigured" => "Correct the settings of Service B; its log names the wrong one.",
        "no_audience" => {
            "Configure the issuer to put WORKOUT18_EXPECTED_AUD of Service B into the audience of this client's tokens (--audience and --resource request it); now it names none."
        }
        "no_client_id" => {
            "Check what the issuer tells Service B about this token: it names no client, so WORKOUT18_ALLOWED_CLIENTS of Service B admits nobody."
        }
        "no_grant_type" => {
            "Unset WORKOUT18_ALLOWED_GRANT_TYPES of Service B: its issuer names no grant type, so nobody is admitted."
        }
        "no_issuer" => {
            "Unset WORKOUT18_EXPECTED_ISSUER of Service B if its issuer never sends `iss`: otherwise nobody is admitted."
        }
        "no_credentials" | "unsupported_scheme" => {
            "Check the proxies between here and Service B: the Authorization header did not arrive."
        }
        "not_yet_valid" => {
            "Compare the clocks of Service B and of the issuer, or raise WORKOUT18_LEEWAY of Service B."
        }
        "proof_of_possession_missing" => {
            "Call Service B with --use-dpop (WORKOUT18_USE_DPOP) if it accepts DPoP (WORKOUT18_DPOP), or configure the issuer to give this client tokens that are not bound to a key."
        }
        "unfinished_login" => {
            "Check the client at the issuer: its tokens wait for a login that no service can complete."
        }
        "wrong_audience" => {
            "Configure the issuer to put WORKOUT18_EXPECTED_AUD of Service B into the audience of this client's tokens (--audience and --resource request it)."
        }
        "wrong_issuer" => {
            "Check that WORKOUT18_ISSUER here is the same as WORKOUT18_EXPECTED_ISSUER of Service B."
        }
        "wrong_token_type" => {
            "Check the client at the issuer: what the issuer gives it is not an access token."
        }
        "redirected" => {
            "Set WORKOUT18_SERVICE_B_URL (--service-b-url) to the final address: a token is not sent after a redirect."
        }
        "too_large" => {
            "Check WORKOUT18_SERVICE_B_URL (--service-b-url): the response is too large to be Service B's."
        }
        _ => match status {
            401 | 403 => "Check what Service B requires of its callers; its log says more.",
            404 | 405 => "Check the path of WORKOUT18_SERVICE_B_URL (--service-b-url).",
            429 | 503 => "Try again later: Service B is busy or not ready.",
            500.. => "Check the log of Service B.",
            _ => "Check WORKOUT18_SERVICE_B_URL (--service-b-url) and the log of Service B.",
        },
    }
}

/// For a token request that the issuer refused, by its error code (RFC 6749 section 5.2) or by a
/// reason of our own.
pub(crate) fn for_issuer(reason: &str, setting: Setting) -> &'static str {
    match reason {
        "invalid_client" | "request_unauthorized" => {
            "Check WORKOUT18_CLIENT_ID and the client secret: the issuer rejects this pair; if it expects them in the body, add --client-auth post."
        }
        "unauthorized_client" => {
            "Check WORKOUT18_CLIENT_ID and the client secret first; if they are right, allow the grant type client_credentials (at some issuers: a service account) for this client."
        }
        "unsupported_grant_type" => {
            "Allow the grant type client_credentials for this client at the issuer."
        }
        "invalid_scope" => {
            "Correct WORKOUT18_SCOPE (--scope), or grant that scope to this client at the issuer."
        }
        "invalid_target" => {
            "Correct WORKOUT18_AUDIENCE (--audience) or WORKOUT18_RESOURCE (--resource): the issuer does not know it."
        }
        "invalid_request" => {
            "Check what the issuer requires in a token request, perhaps --scope, --audience, --resource or --client-auth post."
        }
        "invalid_dpop_proof" | "use_dpop_nonce" => {
            "Check this machine's clock, and that no proxy changes the URL of the token endpoint: the issuer rejects the DPoP proof."
        }
        "access_denied" => "Check the policies of this client at the issuer.",
        "temporarily_unavailable" | "server_error" | "issuer_failed" | "issuer_overloaded" => {
            "Try again later: the issuer is failing."
        }
        "wrong_issuer" => {
            "If you trust the issuer that the description names, set WORKOUT18_ISSUER (--issuer) to exactly that; or set the token endpoint itself, WORKOUT18_TOKEN_URL (--token-url)."
        }
        "unsafe_token_endpoint" => {
            "Check WORKOUT18_ISSUER (--issuer): credentials are sent only to its own origin, or to an https endpoint that https metadata names; WORKOUT18_TOKEN_URL (--token-url) sets the endpoint itself."
        }
        "unusable_token" => "Check the client at the issuer: it must issue Bearer access tokens.",
        _ => match (setting, reason) {
            (Setting::Issuer, "no_token_endpoint") => {
                "Check WORKOUT18_ISSUER (--issuer): no token endpoint was found; WORKOUT18_TOKEN_URL (--token-url) sets the endpoint itself."
            }
            (Setting::TokenUrl, "no_token_endpoint") => {
                "Check WORKOUT18_TOKEN_URL (--token-url): there is no token endpoint at this URL."
            }
            (Setting::Issuer, "redirected") => {
                "Set WORKOUT18_ISSUER (--issuer) to the final address: credentials are not sent after a redirect."
            }
            (Setting::TokenUrl, "redirected") => {
                "Set WORKOUT18_TOKEN_URL (--token-url) to the final address: credentials are not sent after a redirect."
            }
            (Setting::Issuer, _) => {
                "Check WORKOUT18_ISSUER (--issuer): what responds there does not behave like an issuer; --verbose shows it."
            }
            (Setting::TokenUrl, _) => {
                "Check WORKOUT18_TOKEN_URL (--token-url): what responds there does not behave like a token endpoint; --verbose shows it."
            }
        },
    }
}

/// For an issuer that does not respond at all.
pub(crate) fn unreachable_issuer(reason: &str, setting: Setting) -> &'static str {
    match (reason, setting) {
        ("certificate_refused", _) => UNTRUSTED,
        ("timeout", Setting::Issuer) => {
            "Check that the issuer is up and that WORKOUT18_ISSUER (--issuer) names it; --timeout gives it more time."
        }
        ("timeout", Setting::TokenUrl) => {
            "Check that the issuer is up and that WORKOUT18_TOKEN_URL (--token-url) names it; --timeout gives it more time."
        }
        (_, Setting::Issuer) => {
            "Check that WORKOUT18_ISSUER (--issuer) is right and reachable from here, proxy settings included."
        }
        (_, Setting::TokenUrl) => {
            "Check that WORKOUT18_TOKEN_URL (--token-url) is right and reachable from here, proxy settings included."
        }
    }
}

/// For a Service B that does not respond at all.
pub(crate) fn unreachable_service_b(reason: &str) -> &'static str {
    match reason {
        "certificate_refused" => UNTRUSTED,
        "timeout" => {
            "Check that Service B is up and that WORKOUT18_SERVICE_B_URL (--service-b-url) names it; --timeout gives it more time."
        }
        _ => {
            "Start Service B (`spin up` or `cargo serve`), or correct WORKOUT18_SERVICE_B_URL (--service-b-url)."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_the_auth_check_has_its_own_advice() {
        for reason in token_check::ALL_REASONS {
            // No refusal has this status, so it selects the fallback.
            let fallback = for_service_b("no such reason", 200);
            assert_ne!(
                for_service_b(reason.name(), 200),
                fallback,
                "{}",
                reason.name()
            );
        }
    }

    #[test]
    fn an_unknown_reason_gets_the_advice_of_its_status() {
        for status in [400, 401, 404, 429, 500, 502, 503] {
            assert!(!for_service_b("new_reason", status).is_empty());
        }
        assert_eq!(
            for_service_b("new_reason", 404),
            "Check the path of WORKOUT18_SERVICE_B_URL (--service-b-url)."
        );
    }
}
