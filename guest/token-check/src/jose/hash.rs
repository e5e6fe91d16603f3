//! The hash functions of the algorithms (RFC 7518 section 3).

use sha2::{Sha256, Sha384, Sha512};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// As long as the longest hash. Only the beginning counts.
pub(super) struct Digest {
    bytes: [u8; 64],
    length: usize,
}

impl Hash {
    pub(super) const fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The hash of these parts one after another.
    pub(super) fn of(self, parts: &[&[u8]]) -> Digest {
        fn hash<H: sha2::Digest>(parts: &[&[u8]], to: &mut [u8; 64]) {
            let mut hash = H::new();
            for part in parts {
                hash.update(part);
            }
            for (to, byte) in to.iter_mut().zip(hash.finalize()) {
                *to = byte;
            }
        }
        let mut bytes = [0; 64];
        match self {
            Self::Sha256 => hash::<Sha256>(parts, &mut bytes),
            Self::Sha384 => hash::<Sha384>(parts, &mut bytes),
            Self::Sha512 => hash::<Sha512>(parts, &mut bytes),
        }
        Digest {
            bytes,
            length: self.length(),
        }
    }
}

impl Digest {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}
