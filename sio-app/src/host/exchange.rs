//! One request that another HTTP server has read, and its answer as a value. With it an
//! application's own server can mount Socket.IO.
//!
//! ```text
//!   head ─► Driver::exchange ► Exchange ─ body ─► turn (shard, handlers) ─► Link ─► Answer
//!              │                                                            │
//!              └── not Socket.IO's: the head comes back                     ├── a websocket: attach(socket) ─► Connection
//!                                                                           └── without end: into_body ─► EndlessBody
//! ```
//! This module reads and writes no byte of HTTP. A request that waits for its answer has a link and
//! a seat in its shard. It has no buffer, and no task of its own. After an upgrade there is a
//! [`Connection`] like any other: with the same frames, the same backpressure and the same direct
//! writes. An endless body is a connection, too; its socket is a pipe.

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use sio_proto::http;
use sio_proto::server::{Request, Response, Stream, Upgrade};
use sio_proto::wire::Wire;

use crate::host::connection::Connection;
use crate::host::place::Place;
use crate::link::connections::in_steps;
use crate::link::ends::Outlet;
use crate::link::pipe::{PipeSource, pipe};
use crate::link::{HandedOut, Link, Standing};
use crate::turn;
use crate::user::io::Io;

/// The result of [`Driver::exchange`](super::driver::Driver::exchange).
#[derive(Debug)]
pub enum Exchanged {
    /// The request is for Socket.IO: give it its body, and poll it.
    Ours(Exchange),
    /// The request is not for Socket.IO. It is returned.
    Foreign(Box<http::Request>),
    /// The limit of connections is reached, in total or for this address
    /// ([`Options`](crate::Options)). Answer with 503.
    Full,
}

/// A request that waits for its answer. Dropping it tells its session that the client has gone.
pub struct Exchange {
    place: Place,
    /// The link, with the type of its outlet.
    link: Arc<Link<Late>>,
    /// The request, until it has gone to its shard.
    request: Option<Box<Request>>,
    /// A request with a large body. It waits until the other connections have done the work that
    /// they have left.
    waiting: Option<Box<Request>>,
    /// How many bytes of the body have been counted.
    received: usize,
    goes_on: Option<GoesOn>,
}

/// What follows an answer.
#[derive(Clone, Copy, Debug)]
enum GoesOn {
    Frames(Wire),
    Body,
}

/// The answer to a request.
#[derive(Debug)]
pub enum Answer {
    /// A complete response.
    Response(Box<Response>),
    /// The request becomes a websocket: answer with 101 and these headers, and give the socket to
    /// [`Exchange::attach`].
    Upgrade(Box<Upgrade>),
    /// A response without end: answer with 200, these headers, and the body of
    /// [`Exchange::into_body`].
    Stream(Box<Stream>),
    /// There is no answer: the session has ended the request, or the server is being
    /// [aborted](crate::adapter::Driver::abort). Close the connection.
    Aborted,
}

impl Exchange {
    /// Takes up a request. Returns `None` if a limit of connections is reached.
    pub(crate) fn new(io: &Io, request: Request) -> Option<Self> {
        let link = Arc::new(Link::handing_out(Late::default(), Arc::clone(&io.0.tally.traffic)));
        // If a client goes away while it polls, the server can only assume that it has closed its
        // connection.
        let place = Place::new(&io.0, link.clone(), &request.peer, false)?;
        Some(Self {
            place,
            link,
            request: Some(Box::new(request)),
            waiting: None,
            received: 0,
            goes_on: None,
        })
    }

    /// Whether its POST waits, and keeps nothing of its body.
    #[cfg(test)]
    pub(crate) fn keeps_no_body(&self) -> bool {
        self.place.keeps_no_body()
    }

    /// Tells the session that a request is under way. Call this if the body has not arrived
    /// together with the head. Poll the exchange while you read the body, because the request may
    /// be answered before its body has arrived.
    pub fn body_started(&mut self) {
        let Self { place, request, .. } = self;
        if let Some(request) = request {
            turn::run(place.io.runtime(), |turn| place.handle_body_started(turn, request));
        }
    }

    /// Notes that the caller keeps this number of bytes of the body until the body is complete.
    /// Returns false if there is no room for them
    /// ([`Options::max_receiving_bytes`](crate::Options::max_receiving_bytes)). Then drop these
    /// bytes and the exchange, and answer with 503.
    #[must_use]
    pub fn receive(&mut self, bytes: usize) -> bool {
        let counted = in_steps(bytes);
        if counted == self.received {
            return true;
        }
        let has_room = self.place.receive(counted);
        match has_room {
            true => self.received = counted,
            false => self.place.io.warn_of_crowd(),
        }
        has_room
    }

    /// Gives the request to its session, with the whole body. The body is empty if there is none.
    /// An error says that the body is larger than [`max_body_bytes`](http::Limits::max_body_bytes);
    /// the answer is then 413. Only the first call has an effect.
    pub fn body(&mut self, body: Result<Bytes, http::BodyTooLarge>) {
        let Some(mut request) = self.request.take() else { return };
        let size = body.as_ref().map_or(0, Bytes::len);
        request.http.body = body;
        match self.place.must_wait(size) {
            true => self.wait(request, size),
            false => self.handle(*request),
        }
    }

