//! Several nodes and one broker, on a virtual clock. The broker delays messages, and can be told to
//! say things twice, to lose what is under way, to restart, and not to reach a machine.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use sio_proto::broker::{Answer, BrokerError, Command, Entry, Event, Request, StreamPosition};
use sio_proto::cluster::{
    Asker, Delivery, Emit, Flags, LocalOrder, Node, Order, Outputs, Question, RemoteSocket, RequestEnd, RequestId,
    Target,
};
use sio_proto::socket::Args;
use sio_proto::{ByteString, Bytes, ClusterConfig, ClusterKind, ShardedMode, StreamsConfig, Time};

/// The namespace of all tests here.
pub(crate) const ROOT: ByteString = ByteString::from_static("/");

/// A second.
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The settings of every adapter.
pub(crate) fn kinds() -> [ClusterConfig; 5] {
    [
        ClusterKind::Classic,
        ClusterKind::Sharded {
            mode: ShardedMode::Static,
        },
        ClusterKind::Sharded {
            mode: ShardedMode::Dynamic,
        },
        ClusterKind::Sharded {
            mode: ShardedMode::DynamicPrivate,
        },
        ClusterKind::Streams(StreamsConfig::default()),
    ]
    .map(|kind| ClusterConfig::default().kind(kind))
}

pub(crate) fn emit(name: &str) -> Emit {
    Emit {
        name: name.into(),
        args: Args::from(ByteString::from_static("1,\"é\"")),
    }
}

pub(crate) fn broadcast(name: &str, to: Target) -> Order {
    let (flags, emit) = (Flags::default(), emit(name));
    Order::Broadcast { to, flags, emit }
}

/// All sockets.
pub(crate) fn all() -> Target {
    Target::default()
}

/// A process: its node, its sockets, and what has come for them.
pub(crate) struct Machine {
    pub(crate) node: Node,
    /// The channels and streams that the broker was told, with the next entry of each stream.
    wanted: BTreeSet<Bytes>,
    reading: BTreeMap<Bytes, usize>,
    inbox: VecDeque<(Time, Event)>,
    /// A machine that is frozen hears nothing and its clock stands still, as with SIGSTOP.
    pub(crate) frozen: bool,
    /// The rooms of each socket, and the events that it has got.
    pub(crate) sockets: BTreeMap<ByteString, Socket>,
    /// Events for the server.
    pub(crate) heard: Vec<ByteString>,
    pub(crate) ready: usize,
    pub(crate) gathered: BTreeMap<RequestId, Gathered>,
    pub(crate) stored: BTreeMap<RequestId, bool>,
    out: Outputs,
}

#[derive(Debug, Default)]
pub(crate) struct Socket {
    pub(crate) rooms: BTreeSet<ByteString>,
    pub(crate) events: Vec<ByteString>,
}

/// What has come for a request.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) sockets: BTreeSet<ByteString>,
    pub(crate) left_out: u64,
    pub(crate) values: usize,
    pub(crate) recipients: u64,
    pub(crate) acks: u64,
    pub(crate) end: Option<(Time, RequestEnd)>,
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) machines: Vec<Machine>,
    subscribed: BTreeMap<Bytes, BTreeSet<usize>>,
    entries: BTreeMap<Bytes, Vec<Entry>>,
    down_until: Option<Time>,
    /// Whether messages on channels are said twice.
    pub(crate) twice: bool,
    /// All messages and entries that nodes have given to the broker.
    pub(crate) said: Vec<Command>,
    random: u64,
}

/// How long after the beginning of 1970 the clocks of all tests begin.
pub(crate) const EPOCH: Duration = Duration::from_secs(1_000_000);

