//! The records of clients in the broker, so that a client can come back to any node, also when this
//! one is killed.
//!
//! A record is written when a socket is let in, when its rooms or its shared data change, when its
//! client goes away, and again before the broker forgets it. Changes within [`DELAY`] are written
//! together, so what an application does in a connect handler costs one command. Messages cost
//! none.
//!
//! The broker keeps the record of a client that is here for three windows, and that of a client
//! that is away for one, as genuine nodes do.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use sio_proto::Time;
use sio_proto::broker::{Answer, BrokerError, Command, Request};
use sio_proto::cluster::messages::Session;
use sio_proto::cluster::{forget, home};
use sio_proto::recovery::RecordKey;
use sio_proto::socket::Offset;

use super::{Asked, ClusterNode, State};
use crate::turn::adopting::RecordState;
use crate::turn::socket::SocketCell;
use crate::user::inner::Inner;
use crate::user::socket::Socket;

/// How long changes are put together.
const DELAY: Duration = Duration::from_millis(10);

/// How many records are written at once. The rest follows after the next delay.
const PORTION: usize = 256;

/// How long the node waits before it writes the records again that the broker has not taken.
const RETRY: Duration = Duration::from_secs(2);

/// How many records are kept in mind that the broker has not deleted. Beyond, the oldest ones stay
/// there until their time is over.
const MOST_UNERASED: usize = 16_384;

/// What this node has written.
#[derive(Default)]
pub(super) struct Sessions {
    known: HashMap<RecordKey, Known>,
    /// The records by the ids of their sockets.
    ids: HashMap<(ByteString, ByteString), RecordKey>,
    changed: VecDeque<RecordKey>,
    is_changed: HashSet<RecordKey>,
    due: Option<Time>,
    /// Records that the broker has not taken, and when they are written again.
    refused: HashSet<RecordKey>,
    retry: Option<Time>,
    /// The secrets of records that the broker has not deleted, and since when. Each has 64 bytes at
    /// most.
    unerased: VecDeque<(Time, ByteString)>,
    /// When all records are written again.
    refresh: Option<Time>,
    /// Records that were too large for other nodes.
    pub(super) unwritten: u64,
}

struct Known {
    namespace: ByteString,
    pid: ByteString,
    id: ByteString,
    /// Whether the broker has it, as far as is known. Then it is not made again if it has gone: its
    /// client may have come back to another node.
    is_written: bool,
    /// Whether the broker has been asked to write it and has not answered. Until then it is not
    /// asked again, because a record must not come into being behind its client's back.
    is_asked: bool,
    /// Whether it has changed since.
    is_stale: bool,
    /// The id that this node had in the namespace when the client was last seen here. A namespace
    /// of a rule is left by the node when nobody is there and nobody is waited for, and what others
    /// say there until the next one comes is not heard. Then the node has another id.
    heard_as: Option<ByteString>,
}

impl Sessions {
    fn mark(&mut self, key: RecordKey, now: Time) {
        if self.is_changed.insert(key) {
            self.changed.push_back(key);
        }
        self.due.get_or_insert(now + DELAY);
    }

    fn note_unerased(&mut self, now: Time, pid: ByteString) {
        if self.unerased.len() >= MOST_UNERASED {
            self.unerased.pop_front();
        }
        self.unerased.push_back((now, pid));
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        [self.due, self.retry, self.refresh].into_iter().flatten().min()
    }

    pub(super) fn find(&self, namespace: &ByteString, id: &ByteString) -> Option<RecordKey> {
        self.ids.get(&(namespace.clone(), id.clone())).copied()
    }

    pub(super) fn is_written(&self, key: RecordKey) -> bool {
        self.known.get(&key).is_some_and(|known| known.is_written)
    }

    /// Forgets the records that have ended unused: the broker forgets them by itself.
    fn sweep(&mut self, alive: &HashSet<RecordKey>) {
        self.known.retain(|key, _| alive.contains(key));
        self.ids.retain(|_, key| self.known.contains_key(key));
    }

    pub(super) fn forget(&mut self, key: RecordKey) -> Option<ByteString> {
        let known = self.known.remove(&key)?;
        let place = (known.namespace, known.id);
        if self.ids.get(&place) == Some(&key) {
            self.ids.remove(&place);
        }
        Some(known.pid)
    }
}

impl ClusterNode {
    #[cfg(test)]
    pub(crate) fn known_records(&self) -> usize {
        let sessions = &self.state.lock().sessions;
        assert_eq!(sessions.known.len(), sessions.ids.len());
        sessions.known.len()
    }

    /// How many records are to be written, and to be deleted.
    #[cfg(test)]
    pub(crate) fn due_records(&self) -> (usize, usize) {
        let sessions = &self.state.lock().sessions;
        assert_eq!(sessions.changed.len(), sessions.is_changed.len());
        (sessions.changed.len(), sessions.unerased.len())
    }

