//! Constants in the place of what a token says. Both floors that set headers use them.

/// What the auth check sets for a token of IBM Verify's.
pub(crate) const IDENTITY: [(&str, &str); 4] = [
    ("x-auth-subject", "7d1e8a3c-5b0f-4c55-9a4e-1f6f3b2c9d10"),
    ("x-auth-client-id", "7d1e8a3c-5b0f-4c55-9a4e-1f6f3b2c9d10"),
    ("x-auth-issuer", "https://tenant.verify.ibm.com/oauth2"),
    ("x-auth-claims", CLAIMS),
];
/// As long as the claims of such a token are in base64url.
const CLAIMS: &str = match core::str::from_utf8(&[b'e'; 458]) {
    Ok(claims) => claims,
    Err(_) => "",
};
