//! A client that was not let in gets no session: every route of every generation and transport is
//! tried against every obstacle.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::*;
use sio_proto::codec::{Framing, Streaming};
use sio_proto::detect::{self, EngineTransport, Exchange, Handshake, Legacy09, RequestHead, Route, Transport};
use sio_proto::server::{Admission, Command, Delivery, Output, Peer, Server, TransportKind};
use sio_proto::{BytesMut, Config, LinkId, Origins, Time};

/// A reason why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    Nothing,
    /// Nobody asked the application.
    NotAsked,
    Application,
    Origin,
    Full,
    Draining,
}

const OBSTACLES: [Obstacle; 5] = [
    Obstacle::NotAsked,
    Obstacle::Application,
    Obstacle::Origin,
    Obstacle::Full,
    Obstacle::Draining,
];

/// A server, and the bytes that were written on the link under test.
struct House {
    server: Server,
    heard: Vec<u8>,
    ended: bool,
    /// The number of sessions before the request.
    before: usize,
}

impl House {
    fn with(obstacle: Obstacle) -> Self {
        let mut config = Config::default().origins(match obstacle {
            Obstacle::Origin => Origins::list(["http://good.example"]).unwrap(),
            _ => Origins::Any,
        });
        config.engine_path = Some("/engine.io".into());
        config.legacy06 = config.legacy06.mount("/streaming", Streaming).mount("/again", Framing);
        config.max_sessions = if obstacle == Obstacle::Full { 1 } else { 10 };
        let mut counter = 0u8;
        let entropy = move |out: &mut [u8]| {
            for b in out {
                counter = counter.wrapping_mul(181).wrapping_add(97);
                *b = counter;
            }
        };
        let server = Server::new(config, [7; 16], Box::new(entropy)).unwrap();
        let mut house = Self {
            server,
            heard: Vec::new(),
            ended: false,
            before: 0,
        };
        match obstacle {
            Obstacle::Nothing | Obstacle::Origin => {}
            Obstacle::NotAsked => house.server.allow_request(|_| Admission::NotAsked),
            Obstacle::Application => {
                house.server.allow_request(|_| Admission::Refused("not you".into()));
            }
            // The session that exists has joined a namespace, so it does not make room for another.
            Obstacle::Full => {
                let link = house.knock(WEBSOCKET);
                house.say(link, &text("40"));
                house.before = 1;
            }
            Obstacle::Draining => house.server.shard(Time::ZERO, |shard, out| {
                let (spread, patience) = (Duration::ZERO, Duration::from_secs(1));
                shard.handle_command(
                    Time::ZERO,
                    Command::Drain {
                        spread,
                        patience,
                        handover: false,
                        pause: None,
                    },
                    out,
                );
            }),
        }
        house
    }

    fn knock(&mut self, bytes: &[u8]) -> LinkId {
        let link = self.server.open(Peer::default());
        self.say(link, bytes);
        link
    }

    fn say(&mut self, link: LinkId, bytes: &[u8]) {
        (self.heard, self.ended) = (Vec::new(), false);
        self.server.handle_bytes(Time::ZERO, link, &mut BytesMut::from(bytes));
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Bytes(to, bytes) if to == link => self.heard.extend_from_slice(&bytes),
                Output::End(to) => self.ended |= to == link,
                Output::Delivery(Delivery::Connect { socket, .. }) => {
                    self.server
                        .shard(Time::ZERO, |shard, out| shard.accept(Time::ZERO, socket, out));
                }
                Output::Bytes(..) | Output::Delivery(_) => {}
                Output::Request(..) => self
                    .heard
                    .extend_from_slice(b"HTTP/1.1 404 the application's own\r\n\r\n"),
            }
        }
    }

    fn sessions(&mut self) -> usize {
        self.server.shard(Time::ZERO, |shard, _| shard.sessions())
    }
}

/// One request of the test.
struct Knock {
    prefix: &'static str,
    method: &'static str,
    target: String,
    headers: &'static [&'static str],
    /// The bytes behind the head.
    behind: &'static str,
}

const HYBI: &[&str] = &[
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];
const HIXIE_75: &[&str] = &["Connection: Upgrade", "Upgrade: WebSocket"];
const HIXIE_76: &[&str] = &[
    "Connection: Upgrade",
    "Upgrade: WebSocket",
    "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5",
    "Sec-WebSocket-Key2: 12998 5 Y3 1  .P00",
];
/// Headers, and the bytes behind the head.
const SHAPES: [(&[&str], &str); 4] = [(&[], ""), (HYBI, ""), (HIXIE_75, ""), (HIXIE_76, "^n:ds[4U")];
const METHODS: [&str; 4] = ["GET", "POST", "OPTIONS", "PUT"];

impl Knock {
    fn bytes(&self) -> Vec<u8> {
        let origin = ["Origin: http://evil.example"];
        let headers = [&origin[..], self.headers].concat();
        let mut bytes = request(self.method, &self.target, &headers, "");
        bytes.extend_from_slice(self.behind.as_bytes());
        bytes
    }

