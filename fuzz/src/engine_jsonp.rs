//! JSONP of Engine.IO: the form body of a POST, and the script that carries a text.

use bytes::{Bytes, BytesMut};
use sio_proto::engine::jsonp;

/// See the [module](self).
pub fn engine_jsonp(data: &[u8]) {
    if let Some(payload) = jsonp::decode_post(&Bytes::copy_from_slice(data)) {
        assert!(payload.len() <= data.len(), "no spelling is shorter than what it spells");
    }

    let text = String::from_utf8_lossy(data);
    let (index, payload) = text.split_once('\n').unwrap_or(("0", &text));
    let mut script = BytesMut::new();
    jsonp::write_script(index, payload, &mut script);
    let script = std::str::from_utf8(&script).expect("a script is text");
    let (head, literal) = script.split_once("](").expect("a callback");
    let digits = head.strip_prefix("___eio[").expect("the callback of Engine.IO");
    assert!(digits.bytes().all(|b| b.is_ascii_digit()), "nothing else gets into the script");
    let literal = literal.strip_suffix(");").expect("the end of a call");
    assert!(!literal.contains(['\u{2028}', '\u{2029}', '\n', '\r']), "no line ends in a literal");
    assert_eq!(serde_json::from_str::<String>(literal).expect("a string literal"), payload);
}