    /// The record of a socket has begun, changed or ended.
    pub(in crate::user) fn record_changed(self: &Arc<Self>, server: &Arc<Inner>, socket: &SocketCell) {
        let Some(key) = socket.record().filter(|_| self.follows_stream()) else {
            return;
        };
        let is_over = socket.is_final();
        let at_once = socket.is_gone();
        self.with_state(|state, now| {
            if is_over {
                // The client that has said goodbye cannot come back.
                if let Some(pid) = state.sessions.forget(key) {
                    self.erase(state, now, pid);
                }
                return;
            }
            if !self.is_up() {
                // All records are written when the broker is back.
                return;
            }
            state.sessions.mark(key, now);
            if at_once {
                state.sessions.due = Some(now);
            }
        });
        if at_once {
            self.write_records(server);
        }
    }

    /// Deletes the record with this secret, which this process has not written.
    pub(in crate::user) fn forget_record(self: &Arc<Self>, pid: ByteString) {
        self.with_state(|state, now| self.erase(state, now, pid));
    }

    /// Whether this node has heard all that was said in the namespace of a record since the client
    /// was last seen here.
    pub(super) fn has_heard_all(&self, key: RecordKey) -> bool {
        let state = self.state.lock();
        let known = state.sessions.known.get(&key);
        known.is_some_and(|known| {
            let here = state.node.id(&known.namespace).map(|here| here.as_text());
            here.is_some() && known.heard_as.as_ref() == here
        })
    }

    /// Makes the broker have a record that was taken out.
    pub(super) fn put_back(self: &Arc<Self>, key: RecordKey) {
        self.with_state(|state, now| {
            if let Some(known) = state.sessions.known.get_mut(&key) {
                known.is_written = false;
            }
            state.sessions.mark(key, now);
        });
    }

    /// The broker may have forgotten everything.
    pub(super) fn write_all_records(self: &Arc<Self>, server: &Inner) {
        let keys = server.shards.recovery.all_records();
        self.with_state(|state, now| {
            for known in state.sessions.known.values_mut() {
                known.is_written = false;
            }
            keys.into_iter().for_each(|key| state.sessions.mark(key, now));
        });
    }

    /// Takes the time.
    pub(super) fn keep_records(self: &Arc<Self>, server: &Arc<Inner>) {
        let now = (self.runtime.now)();
        let window = server.shards.recovery.window();
        let (is_due, refreshes, retries) = {
            let sessions = &mut self.state.lock().sessions;
            let retries = sessions.retry.is_some_and(|retry| retry <= now);
            if retries {
                sessions.retry = None;
                let refused = std::mem::take(&mut sessions.refused);
                refused.into_iter().for_each(|key| sessions.mark(key, now));
            }
            let is_over = sessions.refresh.is_some_and(|refresh| refresh <= now);
            if is_over || sessions.refresh.is_none() && !sessions.known.is_empty() {
                sessions.refresh = Some(now + window);
            }
            (sessions.due.is_some_and(|due| due <= now), is_over, retries)
        };
        if retries && self.is_up() {
            self.erase_again(window);
        }
        if refreshes {
            let keys = server.shards.recovery.all_records();
            let is_here = |key: &RecordKey| server.shards.recovery.record_state(*key).is_some_and(|it| !it.is_away);
            let here: Vec<_> = keys.iter().copied().filter(is_here).collect();
            let alive = keys.into_iter().collect();
            self.with_state(|state, now| {
                state.sessions.sweep(&alive);
                here.into_iter().for_each(|key| state.sessions.mark(key, now));
            });
        }
        if is_due {
            self.write_records(server);
        }
    }

    fn write_records(self: &Arc<Self>, server: &Arc<Inner>) {
        let keys: Vec<RecordKey> = {
            let sessions = &mut self.state.lock().sessions;
            if !self.is_up() {
                // All records are written when the broker is back.
                sessions.due = None;
                sessions.changed.clear();
                sessions.is_changed.clear();
                return;
            }
            let most = sessions.changed.len().min(PORTION);
            sessions.changed.drain(..most).collect()
        };
        let window = server.shards.recovery.window();
        for key in &keys {
            {
                let sessions = &mut self.state.lock().sessions;
                sessions.is_changed.remove(key);
                if let Some(known) = sessions.known.get_mut(key).filter(|known| known.is_asked) {
                    known.is_stale = true;
                    continue;
                }
            }
            let Some(record) = server.shards.recovery.record_state(*key) else {
                // It has ended unused. The broker forgets it by itself.
                self.state.lock().sessions.forget(*key);
                continue;
            };
            self.write_record(server, *key, record, window);
        }
        self.with_state(|state, now| {
            state.sessions.due = (!state.sessions.changed.is_empty()).then(|| now + DELAY);
        });
    }

