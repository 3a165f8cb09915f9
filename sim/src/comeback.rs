//! Clients that come back: the machine of recovery, used as an application would use it.

use std::collections::BTreeSet;

use bytes::BytesMut;
use sio_proto::json;
use sio_proto::recovery::{self, Expired, NotRecovered, Opening, Recipients, RecordKey, Recovery, Room};
use sio_proto::server::{Auth, Form, Kept, Message, Welcome};
use sio_proto::socket::Offset;
use sio_proto::{ByteString, Config, Entropy, Sid, Time};

use crate::host::Socket;
use crate::model::{Audience, Down};
use crate::orders::Order;
use crate::plan::Plan;
use crate::violation::Promise;
use crate::world::{NAMESPACES, ROOMS, World, entropy, note};

/// After so many events a client is told what the server has had.
const CONFIRM_EVERY: u64 = 4;

/// What the application wants back with a record.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    /// The present socket, or the last one.
    pub(crate) socket: Socket,
    pub(crate) serial: u64,
    pub(crate) life: u64,
    pub(crate) client: usize,
    pub(crate) namespace: usize,
    pub(crate) rooms: BTreeSet<usize>,
    pub(crate) sid: String,
    /// How many events of the client have been had.
    pub(crate) heard: u64,
    /// How many of them the client was told on its present connection, at least.
    pub(crate) told: u64,
    /// Whether the client has asked for confirmations.
    pub(crate) confirms: bool,
    /// What is kept of its handshake while it is away, as the machine is told.
    pub(crate) bytes: usize,
}

/// See the [module](self).
pub(crate) struct Comebacks {
    pub(crate) machine: Recovery<Kept, Seat>,
    expired: Vec<Expired<Seat>>,
    random: Box<dyn Entropy>,
    room: Room,
    pub(crate) recovered: u64,
}

impl std::fmt::Debug for Comebacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Comebacks")
    }
}

/// What a client shows in its CONNECT.
#[derive(Debug, Default)]
struct Shown {
    pid: Option<String>,
    offset: Option<String>,
    confirmed: Option<u64>,
}

impl Shown {
    fn read(auth: &Auth) -> Self {
        let mut shown = Self::default();
        let Auth::Payload(payload) = auth else { return shown };
        for (name, value) in json::members(payload) {
            match &*json::unescape(name) {
                "pid" => shown.pid = Some(json::unescape(value).into_owned()),
                "offset" => shown.offset = Some(json::unescape(value).into_owned()),
                "sio.confirmed" => shown.confirmed = value.parse().ok(),
                _ => {}
            }
        }
        shown
    }
}

impl Comebacks {
    pub(crate) fn new(plan: &Plan, restarts: u64) -> Option<Self> {
        let config = plan.recovery.clone()?;
        let mut random = Box::new(entropy(plan.seed ^ 0xcafe ^ restarts << 40));
        let mut key = [0; 16];
        random(&mut key);
        Some(Self {
            machine: Recovery::new(config, key, plan.seed as u32 ^ restarts as u32),
            expired: Vec::new(),
            random,
            room: Room {
                bytes: plan.server.max_queued_bytes.saturating_sub(1024),
                packets: plan.server.max_queued_packets.saturating_sub(2),
            },
            recovered: 0,
        })
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.machine.next_timeout()
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        if self.machine.next_timeout().is_some_and(|time| time <= now) {
            self.machine.handle_timeout(now, &mut self.expired);
            self.expired.clear();
        }
    }

    /// The connection of a record's socket is gone. With `is_final`, the client does not come back.
    pub(crate) fn end(&mut self, now: Time, key: RecordKey, serial: u64, is_final: bool) {
        if self.machine.data(key).is_none_or(|seat| seat.serial != serial) {
            return;
        }
        match is_final {
            true => {
                self.machine.close(key);
            }
            false => {
                let bytes = self.machine.data(key).map_or(0, |seat| seat.bytes);
                self.machine.lost(now, key, bytes, &mut self.expired);
            }
        }
        self.expired.clear();
    }

