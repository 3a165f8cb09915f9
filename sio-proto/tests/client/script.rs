//! A client against servers whose words are written out.

use std::collections::BTreeMap;
use std::time::Duration;

use sio_proto::client::{
    AckTicket, Client, ClientConfig, Delivery, EmitId, Endpoint, Outcome, Output, SocketId, Transport,
};
use sio_proto::websocket::{Opcode, encode_message, handshake};
use sio_proto::{BytesMut, LinkId, Time};

pub const OPEN: &str =
    "0{\"sid\":\"s\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}";

/// A client, and everything that it has said.
pub struct Script {
    pub client: Client,
    pub now: Time,
    pub socket: SocketId,
    pub open: Vec<LinkId>,
    pub requests: Vec<(LinkId, String)>,
    pub messages: Vec<String>,
    pub log: Vec<String>,
    pub events: Vec<String>,
    pub tickets: Vec<AckTicket>,
    pub receipts: BTreeMap<EmitId, Outcome>,
}

impl Script {
    pub fn new(config: ClientConfig) -> Self {
        let endpoint = Endpoint::parse("http://localhost:3000").unwrap();
        let config = config.randomization_factor(0.0);
        let mut client = Client::new(endpoint, config, Box::new(super::seeded(3))).unwrap();
        let socket = client.socket("/").unwrap();
        client.connect(Time::ZERO, socket).unwrap();
        let mut script = Self {
            client,
            now: Time::ZERO,
            socket,
            open: Vec::new(),
            requests: Vec::new(),
            messages: Vec::new(),
            log: Vec::new(),
            events: Vec::new(),
            tickets: Vec::new(),
            receipts: BTreeMap::new(),
        };
        script.drain();
        script
    }

    pub fn websocket() -> Self {
        Self::new(ClientConfig::default().transports(vec![Transport::WebSocket]))
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Connect { link, .. } => {
                    self.open.push(link);
                    self.client.handle_connected(self.now, link);
                }
                Output::Bytes(link, bytes) if bytes.starts_with(b"GET") || bytes.starts_with(b"POST") => {
                    self.requests.push((link, String::from_utf8(bytes.to_vec()).unwrap()));
                }
                Output::Bytes(_, bytes) => self.messages.extend(unmasked(&bytes)),
                Output::Close(link) => self.open.retain(|open| *open != link),
                Output::State(state) => self.log.push(format!("{state:?}")),
                Output::Delivery(Delivery::Event { name, args, ack, .. }) => {
                    self.tickets.extend(ack);
                    self.events.push(format!("{name} {}", args.json));
                }
                Output::Delivery(Delivery::Receipt { emit, outcome, .. }) => {
                    assert_eq!(self.receipts.insert(emit, outcome), None, "{emit:?} ends twice");
                }
                Output::Delivery(Delivery::Connect { recovery, .. }) => self.log.push(format!("connect {recovery:?}")),
                Output::Delivery(Delivery::ConnectError { error, .. }) => {
                    self.log.push(format!("connect_error {error}"))
                }
                Output::Delivery(Delivery::Disconnect { reason, .. }) => self.log.push(format!("disconnect {reason}")),
                _ => {}
            }
        }
    }

    pub fn say(&mut self, link: LinkId, bytes: &[u8]) {
        self.client.handle_bytes(self.now, link, &mut BytesMut::from(bytes));
        self.drain();
    }

    pub fn answer(&mut self, status: u16, headers: &str, body: &str) {
        let (link, _) = *self.requests.last().map(|(link, text)| (link, text)).as_ref().unwrap();
        let (link, length) = (*link, body.len());
        let response = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
        self.say(link, response.as_bytes());
    }

    /// Opens the websocket of the last request.
    pub fn upgrade(&mut self) -> LinkId {
        let (link, request) = self.requests.last().unwrap().clone();
        let key = request
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
            .unwrap();
        let accept = handshake::accept_key(key);
        let accept = core::str::from_utf8(&accept).unwrap();
        let head = format!(
            "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        self.say(link, head.as_bytes());
        link
    }

    pub fn tell(&mut self, link: LinkId, text: &str) {
        let mut bytes = BytesMut::new();
        encode_message(&mut bytes, Opcode::Text, text.as_bytes(), None);
        self.say(link, &bytes);
    }

    /// A websocket whose session is open.
    pub fn opened(&mut self) -> LinkId {
        let link = self.upgrade();
        self.tell(link, OPEN);
        link
    }

    pub fn cut(&mut self, link: LinkId) {
        self.client.handle_closed(self.now, link, None);
        self.drain();
        self.pass(6000);
    }

    pub fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.client.handle_timeout(self.now);
        self.drain();
    }

    pub fn has(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.contains(text))
    }
}

/// The text messages in short masked frames.
fn unmasked(mut bytes: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while let [_, length, a, b, c, d, rest @ ..] = bytes {
        let (length, mask) = (usize::from(length & 127), [*a, *b, *c, *d]);
        if length > 125 || rest.len() < length {
            break;
        }
        let text: Vec<u8> = rest[..length]
            .iter()
            .zip(mask.iter().cycle())
            .map(|(x, m)| x ^ m)
            .collect();
        messages.push(String::from_utf8_lossy(&text).into_owned());
        bytes = &rest[length..];
    }
    messages
}
