//! The client of a session, over all its links. It checks that everything the server sends is a
//! valid packet, and that the packets come in a sensible order.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use bytestring::ByteString;
use sio_proto::detect::{RequestHead, engine_io};
use sio_proto::engine::{Dialect, Packet, PayloadError, Revision, payload, payload_v3};
use sio_proto::legacy::legacy09::handshake::Handshake;
use sio_proto::legacy::{envelope, framing, legacy09, streaming};
use sio_proto::socket::text::Limits;
use sio_proto::socket::{self, Role};
use sio_proto::wire::Reassembly;

/// A limit that is above the number of packets in any answer.
const MANY: usize = 1 << 16;

/// All sessions whose id the server has sent to a client, by id.
#[derive(Debug, Default)]
pub(super) struct Clients {
    sessions: BTreeMap<String, Client>,
    /// For sessions of 0.7 to 0.9: the endpoints that the server has accepted.
    endpoints: BTreeMap<String, BTreeSet<ByteString>>,
    /// The ids in the order in which they became known.
    pub(super) sids: Vec<String>,
}

/// What a request says about its session: its id, and how it speaks.
#[derive(Clone, Debug)]
pub(super) struct About {
    /// The session's id, if the request names it or the open packet has said it.
    pub(super) sid: Option<String>,
    /// The Engine.IO revision of a session that this request opens.
    revision: Revision,
    /// Messages are the application's own.
    is_raw: bool,
}

/// The client of one session of Engine.IO.
#[derive(Debug)]
struct Client {
    revision: Revision,
    /// The namespaces that the client is in.
    namespaces: BTreeSet<ByteString>,
    reassembly: Reassembly,
    /// Messages are the application's own.
    is_raw: bool,
}

impl About {
    /// Reads the path of a request of 0.7 to 0.9. Returns `None` for any other request, and
    /// `Some(None)` if the path names no session.
    pub(super) fn v1(target: &str) -> Option<Option<&str>> {
        let path = target.split('?').next().unwrap_or_default().strip_prefix("/socket.io/1")?;
        Some(path.split('/').nth(2).filter(|sid| !sid.is_empty()))
    }

    /// Reads a request target.
    pub(super) fn target(target: &str) -> Self {
        let route = engine_io(&RequestHead {
            target,
            ..RequestHead::default()
        });
        Self {
            sid: route.sid.map(|sid| sid.of(target).to_owned()),
            revision: route.version.revision().unwrap_or(Revision::V4),
            is_raw: target.starts_with("/engine.io/"),
        }
    }
}

impl Clients {
    fn revision(&self, about: &About) -> Revision {
        let known = about.sid.as_ref().and_then(|sid| self.sessions.get(sid));
        known.map_or(about.revision, |client| client.revision)
    }

    /// Reads the body of an answer to a poll of Engine.IO. Returns the number of its packets.
    pub(super) fn receive_payload(&mut self, mut about: About, body: Bytes, is_binary: bool) -> usize {
        let packets: Result<Vec<Packet>, PayloadError> = match self.revision(&about) {
            Revision::V3 if is_binary => payload_v3::decode_binary(body, Dialect::Plain, MANY).collect(),
            revision => {
                let text = ByteString::try_from(body).expect("a payload of text");
                match revision {
                    Revision::V4 => payload::decode(text, MANY).collect(),
                    Revision::V3 => payload_v3::decode_text(text, Dialect::Plain, MANY).collect(),
                }
            }
        };
        let packets = packets.expect("the server sends packets");
        let count = packets.len();
        assert!(count > 0, "a poll is held until there is something to say");
        packets.into_iter().for_each(|packet| self.receive(&mut about, packet));
        if let Some(client) = about.sid.and_then(|sid| self.sessions.get(&sid)) {
            assert!(!client.reassembly.is_pending(), "a packet and its attachments go together");
        }
        count
    }

    /// Reads a text message of an Engine.IO websocket. The first message sets the id in `about`, if
    /// the id was not known.
    pub(super) fn receive_text(&mut self, about: &mut About, text: &ByteString) {
        let packet = Packet::decode_text(self.revision(about), text).expect("the server sends packets");
        self.receive(about, packet);
    }

    /// Reads a binary message of an Engine.IO websocket.
    pub(super) fn receive_binary(&mut self, about: &mut About, bytes: Bytes) {
        let packet = Packet::decode_binary(self.revision(about), bytes).expect("the server sends packets");
        self.receive(about, packet);
    }

    fn receive(&mut self, about: &mut About, packet: Packet) {
        let Some(sid) = &about.sid else {
            let Packet::Open(json) = packet else { panic!("{packet:?} before the session is open") };
            let found = json.strip_prefix("{\"sid\":\"").and_then(|rest| rest.get(..32));
            let found = found.expect("an id of 32 characters").to_owned();
            let client = Client {
                revision: about.revision,
                namespaces: BTreeSet::new(),
                reassembly: Reassembly::new(),
                is_raw: about.is_raw,
            };
            assert!(self.sessions.insert(found.clone(), client).is_none(), "an id is given out twice");
            self.sids.push(found.clone());
            about.sid = Some(found);
            return;
        };
        let client = self.sessions.get_mut(sid).expect("an answer to a session that was never opened");
        client.receive(packet);
    }

    /// Reads the answer to a GET of 0.7 to 0.9: a handshake or a payload. Returns the number of its
    /// packets.
    pub(super) fn receive_v1(&mut self, sid: Option<&str>, body: &ByteString) -> usize {
        let Some(sid) = sid else {
            let handshake = Handshake::decode(body).expect("the server says who the client is");
            assert!(!handshake.transports.is_empty());
            self.sids.push(handshake.sid.to_string());
            return 0;
        };
        let mut packets = Vec::new();
        assert_eq!(legacy09::payload::decode(body, MANY, &mut packets), Ok(()));
        packets.iter().for_each(|packet| self.receive_v1_packet(sid, packet));
        packets.len()
    }

