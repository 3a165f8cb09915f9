//! What the users at both ends do.

use std::time::Duration;

use fastrand::Rng;
use sio_proto::client::{Emit, EmitId, Offline, SocketId};
use sio_proto::recovery::{Recipients, RecordKey};
use sio_proto::server::{AckRequest, Forms, Key, Message, Policy, SendError, Shard, Target};
use sio_proto::{ByteString, BytesMut};

use crate::content::{Content, Shape};
use crate::host::Socket;
use crate::model::{Audience, Down, Up};
use crate::orders::Order;
use crate::payer::Deed;
use crate::plan::Kind;
use crate::violation::Promise;
use crate::world::{NAMESPACES, ROOMS, World, note};

/// The bytes of a message without its padding.
const SMALL: usize = 40;

/// The largest burst.
const BURST: usize = 40;

/// How a client sends an event.
#[derive(Debug, Default)]
pub(crate) struct Saying {
    pub(crate) padding: usize,
    pub(crate) has_bytes: bool,
    pub(crate) asks: bool,
    /// Time for the answer, if it is not that of the settings.
    pub(crate) timeout: Option<Duration>,
    pub(crate) offline: Offline,
    /// Whether it is a message without a name on the wires before 1.0.
    pub(crate) is_message: bool,
}

impl World {
    /// Does one operation of a user, or a fault.
    pub(crate) fn operate(&mut self, kind: Kind, rng: &mut Rng) {
        let client = rng.usize(0..1 << 16) % self.users();
        match kind {
            Kind::ClientEmit => self.client_emit(client, rng, false),
            Kind::ClientAsk => self.client_emit(client, rng, true),
            Kind::ClientBurst => (0..rng.usize(2..BURST)).for_each(|_| self.client_emit(client, rng, false)),
            Kind::ServerEmit => self.server_emit(rng, 1),
            Kind::ServerBurst => {
                let count = rng.usize(2..BURST);
                self.server_emit(rng, count);
            }
            Kind::ServerAsk => {
                self.server_ask(rng);
                self.ask_much(rng);
            }
            Kind::Broadcast => {
                self.broadcast(rng);
                self.tell_crowd(rng);
            }
            Kind::Join | Kind::Leave => {
                self.change_rooms(rng, kind == Kind::Join);
                self.move_in_crowd(rng);
            }
            Kind::ClientLeave => self.client_leave(client, rng),
            Kind::ClientConnect => {
                let now = self.now;
                for socket in self.sockets_of(client, rng) {
                    let payer = &mut self.peers[client].payer;
                    let _ = payer.act(Deed::Other(0), |client| client.connect(now, socket));
                }
            }
            Kind::ServerLeave => self.server_leave(rng),
            Kind::Wake => {
                let now = self.now;
                let payer = &mut self.peers[client].payer;
                payer.act(Deed::Other(0), |client| client.wake(now));
                self.trouble(client);
            }
            Kind::Thief => self.steal(rng),
            fault => self.inject(fault, client, rng),
        }
    }

    /// Which namespaces a client leaves or connects: one, or on old wires all, where the namespace
    /// `/` is the session itself.
    fn sockets_of(&self, client: usize, rng: &mut Rng) -> Vec<SocketId> {
        let sockets = &self.peers[client].sockets;
        let one = rng.usize(0..2) % sockets.len();
        match self.peers[client].is_old() {
            true => sockets.clone(),
            false => vec![sockets[one]],
        }
    }

    fn client_leave(&mut self, client: usize, rng: &mut Rng) {
        let now = self.now;
        for socket in self.sockets_of(client, rng) {
            let payer = &mut self.peers[client].payer;
            let _ = payer.leave(|client| client.disconnect(now, socket));
        }
        for namespace in 0..NAMESPACES.len() {
            // A client that leaves while it connects was never told that it is connected.
            let place = self.place(client, namespace);
            place.has_left |= !place.is_connected;
        }
    }