    /// A large body waits. It counts as received, and as one that is still coming.
    fn wait(&mut self, mut request: Box<Request>, size: usize) {
        let has_room = in_steps(size) <= self.received || self.receive(size);
        if !has_room {
            self.link.cut();
        }
        let place = &mut self.place;
        if has_room && turn::run(place.io.runtime(), |turn| place.note_waiting_body(turn, &mut request)) {
            self.waiting = Some(request);
        } else {
            place.end_delay();
        }
    }

    fn handle(&mut self, mut request: Request) {
        let place = &mut self.place;
        request.decode_body(place.io.config());
        let ((), leftover) = turn::run_a_while(place.io.runtime(), |turn| {
            place.handle_request(turn, &mut Some(request))
        });
        place.leave_work(leftover);
        place.note_lag();
        self.count_left();
    }

    /// Counts what waits. Work for which there is no room is done now. If there is no room for a
    /// request that waits for a decision, or for packets that wait, the request is ended.
    fn count_left(&mut self) {
        let bytes = |place: &Place| place.left_bytes() + place.pacing_bytes() + place.asking_bytes();
        while !self.place.receive(bytes(&self.place)) {
            if !self.place.has_left() {
                self.place.io.warn_of_crowd();
                return self.link.cut();
            }
            self.place.go_on_with_left();
        }
    }

    /// Goes on with the work that was left, or with the body that has waited. Returns true if
    /// others have their turn before the rest of the work.
    fn go_on(&mut self, cx: &mut Context<'_>) -> bool {
        if self.place.has_left() {
            self.place.go_on_with_left();
            if !self.place.has_left() {
                self.count_left();
            }
        }
        if let Some(request) = self.waiting.take() {
            match self.place.poll_delay(cx) {
                Some(Poll::Pending) => self.waiting = Some(request),
                Some(Poll::Ready(())) | None => {
                    self.place.end_delay();
                    self.handle(*request);
                }
            }
        }
        self.place.has_left()
    }

    /// Waits for the answer. There is only one.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        self.link.standing_for(cx.waker());
        if self.place.poll_decision(cx) {
            self.count_left();
        }
        let mut goes_on = self.go_on(cx);
        if !self.place.has_left() && self.place.is_paced() && self.place.poll_pace(cx).is_ready() {
            self.count_left();
            goes_on = true;
        }
        if goes_on {
            cx.waker().wake_by_ref();
        }
        match self.link.take_answer().map(|answer| *answer) {
            Some(HandedOut::Response(response)) => Poll::Ready(Answer::Response(response)),
            Some(HandedOut::Upgrade(upgrade)) => {
                self.goes_on = Some(GoesOn::Frames(upgrade.wire));
                Poll::Ready(Answer::Upgrade(upgrade))
            }
            Some(HandedOut::Stream(stream)) => {
                self.goes_on = Some(GoesOn::Body);
                Poll::Ready(Answer::Stream(stream))
            }
            None if self.link.standing() == Standing::Cut => Poll::Ready(Answer::Aborted),
            None => Poll::Pending,
        }
    }

    /// Gives the socket to the session, after [`Answer::Upgrade`]. Returns `None` after any other
    /// answer. `ahead` are the bytes that have been read from the socket already. Poll the returned
    /// connection to its end.
    ///
    /// Packets for the client that have waited in its session leave now.
    #[must_use]
    pub fn attach(mut self, outlet: impl Outlet, ahead: BytesMut) -> Option<Connection> {
        let Some(GoesOn::Frames(wire)) = self.goes_on else {
            return None;
        };
        let _ = self.link.outlet().0.set(Box::new(outlet));
        // A task does the work that is left.
        let _left = self.place.take_left();
        Some(Connection::upgraded(self.place, wire, ahead))
    }

    /// Returns the body, after [`Answer::Stream`]. Returns `None` after any other answer.
    #[must_use]
    pub fn into_body(mut self) -> Option<EndlessBody> {
        let Some(GoesOn::Body) = self.goes_on else { return None };
        let (source, outlet) = pipe();
        let _ = self.link.outlet().0.set(Box::new(outlet));
        let _left = self.place.take_left();
        let connection = Connection::streaming(self.place);
        Some(EndlessBody { connection, source })
    }
}

/// The body of an answer without end (htmlfile, xhr-multipart). Dropping it tells its session that
/// the client has gone.
pub struct EndlessBody {
    connection: Connection,
    source: PipeSource,
}

impl EndlessBody {
    /// Returns the next bytes, or `None` at the end. As many bytes as fit into a socket's buffer
    /// wait here. All others wait in the session.
    pub fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let ended = self.connection.poll(cx, &mut self.source).is_ready();
        match self.source.poll_bytes(cx) {
            Poll::Pending if ended => Poll::Ready(None),
            bytes => bytes,
        }
    }
}

impl fmt::Debug for EndlessBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndlessBody").finish_non_exhaustive()
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("request", &self.request)
            .field("goes_on", &self.goes_on)
            .finish_non_exhaustive()
    }
}

/// An outlet that is set later. Until then it behaves like a full socket: writes wait.
#[derive(Default)]
struct Late(OnceLock<Box<dyn Outlet>>);

impl Outlet for Late {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.get() {
            Some(outlet) => outlet.try_write(bytes),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.0.get() {
            Some(outlet) => outlet.try_write_vectored(pieces),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn finish(&self) {
        if let Some(outlet) = self.0.get() {
            outlet.finish();
        }
    }
}
