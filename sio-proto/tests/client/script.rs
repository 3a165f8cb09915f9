//! A client against servers whose words are written out.

use std::collections::BTreeMap;
use std::time::Duration;

use sio_proto::client::{
    AckTicket, Client, ClientConfig, ClientError, Delivery, Emit, EmitError, EmitId, Endpoint, Outcome, Output,
    Question, SocketId, Transport,
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
    /// The connections that were asked for: port, and whether it is encrypted.
    pub connects: Vec<(u16, bool)>,
    /// New connections are not made yet.
    pub holds: bool,
    /// What was written that is no request, with its connection.
    pub frames: Vec<(LinkId, Vec<u8>)>,
    pub questions: Vec<Question>,
    /// The ids that namespaces have got.
    pub sids: Vec<String>,
    /// Why namespaces could not connect.
    pub errors: Vec<ClientError>,
}

impl Script {
    pub fn new(config: ClientConfig) -> Self {
        Self::at("http://localhost:3000", config)
    }

    /// A script of a client of another endpoint.
    pub fn at(url: &str, config: ClientConfig) -> Self {
        let endpoint = Endpoint::parse(url).unwrap();
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
            connects: Vec::new(),
            holds: false,
            frames: Vec::new(),
            questions: Vec::new(),
            sids: Vec::new(),
            errors: Vec::new(),
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
                Output::Connect { link, port, tls, .. } => {
                    self.open.push(link);
                    self.connects.push((port, tls));
                    if !self.holds {
                        self.client.handle_connected(self.now, link);
                    }
                }
                Output::Bytes(link, bytes) if bytes.starts_with(b"GET") || bytes.starts_with(b"POST") => {
                    self.requests.push((link, String::from_utf8(bytes.to_vec()).unwrap()));
                }
                Output::Bytes(link, bytes) => {
                    self.messages.extend(unmasked(&bytes));
                    self.frames.push((link, bytes.to_vec()));
                }
                Output::Close(link) => self.open.retain(|open| *open != link),
                Output::State(state) => self.log.push(format!("{state:?}")),
                Output::Delivery(Delivery::Event { name, args, ack, .. }) => {
                    self.tickets.extend(ack);
                    self.events.push(format!("{name} {}", args.json));
                }
                Output::Delivery(Delivery::Receipt { emit, outcome, .. }) => {
                    assert_eq!(self.receipts.insert(emit, outcome), None, "{emit:?} ends twice");
                }
                Output::CredentialsWanted(question) => self.questions.push(question),
                Output::Delivery(Delivery::Connect { sid, recovery, .. }) => {
                    self.sids.push(sid.to_string());
                    self.log.push(format!("connect {recovery:?}"));
                }
                Output::Delivery(Delivery::ConnectError { error, .. }) => {
                    self.log.push(format!("connect_error {error}"));
                    self.errors.push(error);
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

    /// Answers the last request.
    pub fn answer(&mut self, status: u16, headers: &str, body: &str) {
        let link = self.requests.last().unwrap().0;
        self.answer_on(link, status, headers, body);
    }

    /// Answers the request that is under way on a connection.
    pub fn answer_on(&mut self, link: LinkId, status: u16, headers: &str, body: &str) {
        let length = body.len();
        let response = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
        self.say(link, response.as_bytes());
    }

    /// The last request whose text has this part, and its connection.
    pub fn last(&self, part: &str) -> (LinkId, String) {
        let request = self.requests.iter().rfind(|(_, text)| text.contains(part));
        request.unwrap_or_else(|| panic!("{part}: {:?}", self.requests)).clone()
    }

    /// How many requests have this part.
    pub fn count(&self, part: &str) -> usize {
        self.requests.iter().filter(|(_, text)| text.contains(part)).count()
    }

    pub fn join(&mut self, namespace: &str) -> SocketId {
        let socket = self.client.socket(namespace).unwrap();
        self.client.connect(self.now, socket).unwrap();
        self.drain();
        socket
    }

    pub fn leave(&mut self, socket: SocketId) {
        self.client.disconnect(self.now, socket).unwrap();
        self.drain();
    }

    pub fn emit(&mut self, socket: SocketId, emit: Emit) -> Result<EmitId, EmitError> {
        let emitted = self.client.emit(self.now, socket, emit);
        self.drain();
        emitted
    }

    /// The connection fails, or ends, and no time passes.
    pub fn close(&mut self, link: LinkId) {
        self.client.handle_closed(self.now, link, None);
        self.open.retain(|open| *open != link);
        self.drain();
    }

    /// Opens the websocket of the last request.
    pub fn upgrade(&mut self) -> LinkId {
        self.upgrade_with("")
    }

    /// Does so with more header fields.
    pub fn upgrade_with(&mut self, headers: &str) -> LinkId {
        let (link, request) = self.requests.last().unwrap().clone();
        let key = request
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
            .unwrap();
        let accept = handshake::accept_key(key);
        let accept = core::str::from_utf8(&accept).unwrap();
        let head = format!(
            "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{headers}\r\n"
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

    /// What was logged since the last call.
    pub fn news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    pub fn has(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.contains(text))
    }
}

/// The text messages in masked frames of less than 64 KiB.
fn unmasked(mut bytes: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    loop {
        let (length, rest) = match bytes {
            [_, 254, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            [_, length, rest @ ..] if *length < 254 => (usize::from(length & 127), rest),
            _ => break,
        };
        let Some((mask, rest)) = rest.split_at_checked(4).filter(|(_, rest)| rest.len() >= length) else {
            break;
        };
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