    /// Puts a client into a room. If it is away, this may end the records of others.
    pub(crate) fn join(&mut self, key: RecordKey, room: &ByteString) {
        self.machine.join(key, room, &mut self.expired);
        self.expired.clear();
    }

    /// The records of all clients that are away.
    pub(crate) fn away(&self) -> Vec<(RecordKey, Seat)> {
        let keys = self.machine.keys().into_iter();
        let away = keys.filter(|key| self.machine.is_away(*key));
        away.filter_map(|key| Some((key, self.machine.data(key)?.clone())))
            .collect()
    }

    /// Gives a message the offset that it has if it is the next one.
    pub(crate) fn prepare(&self, config: &Config, message: &mut Message) {
        let current = self.machine.current(message.namespace());
        let next = |Offset { epoch, sequence }| Offset {
            epoch,
            sequence: sequence + 1,
        };
        let offset = match (message.carries_offset(), message.is_volatile()) {
            (false, _) => None,
            (true, true) => current,
            (true, false) => current.map(next),
        };
        message.set_offset(offset);
        let encoded = message.encode(Form::Engine4, config, &mut BytesMut::new());
        debug_assert!(encoded.is_ok() || message.packets() == 0);
    }

    /// Keeps a message that was sent, if it has a number. Returns whether it is kept.
    pub(crate) fn keep(&mut self, now: Time, message: &Message, to: Recipients) -> bool {
        if message.is_volatile() || message.shown_offset().is_none() {
            return false;
        }
        let namespace = message.namespace().clone();
        let posted = self
            .machine
            .post(now, &namespace, to, |arena| message.kept(arena), Kept::give_back);
        debug_assert_eq!(posted, message.shown_offset(), "the number is that which clients see");
        posted.is_some()
    }
}

impl Audience {
    /// The same for the machine of recovery.
    pub(crate) fn recipients(&self) -> Recipients {
        let names = |rooms: &[usize]| {
            rooms
                .iter()
                .map(|room| ROOMS[*room].into())
                .collect::<Vec<ByteString>>()
        };
        let mut except = names(&self.except);
        except.extend(self.except_sid.as_deref().map(ByteString::from));
        Recipients::Audience(recovery::Audience {
            rooms: names(&self.rooms),
            except,
        })
    }
}

impl World {
    /// Lets a client of 4.x in that may come back, or has come back.
    pub(crate) fn accept_recoverable(&mut self, socket: Socket, auth: &Auth) {
        let Some(member) = self.members.get(&socket) else {
            return;
        };
        let (client, namespace, sid) = (member.client, member.namespace, member.sid.clone());
        let shown = Shown::read(auth);
        let Some(comebacks) = &self.comebacks else { return };
        let name = NAMESPACES[namespace];
        let found = shown.pid.as_deref().and_then(|pid| comebacks.machine.find(name, pid));
        if let Some(key) = found {
            let heard = comebacks.machine.data(key).map_or(0, |seat| seat.heard);
            if shown.confirmed.is_some_and(|confirmed| confirmed > heard) {
                let words = format_args!(
                    "client {client} was confirmed {:?}, and {heard} were heard",
                    shown.confirmed
                );
                return self.fail(Promise::Recovery, words);
            }
            match self.take_over(socket, key, &shown) {
                Ok(()) => return,
                Err(why) => {
                    note!(self, "c{client} is not recovered: {why}");
                    let Some(comebacks) = &mut self.comebacks else { return };
                    self.held.charge(|| comebacks.machine.close(key));
                }
            }
        }
        self.begin_record(socket, (client, namespace, sid), &shown);
    }

