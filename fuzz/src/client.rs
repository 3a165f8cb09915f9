//! The whole client against a server that says anything: the input is a list of operations.
//!
//! What must always hold: an emit ends exactly once; at most three connections are open at once
//! (GET, POST, and the probe of an upgrade); one input makes a bounded number of outputs; time that
//! has come makes progress; and a closed client does not come back.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::BytesMut;
use bytestring::ByteString;
use sio_proto::client::{
    AckTicket, Client, ClientConfig, Credentials, Delivery, Emit, EmitId, Endpoint, Generation, Offline, OnRefused,
    Output, SocketId, State, Transport,
};
use sio_proto::websocket::{Opcode, encode_message, handshake};
use sio_proto::{LinkId, Time};

use crate::cursor::Cursor;

/// The most operations of one input.
const MAX_OPERATIONS: usize = 200;

/// The most outputs of one operation. Each one has a cause: a namespace, an emit, or a packet of
/// which an operation brings a few hundred at most.
const MAX_OUTPUTS: usize = 20_000;

struct Run {
    client: Client,
    now: Time,
    sockets: Vec<SocketId>,
    links: Vec<Link>,
    emits: BTreeSet<EmitId>,
    tickets: Vec<AckTicket>,
    questions: Vec<u64>,
    closed: bool,
}

struct Link {
    id: LinkId,
    /// The key of the last request for a websocket.
    key: Option<String>,
}

/// See the [module](self).
pub fn client(data: &[u8]) {
    let mut input = Cursor::new(data);
    let mut run = Run::new(&mut input);
    for _ in 0..MAX_OPERATIONS {
        if input.is_empty() {
            break;
        }
        run.step(&mut input);
        run.take_outputs();
    }
    run.client.close(run.now);
    run.closed = true;
    run.take_outputs();
    // Whatever was said, the end comes, and every emit has its own.
    for _ in 0..100 {
        let Some(time) = run.client.next_timeout() else { break };
        run.now = run.now.max(time);
        run.client.handle_timeout(run.now);
        run.take_outputs();
    }
    assert_eq!(run.client.next_timeout(), None, "a closed client wants nothing more");
    assert!(run.emits.is_empty(), "{:?} have no end", run.emits);
    assert!(run.links.is_empty(), "a closed client has no connections");
}

impl Run {
    fn new(input: &mut Cursor<'_>) -> Self {
        let setup = input.byte();
        let transports: &[Transport] = match setup & 3 {
            0 => &[Transport::Polling],
            1 => &[Transport::WebSocket],
            2 => &[Transport::WebSocket, Transport::Polling],
            _ => &[Transport::Polling, Transport::WebSocket],
        };
        let config = ClientConfig::default()
            .transports(transports.to_vec())
            .generation([Generation::Four, Generation::Two, Generation::Auto][usize::from(setup >> 2) % 3])
            .try_all_transports(setup & 16 != 0)
            .retries(u32::from(setup >> 5 & 1))
            .retry_window(2)
            .provider(setup & 64 != 0)
            .on_refused(if setup & 128 == 0 { OnRefused::AskOnce } else { OnRefused::Retry })
            .max_body_bytes(2000)
            .max_message_bytes(2000)
            .max_queued_bytes(2000)
            .max_answer_bytes(500)
            .max_early_bytes(500)
            .max_cookie_bytes(100)
            .max_in_flight(8)
            .max_packets_per_payload(50);
        let endpoint = Endpoint::parse("http://a.example").expect("a URL");
        let mut count = 0_u8;
        let entropy = Box::new(move |out: &mut [u8]| {
            count = count.wrapping_add(1);
            out.fill(count);
        });
        let mut client = Client::new(endpoint, config, entropy).expect("settings that make sense");
        let sockets = ["/", "/a"].map(|name| client.socket(name).expect("a namespace"));
        Self {
            client,
            now: Time::ZERO,
            sockets: sockets.to_vec(),
            links: Vec::new(),
            emits: BTreeSet::new(),
            tickets: Vec::new(),
            questions: Vec::new(),
            closed: false,
        }
    }

