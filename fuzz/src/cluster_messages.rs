//! Messages between the nodes of a cluster: what is read is within its limits, and is the same when
//! it is written and read again.

use bytes::Bytes;
use sio_proto::ClusterConfig;
use sio_proto::cluster::messages::{Body, Broadcast, ClassicRequest, ClassicResponse, Envelope, MessageLimits, Session};
use sio_proto::json;
use sio_proto::socket::Args;

/// See the [module](self).
pub fn cluster_messages(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let config = ClusterConfig::default().max_names(20).max_elements(300).max_attachments(5);
    let limits = MessageLimits::from(&config.max_depth(9));
    // What is written is read with more room: a missing member is written as an empty one, and the
    // members around a part count as elements, too.
    let roomy = MessageLimits::from(&ClusterConfig::default());

    if let Ok(message) = Broadcast::decode(&bytes, &limits) {
        assert!(message.to.rooms.len() + message.to.except.len() <= 20);
        check(&message.emit.args);
        let again = Broadcast::decode(&message.encode(), &roomy);
        assert_eq!(again, Ok(message));
    }
    if let Ok(message) = ClassicRequest::decode(&bytes, &limits) {
        stable(message, ClassicRequest::encode, |bytes| ClassicRequest::decode(bytes, &roomy).ok());
    }
    if let Ok(message) = ClassicResponse::decode(&bytes, &limits) {
        stable(message, ClassicResponse::encode, |bytes| ClassicResponse::decode(bytes, &roomy).ok());
    }
    if let Ok(session) = Session::decode(&bytes, &limits) {
        stable(session, Session::encode, |bytes| Session::decode(bytes, &roomy).ok());
    }
    if let Ok(message) = Envelope::decode(&bytes, &limits) {
        envelope(message, &roomy);
    }
    // The first byte is the type of an entry, and the others are its data.
    if let Some((kind, rest)) = bytes.split_first() {
        let pair = |name: &'static str, value: Bytes| (Bytes::from_static(name.as_bytes()), value);
        let fields = [
            pair("uid", Bytes::from_static(b"u")),
            pair("nsp", Bytes::from_static(b"/")),
            pair("type", Bytes::from(kind.to_string())),
            pair("data", bytes.slice_ref(rest)),
        ];
        if let Ok(message) = Envelope::decode_entry(&fields, &limits) {
            envelope(message, &roomy);
        }
    }
}

fn envelope(message: Envelope, roomy: &MessageLimits) {
    if let Body::Broadcast { emit, .. } | Body::ServerSideEmit { emit, .. } = &message.body {
        check(&emit.args);
    }
    let read = |bytes: &Bytes| Envelope::decode(bytes, roomy).ok();
    stable(message.clone(), Envelope::encode_sharded, read);
    stable(message.clone(), Envelope::encode_message_pack, read);
    let again = Envelope::decode_entry(&message.encode_entry(), roomy);
    assert_eq!(again.map(|again| again.body.number()), Ok(message.body.number()));
}

/// What was written is read, and from then on it stays as it is. The first time, an empty member
/// becomes an empty object, and numbers are spelled as JavaScript spells them.
fn stable<T: PartialEq + core::fmt::Debug>(first: T, write: impl Fn(&T) -> Bytes, read: impl Fn(&Bytes) -> Option<T>) {
    let second = read(&write(&first)).expect("what was read can be written and read");
    let third = read(&write(&second));
    assert_eq!(third.as_ref(), Some(&second));
}

fn check(args: &Args) {
    assert_eq!(json::validate_elements(&args.json, json::MAX_DEPTH), Ok(()));
    assert!(args.attachments.len() <= 5);
    if !args.attachments.is_empty() {
        assert!(json::named_attachments(&args.json, args.attachments.len()).is_ok());
    }
}
