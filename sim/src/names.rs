//! Namespaces and rooms that a peer has named. In a seed with narrow limits the thief joins
//! namespaces that nobody else has, and the application puts it into the rooms that its events
//! name. A naive model knows which of this the limits allow (promises 4 and 7).

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use sio_proto::server::SendError;

use crate::habits::frames;
use crate::host::Socket;
use crate::life::Session;
use crate::network::Way;
use crate::orders::Order;
use crate::thief::{MOST_WIRES, request};
use crate::violation::Promise;
use crate::world::{NAMESPACES, ROOMS, World, note};

/// How a namespace begins that only a thief names.
const NAMED: &str = "/n";

/// How many such namespaces there are.
const NAMESPACES_NAMED: usize = 12;

/// How many beginnings the names of rooms have.
const LETTERS: usize = 26;

/// A socket in a namespace that its client has named.
#[derive(Debug)]
struct Guest {
    session: Session,
    namespace: String,
    rooms: BTreeSet<String>,
    /// The server has said that it is gone. Then it leaves in the same step.
    leaves: bool,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Names {
    guests: BTreeMap<Socket, Guest>,
    /// The session of each socket, and how many bytes of credentials it has shown.
    shown: BTreeMap<Socket, (Session, usize)>,
}

impl Names {
    /// How many sockets are in namespaces that they have named.
    pub(crate) fn len(&self) -> usize {
        self.guests.len()
    }

    /// The session in which a socket has asked to be let in.
    pub(crate) fn session_of(&self, socket: Socket) -> Option<Session> {
        self.shown.get(&socket).map(|(session, _)| *session)
    }

    /// Whether a socket is in such a namespace.
    pub(crate) fn has(&self, socket: Socket) -> bool {
        self.guests.contains_key(&socket)
    }
}

impl World {
    /// A socket asks to be let in, and shows so many bytes of credentials. Promise 7: a session
    /// keeps no more of them than it may.
    pub(crate) fn note_credentials(&mut self, socket: Socket, session: Session, bytes: usize) {
        self.names.shown.insert(socket, (session, bytes));
        let shown = self.names.shown.values().filter(|(of, _)| *of == session);
        let (all, most) = (
            shown.map(|(_, bytes)| bytes).sum::<usize>(),
            self.plan.server.max_auth_bytes,
        );
        if all > most {
            let words = format_args!("the sockets of a session have shown {all} bytes of credentials, at most {most}");
            self.fail(Promise::Price, words);
        }
        // Promise 7: neither has it more sockets, nor are there more namespaces.
        let count = self.names.shown.values().filter(|(of, _)| *of == session).count();
        let most = self.plan.server.max_namespaces_per_session;
        if count > most {
            let words = format_args!("a session is in {count} namespaces, at most {most}");
            self.fail(Promise::Price, words);
        }
    }

    /// The sockets are gone, or were refused.
    pub(crate) fn forget_credentials(&mut self, socket: Socket) {
        self.names.shown.remove(&socket);
    }

    /// The thief joins a namespace that it has named. False if it is none of these.
    pub(crate) fn enter_named(&mut self, socket: Socket, session: Session, namespace: &str) -> bool {
        if !namespace.starts_with(NAMED) {
            return false;
        }
        note!(self, "server: the thief is in {namespace}");
        let guest = Guest {
            session,
            namespace: namespace.to_owned(),
            rooms: BTreeSet::new(),
            leaves: false,
        };
        self.names.guests.insert(socket, guest);
        let members = self.members.iter().filter(|(other, _)| other.shard == socket.shard);
        let mut here: BTreeSet<&str> = members.map(|(_, member)| NAMESPACES[member.namespace]).collect();
        let guests = self.names.guests.iter();
        let guests = guests.filter(|(other, _)| other.shard == socket.shard);
        here.extend(guests.map(|(_, guest)| guest.namespace.as_str()));
        let (count, most) = (here.len(), self.plan.server.max_namespaces);
        if count > most {
            let words = format_args!("a shard has {count} namespaces, at most {most}");
            self.fail(Promise::Price, words);
        }
        let (now, answer) = (self.now, self.answer_to(socket));
        if self.at(socket, answer, |shard, out, key| shard.accept(now, key, out)) {
            self.note_joined(socket);
        }
        true
    }

