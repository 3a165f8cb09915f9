//! What is done for many clients: broadcasts, rooms, heartbeats. The counts are for one client.

use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use sio_app::adapter::Driver;
use sio_app::{ByteString, ClusterConfig, Generation, Io, Options, Raw, RawArgs, RecoveryConfig, Secret, Socket};
use sio_proto::broker::Command;
use sio_proto::cluster::{Emit, Flags, LocalOrder, Node, Order, Outputs, Target};

use crate::client::{Client, expect};
use crate::redis;
use crate::wire::text;
use crate::world::{self, pass, server};
use crate::{Case, Row};

/// The number of clients.
const CROWD: u64 = 200;

/// How many messages of other servers come with one read.
const HEARD: u64 = 16;

/// A secret of a cluster.
const SECRET: &[u8] = &[7; 32];

/// How many of them are in one room.
const ROOM: u64 = 10;

/// The rows.
pub const ROWS: &[Row] = &[
    Row::new("delivery/4.x", || {
        Box::new(Cast::new(Options::default(), Client::of_4, Cast::EVERYBODY))
    })
    .of(CROWD),
    Row::new("delivery/2.x", || {
        Box::new(Cast::new(Options::default(), Client::of_2, Cast::EVERYBODY))
    })
    .of(CROWD),
    Row::new("delivery/0.9", || {
        Box::new(Cast::new(Options::default(), Client::of_09, Cast::EVERYBODY))
    })
    .of(CROWD),
    Row::new("delivery/4.x/recovery", || {
        let options = Options::default().recovery(RecoveryConfig::default());
        Box::new(Cast::new(options, Client::of_4, Cast::EVERYBODY))
    })
    .of(CROWD),
    Row::new("room-delivery/4.x", || {
        Box::new(Cast::new(Options::default(), Client::of_4, Cast::A_ROOM))
    })
    .of(ROOM),
    Row::new("room-delivery/2.x", || {
        Box::new(Cast::new(Options::default(), Client::of_2, Cast::A_ROOM))
    })
    .of(ROOM),
    Row::new("room-broadcast/4.x", || {
        Box::new(Cast::new(Options::default(), Client::of_4, Cast::A_ROOM))
    })
    .heavy(),
    Row::new("room-broadcast/4.x/cluster", || {
        Box::new(Published::new(redis::server(Options::default(), None)))
    })
    .heavy(),
    Row::new("room-broadcast/4.x/cluster/signed", || {
        Box::new(Published::new(redis::server(Options::default(), Some(SECRET))))
    })
    .heavy(),
    Row::new("room-heard/4.x/cluster", || Box::new(Heard::new(None))).of(HEARD),
    Row::new("room-heard/4.x/cluster/signed", || Box::new(Heard::new(Some(SECRET)))).of(HEARD),
    Row::new("heartbeat/4.x", || {
        Box::new(Heartbeat::new(Client::of_4, Beat::OfServer(25_000, "2", "3")))
    })
    .of(CROWD),
    Row::new("heartbeat/2.x", || {
        Box::new(Heartbeat::new(Client::of_2, Beat::OfClient("2", "3")))
    })
    .of(CROWD),
    Row::new("heartbeat/0.9", || {
        Box::new(Heartbeat::new(Client::of_09, Beat::OfServer(25_000, "2::", "2::")))
    })
    .of(CROWD),
    Row::new("heartbeat/0.6", || {
        Box::new(Heartbeat::new(Client::of_06, Beat::Numbered(10_000)))
    })
    .of(CROWD),
];

/// A client's event that a handler sends on to many.
struct Cast {
    clients: Vec<Client>,
    said: Vec<u8>,
    heard: &'static str,
    /// How many clients hear it.
    audience: usize,
    /// The server lives as long as its clients.
    _io: Io,
}

