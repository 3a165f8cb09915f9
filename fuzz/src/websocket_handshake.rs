//! The opening handshake, read as a server and as a client. The input is the header lines of a
//! request or of an answer.

use sio_proto::websocket::handshake::{UpgradeRequest, UpgradeResponse, accept_key, first_protocol, verify};

/// See the [module](self).
pub fn websocket_handshake(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let header = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(other, value)| other.eq_ignore_ascii_case(name).then_some(value))
    };
    let request = UpgradeRequest {
        method: header("method").unwrap_or("GET"),
        http_minor: 1,
        upgrade: header("upgrade"),
        connection: header("connection"),
        key: header("sec-websocket-key"),
        version: header("sec-websocket-version"),
    };
    match request.accept() {
        Ok(accept) => {
            let key = request.key.expect("accepted");
            assert!(request.is_upgrade() && matches!(accept.version(), 7 | 8 | 13));
            assert_eq!(accept.bytes(), accept_key(key));
            let answer = UpgradeResponse {
                status: 101,
                upgrade: Some("websocket"),
                connection: Some("Upgrade"),
                accept: Some(accept.as_str()),
                extensions: None,
                protocol: None,
            };
            assert_eq!(answer.verify(key, &[]), Ok(()), "the other end agrees");
        }
        Err(error) => assert!(matches!(error.status(), 400 | 405)),
    }
    let answer = UpgradeResponse {
        status: 101,
        upgrade: header("upgrade"),
        connection: header("connection"),
        accept: header("sec-websocket-accept"),
        extensions: header("sec-websocket-extensions"),
        protocol: header("sec-websocket-protocol"),
    };
    let key = header("sec-websocket-key").unwrap_or("dGhlIHNhbXBsZSBub25jZQ==");
    if answer.verify(key, &["chat"]).is_ok() {
        assert!(answer.accept.is_some_and(|accept| verify(key, accept)));
        assert!(answer.protocol.is_none_or(|protocol| protocol == "chat"));
    }
    if let Some(offered) = header("sec-websocket-protocol")
        && let Some(first) = first_protocol(offered)
    {
        assert!(!first.is_empty() && offered.contains(first));
        assert!(first.bytes().all(|b| b.is_ascii_graphic()));
    }
}
