//! What a connection has read and does not hand over yet: because its client may not send more
//! now, or because the handlers of its session lag.
//!
//! ```text
//!   packets, POST ─► handed over in portions ─► turn ─► no tokens, or handlers lag
//!        ▲                                                         │
//!        └── tokens, caught up, or no progress for a while ◄── paused: nothing is read
//! ```
//! While a connection pauses, nothing is read from it, so the peer's writes are stopped by TCP. A
//! POST is not answered before its last packets have been handed over. If its connection goes away
//! before, the rest is dropped, and the session ends, as with a POST whose body is cut off. Only
//! its own client waits: no lock and no buffer of the thread is held, and the packets that wait are
//! counted as received.
//!
//! A pause for handlers goes on as long as handlers finish. If none does for
//! [`Config::longest_pause`](sio_proto::Config::longest_pause), the next portion is handed over, so
//! that a client is not kept for ever by handlers that never finish: it ends at the limit of what
//! may wait.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use sio_proto::server::{Pace, Posted, Request};
use sio_proto::wire::Inbound;
use sio_proto::{SessionKey, Time};

use crate::host::place::{Place, Seat};
use crate::turn::load::{Lagging, Load};
use crate::turn::shard::{ShardCell, State};
use crate::turn::{self, Turn};
use crate::user::sleep::Sleep;

/// What a connection does not hand over yet.
pub(super) struct Pacing {
    held: Held,
    /// The memory that it takes. It counts as received, and not as work that is left: how
    /// long it is kept depends on one client, so nobody else may wait for it.
    size: Size,
    pause: Option<Pause>,
    /// Whether the next portion is handed over although the handlers lag.
    is_impatient: bool,
}

enum Held {
    /// Nothing: the connection only pauses.
    Nothing,
    Packets(VecDeque<Inbound>),
    Post {
        shard: usize,
        request: Box<Request>,
        posted: Posted,
    },
}

/// The memory that packets take, in bytes, and their number when it was counted. There may be
/// thousands of portions, so it is counted again only when half of the packets have gone.
#[derive(Clone, Copy, Default)]
struct Size {
    bytes: usize,
    packets: usize,
}

impl Size {
    fn of(held: &Held) -> Self {
        Self {
            bytes: held.bytes(),
            packets: held.packets(),
        }
    }

    /// The size of what is left. A packet of 0.6 may have become many.
    fn of_rest(self, held: &Held) -> Self {
        let packets = held.packets();
        match packets <= self.packets / 2 || packets > self.packets {
            true => Self::of(held),
            false => self,
        }
    }
}

/// Why nothing is handed over, and for how long.
struct Pause {
    cell: Arc<ShardCell>,
    session: SessionKey,
    why: Why,
    sleep: Sleep,
}

enum Why {
    /// The client may not send before this time.
    Throttled(Time),
    /// The handlers lag.
    Lagging(Lagging),
}

impl Pause {
    /// Begins a pause. The client is not expected to answer heartbeats meanwhile.
    fn begin(turn: &Turn, cell: &Arc<ShardCell>, session: SessionKey, why: Why) -> Self {
        Self {
            sleep: Self::rest(turn, cell, session, &why),
            cell: Arc::clone(cell),
            session,
            why,
        }
    }

    /// Excuses the client, and returns the time until it has to be excused again, or until the
    /// pause is over.
    fn rest(turn: &Turn, cell: &Arc<ShardCell>, session: SessionKey, why: &Why) -> Sleep {
        cell.input("excuse", turn, |state, now, out| state.shard.excuse(now, session, out));
        let longest = turn.now() + cell.config.longest_pause();
        let until = match why {
            Why::Throttled(until) => longest.min(*until),
            Why::Lagging(_) => longest,
        };
        Sleep::new(Arc::clone(cell), until)
    }

    fn has_session(&self) -> bool {
        let ask = |state: &mut State| state.shard.handshake(self.session).is_some();
        self.cell.ask("session", ask)
    }

