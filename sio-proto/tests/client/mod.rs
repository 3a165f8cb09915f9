//! A client and the server of this crate on a virtual clock, with connections that can fail.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each story uses a part, and none is a library"
)]

pub mod law;
pub mod records;
pub mod script;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sio_proto::client::{
    AckTicket, Client, ClientConfig, CommandError, Credentials, Delivery, Emit, EmitId, Endpoint, Generation, Outcome,
    Output, Question, SocketId, State,
};
use sio_proto::codec::Streaming;
use sio_proto::server::{self, Cause, Message, Peer, Server};
use sio_proto::{ByteString, Bytes, BytesMut, Config, LinkId, SocketKey, Time};

/// The path of the streaming codec.
pub const STREAMING: &str = "/streaming";

/// A server that speaks every generation.
pub fn server() -> Config {
    let mut config = Config::default();
    config.legacy06 = config.legacy06.mount(STREAMING, Streaming);
    config
}

/// What the network does to new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    Works,
    /// Connections cannot be made.
    Refuses,
    /// Connections are made, and nothing comes back.
    Stalls,
    /// Every connection is answered with this status.
    Answers(u16),
}

/// One connection. Bytes travel with the next step.
struct Wire {
    at_server: Option<LinkId>,
    to_server: VecDeque<Bytes>,
    to_client: VecDeque<Bytes>,
    stalled: bool,
    answers: Option<u16>,
    /// The attempt that has opened it.
    attempt: usize,
}

pub struct World {
    pub client: Client,
    pub server: Server,
    pub now: Time,
    pub network: Network,
    wires: BTreeMap<LinkId, Wire>,
    at_client: BTreeMap<LinkId, LinkId>,
    /// Everything that the client said, as text.
    pub log: Vec<String>,
    pub events: Vec<(String, String)>,
    pub receipts: BTreeMap<EmitId, Outcome>,
    pub questions: Vec<Question>,
    pub tickets: Vec<AckTicket>,
    pub attempts: Vec<Time>,
    /// The states of the connection, and when they came.
    pub states: Vec<(Time, State)>,
    /// When the client began to wait, and until when.
    pub waits: Vec<(Time, Time)>,
    /// What the server heard: event, arguments.
    pub heard: Vec<(String, String)>,
    pub sockets: Vec<SocketKey>,
    /// Namespaces that the server refuses, with this text.
    pub refuses: BTreeMap<String, String>,
    /// Sockets about which the server does not decide, if it is to decide about none.
    pub undecided: Option<Vec<SocketKey>>,
    pub auths: Vec<String>,
    /// The server answers events that ask for it.
    pub answers: bool,
    pub auto_provide: bool,
    /// Makes the credentials for a question, which has this number.
    pub credentials: Option<fn(usize) -> Credentials>,
    /// How many bytes the client had written when it asked each question.
    pub written_before: Vec<usize>,
    /// How many events are emitted while a connection of a namespace is told, and the emits.
    pub at_connect: usize,
    pub emitted: Vec<EmitId>,
    /// The events for which the server was asked for an acknowledgement: socket, id, arguments.
    pub asked: Vec<(SocketKey, u64, String)>,
    /// Requests for a websocket are refused, or with `true`, never answered.
    pub without_websocket: Option<bool>,
    /// Bytes that the client wrote.
    pub written: Vec<(LinkId, Vec<u8>)>,
    pub connects: usize,
    /// What the server knows of clients that come back, if it recovers them.
    pub records: Option<records::Records>,
    /// What stalled connections have swallowed, with their links at the server.
    pub late: Vec<(LinkId, Bytes)>,
}

