//! The lives of clients: which generation and transport they have, and how they end.

use super::random::Random;
use crate::failure::{Failure, Outcome};
use crate::hostile::clients;
use crate::hostile::peer::Peer;
use crate::hostile::wire;
use std::fmt;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

/// A kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    WebSocket4,
    WebSocket3,
    WebSocket09,
    WebSocket06,
    Polling4,
    Polling3,
    Polling09,
    Polling06,
}

/// How a client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// It says goodbye.
    Clean,
    /// Its connection gets FIN, and it has said nothing.
    Cut,
    /// Its connection gets RST.
    Reset,
    /// It says nothing any more, and the server ends it.
    Silent,
    /// It is not let in.
    Refused,
    /// It leaves in the middle of an upgrade.
    HalfUpgrade,
    /// It is cut, comes back as the same socket, and says goodbye.
    Recovered,
    /// It is cut, and goes on with its session of 0.6.
    Resumed,
    /// It is cut and never comes back, so its record expires.
    Expired,
}

const KINDS: [Kind; 8] = [
    Kind::WebSocket4,
    Kind::WebSocket3,
    Kind::WebSocket09,
    Kind::WebSocket06,
    Kind::Polling4,
    Kind::Polling3,
    Kind::Polling09,
    Kind::Polling06,
];

/// Each ending as often as it stands here.
const ENDINGS: [Ending; 15] = [
    Ending::Clean,
    Ending::Clean,
    Ending::Clean,
    Ending::Cut,
    Ending::Cut,
    Ending::Reset,
    Ending::Reset,
    Ending::Silent,
    Ending::Refused,
    Ending::Refused,
    Ending::HalfUpgrade,
    Ending::Recovered,
    Ending::Recovered,
    Ending::Resumed,
    Ending::Expired,
];

/// One life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    kind: Kind,
    ending: Ending,
}

/// A client that says nothing any more.
pub(super) struct Silent {
    peer: Peer,
    until: Instant,
}

impl fmt::Display for Life {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, ending } = self;
        write!(formatter, "{kind:?} {ending:?}")
    }
}

impl Life {
    pub(super) fn draw(random: &mut Random) -> Self {
        let kind = KINDS[random.below(KINDS.len() as u64) as usize];
        let ending = ENDINGS[random.below(ENDINGS.len() as u64) as usize];
        // Only some kinds know these endings.
        let kind = match ending {
            Ending::Recovered | Ending::Expired if random.below(3) == 0 => Kind::Polling4,
            Ending::Recovered | Ending::Expired => Kind::WebSocket4,
            Ending::Resumed => Kind::WebSocket06,
            Ending::HalfUpgrade if random.below(2) == 0 => Kind::Polling3,
            Ending::HalfUpgrade => Kind::Polling4,
            _ => kind,
        };
        Self { kind, ending }
    }

    /// Returns the names of the kind and of the ending.
    pub(super) fn names(self) -> (String, String) {
        (format!("{:?}", self.kind), format!("{:?}", self.ending))
    }

    pub(super) fn is_silent(self) -> bool {
        self.ending == Ending::Silent
    }

    /// Lives the life. Returns the client if it is silent.
    pub(super) fn live(self, from: Ipv4Addr, port: u16, random: &mut Random) -> Outcome<Option<Silent>> {
        let mut client = match self.ending {
            Ending::Refused => return self.knock(from, port).map(|()| None),
            Ending::Recovered if self.kind == Kind::Polling4 => return poll_again(from, port + 2).map(|()| None),
            Ending::Recovered => return come_back(from, port + 2, random).map(|()| None),
            Ending::Resumed => return resume(from, port, random).map(|()| None),
            Ending::Expired => Client::open(self.kind, from, port + 2)?,
            _ => Client::open(self.kind, from, port)?,
        };
        if random.below(2) == 0 {
            client.join(random.below(50))?;
        }
        match self.ending {
            Ending::Clean => client.say_goodbye()?,
            Ending::Reset | Ending::Expired => client.peer.reset(),
            Ending::HalfUpgrade => client.begin_upgrade(from, port)?,
            Ending::Silent => {
                return Ok(Some(Silent {
                    until: Instant::now() + self.kind.patience(),
                    peer: client.peer,
                }));
            }
            Ending::Cut | Ending::Refused | Ending::Recovered | Ending::Resumed => drop(client),
        }
        Ok(None)
    }

