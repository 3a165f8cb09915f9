//! The bytes of a server in one exchange: an HTTP response, then perhaps websocket frames, then
//! perhaps the end.
//!
//! The parsers here are independent of the code under test. They keep every byte that could differ:
//! header lines stay as they came. Only the ends of the chunks of a chunked body are not kept,
//! because HTTP allows a relay to change them.

use std::fmt;

/// One item that a server sent, and its time.
#[derive(Clone, Debug)]
pub struct Said {
    pub ms: u64,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Response {
        /// `HTTP/1.1 200 OK`
        status: String,
        /// The header lines, as they came.
        headers: Vec<String>,
        body: Vec<u8>,
    },
    /// A websocket frame as text: its kind and its content.
    Frame(String),
    /// Bytes that are no response and no frame.
    Garbage(String),
    /// The end of the connection, and the kind of item before it.
    End(&'static str),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response { status, body, .. } => write!(f, "{status}, {}", printable(body)),
            Self::Frame(text) => f.write_str(text),
            Self::Garbage(text) => write!(f, "garbage {text}"),
            Self::End(after) => write!(f, "end after {after}"),
        }
    }
}

/// Appends the end of the connection, if there was one.
pub fn put_end(said: &mut Vec<Said>, ms: Option<u64>) {
    let after = match said.last().map(|said| &said.what) {
        Some(What::Frame(text)) if text.starts_with("close") => "close",
        Some(What::Frame(_)) => "frame",
        Some(What::Response { .. }) => "response",
        _ => "nothing",
    };
    let what = What::End(after);
    said.extend(ms.map(|ms| Said { ms, what }));
}

/// Bytes on one line.
pub fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let escaped = text.replace('\r', "\\r").replace('\n', "\\n");
            escaped.replace('\x1e', "\\x1e")
        }
        Err(_) => format!("{:?}", bytes::Bytes::copy_from_slice(bytes)),
    }
}

/// The items of an exchange. `pieces` are bytes, each with its time. The answer to a HEAD request
/// has no body, whatever its headers say.
pub fn parse(pieces: &[(u64, Vec<u8>)], is_head: bool) -> Vec<Said> {
    let bytes: Vec<u8> = pieces.iter().flat_map(|(_, piece)| piece.iter().copied()).collect();
    let time_at = |position: usize| {
        let mut end = 0;
        let found = pieces.iter().find(|(_, piece)| {
            end += piece.len();
            position < end
        });
        found.map_or(0, |(ms, _)| *ms)
    };
    let (mut said, mut at, mut upgraded) = (Vec::new(), 0, false);
    while at < bytes.len() {
        let ms = time_at(at);
        let (what, used) = if upgraded {
            frame(&bytes[at..])
        } else {
            response(&bytes[at..], is_head)
        };
        upgraded |= matches!(&what, What::Response { status, .. } if status.starts_with("HTTP/1.1 101"));
        said.push(Said { ms, what });
        at += used;
    }
    said
}

/// The first response, and its length in bytes.
fn response(bytes: &[u8], is_head: bool) -> (What, usize) {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        return (What::Garbage(printable(bytes)), bytes.len());
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n").map(str::to_owned);
    let status = lines.next().unwrap_or_default();
    let headers: Vec<String> = lines.collect();
    let header = |name: &str| {
        let found = headers.iter().filter_map(|line| line.split_once(": "));
        found
            .into_iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    };
    let rest = &bytes[end + 4..];
    let (body, used) = if is_head || status.starts_with("HTTP/1.1 101") {
        (Vec::new(), 0)
    } else if header("transfer-encoding") == Some("chunked") {
        dechunk(rest)
    } else {
        let length = header("content-length").map_or(rest.len(), |v| v.parse::<usize>().unwrap_or(0));
        let length = length.min(rest.len());
        (rest[..length].to_vec(), length)
    };
    (What::Response { status, headers, body }, end + 4 + used)
}

fn dechunk(bytes: &[u8]) -> (Vec<u8>, usize) {
    let (mut body, mut at) = (Vec::new(), 0);
    while let Some(line) = bytes[at..].windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&bytes[at..at + line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let start = at + line + 2;
        body.extend_from_slice(&bytes[start..(start + size).min(bytes.len())]);
        at = (start + size + 2).min(bytes.len());
        if size == 0 {
            break;
        }
    }
    (body, at)
}

/// The first frame, and its length in bytes.
fn frame(bytes: &[u8]) -> (What, usize) {
    whole_frame(bytes).unwrap_or_else(|| (What::Garbage(printable(bytes)), bytes.len()))
}

fn whole_frame(bytes: &[u8]) -> Option<(What, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (length, start) = match second {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (
            usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?,
            10,
        ),
        short => (usize::from(short), 2),
    };
    let payload = bytes.get(start..start + length)?;
    let what = match first {
        0x81 => What::Frame(printable(payload)),
        0x82 => What::Frame(format!("binary {:?}", bytes::Bytes::copy_from_slice(payload))),
        0x88 if payload.is_empty() => What::Frame("close".to_owned()),
        0x88 if length == 2 => What::Frame(format!("close {}", u16::from_be_bytes([payload[0], payload[1]]))),
        0xc1 => What::Frame(format!("deflated {:?}", bytes::Bytes::copy_from_slice(payload))),
        _ => return None,
    };
    Some((what, start + length))
}
