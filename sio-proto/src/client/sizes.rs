//! Packets that are larger than the server takes. It says so in its open packet (`maxPayload`,
//! docs/protocol/engine-io.md §2), and ends the connection of a client that sends more. A client
//! that sent such an event again would never have another connection.

use super::emit::Emit;
use super::emits::EmitError;
use super::event::NotSent;
use super::manager::{Client, Stage};
use super::socket::Receipts;
use crate::socket::{Args, Packet};

/// What a packet has besides its namespace, its name and its arguments, at most.
const MOST_AROUND: usize = 128;

/// How many bytes the parser of a user is assumed to make of one byte of an argument, at most.
/// MessagePack makes nine bytes of `0.1,`. The size of an event is not checked if this assumption
/// says that the event is small.
const MOST_OF_PARSER: usize = 4;

/// A packet is larger than the server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge {
    /// The bytes of its largest message, as the present transport carries it.
    pub(super) bytes: usize,
    /// The most that the server takes.
    pub(super) max: usize,
}

impl From<TooLarge> for EmitError {
    fn from(TooLarge { bytes, max }: TooLarge) -> Self {
        Self::TooLarge { bytes, max }
    }
}

impl Client {
    /// Checks the size of an event before it is taken. The limit is only known on a connection.
    pub(super) fn check_event(&mut self, at: usize, emit: &Emit, has_id: bool) -> Result<(), TooLarge> {
        if !self.may_be_too_large(at, &emit.name, &emit.args) {
            return Ok(());
        }
        let packet = self.sockets[at].draft(&emit.name, &emit.args, has_id);
        self.check_packet(&packet)
    }

    /// Ends the event that is next in the queue of a namespace if the server does not take it:
    /// it was emitted without a connection, or on one whose server took more. Returns whether
    /// there was such an event.
    pub(super) fn refuse_too_large(&mut self, at: usize, may_drain: bool) -> bool {
        let Some(event) = self.sockets[at].next_event(&self.config, may_drain) else {
            return false;
        };
        if !self.may_be_too_large(at, &event.name, &event.args) {
            return false;
        }
        let packet = self.sockets[at].draft(&event.name, &event.args, event.wants_ack || event.retries);
        if self.check_packet(&packet).is_ok() {
            return false;
        }
        let mut receipts = Receipts::new();
        self.sockets[at].remove_first(NotSent::TooLarge, &mut receipts);
        self.report(receipts);
        true
    }

    /// Checks the answer to an event of the server.
    pub(super) fn check_answer(&mut self, at: usize, id: u64, args: &Args) -> Result<(), TooLarge> {
        if !self.may_be_too_large(at, "", args) {
            return Ok(());
        }
        let namespace = self.sockets[at].namespace.clone();
        let args = args.clone();
        self.check_packet(&Packet::Ack { namespace, id, args })
    }

    /// Checks the size of a packet as the session would carry it now.
    pub(super) fn check_packet(&mut self, packet: &Packet) -> Result<(), TooLarge> {
        let packed = self.encode(packet);
        let Stage::Session(session) = &self.stage else {
            return Ok(());
        };
        let max = session.max_payload();
        let bytes = packed.iter().map(|packed| session.carried_len(packed)).max();
        match bytes {
            Some(bytes) if bytes > max => Err(TooLarge { bytes, max }),
            _ => Ok(()),
        }
    }

    /// Whether it is worth encoding the packet to learn its size. Most packets are far below.
    fn may_be_too_large(&self, at: usize, name: &str, args: &Args) -> bool {
        let Stage::Session(session) = &self.stage else {
            return false;
        };
        // An escaped character has six bytes, and base64 a third more than its bytes.
        let of_args = match self.config.parser {
            None => args.bytes().saturating_mul(2),
            Some(_) => args.bytes().saturating_mul(MOST_OF_PARSER),
        };
        let around = MOST_AROUND + self.sockets[at].namespace.len() + 6 * name.len();
        of_args.saturating_add(around) > session.max_payload()
    }
}