    /// A client that is not let in.
    fn knock(self, from: Ipv4Addr, port: u16) -> Outcome {
        let mut peer = Peer::connect(from, port, None)?;
        match self.kind {
            Kind::WebSocket4 => {
                peer.upgrade("/socket.io/?EIO=4&transport=websocket")?;
                peer.say(wire::text(r#"40{"token":"reject"}"#))?;
                peer.message_with("44{").map(|_| ())
            }
            Kind::Polling4 => {
                let target = clients::open_polling(&mut peer, 4, "")?;
                peer.ask(wire::post(&target, "40/nowhere,"))?;
                let (_, refusal) = peer.ask(wire::get(&target))?;
                expect(&refusal, "44/nowhere,")
            }
            Kind::WebSocket3 => {
                peer.upgrade("/socket.io/?EIO=3&transport=websocket&token=reject")?;
                peer.message_with("44{").map(|_| ())
            }
            Kind::Polling3 => refused(&mut peer, "/socket.io/?EIO=3&transport=polling&sid=unknown"),
            // 0.9 has a packet for this, and no status.
            Kind::WebSocket09 | Kind::Polling09 => {
                let (_, refusal) = peer.ask(wire::get("/socket.io/1/xhr-polling/unknown"))?;
                expect(&refusal, "7:::1")
            }
            Kind::WebSocket06 | Kind::Polling06 => refused(&mut peer, "/socket.io/xhr-polling/unknown/1"),
        }
    }
}

impl Silent {
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Waits for the end of its time. The server must have ended the connection of a websocket or
    /// answered a poll by then; in each case, its session is gone.
    pub(super) fn end(self) -> Outcome {
        thread::sleep(self.until.saturating_duration_since(Instant::now()));
        drop(self.peer);
        Ok(())
    }
}

impl Kind {
    /// How long the conformance server waits for a silent client of this kind.
    const fn patience(self) -> Duration {
        Duration::from_millis(match self {
            Self::WebSocket4 | Self::Polling4 | Self::WebSocket3 | Self::Polling3 => 3500,
            Self::WebSocket09 | Self::Polling09 | Self::WebSocket06 | Self::Polling06 => 12_000,
        })
    }
}

/// A client with an open session that has joined the main namespace.
struct Client {
    kind: Kind,
    peer: Peer,
    /// Where a polling client sends its requests.
    target: String,
}

impl Client {
    fn open(kind: Kind, from: Ipv4Addr, port: u16) -> Outcome<Self> {
        let (peer, target) = match kind {
            Kind::WebSocket4 => (clients::join4(from, port, None)?, String::new()),
            Kind::WebSocket3 => (clients::join3(from, port, None)?, String::new()),
            Kind::WebSocket09 => (clients::join09(from, port, None)?, String::new()),
            Kind::WebSocket06 => (clients::join06(from, port, None)?, String::new()),
            Kind::Polling4 => {
                let mut peer = Peer::connect(from, port, None)?;
                let target = clients::open_polling(&mut peer, 4, "")?;
                peer.ask(wire::post(&target, "40"))?;
                expect(&peer.ask(wire::get(&target))?.1, "40{")?;
                (peer, target)
            }
            Kind::Polling3 => {
                let mut peer = Peer::connect(from, port, None)?;
                let target = clients::open_polling(&mut peer, 3, "")?;
                expect(&peer.ask(wire::get(&target))?.1, "2:40")?;
                (peer, target)
            }
            Kind::Polling09 => {
                let mut peer = Peer::connect(from, port, None)?;
                let (_, opened) = peer.ask(wire::get("/socket.io/1/"))?;
                let target = format!(
                    "/socket.io/1/xhr-polling/{}",
                    opened.split(':').next().unwrap_or_default()
                );
                expect(&peer.ask(wire::get(&target))?.1, "1::")?;
                (peer, target)
            }
            Kind::Polling06 => {
                let mut peer = Peer::connect(from, port, None)?;
                let (_, opened) = peer.ask(wire::get("/socket.io/xhr-polling//1"))?;
                let session = opened.rsplit("~m~").next().unwrap_or_default();
                (peer, format!("/socket.io/xhr-polling/{session}"))
            }
        };
        Ok(Self { kind, peer, target })
    }

    /// Joins a room, if the generation has events.
    fn join(&mut self, room: u64) -> Outcome {
        let packet = format!(r#"420["join","room {room}"]"#);
        match self.kind {
            Kind::WebSocket4 | Kind::WebSocket3 => {
                self.peer.say(wire::text(&packet))?;
                self.peer.message_with("430[").map(|_| ())
            }
            Kind::Polling4 => self.peer.ask(wire::post(&self.target, &packet)).map(|_| ()),
            Kind::Polling3 => {
                let body = format!("{}:{packet}", packet.len());
                self.peer.ask(wire::post(&self.target, &body)).map(|_| ())
            }
            Kind::WebSocket09 | Kind::WebSocket06 | Kind::Polling09 | Kind::Polling06 => Ok(()),
        }
    }

    /// Ends the session as the client's own library does.
    fn say_goodbye(mut self) -> Outcome {
        let close = wire::frame(0x8, "");
        match self.kind {
            Kind::WebSocket4 | Kind::WebSocket3 => {
                self.peer.say(wire::text("41"))?;
                self.peer.say(close)
            }
            Kind::WebSocket09 => {
                self.peer.say(wire::text("0::"))?;
                self.peer.say(close)
            }
            Kind::WebSocket06 => self.peer.say(close),
            Kind::Polling4 => self.peer.ask(wire::post(&self.target, "41\u{1e}1")).map(|_| ()),
            Kind::Polling3 => self.peer.ask(wire::post(&self.target, "2:411:1")).map(|_| ()),
            Kind::Polling09 => {
                let target = format!("{}?disconnect", self.target);
                self.peer.ask(wire::get(&target)).map(|_| ())
            }
            // This client only stops polling.
            Kind::Polling06 => Ok(()),
        }
    }

    /// Sends the probe of an upgrade, hears its answer, and goes.
    fn begin_upgrade(self, from: Ipv4Addr, port: u16) -> Outcome {
        let mut candidate = Peer::connect(from, port, None)?;
        candidate.upgrade(&self.target.replace("polling", "websocket"))?;
        candidate.say(wire::text("2probe"))?;
        candidate.message_with("3probe").map(|_| ())
    }
}

/// A client that comes back as the same socket, once with an offset and once without. Its old
/// connection may still stand.
fn come_back(from: Ipv4Addr, port: u16, random: &mut Random) -> Outcome {
    let mut peer = clients::open4(from, port, None)?;
    peer.say(wire::text("40"))?;
    let welcome = peer.message_with("40{")?;
    let (sid, pid) = (value(&welcome, "sid")?, value(&welcome, "pid")?);
    let offset = match random.below(2) {
        0 => None,
        _ => {
            peer.say(wire::text(r#"42["echo","x"]"#))?;
            let echo = peer.message_with(r#"42["echo"#)?;
            echo.rsplit('"').nth(1).map(str::to_owned)
        }
    };
    let old = match random.below(3) {
        0 => Some(peer),
        1 => {
            peer.reset();
            None
        }
        _ => None,
    };
    let mut back = clients::open4(from, port, None)?;
    back.say(wire::text(&match offset {
        Some(offset) => format!(r#"40{{"pid":"{pid}","offset":"{offset}"}}"#),
        None => format!(r#"40{{"pid":"{pid}"}}"#),
    }))?;
    let welcome = back.message_with("40{")?;
    drop(old);
    if value(&welcome, "sid")? != sid {
        return Err(Failure::new(format!("came back as {welcome} instead of {sid}")));
    }
    back.say(wire::text("41"))?;
    back.say(wire::frame(0x8, ""))
}

/// A polling client that comes back as the same socket. It has seen no event, and so no offset.
fn poll_again(from: Ipv4Addr, port: u16) -> Outcome {
    let enter = |packet: &str| -> Outcome<(Peer, String, String)> {
        let mut peer = Peer::connect(from, port, None)?;
        let target = clients::open_polling(&mut peer, 4, "")?;
        peer.ask(wire::post(&target, packet))?;
        let (_, welcome) = peer.ask(wire::get(&target))?;
        Ok((peer, target, welcome))
    };
    let (peer, _, welcome) = enter("40")?;
    let (sid, pid) = (value(&welcome, "sid")?, value(&welcome, "pid")?);
    drop(peer);
    let (mut back, target, welcome) = enter(&format!(r#"40{{"pid":"{pid}"}}"#))?;
    if value(&welcome, "sid")? != sid {
        return Err(Failure::new(format!("came back as {welcome} instead of {sid}")));
    }
    back.ask(wire::post(&target, "41\u{1e}1")).map(|_| ())
}

/// A client of 0.6 that goes on with its session on another websocket, and says goodbye.
fn resume(from: Ipv4Addr, port: u16, random: &mut Random) -> Outcome {
    let mut peer = Peer::connect(from, port, None)?;
    peer.upgrade("/socket.io/websocket")?;
    let opened = peer.message_with("~m~")?;
    let session = opened.rsplit("~m~").next().unwrap_or_default().to_owned();
    match random.below(2) {
        0 => peer.reset(),
        _ => drop(peer),
    }
    let mut back = Peer::connect(from, port, None)?;
    back.upgrade(&format!("/socket.io/websocket/{session}"))?;
    back.say(wire::text("~m~5~m~hello"))?;
    back.message_with("~m~5~m~hello")?;
    back.say(wire::frame(0x8, ""))
}

/// A request that is answered with an error.
fn refused(peer: &mut Peer, target: &str) -> Outcome {
    let (head, _) = peer.ask(wire::get(target))?;
    match head.starts_with("HTTP/1.1 4") {
        true => Ok(()),
        false => Err(Failure::new(format!("{target} was answered {head:?}"))),
    }
}

fn expect(heard: &str, beginning: &str) -> Outcome {
    match heard.starts_with(beginning) {
        true => Ok(()),
        false => Err(Failure::new(format!("heard {heard:?} instead of {beginning:?}"))),
    }
}

/// Returns the text with this name in a packet.
fn value(packet: &str, name: &str) -> Outcome<String> {
    let found = packet.split_once(&format!("\"{name}\":\""));
    let text = found.and_then(|(_, rest)| rest.split('"').next());
    text.map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("no {name} in {packet:?}")))
}
