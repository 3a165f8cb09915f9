//! The two kinds of ids, as bytes and as text.
//!
//! The text is base64url (`[A-Za-z0-9_-]`, docs/protocol/engine-io.md §1) for Engine.IO and
//! 0.7-0.9. It is base32 (`[a-z2-7]`) for 0.6, whose ids become URL path segments and must be
//! alphanumeric (docs/protocol/legacy-0.6.md §3). Both encodings are reversible, and each id has
//! exactly one text in each encoding.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::siphash::siphash;
use super::wire::derived_from;

/// The key with which addresses are mixed into ids. There is one per process, drawn from the
/// caller's entropy.
pub(crate) type SidKey = [u8; 16];

/// Bytes in front of the random part: shard, slot, tag.
const HEAD: usize = 8;

/// The public id of a socket. It is unique, and a thief cannot use it, because no request is let in
/// by this id.
///
/// From Socket.IO 3 on, the client itself has this id too (docs/protocol/socket-io.md §3.1). Older
/// clients know themselves by a [`WireId`](super::WireId).
///
/// Comparing two of these ids takes the same time wherever they differ.
#[derive(Clone, Copy)]
pub struct Sid([u8; 15]);

impl Sid {
    /// Length of the text.
    pub const BASE64_LEN: usize = 20;
    /// Number of random bytes in one id.
    pub(crate) const RANDOM: usize = 15 - HEAD;

    /// Makes an id for `shard` and `slot`.
    pub(crate) fn new(key: &SidKey, shard: u8, slot: u32, random: [u8; Self::RANDOM]) -> Self {
        let mut bytes = [0; 15];
        bytes[HEAD..].copy_from_slice(&random);
        seal(key, shard, slot, &mut bytes);
        Self(bytes)
    }

    /// The shard and slot that this id names; `None` if no server with this key has written the id.
    pub(crate) fn address(&self, key: &SidKey) -> Option<(u8, u32)> {
        unseal(key, &self.0)
    }

    /// Reads the text; `None` if the text cannot be such an id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        decode_base64(text).map(Self)
    }

    /// The text: 20 ASCII characters of base64url.
    #[must_use]
    pub fn base64(&self) -> [u8; Self::BASE64_LEN] {
        encode_base64(&self.0)
    }
}

impl PartialEq for Sid {
    fn eq(&self, other: &Self) -> bool {
        equal(&self.0, &other.0)
    }
}

impl Eq for Sid {}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.base64()).unwrap_or_default())
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sid({self})")
    }
}

/// The id of a session. It is a secret: whoever has it can read and send as the session's client.
/// 128 bits of it are random.
///
/// Comparing two of these ids takes the same time wherever they differ.
#[derive(Clone, Copy)]
pub(crate) struct SessionId([u8; 24]);

impl SessionId {
    /// Length of the base64url text.
    pub(crate) const BASE64_LEN: usize = 32;
    /// Length of the base32 text.
    pub(crate) const BASE32_LEN: usize = 39;
    /// Number of random bytes in one id.
    pub(crate) const RANDOM: usize = 24 - HEAD;

    /// Makes an id for `shard` and `slot`.
    pub(crate) fn new(key: &SidKey, shard: u8, slot: u32, random: [u8; Self::RANDOM]) -> Self {
        let mut bytes = [0; 24];
        bytes[HEAD..].copy_from_slice(&random);
        seal(key, shard, slot, &mut bytes);
        Self(bytes)
    }

    /// The shard and slot that this id names; `None` if no server with this key has written the id.
    pub(crate) fn address(&self, key: &SidKey) -> Option<(u8, u32)> {
        unseal(key, &self.0)
    }

    /// Reads either text; `None` if the text cannot be such an id.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.len() {
            Self::BASE64_LEN => decode_base64(text),
            Self::BASE32_LEN => decode_base32(text),
            _ => None,
        }
        .map(Self)
    }

    /// The base64url text, 32 ASCII characters.
    pub(crate) fn base64(&self) -> [u8; Self::BASE64_LEN] {
        encode_base64(&self.0)
    }

    /// The base32 text, 39 ASCII characters.
    pub(crate) fn base32(&self) -> [u8; Self::BASE32_LEN] {
        let mut out = [0; Self::BASE32_LEN];
        // Bits that have been read and not written, at the end of the number. Behind the last byte
        // there are zeros.
        let (mut bytes, mut bits, mut count) = (self.0.iter(), 0_u16, 0_u32);
        for place in &mut out {
            if count < 5 {
                bits = bits << 8 | bytes.next().copied().map_or(0, u16::from);
                count = count.saturating_add(8);
            }
            count = count.saturating_sub(5);
            let digit = usize::from(bits.wrapping_shr(count) & 31);
            *place = BASE32.get(digit).copied().unwrap_or(b'a');
        }
        out
    }
}