    fn step(&mut self, input: &mut Cursor<'_>) {
        let now = self.now;
        let socket = self.sockets[input.index(2)];
        match input.byte() % 16 {
            0 => drop(self.client.connect(now, socket)),
            1 => drop(self.client.disconnect(now, socket)),
            2 => self.emit(socket, input),
            3 => {
                self.now = now + Duration::from_millis(u64::from(input.byte()) * 200);
                self.client.handle_timeout(self.now);
            }
            4 => {
                if let Some(time) = self.client.next_timeout() {
                    self.now = now.max(time);
                    self.client.handle_timeout(self.now);
                    let again = self.client.next_timeout();
                    assert!(again.is_none_or(|again| again > self.now), "time makes progress");
                }
            }
            5 => {
                if let Some(link) = input.one_of(&self.links).map(|link| link.id) {
                    self.links.retain(|open| open.id != link);
                    self.client.handle_closed(now, link, None);
                }
            }
            6 => self.receive(input, |input, _| input.bytes().to_vec()),
            7 => self.receive(input, |input, _| {
                let status = input.pick(&[200, 200, 200, 302, 400, 401, 404, 503]);
                let body = input.bytes();
                let extra = input.pick(&["", "Set-Cookie: a=1; Max-Age=9\r\n", "Retry-After: 2\r\n", "Location: /x\r\n"]);
                let head = format!("HTTP/1.1 {status} X\r\n{extra}Content-Length: {}\r\n\r\n", body.len());
                [head.as_bytes(), body].concat()
            }),
            8 => self.receive(input, |_, link| {
                let key = link.key.as_deref().unwrap_or_default();
                let head = "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
                [head.as_bytes(), &handshake::accept_key(key), b"\r\n\r\n"].concat()
            }),
            9 => self.receive(input, |input, _| {
                let opcode = input.pick(&[Opcode::Text, Opcode::Text, Opcode::Binary, Opcode::Ping]);
                let mut out = BytesMut::new();
                let payload = input.bytes();
                let most = if opcode == Opcode::Ping { 125 } else { payload.len() };
                encode_message(&mut out, opcode, &payload[..payload.len().min(most)], None);
                out.to_vec()
            }),
            10 => {
                if let Some(ticket) = self.tickets.pop() {
                    let _ = self.client.answer(now, ticket, ByteString::from("1").into());
                }
            }
            11 => {
                if let Some(link) = input.one_of(&self.links).map(|link| link.id) {
                    match input.byte() % 2 {
                        0 => self.client.handle_blocked(now, link),
                        _ => self.client.handle_drained(now, link),
                    }
                }
            }
            12 => self.client.wake(now),
            13 => self.client.network_lost(now),
            14 => {
                if let Some(question) = self.questions.pop() {
                    match input.byte() % 2 {
                        0 => drop(self.client.provide_nothing(now, question, "no")),
                        _ => drop(self.client.provide(now, question, Credentials::default())),
                    }
                }
            }
            _ => self.client.clear_pending(socket),
        }
    }

    fn emit(&mut self, socket: SocketId, input: &mut Cursor<'_>) {
        let kind = input.byte();
        let args = format!("\"{}\"", "x".repeat(usize::from(input.byte())));
        let mut emit = Emit::new("e", ByteString::from(args).into()).offline(match kind & 3 {
            0 => Offline::Queue,
            1 => Offline::Newest("k".into()),
            2 => Offline::Reject,
            _ => Offline::Volatile,
        });
        if kind & 4 != 0 {
            emit = emit.ack();
        }
        if let Ok(id) = self.client.emit(self.now, socket, emit) {
            assert!(self.emits.insert(id), "an id is used twice");
        }
    }

    /// The server says something on one of the connections.
    fn receive(&mut self, input: &mut Cursor<'_>, say: impl Fn(&mut Cursor<'_>, &Link) -> Vec<u8>) {
        let Some(link) = input.one_of(&self.links) else { return };
        let said = say(input, link);
        let mut bytes = BytesMut::from(&said[..]);
        self.client.handle_bytes(self.now, link.id, &mut bytes);
        assert!(bytes.is_empty(), "all bytes are taken");
    }

    fn take_outputs(&mut self) {
        let mut count = 0;
        while let Some(output) = self.client.poll_output() {
            count += 1;
            assert!(count < MAX_OUTPUTS, "one operation has no end");
            match output {
                Output::Connect { link, .. } => {
                    self.links.push(Link { id: link, key: None });
                    assert!(self.links.len() <= 3, "too many connections");
                    self.client.handle_connected(self.now, link);
                }
                Output::Bytes(id, bytes) => {
                    let link = self.links.iter_mut().find(|link| link.id == id).expect("an open connection");
                    let text = String::from_utf8_lossy(&bytes);
                    let key = text.split("Sec-WebSocket-Key: ").nth(1).and_then(|rest| rest.lines().next());
                    if let Some(key) = key {
                        link.key = Some(key.to_owned());
                    }
                }
                Output::Close(id) => self.links.retain(|link| link.id != id),
                // The goodbye may need a connection, but no attempt begins.
                Output::State(State::Connecting(_)) => assert!(!self.closed, "a closed client comes back"),
                Output::CredentialsWanted(question) => self.questions.push(question.id),
                Output::Delivery(Delivery::Receipt { emit, .. }) => {
                    assert!(self.emits.remove(&emit), "an emit ends twice");
                }
                Output::Delivery(Delivery::Event { ack, .. }) => self.tickets.extend(ack),
                _ => {}
            }
        }
    }
}
