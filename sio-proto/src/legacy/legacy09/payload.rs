//! Several packets in one HTTP body or script argument (docs/protocol/legacy-0.9.md §5).
//!
//! ```text
//! payload = packet                                  exactly one: as it is
//!         / 2*( U+FFFD LEN U+FFFD packet )          LEN in UTF-16 code units
//! ```
//!
//! A websocket never carries a payload: each packet is a message of its own there.

use alloc::vec::Vec;

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use crate::digits::put_decimal;
use crate::legacy::lengths::{self, Misfit, Unit};

const MARK: char = '\u{fffd}';

/// Genuine lengths have far fewer digits. Leading zeros count as digits.
const MAX_LENGTH_DIGITS: usize = 10;

/// Why the rest of a payload was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// A packet does not begin with U+FFFD.
    #[error("packet without mark")]
    NoMark,
    /// LEN is missing, not decimal, too long, or not followed by U+FFFD.
    #[error("invalid packet length")]
    InvalidLength,
    /// LEN goes beyond the end of the payload.
    #[error("packet longer than the payload")]
    Truncated,
    /// LEN ends inside a character.
    #[error("packet length cuts a surrogate pair")]
    CutPair,
    /// There are more packets than the caller allows.
    #[error("too many packets in one payload")]
    TooManyPackets,
}

/// Appends the texts of the packets of a payload to `packets`, at most `max_packets` of them.
///
/// An empty payload has no packets. [`Packet::decode`](super::Packet::decode) decides whether a
/// text is a packet; a bad text does not affect the others.
///
/// # Errors
///
/// Says why the rest was dropped. The packets before the error have been appended and are good.
pub fn decode(payload: &ByteString, max_packets: usize, packets: &mut Vec<ByteString>) -> Result<(), PayloadError> {
    if payload.is_empty() {
        return Ok(());
    }
    if !payload.starts_with(MARK) {
        if max_packets == 0 {
            return Err(PayloadError::TooManyPackets);
        }
        packets.push(payload.clone());
        return Ok(());
    }
    let mut rest = &**payload;
    let mut left = max_packets;
    while !rest.is_empty() {
        step!();
        left = left.checked_sub(1).ok_or(PayloadError::TooManyPackets)?;
        let header = rest.strip_prefix(MARK).ok_or(PayloadError::NoMark)?;
        let (length, digits) =
            lengths::take_decimal(header.as_bytes(), MAX_LENGTH_DIGITS).ok_or(PayloadError::InvalidLength)?;
        let body = header.get(digits..).and_then(|behind| behind.strip_prefix(MARK));
        let body = body.ok_or(PayloadError::InvalidLength)?;
        let end = lengths::offset(body, length, Unit::Utf16).map_err(|misfit| match misfit {
            Misfit::Short => PayloadError::Truncated,
            Misfit::CutPair => PayloadError::CutPair,
        })?;
        let (content, behind) = body.split_at_checked(end).ok_or(PayloadError::Truncated)?;
        packets.push(payload.slice_ref(content));
        rest = behind;
    }
    Ok(())
}

/// [`decode`] for a raw payload from a JSONP form (clients before 0.8.6). There the browser has
/// changed every lone LF to CRLF after LEN had been computed (§7). A single packet has no LEN that
/// could show this; in such a form every line break has been changed.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_jsonp(
    payload: &ByteString,
    max_packets: usize,
    packets: &mut Vec<ByteString>,
) -> Result<(), PayloadError> {
    let start = packets.len();
    if !payload.starts_with(MARK) && payload.contains("\r\n") {
        return decode(&payload.replace("\r\n", "\n").into(), max_packets, packets);
    }
    let verdict = decode(payload, max_packets, packets);
    if verdict.is_ok() || !payload.contains("\r\n") {
        return verdict;
    }
    let prefix_end = packets.len();
    match decode(&payload.replace("\r\n", "\n").into(), max_packets, packets) {
        Ok(()) => {
            packets.drain(start..prefix_end);
            Ok(())
        }
        Err(_) => {
            packets.truncate(prefix_end);
            verdict
        }
    }
}

/// Appends the payload of `packets`, each in its text form.
pub fn write<'a>(packets: impl ExactSizeIterator<Item = &'a str>, out: &mut BytesMut) {
    let is_framed = packets.len() > 1;
    for packet in packets {
        put(packet, is_framed, out);
    }
}