impl World {
    pub(crate) fn new(config: &ClusterConfig, machines: usize, seed: u64) -> Self {
        let mut world = Self {
            now: Time::from_millis(1),
            machines: Vec::new(),
            subscribed: BTreeMap::new(),
            entries: BTreeMap::new(),
            down_until: None,
            twice: false,
            said: Vec::new(),
            random: seed | 1,
        };
        for _ in 0..machines {
            world.add(config);
        }
        world.run(Duration::from_millis(100));
        assert!(
            world.machines.iter().all(|machine| machine.ready == 1),
            "every node is ready once"
        );
        world
    }

    /// A new machine, whose node opens the namespace.
    pub(crate) fn add(&mut self, config: &ClusterConfig) -> usize {
        let mut random = self.random ^ (self.machines.len() as u64) << 32;
        let entropy = move |out: &mut [u8]| out.iter_mut().for_each(|byte| *byte = draw(&mut random) as u8);
        let mut node = Node::new(config.clone(), Box::new(entropy)).unwrap();
        node.set_unix_time(Time::ZERO, EPOCH);
        self.machines.push(Machine {
            node,
            wanted: BTreeSet::new(),
            reading: BTreeMap::new(),
            inbox: VecDeque::new(),
            frozen: false,
            sockets: BTreeMap::new(),
            heard: Vec::new(),
            ready: 0,
            gathered: BTreeMap::new(),
            stored: BTreeMap::new(),
            out: Outputs::default(),
        });
        let at = self.machines.len() - 1;
        let machine = &mut self.machines[at];
        machine.node.open_namespace(self.now, &ROOT, &mut machine.out);
        self.settle(at);
        at
    }

    /// A socket connects to a machine; its id is a room.
    /// Opens one more namespace, without sockets.
    pub(crate) fn open(&mut self, at: usize, namespace: &ByteString) {
        let machine = &mut self.machines[at];
        machine.node.open_namespace(self.now, namespace, &mut machine.out);
        self.settle(at);
    }

    pub(crate) fn connect(&mut self, at: usize, sid: &str) {
        self.machines[at].sockets.insert(sid.into(), Socket::default());
        self.join(at, sid, sid);
    }

    pub(crate) fn join(&mut self, at: usize, sid: &str, room: &str) {
        let machine = &mut self.machines[at];
        let is_new = machine.sockets.values().all(|socket| !socket.rooms.contains(room));
        if let Some(socket) = machine.sockets.get_mut(sid) {
            socket.rooms.insert(room.into());
            if is_new {
                machine.node.open_room(&ROOT, room, &mut machine.out);
            }
        }
        self.settle(at);
    }

    pub(crate) fn leave(&mut self, at: usize, sid: &str, room: &str) {
        let machine = &mut self.machines[at];
        let was = machine
            .sockets
            .get_mut(sid)
            .is_some_and(|socket| socket.rooms.remove(room));
        if was && machine.sockets.values().all(|socket| !socket.rooms.contains(room)) {
            machine.node.close_room(&ROOT, room, &mut machine.out);
        }
        self.settle(at);
    }

    /// What the application of a machine wants: here at once, and from the others.
    pub(crate) fn order(&mut self, at: usize, order: Order) -> Option<RequestId> {
        self.carry_out(at, &order);
        self.local(at, LocalOrder::CarryOut(order))
    }

    pub(crate) fn ask(&mut self, at: usize, question: Question) -> RequestId {
        let timeout = None;
        let request = self
            .local(at, LocalOrder::Ask { question, timeout })
            .expect("a request has a name");
        self.machines[at].gathered.entry(request).or_default();
        request
    }

    pub(crate) fn local(&mut self, at: usize, order: LocalOrder) -> Option<RequestId> {
        self.local_in(at, &ROOT, order)
    }

    pub(crate) fn local_in(&mut self, at: usize, namespace: &ByteString, order: LocalOrder) -> Option<RequestId> {
        let machine = &mut self.machines[at];
        let name = machine
            .node
            .handle_local(self.now, namespace, order, &mut machine.out)
            .unwrap();
        if let Some(request) = name {
            machine.gathered.entry(request).or_default();
        }
        self.settle(at);
        name
    }

