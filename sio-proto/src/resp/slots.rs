//! The slot of a key in a cluster: CRC16 (XMODEM) of the key, or of its hash tag.

use memchr::memchr;

/// How many slots a cluster has.
pub const SLOTS: u16 = 16384;

const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut places: &mut [u16] = &mut table;
    let mut byte = 0_u8;
    while let [place, others @ ..] = places {
        let (mut crc, mut bits) = ((byte as u16) << 8, 0xff_u8);
        while bits != 0 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bits >>= 1;
        }
        *place = crc;
        byte = byte.wrapping_add(1);
        places = others;
    }
    table
}

/// The slot of a key, or of a channel of sharded pub/sub. If the key contains `{` and behind it `}`
/// with something in between, only this part counts, so keys with the same part are in one slot.
#[must_use]
pub fn slot(key: &[u8]) -> u16 {
    let part = tag(key).unwrap_or(key);
    let crc = part.iter().fold(0u16, |crc, byte| {
        let index = usize::from((crc >> 8) as u8 ^ *byte);
        crc << 8 ^ TABLE.get(index).copied().unwrap_or_default()
    });
    crc % SLOTS
}

/// The hash tag of a key.
fn tag(key: &[u8]) -> Option<&[u8]> {
    let (_, behind) = key.get(memchr(b'{', key)?..)?.split_first()?;
    let part = behind.get(..memchr(b'}', behind)?)?;
    (!part.is_empty()).then_some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of the cluster specification, and what `CLUSTER KEYSLOT` says.
    #[test]
    fn slots_are_those_of_redis() {
        for (key, wanted) in [
            (&b"123456789"[..], 0x31c3),
            (b"foo", 12182),
            (b"", 0),
            (b"{user1000}.following", 3443),
            (b"user1000", 3443),
            (b"foo{{bar}}zap", 4015),
            (b"foo{bar}{zap}", 5061),
            (b"foo{}{bar}", 8363),
            (b"socket.io#/#", 13868),
        ] {
            assert_eq!(slot(key), wanted, "{}", key.escape_ascii());
        }
    }
}
