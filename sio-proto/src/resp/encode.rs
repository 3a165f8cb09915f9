//! Commands to bytes.

use bytes::{BufMut, BytesMut};

use crate::digits::put_decimal;

/// Bytes around a part: `$`, its length, and two ends of lines. An estimate.
const AROUND_PART: usize = 16;

/// Appends a command with its arguments, as a list of bulk strings. The first part is the name of
/// the command.
pub fn encode_command(parts: &[&[u8]], out: &mut BytesMut) {
    out.reserve(estimate(parts));
    begin(parts.len(), out);
    for part in parts {
        begin_part(part.len(), out);
        out.put_slice(part);
        out.put_slice(b"\r\n");
    }
}

/// Appends a command without its last part, which has `last` bytes. The caller writes these bytes
/// and a line break (CR LF) behind it. So a large part need not be copied.
pub fn encode_command_before(parts: &[&[u8]], last: usize, out: &mut BytesMut) {
    out.reserve(estimate(parts).saturating_add(AROUND_PART));
    begin(parts.len().saturating_add(1), out);
    for part in parts {
        begin_part(part.len(), out);
        out.put_slice(part);
        out.put_slice(b"\r\n");
    }
    begin_part(last, out);
}

fn estimate(parts: &[&[u8]]) -> usize {
    let part = |part: &&[u8]| part.len().saturating_add(AROUND_PART);
    parts.iter().map(part).fold(AROUND_PART, usize::saturating_add)
}

fn begin(parts: usize, out: &mut BytesMut) {
    out.put_u8(b'*');
    put_decimal(parts as u64, out);
    out.put_slice(b"\r\n");
}

fn begin_part(len: usize, out: &mut BytesMut) {
    out.put_u8(b'$');
    put_decimal(len as u64, out);
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_part_may_be_written_by_the_caller() {
        let (mut whole, mut parts) = (BytesMut::new(), BytesMut::new());
        encode_command(&[b"PUBLISH", b"channel", b"payload"], &mut whole);
        encode_command_before(&[b"PUBLISH", b"channel"], 7, &mut parts);
        parts.extend_from_slice(b"payload\r\n");
        assert_eq!(whole, parts);
    }

    #[test]
    fn a_command_is_a_list_of_bulk_strings() {
        let mut out = BytesMut::new();
        encode_command(&[b"PUBLISH", b"a b", b"\r\n", b""], &mut out);
        assert_eq!(
            &out[..],
            b"*4\r\n$7\r\nPUBLISH\r\n$3\r\na b\r\n$2\r\n\r\n\r\n$0\r\n\r\n"
        );
    }
}