    /// A client sends an event.
    pub(crate) fn client_emit(&mut self, client: usize, rng: &mut Rng, asks: bool) {
        let namespace = rng.usize(0..2) % self.peers[client].sockets.len();
        let padding = rng.usize(0..=self.plan.padding);
        let (asks, is_volatile) = (asks && !self.peers[client].is_plain(), rng.u32(0..8) == 0);
        let has_bytes = !self.peers[client].is_old() && rng.u32(0..8) == 0;
        let saying = Saying {
            padding,
            has_bytes,
            asks,
            offline: if is_volatile { Offline::Volatile } else { Offline::Queue },
            ..Saying::default()
        };
        self.say(client, namespace, saying);
    }

    /// A client sends the next event in a namespace. Returns its number, if it was taken.
    pub(crate) fn say(&mut self, client: usize, namespace: usize, saying: Saying) -> Option<(EmitId, usize)> {
        let (now, number) = (self.now, self.place(client, namespace).up.len());
        let Saying { padding, has_bytes, .. } = saying;
        let is_volatile = saying.offline == Offline::Volatile;
        let peer = &mut self.peers[client];
        let (socket, is_plain) = (peer.sockets[namespace], peer.is_plain());
        let name = if is_plain || saying.is_message { "message" } else { "e" };
        let emitted = peer.payer.act(Deed::Other(2 * padding + SMALL), |machine| {
            let args = Content::up(number, client, padding, has_bytes).into_args();
            let mut emit = Emit::new(name, args).offline(saying.offline);
            (emit.ack, emit.timeout) = (saying.asks, saying.timeout);
            machine.emit(now, socket, emit)
        });
        let emit = emitted.ok()?;
        peer.payer.note_emit();
        peer.emits.insert(emit, (namespace, number));
        note!(self, "c{client}: sends {number} in {namespace}");
        let up = Up {
            is_volatile,
            end: None,
            heard: 0,
            copies: 0,
            life: None,
            padding,
            has_bytes,
        };
        self.place(client, namespace).up.push(up);
        self.settle();
        Some((emit, number))
    }

    /// A socket that is accepted, if there is one.
    pub(crate) fn any_socket(&self, rng: &mut Rng) -> Option<Socket> {
        let accepted = self.members.iter().filter(|(_, member)| member.is_accepted);
        let sockets: Vec<Socket> = accepted.map(|(socket, _)| *socket).collect();
        let at = rng.usize(0..1 << 16);
        (!sockets.is_empty()).then(|| sockets[at % sockets.len()])
    }

    /// The server sends events to one socket, or to one that is away.
    fn server_emit(&mut self, rng: &mut Rng, count: usize) {
        let away = self.comebacks.as_ref().map(crate::comeback::Comebacks::away);
        if let Some(away) = away.filter(|away| !away.is_empty())
            && rng.u32(0..3) == 0
        {
            let (key, seat) = &away[rng.usize(0..away.len())];
            return self.emit_to_away(*key, seat, rng);
        }
        let Some(socket) = self.any_socket(rng) else { return };
        for _ in 0..count {
            let is_volatile = rng.u32(0..6) == 0;
            let padding = rng.usize(0..=self.plan.padding);
            let has_bytes = rng.u32(0..8) == 0;
            // One that waits may be displaced by the next.
            let policy = match rng.u32(0..12) {
                0 | 1 => Policy::DropOldest,
                2 => Policy::Newest(Key::from_text("newest")),
                _ => Policy::Ordered,
            };
            if self.members.get(&socket).is_some_and(|member| member.is_accepted) {
                let _ = self.emit_to(socket, padding, (is_volatile, policy), has_bytes);
                // A caller takes the outputs after each command, and so the server hears what
                // cannot be written.
                self.settle();
            }
        }
    }

    /// An event of the server.
    pub(crate) fn message(&self, namespace: usize, number: u64, shape: Shape) -> Message {
        let name = if shape.is_plain { "message" } else { "m" };
        let args = Content::down(number, shape).into_args();
        Message::event(NAMESPACES[namespace].into(), name.into(), args, None)
    }

