//! Records of recovery that go from one server of a cluster to another.

#![cfg_attr(not(feature = "redis"), allow(dead_code, reason = "only clusters need it"))]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use bytestring::ByteString;
use sio_proto::recovery::{Adopted, RecordKey};
use sio_proto::server::{Form, Message};
use sio_proto::socket::Offset;
use sio_proto::{Sid, Time};

use crate::turn::recovery::{Gone, Recovery, State};
use crate::turn::shards::Shards;
use crate::turn::socket::SocketCell;
use crate::turn::socket_id::SocketId;

/// The longest id of a socket of another server. Genuine servers make 20 characters.
const MAX_ID_BYTES: usize = 128;

/// What other servers have to know of a record.
pub(crate) struct RecordState {
    pub(crate) pid: ByteString,
    pub(crate) socket: Arc<SocketCell>,
    /// Its rooms, each with the place behind which it is in the room, if it is not there as long as
    /// the record.
    pub(crate) rooms: Vec<(ByteString, Option<Offset>)>,
    pub(crate) is_away: bool,
    /// The place from which its client is sent what it has missed if it has seen nothing.
    pub(crate) start: Option<Offset>,
}

/// A record of another server.
pub(crate) struct Arriving {
    pub(crate) pid: ByteString,
    pub(crate) rooms: Vec<(ByteString, Option<Offset>)>,
    pub(crate) start: Option<Offset>,
    /// The socket for the record ([`away_socket`]).
    pub(crate) socket: Arc<SocketCell>,
}

/// A record of the last process, whose client is coming back.
pub(crate) struct Reread {
    pub(crate) socket: Arc<SocketCell>,
    /// The rooms in which it was, with that of its id ([`sio_proto::recovery::Recovery::stays`]).
    pub(crate) stays: Vec<(ByteString, Option<Offset>, Option<Offset>)>,
    /// The place up to which nothing has to be brought, if it is behind the offset of the client.
    pub(crate) kept: Option<Offset>,
    /// The place up to which has to be brought what the client has missed.
    pub(crate) until: Offset,
}

/// A record that was taken over.
pub(crate) struct Adoption {
    pub(crate) key: RecordKey,
    /// The place up to which has to be brought what its client has missed.
    pub(crate) until: Offset,
    /// What was kept here under the same secret, until the client is certain to come back.
    pub(crate) before: Gone,
}

/// Makes the socket for the record of a client that is coming back with `comer`. `None` if its id
/// cannot be that of a socket, or is that of another socket.
pub(crate) fn away_socket(shards: &Shards, comer: &SocketCell, id: &str) -> Option<Arc<SocketCell>> {
    if id.is_empty() || id.len() > MAX_ID_BYTES || shards.find(id).is_some() {
        return None;
    }
    let cell = shards.cells.first()?;
    let drawn = comer.drawn_id().clone();
    let socket = SocketCell::away(Arc::clone(cell), drawn, comer.shared_namespace());
    socket.set_own_id(SocketId::named(id));
    #[cfg(feature = "redis")]
    socket.set_strange();
    Some(Arc::new(socket))
}

impl Recovery {
    /// Other servers speak in the same namespaces
    /// ([`sio_proto::recovery::Recovery::hear_others`]). Call it before any client comes.
    pub(crate) fn hear_others(&self) {
        self.with("others", |state| state.machine.hear_others());
    }

    /// From now on a stream gives messages their places. Call it before any client comes.
    pub(crate) fn follow_stream(&self) {
        self.in_stream.store(true, Ordering::Relaxed);
        self.with("stream", |state| state.machine.follow_stream());
    }

    /// An entry of the stream has been read. With a namespace, it was an event there, which has
    /// been sent.
    pub(crate) fn passed(&self, namespace: Option<&str>, entry: Offset) {
        if !self.is_possible() {
            return;
        }
        self.with("entry", |state| {
            state.machine.pass(entry);
            if let Some(namespace) = namespace {
                state.machine.advanced(namespace, entry);
                if let Some(last) = state.machine.current(namespace) {
                    state.set_last(namespace, last);
                }
            }
        });
    }

    /// How long clients are waited for.
    pub(crate) fn window(&self) -> Duration {
        self.state.lock_for("window").machine.window()
    }

    /// Keeps room for what is being read for an adopted record. Returns false if there is none.
    pub(crate) fn reserve(&self, now: Time, key: RecordKey, bytes: usize) -> bool {
        self.with("reserve", |state| state.machine.reserve(now, key, bytes))
    }

    /// Whether a client may come back to this namespace.
    pub(crate) fn has_records(&self, namespace: &str) -> bool {
        self.last(namespace).is_some()
    }

    /// Whether the client of a record is in a room, connected or away.
    #[cfg(feature = "redis")]
    pub(crate) fn has_member(&self, namespace: &str, room: &str) -> bool {
        self.is_used() && self.state.lock_for("member").machine.has_member(namespace, room)
    }

    /// Whether other servers have gone on without this record, which a store has kept
    /// ([`sio_proto::recovery::Recovery::is_behind`]).
    pub(crate) fn is_behind(&self, key: RecordKey) -> bool {
        self.state.lock_for("behind").machine.is_behind(key)
    }

    /// Finds such a record by the id of its socket.
    #[cfg(feature = "redis")]
    pub(crate) fn find_behind(&self, namespace: &ByteString, id: &str) -> Option<RecordKey> {
        let key = self.ids.holder(namespace, id)?.record()?;
        self.is_behind(key).then_some(key)
    }

