//! What a proxy says, of each kind: the result does not depend on how the bytes are cut, and no
//! more bytes are held than the limit.

use bytes::BytesMut;
use sio_proto::client::proxy::{MAX_REPLY_BYTES, Progress, Proxy, ProxyError, Tunnel};

use crate::pieces::cuts;

/// See the [module](self).
pub fn client_proxy(data: &[u8]) {
    for url in ["http://p", "socks5h://p", "socks5h://me:secret@p"] {
        let proxy = Proxy::parse(url).expect("a URL");
        let whole = talk(&proxy, data, &[data.len()]);
        let pieces = talk(&proxy, data, &cuts(data));
        match (whole, pieces) {
            // What comes behind an answer is noticed if it comes with it.
            (Err(ProxyError::Surplus), _) | (_, Err(ProxyError::Surplus)) => {}
            (whole, pieces) => assert_eq!(whole, pieces, "{url}"),
        }
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(proxy) = Proxy::parse(text)
    {
        let shown = proxy.to_string();
        let again = Proxy::parse(&shown).expect("what is shown is a URL");
        assert_eq!(again.to_string(), shown);
        assert_eq!((again.host(), again.port()), (proxy.host(), proxy.port()));
    }
}

/// Returns whether the connection is open at the end of the bytes.
fn talk(proxy: &Proxy, data: &[u8], cuts: &[usize]) -> Result<bool, ProxyError> {
    let (mut tunnel, _) = Tunnel::begin(proxy, "a.example", 443)?;
    let (mut buffer, mut start) = (BytesMut::new(), 0);
    for end in cuts {
        buffer.extend_from_slice(&data[start..*end]);
        start = *end;
        match tunnel.receive(&mut buffer)? {
            Progress::Open => return Ok(true),
            Progress::Wait | Progress::Write(_) => {}
        }
        assert!(buffer.len() <= MAX_REPLY_BYTES);
    }
    Ok(false)
}
