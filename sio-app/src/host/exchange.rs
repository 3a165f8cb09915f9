//! One request that another HTTP server has read, and its answer as a value: how an application's
//! own server takes Socket.IO in.
//!
//! ```text
//!   head ─► Io::exchange ──► Exchange ─ body ─► turn (shard, handlers) ─► Link ─► Answer
//!              │                                                            │
//!              └── not Socket.IO's: the head comes back                     ├── a websocket: attach(socket) ─► Connection
//!                                                                           └── without end: into_body ─► EndlessBody
//! ```
//! No byte of HTTP is written or read here. A request that waits for its answer holds a link and a
//! seat in its shard, no buffer and no task of its own. What follows an upgrade is a [`Connection`]
//! like any other: the same frames, the same backpressure, the same direct writes. An endless body
//! is one as well, whose socket is a pipe.

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use sio_proto::http;
use sio_proto::server::{Cause, Extension, Peer, Request, Response, Routed, Stream, Upgrade};
use sio_proto::wire::Wire;

use crate::host::connection::Connection;
use crate::host::connections::in_steps;
use crate::host::place::Place;
use crate::link::pipe::{PipeSource, pipe};
use crate::link::{HandedOut, Link, Outlet, Standing};
use crate::turn;
use crate::turn::later::Later;
use crate::user::io::Io;

/// What [`Io::exchange`] makes of a request.
#[derive(Debug)]
pub enum Exchanged {
    /// It is Socket.IO's: give it its body, and poll it.
    Ours(Exchange),
    /// It is not; here it is again.
    Foreign(Box<http::Request>),
    /// There are as many connections as may be, in total or from this address
    /// ([`Options`](crate::Options)): the answer is 503.
    Full,
}

/// A request on its way to its answer. Dropping it tells its session that the client has gone.
pub struct Exchange {
    place: Place,
    /// The same link, as what it is.
    link: Arc<Link<Late>>,
    /// Until it has gone to its shard.
    request: Option<Box<Request>>,
    /// The request with a large body, until others have done what they have left.
    waiting: Option<Box<Request>>,
    /// So much of the body has been counted.
    received: usize,
    /// Work that others come before.
    later: Later,
    goes_on: Option<GoesOn>,
    waker: Option<Waker>,
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
    /// The request becomes a websocket: answer 101 with these headers, and give the socket to
    /// [`Exchange::attach`].
    Upgrade(Box<Upgrade>),
    /// A response without end: answer 200 with these headers, and the body that
    /// [`Exchange::into_body`] is.
    Stream(Box<Stream>),
    /// There is no answer: the session has ended the request, or the server is being
    /// [aborted](Io::abort). Close the connection.
    Aborted,
}

/// Requests that another HTTP server has read.
impl Io {
    /// Whether a request with this target may be Socket.IO's: a quick look, for which it need not
    /// be taken apart.
    #[must_use]
    pub fn concerns(&self, target: &str) -> bool {
        self.0.router.concerns(target)
    }

    /// Takes up a request that another HTTP server has read. Its body comes later
    /// ([`Exchange::body`]); the one in `head` is not looked at.
    ///
    /// `extension` is called for requests that may open a session: what it returns is kept with
    /// that session, [`Socket::extension`](crate::Socket::extension) finds it.
    #[must_use]
    pub fn exchange(
        &self,
        head: http::Request,
        peer: Peer,
        extension: impl FnOnce() -> Option<Extension>,
    ) -> Exchanged {
        let mut request = Request::new(&self.0.config, head, peer);
        if self.0.router.route(&request) == Routed::Foreign && self.0.client_file(&request.http).is_none() {
            return Exchanged::Foreign(Box::new(request.http));
        }
        if request.may_open_session() {
            request.extension = extension();
        }
        self.take(request).map_or(Exchanged::Full, Exchanged::Ours)
    }

    /// Takes up any request: what is not Socket.IO's is answered by [`Io::on_request`]. `None` if
    /// there are as many connections as may be.
    #[must_use]
    pub fn take_up(&self, head: http::Request, peer: Peer, extension: Option<Extension>) -> Option<Exchange> {
        let mut request = Request::new(&self.0.config, head, peer);
        request.extension = extension;
        self.take(request)
    }

