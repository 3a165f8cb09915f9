//! A client that comes back, and what its socket knows of it.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use sio_proto::Time;
use sio_proto::json;
use sio_proto::recovery::{Absence, NotRecovered, RecordKey};
use sio_proto::server::Form;

use crate::lock::Mutex;
use crate::turn::admit::Stopped;
use crate::turn::heard::Heard;
use crate::turn::last_number::LastNumber;
use crate::turn::recovery::{Gone, State};
use crate::turn::socket::SocketCell;
use crate::turn::socket_id::SocketId;
use crate::turn::table::Table;

/// Whether a socket has gone on where an earlier socket of its client has ended. A
/// [`Socket::recovery`](crate::Socket::recovery) returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Comeback {
    /// The client has not asked to be recovered, or its namespace has no recovery.
    New,
    /// The client has come back: the socket has the id, the rooms and the data that it had before.
    Recovered {
        /// How many messages the client had missed. They were sent to it before any other message.
        missed: usize,
    },
    /// The client has asked to be recovered, and could not be. It has a new socket, and has missed
    /// what was sent meanwhile.
    Lost(NotRecovered),
}

/// What a socket of a namespace with recovery knows of its client.
#[derive(Default)]
pub(crate) struct Seat {
    /// The socket that the client had before.
    former: Option<Former>,
    /// The same socket, until it is decided whether this one is let in. Then it is let go, because
    /// it may itself have had one before.
    old: Mutex<Option<Arc<SocketCell>>>,
    /// When the credentials of the same socket ended, when the client was recognised.
    old_expiry: Option<Time>,
    /// The record of a client that could not be recovered.
    stale: Option<RecordKey>,
    /// Whether no middleware has been asked, because the client was recognised.
    skipped: AtomicBool,
    absence: Option<Absence>,
    /// How many events have been had, if the client has asked for confirmations.
    heard: Option<Heard>,
    record: OnceLock<(RecordKey, Arc<LastNumber>)>,
    outcome: OnceLock<Comeback>,
}

/// Where the client of a socket is.
pub(crate) enum Present {
    /// It is connected, by this socket.
    Here(Arc<SocketCell>),
    /// It has lost its connection, and may come back. This is the last socket that it had.
    Away(Arc<SocketCell>),
    /// It does not come back as the same socket.
    Gone,
}

impl SocketCell {
    /// Returns the socket by which the client is connected now: this one, or the socket with which
    /// the client has come back.
    pub(crate) fn present(self: &Arc<Self>) -> Present {
        if self.is_connected() {
            return Present::Here(Arc::clone(self));
        }
        let heir = match self.record() {
            Some(record) => self.cell.recovery.with("present", |state| state.heir(record)),
            None => None,
        };
        match heir {
            Some(heir) if heir.is_connected() => Present::Here(heir),
            Some(heir) => Present::Away(heir),
            None => Present::Gone,
        }
    }
}

/// The socket that a client had before.
pub(crate) struct Former {
    pub(super) key: RecordKey,
    pub(super) id: SocketId,
    /// The offset of the last message that the client has seen.
    pub(super) offset: Option<Box<str>>,
    /// The number of this recognition. Later ones have higher numbers.
    pub(super) recognition: u64,
}

/// Where the client of a secret says that it is.
#[derive(Clone, Copy)]
pub(super) struct ShownPlace<'a> {
    pub(super) pid: &'a str,
    /// The offset of the last message that it has seen.
    pub(super) offset: Option<&'a str>,
    /// How many of its events were confirmed, if it asks for confirmations.
    pub(super) confirmed: Option<u64>,
}

/// What a client shows in its CONNECT (docs/protocol/socket-io.md §6). What is of another type than
/// it should be is not shown.
#[derive(Default)]
struct Shown<'a> {
    pid: Option<Cow<'a, str>>,
    offset: Option<Cow<'a, str>>,
    /// How many of its events were confirmed (docs/protocol/extensions.md §2). Who shows a number
    /// asks for confirmations.
    confirmed: Option<u64>,
}

impl<'a> Shown<'a> {
    /// Reads an `auth`. Of two members with one name, the last counts, as for `JSON.parse`.
    fn read(auth: &'a str) -> Self {
        let text = |value: &'a str| value.starts_with('"').then(|| json::unescape(value));
        let mut shown = Self::default();
        for (name, value) in json::members(auth) {
            match &*json::unescape(name) {
                "pid" => shown.pid = text(value),
                "offset" => shown.offset = text(value),
                "sio.confirmed" => shown.confirmed = value.parse().ok(),
                _ => {}
            }
        }
        shown
    }
}

impl Seat {
    /// Returns the socket that the client had before, unless the client could not be recovered.
    pub(super) fn former(&self) -> Option<&Former> {
        let former = self.former.as_ref()?;
        match self.outcome.get() {
            Some(Comeback::Lost(_)) => None,
            _ => Some(former),
        }
    }

    pub(super) fn former_id(&self) -> Option<&SocketId> {
        self.former().map(|former| &former.id)
    }

    /// Returns the number of the recognition of the client; 0 for a client that is new.
    pub(super) fn recognition(&self) -> u64 {
        self.former.as_ref().map_or(0, |former| former.recognition)
    }

    pub(super) fn stale(&self) -> Option<RecordKey> {
        let former = self.former.as_ref().map(|former| former.key);
        match self.outcome.get() {
            Some(Comeback::Lost(_)) => self.stale.or(former),
            _ => None,
        }
    }

    /// Returns when the credentials of the socket that the client had before ended, when the client
    /// was recognised.
    pub(super) const fn old_expiry(&self) -> Option<Time> {
        self.old_expiry
    }