    /// Waits for the end of the pause. The result says whether handlers that lag were waited for
    /// in vain.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            if let Why::Lagging(lagging) = &mut self.why
                && lagging.poll(cx).is_ready()
            {
                return Poll::Ready(false);
            }
            std::task::ready!(Pin::new(&mut self.sleep).poll(cx));
            // A session that has ended waits for nothing.
            if !self.has_session() {
                return Poll::Ready(false);
            }
            match &mut self.why {
                Why::Throttled(until) if self.cell.now() < *until => {}
                Why::Throttled(_) => return Poll::Ready(false),
                Why::Lagging(lagging) => {
                    if !lagging.has_progressed() {
                        return Poll::Ready(true);
                    }
                }
            }
            let Self {
                cell,
                session,
                why,
                sleep,
            } = self;
            turn::run(cell.runtime, |turn| *sleep = Self::rest(turn, cell, *session, why));
        }
    }
}

impl Held {
    fn packets(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Packets(packets) => packets.len(),
            Self::Post { posted, .. } => posted.count(),
        }
    }

    /// The memory that it takes, in bytes.
    fn bytes(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Packets(packets) => packets.iter().map(|p| size_of::<Inbound>() + p.bytes()).sum(),
            Self::Post { request, posted, .. } => {
                posted.bytes() + request.http.target.len() + request.http.body.as_ref().map_or(0, Bytes::len)
            }
        }
    }
}

impl Pacing {
    const fn new(held: Held, size: Size) -> Self {
        Self {
            held,
            size,
            pause: None,
            is_impatient: false,
        }
    }
}

impl Place {
    /// Whether something is not handed over yet, or the connection pauses.
    #[inline]
    pub(crate) fn is_paced(&self) -> bool {
        self.pacing().is_some()
    }

    #[inline]
    fn pacing(&self) -> Option<&Pacing> {
        self.aside.get()?.pacing.as_deref()
    }

    fn pacing_mut(&mut self) -> Option<&mut Pacing> {
        self.aside.get_mut()?.pacing.as_deref_mut()
    }

    fn set_pacing(&mut self, pacing: Pacing) {
        self.aside.parts().pacing = Some(Box::new(pacing));
    }

    fn take_pacing(&mut self) -> Option<Box<Pacing>> {
        self.aside.take(|aside| aside.pacing.take())
    }

    /// The memory that is taken by what is not handed over yet, in bytes.
    pub(crate) fn pacing_bytes(&self) -> usize {
        self.pacing().map_or(0, |pacing| pacing.size.bytes)
    }

    /// Gives packets of a websocket to their shard, as far as they may come now.
    #[inline]
    pub(crate) fn give_packets(&mut self, turn: &Turn, packets: &mut Vec<Inbound>) {
        let Some(Seat { cell, id, .. }) = &self.seat else {
            return packets.clear();
        };
        if packets.len() > self.most_packets().max(1) {
            return self.give_first(turn, packets);
        }
        let id = *id;
        if cell.take_packets(turn, id, packets) {
            return self.note_unpaced();
        }
        let mut paced = None;
        cell.input("packets", turn, |state, now, out| {
            state.shard.handle_packets(now, id, packets, out);
            if state.shard.measures() {
                paced = state.shard.pace_on(now, id);
            }
        });
        match paced {
            None => self.note_unpaced(),
            Some((session, pace)) => self.follow(turn, session, pace),
        }
    }

    /// Nobody has a limit here. A connection begins with one packet if somebody has a limit
    /// elsewhere.
    #[inline]
    fn note_unpaced(&mut self) {
        if self.most_packets() == 1 {
            self.set_most_packets(self.portion());
        }
    }

    /// Gives as many packets to the shard as may come now. The others wait.
    #[cold]
    fn give_first(&mut self, turn: &Turn, packets: &mut Vec<Inbound>) {
        let rest = packets.drain(self.most_packets().max(1)..).map(Inbound::kept).collect();
        let held = Held::Packets(rest);
        let size = Size::of(&held);
        self.give_packets(turn, packets);
        self.hold(held, size);
    }