/// Appends one packet of a payload. A packet that is not alone is framed.
pub(crate) fn put(packet: &str, is_framed: bool, out: &mut BytesMut) {
    step!(bulk packet.len());
    out.reserve(packet.len().saturating_add(16));
    if is_framed {
        let mut mark = [0; 3];
        let mark = MARK.encode_utf8(&mut mark).as_bytes();
        out.put_slice(mark);
        put_decimal(lengths::utf16_len(packet) as u64, out);
        out.put_slice(mark);
    }
    out.put_slice(packet.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn read(payload: &str) -> (Vec<ByteString>, Result<(), PayloadError>) {
        let mut packets = Vec::new();
        let verdict = decode(&payload.into(), 10, &mut packets);
        (packets, verdict)
    }

    fn written(packets: &[&str]) -> ByteString {
        let mut out = BytesMut::new();
        write(packets.iter().copied(), &mut out);
        ByteString::try_from(out).unwrap()
    }

    #[test]
    fn captured_payloads() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("1::", &["1::"]),
            (
                "\u{fffd}17\u{fffd}4:::{\"a\":[1,\"♥\"]}\u{fffd}43\u{fffd}5:1+::{\"name\":\"echo\",\"args\":[1,{\"x\":null}]}\
                 \u{fffd}13\u{fffd}3:2::with-ack",
                &[
                    "4:::{\"a\":[1,\"♥\"]}",
                    "5:1+::{\"name\":\"echo\",\"args\":[1,{\"x\":null}]}",
                    "3:2::with-ack",
                ],
            ),
            ("\u{fffd}6\u{fffd}3:::😀\u{fffd}3\u{fffd}2::", &["3:::😀", "2::"]),
        ];
        for (payload, packets) in cases {
            let (got, verdict) = read(payload);
            assert_eq!(verdict, Ok(()), "{payload}");
            assert_eq!(got, *packets);
            assert_eq!(written(packets), *payload);
        }
        let (got, verdict) = read("\u{fffd}3\u{fffd}2::");
        assert_eq!(
            (got.as_slice(), verdict),
            (&["2::".into()][..], Ok(())),
            "one packet may be framed"
        );
    }

    #[test]
    fn malformed_payloads() {
        use PayloadError::*;
        for (payload, good, error) in [
            ("\u{fffd}", 0, InvalidLength),
            ("\u{fffd}x\u{fffd}2::", 0, InvalidLength),
            ("\u{fffd}-3\u{fffd}2::", 0, InvalidLength),
            ("\u{fffd}\u{fffd}2::", 0, InvalidLength),
            ("\u{fffd}3", 0, InvalidLength),
            ("\u{fffd}9\u{fffd}2::", 0, Truncated),
            ("\u{fffd}3\u{fffd}2::\u{fffd}9\u{fffd}2::", 1, Truncated),
            ("\u{fffd}3\u{fffd}2::x", 1, NoMark),
            ("\u{fffd}5\u{fffd}3:::😀\u{fffd}3\u{fffd}2::", 0, CutPair),
        ] {
            let (got, verdict) = read(payload);
            assert_eq!((got.len(), verdict), (good, Err(error)), "{payload}");
        }
    }

    #[test]
    fn newlines_of_a_jsonp_form_are_repaired() {
        let mut packets = Vec::new();
        let payload = "\u{fffd}7\u{fffd}3:::a\r\nb\u{fffd}3\u{fffd}2::".into();
        assert_eq!(decode_jsonp(&payload, 10, &mut packets), Ok(()));
        assert_eq!(packets, ["3:::a\nb", "2::"]);
        packets.clear();
        assert_eq!(decode_jsonp(&"3:::a\r\nb".into(), 10, &mut packets), Ok(()));
        assert_eq!(packets, ["3:::a\nb"]);
    }

    #[test]
    fn packets_are_counted() {
        let mut packets = Vec::new();
        let payload = written(&["1::", "2::", "3:::"]);
        assert_eq!(decode(&payload, 2, &mut packets), Err(PayloadError::TooManyPackets));
        assert_eq!(packets, ["1::", "2::"]);
        assert_eq!(
            decode(&"1::".into(), 0, &mut packets),
            Err(PayloadError::TooManyPackets)
        );
    }

    proptest! {
        #[test]
        fn round_trip(packets in prop::collection::vec("[0-8]::.{0,10}", 0..6)) {
            let packets: Vec<_> = packets.iter().map(String::as_str).collect();
            let (got, verdict) = read(&written(&packets));
            prop_assert_eq!(verdict, Ok(()));
            prop_assert_eq!(got, packets);
        }

        #[test]
        fn never_panics(payload in "(\u{fffd}|[0-9]|😀|\r\n|:){0,20}") {
            let _ = decode_jsonp(&payload.into(), 5, &mut Vec::new());
        }
    }
}