impl PartialEq for SessionId {
    fn eq(&self, other: &Self) -> bool {
        equal(&self.0, &other.0)
    }
}

impl Eq for SessionId {}

impl fmt::Debug for SessionId {
    /// Shows nothing of the id, because a secret does not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

/// The shard and slot that a text names, whichever kind of id it is; `None` if no server with this
/// key has written the text as an id. The session or socket at the address may have another id: the
/// caller has to compare.
pub(crate) fn address_of(key: &SidKey, id: &str) -> Option<(u8, u32)> {
    let id = derived_from(id).map_or(id, |(_, session)| session);
    match id.len() {
        Sid::BASE64_LEN => Sid::parse(id)?.address(key),
        _ => SessionId::parse(id)?.address(key),
    }
}

/// Whether a text is an id that a server with this key has written. The owner of the id may be
/// here, may be gone or may be still to come. By chance, one of sixteen million texts of the right
/// length is taken for an id.
pub(crate) fn is_an_id(key: &SidKey, text: &str) -> bool {
    address_of(key, text).is_some()
}

/// Writes address and tag in front of the random part.
fn seal(key: &SidKey, shard: u8, slot: u32, bytes: &mut [u8]) {
    let Some((head, random)) = bytes.split_first_chunk_mut() else {
        debug_assert!(false, "an id is longer than its address and tag");
        return;
    };
    let address = u64::from(slot) << 8 | u64::from(shard);
    *head = (siphash(key, random) ^ address).to_le_bytes();
}

/// Reads the address if the tag is right.
fn unseal(key: &SidKey, bytes: &[u8]) -> Option<(u8, u32)> {
    let (head, random) = bytes.split_first_chunk::<HEAD>()?;
    let head = u64::from_le_bytes(*head) ^ siphash(key, random);
    // Behind the address stands the tag, so these bits are zero if the tag is right.
    (head >> 40 == 0).then_some((head as u8, (head >> 8) as u32))
}

fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The value of a character that is no digit of base64url. No digit has this bit.
const NO_DIGIT: u8 = 0x80;

/// The value of each character as a digit of base64url.
#[expect(
    clippy::indexing_slicing,
    reason = "the compiler computes the table, and an index that is wrong stops it"
)]
const BASE64_VALUES: [u8; 256] = {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut values = [NO_DIGIT; 256];
    let (mut left, mut value): (&[u8], u8) = (digits, 0);
    while let [digit, others @ ..] = left {
        values[*digit as usize] = value;
        value = value.wrapping_add(1);
        left = others;
    }
    values
};

/// The bytes of a text. The text must have exactly the length that `N` bytes give. `N` must be
/// divisible by three.
fn decode_base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    const { assert!(N.is_multiple_of(3)) }
    let mut bytes = [0; N];
    if text.len() != (N / 3).saturating_mul(4) {
        return None;
    }
    // Four characters are three bytes, so no character has bits beyond the last byte. The id of
    // each request is read here, and the general decoder does far more than so few bytes need.
    let mut invalid = 0;
    for (digits, bytes) in text.as_bytes().chunks_exact(4).zip(bytes.chunks_exact_mut(3)) {
        let mut number = 0;
        for digit in digits {
            let value = BASE64_VALUES.get(usize::from(*digit)).copied().unwrap_or(NO_DIGIT);
            invalid |= value;
            number = number << 6 | u32::from(value);
        }
        bytes.copy_from_slice(&number.to_be_bytes()[1..]);
    }
    (invalid & NO_DIGIT == 0).then_some(bytes)
}

/// The text of some bytes. The number of bytes must be divisible by three.
fn encode_base64<const N: usize, const LEN: usize>(bytes: &[u8; N]) -> [u8; LEN] {
    const { assert!(N.is_multiple_of(3) && LEN == N / 3 * 4) }
    let mut out = [0; LEN];
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, &mut out);
    debug_assert_eq!(written, Ok(LEN), "the text has room for all bytes");
    out
}

