//! The codec of November 2010 that was meant for 0.7 and survives in the Go server of 2011
//! (docs/protocol/legacy-streaming.md).
//!
//! ```text
//! payload = *packet
//! packet  = TYPE ":" LEN ":" CONTENT ","
//! CONTENT = *( KEY [ ":" VALUE ] LF ) ":" DATA      for type 1; free text for the others
//!
//! 3:16:0123456789ABCDEF,    the session id          1:6::hello,            text
//! 2:1:1,                    heartbeat               1:10:j⏎:{"a":1},       JSON (⏎ is one LF)
//! 0:0:,                     forced disconnection    1:9:r:chat⏎:x,         text in the realm "chat"
//! ```
//!
//! Unlike the other wires of its family, this wire is a stream: a packet may be cut anywhere, and
//! continue in the next message, poll or post. So [`Decoder`] is a value that lives as long as the
//! session.
//!
//! LEN is written in UTF-16 units. It is read in UTF-16 units too. If there is no comma where this
//! reading ends, LEN is read in code points (Go, §4). The first error is final, because nobody can
//! tell where the next packet begins.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use super::lengths::{self, Unit};
use crate::digits::{Digits, put_decimal};

/// Genuine lengths have far fewer digits. Leading zeros count as digits.
const MAX_LENGTH_DIGITS: usize = 10;

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Type 0: the peer ends the session. Its content is ignored.
    Disconnect,
    /// Type 1.
    Message {
        /// Facts about the data.
        annotations: Annotations,
        /// Text, or JSON if the annotations say so. The JSON is not checked here: the reader of the
        /// JSON drops data that is not JSON.
        data: ByteString,
    },
    /// Type 2: a heartbeat; the client echoes it. Genuine servers send a number.
    Heartbeat(ByteString),
    /// Type 3: the session id.
    Handshake(ByteString),
    /// A digit without a meaning. JavaScript peers ignore such a packet; Go takes it for text.
    Unknown(u8, ByteString),
}

/// Lines of `KEY` or `KEY:VALUE`, each ended by LF. There may be none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations(ByteString);

impl Annotations {
    /// The annotation that says "the data is JSON".
    #[must_use]
    pub const fn json() -> Self {
        Self(ByteString::from_static("j\n"))
    }

    /// Keys and values, in order; a key without a value has an empty one.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.lines().map(|line| line.split_once(':').unwrap_or((line, "")))
    }

    /// Whether the data is JSON (`j`).
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.iter().any(|(key, _)| key == "j")
    }

    /// The realm (`r`), an early namespace.
    #[must_use]
    pub fn realm(&self) -> Option<&str> {
        self.iter().find_map(|(key, value)| (key == "r").then_some(value))
    }
}

/// Why the stream is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// TYPE is not one digit.
    #[error("invalid packet type")]
    InvalidType,
    /// LEN is missing, not decimal or too long.
    #[error("invalid packet length")]
    InvalidLength,
    /// LEN is above the caller's limit.
    #[error("packet too long")]
    TooLong,
    /// There is no comma where LEN ends, in either unit.
    #[error("packet does not end where its length says")]
    MissingComma,
    /// A message has no colon before its data, or an annotation has no key or two colons.
    #[error("invalid annotation")]
    InvalidAnnotation,
    /// There are more packets in one piece than the caller allows.
    #[error("too many packets at once")]
    TooManyPackets,
}

/// Splits the stream of one session into packets, wherever the stream is cut.
#[derive(Clone, Debug)]
pub struct Decoder {
    max_length: usize,
    max_packets: usize,
    /// The beginning of a packet that is not complete.
    pending: String,
    /// The position up to which `pending` has been measured.
    measure: Measure,
    error: Option<StreamError>,
}

/// The state of reading one packet, so that a packet in many pieces is read through once.
#[derive(Clone, Copy, Debug, Default)]
struct Measure {
    header: Option<Header>,
    bytes: usize,
    units: usize,
    points: usize,
}

#[derive(Clone, Copy, Debug)]
struct Header {
    kind: u8,
    length: usize,
    /// Where CONTENT begins.
    start: usize,
}