    /// The broker forgets its subscriptions and what is under way, and is back after half a second.
    pub(crate) fn restart(&mut self) {
        self.subscribed.clear();
        for machine in &mut self.machines {
            machine.inbox.retain(|(_, event)| matches!(event, Event::Answer { .. }));
        }
        self.down_until = Some(self.now + Duration::from_millis(500));
    }

    /// A process without a server says something.
    pub(crate) fn publish(&mut self, command: Command) {
        match command {
            Command::Request { request, .. } => drop(self.request(request)),
            publish => self.command(0, publish),
        }
    }

    /// What is under way to a machine is lost.
    pub(crate) fn lose(&mut self, at: usize) {
        self.machines[at]
            .inbox
            .retain(|(_, event)| !matches!(event, Event::Message { .. }));
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        for step in 0.. {
            assert!(step < 1_000_000, "the cluster comes to rest");
            let awake = self.machines.iter().enumerate().filter(|(_, machine)| !machine.frozen);
            let next = awake
                .flat_map(|(at, machine)| {
                    let inbox = machine.inbox.front().map(|(due, _)| (*due, at));
                    [inbox, machine.node.next_timeout().map(|due| (due, at))]
                })
                .flatten()
                .min();
            let back = self.down_until.filter(|back| next.is_none_or(|(due, _)| *back <= due));
            let due = back.or_else(|| next.map(|(due, _)| due)).filter(|due| *due <= end);
            let Some(due) = due else { break };
            self.now = self.now.max(due);
            match (back, next) {
                (None, Some((_, at))) => self.wake(at),
                _ => self.come_back(),
            }
        }
        self.now = end;
    }

    fn wake(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        if machine.inbox.front().is_some_and(|(due, _)| *due <= self.now) {
            let (_, event) = machine.inbox.pop_front().unwrap();
            machine.node.handle_broker(self.now, event, &mut machine.out);
        } else {
            machine.node.handle_timeout(self.now, &mut machine.out);
            assert!(
                machine.node.next_timeout().is_none_or(|next| next > self.now),
                "a timeout is done"
            );
        }
        self.settle(at);
    }

    /// The broker is back: every machine has subscribed again, as brokers of ours do.
    fn come_back(&mut self) {
        self.down_until = None;
        for at in 0..self.machines.len() {
            for channel in self.machines[at].wanted.clone() {
                self.subscribed.entry(channel.clone()).or_default().insert(at);
                self.deliver(
                    at,
                    Event::Subscribed {
                        channel,
                        sharded: false,
                    },
                );
            }
            self.read_streams(at);
        }
    }

    fn settle(&mut self, at: usize) {
        loop {
            let commands = std::mem::take(&mut self.machines[at].out.commands);
            let deliveries = std::mem::take(&mut self.machines[at].out.deliveries);
            if commands.is_empty() && deliveries.is_empty() {
                return;
            }
            commands.into_iter().for_each(|command| self.command(at, command));
            deliveries.into_iter().for_each(|delivery| self.delivery(at, delivery));
        }
    }

