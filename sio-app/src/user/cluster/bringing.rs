//! A client wants to come back that may have been at another node.
//!
//! ```text
//!   CONNECT with pid ─► record taken out of the broker (GET, DEL)
//!       own, and unchanged ─► the record and the log of this node are right
//!       of the last process ─► the record of the store is right, and an entry "taken" is written
//!                             and read again ─► XRANGE offset … I ─► goes on as at home
//!       of another node    ─► an entry "taken" is written to the stream, and read again
//!                             ─► record adopted at place I ─► XRANGE offset … I ─► goes on as at home
//! ```
//! The entry does two things. The node that had the client hears that it is gone. And when this
//! node reads it, it has sent everything that was written before, so nothing that the client may
//! have seen elsewhere is sent to it again.
//!
//! Other clients do not wait meanwhile. If the broker is away, the client is recovered from what
//! this node knows. A record that an earlier process has kept in a store is not enough for this: it
//! knows neither what the stream had while no process was here, nor whether the client has been to
//! another node. So it is as good as none, until the broker has said more. What a client cannot be
//! recovered from is told to the application ([`Comeback::Lost`](crate::Comeback::Lost)).

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::iter::repeat;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::Duration;

use bytestring::ByteString;
use sio_proto::Time;
use sio_proto::broker::{Answer, BrokerError, Command, Request};
use sio_proto::cluster::messages::Session;
use sio_proto::cluster::{Comeback, Missed, NotRestored, Restored, Step, home};
use sio_proto::recovery::{NotRecovered, RecordKey, Truncated};
use sio_proto::socket::Offset;

use super::fences::NOBODY;
use super::ordering::place_of;
use super::{Asked, ClusterNode};
use crate::lock::Mutex;
use crate::turn::adopting::{Adoption, Arriving, away_socket, encode_for_clients};
use crate::turn::application::Bringing;
use crate::turn::recovery::Gone;
use crate::turn::socket::SocketCell;
use crate::user::inner::Inner;
use crate::user::message::Draft;
use crate::user::shared_data::set_shared_json;

/// The room that stands among those that are left out in an order which says that a client has come
/// back to another node. Nobody is in it, so genuine nodes end the socket.
pub(super) const TAKEN: &str = "sio:taken";

/// Most clients that wait for the broker at one time. Others are new clients. One network takes at
/// most a half of the places, and each further one a half of what is free: thirteen of them
/// together take all ([`Comers`]).
const MOST_WAITING: usize = 4096;

/// How often a client waits for what this node has sent without the stream. What the broker has
/// taken is read after the second time.
const MOST_FENCES: usize = 4;

/// How long a whole comeback may take, in times of
/// [`ClusterConfig::request_timeout`](sio_proto::ClusterConfig::request_timeout).
const MOST_TIMEOUTS: u32 = 4;

/// The place of one answer.
pub(super) struct Slot<T>(Mutex<Content<T>>);

struct Content<T> {
    answer: Option<Result<T, BrokerError>>,
    waker: Option<Waker>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        let (answer, waker) = (None, None);
        Self(Mutex::new(Content { answer, waker }))
    }
}

