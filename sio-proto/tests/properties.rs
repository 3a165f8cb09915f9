//! Properties that all wires share: ids are exact or refused, attachments keep their order and
//! their bytes, and scripts that carry a payload do nothing else.
//!
//! That what is read has one spelling is in `spellings.rs`. The other properties stand beside the
//! code that they are about. `PROPTEST_CASES` is the number of cases of all of them; docs/PROOF.md
//! has the list.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

use proptest::prelude::*;
use sio_proto::engine::jsonp;
use sio_proto::legacy::transports::{
    Family, without_boundary, write_htmlfile, write_jsonp, write_jsonp_error, write_multipart,
};
use sio_proto::legacy::{envelope, legacy09};
use sio_proto::socket::text::{Decoded, Encoder, Limits, decode};
use sio_proto::socket::{Args, Packet, Revision, Role};
use sio_proto::wire::Reassembly;
use sio_proto::{ByteString, Bytes, BytesMut};

fn written(write: impl FnOnce(&mut BytesMut)) -> ByteString {
    let mut out = BytesMut::new();
    write(&mut out);
    ByteString::try_from(out).unwrap()
}

proptest! {
    /// An id is the number that stands there, or the packet is refused: 2^53 is no border.
    #[test]
    fn ids_are_exact_or_refused(digits in "[0-9]{1,25}", kind in prop::sample::select(&["2", "3"][..])) {
        let exact: Option<u64> = digits.parse().ok();
        for revision in [Revision::Three, Revision::Four, Revision::Five] {
            let text = ByteString::from(format!("{kind}{digits}[\"e\",1]"));
            let id = match decode(&text, revision, Role::Server, &Limits::default()) {
                Ok(Decoded::Packet(Packet::Event { id, .. })) => id,
                Ok(Decoded::Packet(Packet::Ack { id, .. })) => Some(id),
                Ok(other) => panic!("{other:?}"),
                Err(_) => None,
            };
            prop_assert!(id.is_none() || id == exact, "{} was read as {:?}", text, id);
            prop_assert!(exact.is_none() || id.is_some(), "{} is refused", text);
        }
        // The ids of 0.9 stay text.
        let text = ByteString::from(format!("5:{digits}+::{{\"name\":\"e\"}}"));
        if let Ok(packet) = legacy09::Packet::decode(&text) {
            prop_assert_eq!(packet.id.unwrap().digits, digits.as_str());
        }
        // Numbers of placeholders count attachments, and are refused if there are not so many.
        let text = format!("51-[\"e\",{{\"_placeholder\":true,\"num\":{digits}}}]");
        let mut reassembly = Reassembly::new();
        let announced = reassembly.handle_text(text.into(), Revision::Five, Role::Server, &Limits::default());
        if matches!(announced, Ok(None)) {
            let whole = reassembly.handle_binary(Bytes::from_static(b"x"), &Limits::default());
            prop_assert!(whole.is_err() || exact == Some(0));
        }
    }

    /// Attachments come back in their order and with their bytes, wherever placeholders stand.
    #[test]
    fn attachments_keep_their_order_and_their_bytes(
        attachments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..8),
        order in prop::collection::vec(any::<prop::sample::Index>(), 8),
        nested in any::<u8>(),
        asks in any::<Option<u64>>(),
        is_answer in any::<bool>(),
    ) {
        let attachments: Vec<Bytes> = attachments.into_iter().map(Bytes::from).collect();
        let mut left: Vec<usize> = (0..attachments.len()).collect();
        let mut values = Vec::new();
        for at in &order[..attachments.len()] {
            let number = left.remove(at.index(left.len()));
            let placeholder = format!("{{\"_placeholder\":true,\"num\":{number}}}");
            values.push(match nested >> (number % 8) & 1 {
                0 => placeholder,
                _ => format!("{{\"a\":[{placeholder},\"é\"]}}"),
            });
        }
        let args = Args {
            json: values.join(",").into(),
            attachments: attachments.clone(),
            ..Args::default()
        };
        let namespace = ByteString::from_static("/a");
        let packet = match is_answer {
            true => Packet::Ack { namespace, id: asks.unwrap_or(7), args },
            false => Packet::Event { namespace, name: "e".into(), id: asks, args },
        };
        for revision in [Revision::Three, Revision::Four, Revision::Five] {
            let text = written(|out| Encoder::new(revision).ascii(false).packet(out, &packet));
            let mut reassembly = Reassembly::new();
            prop_assert_eq!(reassembly.handle_text(text, revision, Role::Server, &Limits::default()), Ok(None));
            let mut whole = None;
            for (at, attachment) in attachments.iter().enumerate() {
                prop_assert!(whole.is_none(), "a packet before its attachments");
                whole = reassembly.handle_binary(attachment.clone(), &Limits::default()).unwrap();
                prop_assert_eq!(whole.is_some(), at + 1 == attachments.len());
            }
            prop_assert_eq!(whole.as_ref(), Some(&packet));
        }
    }

    /// A payload inside a script is a string and nothing else, in JavaScript and in HTML, whatever
    /// a client has put into it.
    #[test]
    fn payloads_in_scripts_are_inert(
        payload in prop_oneof![hostile(), any::<String>()],
        index in prop_oneof![Just("0".to_owned()), "[0-9]{0,22}", hostile()],
    ) {
        let number = index.bytes().filter(u8::is_ascii_digit).map(char::from).collect::<String>();
        let script = written(|out| jsonp::write_script(&index, &payload, out));
        let head = format!("___eio[{number}](");
        is_one_string(&script, &head, ");", &payload)?;
        for (family, before) in [(Family::Legacy06, "io.JSONP[7]._("), (Family::Legacy09, "io.j[7](")] {
            let script = written(|out| write_jsonp(family, 7, &payload, out));
            is_one_string(&script, before, ");", &payload)?;
        }
        let script = written(|out| write_jsonp_error(7, &payload, out));
        is_one_string(&script, "io.j[7](new Error(", "));", &payload)?;

        for (family, before, after) in [
            (Family::Legacy06, "<script>parent.s._(", ", document);</script>"),
            (Family::Legacy09, "<script>_(", ");</script>"),
        ] {
            let element = written(|out| write_htmlfile(family, &payload, out));
            is_one_string(&element, before, after, &payload)?;
            prop_assert_eq!(element.matches("</").count(), 1, "an element ends early: {}", element);
            prop_assert_eq!(element.matches("<!").count(), 0, "a comment begins: {}", element);
        }
        // The payload of 0.3 is a JSON text.
        let json = serde_json::to_string(&payload).unwrap();
        let element = written(|out| envelope::write_htmlfile(&json, out));
        is_one_string(&element, "<script>parent.s._(", ", document);</script>", &payload)?;
        prop_assert_eq!(element.matches('<').count(), 2, "{}", element);
    }

    /// JSON in a part of a multipart stream does not end the part, and keeps its meaning.
    #[test]
    fn payloads_in_parts_do_not_end_them(
        texts in prop::collection::vec("(--|-|socketio|\n|--socketio|é|\"){0,6}", 0..4),
    ) {
        let json = serde_json::to_string(&texts).unwrap();
        let safe = without_boundary(&json);
        prop_assert_eq!(&serde_json::from_str::<Vec<String>>(&safe).unwrap(), &texts);
        let part = written(|out| write_multipart(&safe, out));
        prop_assert_eq!(part.matches("--socketio").count(), 1);
    }
}

/// Text of somebody who wants to get out of a string.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(
        &[
            "</script>",
            "<!--",
            "-->",
            "<script>",
            "]]>",
            "\"",
            "'",
            "\\",
            "\\\"",
            "\n",
            "\r",
            "\u{2028}",
            "\u{2029}",
            "\0",
            "\u{85}",
            ";alert(1)",
            ")",
            "&quot;",
            "<",
            "/",
            "é",
            "😀",
        ][..],
    );
    prop::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat())
}

/// Asserts that a script is one call with one string, which has this value.
fn is_one_string(script: &str, before: &str, after: &str, value: &str) -> Result<(), TestCaseError> {
    let literal = script.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    let Some(literal) = literal else {
        return Err(TestCaseError::fail(format!("{script} is no call")));
    };
    prop_assert!(
        !script.contains(['\u{2028}', '\u{2029}', '\n', '\r']),
        "a line ends in {}",
        script
    );
    let read: String = serde_json::from_str(literal).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(read, value);
    Ok(())
}