    /// The server sends one event to one socket.
    pub(crate) fn emit_to(
        &mut self,
        socket: Socket,
        padding: usize,
        (is_volatile, policy): (bool, Policy),
        has_bytes: bool,
    ) -> Option<Result<u64, SendError>> {
        let (now, number) = (self.now, self.number());
        let member = self.members.get(&socket).cloned()?;
        let is_plain = Self::is_plain(member.generation);
        let shape = self.shaped(number, padding, has_bytes && !is_plain, is_plain);
        let (mut held, steps) = (self.held, self.held.steps);
        let is_reliable = !is_volatile && policy == Policy::Ordered;
        let (sent, is_kept) = held.charge(|| {
            let message = self.message(member.namespace, number, shape);
            let mut message = message.volatile(is_volatile).policy(policy);
            if let Some(comebacks) = &self.comebacks {
                comebacks.prepare(&self.plan.server, &mut message);
            }
            let sent = self.server.shard(now, socket.shard, |shard, _| {
                shard.emit(now, socket.key, &mut message, None)
            });
            let keeps = sent.is_ok();
            let kept = match (&mut self.comebacks, member.record) {
                (Some(comebacks), Some(key)) if keeps => comebacks.keep(now, &message, Recipients::Record(key)),
                // The number has been shown, so it is taken.
                (Some(comebacks), None) if keeps => {
                    let nobody = Audience {
                        except_sid: None,
                        rooms: vec![0],
                        except: vec![0],
                        namespace: member.namespace,
                    };
                    comebacks.keep(now, &message, nobody.recipients());
                    false
                }
                _ => false,
            };
            (sent, kept)
        });
        self.held = held;
        let bytes = 2 * padding + SMALL;
        self.note_order(Order::Emit { bytes }, steps);
        note!(
            self,
            "server: {number} to c{} {} {sent:?}",
            member.client,
            member.namespace
        );
        match sent {
            Ok(()) => self.note_sent(
                member.client,
                member.namespace,
                Down {
                    number,
                    life: member.life,
                    serial: member.serial,
                    is_reliable,
                    is_kept,
                },
            ),
            Err(SendError::Disconnected) => {
                self.fail(
                    Promise::Disconnect,
                    format_args!("{socket:?} is gone, and nobody was told"),
                );
            }
            Err(_) => {}
        }
        Some(sent.map(|()| number))
    }

    fn emit_to_away(&mut self, key: RecordKey, seat: &crate::comeback::Seat, rng: &mut Rng) {
        let (now, number, padding) = (self.now, self.number(), rng.usize(0..=self.plan.padding));
        let mut held = self.held;
        let shape = self.shaped(number, padding, false, false);
        let is_kept = held.charge(|| {
            let mut message = self.message(seat.namespace, number, shape);
            let Some(comebacks) = &mut self.comebacks else {
                return false;
            };
            comebacks.prepare(&self.plan.server, &mut message);
            comebacks.keep(now, &message, Recipients::Record(key))
        });
        self.held = held;
        note!(
            self,
            "server: {number} to c{} {}, which is away",
            seat.client,
            seat.namespace
        );
        if is_kept {
            self.note_sent(
                seat.client,
                seat.namespace,
                Down {
                    number,
                    life: seat.life,
                    serial: seat.serial,
                    is_reliable: true,
                    is_kept: true,
                },
            );
        }
    }

    fn server_ask(&mut self, rng: &mut Rng) {
        let names = (self.number(), self.number());
        let timeout = rng.bool().then_some(Duration::from_millis(rng.u64(100..3000)));
        let Some(socket) = self.any_socket(rng) else { return };
        self.ask_socket(socket, timeout, names);
    }

    /// The server asks one socket. The message and the question have these numbers.
    pub(crate) fn ask_socket(&mut self, socket: Socket, timeout: Option<Duration>, (number, id): (u64, u64)) {
        let shape = self.shaped(number, 0, false, false);
        self.ask_in(socket, timeout, (number, id), ("m", shape));
    }