    /// Reads one packet of 0.7 to 0.9.
    pub(super) fn receive_v1_packet(&mut self, sid: &str, text: &ByteString) {
        let packet = legacy09::Packet::decode(text).expect("the server sends packets");
        let endpoints = self.endpoints.entry(sid.to_owned()).or_default();
        match packet.body {
            legacy09::Body::Connect(_) => {
                endpoints.insert(packet.endpoint);
            }
            legacy09::Body::Disconnect => {
                endpoints.remove(&packet.endpoint);
            }
            // The server acknowledges a packet even in a namespace that the client is not in
            // (docs/protocol/legacy-0.9.md §11).
            legacy09::Body::Ack { args: None, .. } => {}
            legacy09::Body::Message(_) | legacy09::Body::Json(_) | legacy09::Body::Event { .. } | legacy09::Body::Ack { .. } => {
                let connected = endpoints.iter().any(|endpoint| endpoint.split('?').next() == Some(packet.namespace()));
                assert!(connected, "{text} in a namespace that it is not in");
            }
            legacy09::Body::Heartbeat | legacy09::Body::Error { .. } | legacy09::Body::Noop => {}
        }
    }

    /// Reads a payload of the 0.6 family. The path of `target` says which codec it has.
    pub(super) fn receive_plain(&mut self, target: &str, payload: &ByteString) -> usize {
        // A script of a page that may not load it (docs/protocol/legacy-0.6.md §7): no payload.
        if *payload == "alert('Cross domain security restrictions not met');" {
            return 0;
        }
        if target.starts_with("/streaming/") {
            self.receive_streaming(payload)
        } else if target.starts_with("/envelope/") {
            self.receive_envelope(payload)
        } else {
            self.receive_tilde(payload)
        }
    }

    fn receive_streaming(&mut self, payload: &ByteString) -> usize {
        let (mut decoder, mut packets) = (streaming::Decoder::new(MANY, MANY), Vec::new());
        assert_eq!(decoder.decode(payload, &mut packets), Ok(()));
        assert!(decoder.is_at_boundary(), "the server sends whole packets");
        if let Some(streaming::Packet::Handshake(sid)) = packets.first() {
            self.sids.push(sid.to_string());
        }
        packets.len()
    }

    fn receive_envelope(&mut self, payload: &ByteString) -> usize {
        if payload.is_empty() {
            return 0;
        }
        match envelope::decode_from_server(payload, MANY).expect("the server sends objects") {
            envelope::FromServer::Messages(messages) => {
                let sid = messages.first().and_then(|first| envelope::session_id(first));
                self.sids.extend(sid.map(|sid| sid.to_string()));
                messages.len()
            }
            envelope::FromServer::Heartbeat => 1,
            envelope::FromServer::Other => panic!("{payload} says nothing"),
        }
    }

    fn receive_tilde(&mut self, payload: &ByteString) -> usize {
        let mut frames = Vec::new();
        assert_eq!(framing::decode(payload, MANY, &mut frames), Ok(()));
        // The first frame of a session is its id. It comes alone in its answer, unless the session
        // ends with this answer: then the answer also carries everything that waits. The user of
        // these tests never sends a text of this length.
        if let Some(framing::Frame::Text(text)) = frames.first()
            && text.len() == 39
            && !self.sids.iter().any(|sid| *sid == **text)
        {
            self.sids.push(text.to_string());
        }
        frames.len()
    }
}

impl Client {
    fn receive(&mut self, packet: Packet) {
        let limits = Limits::default();
        match packet {
            Packet::Open(_) => panic!("a session is open once"),
            Packet::Upgrade => panic!("only clients say that"),
            Packet::Message(_) | Packet::Binary(_) if self.is_raw => {}
            Packet::Message(text) => {
                let revision = match self.revision {
                    Revision::V3 => socket::Revision::Four,
                    Revision::V4 => socket::Revision::Five,
                };
                assert!(self.revision == Revision::V4 || text.is_ascii(), "revision 3 has two dialects, which agree on ASCII only");
                let packet = self.reassembly.handle_text(text, revision, Role::Client, &limits);
                packet.expect("the server sends packets").into_iter().for_each(|packet| self.socket(packet));
            }
            Packet::Binary(bytes) => {
                let packet = self.reassembly.handle_binary(bytes, &limits);
                packet.expect("announced").into_iter().for_each(|packet| self.socket(packet));
            }
            Packet::Close | Packet::Ping(_) | Packet::Pong(_) | Packet::Noop => {
                assert!(!self.reassembly.is_pending(), "a packet between attachments");
            }
        }
    }

    fn socket(&mut self, packet: socket::Packet) {
        match packet {
            // A client may connect again after it has left.
            socket::Packet::Connect { namespace, payload, .. } => {
                let sid = payload.is_some_and(|json| json.starts_with("{\"sid\":\""));
                assert_eq!(sid, self.revision == Revision::V4, "the socket's id is told from revision 5 on");
                self.namespaces.insert(namespace);
            }
            socket::Packet::Disconnect { namespace } => {
                self.namespaces.remove(&namespace);
            }
            socket::Packet::Event { namespace, .. } | socket::Packet::Ack { namespace, .. } => {
                assert!(self.namespaces.contains(&namespace), "an event in {namespace}, which it is not in");
            }
            socket::Packet::ConnectError { .. } => {}
        }
    }
}
