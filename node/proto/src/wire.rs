//! Reading and writing fixed fields and variable-length integers without panicking or allocating
//! ahead of what is there.

use crate::{
    ids::ID_LEN,
    keys::{SIGNATURE_LEN, Signature},
};

/// Bytes that end too early, or a number that isn't in its shortest form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// More bytes were expected.
    #[error("the bytes end in the middle of a field")]
    Truncated,
    /// Bytes are left over.
    #[error("{0} bytes follow the last field")]
    Trailing(usize),
    /// A variable-length integer is longer than needed or exceeds 64 bits.
    #[error("an integer is not in its shortest form")]
    Integer,
    /// A field has a value that its type doesn't allow.
    #[error("the field {0} has a value that is not allowed")]
    Value(&'static str),
}

/// A cursor over received bytes.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    taken: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            taken: 0,
        }
    }

    /// Bytes not read yet.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Bytes read so far.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.taken
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(WireError::Truncated)?;
        self.rest = rest;
        self.taken += len;
        Ok(head)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.bytes(N)?.try_into().map_err(|_| WireError::Truncated)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// 32 bytes.
    pub fn id(&mut self) -> Result<[u8; ID_LEN], WireError> {
        self.array()
    }

    /// 64 bytes.
    pub fn signature(&mut self) -> Result<Signature, WireError> {
        Ok(Signature(self.array::<SIGNATURE_LEN>()?))
    }

    /// An unsigned LEB128 integer in its shortest form.
    pub fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(WireError::Integer);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 {
                    Err(WireError::Integer)
                } else {
                    Ok(value)
                };
            }
        }
        Err(WireError::Integer)
    }

    /// A varint that must be at most `max`.
    pub fn length(&mut self, field: &'static str, max: usize) -> Result<usize, WireError> {
        usize::try_from(self.varint()?)
            .ok()
            .filter(|len| *len <= max)
            .ok_or(WireError::Value(field))
    }

    /// Bytes behind their length, at most `max`.
    pub fn prefixed(&mut self, field: &'static str, max: usize) -> Result<&'a [u8], WireError> {
        let len = self.length(field, max)?;
        self.bytes(len)
    }

    /// UTF-8 text behind its length in bytes, at most `max`.
    pub fn text(&mut self, field: &'static str, max: usize) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.prefixed(field, max)?).map_err(|_| WireError::Value(field))
    }

    /// 0 or 1.
    pub fn flag(&mut self, field: &'static str) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Value(field)),
        }
    }

    /// Everything left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = std::mem::take(&mut self.rest);
        self.taken += rest.len();
        rest
    }

    /// Nothing may be left.
    pub const fn end(&self) -> Result<(), WireError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(WireError::Trailing(self.rest.len()))
        }
    }
}

/// Appends an unsigned LEB128 integer.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// Appends bytes behind their length.
pub fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Maps a signed difference to an unsigned number, small for small differences.
#[must_use]
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// The inverse of [`zigzag`].
#[must_use]
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_round_trip_in_one_form(value: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert!(reader.end().is_ok());
            if let Some(last) = out.last_mut() {
                *last |= 0x80;
            }
            out.push(0);
            prop_assert!(Reader::new(&out).varint().is_err());
        }

        #[test]
        fn zigzag_is_a_bijection(value: i64) {
            prop_assert_eq!(unzigzag(zigzag(value)), value);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.varint().is_ok() {}
            let _ = reader.prefixed("x", 100);
            let _ = reader.text("x", 100);
        }
    }
}
