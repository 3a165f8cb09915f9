//! The whole server: bytes through the facade of `sio-proto`, in one read.

use bytes::{Bytes, BytesMut};
use sio_proto::codec::MessagePack;
use sio_proto::server::{Delivery, Output, Peer, Server};
use sio_proto::{Config, LinkId};

use super::{Worst, count};
use crate::Case;
use crate::client::{Client, sid_in};
use crate::wire::{get, masked, post, text, upgrade};
use crate::world::{fill, now};

/// More than any input has.
const MANY: usize = 64 << 20;

const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

pub(super) const INPUTS: &[Worst] = &[
    Worst::new("server/events", |bytes| {
        Box::new(Hall::websocket(WEBSOCKET, &text("40"), &text("42[\"e\"]"), bytes, 1))
    }),
    Worst::new("server/events-with-ids", |bytes| {
        Box::new(Hall::websocket(WEBSOCKET, &text("40"), &text("421[\"e\"]"), bytes, 1))
    }),
    Worst::new("server/answers", |bytes| {
        Box::new(Hall::websocket(WEBSOCKET, &text("40"), &text("431[]"), bytes, 0))
    }),
    Worst::new("server/connects", |bytes| {
        let both = [text("40/a,"), text("41/a,")].concat();
        Box::new(Hall::websocket(WEBSOCKET, &text("40"), &both, bytes, 1))
    }),
    Worst::new("server/pongs", |bytes| {
        Box::new(Hall::websocket(WEBSOCKET, &text("40"), &text("3"), bytes, 0))
    }),
    Worst::new("server/pings-of-the-websocket", |bytes| {
        Box::new(Hall::websocket(
            WEBSOCKET,
            &text("40"),
            &masked(true, 9, b"a"),
            bytes,
            0,
        ))
    }),
    Worst::new("server/attachments", |bytes| {
        let both = [
            text("451-[\"e\",{\"_placeholder\":true,\"num\":0}]"),
            masked(true, 2, b""),
        ]
        .concat();
        Box::new(Hall::websocket(WEBSOCKET, &text("40"), &both, bytes, 1))
    }),
    Worst::new("server/fragments", |bytes| {
        let frame = masked(false, 0, b" ");
        let times = count(bytes, &frame);
        let said = [
            masked(false, 1, b"42[\"e\""),
            frame.repeat(times),
            masked(true, 0, b"]"),
        ];
        Box::new(Hall::of(WEBSOCKET, &text("40"), said.concat(), 1))
    }),
    Worst::new("server/message-pack", |bytes| {
        let connect = masked(true, 2, b"\x82\xa4type\x00\xa3nsp\xa1/");
        let event = masked(true, 2, b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x91\xa1e");
        let mut hall = Hall::websocket(WEBSOCKET, &connect, &event, bytes, 1);
        hall.config = hall.config.parser(MessagePack::default());
        Box::new(hall)
    }),
    Worst::new("server/events-of-2.x", |bytes| {
        let target = "/socket.io/?EIO=3&transport=websocket";
        Box::new(Hall::websocket(target, b"", &text("42[\"e\"]"), bytes, 1))
    }),
    Worst::new("server/events-of-0.9", |bytes| {
        let event = text("5:::{\"name\":\"e\"}");
        Box::new(Hall::websocket("/socket.io/1/websocket/", b"", &event, bytes, 1))
    }),
    Worst::new("server/messages-of-0.6", |bytes| {
        let frame = text(&"~m~1~m~a".repeat(500));
        Box::new(Hall::websocket("/socket.io/websocket", b"", &frame, bytes, 500))
    }),
    Worst::new("server/refused-requests", |bytes| {
        let request = get("/socket.io/?EIO=4&transport=polling&sid=a");
        let times = count(bytes, &request);
        let mut hall = Hall::of("", b"", request.repeat(times), 0);
        hall.answers = times;
        Box::new(hall)
    }),
    Worst::new("server/sessions", |bytes| {
        let request = get(POLLING);
        let times = count(bytes, &request);
        let mut hall = Hall::of("", b"", request.repeat(times), 0);
        hall.answers = times;
        Box::new(hall)
    }),
    Worst::new("server/payload", |bytes| {
        let packets = "42[\"e\"]\u{1e}";
        let times = bytes / packets.len();
        let mut hall = Hall::of(POLLING, b"40", Vec::new(), times);
        hall.body = Some(packets.repeat(times).trim_end_matches('\u{1e}').to_owned());
        Box::new(hall)
    }),
];

/// A server, one client, and what the client says.
struct Hall {
    config: Config,
    /// The target of the client's first request; empty if the client begins with what it says.
    target: &'static str,
    /// What the client says to connect to the main namespace.
    connect: Vec<u8>,
    said: Vec<u8>,
    /// The body of a POST, instead of `said`.
    body: Option<String>,
    /// How many events and sockets reach the application.
    events: usize,
    /// How many answers there are, at least.
    answers: usize,
    ready: Option<(Server, LinkId, BytesMut)>,
}

impl Hall {
    /// A client on a websocket says `unit` as often as it fits into so many bytes. Each of them has
    /// so many events.
    fn websocket(target: &'static str, connect: &[u8], unit: &[u8], bytes: usize, events: usize) -> Self {
        let times = count(bytes, unit);
        Self::of(target, connect, unit.repeat(times), times * events)
    }

    fn of(target: &'static str, connect: &[u8], said: Vec<u8>, events: usize) -> Self {
        let mut config = Config::default();
        config.max_payload = MANY;
        config.max_connects_per_second = MANY;
        config.max_packets_per_payload = MANY;
        config.max_queued_bytes = MANY;
        config.max_queued_packets = MANY;
        config.max_sessions_per_address = MANY;
        config.max_kept_bytes_per_address = 1 << 30;
        config.http = config.http.max_body_bytes(MANY);
        config.websocket = config.websocket.max_frame_bytes(MANY).max_message_bytes(MANY);
        config.legacy06.max_messages_per_payload = MANY;
        Self {
            config,
            target,
            connect: connect.to_vec(),
            said,
            body: None,
            events,
            answers: 0,
            ready: None,
        }
    }

    /// The server, with the client connected, and the bytes that it reads next.
    fn ready(&self) -> (Server, LinkId, BytesMut) {
        let server = Server::new(self.config.clone(), [7; 16], Box::new(fill));
        let mut server = server.expect("the limits are valid");
        let mut said = self.said.clone();
        if self.target.is_empty() {
            let link = server.open(Peer::default());
            return (server, link, BytesMut::from(&said[..]));
        }
        let (first, link) = (server.open(Peer::default()), server.open(Peer::default()));
        let mut hear = |link: LinkId, bytes: &[u8]| {
            let mut written = Vec::new();
            say(&mut server, link, BytesMut::from(bytes), &mut |bytes| {
                written.extend_from_slice(bytes)
            });
            String::from_utf8_lossy(&written).into_owned()
        };
        if let Some(body) = &self.body {
            let target = format!("{}&sid={}", self.target, sid_in(&hear(first, &get(self.target))));
            hear(link, &post(&target, &String::from_utf8_lossy(&self.connect)));
            said = post(&target, body);
        } else {
            let mut target = self.target.to_owned();
            if target.starts_with("/socket.io/1/") {
                target.push_str(Client::id_of_09(&hear(first, &get("/socket.io/1/?t=1"))));
            }
            hear(link, &upgrade(&target));
            hear(link, &self.connect);
        }
        (server, link, BytesMut::from(&said[..]))
    }
}

impl Case for Hall {
    fn prepare(&mut self, _: usize) {
        self.ready = Some(self.ready());
    }

    fn run(&mut self, _: usize) {
        if let Some((mut server, link, said)) = self.ready.take() {
            say(&mut server, link, said, &mut |_| {});
        }
    }

    fn check(&mut self) {
        let (mut server, link, said) = self.ready();
        let mut answers = 0;
        let (events, ended) = say(&mut server, link, said, &mut |_| answers += 1);
        assert_eq!((events, ended), (self.events, false));
        assert!(answers >= self.answers, "{answers} of {} answers", self.answers);
    }
}

/// Hands bytes to the server, and lets everybody in. Returns how many events and sockets there are,
/// and whether the server has closed the connection.
fn say(server: &mut Server, link: LinkId, mut said: BytesMut, write: &mut dyn FnMut(&Bytes)) -> (usize, bool) {
    let (mut events, mut ended) = (0, false);
    server.handle_bytes(now(), link, &mut said);
    while let Some(output) = server.poll_output() {
        match output {
            Output::Bytes(_, bytes) => write(&bytes),
            Output::End(_) => ended = true,
            Output::Request(..) => {}
            Output::Delivery(Delivery::Connect { socket, .. }) => {
                server.shard(now(), |shard, out| shard.accept(now(), socket, out));
                events += 1;
            }
            Output::Delivery(Delivery::Event { .. }) => events += 1,
            Output::Delivery(_) => {}
        }
    }
    (events, ended)
}
