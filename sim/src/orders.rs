//! What the application orders costs steps, too: an emit, a broadcast, a join, the end of a socket.
//! Each kind of order has a bound of its own (promise 7, `docs/simulator.md`). It grows with the
//! bytes that are sent and with those who are reached, and not with those who are there.

use sio_proto::LinkId;

use crate::host::Socket;
use crate::model::Audience;
use crate::violation::Promise;
use crate::work::{STEPS_OF_BYTE, WRITTEN_OF_STEP};
use crate::world::World;

/// How many steps any order may take.
const STEPS_OF_ORDER: usize = 50;

/// How many steps each byte of a message may take. It is encoded once for each generation that is
/// in use.
const STEPS_OF_MESSAGE_BYTE: usize = 4;

/// How many steps a broadcast may take for each member of a room that it names, or of its
/// namespace.
const STEPS_OF_MEMBER: usize = 8;

/// How many steps a socket and each of its rooms, questions and packets may take that end with it.
const STEPS_OF_END: usize = 8;

/// What an order is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// A socket is let in, refused, or told what was had. So many bytes have come for its session
    /// that could not be handled before: events of 0.9 wait until their namespace is let in.
    Answer { waiting: usize },
    /// A message of so many bytes to one socket.
    Emit { bytes: usize },
    /// A message of so many bytes to rooms with so many members. So many packets wait for them.
    Broadcast {
        bytes: usize,
        members: usize,
        waiting: usize,
    },
    /// A socket that is in so many rooms joins or leaves one.
    Room { rooms: usize },
    /// A socket or its session ends, and so much with it: sockets, rooms, questions and packets.
    End { items: usize },
    /// A connection is gone, and with it so much: sockets, rooms, questions and packets. So many
    /// bytes were not written.
    Closed { items: usize, kept: usize },
    /// A connection can or cannot be written to. So many bytes of it may have waited.
    Connection { bytes: usize },
}

impl Order {
    /// How many steps it may take, beside what leaves because of it.
    const fn most(self) -> usize {
        STEPS_OF_ORDER
            + match self {
                Self::Answer { waiting } => STEPS_OF_BYTE * waiting,
                Self::Emit { bytes } => STEPS_OF_MESSAGE_BYTE * bytes,
                Self::Broadcast {
                    bytes,
                    members,
                    waiting,
                } => STEPS_OF_MESSAGE_BYTE * bytes + STEPS_OF_MEMBER * members + STEPS_OF_END * waiting,
                Self::Room { rooms } => STEPS_OF_MEMBER * rooms,
                Self::End { items } => STEPS_OF_END * items,
                Self::Closed { items, kept } => STEPS_OF_END * items + kept,
                Self::Connection { bytes } => STEPS_OF_BYTE * bytes,
            }
    }
}

/// An order that was carried out, and whose price is compared when all of its outputs are there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paid {
    order: Order,
    steps: usize,
    /// How many bytes the server had had for connections before.
    written: u64,
    /// How many bytes had waited behind requests that were answered before.
    released: usize,
}

impl World {
    /// An order was carried out. `before` is how many steps had been taken before it.
    pub(crate) fn note_order(&mut self, order: Order, before: usize) {
        self.earn(0);
        self.orders.push(Paid {
            order,
            steps: self.held.steps - before,
            written: self.written,
            released: self.released.0,
        });
    }

    /// Everything that orders have caused has come out: what they have cost is bounded by it.
    pub(crate) fn check_orders(&mut self) {
        for paid in std::mem::take(&mut self.orders) {
            let written = (self.written - paid.written) as usize;
            let released = self.released.0 - paid.released;
            let most = paid.order.most() + written / WRITTEN_OF_STEP + STEPS_OF_BYTE * released;
            let is_affordable = match paid.order {
                // Nothing that is done seldom is done by it.
                Order::Room { .. } => paid.steps <= most,
                _ => self.affords(paid.steps, most),
            };
            if !is_affordable {
                let Paid { order, steps, .. } = paid;
                self.fail(
                    Promise::Price,
                    format_args!("an order costs {steps} steps, at most {most}: {order:?}"),
                );
            }
        }
    }

    /// An answer to a socket, with what has come for its session and waits.
    pub(crate) fn answer_to(&mut self, socket: Socket) -> Order {
        let mut waiting = 0;
        self.server.shard(self.now, socket.shard, |shard, _| {
            let session = shard.session_of(socket.key);
            shard.holding_of_each(|key, holding| {
                if Some(key) == session {
                    waiting = holding.arriving.bytes;
                }
            });
        });
        Order::Answer { waiting }
    }

    /// What ends with a socket, or with its whole session: sockets, rooms, questions and packets.
    pub(crate) fn ending_with(&mut self, socket: Socket) -> usize {
        let now = self.now;
        let packets = self
            .server
            .shard(now, socket.shard, |shard, _| shard.queued(socket.key));
        let client = self.members.get(&socket).map(|member| member.client);
        let beside = self.members.values().filter(|member| Some(member.client) == client);
        let items = beside.map(|member| 1 + member.rooms.len() + member.asks.len());
        packets.map_or(0, |queued| queued.packets) + items.sum::<usize>()
    }

    /// What may end with a connection: the sockets of its session, their rooms and questions, and
    /// the packets that wait.
    pub(crate) fn ending_on(&mut self, link: LinkId) -> usize {
        let now = self.now;
        let Some((shard, session)) = self.server.session_on(now, link) else {
            return 0;
        };
        let Self { members, server, .. } = self;
        let (mut items, mut packets) = (0, 0);
        for (socket, member) in members.iter().filter(|(socket, _)| socket.shard == shard) {
            let (of, queued) = server.shard(now, shard, |shard, _| {
                (shard.session_of(socket.key), shard.queued(socket.key))
            });
            if of == Some(session) {
                items += 1 + member.rooms.len() + member.asks.len();
                packets = queued.map_or(0, |queued| queued.packets);
            }
        }
        items + packets
    }

    /// How many members the rooms of a broadcast have, each counted as often as it is met.
    pub(crate) fn met_by(&self, audience: &Audience) -> usize {
        let here = self
            .members
            .values()
            .filter(|member| member.is_accepted && member.namespace == audience.namespace);
        let met = here.map(|member| {
            let named = audience.rooms.iter().chain(&audience.except);
            let named = named.filter(|room| member.rooms.contains(*room)).count();
            named + usize::from(audience.rooms.is_empty())
        });
        met.sum()
    }

    /// How many packets wait for these sockets.
    pub(crate) fn waiting_for(&mut self, sockets: &[Socket]) -> usize {
        let now = self.now;
        let queued = |socket: &Socket| {
            let queued = self
                .server
                .shard(now, socket.shard, |shard, _| shard.queued(socket.key));
            queued.map_or(0, |queued| queued.packets)
        };
        sockets.iter().map(queued).sum()
    }
}
