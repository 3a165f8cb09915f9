//! What the machines say: their outputs go to the network, to the users and to the model.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sio_proto::client::{
    Credentials, Delivery as ClientDelivery, DisconnectReason, Output as ClientOutput, Recovery, SocketId, State,
};
use sio_proto::server::{AckError, Auth, BreachKind, Delivery, Generation, Output, Outputs, Reason, Shard};
use sio_proto::{ByteString, LinkId, SessionKey, SocketKey};

use crate::content::{Content, names, number_in, speaker_in};
use crate::crowd;
use crate::host::Socket;
use crate::model::{Down, Hearing, Member, Wrong};
use crate::network::Way;
use crate::orders::Order;
use crate::payer::Deed;
use crate::violation::Promise;
use crate::world::{Asking, NAMESPACES, World, note};

/// How long after an upgrade a fault in the order of messages counts as one of the upgrade.
const AFTER_UPGRADE: Duration = Duration::from_secs(2);

/// How many messages may wait for a client until its heartbeat may be late.
const LONG_QUEUE: usize = 12;

/// A delivery of the server, without any memory of the server.
enum Told {
    Bytes(LinkId, Vec<u8>),
    End(LinkId),
    Connect {
        socket: Socket,
        session: SessionKey,
        namespace: String,
        client: Option<usize>,
        sid: String,
        auth: Auth,
        generation: Generation,
    },
    /// An event, with the id of its question.
    Event(Socket, Content, Option<u64>),
    /// An event that names an attachment more than once.
    Multiplied(Socket),
    Ack(Socket, u64, Result<Content, AckError>),
    /// A socket is gone, for this reason, because of a breach or not, and whether it was connected.
    Disconnect(Socket, Reason, bool, bool, BTreeSet<String>),
    /// An event that names a room, which its client wants to join or to leave.
    Moves(Socket, bool, String),
    Breach(Option<Socket>, BreachKind, String),
    Foreign(LinkId),
    Nothing,
}

impl World {
    /// Does something with a socket of the server, for which the server pays.
    pub(crate) fn at<R>(
        &mut self,
        socket: Socket,
        order: Order,
        act: impl FnOnce(&mut Shard, &mut Outputs, SocketKey) -> R,
    ) -> R {
        let (now, Socket { shard, key }) = (self.now, socket);
        let (server, steps) = (&mut self.server, self.held.steps);
        let result = self
            .held
            .charge(|| server.shard(now, shard, |shard, out| act(shard, out, key)));
        self.note_order(order, steps);
        result
    }

