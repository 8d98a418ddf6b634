//! Random secrets, and comparing them without telling how much of them was right.

use data_encoding::BASE32_NOPAD;

/// Bytes of every secret that this crate makes: 256 bit.
const SECRET_BYTES: usize = 32;

/// A secret that is shown once and from then on known only by its hash. No `Debug`.
pub(crate) struct Secret(String);

impl Secret {
    /// Draws a new one; `None` when the system has no randomness to give.
    pub(crate) fn draw() -> Option<Self> {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes).ok()?;
        Some(Self(BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// What follows from a secret for a purpose, and doesn't lead back to it.
    pub(crate) fn derived(secret: &str, purpose: &'static str) -> String {
        let bytes = blake3::derive_key(purpose, secret.as_bytes());
        BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
    }

    pub(crate) fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }
}

/// What is kept of a secret. Compares in constant time (blake3's `Hash` does).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SecretHash(blake3::Hash);

impl SecretHash {
    pub(crate) fn of(text: &str) -> Self {
        Self(blake3::hash(text.as_bytes()))
    }

    /// Whether `text` is the secret.
    pub(crate) fn is(&self, text: &str) -> bool {
        *self == Self::of(text)
    }

    /// The hash as a text, for writing it down.
    pub(crate) fn text(&self) -> String {
        self.0.to_hex().to_string()
    }

    /// Whether such a text is this hash.
    pub(crate) fn is_text(&self, text: &str) -> bool {
        blake3::Hash::from_hex(text).is_ok_and(|hash| self.0 == hash)
    }

    /// A public name for what the secret opens: eight hexadecimal digits of the hash.
    pub(crate) fn short(&self) -> String {
        self.0.to_hex().chars().take(8).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_256_bit_and_only_it_matches() {
        let (one, other) = (Secret::draw().unwrap(), Secret::draw().unwrap());
        assert_eq!(one.reveal().len(), 52);
        assert!(one.hash().is(one.reveal()));
        assert!(!one.hash().is(other.reveal()));
        assert!(!one.hash().is(""));
        assert!(!one.hash().is(&one.reveal()[1..]));
    }
}
