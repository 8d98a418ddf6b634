//! Deterministic CBOR (RFC 8949, section 4.2.1), narrowed: definite lengths, shortest heads, map
//! keys in ascending order and unique, no tags, no floats. What passes [`check`] has exactly one
//! encoding, so bytes that decode also re-encode to themselves, unknown keys included.

use minicbor::{Decoder, Encoder};

use crate::limits::BODY_DEPTH_MAX;

/// Why bytes are not deterministic CBOR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// More bytes were expected.
    #[error("the encoding ends too early")]
    Truncated,
    /// Bytes follow the item.
    #[error("bytes follow the encoded item")]
    Trailing,
    /// A head could be shorter, or a length is indefinite.
    #[error("a length or an integer is not in its shortest form")]
    NotShortest,
    /// Keys out of order or twice.
    #[error("the keys of a map are not in ascending order")]
    KeyOrder,
    /// A tag, a float or a reserved value.
    #[error("a tag, a float or a reserved value is not allowed")]
    Type,
    /// A text that is not UTF-8.
    #[error("a text is not UTF-8")]
    Utf8,
    /// Nested too deeply.
    #[error("nested more than {BODY_DEPTH_MAX} levels")]
    Depth,
}

/// Checks that `bytes` are one item in its only encoding.
pub fn check(bytes: &[u8]) -> Result<(), CborError> {
    match item(bytes, 0)? {
        len if len == bytes.len() => Ok(()),
        _ => Err(CborError::Trailing),
    }
}

/// Length of the item at the start of `bytes`.
fn item(bytes: &[u8], depth: usize) -> Result<usize, CborError> {
    if depth > BODY_DEPTH_MAX {
        return Err(CborError::Depth);
    }
    let (major, value, head) = head(bytes)?;
    let body = bytes.get(head..).ok_or(CborError::Truncated)?;
    match major {
        0 | 1 => Ok(head),
        2 | 3 => {
            let len = usize::try_from(value).map_err(|_| CborError::Truncated)?;
            let content = body.get(..len).ok_or(CborError::Truncated)?;
            if major == 3 && std::str::from_utf8(content).is_err() {
                return Err(CborError::Utf8);
            }
            Ok(head + len)
        }
        4 => Ok(head + items(body, value, depth)?),
        5 => Ok(head + pairs(body, value, depth)?),
        _ => Ok(head),
    }
}

fn items(body: &[u8], count: u64, depth: usize) -> Result<usize, CborError> {
    let mut at = 0;
    for _ in 0..count {
        at += item(body.get(at..).ok_or(CborError::Truncated)?, depth + 1)?;
    }
    Ok(at)
}

fn pairs(body: &[u8], count: u64, depth: usize) -> Result<usize, CborError> {
    let mut at = 0;
    let mut previous: Option<&[u8]> = None;
    for _ in 0..count {
        let rest = body.get(at..).ok_or(CborError::Truncated)?;
        let key_len = item(rest, depth + 1)?;
        let key = rest.get(..key_len).ok_or(CborError::Truncated)?;
        if previous.is_some_and(|before| before >= key) {
            return Err(CborError::KeyOrder);
        }
        previous = Some(key);
        at += key_len;
        at += item(body.get(at..).ok_or(CborError::Truncated)?, depth + 1)?;
    }
    Ok(at)
}

/// Major type, argument and length of a head.
fn head(bytes: &[u8]) -> Result<(u8, u64, usize), CborError> {
    let first = *bytes.first().ok_or(CborError::Truncated)?;
    let major = first >> 5;
    if major >= 6 && !matches!(first, 0xf4..=0xf6) {
        return Err(CborError::Type);
    }
    let (value, len) = match first & 0x1f {
        short @ 0..=23 => return Ok((major, u64::from(short), 1)),
        24 => (u64::from(*bytes.get(1).ok_or(CborError::Truncated)?), 2),
        25 => (be(bytes, 2)?, 3),
        26 => (be(bytes, 4)?, 5),
        27 => (be(bytes, 8)?, 9),
        _ => return Err(CborError::NotShortest),
    };
    let smallest = match len {
        2 => 24,
        3 => 1 << 8,
        5 => 1 << 16,
        _ => 1 << 32,
    };
    if value < smallest {
        Err(CborError::NotShortest)
    } else {
        Ok((major, value, len))
    }
}

