//! The stage of scripted applications: a server on a virtual clock, and its outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use sio_proto::server::{
    AckRequest, Body, Command, Delivery, Message, Output, Peer, Reason, Response, SendError, Server,
};
use sio_proto::socket::Args;
use sio_proto::{ByteString, Bytes, BytesMut, Config, LinkId, SocketKey, Time};

use super::application::{Application, Cue};

/// A socket that has been let in.
pub struct Member {
    pub key: SocketKey,
    pub namespace: ByteString,
}

/// The server under test, its application, and everything that it sends.
pub struct Stage {
    server: Server,
    application: Application,
    pub now: Time,
    pub members: Vec<Member>,
    /// The events that the application saw, one line per event, with their section.
    pub seen: Vec<(String, String)>,
    /// The section that is being played; `-` before the first.
    pub section: String,
    /// The bytes that were sent on each link, and when.
    pub sent: BTreeMap<LinkId, Vec<(u64, Vec<u8>)>>,
    /// Which links the server has ended, and when.
    pub ended: BTreeMap<LinkId, u64>,
    /// Links on which a poll waits for its answer.
    pub is_waiting: BTreeSet<LinkId>,
    alarms: Vec<(Time, u64)>,
    /// Numbers for acknowledgements: one counter per namespace, as genuine servers have.
    next_ids: BTreeMap<ByteString, u64>,
    /// Where these counters begin.
    pub first_id: u64,
    /// A counter, for applications that need one.
    pub count: u64,
    /// A list, for applications that need one.
    pub answers: Vec<String>,
}

impl Stage {
    pub fn new(config: Config, application: Application) -> Self {
        let mut counter = 0u64;
        let entropy = move |out: &mut [u8]| {
            for byte in out {
                counter = counter.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (counter >> 33) as u8;
            }
        };
        Self {
            server: Server::new(config, [7; 16], Box::new(entropy)).unwrap(),
            application,
            now: Time::ZERO,
            members: Vec::new(),
            seen: Vec::new(),
            section: "-".to_owned(),
            sent: BTreeMap::new(),
            ended: BTreeMap::new(),
            is_waiting: BTreeSet::new(),
            alarms: Vec::new(),
            next_ids: BTreeMap::new(),
            first_id: 0,
            count: 0,
            answers: Vec::new(),
        }
    }

    // ---- what the peers do ------------------------------------------------------------------------------------------

    pub fn open(&mut self) -> LinkId {
        self.server.open(Peer::default())
    }

    pub fn receive(&mut self, link: LinkId, bytes: &[u8]) {
        self.server.handle_bytes(self.now, link, &mut BytesMut::from(bytes));
        self.settle();
    }

    pub fn cut(&mut self, link: LinkId) {
        self.is_waiting.remove(&link);
        self.server
            .handle_closed(self.now, link, sio_proto::server::Cause::Closed);
        self.settle();
    }

    /// Lets time pass, and stops at every deadline on the way. The deadlines of the server come
    /// first.
    pub fn pass_to(&mut self, ms: u64) {
        let end = Time::from_millis(ms);
        loop {
            let server = self.server.next_timeout().map(|at| at.max(self.now));
            let alarm = self.alarms.iter().copied().min();
            let next = [server, alarm.map(|(at, _)| at)].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(next);
            if server == Some(next) {
                self.server.handle_timeout(self.now);
                self.settle();
            } else if let Some(alarm) = alarm {
                self.alarms.retain(|a| *a != alarm);
                self.cue(Cue::Alarm(alarm.1));
            }
        }
        self.now = self.now.max(end);
    }

    /// Lets time pass until bytes are sent on this link, but no longer than this.
    pub fn await_answer(&mut self, link: LinkId, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while !self.sent.contains_key(&link) {
            let Some(next) = self.server.next_timeout().filter(|at| *at <= end) else {
                return;
            };
            self.now = self.now.max(next);
            self.server.handle_timeout(self.now);
            self.settle();
        }
    }

    // ---- what the application does ----------------------------------------------------------------------------------

    pub fn cue(&mut self, cue: Cue<'_>) {
        (self.application)(self, cue);
        self.settle();
    }

    pub fn accept(&mut self, socket: SocketKey, namespace: &ByteString) {
        self.members.push(Member {
            key: socket,
            namespace: namespace.clone(),
        });
        let now = self.now;
        self.server.shard(now, |shard, out| shard.accept(now, socket, out));
    }

    pub fn refuse(&mut self, socket: SocketKey, message: &str, data: Option<&str>) {
        let now = self.now;
        self.server
            .shard(now, |shard, out| shard.refuse(now, socket, message, data, out));
    }

    /// Emits an event. Each packet is a separate command, because genuine servers flush after each
    /// packet.
    pub fn emit(&mut self, socket: SocketKey, name: &str, args: Args) {
        let namespace = self.namespace(socket);
        let mut message = Message::event(namespace, name.into(), args, None);
        self.send(socket, &mut message, None);
    }