    /// Takes out the socket that the client had before.
    pub(super) fn take_old(&self) -> Option<Arc<SocketCell>> {
        self.old.lock().take()
    }

    /// `old` is the socket that the client had before. Returns why the new one must not be let in:
    /// its client could not be recovered, although it was recognised, and nobody has decided about
    /// it as about a new client.
    pub(super) fn stopped(&self, old: Option<&Arc<SocketCell>>, table: &Table) -> Option<Stopped> {
        if old.is_some_and(|old| old.is_final()) {
            return Some(Stopped::Ended);
        }
        let skipped = self.skipped.swap(false, Ordering::Relaxed);
        (skipped && !table.middleware.is_empty()).then_some(Stopped::Undecided)
    }

    /// Returns the count of the events that have been had, if they are counted.
    pub(super) const fn heard(&self) -> Option<&Heard> {
        self.heard.as_ref()
    }

    #[inline]
    pub(super) fn record(&self) -> Option<RecordKey> {
        self.record.get().map(|(key, _)| *key)
    }

    /// Returns the record of the client, and the last number of the namespace.
    #[inline]
    pub(super) fn numbered(&self) -> Option<(RecordKey, &LastNumber)> {
        self.record.get().map(|(key, last)| (*key, &**last))
    }

    pub(super) fn set_record(&self, key: RecordKey, last: Arc<LastNumber>) {
        let _ = self.record.set((key, last));
    }

    pub(super) fn outcome(&self) -> Comeback {
        self.outcome.get().copied().unwrap_or(Comeback::New)
    }

    /// Returns how long the client was away, if it was recognised.
    pub(super) const fn absence(&self) -> Option<Absence> {
        self.absence
    }

    pub(super) fn decide(&self, outcome: Comeback) {
        let _ = self.outcome.set(outcome);
    }
}

impl State {
    /// Whether the client of a record has been recognised again since, and has come back. Whoever
    /// was recognised earlier stands on a connection that the client has left.
    pub(super) fn is_overtaken(&self, former: &Former) -> bool {
        let seat = self.machine.data(former.key).and_then(|known| known.seat());
        seat.is_some_and(|seat| seat.recognition() > former.recognition)
    }

    /// Lets a socket know its record that stands for a client of another process or server.
    pub(super) fn seat_away(&mut self, key: RecordKey, socket: &SocketCell) {
        if let Some(last) = self.last_of(socket.namespace()) {
            let seat = Seat::default();
            seat.set_record(key, last);
            socket.set_seat(seat);
        }
    }

    /// Gives a record back to the socket that had it before, because the socket that has claimed it
    /// is not let in. The client is waited for.
    pub(super) fn give_back(&mut self, now: Time, former: &Former, old: &Arc<SocketCell>, gone: &mut Gone) {
        let Some(known) = self.machine.data_mut(former.key) else {
            return;
        };
        gone.dropped.push(std::mem::replace(known, Arc::clone(old)));
        self.ids.pass_on(&former.id, old);
        self.end(now, former.key, old, gone);
    }
}

/// Whether the client of a socket may come back, now or later.
fn may_recover(socket: &SocketCell, table: &Table) -> bool {
    let by_default = socket.cell.recovery.by_default;
    socket.form == Form::Engine4 && table.recovers.unwrap_or(by_default)
}

/// Returns the secret and the offset that the client of a socket shows, if it wants to come back
/// and may.
#[cfg(feature = "redis")]
pub(crate) fn shown(socket: &SocketCell, table: &Table) -> Option<(String, Option<String>)> {
    if !may_recover(socket, table) {
        return None;
    }
    let shown = Shown::read(socket.auth_json()?);
    Some((shown.pid?.into_owned(), shown.offset.map(Cow::into_owned)))
}

/// Looks whether the client of a socket comes back. If it does, the socket has its old id and its
/// old data from now on, so that middlewares see them. Returns true if the middlewares are skipped.
/// `lost` says why it does not, if other servers have been asked and this is known.
pub(super) fn recognise(socket: &Arc<SocketCell>, table: &Table, lost: Option<NotRecovered>) -> bool {
    let recovery = &socket.cell.recovery;
    if !may_recover(socket, table) {
        return false;
    }
    let shown = socket.auth_json().map(Shown::read).unwrap_or_default();
    let mut seat = Seat::default();
    let confirmed = shown.confirmed.filter(|_| recovery.confirms);
    seat.heard = confirmed.map(|_| Heard::default());
    let (mut is_back, mut is_strange) = (false, false);
    if let Some(pid) = &shown.pid {
        let shown = ShownPlace {
            pid,
            offset: shown.offset.as_deref(),
            confirmed,
        };
        let recognised = match lost {
            Some(why) => Err((why, None)),
            None => recovery.recognise(socket.now(), socket.namespace(), shown, &mut seat.absence),
        };
        match recognised {
            Ok((former, old)) => {
                old.thaw();
                is_strange = old.is_strange();
                socket.take_data_of(&old);
                seat.old_expiry = socket.expiry();
                seat.former = Some(former);
                seat.old = Mutex::new(Some(old));
                is_back = true;
            }
            Err((why, key)) => {
                seat.stale = key;
                seat.decide(Comeback::Lost(why));
            }
        }
    }
    // What middlewares of another server have set is not here: data, and the end of credentials.
    let skips = is_back && recovery.skips_middlewares && !is_strange;
    seat.skipped = AtomicBool::new(skips);
    socket.set_seat(seat);
    skips
}
