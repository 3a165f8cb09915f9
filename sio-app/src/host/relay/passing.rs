//! The client's side: a request that is passed on, and the answer that comes back.

use std::sync::{Arc, Weak};

use bytes::{Buf, Bytes, BytesMut};
use sio_proto::cluster::relay::{Final, LineId, RelayEnd, Reset, encode_request};
use sio_proto::server::{Cause, Request};

use crate::link::{Item, Link};
use crate::lock::Mutex;
use crate::runtime::Runtime;
use crate::turn;
use crate::user::cluster::ClusterNode;
use crate::user::cluster::relays::End;
use crate::user::inner::Inner;

/// A request that is passed on. Dropping it tells the other server that the client has gone, unless
/// the answer is complete.
pub(crate) struct Passing {
    to: Arc<Client>,
    line: LineId,
    /// The request without its body. If the other server is gone, it is answered here.
    request: Option<Box<Request>>,
    /// Whether the request asks for a websocket: all further bytes belong to it.
    is_tunnel: bool,
    /// What the other server is told when this is dropped.
    reset: Reset,
}

/// The end of a relay that has the client's connection.
struct Client {
    cluster: Weak<ClusterNode>,
    runtime: Runtime,
    link: Arc<Link>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    line: Option<LineId>,
    /// The part of the request that the other server has not taken yet.
    rest: Bytes,
    /// The memory that the rest keeps: that of the whole request.
    memory: usize,
    /// Whether a thread has taken the rest out, to send some of it.
    is_sending: bool,
    /// Whether the answer has begun.
    has_answer: bool,
    failed: Option<RelayEnd>,
}

impl State {
    fn bytes(&self) -> usize {
        match self.rest.is_empty() && !self.is_sending {
            true => 0,
            false => self.memory,
        }
    }
}

/// What has become of a request that was to be passed on.
pub(crate) enum Passed {
    /// It is on its way.
    On(Box<Passing>),
    /// It is not of a session of another server that is known.
    Not,
    /// It cannot be passed on now.
    Refused,
}

impl Passing {
    /// Passes a request on, if it names a session of another server. It is taken out of `arrived`
    /// then.
    pub(crate) fn begin(io: &Inner, link: &Arc<Link>, arrived: &mut Option<Request>) -> Passed {
        let cluster = io.cluster.as_ref().filter(|cluster| cluster.relays());
        let Some(cluster) = cluster.filter(|_| link.may_pass_on()) else {
            return Passed::Not;
        };
        let Some(request) = arrived else { return Passed::Not };
        let owner = io.shards.router.foreign_id(request).and_then(|id| cluster.owner_of(id));
        let Some(owner) = owner else { return Passed::Not };
        let mut bytes = BytesMut::new();
        if !encode_request(&request.http, &mut bytes) {
            return Passed::Not;
        }
        let to = Arc::new(Client {
            cluster: Arc::downgrade(cluster),
            runtime: io.runtime(),
            link: Arc::clone(link),
            state: Mutex::default(),
        });
        let (end, peer) = (Arc::<Client>::clone(&to), request.peer);
        let (line, sent) = match cluster.open_relay(owner, peer, &bytes, end) {
            Ok(opened) => opened,
            Err(RelayEnd::Gone) => return Passed::Not,
            Err(_) => return Passed::Refused,
        };
        {
            let mut state = to.state.lock();
            state.line = Some(line);
            state.memory = bytes.capacity();
            // A request that has gone needs no memory any more.
            state.rest = match sent == bytes.len() {
                true => Bytes::new(),
                false => bytes.freeze().slice(sent..),
            };
        }
        // There may have been room before the line was known here.
        to.go_on();
        let Some(mut request) = arrived.take() else {
            return Passed::Not;
        };
        let is_tunnel = request.http.is_upgrade("websocket");
        request.http.body = Ok(Bytes::new());
        request.http = request.http.compact();
        drop(request.take_packets());
        Passed::On(Box::new(Self {
            to,
            line,
            request: Some(Box::new(request)),
            is_tunnel,
            reset: Reset::Closed,
        }))
    }

    /// Whether what the client sends from now on belongs to the request.
    pub(crate) const fn is_tunnel(&self) -> bool {
        self.is_tunnel
    }

    /// The memory of the request of which a part waits here, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.to.state.lock().bytes()
    }

    /// Why there will be no answer, if the relay has failed.
    pub(crate) fn failed(&self) -> Option<RelayEnd> {
        let state = self.to.state.lock();
        state.failed.filter(|_| !state.has_answer)
    }

    /// Takes the request out, to answer it here.
    pub(crate) fn take_request(&mut self) -> Option<Request> {
        self.request.take().map(|request| *request)
    }

    /// Sends what the client has sent on its websocket, and removes it from `bytes`. Returns false
    /// if some are left: the connection's task is woken when there is room. The rest of the request
    /// goes first.
    pub(crate) fn send(&self, bytes: &mut BytesMut) -> bool {
        if let Some(cluster) = self.to.cluster.upgrade()
            && has_sent_all(&self.to.state)
        {
            let sent = cluster.send_relay(self.line, bytes, None);
            bytes.advance(sent);
        }
        bytes.is_empty()
    }

    /// Whether the other server takes bytes now. If not, the connection's task is woken when it
    /// does.
    pub(crate) fn has_room(&self) -> bool {
        let cluster = self.to.cluster.upgrade();
        cluster.is_some_and(|cluster| has_sent_all(&self.to.state) && cluster.relay_room(self.line) > 0)
    }

    /// The client has read something: the other server may send more.
    pub(crate) fn drained(&self) {
        self.to.keep();
    }

    /// Says why the client's connection ends.
    pub(crate) const fn ends(&mut self, cause: &Cause) {
        self.reset = match cause {
            Cause::Closed => Reset::Closed,
            Cause::Failed | Cause::Broken(_) => Reset::Failed,
        };
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Some(cluster) = self.to.cluster.upgrade() {
            cluster.reset_relay(self.line, self.reset);
        }
    }
}