    /// The server asks one socket in an event with this name and shape. Returns whether it is
    /// asked.
    pub(crate) fn ask_in(
        &mut self,
        socket: Socket,
        timeout: Option<Duration>,
        (number, id): (u64, u64),
        (name, shape): (&str, Shape),
    ) -> bool {
        let now = self.now;
        let Some(member) = self.members.get(&socket).cloned() else {
            return false;
        };
        let bytes = 2 * shape.padding + SMALL;
        let sent = self.at(socket, Order::Emit { bytes }, |shard, _, key| {
            let args = Content::down(number, shape).into_args();
            let mut message = Message::event(NAMESPACES[member.namespace].into(), name.into(), args, Some(id));
            let ack = Some(AckRequest { id, timeout });
            shard.emit(now, key, &mut message, ack)
        });
        note!(
            self,
            "server: asks c{} {} {number} {sent:?}",
            member.client,
            member.namespace
        );
        match sent {
            Ok(()) => {
                if let Some(member) = self.members.get_mut(&socket) {
                    member.asks.insert(id, (number, timeout.map(|timeout| now + timeout)));
                    let (owes, most) = (member.asks.len(), self.plan.server.max_pending_acks);
                    if owes > most {
                        let words = format_args!("{socket:?} owes {owes} answers, at most {most}");
                        self.fail(Promise::Price, words);
                    }
                }
                self.note_sent(
                    member.client,
                    member.namespace,
                    Down {
                        number,
                        life: member.life,
                        serial: member.serial,
                        is_reliable: true,
                        is_kept: false,
                    },
                );
            }
            Err(SendError::Unsupported) if Self::is_plain(member.generation) => {}
            Err(SendError::Full) => {}
            Err(error) => self.fail(
                Promise::Acknowledgement,
                format_args!("{number} cannot be asked: {error}"),
            ),
        }
        sent.is_ok()
    }

    fn broadcast(&mut self, rng: &mut Rng) {
        if self.plan.straits.is_some_and(|straits| straits.oversizes) && rng.u32(0..3) == 0 {
            return self.broadcast_too_much();
        }
        let rooms = (0..ROOMS.len()).filter(|_| rng.u32(0..3) == 0).collect();
        let except = (0..ROOMS.len()).filter(|_| rng.u32(0..6) == 0).collect();
        let namespace = rng.usize(0..NAMESPACES.len());
        let sender = self.any_socket(rng).filter(|_| rng.u32(0..3) == 0);
        let audience = Audience {
            namespace,
            rooms,
            except,
            except_sid: sender.and_then(|socket| Some(self.members.get(&socket)?.sid.clone())),
        };
        let is_volatile = rng.u32(0..8) == 0;
        let (padding, has_bytes) = (rng.usize(0..=self.plan.padding), rng.u32(0..10) == 0);
        self.broadcast_to(&audience, is_volatile, padding, has_bytes);
    }

