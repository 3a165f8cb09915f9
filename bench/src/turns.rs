//! Whole turns of one client on a websocket: its bytes are read, a handler runs, the answer is
//! written.

use std::sync::LazyLock;

use sio_app::{Ack, Binary, Data, Io, Options, RawArgs, RecoveryConfig, Socket};

use crate::client::{Client, expect};
use crate::wire::{binary, text};
use crate::world::{pass, server};
use crate::{Case, Row};

/// How many messages of a pipelined row come with one read.
const PIPELINED: u64 = 16;

/// A string of 16 bytes, of 1 KiB, of 64 KiB.
const SMALL: &str = "0123456789abcdef";
static LARGE: LazyLock<String> = LazyLock::new(|| SMALL.repeat(64));
static HUGE: LazyLock<String> = LazyLock::new(|| SMALL.repeat(4096));

/// The rows.
pub const ROWS: &[Row] = &[
    Row::new("harness", || Box::new(Nothing(talk(Client::of_4, String::new, "", 1)))),
    Row::new("echo/4.x", || {
        Box::new(talk(Client::of_4, event_4, r#"42["echo","0123456789abcdef"]"#, 1))
    }),
    Row::new("echo/2.x", || {
        Box::new(talk(Client::of_2, event_4, r#"42["echo","0123456789abcdef"]"#, 1))
    }),
    Row::new("echo/0.9", || {
        Box::new(talk(Client::of_09, event_09, r#""args":["0123456789abcdef"]"#, 1))
    }),
    Row::new("echo/0.6", || {
        Box::new(talk(Client::of_06, message_06, "~m~16~m~0123456789abcdef", 1))
    }),
    Row::new("echo/4.x/recovery", || {
        let options = Options::default().recovery(RecoveryConfig::default());
        Box::new(Talk::new(
            options,
            Client::of_4,
            text(&event_4()),
            r#"42["echo","0123456789abcdef",""#,
            1,
        ))
    }),
    Row::new("pipelined/4.x", || {
        Box::new(talk(Client::of_4, event_4, r#"42["echo","0123456789abcdef"]"#, 16))
    })
    .of(PIPELINED),
    Row::new("pipelined/2.x", || {
        Box::new(talk(Client::of_2, event_4, r#"42["echo","0123456789abcdef"]"#, 16))
    })
    .of(PIPELINED),
    Row::new("pipelined/0.9", || {
        Box::new(talk(Client::of_09, event_09, r#""args":["0123456789abcdef"]"#, 16))
    })
    .of(PIPELINED),
    Row::new("pipelined/0.6", || {
        Box::new(talk(Client::of_06, message_06, "~m~16~m~0123456789abcdef", 16))
    })
    .of(PIPELINED),
    Row::new("ack/4.x", || {
        Box::new(talk(Client::of_4, ask_4, r#"4317["0123456789abcdef"]"#, 1))
    }),
    Row::new("ack/2.x", || {
        Box::new(talk(Client::of_2, ask_4, r#"4317["0123456789abcdef"]"#, 1))
    }),
    Row::new("ack/0.9", || {
        Box::new(talk(Client::of_09, ask_09, r#"6:::17+["0123456789abcdef"]"#, 1))
    }),
    Row::new("binary-1KiB/4.x", || Box::new(attachment(Client::of_4, &[]))),
    Row::new("binary-1KiB/2.x", || Box::new(attachment(Client::of_2, &[4]))),
    Row::new("echo-1KiB/4.x", || {
        Box::new(talk(
            Client::of_4,
            || event_of(&LARGE),
            r#"42["echo","0123456789abcdef01"#,
            1,
        ))
    }),
    Row::new("echo-64KiB/4.x", || {
        Box::new(talk(
            Client::of_4,
            || event_of(&HUGE),
            r#"42["echo","0123456789abcdef01"#,
            1,
        ))
    })
    .heavy(),
    Row::new("echo-64KiB/2.x", || {
        Box::new(talk(
            Client::of_2,
            || event_of(&HUGE),
            r#"42["echo","0123456789abcdef01"#,
            1,
        ))
    })
    .heavy(),
    Row::new("emit/4.x", || Box::new(Emit::new())),
];

fn event_of(argument: &str) -> String {
    format!(r#"42["echo","{argument}"]"#)
}

fn event_4() -> String {
    event_of(SMALL)
}

fn ask_4() -> String {
    format!(r#"4217["echo","{SMALL}"]"#)
}

fn event_09() -> String {
    format!(r#"5:::{{"name":"echo","args":["{SMALL}"]}}"#)
}

fn ask_09() -> String {
    format!(r#"5:17+::{{"name":"echo","args":["{SMALL}"]}}"#)
}

fn message_06() -> String {
    format!("~m~16~m~{SMALL}")
}

/// Registers the handlers of these rows. Their arguments are forwarded as they came.
pub(crate) fn register(io: &Io) {
    io.of("/")
        .on("echo", |socket: Socket, args: RawArgs, ack: Ack| {
            if ack.is_wanted() {
                ack.send(args);
            } else {
                let _ = socket.emit("echo", args);
            }
        })
        .on("bin", |socket: Socket, bytes: Binary| socket.emit("bin", bytes))
        .on_message(|socket: Socket, data: Data| socket.send(data));
}

/// A client says something, and is answered.
struct Talk {
    io: Io,
    client: Client,
    said: Vec<u8>,
    /// What the answer contains, and how often.
    heard: &'static str,
    times: usize,
}

impl Talk {
    fn new(options: Options, connect: fn(&Io) -> Client, said: Vec<u8>, heard: &'static str, times: usize) -> Self {
        let io = server(options);
        register(&io);
        let client = connect(&io);
        Self {
            io,
            client,
            said,
            heard,
            times,
        }
    }
}

/// A client says a packet so often in one read, and each time the answer contains `heard`.
fn talk(connect: fn(&Io) -> Client, packet: fn() -> String, heard: &'static str, times: usize) -> Talk {
    Talk::new(Options::default(), connect, text(&packet()).repeat(times), heard, times)
}

/// A client sends an attachment of 1 KiB. Before 3.0, the message begins with a byte of its own.
fn attachment(connect: fn(&Io) -> Client, begin: &[u8]) -> Talk {
    let packet = r#"451-["bin",{"_placeholder":true,"num":0}]"#;
    let said = [text(packet), binary(&[begin, LARGE.as_bytes()].concat())].concat();
    Talk::new(Options::default(), connect, said, packet, 1)
}

impl Case for Talk {
    fn prepare(&mut self, _: usize) {
        pass(1);
    }

    fn run(&mut self, _: usize) {
        self.client.say(&self.said);
    }

    fn check(&mut self) {
        self.prepare(0);
        let heard = self.client.hear(&self.said);
        expect(&heard, self.heard, self.times);
        // A masked frame is longer by its mask.
        let masks = 4 * heard.matches(self.heard).count();
        assert!(heard.len() + 2 * masks + 32 >= self.said.len(), "all of it comes back");
        assert_eq!(self.io.sessions(), 1);
    }
}

/// The client and its socket alone: what a row costs before the server does anything. The client
/// says nothing.
struct Nothing(Talk);

impl Case for Nothing {
    fn run(&mut self, _: usize) {
        self.0.client.say(&[]);
    }

    fn check(&mut self) {
        expect(&self.0.client.hear(&[]), "42", 0);
    }
}

/// An emit to one client, outside of a handler.
struct Emit {
    client: Client,
    socket: Socket,
    /// The server lives as long as its clients.
    _io: Io,
}

impl Emit {
    fn new() -> Self {
        let io = server(Options::default());
        let client = Client::of_4(&io);
        let socket = io.sockets().pop().expect("one client is there");
        Self {
            client,
            socket,
            _io: io,
        }
    }
}

impl Case for Emit {
    fn prepare(&mut self, _: usize) {
        pass(1);
    }

    fn run(&mut self, _: usize) {
        let _ = self.socket.emit("news", SMALL);
    }

    fn check(&mut self) {
        self.client.listen();
        self.run(0);
        expect(&self.client.heard(), r#"42["news","0123456789abcdef"]"#, 1);
    }
}
