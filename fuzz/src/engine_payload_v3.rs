//! Payloads of Engine.IO 3: the text form, in which a length stands before each packet, and the
//! binary form.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use sio_proto::engine::payload_v3::{self, BinaryWriter, TextWriter};
use sio_proto::engine::{Dialect, Packet, PayloadError, Revision};

const MAX_PACKETS: usize = 16;

/// See the [module](self).
pub fn engine_payload_v3(data: &[u8]) {
    for dialect in [Dialect::Auto, Dialect::Plain, Dialect::Double] {
        if let Ok(text) = ByteString::try_from(data) {
            let found: Vec<_> = payload_v3::decode_text(text, dialect, MAX_PACKETS).collect();
            let packets = check(&found);
            if dialect == Dialect::Plain && !packets.is_empty() {
                let mut written = BytesMut::new();
                let mut writer = TextWriter::new(&mut written);
                for packet in &packets {
                    match packet {
                        Packet::Binary(bytes) => writer.binary(bytes),
                        packet => writer.text(&text_of(packet)),
                    }
                }
                let written = ByteString::try_from(written).expect("text");
                let again: Result<Vec<_>, _> = payload_v3::decode_text(written, dialect, MAX_PACKETS).collect();
                assert_eq!(again, Ok(packets));
            }
        }
        let found: Vec<_> = payload_v3::decode_binary(Bytes::copy_from_slice(data), dialect, MAX_PACKETS).collect();
        let packets = check(&found);
        if dialect == Dialect::Plain && !packets.is_empty() {
            let mut written = BytesMut::new();
            let mut writer = BinaryWriter::new(&mut written);
            for packet in &packets {
                match packet {
                    Packet::Binary(bytes) => writer.binary(bytes),
                    packet => writer.text(&text_of(packet)),
                }
            }
            let again: Result<Vec<_>, _> = payload_v3::decode_binary(written.freeze(), dialect, MAX_PACKETS).collect();
            assert_eq!(again, Ok(packets));
        }
    }
}

/// Returns the packets before the error. If there is an error, it must be the last item.
fn check(found: &[Result<Packet, PayloadError>]) -> Vec<Packet> {
    let packets: Vec<_> = found.iter().flatten().cloned().collect();
    let errors = found.len() - packets.len();
    assert!(errors == 0 || errors == 1 && found.last().is_some_and(Result::is_err), "an error is the end");
    assert!(packets.len() <= MAX_PACKETS);
    packets
}

fn text_of(packet: &Packet) -> ByteString {
    let mut text = BytesMut::new();
    packet.encode_text(Revision::V3, &mut text);
    ByteString::try_from(text).expect("text")
}
