//! What the users of both ends do.

use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use sio_proto::SocketKey;
use sio_proto::client::{Emit, Generation, Offline};
use sio_proto::server::{AckRequest, Message, Target};
use sio_proto::socket::Args;

use super::{Emitted, NAMESPACES, World, is_plain};
use crate::cursor::Cursor;

impl World {
    /// The arguments of an event: its number, and filling.
    pub(super) fn args(&self, number: usize, choice: u8) -> Args {
        if is_plain(self.generation) {
            return ByteString::from(number.to_string()).into();
        }
        match choice & 3 {
            0 => ByteString::from(number.to_string()).into(),
            1 => ByteString::from(format!("{number},{{\"a\":\"é😀\"}}")).into(),
            2 => ByteString::from(format!("{number},\"{}\"", "x".repeat(usize::from(choice)))).into(),
            _ if self.generation == Generation::V0_9 => ByteString::from(format!("{number},null")).into(),
            _ => Args {
                json: format!("{number},{{\"_placeholder\":true,\"num\":0}}").into(),
                attachments: vec![Bytes::copy_from_slice(&[choice, 0, 255])],
                ..Args::default()
            },
        }
    }

    pub(super) const fn event_name(&self) -> &'static str {
        if is_plain(self.generation) { "message" } else { "n" }
    }

    pub(super) fn client_emit(&mut self, input: &mut Cursor<'_>) {
        let (kind, choice) = (input.byte(), input.byte());
        let namespace = usize::from(kind >> 6 == 3 && !is_plain(self.generation));
        let number = self.emitted;
        self.emitted += 1;
        let mut emit = Emit::new(self.event_name(), self.args(number, choice)).offline(match kind & 7 {
            0 => Offline::Reject,
            1 => Offline::Volatile,
            2 => Offline::Newest("k".into()),
            _ => Offline::Queue,
        });
        if kind & 8 != 0 && !is_plain(self.generation) {
            emit = emit.ack();
        }
        if let Ok(id) = self.client.emit(self.now, self.sockets[namespace], emit) {
            let known = self.emits.insert(id, Emitted { number, namespace });
            assert!(known.is_none(), "an id is used twice");
        }
    }

    pub(super) fn server_emit(&mut self, input: &mut Cursor<'_>) {
        let Some((socket, namespace)) = input.one_of(&self.peers).cloned() else {
            return;
        };
        let choice = input.byte();
        let number = self.said;
        self.said += 1;
        let asks = choice & 4 != 0 && !is_plain(self.generation);
        let request = asks.then(|| {
            self.questions += 1;
            AckRequest {
                id: self.questions,
                timeout: (choice & 8 != 0).then_some(Duration::from_secs(2)),
            }
        });
        let args = self.args(number, choice);
        let mut message = Message::event(
            namespace,
            self.event_name().into(),
            args,
            request.map(|request| request.id),
        );
        let sent = self
            .server
            .shard(self.now, |shard, _| shard.emit(self.now, socket, &mut message, request));
        if let (Ok(()), Some(request)) = (sent, request) {
            self.asked.insert((socket, request.id), number);
        }
    }

    pub(super) fn server_broadcast(&mut self, input: &mut Cursor<'_>) {
        let choice = input.byte();
        let namespace = ByteString::from(NAMESPACES[usize::from(choice >> 7)]);
        let number = self.said;
        self.said += 1;
        let rooms = match choice & 3 {
            0 => vec!["red".into()],
            1 => vec!["red".into(), "green".into()],
            _ => Vec::new(),
        };
        let target = Target {
            namespace: namespace.clone(),
            rooms,
            ..Target::default()
        };
        let args = self.args(number, choice >> 2);
        let mut message = Message::event(namespace, self.event_name().into(), args, None).volatile(choice & 64 != 0);
        self.server.shard(self.now, |shard, out| {
            shard.broadcast(self.now, &target, &mut message, out)
        });
    }

    /// One of the two ends answers one of its questions.
    pub(super) fn answer(&mut self, input: &mut Cursor<'_>) {
        let choice = input.byte();
        match choice & 1 {
            0 if !self.tickets.is_empty() => {
                let (ticket, number) = self.tickets.remove(usize::from(choice >> 1) % self.tickets.len());
                let _ = self
                    .client
                    .answer(self.now, ticket, ByteString::from(number.to_string()).into());
            }
            1 if !self.owed.is_empty() => {
                let owed = self.owed.remove(usize::from(choice >> 1) % self.owed.len());
                self.pay(owed);
            }
            _ => {}
        }
    }

    pub(super) fn pay(&mut self, (socket, namespace, id, args): (SocketKey, ByteString, u64, Args)) {
        let mut answer = Message::ack(namespace, id, args);
        let _ = self
            .server
            .shard(self.now, |shard, _| shard.emit(self.now, socket, &mut answer, None));
    }
}