fn be(bytes: &[u8], len: usize) -> Result<u64, CborError> {
    let digits = bytes.get(1..=len).ok_or(CborError::Truncated)?;
    Ok(digits
        .iter()
        .fold(0, |value, byte| (value << 8) | u64::from(*byte)))
}

/// Writes one map with ascending integer keys. Writing to memory can't fail, so there is no error.
pub(crate) struct MapWriter {
    fields: Encoder<Vec<u8>>,
    count: u64,
}

impl MapWriter {
    pub(crate) fn new() -> Self {
        Self {
            fields: Encoder::new(Vec::new()),
            count: 0,
        }
    }

    pub(crate) fn field(
        &mut self,
        key: u8,
        write: impl FnOnce(&mut Encoder<Vec<u8>>),
    ) -> &mut Self {
        self.count += 1;
        let _ = self.fields.u8(key);
        write(&mut self.fields);
        self
    }

    pub(crate) fn uint(&mut self, key: u8, value: u64) -> &mut Self {
        self.field(key, |e| {
            let _ = e.u64(value);
        })
    }

    pub(crate) fn text(&mut self, key: u8, value: &str) -> &mut Self {
        self.field(key, |e| {
            let _ = e.str(value);
        })
    }

    pub(crate) fn bytes(&mut self, key: u8, value: &[u8]) -> &mut Self {
        self.field(key, |e| {
            let _ = e.bytes(value);
        })
    }

    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let mut out = Encoder::new(Vec::new());
        let _ = out.map(self.count);
        let mut out = out.into_writer();
        out.append(self.fields.writer_mut());
        out
    }
}

/// Reads a map with integer keys that passed [`check`]; fields that aren't known are passed over.
pub(crate) fn read_map<'b>(
    bytes: &'b [u8],
    mut field: impl FnMut(u64, &mut Decoder<'b>) -> Result<bool, minicbor::decode::Error>,
) -> Result<(), minicbor::decode::Error> {
    let mut decoder = Decoder::new(bytes);
    let count = decoder
        .map()?
        .ok_or_else(|| minicbor::decode::Error::message("indefinite map"))?;
    for _ in 0..count {
        let key = decoder.u64()?;
        if !field(key, &mut decoder)? {
            decoder.skip()?;
        }
    }
    Ok(())
}

/// Reads 32 bytes.
pub(crate) fn id(decoder: &mut Decoder<'_>) -> Result<[u8; 32], minicbor::decode::Error> {
    array(decoder)
}

/// Reads a byte string of exactly `N` bytes.
pub(crate) fn array<const N: usize>(
    decoder: &mut Decoder<'_>,
) -> Result<[u8; N], minicbor::decode::Error> {
    decoder
        .bytes()?
        .try_into()
        .map_err(|_| minicbor::decode::Error::message("a byte string has the wrong length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_one_encoding_and_names_what_is_wrong_with_others() {
        for (hex, expected) in [
            ("a2000101626162", Ok(())),
            ("a0", Ok(())),
            ("f5", Ok(())),
            ("", Err(CborError::Truncated)),
            ("a20101", Err(CborError::Truncated)),
            ("0000", Err(CborError::Trailing)),
            ("1817", Err(CborError::NotShortest)),
            ("190017", Err(CborError::NotShortest)),
            ("9fff", Err(CborError::NotShortest)),
            ("a201010002", Err(CborError::KeyOrder)),
            ("a200010002", Err(CborError::KeyOrder)),
            ("c000", Err(CborError::Type)),
            ("f90000", Err(CborError::Type)),
            ("fb0000000000000000", Err(CborError::Type)),
            ("61ff", Err(CborError::Utf8)),
            ("5bffffffffffffffff", Err(CborError::Truncated)),
            ("9bffffffffffffffff", Err(CborError::Truncated)),
            ("8181818181818181818100", Err(CborError::Depth)),
        ] {
            let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
            assert_eq!(check(&bytes), expected, "{hex}");
        }
    }
}