impl Client {
    /// Tells the other server how much the client has not read yet.
    fn keep(&self) {
        let line = { self.state.lock().line };
        if let (Some(line), Some(cluster)) = (line, self.cluster.upgrade()) {
            cluster.keep_relay(line, self.link.held());
        }
    }
}

/// Whether the whole request has been given to the relay. Whoever sends the rest wakes the
/// connection's task behind it ([`Client::go_on`]), so what the client sends on its websocket can
/// wait for it.
fn has_sent_all(state: &Mutex<State>) -> bool {
    let state = state.lock();
    state.rest.is_empty() && !state.is_sending
}

/// Sends the rest of the request, as much as the other server takes. One thread has the rest at a
/// time, and only this one puts something back.
///
/// Another thread may hear meanwhile that there is room, and find nothing here. So who has put
/// something back asks again for room: either there is some, or the relay says when there is.
/// `has_room` is false for a relay that has ended.
fn send_rest(state: &Mutex<State>, mut send: impl FnMut(&[u8]) -> usize, has_room: impl Fn() -> bool) {
    loop {
        let mut rest = {
            let mut state = state.lock();
            if state.rest.is_empty() {
                return;
            }
            state.is_sending = true;
            std::mem::take(&mut state.rest)
        };
        let sent = send(&rest);
        // A request that has gone needs no memory any more.
        let is_left = sent < rest.len();
        {
            let mut state = state.lock();
            state.is_sending = false;
            if is_left {
                rest.advance(sent);
                state.rest = rest;
            }
        }
        if !is_left || !has_room() {
            return;
        }
    }
}

impl End for Client {
    fn take(&self, bytes: Bytes, end: Option<Final>) {
        if !bytes.is_empty() {
            self.state.lock().has_answer = true;
            // They stand in the buffer of the broker's connection, which is large.
            self.link.push(Item::Bytes(Bytes::copy_from_slice(&bytes)));
        }
        match end {
            Some(Final::KeepsAlive) => self.link.push(Item::Answered),
            Some(Final::Closes) => self.link.push(Item::Finish),
            None => {}
        }
        turn::run(self.runtime, |turn| turn.touch_link(&self.link, None));
        if end.is_none() {
            self.keep();
        }
    }

    fn go_on(&self) {
        let Some(line) = ({ self.state.lock().line }) else {
            return;
        };
        if let Some(cluster) = self.cluster.upgrade() {
            let send = |rest: &[u8]| cluster.send_relay(line, rest, None);
            send_rest(&self.state, send, || cluster.relay_room(line) > 0);
        }
        self.link.wake();
    }

    fn end(&self, why: RelayEnd, _: Option<Reset>) {
        let has_answer = {
            let mut state = self.state.lock();
            state.failed = Some(why);
            state.has_answer
        };
        match has_answer {
            true => self.link.cut(),
            false => self.link.wake(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn state(rest: &'static [u8]) -> Mutex<State> {
        Mutex::new(State {
            rest: Bytes::from_static(rest),
            memory: rest.len(),
            ..State::default()
        })
    }

    /// Another thread hears that there is room while this one has the rest, and finds nothing.
    #[test]
    fn room_that_another_thread_has_heard_of_is_used() {
        let (state, room, calls) = (state(b"abcdef"), Cell::new(2), Cell::new(0));
        let send = |bytes: &[u8]| {
            let sent = bytes.len().min(room.replace(0));
            calls.set(calls.get() + 1);
            if calls.get() == 1 {
                // There is room again, and the other thread comes.
                room.set(3);
                send_rest(&state, |_| panic!("this thread has the rest"), || room.get() > 0);
            }
            sent
        };
        send_rest(&state, send, || room.get() > 0);
        assert_eq!((calls.get(), &state.lock().rest[..]), (2, &b"f"[..]));
        assert!(!has_sent_all(&state), "what comes behind the request has to wait");
        assert_eq!(state.lock().bytes(), 6, "the last byte keeps the memory of all");
        // When there is room, the rest goes, and nothing is kept.
        let send = |bytes: &[u8]| {
            assert!(!has_sent_all(&state), "nothing overtakes what is just being sent");
            bytes.len()
        };
        send_rest(&state, send, || panic!("nothing is left"));
        assert!(state.lock().rest.is_empty() && has_sent_all(&state));
        assert_eq!(state.lock().bytes(), 0);
    }

    /// A relay that has ended takes nothing.
    #[test]
    fn a_rest_that_nobody_takes_ends_the_loop() {
        let state = state(b"abc");
        send_rest(&state, |_| 0, || false);
        assert_eq!(state.lock().rest.len(), 3);
    }
}
