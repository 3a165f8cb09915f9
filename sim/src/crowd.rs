//! A crowd: some hundreds of idle sessions beside the clients, each on a websocket, in a namespace
//! of their own, and each in a room of its own and in one with all others. They only answer
//! heartbeats.
//!
//! With a few sessions, a server that looks at all sessions, rooms or deadlines with each input is
//! as cheap as one that does not. Beside a crowd it is not: all bounds of [`work`](crate::work)
//! and [`orders`](crate::orders) hold as if the crowd were not there, and nobody of the crowd may
//! be disturbed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use fastrand::Rng;
use sio_proto::server::{Cause, Message, Peer, Target};
use sio_proto::{ByteString, BytesMut, LinkId};

use crate::host::Socket;
use crate::orders::Order;
use crate::thief::{HOST, frame};
use crate::violation::Promise;
use crate::world::{ROOMS, World, note};

/// The namespace of the crowd.
pub(crate) const NAMESPACE: &str = "/crowd";

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    links: BTreeSet<LinkId>,
    /// The sockets that are let in, and the room that each has for itself.
    sockets: BTreeMap<Socket, String>,
    /// How many messages have left for the crowd.
    told: usize,
    /// Whether it is about to leave.
    leaves: bool,
}

impl Crowd {
    /// How many of the crowd are there.
    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether a connection belongs to the crowd.
    pub(crate) fn has(&self, link: LinkId) -> bool {
        self.links.contains(&link)
    }
}

/// The address of one of the crowd: each has a network of its own.
const fn address(at: usize) -> Peer {
    let ip = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, at as u16, 0, 0, 0, 1));
    Peer {
        address: Some(SocketAddr::new(ip, 4000)),
        secure: false,
    }
}

impl World {
    /// The crowd comes, if the seed has one.
    pub(crate) fn gather(&mut self) {
        let count = self.plan.crowd;
        if count == 0 {
            return;
        }
        note!(self, "a crowd of {count} comes");
        self.door.open();
        let mut visit = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .into_bytes();
        let joins = format!("40{NAMESPACE},");
        visit.extend(frame(0x81, joins.as_bytes(), joins.len()));
        for at in 0..count {
            let link = self.held.charge(|| self.server.open(address(at)));
            self.crowd.links.insert(link);
            self.give_from_crowd(link, &visit);
            self.settle();
        }
        if self.crowd.len() != count {
            let there = self.crowd.len();
            self.fail(
                Promise::Conduct,
                format_args!("{there} of a crowd of {count} are let in"),
            );
        }
        self.door.close(self.plan.refuses);
        // From here on the crowd costs nothing.
        self.baseline = self.held.bytes;
    }

    /// The crowd goes.
    pub(crate) fn scatter(&mut self) {
        if self.crowd.links.is_empty() {
            return;
        }
        note!(self, "the crowd goes");
        self.crowd.leaves = true;
        for link in std::mem::take(&mut self.crowd.links) {
            self.close_at_server(link, None, Cause::Closed);
            self.settle();
        }
        if self.crowd.len() > 0 {
            let left = self.crowd.len();
            self.fail(Promise::Disconnect, format_args!("{left} of a crowd are left"));
        }
        self.baseline = self.empty;
        // Who comes next removes what the crowd has left in tables.
        self.save_all();
    }

    /// Somebody of the crowd says something.
    fn give_from_crowd(&mut self, link: LinkId, bytes: &[u8]) {
        let now = self.now;
        self.door.begin_input();
        let before = self.before();
        self.held.charge(|| {
            let mut buffer = BytesMut::from(bytes);
            self.server.handle_bytes(now, link, &mut buffer);
        });
        let after = self.held;
        self.check_work(0, bytes.len(), before, after);
        self.note_sign(link, None);
    }

