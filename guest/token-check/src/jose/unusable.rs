//! Keys that a set has and that are not used.

/// Why a key of a set is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// `alg` is unknown, or does not fit the type.
    Algorithm,
    /// A member is absent, or is not what its type demands.
    Malformed,
    /// It holds the private key too, with which whoever reads the set can sign.
    Private,
    /// The same key is there before.
    Repeated,
    /// `kty` or `crv` is unknown.
    Type,
    /// `use` or `key_ops` says that it verifies nothing.
    Use,
    /// RSA outside of 2048 to 4096 bits or with an exponent other than 65537, or a point of small
    /// order.
    Weak,
}
