//! The messages of one connection, in order: attachments belong to the packet before them.

use bytes::Bytes;
use sio_proto::codec::{MessagePack, PacketParser as _, Parsed};
use sio_proto::engine::EngineMessage;
use sio_proto::socket::text::Limits;
use sio_proto::socket::{Packet, Revision, Role};
use sio_proto::wire::Reassembly;

use super::rules;
use super::sheet::{Sheet, VALUE, count, shown};

/// What is known about a connection.
#[derive(Debug)]
pub(super) struct Conversation {
    /// The role of the reader: a server, if a client has sent the messages.
    pub(super) role: Role,
    pub(super) revision: Revision,
    /// Whether the packets are known to be MessagePack.
    pub(super) msgpack: bool,
    /// Whether the messages of Engine.IO are not those of Socket.IO.
    pub(super) raw: bool,
    pub(super) limits: Limits,
    pub(super) reassembly: Reassembly,
    /// How many attachments have come, and how many were announced.
    pub(super) attachments: (usize, usize),
    /// How many Socket.IO messages have been read.
    pub(super) messages: usize,
}

impl Conversation {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            revision: Revision::Five,
            msgpack: false,
            raw: false,
            limits: Limits::default(),
            reassembly: Reassembly::new(),
            attachments: (0, 0),
            messages: 0,
        }
    }

    /// Explains a binary message: an attachment, a packet in MessagePack, or data.
    pub(super) fn binary(&mut self, sheet: &mut Sheet, bytes: &Bytes) {
        self.messages += 1;
        if self.reassembly.is_pending() {
            return self.attachment(sheet, bytes);
        }
        if self.raw {
            return sheet.bytes(0, bytes, format!("the message, {}", count(bytes.len(), "byte")));
        }
        let looks_like_map = matches!(bytes.first(), Some(0x80..=0x8f | 0xde | 0xdf));
        if self.msgpack || (looks_like_map && matches!(bytes.get(1), Some(0xa0..=0xbf | 0xd9..=0xdb))) {
            return self.msgpack(sheet, bytes);
        }
        sheet.bytes(0, bytes, format!("binary data, {}", count(bytes.len(), "byte")));
        if self.messages == 1 {
            sheet.note("an attachment of a packet that came before, or a message of raw Engine.IO");
        } else {
            let error = sio_proto::socket::text::DecodeError::UnexpectedAttachment;
            sheet.problem(0, &error, rules::socket(error));
        }
    }

    fn attachment(&mut self, sheet: &mut Sheet, bytes: &Bytes) {
        let (number, announced) = self.attachments;
        self.attachments.0 += 1;
        sheet.bytes(0, bytes, format!("attachment {number}, {}", count(bytes.len(), "byte")));
        match self.reassembly.handle_binary(bytes.clone(), &self.limits) {
            Ok(Some(packet)) => sheet.note(format!("now the packet is complete: {}", summary(&packet))),
            Ok(None) => sheet.note(format!("{} still to come", count(announced - number - 1, "attachment"))),
            Err(error) => sheet.problem(0, &error, rules::socket(error)),
        }
    }

    /// Explains a packet in MessagePack.
    pub(super) fn msgpack(&self, sheet: &mut Sheet, bytes: &Bytes) {
        sheet.bytes(0, bytes, format!("MessagePack, {}", count(bytes.len(), "byte")));
        let parser = MessagePack::default();
        match parser.decode(EngineMessage::Binary(bytes.clone()), &self.limits) {
            Ok(Parsed::Packet(packet)) => sheet.inside(None, |sheet| describe(sheet, &packet, self.revision)),
            Ok(_) => sheet.note("an acknowledgement without an id, which peers ignore"),
            Err(error) => sheet.problem(0, &error, rules::msgpack(&error)),
        }
    }
}

/// Says what is in a packet whose fields have no place of their own in the input.
fn describe(sheet: &mut Sheet, packet: &Packet, revision: Revision) {
    sheet.part(0, "type", kind(packet, revision));
    sheet.part(0, "nsp", format!("namespace {}", shown(packet.namespace(), VALUE)));
    match packet {
        Packet::Connect { payload, .. } => {
            if let Some(payload) = payload {
                sheet.part(0, "data", shown(payload, VALUE));
            }
        }
        Packet::Disconnect { .. } => {}
        Packet::Event { name, id, args, .. } => {
            if let Some(id) = id {
                sheet.part(0, "id", format!("{id}: the sender wants an acknowledgement"));
            }
            sheet.part(0, "data", format!("event {}", shown(name, VALUE)));
            arguments(sheet, args);
        }
        Packet::Ack { id, args, .. } => {
            sheet.part(0, "id", format!("{id}: the event that is answered"));
            arguments(sheet, args);
        }
        Packet::ConnectError { payload, .. } => sheet.part(0, "data", shown(payload, VALUE)),
    }
}

fn arguments(sheet: &mut Sheet, args: &sio_proto::socket::Args) {
    for (index, arg) in args.iter().enumerate() {
        sheet.part(0, &format!("[{index}]"), shown(arg, VALUE));
    }
    for (index, bytes) in args.attachments.iter().enumerate() {
        sheet.bytes(0, bytes, format!("bytes {index}, {}", count(bytes.len(), "byte")));
    }
}

/// The name of a packet's type.
pub(super) const fn kind(packet: &Packet, revision: Revision) -> &'static str {
    match packet {
        Packet::Connect { .. } => "CONNECT",
        Packet::Disconnect { .. } => "DISCONNECT",
        Packet::Event { .. } => "EVENT",
        Packet::Ack { .. } => "ACK",
        Packet::ConnectError { .. } if matches!(revision, Revision::Five) => "CONNECT_ERROR",
        Packet::ConnectError { .. } => "ERROR",
    }
}

/// A packet in one line.
pub(super) fn summary(packet: &Packet) -> String {
    match packet {
        Packet::Event { name, args, .. } => {
            format!("event {} with {}", shown(name, VALUE), count(args.len(), "argument"))
        }
        Packet::Ack { id, args, .. } => format!("acknowledgement of {id} with {}", count(args.len(), "argument")),
        other => format!("{} of {}", kind(other, Revision::Five), shown(other.namespace(), VALUE)),
    }
}
