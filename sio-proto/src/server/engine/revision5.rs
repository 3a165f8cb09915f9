//! What a server does with packets of Socket.IO 3 and 4 (protocol revision 5;
//! docs/protocol/socket-io.md §3.1, §5, §9).
//!
//! A namespace is entered by CONNECT and nothing else; whatever breaks the order ends the
//! connection. Packets for a namespace that the server has just made the client leave are late, not
//! wrong, and are dropped.

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use super::At;
use crate::server::{Auth, Message, Reason, Standing};
use crate::socket::text::Encoder;
use crate::socket::{Packet, Revision};
use crate::{Sid, json};

const ENCODER: Encoder = Encoder::new(Revision::Five);

impl At<'_> {
    /// A packet of a client of Socket.IO 3 or 4.
    pub(super) fn handle_packet5(&mut self, packet: Packet) -> Result<(), Reason> {
        let found = self.socket_in(packet.namespace());
        match (packet, found) {
            // Each CONNECT has an answer, which goes into the queue whether there is room or not.
            // Who does not fetch them may not ask.
            (Packet::Connect { .. }, _) if self.is_full() || !self.may_connect() => Err(Reason::ForcedClose),
            (Packet::Connect { namespace, payload, .. }, None) => {
                let auth = payload.map_or(Auth::None, Auth::Payload);
                if let Err(why) = self.ask(&namespace, auth) {
                    self.refused(&namespace, why.as_str(), None);
                }
                Ok(())
            }
            // The first one is still with the user, who will answer it.
            (Packet::Connect { .. }, Some((_, Standing::Asked))) => Ok(()),
            (Packet::Connect { .. }, Some((_, Standing::Connected))) => Err(Reason::ForcedClose),
            (Packet::Disconnect { .. }, Some((socket, _))) => {
                self.left(socket, Reason::ClientNamespaceDisconnect);
                Ok(())
            }
            (Packet::Event { name, id, args, .. }, Some((socket, Standing::Connected))) => {
                self.event(socket, name, args, id);
                Ok(())
            }
            (Packet::Ack { id, args, .. }, Some((socket, Standing::Connected))) => {
                self.acknowledged(socket, id, args);
                Ok(())
            }
            (Packet::ConnectError { .. }, _) => Err(Reason::ForcedClose),
            (packet, None) if self.left_lately(packet.namespace()) => Ok(()),
            (Packet::Disconnect { .. } | Packet::Event { .. } | Packet::Ack { .. }, _) => Err(Reason::ForcedClose),
        }
    }
}

/// Writes the CONNECT that says: you are in.
pub(crate) fn write_connected(out: &mut BytesMut, namespace: &str, sid: &Sid) {
    ENCODER.connect(out, namespace, None, core::str::from_utf8(&admission(sid)).ok());
}

/// The CONNECT that says: you are in.
pub(crate) fn connected(namespace: ByteString, sid: &Sid) -> Packet {
    Packet::Connect {
        namespace,
        query: None,
        payload: core::str::from_utf8(&admission(sid)).ok().map(ByteString::from),
    }
}

/// The payload of that.
fn admission(sid: &Sid) -> [u8; 30] {
    let mut payload = [0; 30];
    payload[..8].copy_from_slice(b"{\"sid\":\"");
    payload[8..28].copy_from_slice(&sid.base64());
    payload[28..].copy_from_slice(b"\"}");
    payload
}

/// Writes the CONNECT_ERROR that says why not.
pub(crate) fn write_refused(out: &mut BytesMut, namespace: &str, message: &str, data: Option<&str>) {
    ENCODER.connect_error(out, namespace, &refusal(message, data));
}

/// The payload of that.
pub(crate) fn refusal(message: &str, data: Option<&str>) -> ByteString {
    let mut payload = BytesMut::new();
    payload.put_slice(b"{\"message\":");
    json::write_string(&mut payload, message);
    if let Some(data) = data {
        payload.put_slice(b",\"data\":");
        payload.put_slice(data.as_bytes());
    }
    payload.put_u8(b'}');
    ByteString::try_from(payload.freeze()).unwrap_or_default()
}

/// Writes an event or an acknowledgement.
pub(crate) fn write_message(out: &mut BytesMut, message: &Message) {
    match &message.name {
        Some(name) => ENCODER.event(out, &message.namespace, message.id, name, &message.args),
        None => ENCODER.ack(out, &message.namespace, message.id.unwrap_or_default(), &message.args),
    }
}