impl Decoder {
    /// A decoder that refuses a LEN above `max_length`, and more than `max_packets` packets in one
    /// piece.
    ///
    /// It holds at most one unfinished packet: four bytes per unit of `max_length`, and a short
    /// header.
    #[must_use]
    pub const fn new(max_length: usize, max_packets: usize) -> Self {
        Self {
            max_length,
            max_packets,
            pending: String::new(),
            measure: Measure {
                header: None,
                bytes: 0,
                units: 0,
                points: 0,
            },
            error: None,
        }
    }

    /// Whether the stream stands between two packets.
    #[must_use]
    pub fn is_at_boundary(&self) -> bool {
        self.pending.is_empty() && self.error.is_none()
    }

    /// How many bytes of an unfinished packet are held.
    #[must_use]
    pub const fn buffered_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Takes the next piece of the stream and appends the packets that it completes.
    ///
    /// # Errors
    ///
    /// Packets before the error have been appended and are good. The error is final: close the
    /// session.
    pub fn decode(&mut self, piece: &ByteString, packets: &mut Vec<Packet>) -> Result<(), StreamError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let result = self.read(piece, packets);
        if let Err(error) = result {
            self.pending = String::new();
            self.error = Some(error);
        }
        result
    }

    /// [`Decoder::decode`] for a piece from a JSONP form. There the browser changes every LF to
    /// CRLF after LEN has been computed, also the LF after an annotation (§9). If the unchanged
    /// piece is not a list of complete packets, but the piece with LF instead of CRLF is one, the
    /// second reading is used. This is tried only if the stream stands on a boundary: every genuine
    /// client sends a complete payload in a form.
    ///
    /// # Errors
    ///
    /// As [`Decoder::decode`].
    pub fn decode_jsonp(&mut self, piece: &ByteString, packets: &mut Vec<Packet>) -> Result<(), StreamError> {
        if piece.contains("\r\n") && self.is_at_boundary() && !self.is_whole(piece) {
            let meant = ByteString::from(piece.replace("\r\n", "\n"));
            if self.is_whole(&meant) {
                return self.decode(&meant, packets);
            }
        }
        self.decode(piece, packets)
    }

    /// Whether `rest` is a list of complete packets as a browser counts them, which is always in
    /// UTF-16. The other unit must not be used: a character outside of the BMP could hide the
    /// difference that a line break makes. A list that [`Decoder::decode`] refuses for another
    /// reason does not count: no browser has meant it.
    fn is_whole(&self, mut rest: &str) -> bool {
        let mut left = self.max_packets;
        while !rest.is_empty() {
            step!();
            let Ok(Some(header)) = Header::read(rest, self.max_length) else {
                return false;
            };
            let content = rest.get(header.start..).unwrap_or_default();
            let end = lengths::offset(content, header.length, Unit::Utf16).ok();
            let parts = end.and_then(|end| Some((content.get(..end)?, content.get(end..)?.strip_prefix(',')?)));
            let (Some((content, after)), Some(fewer)) = (parts, left.checked_sub(1)) else {
                return false;
            };
            if header.kind == 1 && data_of(content).is_err() {
                return false;
            }
            (rest, left) = (after, fewer);
        }
        true
    }

    fn read(&mut self, piece: &ByteString, packets: &mut Vec<Packet>) -> Result<(), StreamError> {
        let mut left = self.max_packets;
        let mut rest = piece.clone();
        if !self.pending.is_empty() {
            let before = self.pending.len();
            step!(bulk rest.len());
            self.pending.push_str(&rest);
            let Some(end) = self.measure.advance(&self.pending, self.max_length)? else {
                return Ok(());
            };
            // Only a packet that was cut is copied. The packets behind it are again slices of the
            // piece. The comma that ends the packet is in this piece.
            let behind = end.saturating_add(1);
            let rest_of_piece = behind.checked_sub(before).and_then(|start| rest.get(start..));
            rest = rest.slice_ref(rest_of_piece.unwrap_or_default());
            self.pending.truncate(behind);
            let whole = ByteString::from(core::mem::take(&mut self.pending));
            left = left.checked_sub(1).ok_or(StreamError::TooManyPackets)?;
            packets.push(self.measure.finish(&whole, end)?);
        }
        while !rest.is_empty() {
            step!();
            let Some(end) = self.measure.advance(&rest, self.max_length)? else {
                self.pending.push_str(&rest);
                break;
            };
            left = left.checked_sub(1).ok_or(StreamError::TooManyPackets)?;
            packets.push(self.measure.finish(&rest, end)?);
            rest = rest.slice_ref(rest.get(end.saturating_add(1)..).unwrap_or_default());
        }
        Ok(())
    }
}