    /// A guest wants to be in a room, or out of it. The model knows whether there is room.
    pub(crate) fn move_guest(&mut self, socket: Socket, joins: bool, room: &str) {
        let config = &self.plan.server;
        let Some(guest) = self.names.guests.get_mut(&socket) else {
            return;
        };
        let (count, bytes) = (guest.rooms.len(), guest.rooms.iter().map(String::len).sum::<usize>());
        let is_there = guest.rooms.contains(room);
        let fits = room.len() <= config.max_room_name_bytes
            && count < config.max_rooms_per_socket
            && bytes + room.len() <= config.max_room_bytes_per_socket;
        if !joins {
            guest.rooms.remove(room);
            self.at(socket, Order::Room { rooms: count }, |shard, _, key| {
                shard.leave(key, room)
            });
            return;
        }
        let is_right = is_there || fits;
        if is_right {
            guest.rooms.insert(room.to_owned());
        }
        let joined = self.at(socket, Order::Room { rooms: count }, |shard, _, key| {
            shard.join(key, room)
        });
        note!(
            self,
            "server: a guest in {count} rooms of {bytes} bytes joins {room:?}: {joined:?}"
        );
        if joined == Err(SendError::Disconnected) {
            // Too much waits, so the server has ended it. Nobody has been told yet.
            if let Some(guest) = self.names.guests.get_mut(&socket) {
                guest.leaves = true;
                if !is_there {
                    guest.rooms.remove(room);
                }
            }
        } else if joined.is_ok() && !is_right {
            let words = format_args!("{socket:?} is in {count} rooms with {bytes} bytes, and joins {room:?}");
            self.fail(Promise::Price, words);
        } else if joined.is_err() && is_right {
            let words = format_args!("{socket:?} is in {count} rooms with {bytes} bytes, and cannot join {room:?}");
            self.fail(Promise::Broadcast, words);
        }
    }

    /// Promise 4: each guest is in the rooms of the model.
    pub(crate) fn check_guests(&mut self) {
        let (now, mut wrong) = (self.now, None);
        let Self { names, server, .. } = self;
        for (socket, guest) in &names.guests {
            let rooms = server.shard(now, socket.shard, |shard, _| shard.rooms(socket.key));
            let rooms: BTreeSet<String> = rooms.iter().map(ToString::to_string).collect();
            if guest.leaves || rooms != guest.rooms {
                wrong = Some((*socket, rooms, guest.rooms.clone()));
            }
        }
        if let Some((socket, rooms, expected)) = wrong {
            let words = format_args!("{socket:?} is in {rooms:?}, not in {expected:?}");
            self.fail(Promise::Broadcast, words);
        }
    }

    /// A guest is gone. False if the socket was none.
    pub(crate) fn lose_guest(&mut self, socket: Socket, rooms: &BTreeSet<String>) -> bool {
        let Some(guest) = self.names.guests.remove(&socket) else {
            return false;
        };
        note!(self, "server: the thief is not in {} any more", guest.namespace);
        if guest.rooms != *rooms {
            let expected = &guest.rooms;
            let words = format_args!("{socket:?} was in {rooms:?}, not in {expected:?}");
            self.fail(Promise::Broadcast, words);
        }
        true
    }

    /// The sockets of guests.
    pub(crate) fn guests(&self) -> Vec<Socket> {
        self.names.guests.keys().copied().collect()
    }

    /// The thief names namespaces and rooms.
    pub(crate) fn name_something(&mut self, peer: usize, rng: &mut Rng) {
        let wires = self.wires_of(peer);
        let now = self.now;
        let one = rng.usize(0..1 << 16);
        let sessions: Vec<Session> = self.names.guests.values().map(|guest| guest.session).collect();
        let link_of = |world: &Self, number: &u64| world.wires.get(number)?.at_server;
        let mut open = Vec::new();
        for number in &wires {
            let link = link_of(self, number);
            if let Some(session) = link.and_then(|link| self.server.session_on(now, link))
                && sessions.contains(&session)
            {
                open.push((*number, session));
            }
        }
        if open.is_empty() || rng.u32(0..5) == 0 {
            if wires.len() < MOST_WIRES {
                let mut all = request(rng, "GET", "/socket.io/?EIO=4&transport=websocket", None);
                let mut packets = vec!["40".to_owned()];
                packets.extend((0..rng.usize(1..5)).map(|_| self.connect_named(rng)));
                all.extend(frames(&packets));
                self.open_raw(peer, &all);
            }
            return;
        }
        let (number, session) = open[one % open.len()];
        let guests = self.names.guests.values().filter(|guest| guest.session == session);
        let namespaces: Vec<String> = guests.map(|guest| guest.namespace.clone()).collect();
        let namespace = &namespaces[rng.usize(0..namespaces.len())];
        let packets: Vec<String> = match rng.u32(0..8) {
            0 => vec![format!("41{namespace},")],
            1 | 2 => vec![self.connect_named(rng)],
            _ => (0..rng.usize(1..9))
                .map(|_| {
                    let word = if rng.u32(0..5) == 0 { "leave" } else { "join" };
                    let room = room(rng);
                    format!("42{namespace},[\"{word}\",\"{room}\"]")
                })
                .collect(),
        };
        self.write(number, Way::Up, &frames(&packets));
    }

    fn connect_named(&self, rng: &mut Rng) -> String {
        let namespace = rng.usize(0..NAMESPACES_NAMED);
        let token = "t".repeat([0, 10, 500, 900][rng.usize(0..4)]);
        format!("40{NAMED}{namespace},{{\"token\":\"{token}\"}}")
    }
}

/// The name of a room, as a peer may choose it: now and then one of the rooms of others.
fn room(rng: &mut Rng) -> String {
    if rng.u32(0..6) == 0 {
        return ROOMS[rng.usize(0..ROOMS.len())].to_owned();
    }
    let letter = char::from(b'a' + rng.usize(0..LETTERS) as u8);
    letter.to_string().repeat([2, 5, 12, 24, 25, 200][rng.usize(0..6)])
}
