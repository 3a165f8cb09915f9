//! The machine alone: bytes go into the facade of `sio-proto` and come out, on one thread and
//! without locks, handlers or typed arguments.

use bytes::{Bytes, BytesMut};
use sio_proto::server::{Command, Delivery, Message, Output, Peer, Server, Target};
use sio_proto::{Config, LinkId};

use crate::client::{Client, expect, sid_in};
use crate::wire::{binary, get, post, text, upgrade};
use crate::world::{fill, now, pass};
use crate::{Case, Row};

/// The number of clients of a broadcast.
const CROWD: u64 = 200;

const WEBSOCKET_4: &str = "/socket.io/?EIO=4&transport=websocket";
const EVENT: &str = r#"42["echo","0123456789abcdef"]"#;
const EVENT_09: &str = r#"5:::{"name":"echo","args":["0123456789abcdef"]}"#;
const MESSAGE_06: &str = "~m~16~m~0123456789abcdef";
const ATTACHED: &str = r#"451-["bin",{"_placeholder":true,"num":0}]"#;

/// The rows.
pub const ROWS: &[Row] = &[
    Row::new("machine-echo/4.x", || {
        Box::new(Echo::new(Of::V4, text(EVENT), EVENT, 1))
    }),
    Row::new("machine-echo/2.x", || {
        Box::new(Echo::new(Of::V2, text(EVENT), EVENT, 1))
    }),
    Row::new("machine-echo/0.9", || {
        Box::new(Echo::new(Of::V09, text(EVENT_09), r#""args":["0123456789abcdef"]"#, 1))
    }),
    Row::new("machine-echo/0.6", || {
        Box::new(Echo::new(Of::V06, text(MESSAGE_06), MESSAGE_06, 1))
    }),
    Row::new("machine-pipelined/4.x", || {
        Box::new(Echo::new(Of::V4, text(EVENT).repeat(16), EVENT, 16))
    })
    .of(16),
    Row::new("machine-binary-1KiB/4.x", || {
        let said = [text(ATTACHED), binary(&[b'x'; 1024])].concat();
        Box::new(Echo::new(Of::V4, said, ATTACHED, 1))
    }),
    Row::new("machine-echo-64KiB/4.x", || {
        let said = text(&format!(r#"42["echo","{}"]"#, "0123456789abcdef".repeat(4096)));
        Box::new(Echo::new(Of::V4, said, r#"42["echo","0123456789abcdef01"#, 1))
    })
    .heavy(),
    Row::new("machine-poll/4.x", || Box::new(Polls::new(true))),
    Row::new("machine-post/4.x", || Box::new(Polls::new(false))),
    Row::new("machine-delivery/4.x", || Box::new(Crowd::new())).of(CROWD),
];

/// The generation of a client.
#[derive(Clone, Copy)]
enum Of {
    V4,
    V2,
    V09,
    V06,
}

/// A server, and what its outputs do: events come back to their senders, or go to everybody.
struct House {
    server: Server,
    buffer: BytesMut,
    /// Whether events go to everybody.
    casts: bool,
    /// What was written, if it is recorded.
    record: Option<Vec<u8>>,
}

impl House {
    fn new(casts: bool) -> Self {
        let server = Server::new(Config::default(), [7; 16], Box::new(fill));
        Self {
            server: server.expect("the defaults are valid"),
            buffer: BytesMut::with_capacity(256 * 1024),
            casts,
            record: None,
        }
    }

    fn connect(&mut self) -> LinkId {
        self.server.open(Peer::default())
    }

    fn say(&mut self, link: LinkId, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        let mut said = self.buffer.split();
        self.server.handle_bytes(now(), link, &mut said);
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Bytes(_, bytes) => self.write(&bytes),
                Output::Delivery(delivery) => self.deliver(delivery),
                Output::End(_) | Output::Request(..) => {}
            }
        }
    }

    fn write(&mut self, bytes: &Bytes) {
        if let Some(record) = &mut self.record {
            record.extend_from_slice(bytes);
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let now = now();
        match delivery {
            Delivery::Connect { socket, .. } => {
                self.server.shard(now, |shard, out| shard.accept(now, socket, out));
            }
            Delivery::Event { socket, name, args, .. } => {
                let mut message = Message::event("/".into(), name, args, None);
                if !self.casts {
                    let sent = self
                        .server
                        .shard(now, |shard, _| shard.emit(now, socket, &mut message, None));
                    return sent.expect("there is room for one echo");
                }
                let target = Target {
                    namespace: "/".into(),
                    ..Target::default()
                };
                self.server.shard(now, |shard, out| {
                    shard.handle_command(now, Command::Broadcast { target, message }, out)
                });
            }
            _ => {}
        }
    }

    fn hear(&mut self, link: LinkId, bytes: &[u8]) -> String {
        self.record = Some(Vec::new());
        self.say(link, bytes);
        String::from_utf8_lossy(&self.record.take().unwrap_or_default()).into_owned()
    }
}

/// One client on a websocket says something, and is answered.
struct Echo {
    house: House,
    link: LinkId,
    said: Vec<u8>,
    heard: &'static str,
    times: usize,
}

impl Echo {
    fn new(generation: Of, said: Vec<u8>, heard: &'static str, times: usize) -> Self {
        let mut house = House::new(false);
        let target = match generation {
            Of::V4 => WEBSOCKET_4.to_owned(),
            Of::V2 => "/socket.io/?EIO=3&transport=websocket".to_owned(),
            Of::V06 => "/socket.io/websocket".to_owned(),
            Of::V09 => {
                let first = house.connect();
                let answer = house.hear(first, &get("/socket.io/1/?t=1"));
                format!("/socket.io/1/websocket/{}", Client::id_of_09(&answer))
            }
        };
        let link = house.connect();
        house.say(link, &upgrade(&target));
        if matches!(generation, Of::V4) {
            house.say(link, &text("40"));
        }
        Self {
            house,
            link,
            said,
            heard,
            times,
        }
    }
}

impl Case for Echo {
    fn prepare(&mut self, _: usize) {
        pass(1);
    }

    fn run(&mut self, _: usize) {
        self.house.say(self.link, &self.said);
    }

    fn check(&mut self) {
        expect(&self.house.hear(self.link, &self.said), self.heard, self.times);
    }
}

/// A session of 4.x that polls: a POST brings an event, and a GET takes its echo.
struct Polls {
    house: House,
    links: [LinkId; 2],
    get: Vec<u8>,
    post: Vec<u8>,
    /// Whether the GET is counted, and not the POST.
    counts_get: bool,
    /// Whether an echo waits for its GET.
    echo_waits: bool,
}

impl Polls {
    fn new(counts_get: bool) -> Self {
        let mut house = House::new(false);
        let links = [house.connect(), house.connect()];
        let target = "/socket.io/?EIO=4&transport=polling";
        let open = house.hear(links[0], &get(target));
        let target = format!("{target}&sid={}", sid_in(&open));
        house.say(links[1], &post(&target, "40"));
        house.say(links[0], &get(&target));
        Self {
            house,
            links,
            get: get(&target),
            post: post(&target, EVENT),
            counts_get,
            echo_waits: false,
        }
    }

    fn step(&mut self, is_get: bool) {
        let [getting, posting] = self.links;
        if is_get {
            self.house.say(getting, &self.get);
        } else {
            self.house.say(posting, &self.post);
        }
        self.echo_waits = !is_get;
    }
}

impl Case for Polls {
    fn prepare(&mut self, _: usize) {
        pass(1);
        if self.counts_get != self.echo_waits {
            self.step(!self.counts_get);
        }
    }

    fn run(&mut self, _: usize) {
        self.step(self.counts_get);
    }

    fn check(&mut self) {
        self.prepare(0);
        self.house.record = Some(Vec::new());
        self.run(0);
        let heard = self.house.record.take().unwrap_or_default();
        let what = if self.counts_get { EVENT } else { "ok" };
        expect(&String::from_utf8_lossy(&heard), what, 1);
    }
}

/// A client's event goes to everybody.
struct Crowd {
    house: House,
    links: Vec<LinkId>,
    said: Vec<u8>,
}

impl Crowd {
    fn new() -> Self {
        let mut house = House::new(true);
        let links: Vec<LinkId> = (0..CROWD).map(|_| house.connect()).collect();
        for link in &links {
            house.say(*link, &upgrade(WEBSOCKET_4));
            house.say(*link, &text("40"));
        }
        Self {
            house,
            links,
            said: text(EVENT),
        }
    }
}

impl Case for Crowd {
    fn prepare(&mut self, _: usize) {
        pass(1);
    }

    fn run(&mut self, _: usize) {
        self.house.say(self.links[0], &self.said);
    }

    fn check(&mut self) {
        expect(&self.house.hear(self.links[0], &self.said), EVENT, self.links.len());
    }
}
