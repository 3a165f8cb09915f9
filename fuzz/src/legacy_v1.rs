//! The wire of 0.7 to 0.9: payloads, packets, and the answer to the handshake.

use bytes::BytesMut;
use bytestring::ByteString;
use sio_proto::legacy::legacy09::handshake::Handshake;
use sio_proto::legacy::legacy09::{Packet, payload};

const MAX_PACKETS: usize = 16;

/// See the [module](self).
pub fn legacy_v1(data: &[u8]) {
    let Ok(text) = ByteString::try_from(data) else { return };
    for decode in [payload::decode, payload::decode_jsonp] {
        let mut packets = Vec::new();
        let _ = decode(&text, MAX_PACKETS, &mut packets);
        assert!(packets.len() <= MAX_PACKETS);
        packets.iter().for_each(check_packet);
        if packets.len() != 1 {
            let mut written = BytesMut::new();
            payload::write(packets.iter().map(|packet| &**packet), &mut written);
            let mut again = Vec::new();
            let written = ByteString::try_from(written).expect("text");
            assert_eq!(payload::decode(&written, MAX_PACKETS, &mut again), Ok(()));
            assert_eq!(again, packets);
        }
    }
    check_packet(&text);
    check_handshake(&text);
}

fn check_packet(text: &ByteString) {
    let Ok(packet) = Packet::decode(text) else { return };
    assert!(packet.endpoint.starts_with(packet.namespace()));
    let mut written = BytesMut::new();
    packet.encode(&mut written);
    let written = ByteString::try_from(written).expect("text");
    assert_eq!(Packet::decode(&written), Ok(packet));
}

fn check_handshake(text: &ByteString) {
    let Ok(mut handshake) = Handshake::decode(text) else { return };
    if handshake.transports.is_empty() {
        return; // Our encoder does not write such a handshake.
    }
    let mut written = BytesMut::new();
    handshake.encode(&mut written);
    for seconds in [&mut handshake.heartbeat_seconds, &mut handshake.close_seconds] {
        *seconds = seconds.filter(|&s| s > 0).or(Some(86_400));
    }
    assert_eq!(Handshake::decode(&ByteString::try_from(written).expect("text")), Ok(handshake));
}