impl Measure {
    /// Measures `text`, which begins with the packet and has only grown since the last call.
    /// Returns the position of the comma that ends the packet, or `None` if the comma has not
    /// arrived.
    fn advance(&mut self, text: &str, max_length: usize) -> Result<Option<usize>, StreamError> {
        let header = match self.header {
            Some(header) => header,
            None => match Header::read(text, max_length)? {
                Some(header) => {
                    self.header = Some(header);
                    self.bytes = header.start;
                    header
                }
                None => return Ok(None),
            },
        };
        if self.points == 0 {
            // Nearly all content is ASCII, and ASCII is measured in one step.
            let end = header.start.saturating_add(header.length);
            let content = text.as_bytes().get(header.start..end);
            step!(bulk content.map_or(0, <[u8]>::len));
            match (content, text.as_bytes().get(end)) {
                (Some(content), Some(b',')) if content.is_ascii() => return Ok(Some(end)),
                _ => {}
            }
        }
        for next in text.get(self.bytes..).unwrap_or_default().chars() {
            step!();
            if next == ',' && (self.units == header.length || self.points == header.length) {
                return Ok(Some(self.bytes));
            }
            if self.points == header.length {
                return Err(StreamError::MissingComma);
            }
            // The text has all of these.
            self.bytes = self.bytes.saturating_add(next.len_utf8());
            self.units = self.units.saturating_add(next.len_utf16());
            self.points = self.points.saturating_add(1);
        }
        Ok(None)
    }

    /// Makes the packet out of `text`, in which it ends at `end`, and prepares for the next packet.
    fn finish(&mut self, text: &ByteString, end: usize) -> Result<Packet, StreamError> {
        let measure = core::mem::take(self);
        let header = measure.header.ok_or(StreamError::InvalidType)?;
        let content = text.slice_ref(text.get(header.start..end).unwrap_or_default());
        Ok(match header.kind {
            0 => Packet::Disconnect,
            1 => message(&content)?,
            2 => Packet::Heartbeat(content),
            3 => Packet::Handshake(content),
            other => Packet::Unknown(other, content),
        })
    }
}

impl Header {
    /// Reads `TYPE:LEN:`, or returns `None` if it is not complete.
    fn read(text: &str, max_length: usize) -> Result<Option<Self>, StreamError> {
        let bytes = text.as_bytes();
        let kind = match bytes.first() {
            None => return Ok(None),
            Some(kind @ b'0'..=b'9') => kind & 15,
            Some(_) => return Err(StreamError::InvalidType),
        };
        let digits = match bytes.get(1..) {
            None | Some([]) => return Ok(None),
            Some([b':', digits @ ..]) => digits,
            Some(_) => return Err(StreamError::InvalidType),
        };
        if digits.is_empty() {
            return Ok(None);
        }
        let (length, count) = lengths::take_decimal(digits, MAX_LENGTH_DIGITS).ok_or(StreamError::InvalidLength)?;
        match digits.get(count) {
            None => return Ok(None),
            Some(b':') => {}
            Some(_) => return Err(StreamError::InvalidLength),
        }
        if length > max_length {
            return Err(StreamError::TooLong);
        }
        Ok(Some(Self {
            kind,
            length,
            start: count.saturating_add("N::".len()),
        }))
    }
}

fn message(content: &ByteString) -> Result<Packet, StreamError> {
    let data = data_of(content)?;
    let before = content.len().saturating_sub(data.len().saturating_add(1));
    let annotations = content.get(..before).unwrap_or_default();
    Ok(Packet::Message {
        annotations: Annotations(content.slice_ref(annotations)),
        data: content.slice_ref(data),
    })
}

/// The data of a message, which follows the annotations and a colon.
fn data_of(content: &str) -> Result<&str, StreamError> {
    let mut rest = content;
    loop {
        if let Some(data) = rest.strip_prefix(':') {
            return Ok(data);
        }
        let (line, after) = rest.split_once('\n').ok_or(StreamError::InvalidAnnotation)?;
        step!(bulk line.len());
        if line.is_empty() || line.matches(':').nth(1).is_some() {
            return Err(StreamError::InvalidAnnotation);
        }
        rest = after;
    }
}

