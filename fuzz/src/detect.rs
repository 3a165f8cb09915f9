//! Detection: which generation and which transport one request head belongs to. The input is a
//! request as it is on the wire, or only a target.

use sio_proto::detect::{self, RequestHead, Route};

/// See the [module](self).
pub fn detect(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let mut words = first.split(' ');
    let (method, target) = match (words.next(), words.next()) {
        (Some(method), Some(target)) => (method, target),
        (target, _) => ("GET", target.unwrap_or_default()),
    };
    let mut head = RequestHead {
        method,
        target,
        ..RequestHead::default()
    };
    for line in lines {
        match line.split_once(": ") {
            Some(("Upgrade", value)) => head.upgrade = value.eq_ignore_ascii_case("websocket"),
            Some(("Sec-WebSocket-Version", value)) => head.websocket_version = Some(value),
            Some(("Sec-WebSocket-Key", _)) => head.websocket_key = true,
            Some(("Sec-WebSocket-Key1", _)) => head.websocket_key_pair = true,
            _ => {}
        }
    }
    let route = detect::detect("/socket.io", &head);
    assert_eq!(route, detect::detect("/socket.io/", &head), "a final slash of the prefix is ignored");
    match route {
        Route::Static(path) => assert!(detect::is_client_file(path.of(target))),
        Route::EngineIo(engine) => {
            assert_eq!(engine, detect::engine_io(&head));
            assert!(engine.sid.is_none_or(|sid| !sid.of(target).is_empty()));
            assert_eq!(engine.upgrade.is_some(), head.upgrade);
        }
        Route::Legacy06(legacy) => {
            assert!(legacy.session.map(|sid| sid.of(target)).is_none_or(|sid| !sid.is_empty() && !sid.contains('/')));
            assert!(!legacy.maybe_timestamp || legacy.session.is_some());
            assert!(target.contains(legacy.transport.name()));
        }
        Route::Legacy09(_) => assert!(target.starts_with("/socket.io/1")),
        Route::UnknownProtocol | Route::NotAProtocolRequest | Route::Foreign => {}
    }
}
