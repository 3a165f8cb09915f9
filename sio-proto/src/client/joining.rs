//! How a namespace connects: its CONNECT, what the CONNECT shows, and the answer that is due
//! (docs/protocol/socket-io.md §3 and §6).

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytestring::ByteString;

use super::event::{ClientError, ErrorClass, Output, Question, SocketId};
use super::manager::{Client, Stage};
use super::protocol::Protocol;
use super::session::{Heard, Session};
use super::sizes::TooLarge;
use super::socket::{Socket, SocketState};
use crate::engine::Revision;
use crate::socket::Packet;
use crate::{Time, json};

/// A CONNECT of this session whose answer has not come.
#[derive(Debug)]
pub(super) struct Due {
    written: WrittenConnect,
    /// The user has left since, and what the CONNECT has shown is not what the user wants now.
    pub(super) is_left: bool,
}

/// When the answer to a CONNECT has to come
/// ([`ClientConfig::join_timeout`](super::ClientConfig::join_timeout)).
#[derive(Clone, Copy, Debug)]
pub(super) struct JoinTime {
    /// Whether the time has begun in which something has to be heard.
    is_late: bool,
    /// When it begins, or has begun: what was heard before does not show that the server is there.
    late: Time,
    until: Time,
}

impl JoinTime {
    fn new(now: Time, time: Duration, wake_timeout: Duration) -> Self {
        let until = now + time;
        Self {
            is_late: false,
            late: until - wake_timeout.min(time / 2),
            until,
        }
    }

    /// When something has to be done.
    pub(super) const fn due(self) -> Time {
        match self.is_late {
            true => self.until,
            false => self.late,
        }
    }
}

/// What was written to connect a namespace.
#[derive(Clone, Debug, PartialEq)]
enum WrittenConnect {
    Packet(Packet),
    /// Nothing: the server connects `/` by itself.
    Nothing,
    /// Nothing: `/` is connected as long as the session is, so this is also the answer.
    OfSession(Packet),
}

#[cfg(feature = "steps")]
impl Due {
    pub(super) fn bytes(&self) -> usize {
        match &self.written {
            WrittenConnect::Packet(packet) | WrittenConnect::OfSession(packet) => packet.bytes(),
            WrittenConnect::Nothing => 0,
        }
    }
}

impl Client {
    /// Sends CONNECT for a namespace on the open connection, perhaps after a question.
    pub(super) fn join(&mut self, now: Time, at: usize) {
        if !self.config.provider {
            self.send_connect(now, at);
            return self.close_if_unused(now);
        }
        let question = self.number();
        let until = now + self.config.connect_timeout;
        self.sockets[at].state = SocketState::Asking { question, until };
        self.outputs.push_back(Output::CredentialsWanted(Question {
            id: question,
            attempt: self.sockets[at].refusals,
            socket: Some(SocketId(at as u32)),
            last_error: self.last_error.clone(),
        }));
    }

    /// Sends CONNECT.
    pub(super) fn send_connect(&mut self, now: Time, at: usize) {
        if let Err(feature) = self.protocol.check_namespace(&self.sockets[at].namespace) {
            let message = alloc::format!("the generation of the server does not have {feature}");
            return self.refuse(at, ClientError::new(ErrorClass::Protocol, message));
        }
        let written = self.connect_of(at);
        let socket = &mut self.sockets[at];
        socket.state = SocketState::Connecting;
        socket.answer = self
            .config
            .join_timeout
            .map(|time| JoinTime::new(now, time, self.config.wake_timeout));
        if let Some(due) = &mut socket.due {
            // The answer to the CONNECT before will do, if that CONNECT has said the same.
            due.is_left &= due.written != written;
            return;
        }
        socket.due = Some(Due {
            written: written.clone(),
            is_left: false,
        });
        match written {
            WrittenConnect::Nothing => {}
            WrittenConnect::OfSession(connect) => self.heard.push_back(Heard::Packet(connect)),
            WrittenConnect::Packet(connect) => self.send_connect_packet(at, &connect),
        }
    }

    fn send_connect_packet(&mut self, at: usize, connect: &Packet) {
        if let Err(TooLarge { bytes, max }) = self.check_packet(connect) {
            self.sockets[at].due = None;
            let message =
                alloc::format!("the CONNECT has {bytes} bytes, and the server takes {max}: its auth is too large");
            return self.refuse(at, ClientError::new(ErrorClass::Protocol, message));
        }
        self.send_packet(connect);
    }

