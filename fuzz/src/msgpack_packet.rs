//! Packets and event arguments in MessagePack: every packet that is read may be broadcast, and
//! gives the same packet when it is written and read again.

use bytes::Bytes;
use sio_proto::codec::{MessagePack, PacketParser, Parsed, messages};
use sio_proto::json;
use sio_proto::server::EngineMessage;
use sio_proto::socket::text::Limits;
use sio_proto::socket::{Args, Packet};

/// See the [module](self).
pub fn msgpack_packet(data: &[u8]) {
    let mut limits = Limits::default();
    (limits.max_depth, limits.max_event_name_bytes) = (9, 32);
    let mut parser = MessagePack::default();
    (parser.max_elements, parser.max_binaries) = (300, 5);
    check(data, &parser, &limits);

    // The input is also used as the arguments of an event, so that the fuzzer need not find out how
    // a packet begins.
    let mut event = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa1m".to_vec();
    event.extend_from_slice(data);
    check(&event, &parser, &limits);
}

fn check(message: &[u8], parser: &MessagePack, limits: &Limits) {
    let message = Bytes::copy_from_slice(message);
    let Ok(Parsed::Packet(packet)) = parser.decode(EngineMessage::Binary(message.clone()), limits) else {
        return;
    };
    match &packet {
        Packet::Connect { payload: Some(json), .. } | Packet::ConnectError { payload: json, .. } => {
            assert_eq!(json::validate(json, limits.max_depth), Ok(()));
        }
        Packet::Event { name, args, .. } => {
            assert!(name.len() <= limits.max_event_name_bytes);
            check_args(args, &message, parser, limits);
        }
        Packet::Ack { args, .. } => check_args(args, &message, parser, limits),
        Packet::Connect { payload: None, .. } | Packet::Disconnect { .. } => {}
    }

    // Binary data in a payload has been replaced by an object, which may be larger. Nothing else
    // grows.
    let written = messages(parser, &packet).expect("what was read can be said");
    let [EngineMessage::Binary(bytes)] = &written[..] else {
        panic!("one binary message: {written:?}");
    };
    let roomy = MessagePack::default();
    let again = roomy.decode(EngineMessage::Binary(bytes.clone()), limits);
    assert_eq!(again, Ok(Parsed::Packet(packet)));
}

fn check_args(args: &Args, message: &Bytes, parser: &MessagePack, limits: &Limits) {
    assert_eq!(json::validate_elements(&args.json, limits.max_depth), Ok(()));
    assert!(args.attachments.len() <= parser.max_binaries);
    // A placeholder and its comma have at most 37 bytes, for at least 2 bytes of the message.
    assert!(args.json.len() <= 6 * message.len() + 37 * args.attachments.len());
    if !args.attachments.is_empty() {
        assert!(json::named_attachments(&args.json, args.attachments.len()).is_ok());
    }
    for attachment in &args.attachments {
        let (all, part) = (message.as_ptr_range(), attachment.as_ptr_range());
        assert!(attachment.is_empty() || all.start <= part.start && part.end <= all.end, "a copy");
    }
}