    /// Takes all outputs, until there are none.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut any = false;
            for client in 0..self.peers.len() {
                while let Some(mut output) = self.peers[client].payer.poll_output() {
                    any = true;
                    self.obey_client(client, &mut output);
                    self.peers[client].payer.drop_output(output);
                }
                self.check_client(client);
            }
            while let Some(told) = self.take_output() {
                any = true;
                self.obey_server(told);
            }
            if !any {
                return self.check_orders();
            }
        }
    }

    fn take_output(&mut self) -> Option<Told> {
        let (shard, output) = self.held.charge(|| self.server.poll_output())?;
        self.outputs += 1;
        let told = match &output {
            Output::Bytes(link, bytes) => Told::Bytes(*link, bytes.to_vec()),
            Output::End(link) => Told::End(*link),
            Output::Delivery(delivery) => told(shard, delivery),
            Output::Request(link, _) => Told::Foreign(*link),
        };
        self.held.charge(|| drop(output));
        Some(told)
    }

    fn obey_server(&mut self, told: Told) {
        match told {
            Told::Bytes(link, bytes) => {
                self.written += bytes.len() as u64;
                if let Some(number) = self.at_server.get(&link).copied() {
                    self.note_answer(number, &bytes);
                    self.check_reader(number, &bytes);
                    self.check_probes(number, &bytes);
                    self.write(number, Way::Down, &bytes);
                } else if self.crowd.has(link) {
                    self.crowd_reads(link, &bytes);
                }
            }
            Told::End(link) => self.close_by_server(link),
            Told::Connect {
                socket,
                session,
                namespace,
                client,
                sid,
                auth,
                generation,
            } => {
                if namespace == crowd::NAMESPACE && client.is_none() {
                    return self.crowd_asks(socket);
                }
                self.check_asks((socket.shard, session));
                let shown = if let Auth::Payload(payload) = &auth {
                    payload.len()
                } else {
                    0
                };
                self.note_credentials(socket, (socket.shard, session), shown);
                if self.enter_named(socket, (socket.shard, session), &namespace) {
                    return;
                }
                let namespace = NAMESPACES.iter().position(|name| *name == namespace);
                let (Some(client), Some(namespace)) = (client, namespace) else {
                    return self.fail(Promise::Conduct, format_args!("somebody else connects"));
                };
                self.ask(socket, (client, namespace, sid, generation), auth);
            }
            Told::Event(socket, content, ack) => {
                self.heard += 1;
                if !self.names.has(socket) {
                    self.hear(socket, &content, ack);
                }
            }
            Told::Moves(socket, joins, room) => {
                self.heard += 1;
                self.move_guest(socket, joins, &room);
            }
            Told::Ack(socket, id, result) => self.take_answer(socket, id, result),
            Told::Disconnect(socket, ..) if self.crowd_loses(socket) => {}
            Told::Disconnect(socket, reason, is_breach, connected, rooms) => {
                if !self.lose_guest(socket, &rooms) {
                    self.check_evicted(socket, reason, is_breach);
                    self.lose(socket, reason, connected, &rooms);
                }
                self.forget_credentials(socket);
            }
            Told::Breach(socket, kind, words) => self.judge_breach(socket, kind, &words),
            Told::Foreign(link) => self.refuse_foreign(link),
            Told::Multiplied(socket) => self.fail(
                Promise::Price,
                format_args!("{socket:?} has sent an event that names one attachment several times"),
            ),
            Told::Nothing => {}
        }
    }

    /// A client asks to be let in.
    fn ask(&mut self, socket: Socket, of: (usize, usize, String, Generation), auth: Auth) {
        let (client, namespace, sid, generation) = of;
        note!(self, "server: c{client} asks for {namespace}");
        let (serial, life) = (self.number(), self.number());
        let member = Member {
            client,
            namespace,
            serial,
            life,
            record: None,
            is_accepted: false,
            rooms: BTreeSet::new(),
            generation,
            sid,
            asks: BTreeMap::new(),
        };
        if self.members.insert(socket, member).is_some() {
            return self.fail(Promise::Disconnect, format_args!("{socket:?} connects twice"));
        }
        if !self.is_calm && self.rng.u32(0..100) < self.plan.refuses_sockets {
            note!(self, "server: c{client} is refused {namespace}");
            let now = self.now;
            // The end of a socket that has gone meanwhile is told next.
            let answer = self.answer_to(socket);
            let is_there = self.at(socket, answer, |shard, out, key| {
                let is_there = shard.session_of(key).is_some();
                shard.refuse(now, key, "not you", None, out);
                is_there
            });
            if is_there {
                self.forget_credentials(socket);
                self.members.remove(&socket);
            }
        } else if self.rng.u32(0..100) < self.plan.slow_accepts {
            let at = self.now + Duration::from_millis(self.rng.u64(1..400));
            self.asking.push(Asking { at, socket, auth });
        } else {
            self.accept(socket, &auth);
        }
    }

    /// Lets a client in.
    pub(crate) fn accept(&mut self, socket: Socket, auth: &Auth) {
        let now = self.now;
        let Some(member) = self.members.get_mut(&socket).filter(|member| !member.is_accepted) else {
            return;
        };
        if self.comebacks.is_some() && member.generation == Generation::Engine4 {
            return self.accept_recoverable(socket, auth);
        }
        member.is_accepted = true;
        let (client, namespace) = (member.client, member.namespace);
        note!(self, "accept c{client} {namespace}");
        self.note_decision(socket);
        let answer = self.answer_to(socket);
        let accepted = self.at(socket, answer, |shard, out, key| shard.accept(now, key, out));
        if let Some(member) = self.members.get_mut(&socket) {
            // The client may have left in the same read: the end of the socket is told next.
            member.is_accepted = accepted;
        }
        if accepted {
            self.note_joined(socket);
        }
    }

    /// The server has heard an event.
    fn hear(&mut self, socket: Socket, content: &Content, ack: Option<u64>) {
        let (number, speaker) = (number_in(&content.json), speaker_in(&content.json));
        let Some(member) = self.members.get(&socket).filter(|member| member.is_accepted).cloned() else {
            return self.fail(
                Promise::Disconnect,
                format_args!("an event of {socket:?}, which is not there"),
            );
        };
        let (client, namespace) = (member.client, member.namespace);
        note!(self, "server: c{client} {namespace} says {number:?} {ack:?}");
        if speaker.is_some_and(|speaker| speaker != client) {
            return self.fail(
                Promise::Admission,
                format_args!("{speaker:?} speaks as client {client}"),
            );
        }
        if self.peers[client].is_thief {
            return;
        }
        if let Some(key) = member.record {
            self.count_heard(socket, key);
        }
        let Some(number) = number else {
            return self.fail(
                Promise::Order,
                format_args!("an event of client {client} has lost its number"),
            );
        };
        let peer = &self.peers[client];
        let confirms = peer.config.confirm_events && member.record.is_some();
        let rules = Hearing {
            repeats: peer.config.retries > 0,
            confirms,
            is_lossy: peer.is_old() && peer.trouble > sio_proto::Time::ZERO,
        };
        let is_doubled = self.peers[client].is_doubled;
        let heard = self.place(client, namespace).hear(number as usize, &member, rules);
        if let Err(wrong) = heard
            && !is_doubled
        {
            let promise = match confirms {
                true => Promise::Recovery,
                false => self.promise_of_order(client),
            };
            self.fail(
                promise,
                format_args!("the server hears {number} of client {client}: {wrong:?}"),
            );
        }
        if is_doubled && !rules.repeats && !confirms {
            self.check_copies(client, namespace, number as usize);
        }
        if !is_doubled {
            self.compare_event(client, namespace, number as usize, content);
        }
        if let Some(id) = ack
            && (self.is_calm || self.rng.u32(0..100) < self.plan.answers)
        {
            self.emit_ack(socket, (client, namespace), id, number as usize);
        }
        self.roll.note_heard(client, namespace, number as usize);
    }

    /// A socket of the server is gone.
    fn lose(&mut self, socket: Socket, reason: Reason, connected: bool, rooms: &BTreeSet<String>) {
        let now = self.now;
        let Some(member) = self.members.remove(&socket) else {
            return self.fail(Promise::Disconnect, format_args!("{socket:?} disconnects again"));
        };
        let client = member.client;
        note!(self, "server: c{client} {} leaves: {reason}", member.namespace);
        if member.is_accepted != connected {
            self.fail(
                Promise::Disconnect,
                format_args!("{socket:?} was connected: {connected}"),
            );
        }
        let expected: BTreeSet<String> = member
            .rooms
            .iter()
            .map(|room| crate::world::ROOMS[*room].to_owned())
            .collect();
        if expected != *rooms {
            self.fail(
                Promise::Broadcast,
                format_args!("client {client} was in {rooms:?}, not in {expected:?}"),
            );
        }
        if !member.asks.is_empty() {
            let open = &member.asks;
            self.fail(
                Promise::Acknowledgement,
                format_args!("client {client} left, and {open:?} have no end"),
            );
        }
        // A session of an old wire outlives its connection. If the client does not come back, its
        // end has the same words.
        let is_newest = self
            .members
            .values()
            .all(|other| other.client != client || other.serial < member.serial);
        let is_connected = self.place(client, member.namespace).is_connected;
        let is_here = !self.peers[client].is_old() || is_newest && is_connected;
        self.judge_timeout(client, is_here && reason == Reason::PingTimeout, "server");
        if reason == Reason::ClientNamespaceDisconnect {
            let place = self.place(client, member.namespace);
            place.has_left |= !place.is_connected;
        }
        let is_final = reason == Reason::ClientNamespaceDisconnect || reason.is_dismissal();
        if let (Some(key), Some(comebacks)) = (member.record, &mut self.comebacks) {
            self.held.charge(|| comebacks.end(now, key, member.serial, is_final));
        }
    }

    /// Our own clients break no rule, except where a proxy repeats what they say, or where they
    /// could not know better.
    fn judge_breach(&mut self, socket: Option<Socket>, kind: BreachKind, words: &str) {
        note!(self, "server: breach {kind:?} {words}");
        let is_known = matches!(kind, BreachKind::Late | BreachKind::Limit | BreachKind::Namespace);
        // A breach without a socket may be the thief's.
        let client = socket.and_then(|socket| Some(self.members.get(&socket)?.client));
        let touched = match client {
            Some(client) => self.peers[client].is_doubled,
            None => self.peers.iter().any(|peer| peer.is_doubled),
        };
        if !is_known && !touched {
            self.fail(
                Promise::Conduct,
                format_args!("a client breaks a rule: {kind:?} {words}"),
            );
        }
    }

    fn obey_client(&mut self, client: usize, output: &mut ClientOutput) {
        match output {
            ClientOutput::Connect { link, .. } => self.open(client, *link),
            ClientOutput::Bytes(link, bytes) => {
                self.remember_request(client, *link, bytes);
                if let Some(number) = self.at_client.get(&(client, *link)).copied() {
                    self.swallow(client, number, bytes);
                    self.write(number, Way::Up, bytes);
                }
            }
            ClientOutput::Close(link) => self.close_by_client(client, *link),
            ClientOutput::CredentialsWanted(question) => {
                let (now, payer) = (self.now, &mut self.peers[client].payer);
                // A command may have made the question obsolete before it was read.
                let _ = payer.act(Deed::Other(0), |client| {
                    client.provide(now, question.id, Credentials::default())
                });
            }
            ClientOutput::State(state) => {
                note!(self, "c{client}: {state:?}");
                if *state == State::Upgraded {
                    self.peers[client].upgraded = Some(self.now);
                }
            }
            ClientOutput::Delivery(delivery) => self.obey_delivery(client, delivery),
            _ => {}
        }
    }

    /// Remembers the last request of a client, which a proxy may repeat.
    fn remember_request(&mut self, client: usize, link: LinkId, bytes: &[u8]) {
        let (known, request) = &mut self.peers[client].request;
        if bytes.starts_with(b"GET ") || bytes.starts_with(b"POST ") {
            *known = Some(link);
            request.clear();
        }
        if *known == Some(link) && request.len() < 4096 {
            request.extend_from_slice(bytes);
        }
    }

    fn obey_delivery(&mut self, client: usize, delivery: &mut ClientDelivery) {
        match delivery {
            ClientDelivery::Connect { socket, recovery, .. } => self.client_connects(client, *socket, *recovery),
            ClientDelivery::Disconnect { socket, reason } => self.client_disconnects(client, *socket, *reason),
            ClientDelivery::ConnectError { error, .. } => {
                note!(self, "c{client}: connect error {error}");
                self.judge_peace(client, format_args!("{error}"));
            }
            ClientDelivery::Event {
                socket,
                name,
                args,
                ack,
                ..
            } => {
                let number = number_in(&args.json);
                if let (Some(ticket), Some(number)) = (ack.take(), number) {
                    self.peers[client].tickets.push((ticket, number));
                }
                self.compare_message(client, number, name, args);
                self.arrive(client, *socket, number);
                self.answer_some(client);
            }
            ClientDelivery::Receipt { emit, outcome } => self.end_emit(client, *emit, outcome),
            _ => {}
        }
    }

    fn namespace_of(&self, client: usize, socket: SocketId) -> usize {
        let sockets = &self.peers[client].sockets;
        sockets.iter().position(|known| *known == socket).unwrap_or(0)
    }

    fn client_connects(&mut self, client: usize, socket: SocketId, recovery: Recovery) {
        let namespace = self.namespace_of(client, socket);
        note!(self, "c{client}: connect {namespace} {recovery:?}");
        let is_old = self.peers[client].is_old();
        let place = self.place(client, namespace);
        let was_connected = std::mem::replace(&mut place.is_connected, true);
        place.has_left = false;
        place.fruitless = match recovery {
            Recovery::Recovered => place.fruitless + 1,
            Recovery::New | Recovery::Lost => 0,
        };
        // Sessions of old wires go on without a word.
        if recovery != Recovery::Recovered && !is_old {
            place.was_told = true;
        }
        if was_connected {
            self.fail(Promise::Disconnect, format_args!("client {client} connects twice"));
        }
    }

    fn client_disconnects(&mut self, client: usize, socket: SocketId, reason: DisconnectReason) {
        let namespace = self.namespace_of(client, socket);
        note!(self, "c{client}: disconnect {namespace} {reason}");
        let place = self.place(client, namespace);
        place.has_left = reason == DisconnectReason::Client;
        if !std::mem::replace(&mut place.is_connected, false) {
            self.fail(Promise::Disconnect, format_args!("client {client} disconnects twice"));
        }
        self.judge_timeout(client, reason == DisconnectReason::PingTimeout, "client");
        if reason == DisconnectReason::TransportError {
            self.judge_peace(client, format_args!("{reason}"));
        }
    }

    /// A message has arrived at a client.
    fn arrive(&mut self, client: usize, socket: SocketId, number: Option<u64>) {
        let namespace = self.namespace_of(client, socket);
        note!(self, "c{client}: hears {number:?} in {namespace}");
        if self.peers[client].is_doubled {
            return;
        }
        let Some(number) = number else {
            return self.fail(
                Promise::Order,
                format_args!("a message to client {client} has lost its number"),
            );
        };
        let place = self.place(client, namespace);
        if !place.is_connected && !place.has_left {
            self.fail(
                Promise::Disconnect,
                format_args!("client {client} hears {number} while it is not connected"),
            );
        }
        let is_old = self.peers[client].is_old();
        let wrong = match self.place(client, namespace).arrive(number, is_old) {
            Ok(()) => return,
            Err(wrong) => wrong,
        };
        let promise = match wrong {
            Wrong::Stray => Promise::Broadcast,
            Wrong::OldLife | Wrong::Untold => Promise::Recovery,
            Wrong::Gap(_) | Wrong::Repeated if self.plan.recovery.is_some() => Promise::Recovery,
            Wrong::Gap(_) | Wrong::Repeated => self.promise_of_order(client),
        };
        self.fail(
            promise,
            format_args!("client {client} hears {number} in {namespace}: {wrong:?}"),
        );
    }

    /// Which promise is broken if messages of a client are not in order.
    pub(crate) fn promise_of_order(&self, client: usize) -> Promise {
        match self.peers[client].upgraded {
            Some(upgraded) if upgraded + AFTER_UPGRADE >= self.now => Promise::Upgrade,
            _ => Promise::Order,
        }
    }

    /// Writes down that a message was sent to a client.
    pub(crate) fn note_sent(&mut self, client: usize, namespace: usize, down: Down) {
        let place = self.place(client, namespace);
        place.sent.insert(down.number);
        place.down.push_back(down);
        let is_long = place.down.len() > LONG_QUEUE;
        if is_long {
            // The heartbeat of a session that polls waits behind the messages before it.
            self.trouble(client);
        }
    }
}

