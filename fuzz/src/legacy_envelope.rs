//! The JSON envelope of 0.3 and 0.4.

use bytes::BytesMut;
use bytestring::ByteString;
use sio_proto::legacy::envelope::{self, FromServer};

const MAX_MESSAGES: usize = 16;

/// See the [module](self).
pub fn legacy_envelope(data: &[u8]) {
    let Ok(payload) = ByteString::try_from(data) else { return };

    let mut messages = vec![ByteString::from_static("before")];
    if envelope::decode_from_client(&payload, MAX_MESSAGES, &mut messages).is_err() {
        assert_eq!(messages.len(), 1, "nothing of a bad payload is used");
    }
    let messages = &messages[1..];
    assert!(messages.len() <= MAX_MESSAGES);
    let mut written = BytesMut::new();
    envelope::write_array(messages.iter().map(|message| &**message), &mut written);
    let mut again = Vec::new();
    let written = ByteString::try_from(written).expect("text");
    assert_eq!(envelope::decode_from_client(&written, MAX_MESSAGES, &mut again), Ok(()));
    assert_eq!(again, messages);
    let mut written = BytesMut::new();
    envelope::write_messages(messages.iter().map(|message| &**message), &mut written);
    let written = ByteString::try_from(written).expect("text");
    let again = envelope::decode_from_server(&written, MAX_MESSAGES);
    assert_eq!(again, Ok(FromServer::Messages(messages.to_vec())));

    if let Ok(FromServer::Messages(messages)) = envelope::decode_from_server(&payload, MAX_MESSAGES) {
        assert!(messages.len() <= MAX_MESSAGES);
        messages.iter().for_each(|message| {
            let _ = envelope::session_id(message);
        });
    }
    let _ = envelope::session_id(&payload);
    let mut script = BytesMut::new();
    envelope::write_htmlfile(&payload, &mut script);
    let script = std::str::from_utf8(&script).expect("text");
    assert_eq!(script.matches('<').count(), 2, "only the element's own tags");
}
