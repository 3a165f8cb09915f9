//! Answers without end, and websockets older than RFC 6455, read piece by piece.

use bytes::{Buf, Bytes, BytesMut};
use bytestring::ByteString;
use sio_proto::legacy::envelope::HTMLFILE_HEARTBEAT;
use sio_proto::legacy::hixie;
use sio_proto::legacy::transports::MULTIPART_HEAD;

use super::client::{About, Clients};
use super::phrases::{DIGEST_BODY, KEY1, KEY2};

const HEAD_LEN: usize = 256;
const MAX_BYTES: usize = 1 << 20;

/// The body of htmlfile or xhr-multipart.
#[derive(Debug)]
pub(super) struct Endless {
    pub(super) target: ByteString,
    kind: Kind,
    is_chunked: bool,
    /// Whether the beginning of the body has been read.
    is_begun: bool,
    body: BytesMut,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Htmlfile,
    Multipart,
}

impl Endless {
    /// Takes the head of an answer without end from `buffer`, if the buffer begins with one.
    pub(super) fn begin(target: &ByteString, buffer: &mut BytesMut) -> Option<Self> {
        let kind = match () {
            () if target.contains("/htmlfile") => Kind::Htmlfile,
            () if target.contains("/xhr-multipart") => Kind::Multipart,
            () => return None,
        };
        let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&buffer[..end]).ok()?.to_ascii_lowercase();
        if !head.starts_with("http/1.1 200") || head.contains("\r\ncontent-length") {
            return None;
        }
        buffer.advance(end + 4);
        Some(Self {
            target: target.clone(),
            kind,
            is_chunked: head.contains("\r\ntransfer-encoding: chunked"),
            is_begun: false,
            body: BytesMut::new(),
        })
    }

    /// Reads what has arrived. Returns true when the answer is over and the connection goes on.
    pub(super) fn receive(&mut self, buffer: &mut BytesMut, clients: &mut Clients) -> bool {
        if !self.is_chunked {
            self.body.unsplit(buffer.split());
            self.read(clients);
            return false;
        }
        while let Some(line) = buffer.windows(2).position(|two| two == b"\r\n") {
            let size = std::str::from_utf8(&buffer[..line]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
            let size = size.expect("a chunk has a size");
            if buffer.len() < line + size + 4 {
                return false;
            }
            buffer.advance(line + 2);
            self.body.extend_from_slice(&buffer.split_to(size));
            assert_eq!(buffer.split_to(2), "\r\n", "a chunk is as long as it says");
            if size == 0 {
                self.assert_complete();
                return true;
            }
            // Browsers of that time run a script when its chunk is complete, so every chunk must
            // hold whole scripts.
            self.read(clients);
            self.assert_complete();
        }
        false
    }

    /// Checks the end of the body: nothing may be cut off.
    pub(super) fn assert_complete(&self) {
        assert!(self.body.is_empty() && self.is_begun, "the last packet is complete: {self:?}");
    }

    fn read(&mut self, clients: &mut Clients) {
        assert!(self.body.len() < MAX_BYTES);
        if !self.is_begun {
            let len = if self.kind == Kind::Htmlfile { HEAD_LEN } else { MULTIPART_HEAD.len() };
            if self.body.len() < len {
                return;
            }
            let head = self.body.split_to(len);
            assert!(head.starts_with(b"<html><body>") || head == MULTIPART_HEAD);
            self.is_begun = true;
        }
        while let Some(payload) = self.next_payload() {
            let payload = ByteString::try_from(payload).expect("a payload is text");
            match About::v1(&self.target) {
                Some(sid) => clients.receive_v1(sid, &payload),
                None => clients.receive_plain(&self.target, &payload),
            };
        }
    }

    fn next_payload(&mut self) -> Option<Bytes> {
        match self.kind {
            Kind::Htmlfile => {
                const END: &[u8] = b"</script>";
                let is_envelope = self.target.starts_with("/envelope/");
                if is_envelope && self.body.starts_with(HTMLFILE_HEARTBEAT.as_bytes()) {
                    self.body.advance(HTMLFILE_HEARTBEAT.len());
                    return self.next_payload();
                }
                let end = self.body.windows(END.len()).position(|part| part == END)? + END.len();
                let script = self.body.split_to(end);
                let script = std::str::from_utf8(&script).expect("a script is text");
                let call = match About::v1(&self.target) {
                    Some(_) => script.strip_prefix("<script>_(").and_then(|rest| rest.strip_suffix(");</script>")),
                    None => script.strip_prefix("<script>parent.s._(").and_then(|rest| rest.strip_suffix(", document);</script>")),
                };
                let argument = call.expect("a call");
                Some(match is_envelope {
                    true => Bytes::copy_from_slice(argument.as_bytes()),
                    false => serde_json::from_str::<String>(argument).expect("a string literal").into(),
                })
            }
            Kind::Multipart => {
                let end = self.body.windows(MULTIPART_HEAD.len()).position(|part| part == MULTIPART_HEAD)?;
                let part = self.body.split_to(end).freeze();
                self.body.advance(MULTIPART_HEAD.len());
                let (head, payload) = part.split_at(part.windows(2).position(|two| two == b"\n\n").expect("a head") + 2);
                assert!(head.starts_with(b"Content-Type: "), "{part:?}");
                let payload = payload.strip_suffix(b"\n").expect("a part ends with a line");
                if payload == [6] && self.target.starts_with("/envelope/") {
                    return self.next_payload(); // It was a heartbeat.
                }
                Some(part.slice_ref(payload))
            }
        }
    }
}

