//! Cuts an input into pieces, as a network does.
//!
//! The places to cut are computed from the bytes themselves. So an input contains nothing but the
//! bytes of the wire, different inputs have different cuts, and one input always has the same cuts.

use bytes::BytesMut;

/// Inputs of up to this length are also given one byte at a time.
const MAX_SINGLE_BYTES: usize = 512;

/// Returns the FNV-1a hash of the bytes.
#[must_use]
pub fn hash(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Returns the positions at which to cut `data`, in rising order. The last position is the length
/// of `data`.
#[must_use]
pub fn cuts(data: &[u8]) -> Vec<usize> {
    let mut state = hash(data) | 1;
    let mut at = 0;
    let mut cuts = Vec::new();
    while at < data.len() {
        // This is xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Most pieces are small, because small pieces are more likely to cut something in two. A
        // few large ones keep the middle of a message whole.
        let size = if state & 7 == 0 {
            state >> 8 & 255
        } else {
            state >> 8 & 15
        };
        at = data.len().min(at + size as usize + 1);
        cuts.push(at);
    }
    cuts
}

/// Runs `decode` on the whole of `data`, on random pieces of it, and on single bytes, and asserts
/// that all results are the same.
///
/// `decode` is called with a function that appends the next piece to a buffer. The function returns
/// false when there are no more pieces.
pub fn every_cut_is_the_same<T: PartialEq + std::fmt::Debug>(
    data: &[u8],
    decode: impl Fn(&mut dyn FnMut(&mut BytesMut) -> bool) -> T,
) -> T {
    let run = |cuts: Vec<usize>| {
        let (mut start, mut cuts) = (0, cuts.into_iter());
        decode(&mut |buffer: &mut BytesMut| {
            let Some(end) = cuts.next() else { return false };
            buffer.extend_from_slice(&data[start..end]);
            start = end;
            true
        })
    };
    let whole = run(vec![data.len()]);
    assert_eq!(run(cuts(data)), whole, "random pieces differ from the whole");
    if data.len() <= MAX_SINGLE_BYTES {
        assert_eq!(
            run((1..=data.len()).collect()),
            whole,
            "single bytes differ from the whole"
        );
    }
    whole
}

/// Cuts text at character borders and gives each piece to `take`.
pub fn text_pieces<'a>(text: &'a str, mut take: impl FnMut(&'a str)) {
    let mut start = 0;
    for mut end in cuts(text.as_bytes()) {
        while !text.is_char_boundary(end) {
            end += 1;
        }
        if end > start {
            take(&text[start..end]);
            start = end;
        }
    }
}
