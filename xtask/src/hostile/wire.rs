//! The bytes that a hostile peer sends: requests and websocket frames, valid and invalid.

/// A text frame.
pub(crate) const TEXT: u8 = 0x1;
/// A binary frame.
pub(crate) const BINARY: u8 = 0x2;
/// A ping.
pub(crate) const PING: u8 = 0x9;

/// Makes a GET without a body. The host is a name that a server on loopback accepts.
pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// Makes a GET with these header lines, which must include `Host`. Each ends with a line break.
pub(crate) fn get_with(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n{headers}\r\n")
}

/// Makes a POST of text.
pub(crate) fn post(target: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Makes a POST of a form with one field, as pages before 1.0 send it.
pub(crate) fn post_form(target: &str, name: &str, value: &str) -> String {
    let escaped: String = value
        .bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect();
    let body = format!("{name}={escaped}");
    format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Makes a frame of 0.6.
pub(crate) fn framed06(text: &str) -> String {
    format!("~m~{}~m~{text}", text.encode_utf16().count())
}

/// Makes the request for a websocket, with these header lines.
pub(crate) fn upgrade_with(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\n{headers}Connection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Makes the request for a websocket.
pub(crate) fn upgrade(target: &str) -> String {
    upgrade_with(target, "Host: localhost\r\n")
}

/// Makes the head of a frame for a payload of `length` bytes. Its mask is zero, so that the payload
/// is not changed.
pub(crate) fn frame_head(opcode: u8, length: usize) -> Vec<u8> {
    let mut head = vec![0x80 | opcode];
    match length {
        0..126 => head.push(0x80 | length as u8),
        126..65_536 => {
            head.push(0x80 | 126);
            head.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    head.extend_from_slice(&[0; 4]);
    head
}

/// Makes a frame with any first byte: FIN, the reserved bits and the opcode.
pub(crate) fn frame_with(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let mut frame = frame(0, payload);
    frame[0] = first;
    frame
}

/// Makes a whole frame.
pub(crate) fn frame(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = frame_head(opcode, payload.len());
    frame.extend_from_slice(payload);
    frame
}

/// A text frame.
pub(crate) fn text(payload: &str) -> Vec<u8> {
    frame(TEXT, payload)
}

/// Repeats the bytes.
pub(crate) fn repeat(bytes: &[u8], times: usize) -> Vec<u8> {
    bytes.repeat(times)
}

/// Makes the packet of an event with `count` placeholders. All of them name the one attachment that
/// follows the packet.
pub(crate) fn placeholders(event: &str, count: usize) -> String {
    let all = vec![r#"{"_placeholder":true,"num":0}"#; count].join(",");
    format!(r#"451-["{event}",[{all}]]"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_frames_are_written_in_three_ways() {
        assert_eq!(frame(PING, ""), [0x89, 0x80, 0, 0, 0, 0]);
        assert_eq!(frame_head(TEXT, 126)[..4], [0x81, 0xfe, 0, 126]);
        assert_eq!(frame_head(BINARY, 65_536)[..10], [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