    fn command(&mut self, at: usize, command: Command) {
        let up = self.down_until.is_none();
        if let Command::Publish { .. }
        | Command::Request {
            request: Request::AddEntry { .. },
            ..
        } = &command
        {
            self.said.push(command.clone());
        }
        match command {
            Command::Subscribe { channel, sharded } => {
                self.machines[at].wanted.insert(channel.clone());
                if up {
                    self.subscribed.entry(channel.clone()).or_default().insert(at);
                    self.deliver(at, Event::Subscribed { channel, sharded });
                }
            }
            Command::Unsubscribe { channel, .. } => {
                assert!(self.machines[at].wanted.remove(&channel), "was subscribed: {channel:?}");
                if let Some(nodes) = self.subscribed.get_mut(&channel) {
                    nodes.remove(&at);
                }
            }
            Command::Publish {
                channel,
                payload,
                sharded,
            } if up => {
                for other in self.subscribed.get(&channel).cloned().unwrap_or_default() {
                    for _ in 0..1 + usize::from(self.twice) {
                        let (channel, payload) = (channel.clone(), payload.clone());
                        self.deliver(
                            other,
                            Event::Message {
                                channel,
                                payload,
                                sharded,
                            },
                        );
                    }
                }
            }
            Command::Publish { .. } => {}
            Command::Request { tag, request } if up => {
                let answer = Ok(self.request(request));
                self.deliver(at, Event::Answer { tag, answer });
            }
            Command::Request { tag, .. } => {
                let answer = Err(BrokerError::Closed);
                self.deliver(at, Event::Answer { tag, answer });
            }
            Command::ReadStream { stream, after } => {
                assert_eq!(after, StreamPosition::End);
                let next = self.entries.get(&stream).map_or(0, Vec::len);
                self.machines[at].reading.insert(stream, next);
            }
            Command::StopStream { stream } => drop(self.machines[at].reading.remove(&stream)),
            Command::Flush { .. } => panic!("a node does not ask"),
        }
    }

    fn request(&mut self, request: Request) -> Answer {
        match request {
            Request::Subscribers { channel, .. } => {
                Answer::Count(self.subscribed.get(&channel).map_or(0, BTreeSet::len) as u64)
            }
            Request::AddEntry { stream, fields, .. } => {
                let entries = self.entries.entry(stream).or_default();
                let milliseconds = EPOCH.as_millis() as u64 + self.now.as_micros() / 1000;
                let id = Bytes::from(format!("{milliseconds}-{}", entries.len()));
                entries.push(Entry { id: id.clone(), fields });
                (0..self.machines.len()).for_each(|at| self.read_streams(at));
                Answer::Added(id)
            }
            other => panic!("a node does not ask this: {other:?}"),
        }
    }

    fn read_streams(&mut self, at: usize) {
        for (stream, next) in self.machines[at].reading.clone() {
            let entries = self
                .entries
                .get(&stream)
                .map_or(&[][..], |entries| &entries[next..])
                .to_vec();
            self.machines[at].reading.insert(stream.clone(), next + entries.len());
            for Entry { id, fields } in entries {
                let stream = stream.clone();
                self.deliver(at, Event::Entry { stream, id, fields });
            }
        }
    }

    /// An event comes to a machine after up to 20 ms, behind what came before.
    fn deliver(&mut self, at: usize, event: Event) {
        let delay = Duration::from_micros(draw(&mut self.random) % 20_000);
        let inbox = &mut self.machines[at].inbox;
        let due = inbox
            .back()
            .map_or(self.now + delay, |(last, _)| (self.now + delay).max(*last));
        inbox.push_back((due, event));
    }