impl Packet {
    /// Appends the packet.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Disconnect => write(0, &[], out),
            Self::Message { annotations, data } => write(1, &[&annotations.0, ":", data], out),
            Self::Heartbeat(heartbeat) => write(2, &[heartbeat], out),
            Self::Handshake(sid) => write(3, &[sid], out),
            Self::Unknown(kind, data) => write(*kind, &[data], out),
        }
    }
}

/// Appends a text message.
pub fn write_text(text: &str, out: &mut BytesMut) {
    write(1, &[":", text], out);
}

/// Appends a JSON message.
pub fn write_json(json: &str, out: &mut BytesMut) {
    write(1, &["j\n:", json], out);
}

/// Appends a heartbeat.
pub fn write_heartbeat(number: u64, out: &mut BytesMut) {
    let digits = Digits::decimal(number);
    write_header(2, digits.as_bytes().len(), out);
    out.put_slice(digits.as_bytes());
    out.put_u8(b',');
}

/// Appends a session id.
pub fn write_handshake(sid: &str, out: &mut BytesMut) {
    write(3, &[sid], out);
}

fn write(kind: u8, content: &[&str], out: &mut BytesMut) {
    let sum = |start, of: fn(&str) -> usize| content.iter().map(|part| of(part)).fold(start, usize::saturating_add);
    out.reserve(sum(16, str::len));
    write_header(kind, sum(0, lengths::utf16_len), out);
    content.iter().for_each(|part| out.put_slice(part.as_bytes()));
    out.put_u8(b',');
}

