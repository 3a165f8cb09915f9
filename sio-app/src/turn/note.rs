//! What a shard has for the log. It is noted under the shard's lock and told without it.

use sio_proto::SocketKey;
use sio_proto::server::{Breach, Garbled, Generation, TransportKind};

use crate::turn::shard::{Named, ShardCell};

/// Something that has to be logged.
pub(crate) enum Note {
    /// A request was answered with this status.
    Refused(u16),
    /// Too much waits for this socket.
    Overflow(SocketKey),
    /// The client of a session has broken a rule.
    Broken {
        socket: Option<SocketKey>,
        session: Option<(Generation, TransportKind)>,
        ends: bool,
        breach: Breach,
    },
    /// A payload of this socket cannot be read by this codec.
    Garbled(SocketKey, &'static str, Garbled),
}

impl ShardCell {
    /// Logs a note. No lock is held here, because a subscriber of the log may call back into the
    /// server.
    pub(crate) fn tell(&self, note: Note) {
        match note {
            Note::Refused(status) => tracing::debug!(status, "request refused"),
            Note::Overflow(socket) => self.warn_of_overflow(socket),
            Note::Broken {
                socket,
                session,
                ends,
                breach,
            } => tracing::debug!(
                socket = socket.map(Named).map(tracing::field::display),
                generation = session.map(|(generation, _)| tracing::field::display(generation)),
                transport = session.map(|(_, transport)| tracing::field::display(transport)),
                kind = breach.kind().as_str(),
                ends,
                why = breach.text(),
                "a client broke a rule of its protocol"
            ),
            Note::Garbled(socket, codec, garbled) => {
                let (error, looks_like) = (garbled.error, garbled.looks_like);
                self.warnings.garbled.say((self.runtime.now)(), || {
                    tracing::warn!(socket = %Named(socket), codec, looks_like, %error, "a client's payload cannot be read");
                });
            }
        }
    }
}
