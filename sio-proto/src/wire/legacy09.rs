//! Bodies of polls and POSTs of 0.7 to 0.9 (docs/protocol/legacy-0.9.md §5).

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::Inbound;
use crate::breach::{Breach, BreachKind};
use crate::detect::{self, Transport};
use crate::legacy::legacy09::payload;
use crate::legacy::transports::{Family, Posted, read_d_form, write_jsonp as write_script};
use crate::{Config, Frame};

/// Decodes the body of a POST.
pub(crate) fn decode_body(config: &Config, route: &detect::Legacy09, body: &Bytes) -> Vec<Inbound> {
    let detect::Legacy09::Transport { transport, .. } = route else {
        return Vec::new();
    };
    let broken = |error: &dyn core::fmt::Display| Inbound::Broken(Breach::new(BreachKind::Payload, error));
    let mut texts = Vec::new();
    let max_packets = config.max_packets_per_payload;
    // An error in a payload costs the rest of the payload and nothing more
    // (docs/protocol/legacy-0.9.md §13).
    let verdict = match transport {
        Transport::JsonpPolling => match read_d_form(body) {
            Ok(Posted::Exact(text)) => payload::decode(&text, max_packets, &mut texts),
            Ok(Posted::Form(text)) => payload::decode_jsonp(&text, max_packets, &mut texts),
            Err(error) => return alloc::vec![broken(&error)],
        },
        _ => match ByteString::try_from(body.clone()) {
            Ok(text) => payload::decode(&text, max_packets, &mut texts),
            Err(_) => return alloc::vec![broken(&"the body is not UTF-8")],
        },
    };
    let mut packets = Vec::with_capacity(texts.len());
    texts.iter().for_each(|text| Inbound::legacy09(text, &mut packets));
    if let Err(error) = verdict {
        let place = texts.len().saturating_add(1);
        Inbound::leave_out(&mut packets, || {
            Breach::new(
                BreachKind::Payload,
                format_args!("{error}, in packet {place} of a body"),
            )
        });
    }
    packets
}

/// Puts packets together as the body of a poll.
pub(crate) fn encode_poll(frames: &[Frame], out: &mut BytesMut) {
    let text = |frame| core::str::from_utf8(Frame::payload(frame)).unwrap_or_default();
    payload::write(frames.iter().map(text), out);
}

/// Puts packets together as the script of a poll.
pub(crate) fn encode_script(index: u64, frames: &[Frame], out: &mut BytesMut) {
    encode_poll(frames, out);
    let payload = out.split();
    let text = core::str::from_utf8(&payload).unwrap_or_default();
    write_script(Family::Legacy09, index, text, out);
}