    fn write_record(self: &Arc<Self>, server: &Inner, key: RecordKey, record: RecordState, window: Duration) {
        let RecordState {
            pid,
            socket,
            rooms,
            is_away,
            start,
        } = record;
        let id = ByteString::from(socket.id().as_str());
        let namespace = socket.namespace().clone();
        let data = Socket(socket).shared_data_json();
        let now = (self.runtime.now)();
        let (writer, only_if_there) = {
            let state = &mut *self.state.lock();
            let known = state.sessions.known.entry(key).or_insert_with(|| Known {
                namespace: namespace.clone(),
                pid: pid.clone(),
                id: id.clone(),
                is_written: false,
                is_asked: false,
                is_stale: false,
                heard_as: None,
            });
            if !is_away {
                let here = state.node.id(&namespace);
                known.heard_as = here.map(|here| here.as_text().clone());
            }
            let only_if_there = known.is_written;
            state.sessions.ids.insert((namespace.clone(), id.clone()), key);
            (state.node.record_writer(now), only_if_there)
        };
        // It may have ended since it was looked at. Who ends it, ends it first and forgets it then.
        if server.shards.recovery.record_state(key).is_none() {
            self.state.lock().sessions.forget(key);
            return;
        }
        let (rooms, since): (Vec<_>, Vec<_>) = rooms.into_iter().unzip();
        let text = |place: Option<Offset>| place.map_or_else(ByteString::new, Offset::text);
        let session = Session {
            rooms: [id.clone()].into_iter().chain(rooms).collect(),
            since: [None].into_iter().chain(since).map(text).collect(),
            sid: id,
            pid,
            data,
            offset: text(start),
            node: home(&server.shards.key),
            namespace,
            ..Session::default()
        };
        let time = if is_away { window } else { window.saturating_mul(3) };
        let request = writer.write(session, time, only_if_there);
        self.with_state(|state, now| {
            // It may have been forgotten meanwhile.
            let (Some(request), Some(known)) = (request, state.sessions.known.get_mut(&key)) else {
                return;
            };
            if matches!(&request, Request::Set { value, .. } if value.len() > self.settings.config.max_message_bytes) {
                state.sessions.unwritten += 1;
                // What it was before must not come back.
                if std::mem::replace(&mut known.is_written, false) {
                    let pid = known.pid.clone();
                    self.erase(state, now, pid);
                }
                return;
            }
            known.is_asked = true;
            ask(state, request, Asked::Record(key));
        });
    }

    /// Deletes a record in the broker.
    fn erase(&self, state: &mut State, now: Time, pid: ByteString) {
        if !self.is_up() {
            return state.sessions.note_unerased(now, pid);
        }
        if let Some(request) = forget(&self.settings.config, &pid) {
            ask(state, request, Asked::Erased(pid));
        }
    }

    /// Deletes what the broker has not deleted, and would not have forgotten by itself.
    pub(super) fn erase_again(self: &Arc<Self>, window: Duration) {
        self.with_state(|state, now| {
            let unerased = std::mem::take(&mut state.sessions.unerased).into_iter();
            let is_there = |(since, _): &(Time, ByteString)| *since + window.saturating_mul(3) > now;
            for (_, pid) in unerased.filter(is_there) {
                self.erase(state, now, pid);
            }
        });
    }

    /// The broker has deleted a record, or has not.
    pub(super) fn record_erased(self: &Arc<Self>, pid: ByteString, is_erased: bool) {
        if is_erased {
            return;
        }
        self.with_state(|state, now| {
            state.sessions.note_unerased(now, pid);
            state.sessions.retry.get_or_insert(now + RETRY);
        });
    }

    /// The broker has written a record, or has not.
    pub(super) fn record_written(self: &Arc<Self>, key: RecordKey, answer: &Result<Answer, BrokerError>) {
        self.with_state(|state, now| {
            let sessions = &mut state.sessions;
            let Some(known) = sessions.known.get_mut(&key) else {
                return;
            };
            known.is_asked = false;
            let is_stale = std::mem::replace(&mut known.is_stale, false);
            match answer {
                Ok(Answer::Done) => known.is_written = true,
                // Somebody has taken it: the client has come back to another node.
                Ok(_) => {}
                Err(_) => {
                    sessions.refused.insert(key);
                    sessions.retry.get_or_insert(now + RETRY);
                    return;
                }
            }
            if is_stale {
                sessions.mark(key, now);
            }
        });
    }
}

/// Asks the broker, and notes for what.
fn ask(state: &mut State, request: Request, asked: Asked) {
    let tag = state.next_tag();
    state.asked.insert(tag, asked);
    state.out.commands.push(Command::Request { tag, request });
}
