//! Commands to bytes.

use bytes::{BufMut, BytesMut};

use crate::legacy::lengths::put_decimal;

/// Appends a command with its arguments, as a list of bulk strings. The first part is the name of
/// the command.
pub fn encode_command(parts: &[&[u8]], out: &mut BytesMut) {
    let bytes: usize = parts.iter().map(|part| part.len() + 16).sum();
    out.reserve(bytes + 16);
    out.put_u8(b'*');
    put_decimal(parts.len() as u64, out);
    out.put_slice(b"\r\n");
    for part in parts {
        out.put_u8(b'$');
        put_decimal(part.len() as u64, out);
        out.put_slice(b"\r\n");
        out.put_slice(part);
        out.put_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
