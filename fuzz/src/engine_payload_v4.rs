//! Payloads of Engine.IO 4: packets separated by U+001E.

use bytes::BytesMut;
use bytestring::ByteString;
use sio_proto::engine::payload::{self, PayloadError, Writer};

const MAX_PACKETS: usize = 16;

/// See the [module](self).
pub fn engine_payload_v4(data: &[u8]) {
    let Ok(body) = ByteString::try_from(data) else { return };
    let mut items = payload::decode(body, MAX_PACKETS);
    let found: Vec<_> = items.by_ref().collect();
    assert!(items.next().is_none(), "the end is final");
    let packets: Vec<_> = found.iter().flatten().cloned().collect();
    assert!(packets.len() <= MAX_PACKETS);
    assert!(!found.is_empty(), "an empty body is an error");
    let errors = found.len() - packets.len();
    assert!(errors == 0 || errors == 1 && found.last().is_some_and(Result::is_err), "an error is the end");
    if found.last() == Some(&Err(PayloadError::TooManyPackets)) {
        assert_eq!(packets.len(), MAX_PACKETS);
    }
    if packets.is_empty() {
        return;
    }
    let mut written = BytesMut::new();
    let mut writer = Writer::new(&mut written);
    packets.iter().for_each(|packet| writer.packet(packet));
    let again: Result<Vec<_>, _> = payload::decode(ByteString::try_from(written).expect("text"), MAX_PACKETS).collect();
    assert_eq!(again, Ok(packets));
}
