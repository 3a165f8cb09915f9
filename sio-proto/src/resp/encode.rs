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
    }
    out.put_slice(b"\r\n");
}

/// Appends a command without its last part, which has `last` bytes. The caller writes these bytes
/// and a line break (CR LF) behind it. So a large part need not be copied.
pub fn encode_command_before(parts: &[&[u8]], last: usize, out: &mut BytesMut) {
    out.reserve(estimate(parts).saturating_add(AROUND_PART));
    begin(parts.len().saturating_add(1), out);
    for part in parts {
        begin_part(part.len(), out);
        out.put_slice(part);
    }
    begin_part(last, out);
}

fn estimate(parts: &[&[u8]]) -> usize {
    let part = |part: &&[u8]| part.len().saturating_add(AROUND_PART);
    parts.iter().map(part).fold(AROUND_PART, usize::saturating_add)
}

/// Begins a command, without the end of its first line.
fn begin(parts: usize, out: &mut BytesMut) {
    match parts {
        0..10 => out.put_slice(&[b'*', last_digit(parts)]),
        _ => {
            out.put_u8(b'*');
            put_decimal(parts as u64, out);
        }
    }
}

/// Ends the line before, and begins a part. Short numbers are written in one go with what is around
/// them, because each write costs more than its bytes.
fn begin_part(len: usize, out: &mut BytesMut) {
    match len {
        0..10 => out.put_slice(&[b'\r', b'\n', b'$', last_digit(len), b'\r', b'\n']),
        10..100 => out.put_slice(&[b'\r', b'\n', b'$', last_digit(len / 10), last_digit(len), b'\r', b'\n']),
        100..1000 => {
            let [hundreds, tens, ones] = [len / 100, len / 10, len].map(last_digit);
            let line = [b'\r', b'\n', b'$', hundreds, tens, ones, b'\r', b'\n'];
            out.put_slice(&line);
        }
        _ => {
            out.put_slice(b"\r\n$");
            put_decimal(len as u64, out);
            out.put_slice(b"\r\n");
        }
    }
}

const fn last_digit(number: usize) -> u8 {
    b'0' | (number % 10) as u8
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
    fn lengths_of_all_sizes() {
        for len in [0, 1, 9, 10, 11, 99, 100, 101, 110, 999, 1000, 1001, 123_456] {
            let part = alloc::vec![b'x'; len];
            let mut parts: alloc::vec::Vec<&[u8]> = alloc::vec![b"A", &part];
            for count in [2, 9, 10, 11] {
                parts.resize(count, b"");
                let mut out = BytesMut::new();
                encode_command(&parts, &mut out);
                let text = core::str::from_utf8(&part).unwrap();
                let empty = "$0\r\n\r\n".repeat(count - 2);
                let expected = alloc::format!("*{count}\r\n$1\r\nA\r\n${len}\r\n{text}\r\n{empty}");
                assert_eq!(out, expected.as_bytes());
            }
        }
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
