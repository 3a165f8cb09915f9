//! Frames of websockets (RFC 6455, section 5), as far as a load generator needs them.

use crate::failure::{Failure, Outcome};

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;

/// Every frame is masked with it. It is not zero, so the server has to work.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x8e];

pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
    /// The length of the whole frame.
    pub(crate) length: usize,
}

/// Writes a frame of a client.
pub(crate) fn masked(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    header(opcode, payload.len(), 0x80, out);
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Writes a frame of a server.
pub(crate) fn plain(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    header(opcode, payload.len(), 0, out);
    out.extend(payload);
}

fn header(opcode: u8, length: usize, mask_bit: u8, out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match length {
        0..126 => out.push(mask_bit | length as u8),
        126..65536 => {
            out.push(mask_bit | 126);
            out.extend((length as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
}

/// Returns the first frame of a server, or `None` if it is not complete.
pub(crate) fn next(bytes: &[u8]) -> Outcome<Option<Frame<'_>>> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0xf0 != 0x80 || second & 0x80 != 0 {
        return Err(Failure::unexpected("a whole frame without extensions", bytes));
    }
    let (length, head) = match second {
        126 => match rest.first_chunk() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 4),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(length) => (u64::from_be_bytes(*length), 10),
            None => return Ok(None),
        },
        length => (u64::from(*length), 2),
    };
    let end = usize::try_from(length).ok().and_then(|length| length.checked_add(head));
    let Some(end) = end else {
        return Err(Failure::unexpected("a frame that fits into memory", bytes));
    };
    Ok(bytes.get(head..end).map(|payload| Frame {
        opcode: first & 0x0f,
        payload,
        length: end,
    }))
}

/// What to do with a frame that is no answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Other {
    /// A heartbeat of Engine.IO: [`pong`] is the answer.
    Ping,
    /// A pong, or a packet without meaning (`6`).
    Nothing,
    Unknown,
}

pub(crate) fn other(frame: &Frame<'_>) -> Other {
    match (frame.opcode, frame.payload) {
        (TEXT, b"2") => Other::Ping,
        (TEXT, b"6") | (10, _) => Other::Nothing,
        _ => Other::Unknown,
    }
}

/// Writes the answer to a heartbeat.
pub(crate) fn pong(out: &mut Vec<u8>) {
    masked(TEXT, b"3", out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 70_000] {
            let payload = vec![b'x'; length];
            let mut bytes = Vec::new();
            plain(TEXT, &payload, &mut bytes);
            for cut in [0, 1, 3, bytes.len() - 1] {
                assert!(next(&bytes[..cut.min(bytes.len() - 1)]).expect("a beginning").is_none());
            }
            bytes.push(b'?');
            let frame = next(&bytes).expect("a frame").expect("all of it");
            assert_eq!(
                (frame.opcode, frame.payload, frame.length),
                (TEXT, &*payload, bytes.len() - 1)
            );
        }
    }

    #[test]
    fn masks() {
        let mut bytes = Vec::new();
        masked(BINARY, b"hello", &mut bytes);
        assert_eq!(bytes[..2], [0x82, 0x85]);
        let back: Vec<u8> = bytes[6..]
            .iter()
            .zip(bytes[2..6].iter().cycle())
            .map(|(a, b)| a ^ b)
            .collect();
        assert_eq!(back, b"hello");
    }

    #[test]
    fn faults() {
        assert!(next(&[0x01, 0x00]).is_err(), "a fragment");
        assert!(next(&[0xc1, 0x00]).is_err(), "compressed");
        assert!(next(&[0x81, 0x80]).is_err(), "masked");
        assert!(
            next(&[0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255]).is_err(),
            "longer than memory"
        );
    }
}