fn write_header(kind: u8, units: usize, out: &mut BytesMut) {
    put_decimal(kind.into(), out);
    out.put_u8(b':');
    put_decimal(units as u64, out);
    out.put_u8(b':');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(data: &str) -> Packet {
        annotated("", data)
    }

    fn json(data: &str) -> Packet {
        annotated("j\n", data)
    }

    fn annotated(annotations: &str, data: &str) -> Packet {
        Packet::Message {
            annotations: Annotations(annotations.into()),
            data: data.into(),
        }
    }

    fn decode(pieces: &[&str]) -> (Vec<Packet>, Result<(), StreamError>) {
        let mut decoder = Decoder::new(1000, 100);
        let mut packets = Vec::new();
        let verdict = pieces
            .iter()
            .try_for_each(|piece| decoder.decode(&(*piece).into(), &mut packets));
        (packets, verdict)
    }

    fn encoded(packets: &[Packet]) -> String {
        let mut out = BytesMut::new();
        packets.iter().for_each(|packet| packet.encode(&mut out));
        String::from_utf8(out.to_vec()).unwrap()
    }

    /// The examples of §2, §3 and §6, and captured packets.
    #[test]
    fn packets_both_ways() {
        let cases: &[(&str, &[Packet])] = &[
            ("0:0:,", &[Packet::Disconnect]),
            ("1:6::hello,", &[text("hello")]),
            ("1:1::,", &[text("")]),
            ("2:1:1,", &[Packet::Heartbeat("1".into())]),
            ("2:3:123,", &[Packet::Heartbeat("123".into())]),
            (
                "3:16:0123456789ABCDEF,",
                &[Packet::Handshake("0123456789ABCDEF".into())],
            ),
            ("3:7:abcdefg,", &[Packet::Handshake("abcdefg".into())]),
            ("1:13::hello, world,", &[text("hello, world")]),
            ("1:10:j\n:{\"a\":1},", &[json("{\"a\":1}")]),
            ("1:9:r:chat\n:x,", &[annotated("r:chat\n", "x")]),
            ("1:11:j\nr:chat\n:{,", &[annotated("j\nr:chat\n", "{")]),
            ("1:14:j\n:[\"a1\",\"a2\"],", &[json("[\"a1\",\"a2\"]")]),
            ("1:7:j\n:null,", &[json("null")]),
            ("1:7:j\n:true,", &[json("true")]),
            ("1:3::42,", &[text("42")]),
            ("1:7::öäö¥£♥,", &[text("öäö¥£♥")]),
            ("1:7::wadap!,", &[text("wadap!")]),
            ("1:10:j\n:♥wadap!,", &[json("♥wadap!")]),
            (
                "1:7::early1,1:14:j\n:{\"early\":2},",
                &[text("early1"), json("{\"early\":2}")],
            ),
            (
                "1:16:j\n:hello, world!,2:3:313,1:8::♥wadap!,",
                &[json("hello, world!"), Packet::Heartbeat("313".into()), text("♥wadap!")],
            ),
            ("5:9:123456789,", &[Packet::Unknown(5, "123456789".into())]),
            ("1:3::😀,", &[text("😀")]),
            (
                "3:17:06734146789988227,",
                &[Packet::Handshake("06734146789988227".into())],
            ),
        ];
        for (wire, packets) in cases {
            assert_eq!(decode(&[wire]), (packets.to_vec(), Ok(())), "{wire}");
            assert_eq!(encoded(packets), *wire);
        }
    }

    #[test]
    fn writers() {
        let mut out = BytesMut::new();
        write_handshake("abcdefg", &mut out);
        write_heartbeat(123_456, &mut out);
        write_text("hello", &mut out);
        write_json("true", &mut out);
        assert_eq!(out, &b"3:7:abcdefg,2:6:123456,1:6::hello,1:7:j\n:true,"[..]);
    }

    #[test]
    fn annotations_are_named() {
        let annotations = Annotations("j\nr:chat\nx\n".into());
        assert!(annotations.is_json());
        assert_eq!(annotations.realm(), Some("chat"));
        assert!(annotations.iter().eq([("j", ""), ("r", "chat"), ("x", "")]));
        assert_eq!(Annotations::default().realm(), None);
        assert!(Annotations::json().is_json());
    }

    #[test]
    fn a_packet_may_come_in_pieces() {
        let pieces = ["5", ":9", ":12345", "678", "9", ",1:6::"];
        let (packets, verdict) = decode(&pieces);
        assert_eq!(
            (packets.as_slice(), verdict),
            (&[Packet::Unknown(5, "123456789".into())][..], Ok(()))
        );
        assert_eq!(decode(&pieces[..5]).0, []);
        assert_eq!(decode(&["1:6::", "hello", ",2:1:1,1:2", "::x", ","]).0.len(), 3);
    }

    #[test]
    fn a_go_peer_counts_code_points() {
        assert_eq!(decode(&["1:2::😀,"]), (alloc::vec![text("😀")], Ok(())));
        assert_eq!(
            decode(&["1:3::😀x,1:2::y,"]),
            (alloc::vec![text("😀x"), text("y")], Ok(()))
        );
        assert_eq!(decode(&["1:3::😀", "x", ","]), (alloc::vec![text("😀x")], Ok(())));
    }

    /// The table of §8.
    #[test]
    fn malformed_streams() {
        use StreamError::*;
        for (wire, good, error) in [
            (":1::a,", 0, InvalidType),
            ("x:1:a,", 0, InvalidType),
            ("12:1::a,", 0, InvalidType),
            ("257:1::a,", 0, InvalidType),
            ("1::a,", 0, InvalidLength),
            ("1:x::a,", 0, InvalidLength),
            ("1:-1::a,", 0, InvalidLength),
            ("1:99999999999::a,", 0, InvalidLength),
            ("1:1001::a,", 0, TooLong),
            ("1:3::fael!,", 0, MissingComma),
            ("2:1:1,1:3::fael!,2:1:1,", 1, MissingComma),
            ("1:3:\n:x,", 0, InvalidAnnotation),
            ("1:0:,", 0, InvalidAnnotation),
            ("1:1:x,", 0, InvalidAnnotation),
            ("1:7:a:b:c\n:,", 0, InvalidAnnotation),
        ] {
            let (packets, verdict) = decode(&[wire, "1:1::,"]);
            assert_eq!((packets.len(), verdict), (good, Err(error)), "{wire}");
        }
        assert_eq!(decode(&["0:3:abc,"]), (alloc::vec![Packet::Disconnect], Ok(())));
        assert_eq!(
            decode(&["2:1:x,"]),
            (alloc::vec![Packet::Heartbeat("x".into())], Ok(()))
        );
        assert_eq!(decode(&["1:6:j\n:{x],"]), (alloc::vec![json("{x]")], Ok(())));
    }

    #[test]
    fn an_error_is_final() {
        let mut decoder = Decoder::new(10, 10);
        let mut packets = Vec::new();
        assert!(decoder.decode(&"x".into(), &mut packets).is_err());
        assert_eq!(
            decoder.decode(&"2:1:1,".into(), &mut packets),
            Err(StreamError::InvalidType)
        );
        assert!(!decoder.is_at_boundary());
    }

    #[test]
    fn newlines_of_a_jsonp_form_are_repaired() {
        let mut decoder = Decoder::new(1000, 100);
        let mut packets = Vec::new();
        let wire = "1:7::early1,1:14:j\r\n:{\"early\":2},".into();
        assert_eq!(decoder.decode_jsonp(&wire, &mut packets), Ok(()));
        assert_eq!(packets, [text("early1"), json("{\"early\":2}")]);
        // A character outside of the BMP is one character, and two units of LEN.
        packets.clear();
        assert_eq!(decoder.decode_jsonp(&"1:5::😀\r\nx,".into(), &mut packets), Ok(()));
        assert_eq!(packets, [text("😀\nx")]);
        // A genuine CRLF stays, and a piece that cannot be repaired stays unchanged.
        packets.clear();
        assert_eq!(decoder.decode_jsonp(&"1:5::a\r\nb,".into(), &mut packets), Ok(()));
        assert_eq!(packets, [text("a\r\nb")]);
        assert_eq!(
            decoder.decode_jsonp(&"1:2::a\r\nb,".into(), &mut packets),
            Err(StreamError::MissingComma)
        );
    }

    /// A text that can be read is not refused because it came in a form: line breaks are repaired
    /// only if the result can be read.
    #[test]
    fn repaired_newlines_never_make_a_good_text_bad() {
        for wire in [
            // Without the CR, the annotation would have no name.
            "1:4:\r\n:😀,",
            // Without the CR, there would be two packets, and one is allowed.
            "1:16::😀😀😀😀😀😀😀\r\n,2:1:1,",
        ] {
            let (mut plain, mut form) = (Decoder::new(1000, 1), Decoder::new(1000, 1));
            let (mut expected, mut packets) = (Vec::new(), Vec::new());
            assert_eq!(plain.decode(&wire.into(), &mut expected), Ok(()), "{wire:?}");
            assert_eq!(form.decode_jsonp(&wire.into(), &mut packets), Ok(()), "{wire:?}");
            assert_eq!((packets.len(), packets), (1, expected), "{wire:?}");
        }
    }

    #[test]
    fn packets_are_counted() {
        let mut decoder = Decoder::new(10, 2);
        let mut packets = Vec::new();
        let wire = "2:1:1,2:1:2,2:1:3,".into();
        assert_eq!(decoder.decode(&wire, &mut packets), Err(StreamError::TooManyPackets));
        assert_eq!(packets.len(), 2);
    }

    fn any_packet() -> impl Strategy<Value = Packet> {
        let data = || any::<String>().prop_map(ByteString::from);
        prop_oneof![
            Just(Packet::Disconnect),
            ("([a-z]{1,3}(:[a-z♥]{0,3})?\n){0,3}", data()).prop_map(|(a, data)| Packet::Message {
                annotations: Annotations(a.into()),
                data
            }),
            data().prop_map(Packet::Heartbeat),
            data().prop_map(Packet::Handshake),
            (4..=9u8, data()).prop_map(|(kind, data)| Packet::Unknown(kind, data)),
        ]
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            packets in prop::collection::vec(any_packet(), 0..6),
            cuts in prop::collection::vec(1..9usize, 0..60),
        ) {
            let wire = encoded(&packets);
            let mut pieces = Vec::new();
            let mut rest = wire.as_str();
            for cut in cuts {
                let at = rest.char_indices().map(|(i, _)| i).nth(cut).unwrap_or(rest.len());
                let (piece, after) = rest.split_at(at);
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            prop_assert_eq!(decode(&pieces), (packets, Ok(())));
        }

        #[test]
        fn never_panics(pieces in prop::collection::vec("([0-3]:|[0-9]|:|,|\n|\r|j|😀|♥){0,8}", 0..6)) {
            let mut decoder = Decoder::new(20, 5);
            for piece in pieces {
                let _ = decoder.decode_jsonp(&piece.into(), &mut Vec::new());
            }
        }
    }
}
