//! What a shard has for the log, and whom it wakes. The shard notes it under its lock, and it is
//! done without the lock.

use std::fmt;
use std::task::Waker;
use std::time::Duration;

use sio_proto::SocketKey;
use sio_proto::server::{Breach, Garbled, Generation, Stranger, TransportKind};

use crate::link::wake;
use crate::turn::shard::ShardCell;

/// Something that has to be logged, or somebody who has to be woken.
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
    /// The task of a connection has to learn that its link ends.
    Wake(Waker),
}

/// A socket's name in logs: its slot in its shard, and how often the slot has been used. Unlike the
/// id, this name is of no use to an attacker.
pub(crate) struct Named(pub(crate) SocketKey);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.slot(), self.0.generation())
    }
}

impl ShardCell {
    /// Warns that too much waits for a socket, see [`Mailbox`](crate::turn::mailbox::Mailbox).
    pub(crate) fn warn_of_overflow(&self, socket: SocketKey) {
        self.warnings.overflows.say(
            (self.runtime.now)(),
            || tracing::warn!(socket = %Named(socket), "too many events wait for a handler: the session is closed"),
        );
    }

    /// Warns that a handler has kept its thread for too long.
    pub(crate) fn warn_of_slowness(&self, namespace: &str, event: &str, took: Duration) {
        self.warnings.slow.say((self.runtime.now)(), || {
            let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(namespace, event, millis, "a handler kept its thread, and others waited");
        });
    }

    /// Warns that a request was refused because of its origin or host. An operator who has just set
    /// up the server wants to know which setting would let it in.
    pub(crate) fn warn_of_stranger(&self, stranger: &Stranger) {
        let (origin, host) = (stranger.origin.as_deref(), stranger.host.as_deref());
        self.warnings.strangers.say((self.runtime.now)(), || {
            tracing::warn!(
                origin = origin.unwrap_or("(none)"),
                host = host.unwrap_or("(none)"),
                setting = stranger.why.setting(),
                why = stranger.why.explain(),
                "request refused for where it comes from"
            );
        });
    }

    /// Logs a note, or wakes its task. No lock is held here, because a subscriber of the log, or a
    /// waker, may call back into the server.
    pub(crate) fn tell(&self, note: Note) {
        match note {
            Note::Wake(waker) => wake(Some(waker)),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;
    use crate::tests::{Counted, RUNTIME, server};
    use crate::turn;

    /// A subscriber of the log that panics.
    struct Panics;

    impl Subscriber for Panics {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, _: &Event<'_>) {
            panic!("nobody reads this log");
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    /// A panic of the log takes nothing else with it: others are woken nevertheless.
    #[test]
    fn a_panic_of_the_log_loses_no_waker() {
        let io = server(1);
        let cell = Arc::clone(&io.0.shards.cells[0]);
        let woken = Counted::default();
        tracing::subscriber::with_default(Panics, || {
            turn::run(RUNTIME, |turn| {
                turn.note(Note::Wake(woken.waker()));
                turn.note(Note::Refused(400));
                turn.note(Note::Wake(woken.waker()));
                cell.input("test", turn, |_, _, _| ());
            });
        });
        assert_eq!(woken.take(), 2);
    }
}