    /// Goes on at the pace of a client that has a limit. The connection pauses if its client may
    /// send nothing now.
    fn follow(&mut self, turn: &Turn, session: SessionKey, pace: Pace) {
        self.set_most_packets(pace.packets.min(self.portion()));
        let (Some(until), Some(Seat { cell, .. })) = (pace.until, &self.seat) else {
            return;
        };
        let pause = self.pause(turn, cell, session, Why::Throttled(until));
        let mut pacing = Pacing::new(Held::Nothing, Size::default());
        pacing.pause = Some(pause);
        self.set_pacing(pacing);
    }

    /// Keeps what waits, behind a pause that may have begun.
    fn hold(&mut self, held: Held, size: Size) {
        let mut pacing = Pacing::new(held, size);
        pacing.pause = self.take_pacing().and_then(|pacing| pacing.pause);
        self.set_pacing(pacing);
    }

    /// Whether a POST for an existing session of this shard is handed over in portions.
    pub(super) fn must_pace(&self, cell: &ShardCell, request: &Request) -> bool {
        let packets = request.packets();
        packets > 0 && (packets > self.portion() || cell.loads().paces())
    }

    /// Whether a POST waits, and keeps nothing of its body.
    #[cfg(test)]
    pub(super) fn keeps_no_body(&self) -> bool {
        match self.pacing().map(|pacing| &pacing.held) {
            Some(Held::Post { posted, .. }) => posted.is_kept(),
            Some(Held::Nothing | Held::Packets(_)) | None => false,
        }
    }

    /// Takes up a POST that is handed over in portions. The first portion follows at once, if it
    /// may come.
    pub(super) fn pace(&mut self, turn: &Turn, shard: usize, mut request: Request) {
        let posted = Posted::new(request.take_packets());
        let request = Box::new(request);
        let held = Held::Post { shard, request, posted };
        let size = Size::of(&held);
        self.set_pacing(Pacing::new(held, size));
        self.go_on(turn);
        if let Some(pacing) = self.pacing_mut() {
            pacing.keep();
        }
    }

    /// Called after a turn. If the handlers of the session lag, the connection pauses, unless it is
    /// the websocket of an upgrade that is under way.
    #[inline]
    pub(crate) fn note_lag(&mut self) {
        if turn::take_lag() {
            self.pause_for_lag();
        }
    }

    #[cold]
    fn pause_for_lag(&mut self) {
        let Some(Seat { cell, id, .. }) = &self.seat else {
            return;
        };
        let cell = Arc::clone(cell);
        let found = cell.ask("lag", |state| {
            let session = state.shard.session_on(*id).filter(|_| !state.shard.is_candidate(*id))?;
            Some((session, Arc::clone(state.shard.handshake(session)?)))
        });
        let Some((session, handshake)) = found else { return };
        let load = Load::new(&handshake, cell.loads());
        if !load.lags() {
            return;
        }
        if self.pacing().is_some_and(|pacing| pacing.pause.is_some()) {
            return;
        }
        let why = Why::Lagging(load.lag());
        let pause = turn::run(cell.runtime, |turn| self.pause(turn, &cell, session, why));
        let begin = || Box::new(Pacing::new(Held::Nothing, Size::default()));
        let pacing = self.aside.parts().pacing.get_or_insert_with(begin);
        pacing.pause = Some(pause);
    }

    /// Waits until the next portion may be handed over, and hands it over. The result is ready when
    /// something has been done. No work must have been left, and some may be left then.
    pub(crate) fn poll_pace(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(Pacing {
            pause: pause @ Some(_),
            is_impatient,
            ..
        }) = self.pacing_mut()
            && let Some(waiting) = pause
        {
            *is_impatient = std::task::ready!(waiting.poll(cx));
            *pause = None;
        }
        let ((), leftover) = turn::run_a_while(self.io.runtime(), |turn| self.go_on(turn));
        self.leave_work(leftover);
        self.note_lag();
        Poll::Ready(())
    }

