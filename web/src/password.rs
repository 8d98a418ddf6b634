//! The password that is asked for from elsewhere than this machine: kept as an Argon2id hash.
//!
//! Source: RFC 9106. Knows neither files nor requests; who may try and how often is for `attempts`.

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc},
};

/// Characters of a password at least. Guessing over the network is slowed to some thousands of tries
/// a day, so this many random ones hold.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Bytes of a password at most, so that hashing it costs the same.
pub const PASSWORD_BYTES_MAX: usize = 256;
/// KiB of memory for one hash: what the smallest computer that shall run a node can spare. With
/// [`PASSES`] it takes some 20 ms on a desk, and a few tenths of a second on a small board.
const MEMORY_KIB: u32 = 19 * 1024;
/// Passes over that memory.
const PASSES: u32 = 2;
/// Threads: small boards have others to feed.
const LANES: u32 = 1;
/// KiB that a stored hash may ask for; more isn't ours.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
/// Bytes of salt.
const SALT_BYTES: usize = 16;

/// Why a password isn't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too few characters.
    #[error("expected a password of at least {PASSWORD_CHARS_MIN} characters, found {0}")]
    Short(usize),
    /// Too many bytes.
    #[error("expected a password of at most {PASSWORD_BYTES_MAX} bytes, found {0}")]
    Long(usize),
    /// It holds a line end or another control character, which no form can send.
    #[error("expected a password on one line, without control characters")]
    Control,
    /// What is kept is no hash of ours.
    #[error("expected an Argon2id hash, found something else: set the password anew")]
    NoHash,
    /// The system gives no randomness or no memory.
    #[error("the password can't be hashed now: {0}")]
    Failed(String),
}

/// What is kept of a password. No `Debug`.
#[derive(Clone)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Hashes a new password; takes time and memory.
    ///
    /// # Errors
    /// The password doesn't fit.
    pub fn of(password: &str) -> Result<Self, PasswordError> {
        check(password)?;
        let failed = |error: &dyn std::fmt::Display| PasswordError::Failed(error.to_string());
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|error| failed(&error))?;
        let params =
            Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| failed(&error))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash: phc::PasswordHash = argon2
            .hash_password_with_salt(password.as_bytes(), &salt)
            .map_err(|error| failed(&error))?;
        Ok(Self(hash.to_string()))
    }

    /// Reads a hash as [`Self::reveal`] writes it.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, PasswordError> {
        let text = text.trim();
        let hash = phc::PasswordHash::new(text).map_err(|_| PasswordError::NoHash)?;
        let params = Params::try_from(&hash).map_err(|_| PasswordError::NoHash)?;
        let usable = hash.algorithm == argon2::ARGON2ID_IDENT
            && params.m_cost() <= MEMORY_KIB_MAX
            && hash.salt.is_some()
            && hash.hash.is_some();
        usable
            .then(|| Self(text.to_owned()))
            .ok_or(PasswordError::NoHash)
    }

    /// The text of the hash, for keeping.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `password` is the one; takes the same time whether it is or not.
    #[must_use]
    pub fn is(&self, password: &str) -> bool {
        let (Ok(hash), true) = (
            phc::PasswordHash::new(&self.0),
            password.len() <= PASSWORD_BYTES_MAX,
        ) else {
            return false;
        };
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    }
}

fn check(password: &str) -> Result<(), PasswordError> {
    let chars = password.chars().count();
    if chars < PASSWORD_CHARS_MIN {
        return Err(PasswordError::Short(chars));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordError::Long(password.len()));
    }
    if password.chars().any(char::is_control) {
        return Err(PasswordError::Control);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_opens_and_the_hash_holds_the_parameters() {
        let hash = PasswordHash::of("correct horse").unwrap();
        assert!(
            hash.reveal().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{}",
            hash.reveal()
        );
        let kept = PasswordHash::parse(&format!("{}\n", hash.reveal())).unwrap();
        assert!(kept.is("correct horse"));
        for bad in ["", "correct horsf", "correct horse ", &"x".repeat(100_000)] {
            assert!(!kept.is(bad));
        }
        let other = PasswordHash::of("correct horse").unwrap();
        assert_ne!(hash.reveal(), other.reveal(), "the salt is fresh");
    }

    #[test]
    fn what_no_form_can_send_is_no_password() {
        assert_eq!(
            PasswordHash::of("seven77").err(),
            Some(PasswordError::Short(7))
        );
        assert_eq!(
            PasswordHash::of(&"x".repeat(257)).err(),
            Some(PasswordError::Long(257))
        );
        assert_eq!(
            PasswordHash::of("eight\n888").err(),
            Some(PasswordError::Control)
        );
        assert!(PasswordHash::of("grüße88!").is_ok());
    }

    #[test]
    fn a_foreign_hash_is_none() {
        let ours = PasswordHash::of("correct horse").unwrap();
        for bad in [
            "",
            "correct horse",
            "$argon2id$v=19$m=19456,t=2,p=1$",
            &ours.reveal().replace("argon2id", "argon2d"),
            &ours.reveal().replace("m=19456", "m=4194304"),
        ] {
            assert_eq!(
                PasswordHash::parse(bad).err(),
                Some(PasswordError::NoHash),
                "{bad}"
            );
        }
    }
}
