//! The bytes that clients send.

/// The opcodes of websocket frames that clients send.
const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// The mask of all frames. It is not zero, so that unmasking is work, as it is with real clients.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The header fields that make a GET the handshake of a websocket.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The header fields of a poll from a page, as Chromium sends them.
const PAGE: &str = "Connection: keep-alive\r\nAccept: */*\r\nOrigin: http://localhost:3000\r\n\
                    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 \
                    Safari/537.36\r\nReferer: http://localhost:3000/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
                    Accept-Language: en-US,en;q=0.9\r\n";

/// Makes a masked text frame.
#[must_use]
pub fn text(packet: &str) -> Vec<u8> {
    frame(TEXT, packet.as_bytes())
}

/// Makes a masked binary frame.
#[must_use]
pub fn binary(bytes: &[u8]) -> Vec<u8> {
    frame(BINARY, bytes)
}

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    masked(true, opcode, payload)
}

/// Makes a masked frame, which is the last of its message if `fin` is set.
#[must_use]
pub fn masked(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![u8::from(fin) << 7 | opcode];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Makes a GET with as few header fields as HTTP allows.
#[must_use]
pub fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// Makes a GET with the header fields of a page in Chromium.
#[must_use]
pub fn get_from_page(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost:3000\r\n{PAGE}\r\n").into_bytes()
}

/// Makes the handshake of a websocket.
#[must_use]
pub fn upgrade(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n").into_bytes()
}

/// Makes a POST of a text.
#[must_use]
pub fn post(target: &str, body: &str) -> Vec<u8> {
    post_of("text/plain;charset=UTF-8", target, body)
}

/// Makes a POST of a form, as clients of 0.6 send it.
#[must_use]
pub fn post_form(target: &str, body: &str) -> Vec<u8> {
    post_of("application/x-www-form-urlencoded; charset=utf-8", target, body)
}

fn post_of(kind: &str, target: &str, body: &str) -> Vec<u8> {
    let len = body.len();
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n\r\n{body}")
        .into_bytes()
}
