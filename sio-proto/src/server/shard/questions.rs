//! What a shard tells of itself and of its sockets.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytestring::ByteString;

use super::{Config, Counters, Form, Forms, Held, SessionKey, Shard, SocketKey, Target, TransportKind};

/// Questions.
impl Shard {
    /// The settings, as validated.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.core.config
    }

    /// How many sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many sessions there are and have been, by generation and transport.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// What the shard holds now, besides its sessions.
    #[must_use]
    pub fn held(&self) -> Held {
        let (sockets, namespaces, rooms) = self.core.membership.counts();
        Held {
            sockets,
            namespaces,
            rooms,
            timers: self.core.timers.len(),
        }
    }

    /// How many sessions have begun, and how many have ended, in one number. While it stays the
    /// same, so do [`Shard::sessions`] and [`Shard::forms_in_use`].
    #[must_use]
    pub const fn turnover(&self) -> u64 {
        self.core.turnover
    }

    /// The forms that the sessions of this shard need now.
    #[must_use]
    pub fn forms_in_use(&self) -> Forms {
        let fixed = Form::FIXED
            .into_iter()
            .filter(|form| self.core.counters.is_present(form.generation()));
        let plain = (0..).map(Form::Plain).zip(&self.core.plain_sessions);
        let plain = plain.filter_map(|(form, sessions)| (*sessions > 0).then_some(form));
        let mut forms = Forms::default();
        fixed.chain(plain).for_each(|form| forms.insert(form));
        forms
    }

    /// The connected socket with this id, if it lives in this shard. The id is the public id, or
    /// the id by which the client knows itself. If several sockets of a session share such an id
    /// ([`WireId`](crate::WireId)), the result is the socket in `/`.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<SocketKey> {
        self.find_named(None, id)
    }

    /// The rooms of a socket, without the room of its own id.
    #[must_use]
    pub fn rooms(&self, socket: SocketKey) -> Vec<ByteString> {
        let core = &self.core;
        match core.membership.find(socket) {
            Some(_) => core.membership.rooms_of(socket.slot),
            None => Vec::new(),
        }
    }

    /// The sockets of a target.
    #[must_use]
    pub fn members(&mut self, target: &Target) -> Vec<SocketKey> {
        self.targeted(target)
            .into_iter()
            .map(|m| self.core.membership.key(m.socket))
            .collect()
    }

    /// The transport of a raw Engine.IO session.
    #[must_use]
    pub fn engine_transport(&self, session: SessionKey) -> Option<TransportKind> {
        self.sessions.named(session).map(|session| session.transport)
    }

    /// The transport of a socket's session.
    #[must_use]
    pub fn transport(&self, socket: SocketKey) -> Option<TransportKind> {
        let entry = self.core.membership.find(socket)?;
        self.sessions.get(entry.session).map(|s| s.transport)
    }
}
