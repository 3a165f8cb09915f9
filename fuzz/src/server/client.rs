//! What a session's client makes of what the server says, over whatever links: is every packet one, and do they come in an order that makes sense?

use std::collections::{BTreeMap, BTreeSet};

use bytestring::ByteString;
use sio_proto::engine::{Packet, Revision, payload};
use sio_proto::legacy::framing;
use sio_proto::socket::text::Limits;
use sio_proto::socket::{self, Reassembly, Role};

/// More packets than any answer has.
const MANY: usize = 1 << 16;

/// All sessions that the server has told somebody about, by their ids.
#[derive(Debug, Default)]
pub(super) struct Clients {
    sessions: BTreeMap<String, Client>,
    /// The ids in the order in which they became known.
    pub(super) sids: Vec<String>,
}

/// The client of one session of Engine.IO 4.
#[derive(Debug, Default)]
struct Client {
    /// Namespaces that the server has let it into and not made it leave.
    namespaces: BTreeSet<ByteString>,
    reassembly: Reassembly,
    /// Messages are the application's own.
    is_raw: bool,
}

impl Clients {
    /// The session id that a request names.
    pub(super) fn sid_in(target: &str) -> Option<&str> {
        target.split(['?', '&']).rev().find_map(|pair| pair.strip_prefix("sid="))
    }

    /// The body of an answer to a poll of Engine.IO, or the answer to a handshake. Returns how many packets it has.
    pub(super) fn receive_payload(&mut self, sid: Option<&str>, is_raw: bool, body: ByteString) -> usize {
        let (mut sid, mut count) = (sid.map(str::to_owned), 0);
        for packet in payload::decode(body, MANY) {
            self.receive(&mut sid, is_raw, packet.expect("the server sends packets"));
            count += 1;
        }
        if let Some(client) = sid.and_then(|sid| self.sessions.get(&sid)) {
            assert!(!client.reassembly.is_pending(), "a packet and its attachments go together");
        }
        count
    }

    /// A text message of a websocket of Engine.IO. `sid` becomes known with the first one if it was not.
    pub(super) fn receive_text(&mut self, sid: &mut Option<String>, is_raw: bool, text: &ByteString) {
        let packet = Packet::decode_text(Revision::V4, text).expect("the server sends packets");
        self.receive(sid, is_raw, packet);
    }

    /// A packet, in whatever form it came.
    pub(super) fn receive(&mut self, sid: &mut Option<String>, is_raw: bool, packet: Packet) {
        let Some(sid) = sid else {
            let Packet::Open(json) = packet else { panic!("{packet:?} before the session is open") };
            let found = json.strip_prefix("{\"sid\":\"").and_then(|rest| rest.get(..20));
            let found = found.expect("an id of 20 characters").to_owned();
            let client = Client {
                is_raw,
                ..Client::default()
            };
            assert!(self.sessions.insert(found.clone(), client).is_none(), "an id is given out twice");
            self.sids.push(found.clone());
            *sid = Some(found);
            return;
        };
        let client = self.sessions.get_mut(sid).expect("an answer to a session that was never opened");
        client.receive(packet);
    }

    /// A payload of 0.6.
    pub(super) fn receive_tilde(&mut self, payload: &ByteString) -> usize {
        let mut frames = Vec::new();
        assert_eq!(framing::decode(payload, MANY, &mut frames), Ok(()));
        // The first frame of a session is its id; a text of this length from the user does not happen here.
        if let Some(framing::Frame::Text(text)) = frames.first()
            && text.len() == 24
            && !self.sids.iter().any(|sid| *sid == **text)
        {
            assert!(frames.len() == 1, "the id goes alone");
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
                let packet = self.reassembly.handle_text(text, socket::Revision::Five, Role::Client, &limits);
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
            // Again, after the client itself has left.
            socket::Packet::Connect { namespace, payload, .. } => {
                assert!(payload.is_some_and(|json| json.starts_with("{\"sid\":\"")));
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
