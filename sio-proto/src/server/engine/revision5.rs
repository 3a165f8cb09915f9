//! The server's rules for packets of Socket.IO 3 and 4 (protocol revision 5;
//! docs/protocol/socket-io.md §3.1, §5, §9).
//!
//! A client enters a namespace only by CONNECT. A packet that breaks the order ends the connection.
//! Packets for a namespace that the server has just made the client leave are late, not wrong, and
//! are dropped.

use alloc::string::String;
use core::fmt::Write as _;

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use super::At;
use super::messages::{misplaced, too_many_connects};
use crate::SocketKey;
use crate::json;
use crate::server::{Auth, Breach, Message, Reason, Standing, Welcome};
use crate::socket::text::Encoder;
use crate::socket::{Packet, Revision};

const ENCODER: Encoder = Encoder::new(Revision::Five);
/// The text of a breach for a packet.
const IN: &str = "in which the client is already";
const OUT: &str = "in which the client is not";

impl At<'_> {
    /// A packet of a client of Socket.IO 3 or 4.
    pub(super) fn handle_packet5(
        &mut self,
        packet: Packet,
        found: Option<(SocketKey, Standing)>,
    ) -> Result<(), Breach> {
        match (packet, found) {
            // Each CONNECT has an answer, which is queued even if there is no room. A client that
            // does not fetch its answers may not send further CONNECTs.
            (Packet::Connect { .. }, _) if self.is_full() || !self.may_connect() => Err(too_many_connects()),
            (Packet::Connect { namespace, payload, .. }, None) => {
                let auth = payload.map_or(Auth::None, Auth::Payload);
                if let Err(why) = self.ask(&namespace, auth) {
                    self.refused(&namespace, why.as_str(), None);
                }
                Ok(())
            }
            // The user is still deciding about the first CONNECT.
            (Packet::Connect { .. }, Some((_, Standing::Asked))) => Ok(()),
            (packet @ Packet::Connect { .. }, Some((_, Standing::Connected))) => Err(misplaced(&packet, IN)),
            (Packet::Disconnect { .. }, Some((socket, _))) => {
                self.left(socket, Reason::ClientNamespaceDisconnect);
                Ok(())
            }
            (Packet::Ack { id, args, .. }, Some((socket, Standing::Connected))) => {
                self.acknowledged(socket, id, args);
                Ok(())
            }
            // The decoder accepts no such packet from a client.
            (packet @ Packet::ConnectError { .. }, _) => Err(misplaced(&packet, "which only servers say")),
            (packet, None) if self.left_lately(packet.namespace()) => Ok(()),
            (packet @ (Packet::Disconnect { .. } | Packet::Event { .. } | Packet::Ack { .. }), _) => {
                Err(misplaced(&packet, OUT))
            }
        }
    }
}

/// The CONNECT that tells the client that it is in the namespace. With a `pid` the client may come
/// back (docs/protocol/socket-io.md §6).
pub(crate) fn connected(namespace: ByteString, id: &str, welcome: &Welcome) -> Packet {
    const SID: &str = "{\"sid\":\"";
    const PID: &str = "\",\"pid\":\"";
    let pid = welcome.pid.as_deref();
    let pid_bytes = pid.map_or(0, |pid| PID.len() + pid.len());
    // Exactly as large as needed, because `Bytes` would have to note what is left over.
    let mut payload = String::with_capacity(SID.len() + id.len() + pid_bytes + "\"}".len());
    payload.push_str(SID);
    payload.push_str(id);
    if let Some(pid) = pid {
        payload.push_str(PID);
        payload.push_str(pid);
    }
    payload.push('"');
    if let Some(heard) = welcome.confirmed {
        payload.push(',');
        put_confirmed(&mut payload, heard);
    }
    payload.push('}');
    Packet::Connect {
        namespace,
        query: None,
        payload: Some(payload.into()),
    }
}

/// The CONNECT without an id that confirms events, for clients that have asked for it
/// (docs/protocol/extensions.md §2).
pub(crate) fn confirmation(namespace: ByteString, heard: u64) -> Packet {
    let mut payload = String::with_capacity(40);
    payload.push('{');
    put_confirmed(&mut payload, heard);
    payload.push('}');
    Packet::Connect {
        namespace,
        query: None,
        payload: Some(payload.into()),
    }
}

fn put_confirmed(out: &mut String, heard: u64) {
    let _ = write!(out, "\"sio.confirmed\":{heard}");
}

/// The payload of the CONNECT_ERROR.
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
        Some(name) => {
            ENCODER.event(out, &message.namespace, message.id, name, &message.args);
            write_offset(out, message);
        }
        None => ENCODER.ack(out, &message.namespace, message.id.unwrap_or_default(), &message.args),
    }
}

/// Writes the offset of a message behind its arguments, into the brackets that are there.
fn write_offset(out: &mut BytesMut, message: &Message) {
    if let Some(offset) = message.offset.filter(|_| message.id.is_none()) {
        out.truncate(out.len() - 1);
        offset.write_last(out);
    }
}