    /// The road of the request. A new road has to be named here, and then the test has to take it.
    fn road(&self) -> String {
        let head = RequestHead {
            method: self.method,
            target: &self.target,
            upgrade: !self.headers.is_empty(),
            websocket_version: self.headers.contains(&HYBI[2]).then_some("13"),
            websocket_key: self.headers.contains(&HYBI[3]),
            websocket_key_pair: self.headers.contains(&HIXIE_76[2]),
        };
        match detect::detect(self.prefix, &head) {
            Route::Static(_) => "a file".into(),
            Route::EngineIo(route) => format!("engine {}", engine_name(route.transport)),
            Route::NotAProtocolRequest => "nothing".into(),
            Route::Legacy09(Legacy09::Handshake { maybe_beacon_of, .. }) => match maybe_beacon_of {
                None => "0.9 handshake".into(),
                Some(_) => "0.9 beacon, maybe".into(),
            },
            Route::Legacy09(Legacy09::Transport {
                transport, exchange, ..
            }) => {
                format!("0.9 {} {}", transport.name(), exchange_name(exchange))
            }
            Route::Legacy09(Legacy09::Disconnect { .. }) => "0.9 beacon".into(),
            Route::Legacy09(Legacy09::Preflight) => "0.9 preflight".into(),
            Route::Legacy09(Legacy09::Malformed) => "0.9 malformed".into(),
            Route::UnknownProtocol => "unknown protocol".into(),
            Route::Legacy06(route) => {
                let again = match (route.session, route.maybe_timestamp) {
                    (None, _) => "",
                    (Some(_), false) => ", with an id",
                    (Some(_), true) => ", with a timestamp",
                };
                format!(
                    "0.6 {} {}{again}",
                    route.transport.name(),
                    exchange_name(route.exchange)
                )
            }
            Route::Foreign => "not ours".into(),
        }
    }
}

fn engine_name(transport: EngineTransport) -> &'static str {
    match transport {
        EngineTransport::Polling => "polling",
        EngineTransport::Websocket => "websocket",
        EngineTransport::Webtransport => "webtransport",
        EngineTransport::Flashsocket => "flashsocket",
        EngineTransport::Unknown => "unknown",
    }
}

fn exchange_name(exchange: Exchange) -> &'static str {
    match exchange {
        Exchange::Upgrade(Handshake::Rfc6455) => "upgrade",
        Exchange::Upgrade(Handshake::Hixie76) => "hixie-76",
        Exchange::Upgrade(Handshake::Hixie75) => "hixie-75",
        Exchange::Upgrade(Handshake::Unsupported) => "upgrade of no known version",
        Exchange::Poll => "poll",
        Exchange::Stream => "stream",
        Exchange::Send => "send",
        Exchange::Preflight => "preflight",
        Exchange::Mismatch => "mismatch",
        Exchange::BadMethod => "bad method",
    }
}

/// Every target that may have a meaning, of every generation.
fn targets() -> Vec<(&'static str, String)> {
    let mut targets = Vec::new();
    let engines = ["polling", "websocket", "webtransport", "flashsocket", "nothing"];
    let revisions = ["EIO=4&", "EIO=3&", "EIO=2&", ""];
    let places = [
        ("/socket.io", "/socket.io/"),
        ("/socket.io", "/socket.io"),
        ("/socket.io", "/socket.io/foo"),
        ("/socket.io", "http://localhost/socket.io/"),
        ("/engine.io", "/engine.io/"),
        ("/engine.io", "/engine.io"),
    ];
    for (prefix, place) in places {
        for revision in revisions {
            for transport in engines {
                for rest in ["", "&j=0", "&b64=1", "&sid=unknown", "&sid="] {
                    targets.push((prefix, format!("{place}?{revision}transport={transport}{rest}")));
                }
            }
        }
    }
    let names = TransportKind::ALL.map(|kind| Transport::from(kind).name());
    for path in [
        "",
        "/",
        "/xhr-polling",
        "/f2OB-Gs9-F9dtPdjA7X9",
        "/00000000000000000000",
    ] {
        for query in ["", "?t=1&jsonp=0", "?disconnect=1", "?disconnect=1&jsonp=0"] {
            targets.push(("/socket.io", format!("/socket.io/1{path}{query}")));
        }
    }
    for name in names {
        for query in ["", "?i=0", "?disconnect"] {
            targets.push(("/socket.io", format!("/socket.io/1/{name}/f2OB-Gs9-F9dtPdjA7X9{query}")));
        }
        for mount in ["/socket.io", "/streaming", "/again"] {
            for rest in [
                "",
                "/",
                "//1795447966090",
                "//1795447966090/0",
                "/1795447966090",
                "/1795447966090/0",
                "/5515766539492415",
                "/5515766539492415/1795447966090",
                "/5515766539492415/1795447966090/0",
                "/5515766539492415/send",
            ] {
                targets.push((mount, format!("{mount}/{name}{rest}")));
            }
        }
    }
    targets.push(("/socket.io", "/socket.io/2/".into()));
    targets
}