pub fn seeded(mut state: u64) -> impl FnMut(&mut [u8]) + Send {
    move |out: &mut [u8]| {
        for byte in out {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
    }
}

pub fn emit(name: &str, json: &str) -> Emit {
    Emit::new(name, ByteString::from(json).into())
}

impl World {
    pub fn new(config: ClientConfig, server: Config) -> Self {
        Self::seeded(config, server, 1)
    }

    pub fn seeded(config: ClientConfig, server: Config, seed: u64) -> Self {
        let mut endpoint = Endpoint::parse("http://localhost:3000").unwrap();
        if config.generation == Generation::Streaming {
            endpoint = endpoint.with_path(STREAMING);
        }
        Self {
            client: Client::new(endpoint, config, Box::new(seeded(seed))).unwrap(),
            server: Server::new(server, [7; 16], Box::new(seeded(seed ^ 99))).unwrap(),
            now: Time::from_millis(1),
            network: Network::Works,
            wires: BTreeMap::new(),
            at_client: BTreeMap::new(),
            log: Vec::new(),
            events: Vec::new(),
            receipts: BTreeMap::new(),
            questions: Vec::new(),
            tickets: Vec::new(),
            attempts: Vec::new(),
            states: Vec::new(),
            waits: Vec::new(),
            heard: Vec::new(),
            sockets: Vec::new(),
            refuses: BTreeMap::new(),
            undecided: None,
            auths: Vec::new(),
            answers: true,
            auto_provide: true,
            credentials: None,
            written_before: Vec::new(),
            at_connect: 0,
            emitted: Vec::new(),
            asked: Vec::new(),
            without_websocket: None,
            written: Vec::new(),
            connects: 0,
            records: None,
            late: Vec::new(),
        }
    }

    pub fn connect(&mut self, namespace: &str) -> SocketId {
        let socket = self.client.socket(namespace).unwrap();
        self.client.connect(self.now, socket).unwrap();
        socket
    }

    /// How many connections exist that another attempt than the last one has opened.
    pub fn old_lines(&self) -> usize {
        let now = self.attempts.len();
        self.wires.values().filter(|wire| wire.attempt != now).count()
    }

    /// How many connections exist.
    pub fn lines(&self) -> usize {
        self.wires.len()
    }

    /// Cuts every connection, at both ends.
    pub fn cut(&mut self) {
        for (link, wire) in std::mem::take(&mut self.wires) {
            if let Some(at_server) = wire.at_server {
                self.server.handle_closed(self.now, at_server, Cause::Failed);
            }
            self.client.handle_closed(self.now, link, None);
        }
    }

    /// Cuts every connection when so many more bytes have come through in each direction.
    pub fn cut_behind(&mut self, bytes: usize) {
        let take = |queue: &mut VecDeque<Bytes>| {
            let all: Vec<u8> = queue.drain(..).flatten().collect();
            BytesMut::from(&all[..bytes.min(all.len())])
        };
        for (link, wire) in self.wires.iter_mut().filter(|(_, wire)| !wire.stalled) {
            let (mut up, mut down) = (take(&mut wire.to_server), take(&mut wire.to_client));
            if let Some(at_server) = wire.at_server {
                self.server.handle_bytes(self.now, at_server, &mut up);
            }
            self.client.handle_bytes(self.now, *link, &mut down);
        }
        self.cut();
        self.drain_server();
    }

    /// Delivers what stalled connections have swallowed, to a server that has not noticed.
    pub fn deliver_late(&mut self) {
        for (at_server, bytes) in std::mem::take(&mut self.late) {
            self.server
                .handle_bytes(self.now, at_server, &mut BytesMut::from(bytes));
        }
        self.drain_server();
    }

    /// Lets every connection go silent, as when a cable is pulled.
    pub fn stall(&mut self) {
        self.wires.values_mut().for_each(|wire| wire.stalled = true);
    }

    /// Moves bytes until nothing moves.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let moved = self.drain_client() | self.drain_server() | self.carry();
            if !moved {
                return;
            }
        }
        panic!(
            "client and server talk without end: {:?}",
            self.log.iter().rev().take(20).collect::<Vec<_>>()
        );
    }

    /// One step only: for cuts in the middle of something.
    pub fn step(&mut self) -> bool {
        self.drain_client() | self.drain_server() | self.carry()
    }

    fn carry(&mut self) -> bool {
        let mut moved = false;
        let links: Vec<LinkId> = self.wires.keys().copied().collect();
        for link in links {
            let Some(wire) = self.wires.get_mut(&link) else {
                continue;
            };
            if wire.stalled {
                continue;
            }
            let up = wire.to_server.pop_front();
            let down = wire.to_client.pop_front();
            let (at_server, answers) = (wire.at_server, wire.answers);
            moved |= up.is_some() || down.is_some();
            let asks = |bytes: &Bytes| bytes.windows(18).any(|part| part == b"Upgrade: websocket");
            let (answers, at_server) = match self.without_websocket.filter(|_| up.as_ref().is_some_and(asks)) {
                Some(false) => (Some(400), None),
                Some(true) => (None, None),
                None => (answers, at_server),
            };
            match (up, answers, at_server) {
                (Some(_), Some(status), _) => {
                    let head = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\nRetry-After: 2\r\n\r\n");
                    self.client
                        .handle_bytes(self.now, link, &mut BytesMut::from(head.as_bytes()));
                }
                (Some(bytes), None, Some(at_server)) => {
                    self.server
                        .handle_bytes(self.now, at_server, &mut BytesMut::from(bytes));
                }
                _ => {}
            }
            if let Some(bytes) = down {
                self.client.handle_bytes(self.now, link, &mut BytesMut::from(bytes));
            }
        }
        moved
    }

    pub fn drain_client(&mut self) -> bool {
        let mut any = false;
        while let Some(output) = self.client.poll_output() {
            any = true;
            match output {
                Output::Connect { link, .. } => self.open(link),
                Output::Bytes(link, bytes) => {
                    self.written.push((link, bytes.to_vec()));
                    if let Some(wire) = self.wires.get_mut(&link) {
                        wire.to_server.push_back(bytes);
                    }
                }
                Output::Close(link) => {
                    if let Some(wire) = self.wires.remove(&link) {
                        let Some(at_server) = wire.at_server else { continue };
                        if wire.stalled && self.records.is_some() {
                            self.late
                                .extend(wire.to_server.into_iter().map(|bytes| (at_server, bytes)));
                            continue;
                        }
                        for bytes in wire.to_server.into_iter().filter(|_| !wire.stalled) {
                            self.server
                                .handle_bytes(self.now, at_server, &mut BytesMut::from(bytes));
                        }
                        self.at_client.remove(&at_server);
                        self.server.handle_closed(self.now, at_server, Cause::Closed);
                    }
                }
                Output::CredentialsWanted(question) => {
                    let id = question.id;
                    self.questions.push(question);
                    self.written_before.push(self.written.len());
                    if self.auto_provide {
                        let number = self.questions.len();
                        let counted = |number: usize| Credentials {
                            auth: vec![(None, format!("{{\"n\":{number}}}").into())],
                            ..Credentials::default()
                        };
                        let credentials = self.credentials.unwrap_or(counted)(number);
                        let provided = self.client.provide(self.now, id, credentials);
                        // A command may have made the question obsolete before it was read.
                        assert!(matches!(provided, Ok(()) | Err(CommandError::Question)));
                    }
                }
                Output::State(state) => {
                    match state {
                        State::Connecting(_) => self.attempts.push(self.now),
                        State::Waiting(until) => self.waits.push((self.now, until)),
                        _ => {}
                    }
                    self.log.push(format!("{state:?}"));
                    self.states.push((self.now, state));
                }
                Output::Delivery(delivery) => self.deliver(delivery),
                _ => {}
            }
        }
        any
    }

    fn open(&mut self, link: LinkId) {
        self.connects += 1;
        let mut wire = Wire {
            at_server: None,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            stalled: false,
            answers: None,
            attempt: self.attempts.len(),
        };
        match self.network {
            Network::Refuses => return self.client.handle_closed(self.now, link, None),
            Network::Stalls => wire.stalled = true,
            Network::Answers(status) => wire.answers = Some(status),
            Network::Works => {
                let at_server = self.server.open(Peer::default());
                wire.at_server = Some(at_server);
                self.at_client.insert(at_server, link);
            }
        }
        self.wires.insert(link, wire);
        if self.network != Network::Stalls {
            self.client.handle_connected(self.now, link);
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Connect { socket, recovery, .. } => {
                self.log.push(format!("connect {socket:?} {recovery:?}"));
                for _ in 0..self.at_connect {
                    let event = emit("n", &self.emitted.len().to_string());
                    self.emitted.push(self.client.emit(self.now, socket, event).unwrap());
                }
            }
            Delivery::ConnectError { socket, error } => self.log.push(format!("connect_error {socket:?} {error}")),
            Delivery::Disconnect { socket, reason } => self.log.push(format!("disconnect {socket:?} {reason}")),
            Delivery::Event { name, args, ack, .. } => {
                self.events.push((name.to_string(), args.json.to_string()));
                self.tickets.extend(ack);
            }
            Delivery::Receipt { emit, outcome } => {
                let before = self.receipts.insert(emit, outcome);
                assert_eq!(before, None, "an emit ends once");
            }
            _ => {}
        }
    }

    fn drain_server(&mut self) -> bool {
        let mut any = false;
        while let Some(output) = self.server.poll_output() {
            any = true;
            match output {
                server::Output::Bytes(link, bytes) => {
                    let wire = self.at_client.get(&link).and_then(|link| self.wires.get_mut(link));
                    if let Some(wire) = wire {
                        wire.to_client.push_back(bytes);
                    }
                }
                server::Output::End(link) => {
                    let Some(at_client) = self.at_client.remove(&link) else {
                        continue;
                    };
                    if let Some(wire) = self.wires.remove(&at_client).filter(|wire| !wire.stalled) {
                        for bytes in wire.to_client {
                            self.client
                                .handle_bytes(self.now, at_client, &mut BytesMut::from(bytes));
                        }
                        self.client.handle_closed(self.now, at_client, None);
                    }
                }
                server::Output::Delivery(server::Delivery::Connect {
                    socket,
                    namespace,
                    auth,
                    ..
                }) => {
                    self.auths.push(format!("{auth:?}"));
                    let now = self.now;
                    match self.refuses.get(&**namespace).cloned() {
                        Some(text) => self.server.shard(now, |shard, out| {
                            shard.refuse(now, socket, &text, Some("{\"code\":1}"), out)
                        }),
                        None if self.undecided.is_some() => self.undecided.iter_mut().for_each(|all| all.push(socket)),
                        None if self.records.is_some() => {
                            self.sockets.push(socket);
                            self.accept_recoverable(socket, &auth);
                        }
                        None => {
                            self.sockets.push(socket);
                            self.server.shard(now, |shard, out| shard.accept(now, socket, out));
                        }
                    }
                }
                server::Output::Delivery(server::Delivery::Event {
                    socket,
                    name,
                    args,
                    ack,
                    ..
                }) => {
                    if !self.hear(socket) {
                        continue;
                    }
                    self.heard.push((name.to_string(), args.json.to_string()));
                    let asked = ack.map(|id| (socket, id, args.json.to_string()));
                    self.asked.extend(asked);
                    let now = self.now;
                    if let Some(id) = ack.filter(|_| self.answers) {
                        let mut answer = Message::ack("/".into(), id, args);
                        let _ = self
                            .server
                            .shard(now, |shard, _| shard.emit(now, socket, &mut answer, None));
                    }
                }
                server::Output::Delivery(server::Delivery::Breach { breach, .. })
                    if breach.kind() != server::BreachKind::Late =>
                {
                    self.log.push(format!("BREACH {breach}"));
                }
                _ => {}
            }
        }
        any
    }

    /// Sends an event to the newest socket of the client.
    pub fn server_emit(&mut self, name: &str, json: &str) {
        let (now, socket) = (self.now, *self.sockets.last().unwrap());
        let args = ByteString::from(json).into();
        let mut message = Message::event("/".into(), name.into(), args, None);
        let _ = self
            .server
            .shard(now, |shard, _| shard.emit(now, socket, &mut message, None));
        self.settle();
    }

    /// Lets time pass, and stops at every deadline on the way.
    pub fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        self.settle();
        for _ in 0..1_000_000 {
            let next = [self.client.next_timeout(), self.server.next_timeout()];
            let Some(next) = next.into_iter().flatten().min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    pub fn has(&self, line: &str) -> bool {
        self.log.iter().any(|entry| entry.contains(line))
    }

    pub fn count(&self, line: &str) -> usize {
        self.log.iter().filter(|entry| entry.contains(line)).count()
    }
}
