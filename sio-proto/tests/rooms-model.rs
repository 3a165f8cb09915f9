//! Rooms and broadcasts compared with a naive model: sets of names, and a loop over all members
//! (docs/protocol/socket-io.md §7).

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod cases;
mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use proptest::prelude::*;
use sio_proto::server::{Command, Delivery, Message, SendError, Target};
use sio_proto::{ByteString, Config, LinkId, SocketKey};

/// A room's name is one of these, or the id of a member that is or was there.
#[derive(Clone, Debug)]
enum Room {
    Named(u8),
    IdOf(usize),
}

#[derive(Clone, Debug)]
struct Aim {
    rooms: Vec<Room>,
    except: Vec<Room>,
    but: Option<usize>,
}

#[derive(Clone, Debug)]
enum Step {
    Enter(u8),
    Join(usize, Room),
    Leave(usize, Room),
    JoinAll(Aim, Vec<Room>),
    LeaveAll(Aim, Vec<Room>),
    Broadcast(Aim),
    Disconnect(usize),
    DisconnectAll(Aim),
    Cut(usize),
}

fn room() -> impl Strategy<Value = Room> {
    prop_oneof![4 => (0..4u8).prop_map(Room::Named), 1 => (0..12usize).prop_map(Room::IdOf)]
}

fn rooms(most: usize) -> impl Strategy<Value = Vec<Room>> {
    prop::collection::vec(room(), 0..most)
}

fn aim() -> impl Strategy<Value = Aim> {
    (rooms(4), rooms(3), prop::option::of(0..12usize)).prop_map(|(rooms, except, but)| Aim { rooms, except, but })
}

fn step() -> impl Strategy<Value = Step> {
    let member = 0..12usize;
    prop_oneof![
        3 => (0..3u8).prop_map(Step::Enter),
        6 => (member.clone(), room()).prop_map(|(m, r)| Step::Join(m, r)),
        2 => (member.clone(), room()).prop_map(|(m, r)| Step::Leave(m, r)),
        1 => (aim(), rooms(3)).prop_map(|(a, r)| Step::JoinAll(a, r)),
        1 => (aim(), rooms(3)).prop_map(|(a, r)| Step::LeaveAll(a, r)),
        6 => aim().prop_map(Step::Broadcast),
        1 => member.clone().prop_map(Step::Disconnect),
        1 => aim().prop_map(Step::DisconnectAll),
        1 => member.prop_map(Step::Cut),
    ]
}

/// How a member is connected.
#[derive(Clone, Debug)]
enum Way {
    WebSocket(LinkId),
    Polling(String, LinkId),
    Old(LinkId),
}

struct Member {
    way: Way,
    socket: SocketKey,
    id: String,
    here: bool,
}

struct Model {
    world: World,
    members: Vec<Member>,
    rooms: BTreeMap<String, BTreeSet<usize>>,
    said: usize,
}

impl Model {
    fn enter(&mut self, kind: u8) {
        let world = &mut self.world;
        let way = match kind {
            0 => Way::WebSocket(world.join()),
            1 => {
                let sid = world.join_polling();
                let parked = world.poll(&sid);
                Way::Polling(sid, parked)
            }
            _ => {
                let link = world.open();
                world.send(link, &upgrade("/socket.io/websocket"));
                world.frames(link);
                Way::Old(link)
            }
        };
        let Some(Delivery::Connect { socket, sid, .. }) = world.deliveries.pop() else {
            panic!()
        };
        self.members.push(Member {
            way,
            socket,
            id: sid.to_string(),
            here: true,
        });
    }

    fn name(&self, room: &Room) -> String {
        match room {
            Room::Named(n) => format!("room {n}"),
            Room::IdOf(at) => self
                .members
                .get(*at)
                .map_or_else(|| "nobody".into(), |member| member.id.clone()),
        }
    }

    fn names(&self, rooms: &[Room]) -> Vec<String> {
        rooms.iter().map(|room| self.name(room)).collect()
    }

    fn target(&self, aim: &Aim) -> Target {
        let names = |rooms| self.names(rooms).into_iter().map(ByteString::from).collect();
        Target {
            namespace: "/".into(),
            rooms: names(&aim.rooms),
            except: names(&aim.except),
            except_socket: aim.but.and_then(|at| self.members.get(at)).map(|m| m.socket),
        }
    }

    /// Whether a name is the id of a member that is or was there. No other member may join this
    /// room.
    fn is_an_id(&self, name: &str) -> bool {
        self.members.iter().any(|member| member.id == name)
    }

    /// Whether a member is in a room: the member has joined it, or it is the member's own room.
    fn is_in(&self, member: usize, room: &str) -> bool {
        self.members[member].id == room || self.rooms.get(room).is_some_and(|room| room.contains(&member))
    }