    /// The client of such a record is coming back, and no other server has had it since.
    pub(crate) fn reread(&self, key: RecordKey, offset: Option<&str>) -> Option<Reread> {
        self.with("reread", |state| {
            let machine = &mut state.machine;
            let socket = machine.data(key).filter(|socket| !socket.is_final()).cloned()?;
            let until = machine.reread(key)?;
            Some(Reread {
                stays: machine.stays(key),
                kept: machine.kept_until(key, offset),
                socket,
                until,
            })
        })
    }

    /// Takes over a record. What was kept here under the same secret ends. The application is told
    /// of this only if the client does not come back to the new record ([`Self::take_back`]).
    pub(crate) fn adopt(&self, now: Time, comer: &SocketCell, arriving: Arriving) -> Option<Adoption> {
        let Arriving {
            pid,
            rooms,
            start,
            socket,
        } = arriving;
        let (mut gone, mut before) = (Gone::default(), Gone::default());
        let adopted = self.with("adopt", |state| {
            state.note_first(now);
            if let Some(known) = state.machine.find(socket.namespace(), &pid) {
                state.take_away(known, &mut before);
            }
            let id = socket.id().clone();
            // Another client that is waited for has it: the record lies.
            if state.ids.has(&id) {
                return None;
            }
            let adopted = Adopted {
                namespace: socket.namespace().clone(),
                pid,
                sid: Sid::parse(comer.drawn_id())?,
                id: id.as_str().into(),
                rooms: rooms.into_iter().filter(|(room, _)| **room != *id).collect(),
                start,
                network: comer.load().network(),
                data: Arc::clone(&socket),
                bytes: socket.away_bytes(),
            };
            let adopted = state.machine.adopt(now, adopted, &mut gone.expired)?;
            state.ids.pass_on(&id, &socket);
            state.seat_away(adopted.0, &socket);
            Some(adopted)
        });
        gone.tell();
        match adopted {
            Some((key, until)) => Some(Adoption { key, until, before }),
            None => {
                before.tell();
                None
            }
        }
    }

    /// Ends a record because what its client has missed cannot be brought. `before` is what was
    /// kept for the client before: the application knows that socket, and no other one.
    pub(crate) fn take_back(&self, key: RecordKey, before: Gone) {
        if before.expired.is_empty() {
            return self.take_away(key);
        }
        let mut gone = Gone::default();
        self.with("take back", |state| state.take_away(key, &mut gone));
        drop(gone);
        before.tell();
    }

    /// Keeps what the client of an adopted record has missed. Returns false if there is no room.
    pub(crate) fn bring(&self, now: Time, key: RecordKey, messages: Vec<(Offset, Message)>) -> bool {
        let mut arena = sio_proto::Arena::default();
        let kept = messages.into_iter().filter_map(|(place, message)| {
            let (kept, bytes) = message.kept(&mut arena)?;
            Some((place, bytes, kept))
        });
        let kept = kept.collect();
        self.with("bring", |state| state.machine.bring(now, key, kept))
    }

    /// What other servers have to know of a record, if it is kept. They are told nothing of a
    /// record that is behind: what they have of it is as new, or newer.
    pub(crate) fn record_state(&self, key: RecordKey) -> Option<RecordState> {
        self.with("record", |state| {
            let machine = &state.machine;
            let socket = machine.data(key).filter(|socket| !socket.is_final())?;
            if machine.is_behind(key) {
                return None;
            }
            Some(RecordState {
                pid: machine.pid(key)?,
                socket: Arc::clone(socket),
                rooms: machine.rooms_since(key),
                is_away: machine.is_away(key),
                start: machine.start(key),
            })
        })
    }

    /// Finds the record of a secret.
    pub(crate) fn find_record(&self, namespace: &str, pid: &str) -> Option<RecordKey> {
        self.with("find", |state| state.machine.find(namespace, pid))
    }

    /// Ends a record, because its client has come back to another server. If its old connection
    /// still stands, it is closed.
    pub(crate) fn take_away(&self, key: RecordKey) {
        let mut gone = Gone::default();
        let socket = self.with("take away", |state| {
            let socket = state.machine.data(key).cloned();
            state.take_away(key, &mut gone);
            socket
        });
        if let Some(socket) = socket.filter(|socket| !socket.is_gone()) {
            socket.disconnect(true);
        }
        gone.tell();
    }

    /// The keys of all records.
    pub(crate) fn all_records(&self) -> Vec<RecordKey> {
        self.keys()
    }
}

impl State {
    /// Ends a record whose client has gone to another server.
    pub(super) fn take_away(&mut self, key: RecordKey, gone: &mut Gone) {
        let is_away = self.machine.is_away(key);
        if let Some(expired) = self.machine.expire(key) {
            self.ids.release(&expired.data);
            match is_away {
                true => gone.expired.push(expired),
                // The application hears of the end of the connection.
                false => gone.dropped.push(expired.data),
            }
        }
    }

    /// Notes the last number of a namespace.
    pub(super) fn set_last(&self, namespace: &str, last: Offset) {
        self.lasts.set(namespace, last);
    }
}

/// Encodes an event with its place, for clients of 4.x.
pub(crate) fn encode_for_clients(shards: &Shards, mut message: Message, place: Offset) -> Option<(Offset, Message)> {
    message.set_offset(Some(place));
    message
        .encode(Form::Engine4, &shards.config, &mut BytesMut::new())
        .ok()?;
    Some((place, message))
}
