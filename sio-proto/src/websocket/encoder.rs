//! Writing frames: complete messages, single frames, Close.
//!
//! A server passes no mask. A client passes four bytes of its own [`Entropy`](crate::Entropy) for
//! each frame. The bytes are appended to the caller's buffer, so that the frames of one turn leave
//! in one write.

use bytes::{BufMut as _, BytesMut};

use super::close::{CloseCode, MAX_REASON_BYTES};
use super::frame::{Opcode, encode_header, header_bytes};
use super::mask;

/// Appends an unfragmented message, or a control frame.
#[inline]
pub fn encode_message(out: &mut BytesMut, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    encode_frame(out, opcode, true, payload, mask);
}

/// Appends one frame.
///
/// The caller is responsible for the order of frames in a fragmented message: the first frame has
/// the message's opcode, the others are [`Opcode::Continuation`], and only the last frame has
/// `fin`.
#[inline]
pub fn encode_frame(out: &mut BytesMut, opcode: Opcode, fin: bool, payload: &[u8], mask: Option<[u8; 4]>) {
    out.reserve(header_bytes(payload.len(), mask.is_some()).saturating_add(payload.len()));
    out.extend_from_slice(&encode_header(payload.len(), opcode, fin, mask));
    let start = out.len();
    out.extend_from_slice(payload);
    if let (Some(key), Some(written)) = (mask, out.get_mut(start..)) {
        mask::apply(written, key);
    }
}

/// Appends a Close frame: empty, or a code and a reason.
///
/// Genuine Engine.IO peers send an empty Close (`docs/protocol/engine-io.md` §5). A reason of more
/// than [`MAX_REASON_BYTES`] bytes is cut at the last character that fits.
pub fn encode_close(out: &mut BytesMut, status: Option<(CloseCode, &str)>, mask: Option<[u8; 4]>) {
    let mut payload = [0; 2 + MAX_REASON_BYTES];
    let mut room = &mut payload[..];
    if let Some((code, reason)) = status {
        room.put_u16(code.get());
        // The longest beginning that fits and does not end within a character.
        let ends = (0..=reason.len().min(MAX_REASON_BYTES)).rev();
        let fitting = ends.into_iter().find_map(|end| reason.get(..end));
        room.put_slice(fitting.unwrap_or_default().as_bytes());
    }
    let unused = room.len();
    let length = payload.len().saturating_sub(unused);
    encode_frame(
        out,
        Opcode::Close,
        true,
        payload.get(..length).unwrap_or_default(),
        mask,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_6455_examples() {
        let key = Some([0x37, 0xfa, 0x21, 0x3d]);
        let mut out = BytesMut::new();
        encode_message(&mut out, Opcode::Text, b"Hello", None);
        assert_eq!(out.split(), &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f][..]);
        encode_message(&mut out, Opcode::Text, b"Hello", key);
        assert_eq!(
            out.split(),
            &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58][..]
        );
        encode_frame(&mut out, Opcode::Text, false, b"Hel", None);
        encode_frame(&mut out, Opcode::Continuation, true, b"lo", None);
        assert_eq!(out.split(), &[0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f][..]);
        encode_message(&mut out, Opcode::Ping, b"Hello", None);
        encode_message(&mut out, Opcode::Pong, b"Hello", key);
        assert_eq!(
            out.split(),
            &b"\x89\x05Hello\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"[..]
        );
    }

    #[test]
    fn close_frames() {
        let mut out = BytesMut::new();
        encode_close(&mut out, None, None);
        assert_eq!(out.split(), &[0x88, 0x00][..]);
        encode_close(&mut out, Some((CloseCode::MESSAGE_TOO_BIG, "big")), None);
        assert_eq!(out.split(), &b"\x88\x05\x03\xf1big"[..]);
        // 61 two-byte characters fit into 123 bytes, half of the 62nd does not.
        encode_close(&mut out, Some((CloseCode::NORMAL, &"é".repeat(100))), None);
        assert_eq!(&out[..2], &[0x88, 124]);
    }
}