fn knocks() -> Vec<Knock> {
    let mut knocks = Vec::new();
    for (prefix, target) in targets() {
        for method in METHODS {
            for (headers, behind) in SHAPES {
                if method == "GET" || headers.is_empty() {
                    let target = target.clone();
                    knocks.push(Knock {
                        prefix,
                        method,
                        target,
                        headers,
                        behind,
                    });
                }
            }
        }
    }
    knocks
}

/// The roads on which a client that is let in gets a session.
const OPEN_ROADS: &[&str] = &[
    "0.6 flashsocket hixie-75",
    "0.6 flashsocket hixie-75, with a timestamp",
    "0.6 flashsocket hixie-76",
    "0.6 flashsocket hixie-76, with a timestamp",
    "0.6 flashsocket upgrade",
    "0.6 flashsocket upgrade, with a timestamp",
    "0.6 htmlfile stream",
    "0.6 htmlfile stream, with a timestamp",
    "0.6 jsonp-polling poll",
    "0.6 jsonp-polling poll, with a timestamp",
    "0.6 websocket hixie-75",
    "0.6 websocket hixie-75, with a timestamp",
    "0.6 websocket hixie-76",
    "0.6 websocket hixie-76, with a timestamp",
    "0.6 websocket upgrade",
    "0.6 websocket upgrade, with a timestamp",
    "0.6 xhr-multipart stream",
    "0.6 xhr-multipart stream, with a timestamp",
    "0.6 xhr-polling poll",
    "0.6 xhr-polling poll, with a timestamp",
    "0.9 beacon, maybe",
    "0.9 handshake",
    "engine flashsocket",
    "engine polling",
    "engine websocket",
    // A longer path, and a target in absolute form. Only the config knows that they are Engine.IO.
    "not ours",
];

/// Whether an answer is a refusal in the form of the generation. There are three forms. The first
/// is a status. The second is a script that reports the refusal, because browsers run no script
/// whose status is an error. The third is a websocket that is accepted and closed, because old
/// clients do not see the status of a handshake.
fn refuses(answer: &str, ended: bool, obstacle: Obstacle) -> bool {
    let room = matches!(obstacle, Obstacle::Full | Obstacle::Draining);
    match status(answer) {
        401 | 403 => !room,
        503 => room,
        // An upgrade is refused with 400 for every reason.
        400 => !room && ended,
        200 => answer.contains("new Error(") || !room && answer.contains("alert("),
        101 => ended,
        _ => false,
    }
}

/// Hardening A1. A client that is not let in gets no session, on any road, and its answer is a
/// refusal.
#[test]
fn no_road_leads_past_the_application() {
    let (mut roads, mut opened) = (BTreeSet::new(), 0);
    for knock in knocks() {
        let (bytes, what) = (
            knock.bytes(),
            format!("{} {} {:?}", knock.method, knock.target, knock.headers),
        );
        let mut free = House::with(Obstacle::Nothing);
        free.knock(&bytes);
        if free.sessions() == 0 {
            continue;
        }
        opened += 1;
        roads.insert(knock.road());
        for obstacle in OBSTACLES {
            let mut house = House::with(obstacle);
            house.knock(&bytes);
            assert_eq!(house.sessions(), house.before, "{what}: {obstacle:?}");
            let answer = String::from_utf8_lossy(&house.heard).into_owned();
            assert!(
                refuses(&answer, house.ended, obstacle),
                "{what}: {obstacle:?}: {answer}, ended {}",
                house.ended
            );
        }
    }
    assert_eq!(roads, OPEN_ROADS.iter().map(|road| (*road).to_owned()).collect());
    assert!(opened > 150, "{opened}");
}

/// Hardening A1. A caller that feeds a shard and gives no decision has refused.
#[test]
fn nobody_asked_is_no() {
    use sio_proto::server::{Outputs, Request, Shard};
    use sio_proto::{Bytes, http};
    let mut shard = Shard::new(Config::default(), 0, [7; 16], Box::new(|out: &mut [u8]| out.fill(7))).unwrap();
    let mut out = Outputs::default();
    for (at, admission) in [None, Some(Admission::NotAsked), Some(Admission::Allowed)]
        .into_iter()
        .enumerate()
    {
        let head = http::Request {
            method: http::Method::Get,
            target: POLLING.into(),
            version_minor: 1,
            headers: [("Host", "localhost")].into_iter().collect(),
            body: Ok(Bytes::new()),
        };
        let mut request = Request::new(shard.config(), head, Peer::default());
        assert!(request.may_open_session());
        let allowed = admission == Some(Admission::Allowed);
        if let Some(admission) = admission {
            request.admission = admission;
        }
        shard.handle_request(Time::ZERO, LinkId::new(at as u32, 0), &mut request, &mut out);
        assert_eq!(shard.sessions(), usize::from(allowed));
    }
}
