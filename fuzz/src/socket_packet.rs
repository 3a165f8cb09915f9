//! The text of Socket.IO packets, in every revision, read as a server and as a client.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use sio_proto::json;
use sio_proto::socket::text::{Decoded, Encoder, Limits, decode};
use sio_proto::socket::{Args, Packet, Revision, Role, is_reserved_event};
use sio_proto::wire::Reassembly;

/// See the [module](self).
pub fn socket_packet(data: &[u8]) {
    let Ok(text) = ByteString::try_from(data) else { return };
    let mut limits = Limits::default();
    (limits.max_attachments, limits.max_namespace_bytes, limits.max_event_name_bytes) = (4, 32, 32);
    for revision in [Revision::Three, Revision::Four, Revision::Five] {
        for role in [Role::Server, Role::Client] {
            let Ok(decoded) = decode(&text, revision, role, &limits) else {
                continue;
            };
            let (mut packet, attachments) = match decoded {
                Decoded::Nothing => continue,
                Decoded::Packet(packet) => (packet, 0),
                Decoded::Partial(partial) => {
                    assert!((1..=limits.max_attachments).contains(&partial.attachments()));
                    (partial.packet().clone(), partial.attachments())
                }
            };
            check(&packet, &limits);
            // A text alone has no attachments yet. The test adds any bytes as attachments, because
            // the written packet has to say their number.
            if let Packet::Event { args, .. } | Packet::Ack { args, .. } = &mut packet {
                args.attachments = vec![Bytes::from_static(b"x"); attachments];
            }
            write_again(&without_unnamed(&packet), revision, role, &limits);
        }
    }
}

fn check(packet: &Packet, limits: &Limits) {
    let namespace = packet.namespace();
    assert!(namespace.starts_with('/') && !namespace.contains(','));
    assert!(namespace.len() <= limits.max_namespace_bytes);
    match packet {
        Packet::Connect { payload: Some(json), .. } | Packet::ConnectError { payload: json, .. } => {
            assert_eq!(json::validate(json, limits.max_depth), Ok(()));
        }
        Packet::Event { name, args, .. } => {
            assert!(!is_reserved_event(name) && name.len() <= limits.max_event_name_bytes);
            check_args(args, limits);
        }
        Packet::Ack { args, .. } => check_args(args, limits),
        Packet::Connect { .. } | Packet::Disconnect { .. } => {}
    }
}

fn check_args(args: &Args, limits: &Limits) {
    assert_eq!(args.is_empty(), args.iter().next().is_none());
    for value in args {
        assert_eq!(json::validate(value, limits.max_depth), Ok(()));
    }
}

fn write_again(packet: &Packet, revision: Revision, role: Role, limits: &Limits) {
    let mut written = BytesMut::new();
    Encoder::new(revision).ascii(false).packet(&mut written, packet);
    let text = ByteString::try_from(written).expect("text");
    assert_eq!(assemble(text, packet, revision, role, limits).as_ref(), Some(packet));

    // The encoder can write JSON as ASCII, with escapes. When this text is read and written again,
    // it must not change.
    let mut written = BytesMut::new();
    let encoder = Encoder::new(revision).ascii(true);
    encoder.packet(&mut written, packet);
    let ascii = ByteString::try_from(written).expect("text");
    let again = assemble(ascii.clone(), packet, revision, role, limits).expect("what we wrote");
    let mut written = BytesMut::new();
    encoder.packet(&mut written, &again);
    assert_eq!(ascii.as_bytes(), &written[..]);
}

/// The packet as it is read: attachments that no placeholder names are dropped. Placeholders that
/// do not fit leave the packet as it is, because it is refused.
fn without_unnamed(packet: &Packet) -> Packet {
    let mut packet = packet.clone();
    if let Packet::Event { args, .. } | Packet::Ack { args, .. } = &mut packet
        && let Ok(named) = json::named_attachments(&args.json, args.attachments.len())
    {
        let last = (0..args.attachments.len()).rev().find(|number| named.contains(*number));
        args.attachments.truncate(last.map_or(0, |last| last + 1));
        let unnamed = args.attachments.iter_mut().enumerate();
        unnamed.filter(|(number, _)| !named.contains(*number)).for_each(|(_, bytes)| *bytes = Bytes::new());
    }
    packet
}

/// Reads a packet back, together with its attachments. Returns `None` if the attachments do not fit
/// the placeholders.
fn assemble(text: ByteString, packet: &Packet, revision: Revision, role: Role, limits: &Limits) -> Option<Packet> {
    let mut reassembly = Reassembly::new();
    let mut whole = reassembly.handle_text(text, revision, role, limits).expect("what we wrote");
    if let Packet::Event { args, .. } | Packet::Ack { args, .. } = packet {
        if json::named_attachments(&args.json, args.attachments.len()).is_err() && !args.attachments.is_empty() {
            // The packet must be refused when its last attachment arrives, and not before.
            for (at, attachment) in args.attachments.iter().enumerate() {
                let last = at + 1 == args.attachments.len();
                assert_eq!(reassembly.handle_binary(attachment.clone(), limits).is_err(), last);
            }
            return Some(packet.clone());
        }
        for attachment in &args.attachments {
            assert!(whole.is_none(), "a packet before its attachments");
            whole = reassembly.handle_binary(attachment.clone(), limits).expect("announced");
        }
    }
    assert!(!reassembly.is_pending());
    whole
}