    /// Hands over the next portion, unless a pause begins.
    fn go_on(&mut self, turn: &Turn) {
        let Some(pacing) = self.take_pacing() else { return };
        let Pacing {
            held,
            size,
            is_impatient,
            ..
        } = *pacing;
        match held {
            Held::Nothing => {}
            Held::Packets(mut packets) => {
                let portion = self.most_packets().clamp(1, packets.len().max(1));
                let mut now: Vec<Inbound> = packets.drain(..portion.min(packets.len())).collect();
                self.give_packets(turn, &mut now);
                if packets.len() <= packets.capacity() / 2 {
                    packets.shrink_to_fit();
                }
                if !packets.is_empty() {
                    let held = Held::Packets(packets);
                    let size = size.of_rest(&held);
                    self.hold(held, size);
                }
            }
            Held::Post { shard, request, posted } => {
                if let Some((held, pause)) = self.go_on_with_post(turn, shard, request, posted, is_impatient) {
                    let size = size.of_rest(&held);
                    let mut pacing = Pacing::new(held, size);
                    pacing.pause = pause;
                    self.set_pacing(pacing);
                }
            }
        }
    }

    /// Hands over the next portion of a POST, unless a pause begins. Returns what is left, without
    /// its size.
    fn go_on_with_post(
        &mut self,
        turn: &Turn,
        shard: usize,
        mut request: Box<Request>,
        mut posted: Posted,
        is_impatient: bool,
    ) -> Option<(Held, Option<Pause>)> {
        let cell = self.io.shards.cells.get(shard).map(Arc::clone)?;
        let (session, pace, handshake) = cell.ask("pace", |state| {
            let now = turn.now();
            let session = state.shard.session_named_by(&request);
            let pace = session.map_or(Pace::FREE, |session| state.shard.pace(now, session));
            let handshake = session.and_then(|session| state.shard.handshake(session)).cloned();
            (session, pace, handshake)
        });
        let load = handshake.as_ref().map(|handshake| Load::new(handshake, cell.loads()));
        let lags = load.filter(|load| !is_impatient && load.lags());
        let why = match (pace.until, lags) {
            (Some(until), _) => Some(Why::Throttled(until)),
            (None, Some(load)) => Some(Why::Lagging(load.lag())),
            (None, None) => None,
        };
        if let (Some(session), Some(why)) = (session, why) {
            if posted.begins() && !self.note_waiting_post(turn, shard, &request) {
                return None;
            }
            let pause = self.pause(turn, &cell, session, why);
            return Some((Held::Post { shard, request, posted }, Some(pause)));
        }
        let portion = pace.packets.min(self.portion());
        let mut goes_on = false;
        self.input(turn, shard, |state, now, id, out| {
            goes_on = state.shard.handle_part(now, id, &request, &mut posted, portion, out);
        });
        if !goes_on {
            return None;
        }
        if request.http.body.is_ok() {
            // Its packets are in `posted`.
            request.http.body = Ok(Bytes::new());
        }
        // A piece of a stream becomes many packets, which are parts of it. They must not keep it.
        let posted = posted.kept();
        Some((Held::Post { shard, request, posted }, None))
    }

    /// Tells the shard of a POST that waits before its first portion. Returns false if the POST is
    /// refused.
    fn note_waiting_post(&mut self, turn: &Turn, shard: usize, request: &Request) -> bool {
        let mut waits = false;
        self.input(turn, shard, |state, now, id, out| {
            waits = state.shard.handle_waiting_post(now, id, request, out);
        });
        waits
    }

    fn pause(&self, turn: &Turn, cell: &Arc<ShardCell>, session: SessionKey, why: Why) -> Pause {
        self.io.tally.paused(matches!(why, Why::Throttled(_)));
        Pause::begin(turn, cell, session, why)
    }

    /// How many packets are handed over at once: a quarter of what may wait for a session, so that
    /// what was read never exceeds this limit by itself.
    pub(super) fn portion(&self) -> usize {
        (self.io.options.max_waiting_events / 4).max(1)
    }
}

impl Pacing {
    /// Prepares a POST that waits: it must not keep a read buffer alive.
    fn keep(&mut self) {
        let held = std::mem::replace(&mut self.held, Held::Nothing);
        self.held = match held {
            Held::Post {
                shard,
                mut request,
                posted,
            } => {
                request.http = request.http.compact();
                let posted = posted.kept();
                Held::Post { shard, request, posted }
            }
            held => held,
        };
    }
}
