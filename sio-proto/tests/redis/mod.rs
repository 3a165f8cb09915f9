//! A small model of Redis, and a world in which a broker talks to it under a virtual clock.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a model in tests")]

pub(crate) mod events;
pub(crate) mod late;
pub(crate) mod links;
pub(crate) mod moving;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use sio_proto::broker::{Broker, BrokerConfig, Command, Event, Output};
use sio_proto::resp::{Decoder, Limits, slot};
use sio_proto::{Bytes, BytesMut, LinkId, Time};

pub(crate) type Fields = Vec<Vec<u8>>;
pub(crate) type Stream = Vec<((u64, u64), Fields)>;

/// How a server behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Connections are refused.
    Gone,
    /// Connections stand, and nothing is answered.
    Frozen,
    Loading,
}

#[derive(Debug, Default)]
struct Conn {
    node: usize,
    /// How `CLIENT INFO` names it.
    id: usize,
    resp3: bool,
    authenticated: bool,
    input: BytesMut,
    decoder: Option<Decoder>,
    channels: BTreeSet<(Vec<u8>, bool)>,
    multi: Option<Vec<Vec<Vec<u8>>>>,
    aborted: Option<String>,
    asking: bool,
    read: Option<Read>,
}

/// A connection that waits for entries of a stream.
#[derive(Debug)]
struct Read {
    stream: Vec<u8>,
    after: (u64, u64),
    until: Time,
    count: usize,
}

impl Conn {
    /// The next command, if it has come completely.
    fn next_command(&mut self) -> Option<Vec<Vec<u8>>> {
        let decoder = self.decoder.get_or_insert_with(|| Decoder::new(Limits::default()));
        let command = decoder.decode(&mut self.input).unwrap()?;
        let parts = command.items().unwrap().iter();
        Some(parts.map(|part| part.text().unwrap().to_vec()).collect())
    }
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) mood: Mood,
    pub(crate) in_cluster: bool,
    /// It sends everything on to this server, whoever owns it.
    pub(crate) moves_to: Option<usize>,
    /// The ranges of slots of a master of a cluster.
    pub(crate) slots: Vec<(u16, u16)>,
    pub(crate) password: Option<&'static str>,
    pub(crate) knows_hello: bool,
    pub(crate) is_master: bool,
    /// Messages are counted and not delivered.
    pub(crate) is_deaf: bool,
    /// A script runs, so it ends no connections.
    pub(crate) is_busy: bool,
    /// The first words of commands that are refused with `NOPERM`.
    pub(crate) forbidden: Vec<&'static str>,
    /// The first words of commands that have another name on this server.
    pub(crate) renamed: Vec<&'static str>,
    /// Commands that begin so are answered with this error, unless they were asked for (`ASKING`).
    pub(crate) errors: Vec<(&'static str, String)>,
    pub(crate) streams: BTreeMap<Vec<u8>, Stream>,
    pub(crate) values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// For a sentinel: who the master is.
    pub(crate) master: Option<(String, u16)>,
    pub(crate) commands: Vec<String>,
}