/// The bytes of a base32 text. The last character has bits beyond the last byte. These bits are
/// zero in every text that this server has written, so other values are refused.
fn decode_base32<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // Bits that have been read and not written, at the end of the number.
    let (mut places, mut bits, mut count) = (bytes.iter_mut(), 0_u16, 0_u32);
    for character in text.bytes() {
        let digit = BASE32.iter().position(|digit| *digit == character)?;
        bits = bits << 5 | digit as u16;
        count = count.saturating_add(5);
        if count >= 8 {
            count = count.saturating_sub(8);
            *places.next()? = bits.wrapping_shr(count) as u8;
        }
    }
    let beyond = bits & !u16::MAX.wrapping_shl(count);
    (places.next().is_none() && beyond == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString};

    const ADDRESSES: [(u8, u32); 4] = [(0, 0), (63, 1), (255, u32::MAX), (3, 123_456)];

    fn text(bytes: &[u8]) -> String {
        core::str::from_utf8(bytes).unwrap().to_string()
    }

    #[test]
    fn every_text_leads_back_to_the_address() {
        let key = [7; 16];
        for (shard, slot) in ADDRESSES {
            let sid = Sid::new(&key, shard, slot, [6, 5, 4, 3, 2, 1, slot as u8]);
            assert_eq!(sid.address(&key), Some((shard, slot)));
            assert_eq!(Sid::parse(&sid.to_string()), Some(sid));
            let secret = SessionId::new(&key, shard, slot, [slot as u8; 16]);
            assert_eq!(secret.address(&key), Some((shard, slot)));
            let (base64, base32) = (text(&secret.base64()), text(&secret.base32()));
            assert!(base32.bytes().all(|b| b.is_ascii_alphanumeric()));
            assert_eq!(SessionId::parse(&base64), Some(secret));
            assert_eq!(SessionId::parse(&base32), Some(secret));
            for id in [sid.to_string(), base64.clone(), base32, format!("/a#{base64}")] {
                assert_eq!(address_of(&key, &id), Some((shard, slot)), "{id}");
                assert_eq!(address_of(&[8; 16], &id), None, "{id} under another key");
            }
        }
    }

    /// The general decoder is the oracle: each character in each place.
    #[test]
    fn base64_is_read_as_the_general_decoder_reads_it() {
        let text = "f2OB-Gs9_F9dtPdjA7X9";
        for place in 0..text.len() {
            for byte in 0..=127u8 {
                let mut text = text.to_string();
                text.replace_range(place..=place, core::str::from_utf8(&[byte]).unwrap());
                let expected = URL_SAFE_NO_PAD.decode(&text).ok();
                let read = decode_base64::<15>(&text);
                assert_eq!(read.map(|bytes| bytes.to_vec()), expected, "{text:?}");
            }
        }
    }

    #[test]
    fn foreign_names_are_no_ids() {
        for text in [
            "",
            "__proto__",
            "constructor",
            "AAAAAAAAAAAAAAAAAAA=",
            "AAAAAAAAAAAAAAAAAAAAA",
            "é".repeat(10).as_str(),
            "é".repeat(16).as_str(),
            "0".repeat(39).as_str(),
            // The last character has bits beyond the last byte that are not zero.
            "7".repeat(39).as_str(),
            "f2OB-Gs9-F9dtPdjA7X9",
            "A".repeat(20).as_str(),
            "A".repeat(32).as_str(),
            "a".repeat(39).as_str(),
        ] {
            assert!(!is_an_id(&[7; 16], text), "{text}");
        }
    }

    /// Hardening A4.
    #[test]
    fn a_session_id_has_its_128_random_bits_and_shows_none() {
        let random: [u8; 16] = core::array::from_fn(|i| i as u8 * 17);
        let secret = SessionId::new(&[7; 16], 3, 9, random);
        assert_eq!(secret.0[HEAD..], random);
        assert_eq!(format!("{secret:?}"), "SessionId(…)");
        for at in 0..24 {
            let mut other = secret;
            other.0[at] ^= 1;
            assert_ne!(other, secret, "byte {at} counts");
        }
    }

    /// Hardening A4.
    #[test]
    fn ids_of_neighbours_have_nothing_in_common() {
        let key = core::array::from_fn(|i| i as u8 * 11);
        let ids = (0..64u32).map(|slot| Sid::new(&key, 0, slot, [slot as u8, 0, 0, 0, 0, 0, 0]).0);
        let heads: alloc::collections::BTreeSet<_> = ids.map(|id| id[..5].to_vec()).collect();
        assert_eq!(heads.len(), 64);
        let ones: u32 = heads.iter().flatten().map(|byte| byte.count_ones()).sum();
        // There are 64 times 40 bits, and each bit is one with a probability of one half. Four
        // standard deviations are 101.
        assert!(ones.abs_diff(1280) < 101, "{ones}");
    }
}