    /// Emits an event that wants an acknowledgement to all of `sockets`, with one number.
    pub fn ask(&mut self, sockets: &[SocketKey], name: &str, args: Args, timeout: Option<Duration>) {
        let namespace = self.namespace(sockets[0]);
        let next = self.next_ids.entry(namespace.clone()).or_insert(self.first_id);
        let id = *next;
        *next += 1;
        let mut message = Message::event(namespace, name.into(), args, Some(id));
        for socket in sockets {
            self.send(*socket, &mut message, Some(AckRequest { id, timeout }));
        }
    }

    pub fn acknowledge(&mut self, socket: SocketKey, id: u64, args: Args) {
        let namespace = self.namespace(socket);
        self.send(socket, &mut Message::ack(namespace, id, args), None);
    }

    pub fn disconnect(&mut self, socket: SocketKey, close: bool) {
        let now = self.now;
        self.server
            .shard(now, |shard, out| shard.disconnect(now, socket, close, out));
    }

    pub fn shut_down(&mut self) {
        let (now, reason) = (self.now, Reason::ServerShuttingDown);
        self.server.shard(now, |shard, out| {
            shard.handle_command(now, Command::Shutdown { reason }, out);
        });
    }

    /// Asks for [`Cue::Alarm`] with this number.
    pub fn alarm(&mut self, millis: u64, number: u64) {
        self.alarms.push((self.now + Duration::from_millis(millis), number));
    }

    pub fn see(&mut self, line: String) {
        self.seen.push((self.section.clone(), line));
    }

    pub fn namespace(&self, socket: SocketKey) -> ByteString {
        let member = self.members.iter().find(|m| m.key == socket);
        member.expect("a member").namespace.clone()
    }

    fn send(&mut self, socket: SocketKey, message: &mut Message, ack: Option<AckRequest>) {
        let now = self.now;
        let sent = self.server.shard(now, |shard, _| shard.emit(now, socket, message, ack));
        // A packet behind the event may have ended the socket already. Genuine servers drop
        // messages to such a socket.
        assert!(matches!(sent, Ok(()) | Err(SendError::Disconnected)), "{sent:?}");
    }

    /// Takes the outputs of the server until there are none.
    fn settle(&mut self) {
        while let Some(output) = self.server.poll_output() {
            let ms = self.now.as_micros() / 1000;
            match output {
                Output::Bytes(link, bytes) => {
                    self.is_waiting.remove(&link);
                    self.sent.entry(link).or_default().push((ms, bytes.to_vec()));
                }
                Output::End(link) => {
                    self.is_waiting.remove(&link);
                    self.ended.insert(link, ms);
                }
                Output::Request(link, request) => {
                    let response = Response {
                        status: 404,
                        content_type: None,
                        fixed: sio_proto::http::FixedFields::NONE,
                        headers: Vec::new(),
                        body: Body::Bytes(Bytes::new()),
                        exchange: request.exchange(),
                    };
                    self.server.respond(self.now, link, response);
                }
                Output::Delivery(delivery) => {
                    (self.application)(self, Cue::Delivery(&delivery));
                    if let Delivery::Disconnect { socket, .. } = delivery {
                        self.members.retain(|m| m.key != socket);
                    }
                }
            }
        }
    }
}

/// Arguments from the JSON between the brackets.
pub fn args(json: &str) -> Args {
    Args::from(ByteString::from(json))
}

/// Arguments with attachments.
pub fn args_with(json: &str, attachments: &[&[u8]]) -> Args {
    Args {
        attachments: attachments.iter().map(|a| Bytes::copy_from_slice(a)).collect(),
        ..args(json)
    }
}

/// Arguments as Node's `JSON.stringify` shows them. Attachments appear as buffers of Node.
pub fn shown(args: &Args) -> String {
    /// Puts a name in the place of each attachment.
    fn fill(value: &mut Value) {
        match value {
            Value::Object(object) if object.get("_placeholder") == Some(&Value::Bool(true)) => {
                *value = Value::String(format!("<attachment {}>", object["num"]));
            }
            Value::Object(object) => object.values_mut().for_each(fill),
            Value::Array(array) => array.iter_mut().for_each(fill),
            _ => {}
        }
    }
    let text = format!("[{}]", args.json);
    if args.attachments.is_empty() {
        return text;
    }
    let mut value: Value = serde_json::from_str(&text).unwrap();
    fill(&mut value);
    let attachments = args.attachments.iter().enumerate();
    attachments.fold(value.to_string(), |text, (number, bytes)| {
        let buffer = format!(r#"{{"type":"Buffer","data":{}}}"#, Value::from(bytes.to_vec()));
        text.replace(&format!("\"<attachment {number}>\""), &buffer)
    })
}
