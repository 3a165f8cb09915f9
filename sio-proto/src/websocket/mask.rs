//! Masking (RFC 6455 §5.3): byte `i` of a payload is XORed with byte `i mod 4` of the frame's key.
//!
//! Masking and unmasking are the same operation. The work is done in place, a word at a time, in a
//! loop that compilers turn into vector instructions. A payload that arrives in pieces is handled
//! piece by piece: each call returns the key rotated for the next byte.

/// XORs `payload` with `key`. Returns the key, rotated so that it fits the next byte of the same
/// frame.
///
/// A key of all zeros costs nothing, so unmasked frames may use it.
#[inline]
pub fn apply(payload: &mut [u8], key: [u8; 4]) -> [u8; 4] {
    step!(bulk payload.len());
    if key == [0; 4] {
        return key;
    }
    let half = u64::from(u32::from_ne_bytes(key));
    let word = half | half << 32;
    let length = payload.len();
    let unmask = |words: &mut [[u8; 8]]| {
        for bytes in words {
            *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
        }
    };
    // A long payload is handled in blocks, which need fewer steps than words.
    let (blocks, rest) = payload.as_chunks_mut::<128>();
    for block in blocks {
        unmask(block.as_chunks_mut().0);
    }
    let (blocks, rest) = rest.as_chunks_mut::<64>();
    for block in blocks {
        unmask(block.as_chunks_mut().0);
    }
    let (words, tail) = rest.as_chunks_mut::<8>();
    unmask(words);
    for (byte, key) in tail.iter_mut().zip(word.to_ne_bytes()) {
        *byte ^= key;
    }
    turn(key, length)
}

/// Does what [`apply`] does for a long payload, and looks at the bytes on the way: whether no
/// control character (a byte below 0x20) is among them. Looking costs less here than in a pass of
/// its own. Returns false if it is not known.
#[inline]
pub fn apply_looking(payload: &mut [u8], key: [u8; 4]) -> ([u8; 4], bool) {
    if key == [0; 4] {
        return (key, false);
    }
    step!(bulk payload.len());
    const BLOCK: usize = 64;
    let mut keys = [[0; 4]; BLOCK / 4];
    keys.fill(key);
    let keys = keys.as_flattened();
    let length = payload.len();
    let mut least = [u8::MAX; BLOCK];
    let (blocks, rest) = payload.as_chunks_mut::<BLOCK>();
    for block in blocks {
        for ((byte, key), least) in block.iter_mut().zip(keys).zip(&mut least) {
            *byte ^= key;
            *least = (*least).min(*byte);
        }
    }
    for ((byte, key), least) in rest.iter_mut().zip(keys).zip(&mut least) {
        *byte ^= key;
        *least = (*least).min(*byte);
    }
    let least = least.iter().fold(u8::MAX, |least, byte| least.min(*byte));
    (turn(key, length), least >= 0x20)
}

/// The key, rotated by `length` bytes.
#[inline]
const fn turn(key: [u8; 4], length: usize) -> [u8; 4] {
    // Only the last two bits of the length matter, so the cast loses nothing.
    u32::from_be_bytes(key)
        .rotate_left(((length & 3) as u32) << 3)
        .to_be_bytes()
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// Masking exactly as the RFC defines it.
    fn naive(payload: &[u8], key: [u8; 4]) -> Vec<u8> {
        payload
            .iter()
            .enumerate()
            .map(|(index, byte)| byte ^ key[index % 4])
            .collect()
    }

    #[test]
    fn rfc_6455_hello() {
        let mut payload = *b"Hello";
        apply(&mut payload, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(payload, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn turns() {
        for (length, key) in [
            (0, [1, 2, 3, 4]),
            (1, [2, 3, 4, 1]),
            (6, [3, 4, 1, 2]),
            (11, [4, 1, 2, 3]),
        ] {
            assert_eq!(turn([1, 2, 3, 4], length), key);
        }
    }

    proptest! {
        #[test]
        fn looking_changes_nothing(
            payload in prop::collection::vec(prop_oneof![9 => 0x20..=0xff_u8, 1 => any::<u8>()], 0..300),
            damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            key: [u8; 4],
        ) {
            let mut plain = payload;
            if let Some((index, byte)) = damage && !plain.is_empty() {
                let index = index.index(plain.len());
                plain[index] = byte;
            }
            let (mut masked, mut looked_at) = (naive(&plain, key), naive(&plain, key));
            let (turned, has_none) = apply_looking(&mut looked_at, key);
            prop_assert_eq!(turned, apply(&mut masked, key));
            prop_assert_eq!(&looked_at, &masked);
            prop_assert_eq!(has_none, key != [0; 4] && plain.iter().all(|byte| *byte >= 0x20));
        }

        #[test]
        fn agrees_with_the_definition_however_split(
            payload in prop::collection::vec(any::<u8>(), 0..300),
            key: [u8; 4],
            cuts in prop::collection::vec(1..40usize, 0..20),
        ) {
            let mut masked = payload.clone();
            let (mut rest, mut turned) = (&mut masked[..], key);
            for cut in cuts {
                let (piece, after) = rest.split_at_mut(cut.min(rest.len()));
                turned = apply(piece, turned);
                rest = after;
            }
            apply(rest, turned);
            prop_assert_eq!(masked, naive(&payload, key));
        }
    }
}