    fn broadcast_to(&mut self, audience: &Audience, is_volatile: bool, padding: usize, has_bytes: bool) {
        let namespace = audience.namespace;
        let number = self.number();
        let expected: Vec<Socket> = self.audience(audience);
        note!(self, "server: broadcast {number} {audience:?} to {}", expected.len());
        let (now, names) = (self.now, |rooms: &[usize]| {
            rooms.iter().map(|room| ROOMS[*room].into()).collect()
        });
        let members = self.met_by(audience);
        let shape = self.shaped(number, padding, has_bytes, false);
        let waiting = self.waiting_for(&expected);
        let (mut held, steps) = (self.held, self.held.steps);
        let (found, is_kept) = held.charge(|| {
            let mut except: Vec<ByteString> = names(&audience.except);
            except.extend(audience.except_sid.as_deref().map(ByteString::from));
            let target = Target {
                namespace: NAMESPACES[namespace].into(),
                rooms: names(&audience.rooms),
                except,
                except_socket: None,
            };
            let message = self.message(namespace, number, shape);
            let mut message = message.volatile(is_volatile);
            if let Some(comebacks) = &self.comebacks {
                comebacks.prepare(&self.plan.server, &mut message);
            }
            // It is encoded once, and not in each shard, as the documentation of `Message` says.
            let mut forms = Forms::default();
            for index in 0..self.server.shards() {
                forms = forms.union(self.server.shard(now, index, |shard, _| shard.forms_in_use()));
            }
            for form in forms.iter() {
                // A message that has no such form reaches no client of it.
                let _ = message.encode(form, &self.plan.server, &mut BytesMut::new());
            }
            let mut found = Vec::new();
            for index in 0..self.server.shards() {
                let mut copy = message.clone();
                self.server.shard(now, index, |shard, out| {
                    let members = shard.members(&target).into_iter();
                    found.extend(members.map(|key| Socket { shard: index, key }));
                    shard.broadcast(now, &target, &mut copy, out);
                });
            }
            let kept = self.comebacks.as_mut();
            let kept = kept.is_some_and(|comebacks| comebacks.keep(now, &message, audience.recipients()));
            (found, kept)
        });
        self.held = held;
        let order = Order::Broadcast {
            bytes: 2 * padding + SMALL,
            members,
            waiting,
        };
        self.note_order(order, steps);
        self.note_broadcast(number, audience, &expected, found, (is_volatile, is_kept));
    }

    /// The sockets that a broadcast reaches, as the model knows them.
    fn audience(&self, audience: &Audience) -> Vec<Socket> {
        let accepted = self.members.iter().filter(|(_, member)| member.is_accepted);
        let meant = accepted.filter(|(_, member)| audience.has(member.namespace, &member.rooms, &member.sid));
        meant.map(|(socket, _)| *socket).collect()
    }

    fn note_broadcast(
        &mut self,
        number: u64,
        audience: &Audience,
        expected: &[Socket],
        mut found: Vec<Socket>,
        (is_volatile, is_kept): (bool, bool),
    ) {
        found.sort_unstable();
        if found != *expected {
            self.fail(
                Promise::Broadcast,
                format_args!("{number} is for {expected:?} and goes to {found:?}"),
            );
        }
        for socket in expected {
            let Some(member) = self.members.get(socket).cloned() else {
                continue;
            };
            let keeps = is_kept && member.record.is_some();
            self.note_sent(
                member.client,
                member.namespace,
                Down {
                    number,
                    life: member.life,
                    serial: member.serial,
                    is_reliable: !is_volatile,
                    is_kept: keeps,
                },
            );
        }
        if is_kept {
            self.note_away(number, audience);
        }
    }