    /// A namespace waits for its answer. It is given up only if the server is there. No session is
    /// ended for this: a server that reads nothing for a while is silent, too. A server that is
    /// gone is noticed by its heartbeat, and the namespace connects again with the next session.
    pub(super) fn await_answer(&mut self, now: Time, at: usize) {
        let socket = &self.sockets[at];
        let is_waiting = socket.state == SocketState::Connecting;
        let Some(answer) = socket.answer.filter(|answer| is_waiting && answer.due() <= now) else {
            return;
        };
        let is_there = |session: &Session| session.is_there_since(answer.late);
        if answer.is_late && matches!(&self.stage, Stage::Session(session) if is_there(session)) {
            return self.give_up_connect(now, at);
        }
        // The machine may have slept since the CONNECT: what the server has said has its time.
        let soon = now + self.config.wake_timeout;
        self.sockets[at].answer = Some(JoinTime {
            is_late: true,
            late: if answer.is_late { answer.late } else { now },
            until: if answer.until <= now { soon } else { answer.until },
        });
        if !answer.is_late {
            self.with_session(now, |session, cx| session.greet(cx));
        }
    }

    /// The server has not answered in time. If it answers yet, it is told that the client leaves.
    fn give_up_connect(&mut self, now: Time, at: usize) {
        if let Some(due) = &mut self.sockets[at].due {
            due.is_left = true;
        }
        let error = ClientError::new(
            ErrorClass::Unreachable,
            "the server has not answered the CONNECT of the namespace",
        );
        self.refuse(at, error);
        self.close_if_unused(now);
    }

    /// The answer has come to a CONNECT after which the user has left. The server is told, and the
    /// namespace connects if the user wants this by now.
    pub(super) fn connect_anew(&mut self, now: Time, at: usize) {
        let socket = &mut self.sockets[at];
        socket.early = Vec::new();
        socket.early_bytes = 0;
        // The server may have sent something before it reads that the client leaves.
        socket.was_left = true;
        let (namespace, state) = (socket.namespace.clone(), socket.state);
        self.send_packet(&Packet::Disconnect { namespace });
        if state == SocketState::Connecting {
            self.send_connect(now, at);
            self.close_if_unused(now);
        }
    }

    /// How a namespace connects now.
    fn connect_of(&self, at: usize) -> WrittenConnect {
        let socket = &self.sockets[at];
        let namespace = socket.namespace.clone();
        let auth = socket.provided.as_ref().or(socket.auth.as_ref());
        match self.protocol {
            Protocol::Engine(Revision::V4) => WrittenConnect::Packet(Packet::Connect {
                namespace,
                query: None,
                payload: payload_of(socket, auth, self.config.confirm_events),
            }),
            // The server connects `/` by itself, once.
            _ if namespace == "/" && !socket.was_answered => WrittenConnect::Nothing,
            // Before 1.0, only the end of the session leaves `/`.
            Protocol::Legacy09 | Protocol::Legacy06 | Protocol::Streaming if namespace == "/" => {
                WrittenConnect::OfSession(Packet::Connect {
                    namespace,
                    query: None,
                    payload: None,
                })
            }
            _ => WrittenConnect::Packet(Packet::Connect {
                namespace,
                query: auth.and_then(|auth| query_of(auth)),
                payload: None,
            }),
        }
    }
}

/// The payload of a CONNECT: what the server needs to recover the client and, with `confirms`, to
/// confirm its events, then the `auth`.
fn payload_of(socket: &Socket, auth: Option<&ByteString>, confirms: bool) -> Option<ByteString> {
    if socket.pid.is_none() && !confirms {
        return auth.cloned();
    }
    let mut out = bytes::BytesMut::new();
    out.extend_from_slice(b"{");
    if let Some(pid) = &socket.pid {
        out.extend_from_slice(b"\"pid\":");
        json::write_string(&mut out, pid);
        if let Some(offset) = &socket.offset {
            out.extend_from_slice(b",\"offset\":");
            json::write_string(&mut out, offset);
        }
    }
    if confirms {
        let comma = if socket.pid.is_some() { "," } else { "" };
        let confirmed = socket.unconfirmed.confirmed();
        out.extend_from_slice(alloc::format!("{comma}\"sio.confirmed\":{confirmed}").as_bytes());
    }
    let members = auth.and_then(|auth| auth.trim_ascii().strip_prefix('{'));
    match members.map(str::trim_ascii_start) {
        Some(members) if members != "}" => {
            out.extend_from_slice(b",");
            out.extend_from_slice(members.as_bytes());
        }
        _ => out.extend_from_slice(b"}"),
    }
    ByteString::try_from(out.freeze()).ok()
}

/// The members of an `auth` as a query, for servers that know no `auth`.
fn query_of(auth: &str) -> Option<ByteString> {
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(auth).ok()?;
    let pairs = members.iter().map(|(key, value)| {
        let text = match value {
            serde_json::Value::String(text) => text.clone(),
            other => alloc::format!("{other}"),
        };
        let mut pair = String::new();
        super::session::put_encoded(&mut pair, key);
        pair.push('=');
        super::session::put_encoded(&mut pair, &text);
        pair
    });
    let query = pairs.collect::<Vec<_>>().join("&");
    (!query.is_empty()).then(|| query.into())
}