/// A websocket of hixie-75 or hixie-76.
#[derive(Debug)]
pub(super) struct OldWebSocket {
    pub(super) target: ByteString,
    decoder: hixie::Decoder,
    /// Only for hixie-76: the handshake is not complete yet.
    is_opening: bool,
    /// Whether the server must send a Close frame at the end.
    has_close: bool,
    is_closed: bool,
    /// How many of the bytes that are sent next still belong to the handshake.
    unsent_keys: usize,
    sent: BytesMut,
    sent_decoder: hixie::Decoder,
    /// Whether the client has sent something that is not a frame. The server ends such a connection
    /// without a Close frame.
    is_garbled: bool,
}

impl OldWebSocket {
    /// A websocket that was opened with this target.
    pub(super) fn new(target: ByteString, is_76: bool, max_message_bytes: usize) -> Self {
        Self {
            target,
            decoder: hixie::Decoder::new(MAX_BYTES),
            is_opening: is_76,
            has_close: is_76,
            is_closed: false,
            unsent_keys: if is_76 { DIGEST_BODY.len() } else { 0 },
            sent: BytesMut::new(),
            sent_decoder: hixie::Decoder::new(max_message_bytes),
            is_garbled: false,
        }
    }

    /// Whether the client has not sent all of the handshake.
    pub(super) const fn owes_keys(&self) -> bool {
        self.unsent_keys > 0
    }

    /// Notes the bytes that are about to be sent after the head of the handshake.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let keys = self.unsent_keys.min(bytes.len());
        self.unsent_keys -= keys;
        self.sent.extend_from_slice(&bytes[keys..]);
        while let Some(frame) = self.sent_decoder.decode(&mut self.sent).transpose() {
            if frame.is_err() {
                self.is_garbled = true;
                return;
            }
        }
    }

    pub(super) fn receive(&mut self, buffer: &mut BytesMut, clients: &mut Clients) {
        if self.is_opening {
            if buffer.len() < 16 {
                return;
            }
            let digest = hixie::digest(KEY1, KEY2, *DIGEST_BODY).expect("the keys are good");
            assert_eq!(buffer.split_to(16), digest[..], "the digest comes before everything else");
            self.is_opening = false;
        }
        while let Some(frame) = self.decoder.decode(buffer).expect("the server speaks as in 2010") {
            assert!(!self.is_closed, "a frame after Close");
            match (frame, About::v1(&self.target).flatten()) {
                (hixie::Frame::Close, _) => self.is_closed = true,
                (hixie::Frame::Text(text), Some(sid)) => clients.receive_v1_packet(sid, &text),
                (hixie::Frame::Text(text), None) => {
                    clients.receive_plain(&self.target, &text);
                }
            }
        }
    }

    /// Checks the end of the link.
    pub(super) fn assert_over(&self, rest: &[u8]) {
        assert!(rest.is_empty(), "the last frame is complete");
        assert!(self.is_closed || !self.has_close || self.is_opening || self.is_garbled, "hixie-76 says goodbye");
    }
}