    fn meant(&self, aim: &Aim) -> Vec<usize> {
        let (rooms, except) = (self.names(&aim.rooms), self.names(&aim.except));
        (0..self.members.len())
            .filter(|m| self.members[*m].here && aim.but != Some(*m))
            .filter(|m| rooms.is_empty() || rooms.iter().any(|room| self.is_in(*m, room)))
            .filter(|m| !except.iter().any(|room| self.is_in(*m, room)))
            .collect()
    }

    fn gone(&mut self, member: usize) {
        self.members[member].here = false;
        self.rooms.values_mut().for_each(|room| {
            room.remove(&member);
        });
    }

    fn joined(&mut self, member: usize, name: &str) {
        if !self.is_an_id(name) {
            self.rooms.entry(name.into()).or_default().insert(member);
        }
    }

    fn left(&mut self, member: usize, name: &str) {
        self.rooms.entry(name.into()).or_default().remove(&member);
    }

    /// The members that have received the last broadcast, each as often as it has received it.
    fn recipients(&mut self) -> Vec<usize> {
        let mut found = Vec::new();
        for (at, member) in self.members.iter_mut().enumerate() {
            let packets = match &mut member.way {
                Way::WebSocket(link) | Way::Old(link) => self.world.frames(*link),
                Way::Polling(sid, parked) => {
                    let answer = self.world.received(*parked);
                    if answer.is_empty() {
                        continue;
                    }
                    if member.here {
                        *parked = self.world.poll(sid);
                    }
                    body(&answer).split('\u{1e}').map(Into::into).collect()
                }
            };
            let said = format!("\"n\",{}", self.said);
            let said_old = format!("\"n\",\"args\":[{}]", self.said);
            found.extend(
                packets
                    .iter()
                    .filter(|p| p.contains(&said) || p.contains(&said_old))
                    .map(|_| at),
            );
        }
        found
    }

    fn take(&mut self, step: &Step) {
        let member = |at: &usize| self.members.get(*at).map(|m| (*at, m.socket, m.here));
        match step {
            Step::Enter(kind) => {
                if self.members.len() < 12 {
                    self.enter(*kind);
                }
            }
            Step::Join(at, room) => {
                let Some((at, socket, here)) = member(at) else { return };
                let name = self.name(room);
                let result = self.world.shard(|shard, _| shard.join(socket, &name));
                let expected = match here {
                    false => Err(SendError::Disconnected),
                    true if self.is_an_id(&name) && self.members[at].id != name => Err(SendError::Reserved),
                    true => Ok(()),
                };
                assert_eq!(result, expected);
                if here {
                    self.joined(at, &name);
                }
            }
            Step::Leave(at, room) => {
                let Some((at, socket, here)) = member(at) else { return };
                let name = self.name(room);
                self.world.shard(|shard, _| shard.leave(socket, &name));
                if here {
                    self.left(at, &name);
                }
            }
            Step::JoinAll(aim, rooms) | Step::LeaveAll(aim, rooms) => {
                let (target, names) = (self.target(aim), self.names(rooms));
                let meant = self.meant(aim);
                let rooms = names.iter().map(|name| ByteString::from(&**name)).collect();
                let joins = matches!(step, Step::JoinAll(..));
                self.world.command(if joins {
                    Command::Join { target, rooms }
                } else {
                    Command::Leave { target, rooms }
                });
                for at in meant {
                    for name in &names {
                        if joins {
                            self.joined(at, name);
                        } else {
                            self.left(at, name);
                        }
                    }
                }
            }
            Step::Broadcast(aim) => {
                self.said += 1;
                let target = self.target(aim);
                let members = self.world.shard(|shard, _| shard.members(&target));
                let json = ByteString::from(self.said.to_string());
                let message = Message::event("/".into(), "n".into(), json.into(), None);
                self.world.command(Command::Broadcast { target, message });
                let meant = self.meant(aim);
                assert_eq!(self.recipients(), meant, "{aim:?}");
                let mut members: Vec<usize> = members
                    .iter()
                    .map(|key| self.members.iter().position(|m| m.socket == *key).unwrap())
                    .collect();
                members.sort_unstable();
                assert_eq!(members, meant, "{aim:?}");
            }
            Step::Disconnect(at) => {
                let Some((at, socket, _)) = member(at) else { return };
                self.world.disconnect(socket, true);
                self.gone(at);
            }
            Step::DisconnectAll(aim) => {
                let (target, meant) = (self.target(aim), self.meant(aim));
                self.world.command(Command::Disconnect { target, close: true });
                meant.into_iter().for_each(|at| self.gone(at));
            }
            Step::Cut(at) => {
                let Some((at, ..)) = member(at) else { return };
                // A client of 0.6 whose connection is cut is away, and may come back.
                if let Way::WebSocket(link) | Way::Polling(_, link) = self.members[at].way {
                    self.world.cut(link, sio_proto::server::Cause::Failed);
                    self.gone(at);
                }
            }
        }
        for at in 0..self.members.len() {
            let socket = self.members[at].socket;
            let mut rooms = self.world.shard(|shard, _| shard.rooms(socket));
            rooms.sort();
            let expected: Vec<&String> = self
                .rooms
                .iter()
                .filter(|(_, m)| m.contains(&at))
                .map(|(n, _)| n)
                .collect();
            assert_eq!(rooms, expected);
        }
    }
}