    fn take(&self, request: Request) -> Option<Exchange> {
        let link = Arc::new(Link::handing_out(Late::default(), Arc::clone(&self.0.tally.traffic)));
        // A client that goes away while it polls has closed its connection, as far as one can tell.
        let place = Place::new(&self.0, link.clone(), &request.peer, Cause::Closed)?;
        Some(Exchange {
            later: Later::new(Arc::clone(&place.io.kept)),
            place,
            link,
            request: Some(Box::new(request)),
            waiting: None,
            received: 0,
            goes_on: None,
            waker: None,
        })
    }
}

impl Exchange {
    /// The body has not come with the head: its session has to know that a request is under way.
    /// Poll the exchange beside reading the body, for it may be answered before.
    pub fn body_started(&mut self) {
        let Self { place, request, .. } = self;
        if let Some(request) = request {
            turn::run(place.io.runtime, |turn| place.handle_body_started(turn, request));
        }
    }

    /// So many bytes of the body are kept by the caller until it is whole. False if that is more
    /// than there is room for
    /// ([`Options::max_receiving_bytes`](crate::Options::max_receiving_bytes)): drop what is there,
    /// and the exchange, and answer 503.
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

    /// The whole body, empty if there is none, or that it is larger than
    /// [`max_body_bytes`](http::Limits::max_body_bytes), for which the answer is 413. The request
    /// goes to its session. Only the first call counts.
    pub fn body(&mut self, body: Result<Bytes, http::BodyTooLarge>) {
        let Some(mut request) = self.request.take() else { return };
        let size = body.as_ref().map_or(0, Bytes::len);
        request.http.body = body;
        match self.place.io.kept.delays(size) {
            true => self.waiting = Some(request),
            false => self.handle(*request),
        }
    }

    fn handle(&mut self, mut request: Request) {
        let place = &mut self.place;
        request.decode_body(&place.io.config);
        let ((), leftover) = turn::run_a_while(place.io.runtime, |turn| place.handle_request(turn, request));
        self.later.put(leftover);
        // What is not kept for later is done now.
        while !self.place.receive(self.later.bytes()) && !self.later.is_empty() {
            self.later.go_on();
        }
    }

    /// Goes on with what was left. True if others come before the rest of it.
    fn go_on(&mut self) -> bool {
        if !self.later.is_empty() {
            self.later.go_on();
            if self.later.is_empty() {
                let _ = self.place.receive(0);
            }
        }
        let kept = &self.place.io.kept;
        let size = |request: &Request| request.http.body.as_ref().map_or(0, Bytes::len);
        if let Some(request) = self.waiting.take_if(|request| !kept.delays(size(request))) {
            self.handle(*request);
        }
        !self.later.is_empty() || self.waiting.is_some()
    }

    /// Waits for the answer, which comes once.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.link.set_waker(cx.waker());
            self.waker = Some(cx.waker().clone());
        }
        if self.go_on() {
            cx.waker().wake_by_ref();
        }
        match self.link.take_news().answer {
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

    /// The socket is there, after [`Answer::Upgrade`]; `None` after any other. `ahead` is what has
    /// been read of it already. The connection has to be polled to its end.
    ///
    /// What was sent to the client meanwhile has waited in its session, and leaves now.
    #[must_use]
    pub fn attach(self, outlet: impl Outlet, ahead: BytesMut) -> Option<Connection> {
        let Some(GoesOn::Frames(wire)) = self.goes_on else {
            return None;
        };
        let _ = self.link.outlet().0.set(Box::new(outlet));
        Some(Connection::upgraded(self.place, wire, ahead))
    }

    /// The body, after [`Answer::Stream`]; `None` after any other.
    #[must_use]
    pub fn into_body(self) -> Option<EndlessBody> {
        let Some(GoesOn::Body) = self.goes_on else { return None };
        let (source, outlet) = pipe();
        let _ = self.link.outlet().0.set(Box::new(outlet));
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
    /// The next bytes; `None` at the end. As much as a socket's buffer waits here, all else in the
    /// session.
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

/// An outlet that comes later. Until then it is a full socket: what is written waits as it would
/// for one.
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
