//! Names for things: links, sessions, sockets.
//!
//! A [`Sid`] is what travels on the wire. It is 15 bytes: five of them say where the thing lives (shard and slab
//! slot, mixed with the other ten so that they tell an outsider nothing), ten are random. A lookup is therefore an
//! index and one comparison; there is no map from ids to sessions that a peer could grow or probe.
//!
//! Two spellings exist, both reversible: base64url in 20 characters (`[A-Za-z0-9_-]`, docs/protocol/engine-io.md §1) for
//! Engine.IO and 0.7-0.9, and base32 in 24 characters (`[a-z2-7]`) for 0.6, whose ids become URL path segments and
//! must be alphanumeric (docs/protocol/legacy-0.6.md §3).

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The caller's name for one place bytes can go: a parked GET, a POST, a websocket.
///
/// The low 32 bits are a slot and the high 32 bits its generation. The machines keep a table indexed by the slot, so
/// keep slots dense and small, and change the generation when a slot is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

impl LinkId {
    /// Puts a slot and its generation together.
    #[must_use]
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self((generation as u64) << 32 | slot as u64)
    }

    /// The index part.
    #[must_use]
    pub const fn slot(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    /// The generation part.
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Address of a session inside one shard: slot and generation. Stale keys are recognised, never misread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Address of a socket (one session in one namespace) inside one shard. Stale keys are recognised, never misread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketKey {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl SessionKey {
    /// The dense slab slot, for tables kept beside the shard.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.slot as usize
    }
}

impl SocketKey {
    /// The dense slab slot, for tables kept beside the shard.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.slot as usize
    }

    /// How often the slot has been used.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

/// A session or socket id as it travels on the wire.
///
/// Comparing two of them takes the same time wherever they differ.
#[derive(Clone, Copy)]
pub struct Sid([u8; 15]);

/// Key under which addresses are mixed into ids; one per process, drawn from the caller's entropy.
pub(crate) type SidKey = [u8; 16];

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl Sid {
    /// Length of the base64url spelling.
    pub const BASE64_LEN: usize = 20;
    /// Length of the base32 spelling.
    pub const BASE32_LEN: usize = 24;

    /// Makes an id for `shard` and `slot` from ten random bytes.
    pub(crate) fn new(key: &SidKey, shard: u8, slot: u32, random: [u8; 10]) -> Self {
        let mut bytes = [0; 15];
        bytes[5..].copy_from_slice(&random);
        let mask = address_mask(key, &random);
        bytes[0] = shard ^ mask[0];
        for (i, b) in slot.to_le_bytes().into_iter().enumerate() {
            bytes[1 + i] = b ^ mask[1 + i];
        }
        Self(bytes)
    }

    /// The shard and slot this id names, if it is one of ours. Any id yields an address; only a comparison with the
    /// id stored there says whether it is real.
    pub(crate) fn address(&self, key: &SidKey) -> (u8, u32) {
        let mut random = [0; 10];
        random.copy_from_slice(&self.0[5..]);
        let mask = address_mask(key, &random);
        let mut slot = [0; 4];
        for (i, b) in slot.iter_mut().enumerate() {
            *b = self.0[1 + i] ^ mask[1 + i];
        }
        (self.0[0] ^ mask[0], u32::from_le_bytes(slot))
    }

    /// Reads either spelling; `None` for anything that no server of ours has written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.len() {
            Self::BASE64_LEN => {
                let mut bytes = [0; 15];
                let n = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
                (n == 15).then_some(Self(bytes))
            }
            Self::BASE32_LEN => {
                let mut bytes = [0u8; 15];
                for (i, c) in text.bytes().enumerate() {
                    let v = BASE32.iter().position(|&b| b == c)? as u8;
                    for bit in 0..5 {
                        if v & (16 >> bit) != 0 {
                            let at = i * 5 + bit;
                            bytes[at / 8] |= 128 >> (at % 8);
                        }
                    }
                }
                Some(Self(bytes))
            }
            _ => None,
        }
    }

    /// The base64url spelling, 20 ASCII characters.
    #[must_use]
    pub fn base64(&self) -> [u8; Self::BASE64_LEN] {
        let mut out = [0; Self::BASE64_LEN];
        let n = URL_SAFE_NO_PAD
            .encode_slice(self.0, &mut out)
            .expect("15 bytes are exactly 20 characters");
        debug_assert_eq!(n, Self::BASE64_LEN);
        out
    }

    /// The base32 spelling, 24 ASCII characters.
    #[must_use]
    pub fn base32(&self) -> [u8; Self::BASE32_LEN] {
        let mut out = [0; Self::BASE32_LEN];
        for (i, o) in out.iter_mut().enumerate() {
            let mut v = 0;
            for bit in 0..5 {
                let at = i * 5 + bit;
                v = v << 1 | usize::from(self.0[at / 8] >> (7 - at % 8) & 1);
            }
            *o = BASE32[v];
        }
        out
    }
}

impl PartialEq for Sid {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |d, (a, b)| d | (a ^ b)) == 0
    }
}

impl Eq for Sid {}

impl fmt::Display for Sid {
    /// The base64url spelling.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.base64()
            .iter()
            .try_for_each(|&b| fmt::Write::write_char(f, b as char))
    }
}

impl fmt::Debug for Sid {
    /// The first four characters only: a whole session id is a bearer secret and does not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sid(")?;
        self.base64()[..4]
            .iter()
            .try_for_each(|&b| fmt::Write::write_char(f, b as char))?;
        f.write_str("…)")
    }
}

/// Five bytes that depend on the key and on every random byte: a small keyed mix, enough to keep slot numbers out of
/// sight. Unguessability does not rest on it but on the ten random bytes.
fn address_mask(key: &SidKey, random: &[u8; 10]) -> [u8; 5] {
    let half = |at: usize| u64::from_le_bytes(core::array::from_fn(|i| key[at + i]));
    let (mut a, mut b) = (half(0), half(8));
    for &byte in random {
        a = (a ^ u64::from(byte))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
            .wrapping_add(b);
        b = (b ^ a).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(31);
    }
    let m = (a ^ b.rotate_left(17)).to_le_bytes();
    [m[0], m[1], m[2], m[3], m[4]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn both_spellings_lead_back_to_the_address() {
        let key = [7; 16];
        for (shard, slot) in [(0, 0), (63, 1), (255, u32::MAX), (3, 123_456)] {
            let sid = Sid::new(&key, shard, slot, [9, 8, 7, 6, 5, 4, 3, 2, 1, slot as u8]);
            assert_eq!(sid.address(&key), (shard, slot));
            let text = sid.to_string();
            assert!(
                text.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            );
            assert_eq!(Sid::parse(&text), Some(sid));
            let text = core::str::from_utf8(&sid.base32()).unwrap().to_string();
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric()));
            assert_eq!(Sid::parse(&text), Some(sid));
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
            "0".repeat(24).as_str(),
        ] {
            assert_eq!(Sid::parse(text), None, "{text}");
        }
    }

    #[test]
    fn debug_does_not_show_the_secret() {
        let sid = Sid::new(&[0; 16], 0, 0, [1; 10]);
        assert!(!alloc::format!("{sid:?}").contains(&sid.to_string()));
    }
}
