//! Form bodies and queries, read by each of our readers.

use bytes::Bytes;
use sio_proto::http::Query;
use sio_proto::legacy::form::{Field, field};
use sio_proto::legacy::transports::{PostError, Posted, read_d_form, read_data_form};

/// See the [module](self).
pub fn form(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    for name in ["d", "data"] {
        // The body is one pair, so the reader of queries must return the same value. A query is
        // text, and in a body an escape and a bare byte may be one character together.
        if let Field::Value { value, repeated } = field(&body, name)
            && !data.contains(&b'&')
            && let Ok(text) = std::str::from_utf8(data)
        {
            let pair = Query::new(text.to_owned());
            assert_eq!((Some(&*value), repeated), (pair.get(name).as_deref(), false));
        }
    }
    match (read_data_form(&body), field(&body, "data")) {
        (Ok(payload), Field::Value { value, .. }) => assert_eq!(payload, value),
        (Err(PostError::MissingField), Field::Missing) | (Err(PostError::InvalidUtf8), Field::InvalidUtf8) => {}
        other => panic!("{other:?}"),
    }
    if let Ok(Posted::Form(payload)) = read_d_form(&body) {
        assert!(!payload.starts_with('"'));
    }

    let text = String::from_utf8_lossy(data).into_owned();
    let query = Query::new(text.clone());
    let pairs: Vec<_> = query.iter().collect();
    assert!(pairs.len() <= Query::MAX_PAIRS);
    for (key, value) in &pairs {
        let last = pairs.iter().rev().find(|(other, _)| other == key).map(|(_, value)| value);
        assert_eq!(query.get(key).as_ref(), last, "the last pair wins");
        assert!(value.len() <= 3 * text.len());
    }
}