fn told(shard: usize, delivery: &Delivery) -> Told {
    let at = |key: &SocketKey| Socket { shard, key: *key };
    match delivery {
        Delivery::Connect {
            socket,
            session,
            namespace,
            sid,
            auth,
            handshake,
            generation,
            ..
        } => Told::Connect {
            socket: at(socket),
            session: *session,
            namespace: namespace.to_string(),
            client: handshake.peer().address.and_then(|address| match address.ip() {
                std::net::IpAddr::V4(ip) => Some(usize::from(ip.octets()[3]) - 1),
                std::net::IpAddr::V6(_) => None,
            }),
            sid: sid.to_string(),
            auth: match auth {
                Auth::Payload(payload) => Auth::Payload(ByteString::from(&**payload)),
                Auth::None | Auth::Query(_) => Auth::None,
            },
            generation: *generation,
        },
        Delivery::Event { socket, args, .. } if names(args) > args.attachments.len() => Told::Multiplied(at(socket)),
        Delivery::Event { socket, name, args, .. } if matches!(&**name, "join" | "leave") => {
            Told::Moves(at(socket), &**name == "join", args.json.trim_matches('"').to_owned())
        }
        Delivery::Event { socket, args, ack, .. } => Told::Event(at(socket), Content::of(args), *ack),
        Delivery::Ack { socket, id, result } => Told::Ack(
            at(socket),
            *id,
            result.as_ref().map(Content::of).map_err(|error| *error),
        ),
        Delivery::Disconnect {
            socket,
            reason,
            connected,
            rooms,
            breach,
        } => Told::Disconnect(
            at(socket),
            *reason,
            breach.is_some(),
            *connected,
            rooms.iter().map(ToString::to_string).collect(),
        ),
        Delivery::Breach { socket, breach, .. } => {
            Told::Breach(socket.as_ref().map(at), breach.kind(), breach.text().to_owned())
        }
        _ => Told::Nothing,
    }
}