impl Cast {
    const EVERYBODY: [&'static str; 2] = [r#"["cast","0123456789abcdef"]"#, r#"["cast","0123456789abcdef""#];
    const A_ROOM: [&'static str; 2] = [
        r#"["room","room-3","0123456789abcdef"]"#,
        r#"["room","0123456789abcdef""#,
    ];

    /// The clients send and hear an event, given as its JSON array.
    fn new(options: Options, connect: fn(&Io) -> Client, words: [&'static str; 2]) -> Self {
        Self::on(server(options), connect, words)
    }

    fn on(io: Io, connect: fn(&Io) -> Client, [said, heard]: [&'static str; 2]) -> Self {
        let everybody = io.clone();
        let room = io.clone();
        io.of("/")
            .on("cast", move |args: RawArgs| everybody.emit("cast", args))
            .on("room", move |(name, data): (String, Raw)| {
                room.to(name).emit("room", data);
            })
            .on("join", |socket: Socket, name: String| {
                let _ = socket.join(name);
            });
        let mut clients: Vec<Client> = (0..CROWD).map(|_| connect(&io)).collect();
        let is_old = io.sockets()[0].generation() == Generation::Legacy09;
        for (number, client) in clients.iter_mut().enumerate() {
            let room = number as u64 / ROOM;
            client.say(&text(&event(is_old, &format!(r#"["join","room-{room}"]"#))));
        }
        let is_for_room = said == Self::A_ROOM[0];
        Self {
            clients,
            said: text(&event(is_old, said)),
            heard: if is_old {
                r#""args":["0123456789abcdef"]"#
            } else {
                heard
            },
            audience: if is_for_room { ROOM } else { CROWD } as usize,
            _io: io,
        }
    }
}

/// Makes the packet of an event.
fn event(is_old: bool, array: &str) -> String {
    if !is_old {
        return format!("42{array}");
    }
    let (name, args) = array[1..].split_once(',').unwrap_or_default();
    format!(r#"5:::{{"name":{name},"args":[{args}}}"#)
}

impl Case for Cast {
    fn prepare(&mut self, _: usize) {
        pass(1);
    }

    fn run(&mut self, _: usize) {
        self.clients[0].say(&self.said);
    }

    fn check(&mut self) {
        self.clients.iter().for_each(Client::listen);
        self.run(0);
        let heard: String = self.clients.iter().map(Client::heard).collect();
        expect(&heard, self.heard, self.audience);
    }
}

/// A broadcast to a room that has ten members on this server, and others elsewhere: it is also
/// written to the connection to the broker, and the broker's answer is read.
struct Published {
    cast: Cast,
}

impl Published {
    fn new(io: Io) -> Self {
        let cast = Cast::on(io, Client::of_4, Cast::A_ROOM);
        redis::run_woken();
        Self { cast }
    }
}

impl Case for Published {
    fn prepare(&mut self, step: usize) {
        self.cast.prepare(step);
    }

    fn run(&mut self, step: usize) {
        self.cast.run(step);
        redis::run_woken();
    }

    fn check(&mut self) {
        let before = redis::published();
        self.cast.check();
        redis::run_woken();
        assert_eq!(redis::published(), before + 1, "one message for all other servers");
    }
}

/// Messages of another server to a room that has one member on this server. They come with one read
/// of the connection to the broker.
struct Heard {
    client: Client,
    /// It writes the messages.
    other: Node,
    messages: Vec<Bytes>,
    /// The server lives as long as its clients.
    _io: Io,
}

impl Heard {
    const CHANNEL: &'static str = "socket.io#/#room#";

    fn new(secret: Option<&[u8]>) -> Self {
        let io = redis::server(Options::default(), secret);
        io.of("/").on("join", |socket: Socket| {
            let _ = socket.join("room");
        });
        let mut client = Client::of_4(&io);
        client.say(&text(r#"42["join"]"#));
        redis::run_woken();
        let config = ClusterConfig::default().secrets(secret.map(Secret::new).into_iter().collect());
        let mut other = Node::new(config, Box::new(world::fill)).expect("the defaults are valid");
        other.open_namespace(world::now(), &"/".into(), &mut Outputs::default());
        Self {
            client,
            other,
            messages: Vec::new(),
            _io: io,
        }
    }

    fn message(&mut self) -> Bytes {
        let order = Order::Broadcast {
            to: Target::room("room"),
            flags: Flags::default(),
            emit: Emit {
                name: "room".into(),
                args: ByteString::from_static(r#""0123456789abcdef""#).into(),
            },
        };
        let (now, mut out) = (world::now(), Outputs::default());
        self.other
            .set_unix_time(now, Duration::from_secs((world::RUNTIME.unix_time)()));
        let order = LocalOrder::CarryOut(order);
        let sent = self.other.handle_local(now, &"/".into(), order, &mut out);
        match (sent, out.commands.pop()) {
            (Ok(None), Some(Command::Publish { channel, payload, .. })) => {
                assert_eq!(channel, Self::CHANNEL);
                payload
            }
            other => panic!("one message: {other:?}"),
        }
    }
}

impl Case for Heard {
    fn prepare(&mut self, _: usize) {
        pass(1);
        self.messages = (0..HEARD).map(|_| self.message()).collect();
        redis::tell(Self::CHANNEL, &self.messages);
    }

    fn run(&mut self, _: usize) {
        redis::run_woken();
    }

    fn check(&mut self) {
        self.prepare(0);
        self.client.listen();
        self.run(0);
        let heard = self.client.heard();
        expect(&heard, r#"["room","0123456789abcdef"]"#, HEARD as usize);
    }
}

/// Who begins a heartbeat.
#[derive(Clone, Copy)]
enum Beat {
    /// The server, after so many milliseconds, with this packet; the client answers with the other.
    OfServer(u64, &'static str, &'static str),
    /// The same, but the packets of 0.6 are numbered.
    Numbered(u64),
    /// The client, with this packet; the server answers with the other.
    OfClient(&'static str, &'static str),
}

/// A heartbeat of everybody, and the answers.
struct Heartbeat {
    driver: Driver,
    clients: Vec<Client>,
    beat: Beat,
    /// The number of the last heartbeat.
    number: u64,
    /// What the client says.
    said: Vec<u8>,
}

impl Heartbeat {
    fn new(connect: fn(&Io) -> Client, beat: Beat) -> Self {
        let io = server(Options::default());
        let clients = (0..CROWD).map(|_| connect(&io)).collect();
        let said = match beat {
            Beat::OfServer(_, _, said) | Beat::OfClient(said, _) => text(said),
            Beat::Numbered(_) => Vec::new(),
        };
        Self {
            driver: Driver::new(&io),
            clients,
            beat,
            number: 0,
            said,
        }
    }

    /// The text of the last numbered heartbeat.
    fn numbered(&self) -> String {
        let number = format!("~h~{}", self.number);
        format!("~m~{}~m~{number}", number.len())
    }
}

impl Case for Heartbeat {
    fn prepare(&mut self, _: usize) {
        self.number += 1;
        match self.beat {
            Beat::OfServer(millis, ..) => pass(millis),
            Beat::Numbered(millis) => {
                pass(millis);
                self.said = text(&self.numbered());
            }
            Beat::OfClient(..) => pass(1),
        }
    }

    fn run(&mut self, _: usize) {
        if !matches!(self.beat, Beat::OfClient(..)) {
            let _ = self.driver.handle_timeout(0, Waker::noop());
        }
        for client in &mut self.clients {
            client.say(&self.said);
        }
    }

    fn check(&mut self) {
        self.prepare(0);
        self.clients.iter().for_each(Client::listen);
        self.run(0);
        let heard = match self.beat {
            Beat::OfServer(_, heard, _) | Beat::OfClient(_, heard) => heard.to_owned(),
            Beat::Numbered(_) => self.numbered(),
        };
        for client in &self.clients {
            let written = client.heard();
            assert!(written.ends_with(&heard), "{heard:?} in {written:?}");
            assert_eq!(written.chars().count(), heard.len() + 2, "one frame");
        }
        assert_eq!(self.driver.io().sessions(), self.clients.len());
    }
}