    fn begin_record(&mut self, socket: Socket, (client, namespace, sid): (usize, usize, String), shown: &Shown) {
        let (now, serial, life) = (self.now, self.number(), self.number());
        let Some(comebacks) = &mut self.comebacks else { return };
        let mut random = [0; 18];
        comebacks.random.fill(&mut random);
        let Some(parsed) = Sid::parse(&sid) else {
            return self.fail(Promise::Conduct, format_args!("{sid} is no id"));
        };
        let opening = Opening {
            namespace: NAMESPACES[namespace].into(),
            sid: parsed,
            network: client as u128,
            random,
            data: Seat {
                socket,
                serial,
                life,
                client,
                namespace,
                rooms: BTreeSet::new(),
                sid,
                heard: 0,
                told: 0,
                confirms: shown.confirmed.is_some(),
                bytes: usize::from(random[0]) * 2,
            },
        };
        let Some((key, pid)) = self.held.charge(|| comebacks.machine.open(opening)) else {
            return;
        };
        let welcome = Welcome {
            pid: Some(pid),
            confirmed: shown.confirmed.map(|_| 0),
            ..Welcome::default()
        };
        note!(self, "accept c{client} {namespace} life {life}");
        if let Some(member) = self.members.get_mut(&socket) {
            (member.serial, member.life, member.record) = (serial, life, Some(key));
            member.is_accepted = true;
        }
        let answer = self.answer_to(socket);
        let accepted = self.at(socket, answer, |shard, out, key| {
            shard.accept_as(now, key, &welcome, out)
        });
        if let Some(member) = self.members.get_mut(&socket) {
            member.is_accepted = accepted;
        }
        if accepted {
            self.note_joined(socket);
        }
    }

    /// The client gets its old socket back.
    fn take_over(&mut self, socket: Socket, key: RecordKey, shown: &Shown) -> Result<(), NotRecovered> {
        let (now, serial) = (self.now, self.number());
        let Some(comebacks) = &mut self.comebacks else {
            return Err(NotRecovered::Unknown);
        };
        let (room, offset) = (comebacks.room, shown.offset.as_deref());
        let machine = &mut comebacks.machine;
        let claimed = self.held.charge(|| {
            let claimed = machine.claim(key, offset, room)?;
            let missed = claimed
                .missed
                .iter()
                .map(|entry| entry.message.message())
                .collect::<Vec<_>>();
            Ok::<_, NotRecovered>((claimed.rooms, missed))
        });
        let (rooms, missed) = claimed?;
        comebacks.recovered += 1;
        let Some(seat) = machine.data_mut(key) else {
            return Err(NotRecovered::Unknown);
        };
        let old = std::mem::replace(&mut seat.socket, socket);
        (seat.serial, seat.confirms) = (serial, shown.confirmed.is_some());
        seat.told = seat.heard;
        let seat = seat.clone();
        if self.members.get(&old).is_some_and(|member| member.record == Some(key)) {
            note!(self, "c{} takes over from its old connection", seat.client);
            let items = self.ending_with(old);
            self.at(old, Order::End { items }, |shard, out, old| {
                if let Some(session) = shard.session_of(old) {
                    shard.close_engine(now, session, out);
                }
            });
        }
        let welcome = Welcome {
            pid: self.comebacks.as_ref().and_then(|comebacks| comebacks.machine.pid(key)),
            id: Some(seat.sid.as_str().into()),
            confirmed: shown.confirmed.map(|_| seat.heard),
            ..Welcome::default()
        };
        let expected: BTreeSet<&str> = seat.rooms.iter().map(|room| ROOMS[*room]).collect();
        if expected != rooms.iter().map(|room| &**room).collect() {
            self.fail(
                Promise::Recovery,
                format_args!("client {} comes back into {rooms:?}", seat.client),
            );
        }
        note!(
            self,
            "accept c{} {} again, life {}, {} missed",
            seat.client,
            seat.namespace,
            seat.life,
            missed.len()
        );
        let answer = self.answer_to(socket);
        let accepted = self.at(socket, answer, |shard, out, key| {
            shard.accept_as(now, key, &welcome, out)
        });
        if !accepted {
            // Its end is delivered, and the record waits again.
            if let Some(comebacks) = &mut self.comebacks {
                comebacks.end(now, key, serial, false);
            }
            return Ok(());
        }
        self.note_joined(socket);
        if let Some(member) = self.members.get_mut(&socket) {
            (member.serial, member.life, member.record) = (serial, seat.life, Some(key));
            (member.is_accepted, member.rooms, member.sid) = (true, seat.rooms, seat.sid);
        }
        self.replay(socket, rooms, missed);
        Ok(())
    }