    fn change_rooms(&mut self, rng: &mut Rng, joins: bool) {
        let room = rng.usize(0..ROOMS.len());
        let away = self
            .comebacks
            .as_ref()
            .map(crate::comeback::Comebacks::away)
            .unwrap_or_default();
        if !away.is_empty() && rng.u32(0..3) == 0 {
            let (key, seat) = &away[rng.usize(0..1 << 16) % away.len()];
            if rng.u32(0..3) == 0 {
                self.say_in(seat.namespace, room, rng);
            }
            return self.move_away(*key, room, joins);
        }
        let Some(socket) = self.any_socket(rng) else { return };
        let (says, cuts) = (rng.u32(0..3) == 0, rng.u32(0..3) == 0);
        if says {
            // Somebody who joins now was no member when this was said, and somebody who leaves was.
            if let Some(member) = self.members.get(&socket) {
                self.say_in(member.namespace, room, rng);
            }
            // The queue may have become too long.
            self.settle();
            if !self.members.contains_key(&socket) {
                return;
            }
        }
        let rooms = self.members.get(&socket).map_or(0, |member| member.rooms.len());
        let joined = self.at(socket, Order::Room { rooms }, |shard, _, key| match joins {
            true => shard.join(key, ROOMS[room]),
            false => {
                shard.leave(key, ROOMS[room]);
                Ok(())
            }
        });
        let Some(member) = self.members.get_mut(&socket) else {
            return;
        };
        note!(
            self,
            "server: c{} {} joins {joins} {room}: {joined:?}",
            member.client,
            member.namespace
        );
        if joined.is_err() {
            return self.fail(Promise::Broadcast, format_args!("{socket:?} cannot join: {joined:?}"));
        }
        match joins {
            true => member.rooms.insert(room),
            false => member.rooms.remove(&room),
        };
        let (rooms, record, client) = (member.rooms.clone(), member.record, member.client);
        if let (Some(key), Some(comebacks)) = (record, &mut self.comebacks) {
            self.held.charge(|| match joins {
                true => comebacks.join(key, &ROOMS[room].into()),
                false => comebacks.machine.leave(key, ROOMS[room]),
            });
            if let Some(seat) = comebacks.machine.data_mut(key) {
                seat.rooms = rooms;
            }
        }
        if cuts {
            // What was said just before may not have arrived.
            self.trouble(client);
            for wire in self.wires_of(client) {
                self.cut(wire, 0);
            }
        }
    }

    /// Says something in a room that somebody is about to leave or to join, or outside of it.
    fn say_in(&mut self, namespace: usize, room: usize, rng: &mut Rng) {
        let (inside, outside) = (vec![room], Vec::new());
        let (rooms, except) = if rng.bool() {
            (inside, outside)
        } else {
            (outside, inside)
        };
        let audience = Audience {
            namespace,
            rooms,
            except,
            except_sid: None,
        };
        self.broadcast_to(&audience, false, 0, false);
    }

    /// Moves a client that is away into a room, or out of it.
    fn move_away(&mut self, key: RecordKey, room: usize, joins: bool) {
        let Some(comebacks) = &mut self.comebacks else { return };
        self.held.charge(|| match joins {
            true => comebacks.join(key, &ROOMS[room].into()),
            false => comebacks.machine.leave(key, ROOMS[room]),
        });
        // It may have been the one that was away for longest.
        let Some(seat) = comebacks.machine.data_mut(key) else {
            return;
        };
        match joins {
            true => seat.rooms.insert(room),
            false => seat.rooms.remove(&room),
        };
        let (client, namespace) = (seat.client, seat.namespace);
        note!(
            self,
            "server: c{client} {namespace}, which is away, joins {joins} {room}"
        );
    }

    /// The sockets of the session of this socket.
    fn sockets_beside(&mut self, socket: Socket) -> Vec<Socket> {
        let now = self.now;
        let Self { members, server, .. } = self;
        let here = members.keys().filter(|other| other.shard == socket.shard).copied();
        let of = |shard: &Shard, socket: Socket| shard.session_of(socket.key);
        here.filter(|other| {
            server.shard(now, socket.shard, |shard, _| {
                of(shard, socket).is_some() && of(shard, *other) == of(shard, socket)
            })
        })
        .collect()
    }

    fn server_leave(&mut self, rng: &mut Rng) {
        let (now, closes) = (self.now, rng.bool());
        let Some(socket) = self.any_socket(rng) else { return };
        note!(self, "server: disconnects {socket:?}, session {closes}");
        if let Some(client) = self.members.get(&socket).map(|member| member.client) {
            self.trouble(client);
        }
        // A session that is closed takes all of its sockets along.
        let ending = match closes {
            true => self.sockets_beside(socket),
            false => vec![socket],
        };
        let items = self.ending_with(socket);
        self.at(socket, Order::End { items }, |shard, out, key| {
            shard.disconnect(now, key, closes, out)
        });
        self.settle();
        if let Some(socket) = ending.iter().find(|socket| self.members.contains_key(socket)) {
            self.fail(
                Promise::Disconnect,
                format_args!("{socket:?} was disconnected, and is there"),
            );
        }
    }
}
