//! The messages of a connection, text and binary in any order, put together into packets.
//!
//! The input consists of lines. A line that starts with `b` is a binary message; any other line is
//! the text of a packet.

use bytes::Bytes;
use bytestring::ByteString;
use sio_proto::socket::text::Limits;
use sio_proto::socket::{Packet, Revision, Role};
use sio_proto::wire::Reassembly;

/// See the [module](self).
pub fn socket_reassembly(data: &[u8]) {
    let mut limits = Limits::default();
    (limits.max_attachments, limits.max_attachment_bytes) = (4, 64);
    for revision in [Revision::Three, Revision::Five] {
        let mut reassembly = Reassembly::new();
        let mut held = 0;
        for line in data.split(|&byte| byte == b'\n') {
            let was_pending = reassembly.is_pending();
            let binary = line.strip_prefix(b"b");
            let outcome = match binary {
                Some(bytes) => {
                    held += bytes.len();
                    reassembly.handle_binary(Bytes::copy_from_slice(bytes), &limits)
                }
                None => match ByteString::try_from(line) {
                    Ok(text) => reassembly.handle_text(text, revision, Role::Server, &limits),
                    Err(_) => continue,
                },
            };
            let Ok(packet) = outcome else { break };
            assert!(binary.is_none() || was_pending, "an attachment of nothing");
            assert!(binary.is_some() || !was_pending, "text in between");
            assert!(!reassembly.is_pending() || packet.is_none());
            assert!(held <= limits.max_attachment_bytes, "more is held than may be");
            if !reassembly.is_pending() {
                held = 0;
            }
            if let Some(Packet::Event { args, .. } | Packet::Ack { args, .. }) = packet {
                // An attachment that no placeholder names is dropped.
                assert!(binary.is_some() || args.attachments.is_empty());
                assert!(args.attachments.len() <= limits.max_attachments);
            }
        }
    }
}