    /// Puts a recovered socket into its rooms, and sends what was missed.
    fn replay(&mut self, socket: Socket, rooms: Vec<ByteString>, missed: Vec<Message>) {
        let now = self.now;
        let bytes = missed.iter().map(|message| 100 + message.args().json.len()).sum();
        let failed = self.at(socket, Order::Emit { bytes }, |shard, _, key| {
            let joined = rooms.iter().map(|room| shard.join(key, room)).find_map(Result::err);
            let mut missed = missed;
            let mut failed = joined;
            for message in &mut missed {
                let sent = shard.emit(now, key, message, None);
                failed = failed.or_else(|| sent.err());
            }
            failed
        });
        if let Some(error) = failed {
            // Another namespace of the session has filled the queue. The client comes back.
            note!(self, "no room for the replay: {error}");
            let items = self.ending_with(socket);
            self.at(socket, Order::End { items }, |shard, out, key| {
                if let Some(session) = shard.session_of(key) {
                    shard.close_engine(now, session, out);
                }
            });
        }
    }

    /// Counts an event of a client that may come back, and confirms now and then.
    pub(crate) fn count_heard(&mut self, socket: Socket, key: RecordKey) {
        let Some(comebacks) = &mut self.comebacks else { return };
        let Some(seat) = comebacks.machine.data_mut(key).filter(|seat| seat.socket == socket) else {
            return;
        };
        seat.heard += 1;
        let (heard, confirms) = (seat.heard, seat.confirms);
        comebacks.machine.set_heard(key, heard);
        if confirms && heard.is_multiple_of(CONFIRM_EVERY) {
            self.tell_heard(socket, key);
        }
    }

    /// Confirms what was heard of all clients, if they were not told.
    pub(crate) fn confirm_all(&mut self) {
        let keys = self
            .members
            .iter()
            .filter_map(|(socket, member)| Some((*socket, member.record?)));
        let keys: Vec<_> = keys.collect();
        for (socket, key) in keys {
            let Some(comebacks) = &self.comebacks else { return };
            let seat = comebacks
                .machine
                .data(key)
                .filter(|seat| seat.confirms && seat.socket == socket);
            if seat.is_some_and(|seat| seat.heard != seat.told) {
                self.tell_heard(socket, key);
            }
        }
    }

    /// Tells a client how many of its events have been had. If its queue is full, it is told later.
    fn tell_heard(&mut self, socket: Socket, key: RecordKey) {
        let now = self.now;
        let seat = self
            .comebacks
            .as_ref()
            .and_then(|comebacks| comebacks.machine.data(key));
        let Some(heard) = seat.map(|seat| seat.heard) else {
            return;
        };
        let answer = self.answer_to(socket);
        let told = self.at(socket, answer, |shard, out, key| shard.confirm(now, key, heard, out));
        let seat = self
            .comebacks
            .as_mut()
            .and_then(|comebacks| comebacks.machine.data_mut(key));
        if let Some(seat) = seat.filter(|_| told) {
            seat.told = heard;
        }
    }

    /// Writes down a message for clients that are away, if it was kept for them.
    pub(crate) fn note_away(&mut self, number: u64, audience: &Audience) {
        let Some(comebacks) = &self.comebacks else { return };
        for (_, seat) in comebacks.away() {
            if audience.has(seat.namespace, &seat.rooms, &seat.sid) {
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
    }
}