impl Node {
    pub(crate) fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            mood: Mood::Well,
            in_cluster: false,
            moves_to: None,
            slots: vec![],
            password: None,
            knows_hello: true,
            is_master: true,
            is_deaf: false,
            is_busy: false,
            forbidden: vec![],
            renamed: vec![],
            errors: vec![],
            streams: BTreeMap::new(),
            values: BTreeMap::new(),
            master: None,
            commands: vec![],
        }
    }
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) broker: Broker,
    pub(crate) nodes: Vec<Node>,
    pub(crate) events: Vec<Event>,
    /// What servers have published, in its order.
    pub(crate) published: Vec<Vec<u8>>,
    conns: BTreeMap<LinkId, Conn>,
    /// Connections that the broker has closed while their server stood still: it has their commands
    /// ([`World::carry_out_late`]).
    late: BTreeMap<LinkId, Conn>,
    opening: VecDeque<(LinkId, Option<usize>)>,
    to_broker: BTreeMap<LinkId, BytesMut>,
    buffers: BTreeMap<LinkId, BytesMut>,
    pub(crate) opened: usize,
    /// Bytes are handed over in pieces of at most this length.
    pub(crate) piece: usize,
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn bulk(out: &mut BytesMut, text: &[u8]) {
    out.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut BytesMut, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn id_of(text: &[u8]) -> (u64, u64) {
    let text = std::str::from_utf8(text).unwrap().trim_start_matches('(');
    match text.split_once('-') {
        Some((a, b)) => (a.parse().unwrap(), b.parse().unwrap()),
        None => (0, 0),
    }
}

fn entries(out: &mut BytesMut, found: &[((u64, u64), Fields)]) {
    line(out, &format!("*{}", found.len()));
    for ((a, b), fields) in found {
        line(out, "*2");
        bulk(out, format!("{a}-{b}").as_bytes());
        line(out, &format!("*{}", fields.len()));
        fields.iter().for_each(|field| bulk(out, field));
    }
}

impl World {
    pub(crate) fn new(config: BrokerConfig, nodes: Vec<Node>) -> Self {
        let mut state = 7u64;
        let entropy = move |out: &mut [u8]| {
            for byte in out {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (state >> 56) as u8;
            }
        };
        Self {
            now: Time::ZERO,
            broker: Broker::new(Time::ZERO, config, Box::new(entropy)).unwrap(),
            nodes,
            events: vec![],
            published: vec![],
            conns: BTreeMap::new(),
            late: BTreeMap::new(),
            opening: VecDeque::new(),
            to_broker: BTreeMap::new(),
            buffers: BTreeMap::new(),
            opened: 0,
            piece: usize::MAX,
        }
    }

    pub(crate) fn single() -> Self {
        Self::new(BrokerConfig::from_url("redis://a:1").unwrap(), vec![Node::new("a", 1)])
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.broker.handle_command(self.now, command);
    }

    pub(crate) fn subscribe(&mut self, channel: &str, sharded: bool) {
        let channel = bytes(channel);
        self.command(Command::Subscribe { channel, sharded });
    }

    pub(crate) fn publish(&mut self, channel: &str, payload: &str, sharded: bool) {
        let (channel, payload) = (bytes(channel), bytes(payload));
        self.command(Command::Publish {
            channel,
            payload,
            sharded,
        });
    }

    /// Lets the time pass, and everything happen that happens meanwhile.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        for round in 0.. {
            assert!(round < 200_000, "it does not come to rest");
            if self.act() {
                continue;
            }
            let reads = self.conns.values().filter_map(|conn| conn.read.as_ref());
            let reads = reads.map(|read| read.until).min();
            match self.broker.next_timeout().into_iter().chain(reads).min() {
                Some(next) if next <= end => {
                    self.now = self.now.max(next);
                    self.end_reads();
                    self.broker.handle_timeout(self.now);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    pub(crate) fn run_millis(&mut self, millis: u64) {
        self.run(Duration::from_millis(millis));
    }

    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// What is subscribed to on servers that are there, without probes.
    pub(crate) fn subscribed(&self) -> Vec<(String, bool)> {
        let well = self
            .conns
            .values()
            .filter(|conn| self.nodes[conn.node].mood == Mood::Well);
        let mut all: Vec<_> = well
            .flat_map(|conn| &conn.channels)
            .map(|(name, sharded)| (String::from_utf8(name.clone()).unwrap(), *sharded))
            .filter(|(name, _)| !name.starts_with("socket.io-probe#") && !name.starts_with('+'))
            .collect();
        all.sort();
        all
    }

    /// A server starts again: it has forgotten its connections.
    pub(crate) fn set_mood(&mut self, node: usize, mood: Mood) {
        if mood == Mood::Gone {
            self.cut(node, false);
        }
        self.nodes[node].mood = mood;
        if self.nodes[node].mood == Mood::Well {
            // What was sent meanwhile is answered now.
            let links: Vec<LinkId> = self
                .conns
                .iter()
                .filter(|(_, conn)| conn.node == node)
                .map(|(l, _)| *l)
                .collect();
            for link in links {
                self.serve(link);
            }
        }
    }

    /// A sentinel tells its subscribers.
    pub(crate) fn switch_master(&mut self, sentinel: usize, text: &str) {
        for (link, conn) in &self.conns {
            if conn.node == sentinel && conn.channels.iter().any(|(name, _)| name == b"+switch-master") {
                let out = self.to_broker.entry(*link).or_default();
                line(out, if conn.resp3 { ">3" } else { "*3" });
                bulk(out, b"message");
                bulk(out, b"+switch-master");
                bulk(out, text.as_bytes());
            }
        }
    }

    fn act(&mut self) -> bool {
        let mut acts = false;
        while let Some(output) = self.broker.poll_output() {
            acts = true;
            match output {
                Output::Open { link, address, .. } => {
                    self.opened += 1;
                    let node = self
                        .nodes
                        .iter()
                        .position(|node| node.port == address.port && *node.host == *address.host);
                    self.opening.push_back((link, node));
                }
                Output::Write { link, bytes } => {
                    if let Some(conn) = self.conns.get_mut(&link) {
                        conn.input.extend_from_slice(&bytes);
                        self.serve(link);
                    }
                }
                Output::Close { link } => {
                    let closed = self.conns.remove(&link);
                    if let Some(conn) = closed.filter(|conn| self.nodes[conn.node].mood == Mood::Frozen) {
                        self.late.insert(link, conn);
                    }
                    self.to_broker.remove(&link);
                    self.buffers.remove(&link);
                    self.opening.retain(|(opening, _)| *opening != link);
                }
                Output::Event(event) => self.events.push(event),
            }
        }
        if let Some((link, node)) = self.opening.pop_front() {
            match node.filter(|node| self.nodes[*node].mood != Mood::Gone) {
                Some(node) => {
                    let conn = Conn {
                        node,
                        id: self.opened,
                        ..Conn::default()
                    };
                    self.conns.insert(link, conn);
                    self.broker.handle_connected(self.now, link);
                }
                None => self.broker.handle_closed(self.now, link, Some("refused".into())),
            }
            return true;
        }
        let said: Vec<_> = std::mem::take(&mut self.to_broker).into_iter().collect();
        for (link, said) in said {
            if self.broker.is_held(link) {
                self.to_broker.insert(link, said);
                continue;
            }
            acts = true;
            self.hand_over(link, &said);
        }
        acts
    }

    fn hand_over(&mut self, link: LinkId, said: &[u8]) {
        let mut buffer = self.buffers.remove(&link).unwrap_or_default();
        for piece in said.chunks(self.piece) {
            buffer.extend_from_slice(piece);
            self.broker.handle_bytes(self.now, link, &mut buffer);
        }
        if self.conns.contains_key(&link) {
            self.buffers.insert(link, buffer);
        }
    }

    fn end_reads(&mut self) {
        for (link, conn) in &mut self.conns {
            if conn.read.as_ref().is_some_and(|read| read.until <= self.now) {
                conn.read = None;
                line(self.to_broker.entry(*link).or_default(), "*-1");
            }
        }
    }

    fn serve(&mut self, link: LinkId) {
        loop {
            let Some(conn) = self.conns.get_mut(&link) else { return };
            if self.nodes[conn.node].mood == Mood::Frozen {
                return;
            }
            let Some(parts) = conn.next_command() else { return };
            let mut out = self.to_broker.remove(&link).unwrap_or_default();
            self.answer(link, &parts, &mut out);
            if !out.is_empty() {
                self.to_broker.insert(link, out);
            }
        }
    }

    fn owner(&self, node: usize, key: &[u8]) -> Option<String> {
        if !self.nodes[node].in_cluster {
            return None;
        }
        let slot = slot(key);
        if let Some(to) = self.nodes[node].moves_to {
            return Some(format!("MOVED {slot} {}:{}", self.nodes[to].host, self.nodes[to].port));
        }
        let owns = |node: &&Node| node.slots.iter().any(|(from, to)| (*from..=*to).contains(&slot));
        let owner = self.nodes.iter().find(owns)?;
        let is_here = owner.port == self.nodes[node].port;
        (!is_here).then(|| format!("MOVED {slot} {}:{}", owner.host, owner.port))
    }

    fn answer(&mut self, link: LinkId, parts: &[Vec<u8>], out: &mut BytesMut) {
        let name = String::from_utf8_lossy(&parts[0]).to_uppercase();
        let (at, conn) = {
            let conn = self.conns.get_mut(&link).unwrap();
            (conn.node, conn)
        };
        let (resp3, asking) = (conn.resp3, std::mem::take(&mut conn.asking));
        let shown = parts
            .iter()
            .map(|part| String::from_utf8_lossy(part))
            .collect::<Vec<_>>()
            .join(" ");
        self.nodes[at].commands.push(shown.clone());
        if self.nodes[at].mood == Mood::Loading {
            return line(out, "-LOADING Redis is loading the dataset in memory");
        }
        if !self.nodes[at].knows_hello && name == "HELLO" {
            return line(out, "-ERR unknown command `HELLO`, with args beginning with: ");
        }
        if let Some(password) = self.nodes[at].password {
            let shown = match name.as_str() {
                "HELLO" => parts
                    .iter()
                    .position(|part| part == b"AUTH")
                    .and_then(|at| parts.get(at + 2)),
                "AUTH" => parts.last(),
                _ => None,
            };
            let conn = self.conns.get_mut(&link).unwrap();
            conn.authenticated |= shown.is_some_and(|shown| shown == password.as_bytes());
            if !conn.authenticated {
                return line(
                    out,
                    match shown {
                        Some(_) => "-WRONGPASS invalid username-password pair or user is disabled.",
                        None => "-NOAUTH Authentication required.",
                    },
                );
            }
        }
        if self.nodes[at].renamed.contains(&name.as_str()) {
            return line(
                out,
                &format!("-ERR unknown command `{name}`, with args beginning with: "),
            );
        }
        if self.nodes[at].forbidden.contains(&name.as_str()) {
            return line(out, "-NOPERM this user has no permissions to do this");
        }
        let mut errors = self.nodes[at].errors.iter().filter(|_| !asking);
        if let Some((_, error)) = errors.find(|(begin, _)| shown.starts_with(begin)) {
            return line(out, &format!("-{error}"));
        }
        let of_key = [
            "SSUBSCRIBE",
            "SUNSUBSCRIBE",
            "SPUBLISH",
            "XADD",
            "XRANGE",
            "XREVRANGE",
            "SET",
            "GET",
            "DEL",
            "XLEN",
        ];
        let key = match name.as_str() {
            "XREAD" => parts.get(6),
            name if of_key.contains(&name) => parts.get(1),
            _ => None,
        };
        if let Some(moved) = key.filter(|_| !asking).and_then(|key| self.owner(at, key)) {
            let conn = self.conns.get_mut(&link).unwrap();
            if conn.multi.is_some() {
                conn.aborted = Some(moved.clone());
            }
            return line(out, &format!("-{moved}"));
        }
        let conn = self.conns.get_mut(&link).unwrap();
        if let (Some(queued), true) = (&mut conn.multi, name != "EXEC") {
            queued.push(parts.to_vec());
            return line(out, "+QUEUED");
        }
        self.run_command(link, at, resp3, &name, parts, out);
    }

    fn run_command(&mut self, link: LinkId, at: usize, resp3: bool, name: &str, parts: &[Vec<u8>], out: &mut BytesMut) {
        let (push, pair) = if resp3 { (">", "%1") } else { ("*", "*1\r\n*2") };
        match name {
            "HELLO" => {
                self.conns.get_mut(&link).unwrap().resp3 = true;
                line(out, "%1\r\n+proto\r\n:3");
            }
            "CLIENT" => self.client_command(link, at, parts, out),
            "AUTH" | "SELECT" => line(out, "+OK"),
            "ASKING" => {
                self.conns.get_mut(&link).unwrap().asking = true;
                line(out, "+OK");
            }
            "PING" => match self.conns[&link].channels.is_empty() || resp3 {
                true => line(out, "+PONG"),
                false => line(out, "*2\r\n$4\r\npong\r\n$0\r\n"),
            },
            "CLUSTER" => self.slots(at, out),
            "ROLE" => line(
                out,
                if self.nodes[at].is_master {
                    "*1\r\n$6\r\nmaster"
                } else {
                    "*1\r\n$5\r\nslave"
                },
            ),
            "SENTINEL" if !resp3 && !self.conns[&link].channels.is_empty() => {
                line(out, "-ERR Can't execute 'sentinel': only (P|S)SUBSCRIBE are allowed");
            }
            "SENTINEL" => match &self.nodes[at].master {
                Some((host, port)) => {
                    line(out, "*2");
                    bulk(out, host.as_bytes());
                    bulk(out, port.to_string().as_bytes());
                }
                None => line(out, "*-1"),
            },
            "SUBSCRIBE" | "SSUBSCRIBE" | "UNSUBSCRIBE" | "SUNSUBSCRIBE" => {
                let key = (
                    parts[1].clone(),
                    name.starts_with("SS") || name.starts_with("SU") && name != "SUBSCRIBE",
                );
                let channels = &mut self.conns.get_mut(&link).unwrap().channels;
                match name.ends_with("UNSUBSCRIBE") {
                    true => channels.remove(&key),
                    false => channels.insert(key),
                };
                let count = channels.len();
                line(out, &format!("{push}3"));
                bulk(out, name.to_lowercase().as_bytes());
                bulk(out, &parts[1]);
                line(out, &format!(":{count}"));
            }
            "PUBLISH" | "SPUBLISH" => {
                let key = (parts[1].clone(), name == "SPUBLISH");
                self.published.push(parts[2].clone());
                let is_deaf = self.nodes[at].is_deaf;
                let mut count = 0;
                for (other, conn) in &self.conns {
                    if conn.channels.contains(&key) && (conn.node == at || self.nodes[at].in_cluster) {
                        count += usize::from(conn.node == at);
                        if is_deaf || *other == link {
                            continue;
                        }
                        let out = self.to_broker.entry(*other).or_default();
                        line(out, if conn.resp3 { ">3" } else { "*3" });
                        bulk(out, if key.1 { b"smessage" } else { b"message" });
                        bulk(out, &key.0);
                        bulk(out, &parts[2]);
                    }
                }
                line(out, &format!(":{count}"));
            }
            "PUBSUB" => {
                let key = (parts[2].clone(), parts[1] == b"SHARDNUMSUB");
                let count = self
                    .conns
                    .values()
                    .filter(|conn| conn.node == at && conn.channels.contains(&key))
                    .count();
                line(out, "*2");
                bulk(out, &key.0);
                line(out, &format!(":{count}"));
            }
            "TIME" => {
                let micros = self.now.as_micros() + 1000;
                line(out, "*2");
                bulk(out, (micros / 1_000_000).to_string().as_bytes());
                bulk(out, (micros % 1_000_000).to_string().as_bytes());
            }
            "XLEN" => {
                let stream = self.nodes[at].streams.get(&parts[1]);
                line(out, &format!(":{}", stream.map_or(0, Vec::len)));
            }
            "XADD" => {
                let fields = parts.iter().position(|part| part == b"*").unwrap() + 1;
                let stream = self.nodes[at].streams.entry(parts[1].clone()).or_default();
                // An id is never behind the one before it, whatever the clock says.
                let before = stream.last().map_or(0, |(id, _)| id.0);
                let id = (before.max(self.now.as_micros() / 1000 + 1), stream.len() as u64);
                stream.push((id, parts[fields..].to_vec()));
                bulk(out, format!("{}-{}", id.0, id.1).as_bytes());
                self.serve_reads(at);
            }
            "XRANGE" | "XREVRANGE" => {
                let all = self.nodes[at].streams.get(&parts[1]).cloned().unwrap_or_default();
                let from = match name {
                    "XRANGE" if parts[2] != b"-" => id_of(&parts[2]),
                    _ => (0, 0),
                };
                let mut found: Vec<_> = all.into_iter().filter(|(id, _)| *id > from).collect();
                if name == "XREVRANGE" {
                    let count = String::from_utf8_lossy(&parts[5]).parse().unwrap();
                    found.reverse();
                    found.truncate(count);
                }
                entries(out, &found);
            }
            "XREAD" => {
                let until = self.now + Duration::from_secs(5);
                let count = String::from_utf8_lossy(&parts[2]).parse().unwrap();
                let read = Read {
                    stream: parts[6].clone(),
                    after: id_of(&parts[7]),
                    until,
                    count,
                };
                self.conns.get_mut(&link).unwrap().read = Some(read);
                self.serve_reads(at);
                if let Some(said) = self.to_broker.remove(&link) {
                    out.extend_from_slice(&said);
                }
            }
            "SET" if parts.len() > 5 && !self.nodes[at].values.contains_key(&parts[1]) => line(out, "$-1"),
            "SET" => {
                self.nodes[at].values.insert(parts[1].clone(), parts[2].clone());
                line(out, "+OK");
            }
            "GET" => match self.nodes[at].values.get(&parts[1]) {
                Some(value) => bulk(out, value),
                None => line(out, "$-1"),
            },
            "DEL" => line(
                out,
                &format!(":{}", u8::from(self.nodes[at].values.remove(&parts[1]).is_some())),
            ),
            "MULTI" => {
                self.conns.get_mut(&link).unwrap().multi = Some(vec![]);
                line(out, "+OK");
            }
            "EXEC" => {
                let conn = self.conns.get_mut(&link).unwrap();
                let queued = conn.multi.take().unwrap();
                if conn.aborted.take().is_some() {
                    return line(out, "-EXECABORT Transaction discarded because of previous errors.");
                }
                line(out, &format!("*{}", queued.len()));
                for parts in queued {
                    let name = String::from_utf8(parts[0].clone()).unwrap();
                    self.run_command(link, at, resp3, &name, &parts, out);
                }
            }
            _ => panic!("unknown command {name} {pair}"),
        }
    }

    fn serve_reads(&mut self, at: usize) {
        for (link, conn) in &mut self.conns {
            let Some(read) = &conn.read else {
                continue;
            };
            if conn.node != at {
                continue;
            }
            let all = self.nodes[at].streams.get(&read.stream);
            let found: Vec<_> = all
                .into_iter()
                .flatten()
                .filter(|(id, _)| *id > read.after)
                .take(read.count)
                .cloned()
                .collect();
            if found.is_empty() {
                continue;
            }
            let out = self.to_broker.entry(*link).or_default();
            line(out, if conn.resp3 { "%1" } else { "*1\r\n*2" });
            bulk(out, &read.stream);
            entries(out, &found);
            conn.read = None;
        }
    }
}