    /// Bytes leave for somebody of the crowd, who answers heartbeats.
    pub(crate) fn crowd_reads(&mut self, link: LinkId, bytes: &[u8]) {
        if bytes == b"\x81\x012" {
            self.give_from_crowd(link, &frame(0x81, b"3", 1));
        } else if bytes.contains(&b'#') {
            self.crowd.told += 1;
        }
    }

    /// Somebody of the crowd asks to be let in.
    pub(crate) fn crowd_asks(&mut self, socket: Socket) {
        let now = self.now;
        let room = format!("own{}", self.crowd.len());
        let answer = self.answer_to(socket);
        let joined = self.at(socket, answer, |shard, out, key| {
            shard.accept(now, key, out);
            shard.join(key, &room).and_then(|()| shard.join(key, ROOMS[0]))
        });
        if joined.is_err() {
            self.fail(Promise::Conduct, format_args!("one of a crowd cannot join: {joined:?}"));
        }
        self.note_joined(socket);
        self.crowd.sockets.insert(socket, room);
    }

    /// Somebody of the crowd is gone. True if it was one of the crowd.
    pub(crate) fn crowd_loses(&mut self, socket: Socket) -> bool {
        let was_here = self.crowd.sockets.remove(&socket).is_some();
        if was_here && !self.crowd.leaves {
            self.fail(
                Promise::Disconnect,
                format_args!("{socket:?} of the crowd is disturbed"),
            );
        }
        was_here
    }

    /// One of the crowd leaves the room of all, and comes back.
    pub(crate) fn move_in_crowd(&mut self, rng: &mut Rng) {
        let one = rng.usize(0..1 << 16) % self.crowd.len().max(1);
        let Some(socket) = self.crowd.sockets.keys().nth(one).copied() else {
            return;
        };
        let room = ROOMS[0];
        self.at(socket, Order::Room { rooms: 2 }, |shard, _, key| shard.leave(key, room));
        let joined = self.at(socket, Order::Room { rooms: 1 }, |shard, _, key| shard.join(key, room));
        if joined.is_err() {
            self.fail(Promise::Broadcast, format_args!("{socket:?} cannot join: {joined:?}"));
        }
    }

    /// A message to one of the crowd, or now and then to all.
    pub(crate) fn tell_crowd(&mut self, rng: &mut Rng) {
        let count = self.crowd.len();
        if count == 0 {
            return;
        }
        let own: ByteString = format!("own{}", rng.usize(0..count)).into();
        let rooms: Vec<ByteString> = match rng.u32(0..6) {
            0 => Vec::new(),
            1 => vec![ROOMS[0].into()],
            2 => vec![ROOMS[0].into(), own],
            _ => vec![own],
        };
        let is_for_all = rooms.first().is_none_or(|room| **room == *ROOMS[0]);
        let members = if is_for_all { count } else { 1 };
        let met = members + rooms.len().saturating_sub(1);
        let (now, number, before) = (self.now, self.number(), self.crowd.told);
        note!(self, "server: broadcast {number} to {members} of the crowd");
        for index in 0..self.server.shards() {
            let steps = self.held.steps;
            let target = Target {
                namespace: NAMESPACE.into(),
                rooms: rooms.clone(),
                except: Vec::new(),
                except_socket: None,
            };
            let text = ByteString::from(format!("\"#{number}#\""));
            let bytes = text.len();
            let mut message = Message::event(NAMESPACE.into(), "m".into(), text.into(), None);
            let server = &mut self.server;
            self.held.charge(|| {
                server.shard(now, index, |shard, out| {
                    shard.broadcast(now, &target, &mut message, out);
                });
            });
            let order = Order::Broadcast {
                bytes,
                members: met,
                waiting: 0,
            };
            self.note_order(order, steps);
        }
        self.settle();
        let told = self.crowd.told - before;
        if told != members {
            self.fail(
                Promise::Broadcast,
                format_args!("{number} is for {members} of the crowd, and leaves for {told}"),
            );
        }
    }
}