proptest! {
    #![proptest_config(cases::usually(300))]

    #[test]
    fn everybody_meant_is_told_once_and_nobody_else(steps in prop::collection::vec(step(), 1..60)) {
        let mut model = Model { world: World::new(Config::default()), members: Vec::new(), rooms: BTreeMap::new(), said: 0 };
        for kind in 0..3 {
            model.enter(kind);
        }
        for step in &steps {
            model.take(step);
        }
        // Clients that poll send one more poll, and are told that the session is over.
        for member in &model.members {
            if let Way::Polling(sid, _) = &member.way && !member.here {
                model.world.fetch(sid);
            }
        }
        let here = model.members.iter().filter(|m| m.here).count();
        prop_assert_eq!(model.world.sessions(), here);
    }
}

/// Hardening A4.
#[test]
fn a_socket_is_alone_in_the_room_of_its_id() {
    let mut world = World::new(Config::default());
    let (host, guest, other) = (world.join(), world.join(), world.join());
    let Delivery::Connect { sid, .. } = &world.deliveries[0] else {
        panic!()
    };
    let room = sid.to_string();
    let [host_socket, guest_socket, other_socket] = world.sockets[..] else {
        panic!()
    };
    world.broadcast(&[&room], "a", "");
    assert_eq!((world.frames(host).len(), world.frames(guest).len()), (1, 0));
    let refused = world.shard(|shard, _| shard.join(guest_socket, &room));
    assert_eq!(refused, Err(SendError::Reserved));
    let target = Target {
        namespace: "/".into(),
        ..Target::default()
    };
    world.command(Command::Join {
        target,
        rooms: vec![room.as_str().into()],
    });
    world.shard(|shard, _| shard.join(host_socket, &room)).unwrap();
    world.broadcast(&[&room], "a", "");
    assert_eq!((world.frames(host).len(), world.frames(guest).len()), (1, 0));
    assert_eq!(world.frames(other), [""; 0]);
    assert!(
        world.shard(|shard, _| shard.rooms(host_socket)).is_empty(),
        "its own is not listed"
    );
    assert!(world.shard(|shard, _| shard.rooms(other_socket)).is_empty());
    // A message to a client that has gone reaches nobody.
    world.cut(host, sio_proto::server::Cause::Closed);
    let refused = world.shard(|shard, _| shard.join(guest_socket, &room));
    assert_eq!(refused, Err(SendError::Reserved));
    world.broadcast(&[&room], "a", "");
    assert_eq!(world.frames(guest), [""; 0]);
}

#[test]
fn rooms_end_at_the_border_of_their_namespace() {
    let mut world = World::new(Config::default());
    let link = world.join();
    world.send(link, &text("40/a,"));
    let [here, there] = world.sockets[..] else { panic!() };
    world.frames(link);
    for socket in [here, there] {
        world.shard(|shard, _| shard.join(socket, "r")).unwrap();
    }
    world.broadcast(&["r"], "x", "");
    assert_eq!(world.frames(link), ["42[\"x\"]"]);
    world.send(link, &text("41"));
    world.broadcast(&["r"], "x", "");
    world.broadcast(&[], "x", "");
    assert_eq!(world.frames(link), [""; 0]);
}

#[test]
fn volatile_messages_are_for_those_who_can_take_them_now() {
    let mut world = World::new(Config::default());
    let (free, blocked) = (world.join(), world.join());
    let polling = world.join_polling();
    let waiting = world.join_polling();
    let parked = world.poll(&waiting);
    world.server.handle_blocked(world.now, blocked, 0);
    let target = Target {
        namespace: "/".into(),
        ..Target::default()
    };
    let message = Message::event("/".into(), "v".into(), ByteString::new().into(), None).volatile(true);
    world.command(Command::Broadcast { target, message });
    assert_eq!(world.frames(free), ["42[\"v\"]"]);
    assert_eq!(body(&world.received(parked)), "42[\"v\"]");
    assert_eq!(world.received(blocked), "");
    world.broadcast(&[], "r", "");
    let now = world.now;
    world.server.handle_drained(now, blocked);
    world.settle();
    assert_eq!(world.frames(blocked), ["42[\"r\"]"]);
    assert_eq!(body(&world.fetch(&polling)), "42[\"r\"]");
}
