//! Requests, and answers with a `Content-Length`.

use crate::failure::{Failure, Outcome};

/// Every websocket is asked for with the key of the example of RFC 6455 (section 1.3), so its
/// answer is known.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// No server has a reason for a longer head.
const MAX_HEAD: usize = 16 * 1024;

pub(crate) fn get(port: u16, session: Option<&str>) -> Vec<u8> {
    let target = target("polling", session);
    format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").into_bytes()
}

pub(crate) fn post(port: u16, session: &str, body: &[u8]) -> Vec<u8> {
    let target = target("polling", Some(session));
    let mut request = format!(
        "POST {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\
        Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend(body);
    request
}

pub(crate) fn upgrade(port: u16, session: Option<&str>) -> Vec<u8> {
    let target = target("websocket", session);
    format!(
        "GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\
        Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: {KEY}\r\n\r\n"
    )
    .into_bytes()
}

fn target(transport: &str, session: Option<&str>) -> String {
    let session = session.map(|id| format!("&sid={id}")).unwrap_or_default();
    format!("/socket.io/?EIO=4&transport={transport}{session}")
}

pub(crate) struct Response<'a> {
    pub(crate) body: &'a [u8],
    /// The length of head and body.
    pub(crate) length: usize,
}

/// Returns the answer to a GET or a POST, or `None` if it is not complete.
pub(crate) fn response(bytes: &[u8]) -> Outcome<Option<Response<'_>>> {
    let Some((head, start)) = head(bytes)? else {
        return Ok(None);
    };
    let length = field(head, "content-length").and_then(|value| value.parse::<usize>().ok());
    let (true, Some(length)) = (is_status(head, "200"), length) else {
        return Err(Failure::unexpected("the answer 200 with a Content-Length", bytes));
    };
    Ok(bytes[start..].get(..length).map(|body| Response {
        body,
        length: start + length,
    }))
}

/// Returns the length of the head that opens a websocket, or `None` if it is not complete.
pub(crate) fn upgraded(bytes: &[u8]) -> Outcome<Option<usize>> {
    let Some((head, start)) = head(bytes)? else {
        return Ok(None);
    };
    if !is_status(head, "101") || field(head, "sec-websocket-accept") != Some(ACCEPT) {
        return Err(Failure::unexpected("a websocket", bytes));
    }
    Ok(Some(start))
}

fn head(bytes: &[u8]) -> Outcome<Option<(&str, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        if bytes.len() > MAX_HEAD {
            return Err(Failure::unexpected("the end of a head", bytes));
        }
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| Failure::unexpected("a head", bytes))?;
    Ok(Some((head, end + 4)))
}

fn is_status(head: &str, code: &str) -> bool {
    head.split(' ').nth(1) == Some(code) && head.starts_with("HTTP/1.1 ")
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Returns the id in the first packet of a session, `0{"sid":"…",…}`.
pub(crate) fn session_of(packet: &[u8]) -> Outcome<&str> {
    let text = std::str::from_utf8(packet).ok().filter(|text| text.starts_with("0{"));
    let id = text.and_then(|text| text.split_once("\"sid\":\"")?.1.split('"').next());
    id.ok_or_else(|| Failure::unexpected("the first packet of a session", packet))
}

/// The packets in the body of a poll.
pub(crate) fn packets(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == 0x1e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 2\r\nX: y\r\n\r\nokHTTP";
        for end in 0..bytes.len() - 4 {
            assert!(response(&bytes[..end]).expect("a beginning").is_none(), "{end}");
        }
        let answer = response(bytes).expect("an answer").expect("all of it");
        assert_eq!((answer.body, answer.length), (&b"ok"[..], bytes.len() - 4));
        for bad in [
            &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nok"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            &[b'x'; MAX_HEAD + 1],
        ] {
            assert!(response(bad).is_err());
        }
    }

    #[test]
    fn websockets() {
        let good = format!("HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\nmore");
        assert_eq!(upgraded(good.as_bytes()).expect("a websocket"), Some(good.len() - 4));
        assert!(upgraded(good.replace("s3p", "S3p").as_bytes()).is_err());
        assert!(upgraded(good.replace("101", "200").as_bytes()).is_err());
    }

    #[test]
    fn sessions() {
        assert_eq!(session_of(br#"0{"sid":"abc","x":1}"#).expect("a session"), "abc");
        assert!(session_of(b"40").is_err());
        assert_eq!(packets(b"40\x1e2").collect::<Vec<_>>(), [&b"40"[..], b"2"]);
    }
}
