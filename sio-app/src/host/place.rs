//! Where a link is known: its number among all connections, and its seat in the shard of its
//! session.
//!
//! What a connection and an exchange have in common. When the place is given up, by whatever way,
//! the shard hears of it.

use std::sync::Arc;

use sio_proto::LinkId;
use sio_proto::Time;
use sio_proto::server::{Admission, Cause, Outputs, Peer, Request, Routed, Write};

use crate::link::Link;
use crate::turn::shard::{ShardCell, State};
use crate::turn::work::guarded;
use crate::turn::{self, Turn};
use crate::user::io::Inner;

pub(crate) struct Place {
    pub(crate) io: Arc<Inner>,
    pub(crate) link: Arc<Link>,
    number: usize,
    pub(crate) seat: Option<Seat>,
    /// What the shard is told when this is dropped.
    pub(crate) dropped: Cause,
}

pub(crate) struct Seat {
    shard: usize,
    pub(crate) cell: Arc<ShardCell>,
    pub(crate) id: LinkId,
    /// The name of the same link for requests that overtake the GET which is held on it, once there
    /// has been one.
    overtaking: Option<LinkId>,
}

impl Place {
    /// Takes a place; `None` if there are as many connections as may be.
    pub(crate) fn new(io: &Arc<Inner>, link: Arc<Link>, peer: &Peer, dropped: Cause) -> Option<Self> {
        let number = io.enter(&link, peer)?;
        Some(Self {
            io: Arc::clone(io),
            link,
            number,
            seat: None,
            dropped,
        })
    }

    /// A complete request goes to its shard, or to the application if it is not Socket.IO's.
    pub(crate) fn handle_request(&mut self, turn: &Turn, mut request: Request) {
        // Before the lock, and also if it seems to name a session: only the shard knows whether
        // that is one.
        if request.may_open_session() {
            request.admission = self.io.admission(&request);
        }
        let shard = match self.io.router.route(&request) {
            Routed::Session(shard) => shard,
            Routed::New => {
                if request.admission == Admission::Allowed {
                    request.prepare(&self.io.config, turn.now());
                }
                self.io.pick_shard()
            }
            Routed::Foreign => {
                let mut response = self.io.answer(&request).0;
                response.exchange = request.http.exchange();
                response.exchange.keep_alive &= !self.io.is_closing();
                self.link.push(Write::Response(LinkId(0), Box::new(response)).into());
                turn.touch_link(&self.link, None);
                return;
            }
        };
        self.input(turn, shard, |state, now, id, out| {
            state.shard.handle_request(now, id, request, out)
        });
    }

    /// The head of a request whose body is on its way: its session has to know.
    pub(crate) fn handle_body_started(&mut self, turn: &Turn, request: &Request) {
        if let Routed::Session(shard) = self.io.router.route(request) {
            self.input(turn, shard, |state, now, id, out| {
                state.shard.handle_body_started(now, id, request, out)
            });
        }
    }

    /// An input on a shard in which this link has a seat; it takes one if it has none there.
    fn input(&mut self, turn: &Turn, shard: usize, input: impl FnOnce(&mut State, Time, LinkId, &mut Outputs)) {
        if self.seat.as_ref().is_some_and(|seat| seat.shard != shard) {
            self.leave_seat(turn, Cause::Closed);
        }
        let known = self.seat.as_ref().map(|seat| seat.id);
        let Some(cell) = self.io.cells.get(shard) else { return };
        let link = &self.link;
        let id = cell.input(turn, |state, now, out| {
            let id = known.unwrap_or_else(|| state.links.insert(Arc::clone(link)));
            input(state, now, id, out);
            id
        });
        if known.is_none() {
            self.seat = Some(Seat {
                shard,
                cell: Arc::clone(cell),
                id,
                overtaking: None,
            });
        }
    }

    /// Whether a GET is held on the link, so that what comes behind it may be read.
    pub(crate) fn holds(&self) -> bool {
        let held = |seat: &Seat| seat.cell.ask(|state| state.shard.holds(seat.id));
        self.seat.as_ref().is_some_and(held)
    }

    /// A complete request has come behind the GET that is held. If it may overtake that: what has
    /// to be written when the GET is answered ([`Place::answer_in_order`]).
    pub(crate) fn handle_behind(&mut self, turn: &Turn, request: Request) -> Option<Vec<Write>> {
        let mut request = Some(request);
        let mut answers = None;
        if let Self {
            link, seat: Some(seat), ..
        } = self
        {
            seat.cell.input(turn, |state, now, out| {
                let Some(request) = request.take_if(|request| state.shard.may_overtake(seat.id, request)) else {
                    return state.shard.end_poll(now, seat.id, out);
                };
                let id = *seat
                    .overtaking
                    .get_or_insert_with(|| state.links.insert(Arc::clone(link)));
                state.shard.handle_request(now, id, request, out);
                answers = Some(out.writes.extract_if(.., |write| write.link() == id).collect());
            });
        }
        if let Some(request) = request {
            self.handle_request(turn, request);
        }
        answers
    }

    /// Answers the GET that is held, if there is one, and then what has overtaken it.
    pub(crate) fn answer_in_order(&self, turn: &Turn, overtaken: Vec<Write>) {
        if let Some(Seat { cell, id, .. }) = &self.seat {
            cell.input(turn, |state, now, out| {
                state.shard.end_poll(now, *id, out);
                out.writes.extend(overtaken);
            });
        }
    }

    /// The connection has received so many bytes of what is not complete. False if there is no room
    /// for them.
    #[must_use]
    pub(crate) fn receive(&self, bytes: usize) -> bool {
        let Inner {
            connections, options, ..
        } = &*self.io;
        connections.lock().receive(self.number, bytes, options)
    }

    pub(crate) fn leave_seat(&mut self, turn: &Turn, cause: Cause) {
        if let Some(Seat {
            cell, id, overtaking, ..
        }) = self.seat.take()
        {
            cell.input(turn, |state, now, out| {
                for id in [Some(id), overtaking].into_iter().flatten() {
                    state.shard.handle_closed(now, id, cause, out);
                    state.links.remove(id);
                }
            });
        }
    }

    /// The link has come to its end while its task runs.
    pub(crate) fn end(&mut self, cause: Cause) {
        if self.seat.is_some() {
            turn::run(self.io.runtime, |turn| self.leave_seat(turn, cause));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.link.cut();
        if self.seat.is_some() && !std::thread::panicking() {
            // Cancelled. Handlers run in a task of their own, if there is still somebody to run it.
            let cause = self.dropped;
            let _ = guarded(|| turn::act(self.io.runtime, |turn| self.leave_seat(turn, cause)));
        }
        self.io.leave(self.number);
    }
}