impl<T> Slot<T> {
    pub(super) fn fill(&self, answer: Result<T, BrokerError>) {
        let waker = {
            let mut content = self.0.lock();
            content.answer.get_or_insert(answer);
            content.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    async fn take(&self) -> Result<T, BrokerError> {
        poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut content = self.0.lock();
            let answer = content.answer.take();
            let before = match answer {
                Some(_) => content.waker.take(),
                None => content.waker.replace(waker),
            };
            drop(content);
            drop(before);
            answer.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// How many clients wait, and how many of each network.
#[derive(Default)]
pub(super) struct Comers {
    all: usize,
    networks: BTreeMap<u128, usize>,
}

impl Comers {
    /// Counts one more client of a network. Returns false if it may not wait. A network may have as
    /// many places as are free, and half of all if it is alone: so others find some, while there
    /// are few of such networks.
    fn enter(&mut self, network: u128) -> bool {
        let free = MOST_WAITING.saturating_sub(self.all);
        let own = self.networks.get(&network).copied().unwrap_or(0);
        if own >= free {
            return false;
        }
        self.all += 1;
        self.networks.insert(network, own + 1);
        true
    }

    fn leave(&mut self, network: u128) {
        if let Some(own) = self.networks.get_mut(&network) {
            self.all -= 1;
            *own -= 1;
            if *own == 0 {
                self.networks.remove(&network);
            }
        }
    }
}

/// A client that waits is counted.
struct Counted {
    cluster: Arc<ClusterNode>,
    namespace: ByteString,
    network: u128,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let state = &mut *self.cluster.state.lock();
        state.ordering.no_more_coming(&self.namespace);
        state.comers.leave(self.network);
        self.cluster.bringing.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ClusterNode {
    /// Looks for the record of a client, which shows this secret.
    pub(in crate::user) fn bring_back(
        self: &Arc<Self>,
        server: &Arc<Inner>,
        socket: &Arc<SocketCell>,
        (pid, offset): (String, Option<String>),
    ) -> Option<Bringing> {
        if !self.follows_stream() {
            return None;
        }
        if !self.is_up() {
            // Only the broker can help a client of the last process. It is waited for, because
            // clients may be faster than the first connection to it. Where nobody connects, nobody
            // answers.
            if !self.is_linked() {
                return None;
            }
            let recovery = &server.shards.recovery;
            let known = recovery.find_record(socket.namespace(), &pid);
            known.filter(|key| recovery.is_behind(*key))?;
        }
        let (namespace, network) = (socket.namespace().clone(), socket.load().network());
        {
            let state = &mut *self.state.lock();
            if !state.comers.enter(network) {
                return None;
            }
            *state.ordering.coming.entry(namespace.clone()).or_default() += 1;
        }
        self.bringing.fetch_add(1, Ordering::Relaxed);
        let counted = Counted {
            cluster: Arc::clone(self),
            namespace,
            network,
        };
        let (server, socket) = (Arc::downgrade(server), Arc::clone(socket));
        Some(Box::pin(async move {
            let cluster = &counted.cluster;
            let server = server.upgrade()?;
            let offset = offset.map(ByteString::from);
            let outcome = cluster.look_for(&server, &socket, &pid.into(), offset.as_ref()).await;
            cluster.count_restored(&outcome);
            outcome.err().and_then(|why| reason(&why))
        }))
    }

    /// Returns whether the record was adopted. If it was not, the one of this node is right, if
    /// there is one.
    async fn look_for(
        self: &Arc<Self>,
        server: &Arc<Inner>,
        socket: &Arc<SocketCell>,
        pid: &ByteString,
        offset: Option<&ByteString>,
    ) -> Result<bool, NotRestored> {
        let namespace = socket.namespace();
        let recovery = &server.shards.recovery;
        let known = recovery.find_record(namespace, pid);
        // What an earlier process has kept in a store is not enough by itself.
        let stored = known.filter(|key| recovery.is_behind(*key));
        let is_here = known.is_some() && stored.is_none();
        // An offset of this process says nothing to others, and a text of the application nothing
        // to anybody.
        let place = offset.and_then(|offset| Offset::parse(offset));
        let shown = offset.filter(|_| place.is_some_and(Offset::is_entry));
        let unix_time = Duration::from_secs((self.runtime.unix_time)());
        let limit = (self.runtime.now)() + self.settings.config.request_timeout.saturating_mul(MOST_TIMEOUTS);
        let (mut comeback, first) = Comeback::new(&self.settings.config, namespace, pid, shown, unix_time)?;
        let session = match comeback.handle_answer(self.ask_broker(first).await) {
            Step::Found(session) => *session,
            // The broker is away: the client is recovered if it was here.
            Step::NotRestored(NotRestored::Broker(_)) if is_here => return Ok(false),
            Step::NotRestored(NotRestored::UnknownSession) => {
                return match known {
                    Some(key) if is_here && self.is_still_here(server, socket, pid, key).await => Ok(false),
                    _ => Err(NotRestored::UnknownSession),
                };
            }
            Step::NotRestored(why) => return Err(why),
            Step::Ask(_) | Step::Restored(_) => return Err(NotRestored::Malformed),
        };
        let is_own = session.node == home(&server.shards.key);
        if let Some(key) = known.filter(|key| is_own && is_here && self.has_heard_all(*key)) {
            self.put_back(key);
            return Ok(false);
        }
        if offset.is_some() && shown.is_none() {
            return Err(NotRestored::InvalidOffset);
        }
        let id = session.sid.clone();
        // Nobody may be there yet, if only a rule knows the namespace. From now on this node hears
        // it, as long as the client is coming or its record is here.
        self.namespace_changed(server, namespace);
        let early_ever = self.catch_up(namespace, &id).await?;
        let now = (self.runtime.now)();
        let found = match stored.filter(|_| is_own) {
            Some(key) => recovery.reread(key, shown.map(|shown| &**shown)).map(|reread| {
                // This is in no store. The rooms of the store are newer.
                set_shared_json(&reread.socket, session.data.clone());
                comeback.set_stays(reread.stays);
                reread.kept.into_iter().for_each(|kept| comeback.skip_to(kept));
                let (until, before) = (reread.until, Gone::default());
                Adoption { key, until, before }
            }),
            None => {
                let start = place_of(comeback.offset().as_bytes());
                let arriving = arriving(server, socket, pid, &session, start);
                arriving.and_then(|arriving| recovery.adopt(now, socket, arriving))
            }
        };
        let Adoption { key, until, before } = found.ok_or(NotRestored::Malformed)?;
        if self.state.lock().ordering.unread.early_ever() != early_ever {
            // Another thread has just sent something without the stream.
            recovery.take_back(key, before);
            return Err(NotRestored::Broker(BrokerError::Closed));
        }
        let keeps = |bytes| recovery.reserve((self.runtime.now)(), key, bytes);
        let missed = self.read_missed(&mut comeback, until, limit, keeps).await;
        let missed = missed.map(|restored| self.encode(server, namespace, restored.missed));
        let is_brought = match missed {
            Ok(missed) => recovery
                .bring(now, key, missed)
                .then_some(())
                .ok_or(NotRestored::TooMuch),
            Err(why) => Err(why),
        };
        if let Err(why) = is_brought {
            recovery.take_back(key, before);
            return Err(why);
        }
        drop(before);
        self.put_back(key);
        Ok(true)
    }

    /// Waits until this node has sent all that was written before, and has read what it has sent
    /// early: that would be missing. Tells the node that has the socket with this id. Returns how
    /// many events have been sent early since the start.
    async fn catch_up(self: &Arc<Self>, namespace: &ByteString, id: &ByteString) -> Result<u64, NotRestored> {
        let mut fence = id.clone();
        for _ in 0..MOST_FENCES {
            let read = Arc::default();
            if !self.fence(namespace, fence, &read) {
                return Err(NotRestored::Broker(BrokerError::Full));
            }
            read.take().await?;
            {
                let unread = &self.state.lock().ordering.unread;
                if !unread.is_behind(namespace) {
                    return Ok(unread.early_ever());
                }
            }
            fence = NOBODY.into();
        }
        Err(NotRestored::Broker(BrokerError::Closed))
    }

    /// Whether the client of a record that was not in the broker may come back to it here. The
    /// record was never written, or the broker has forgotten it: a node that has taken it over has
    /// said so in the stream.
    async fn is_still_here(
        self: &Arc<Self>,
        server: &Inner,
        socket: &SocketCell,
        pid: &ByteString,
        key: RecordKey,
    ) -> bool {
        if !self.is_written(key) {
            return true;
        }
        let read = Arc::default();
        if !self.fence(socket.namespace(), NOBODY.into(), &read) || read.take().await.is_err() {
            return false;
        }
        let is_here = server.shards.recovery.find_record(socket.namespace(), pid) == Some(key);
        if is_here {
            self.put_back(key);
        }
        is_here
    }

    /// Reads until this place what a client has missed. `keeps` says whether there is room for so
    /// many bytes.
    async fn read_missed(
        self: &Arc<Self>,
        comeback: &mut Comeback,
        until: Offset,
        limit: Time,
        keeps: impl Fn(usize) -> bool,
    ) -> Result<Restored, NotRestored> {
        let mut step = comeback.read(&until.text());
        loop {
            if !keeps(comeback.missed_bytes()) {
                return Err(NotRestored::TooMuch);
            }
            if (self.runtime.now)() >= limit {
                return Err(NotRestored::Broker(BrokerError::TimedOut));
            }
            step = match step {
                Step::Ask(request) => comeback.handle_answer(self.ask_broker(request).await),
                Step::Restored(restored) => return Ok(*restored),
                Step::NotRestored(why) => return Err(why),
                Step::Found(_) => return Err(NotRestored::Malformed),
            };
        }
    }

    fn encode(
        &self,
        server: &Inner,
        namespace: &ByteString,
        missed: Vec<Missed>,
    ) -> Vec<(Offset, sio_proto::server::Message)> {
        let shards = &server.shards;
        let has_history = |room: &ByteString| shards.histories.covers(namespace, room) && !shards.is_id(room);
        let encoded = missed.into_iter().filter_map(|Missed { entry, room, emit }| {
            let place = place_of(&entry)?;
            // An event to a room with a history has its place there, too, which is the same.
            let args = match room.as_ref().is_some_and(has_history) {
                true => emit.args.with_offset(place),
                false => emit.args,
            };
            let message = Draft::of_parts(emit.name, args).message(namespace, None, None);
            encode_for_clients(shards, message, place)
        });
        encoded.collect()
    }

    fn is_written(&self, key: RecordKey) -> bool {
        self.state.lock().sessions.is_written(key)
    }

    pub(crate) async fn ask_broker(self: &Arc<Self>, request: Request) -> Result<Answer, BrokerError> {
        let slot = Arc::<Slot<Answer>>::default();
        let is_asked = self.with_state(|state, _| {
            if self.is_alone() {
                return false;
            }
            let tag = state.next_tag();
            state.asked.insert(tag, Asked::Comeback(Arc::clone(&slot)));
            state.out.commands.push(Command::Request { tag, request });
            true
        });
        match is_asked {
            true => slot.take().await,
            false => Err(BrokerError::Stopped),
        }
    }

    fn count_restored(&self, outcome: &Result<bool, NotRestored>) {
        let count = match outcome {
            Ok(true) => &self.restored,
            Ok(false) => return,
            Err(why) => {
                self.state.lock().node.count_doubt(why);
                &self.not_restored
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// The record of another node. `start` is the place from which its client is sent what it has
/// missed.
fn arriving(
    server: &Inner,
    comer: &SocketCell,
    pid: &ByteString,
    session: &Session,
    start: Option<Offset>,
) -> Option<Arriving> {
    let away = away_socket(&server.shards, comer, &session.sid)?;
    set_shared_json(&away, session.data.clone());
    let since = session.since.iter().map(|since| place_of(since.as_bytes()));
    let rooms = session.rooms.iter().cloned().zip(since.chain(repeat(None)));
    // Nobody is in the room of another socket's id, whatever a record says.
    let rooms = rooms.filter(|(room, _)| !server.shards.is_id(room));
    Some(Arriving {
        pid: pid.clone(),
        rooms: rooms.collect(),
        start,
        socket: away,
    })
}

/// Why the application is told that a client cannot come back.
fn reason(why: &NotRestored) -> Option<NotRecovered> {
    Some(match why {
        NotRestored::InvalidOffset => NotRecovered::Offset,
        NotRestored::Truncated => NotRecovered::Truncated(Truncated { pruned: 0 }),
        NotRestored::TooMuch => NotRecovered::TooMuch { packets: 0, bytes: 0 },
        _ => NotRecovered::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_all_places_of_clients_that_come_back() {
        let mut comers = Comers::default();
        let took = (0..2 * MOST_WAITING).filter(|_| comers.enter(1)).count();
        assert_eq!(took, MOST_WAITING / 2);
        assert!(comers.enter(2));
        let took = 1 + (0..MOST_WAITING).filter(|_| comers.enter(2)).count();
        assert_eq!(took, MOST_WAITING / 4);
        (0..MOST_WAITING / 2).for_each(|_| comers.leave(1));
        assert!(comers.enter(1) && !comers.networks.is_empty());
        comers.leave(1);
        (0..took).for_each(|_| comers.leave(2));
        comers.leave(2);
        assert_eq!((comers.all, comers.networks.len()), (0, 0));
    }
}