    fn delivery(&mut self, at: usize, delivery: Delivery) {
        let now = self.now;
        match delivery {
            Delivery::Ready { .. } => self.machines[at].ready += 1,
            Delivery::CarryOut { order, .. } => self.carry_out(at, &order),
            Delivery::ServerSideEmit { emit, asker, .. } => {
                let machine = &mut self.machines[at];
                machine.heard.push(emit.name);
                if let Some(asker) = asker {
                    let value = Args::from(ByteString::from_static("\"here\""));
                    let answered = machine
                        .node
                        .answer_server_side_emit(now, &asker, value, &mut machine.out);
                    assert_eq!(answered, Ok(()));
                }
            }
            Delivery::Fetch { asker, to, .. } => self.fetch(at, &asker, &to),
            Delivery::Rooms { .. } => panic!("no node of ours asks for rooms"),
            Delivery::Ask { asker, to, emit, .. } => {
                let recipients = self.meant(at, &to);
                let machine = &mut self.machines[at];
                let count = recipients.len() as u64;
                machine
                    .node
                    .answer_recipients(now, &asker, count, &mut machine.out)
                    .unwrap();
                for sid in &recipients {
                    machine.sockets.get_mut(sid).unwrap().events.push(emit.name.clone());
                    machine
                        .node
                        .answer_ack(now, &asker, Args::default(), &mut machine.out)
                        .unwrap();
                }
            }
            Delivery::Sockets {
                request,
                sockets,
                left_out,
            } => {
                let gathered = self.open_request(at, request);
                gathered.left_out += left_out;
                gathered.sockets.extend(sockets.into_iter().map(|socket| socket.id));
            }
            Delivery::Answer { request, value } => {
                assert_eq!(value.json, "\"here\"");
                self.open_request(at, request).values += 1;
            }
            Delivery::Recipients { request, count } => self.open_request(at, request).recipients += count,
            Delivery::Ack { request, .. } => self.open_request(at, request).acks += 1,
            Delivery::Ended { request, end } => self.open_request(at, request).end = Some((now, end)),
            Delivery::Echo { .. } => {}
            Delivery::Stored { request, entry } => {
                let before = self.machines[at].stored.insert(request, entry.is_ok());
                assert_eq!(before, None, "an order is stored once");
            }
        }
    }

    /// A request for which something may still come.
    fn open_request(&mut self, at: usize, request: RequestId) -> &mut Gathered {
        let gathered = self.machines[at]
            .gathered
            .get_mut(&request)
            .expect("a request of this node");
        assert!(gathered.end.is_none(), "nothing comes behind the end: {gathered:?}");
        gathered
    }

    fn fetch(&mut self, at: usize, asker: &Asker, to: &Target) {
        let sockets = self.meant(at, to).into_iter().map(|id| RemoteSocket {
            id,
            ..RemoteSocket::default()
        });
        let sockets = sockets.collect();
        let machine = &mut self.machines[at];
        machine
            .node
            .answer_sockets(self.now, asker, sockets, &mut machine.out)
            .unwrap();
    }

    /// The sockets of a machine that a target means.
    pub(crate) fn meant(&self, at: usize, to: &Target) -> Vec<ByteString> {
        let sockets = self.machines[at].sockets.iter().filter(|(_, socket)| {
            let inside = |room: &ByteString| socket.rooms.contains(room);
            (to.rooms.is_empty() || to.rooms.iter().any(inside)) && !to.except.iter().any(inside)
        });
        sockets.map(|(sid, _)| sid.clone()).collect()
    }

    fn carry_out(&mut self, at: usize, order: &Order) {
        match order {
            Order::Broadcast { to, emit, .. } => {
                for sid in self.meant(at, to) {
                    let socket = self.machines[at].sockets.get_mut(&sid).unwrap();
                    socket.events.push(emit.name.clone());
                }
            }
            Order::Join { to, rooms } => {
                for sid in self.meant(at, to) {
                    rooms.iter().for_each(|room| self.join(at, &sid, room));
                }
            }
            Order::Leave { to, rooms } => {
                for sid in self.meant(at, to) {
                    rooms.iter().for_each(|room| self.leave(at, &sid, room));
                }
            }
            Order::Disconnect { to, .. } => {
                for sid in self.meant(at, to) {
                    let rooms = self.machines[at].sockets[&sid].rooms.clone();
                    rooms.iter().for_each(|room| self.leave(at, &sid, room));
                    self.machines[at].sockets.remove(&sid);
                }
            }
        }
    }
}

/// The next number of a generator (xorshift).
fn draw(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 8
}

/// Confirms all subscriptions of a node. Returns its deliveries.
pub(crate) fn hear_all(node: &mut Node, out: &mut Outputs) -> Vec<Delivery> {
    let commands = std::mem::take(&mut out.commands);
    for command in commands {
        if let Command::Subscribe { channel, sharded } = command {
            node.handle_broker(Time::ZERO, Event::Subscribed { channel, sharded }, out);
        }
    }
    std::mem::take(&mut out.deliveries)
}
