//! Sessions of all generations on all transports, of which an attack needs only this much: to open
//! them, to send packets on them, to see how they end, and to hear whether they still answer.

use super::cases::join_msgpack;
use super::clients;
use super::field::{ATTACKER, Field};
use super::peer::{Ending, Peer};
use super::wire;
use crate::failure::{Failure, Outcome};

/// A generation, and the transport of the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// No session: a connection that has said nothing.
    Connection,
    Polling4,
    WebSocket4,
    /// As above, without a CONNECT.
    Unjoined4,
    /// A websocket of a polling session that is not upgraded yet.
    Candidate4,
    /// A websocket on the port whose parser is MessagePack.
    MessagePack,
    Polling3,
    WebSocket3,
    Polling09,
    WebSocket09,
    Polling06,
    WebSocket06,
}

/// What one packet or frame has in it.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Text(String),
    /// An attachment of two bytes.
    Attachment,
    /// A message of bytes, for websockets only.
    Bytes(Vec<u8>),
}

impl Part {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Attachment => ATTACHMENT.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// The bytes of an attachment, as they are and in base64.
const ATTACHMENT: [u8; 2] = [1, 2];
const ATTACHMENT_BASE64: &str = "AQI=";

/// How often a session is asked before it counts as silent.
const MAX_POLLS: usize = 12;

/// The text of the echo that shows whether a session lives.
pub(crate) const ALIVE: &str = "still-alive";

pub(crate) struct Session {
    wire: Wire,
    /// The connection of a websocket, or the one that POSTs and polls.
    pub(crate) peer: Peer,
    /// The target of further requests of a polling session.
    pub(crate) target: String,
    /// The polling session of a candidate.
    polling: Option<Box<Self>>,
}

impl Session {
    /// Opens a session that has joined what it can join, except for [`Wire::Unjoined4`].
    pub(crate) fn open(field: &Field, wire: Wire) -> Outcome<Self> {
        let port = field.port;
        let mut target = String::new();
        let mut polling = None;
        let peer = match wire {
            Wire::Connection => field.connect()?,
            Wire::WebSocket4 => clients::join4(ATTACKER, port, None)?,
            Wire::Unjoined4 => clients::open4(ATTACKER, port, None)?,
            Wire::MessagePack => join_msgpack(port + 1)?,
            Wire::WebSocket3 => clients::join3(ATTACKER, port, None)?,
            Wire::WebSocket09 => clients::join09(ATTACKER, port, None)?,
            Wire::WebSocket06 => clients::join06(ATTACKER, port, None)?,
            Wire::Candidate4 => {
                let session = Self::open(field, Wire::Polling4)?;
                let mut peer = field.connect()?;
                peer.upgrade(&session.target.replace("polling", "websocket"))?;
                peer.say(wire::text("2probe"))?;
                peer.message_with("3probe")?;
                polling = Some(Box::new(session));
                peer
            }
            Wire::Polling4 => {
                let mut peer = field.connect()?;
                target = clients::open_polling(&mut peer, 4, "")?;
                peer.ask(wire::post(&target, "40"))?;
                assert_has(&peer.ask(wire::get(&target))?.1, "40{")?;
                peer
            }
            Wire::Polling3 => {
                let mut peer = field.connect()?;
                target = clients::open_polling(&mut peer, 3, "")?;
                assert_has(&peer.ask(wire::get(&target))?.1, "2:40")?;
                peer
            }
            Wire::Polling09 => {
                let mut peer = field.connect()?;
                let (_, opened) = peer.ask(wire::get("/socket.io/1/"))?;
                let sid = opened.split(':').next().unwrap_or_default();
                target = format!("/socket.io/1/xhr-polling/{sid}");
                assert_has(&peer.ask(wire::get(&target))?.1, "1::")?;
                peer
            }
            Wire::Polling06 => {
                let mut peer = field.connect()?;
                let (_, opened) = peer.ask(wire::get("/socket.io/xhr-polling//1"))?;
                let sid = opened.rsplit("~m~").next().unwrap_or_default();
                target = format!("/socket.io/xhr-polling/{sid}");
                peer
            }
        };
        Ok(Self {
            wire,
            peer,
            target,
            polling,
        })
    }

    /// Returns the target of a POST to the session.
    pub(crate) fn post_target(&self) -> String {
        match self.wire {
            Wire::Polling06 => format!("{}/send", self.target),
            _ => self.target.clone(),
        }
    }

    /// Returns the target of the polling session that a candidate belongs to.
    pub(crate) fn polling_target(&self) -> &str {
        self.polling.as_ref().map_or(&self.target, |session| &session.target)
    }

    fn is_polling(&self) -> bool {
        matches!(
            self.wire,
            Wire::Polling4 | Wire::Polling3 | Wire::Polling09 | Wire::Polling06
        )
    }

    /// Sends packets: each in its own message, or all of them in the body of one POST. An error
    /// says only that the server did not take them.
    pub(crate) fn send(&mut self, parts: &[Part]) -> Outcome {
        if self.is_polling() {
            let body = self.body(parts);
            return self.post(&body).map(|_| ());
        }
        for part in parts {
            let frame = match part {
                Part::Text(text) => wire::text(text),
                Part::Attachment if self.wire == Wire::WebSocket3 => {
                    wire::frame(wire::BINARY, [&[4], &ATTACHMENT[..]].concat())
                }
                Part::Attachment => wire::frame(wire::BINARY, ATTACHMENT),
                Part::Bytes(bytes) => wire::frame(wire::BINARY, bytes),
            };
            self.peer.say(frame)?;
        }
        Ok(())
    }

    /// Makes the body of a POST.
    fn body(&self, parts: &[Part]) -> String {
        let packets = parts.iter().map(|part| match (part, self.wire) {
            (Part::Text(text), _) => text.clone(),
            (_, Wire::Polling3) => format!("b4{ATTACHMENT_BASE64}"),
            _ => format!("b{ATTACHMENT_BASE64}"),
        });
        match self.wire {
            Wire::Polling3 => packets
                .map(|packet| format!("{}:{packet}", packet.encode_utf16().count()))
                .collect(),
            Wire::Polling4 => packets.collect::<Vec<_>>().join("\u{1e}"),
            _ => packets.collect(),
        }
    }

    /// Sends a body, and returns the status and the body of the answer.
    fn post(&mut self, body: &str) -> Outcome<(String, String)> {
        let request = match self.wire {
            Wire::Polling06 => wire::post_form(&self.post_target(), "data", body),
            _ => wire::post(&self.post_target(), body),
        };
        let (head, answer) = self.peer.ask(request)?;
        Ok((status(&head).to_owned(), answer))
    }

    /// Returns the packet that asks for a sign of life, and the text in the answer to it.
    fn question(&self) -> (Part, String) {
        let echo = format!(r#"42["echo","{ALIVE}"]"#);
        match self.wire {
            Wire::MessagePack => {
                let mut packet = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa4echo".to_vec();
                packet.push(0xa0 | ALIVE.len() as u8);
                packet.extend_from_slice(ALIVE.as_bytes());
                (Part::Bytes(packet), ALIVE.to_owned())
            }
            // Any other packet would end the session by itself.
            Wire::Unjoined4 => (Part::Text("40".to_owned()), "40{".to_owned()),
            Wire::Polling09 | Wire::WebSocket09 => {
                let message = format!("3:::{ALIVE}");
                (Part::Text(message.clone()), message)
            }
            Wire::Polling06 | Wire::WebSocket06 => {
                let message = wire::framed06(ALIVE);
                (Part::Text(message.clone()), message)
            }
            _ => (Part::Text(echo.clone()), echo),
        }
    }

    /// Asks for a sign of life, and leaves it to others to hear it.
    pub(crate) fn ask_for_echo(&mut self) -> Outcome {
        let (question, _) = self.question();
        self.send(&[question])
    }

    /// Asks for a sign of life, and returns what comes before it, without heartbeats.
    pub(crate) fn alive(&mut self) -> Outcome<Vec<String>> {
        if let Some(session) = &mut self.polling {
            return session.alive();
        }
        let (question, answer) = self.question();
        self.send(&[question])?;
        let mut before = Vec::new();
        for _ in 0..MAX_POLLS {
            for message in self.hear()? {
                if message.contains(&answer) {
                    return Ok(before);
                }
                before.push(message);
            }
        }
        Err(Failure::new(format!("no echo, but {before:?}")))
    }

    /// Waits for messages, and answers heartbeats.
    fn hear(&mut self) -> Outcome<Vec<String>> {
        let heard = if self.is_polling() {
            let (head, body) = self.peer.ask(wire::get(&self.target))?;
            if status(&head) != "200" {
                return Err(Failure::new(format!("a poll was answered {} {body}", status(&head))));
            }
            split(self.wire, &body)
        } else {
            let message = self.peer.message()?;
            vec![String::from_utf8_lossy(&message).into_owned()]
        };
        let (beats, messages): (Vec<_>, Vec<_>) =
            heard.into_iter().partition(|message| is_heartbeat(self.wire, message));
        for beat in beats {
            let answer = match self.wire {
                Wire::Polling4 => "3".to_owned(),
                Wire::WebSocket09 | Wire::WebSocket06 => beat,
                _ => continue,
            };
            self.send(&[Part::Text(answer)])?;
        }
        Ok(messages)
    }

    /// Waits for the end of the session. It is asked for a sign of life, which must not come: so it
    /// cannot be that it ends only because it is silent.
    pub(crate) fn ending(&mut self) -> Outcome<Ending> {
        // The server may have ended the session, and take nothing more.
        if self.polling.is_some() {
            return self.peer.ending(ALIVE);
        }
        let (question, answer) = self.question();
        if !self.is_polling() {
            let _ = self.send(&[question]);
            return self.peer.ending(&answer);
        }
        let _ = self.send(&[question]);
        for _ in 0..MAX_POLLS {
            let Ok((head, body)) = self.peer.ask(wire::get(&self.target)) else {
                return Ok(Ending::Cut);
            };
            if body.contains(&answer) {
                return Ok(Ending::Heard(body));
            }
            let is_last = split(self.wire, &body).iter().any(|packet| packet == "1");
            // 0.9 says that nobody of this name is known, with the status 200.
            if is_last || status(&head) != "200" || body.starts_with("7:::1") {
                return Ok(Ending::Closed(None));
            }
        }
        Err(Failure::new("the session has neither ended nor answered"))
    }

    /// Ends the session as a client does that goes.
    pub(crate) fn leave(mut self) {
        if let Some(session) = self.polling {
            return session.leave();
        }
        // The session may have ended before.
        let _ = match self.wire {
            Wire::Polling4 | Wire::Polling3 => self.send(&[Part::Text("1".to_owned())]),
            Wire::Polling09 => self
                .peer
                .ask(wire::get(&format!("{}?disconnect=1", self.target)))
                .map(|_| ()),
            _ => Ok(()),
        };
    }
}

/// Returns the status in the head of a response.
pub(crate) fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

fn assert_has(body: &str, part: &str) -> Outcome {
    match body.contains(part) {
        true => Ok(()),
        false => Err(Failure::new(format!("no {part:?} in {body:?}"))),
    }
}

/// Whether a message is a heartbeat, or says nothing at all.
fn is_heartbeat(wire: Wire, message: &str) -> bool {
    match wire {
        Wire::Polling4 | Wire::WebSocket4 | Wire::Unjoined4 => message == "2" || message == "6",
        Wire::Polling3 | Wire::WebSocket3 => message == "3" || message == "6",
        Wire::Polling09 | Wire::WebSocket09 => message == "2::" || message == "8::",
        Wire::Polling06 | Wire::WebSocket06 => message.is_empty() || message.contains("~m~~h~"),
        _ => false,
    }
}

/// Splits the body of an answer to a poll. All that this server writes to clients of 1.x and 2.x is
/// ASCII, so that a length is a number of bytes, and so are the messages that rows send to 0.6.
fn split(wire: Wire, body: &str) -> Vec<String> {
    let mut rest = body;
    let mut packets = Vec::new();
    match wire {
        Wire::Polling4 => return body.split('\u{1e}').map(str::to_owned).collect(),
        Wire::Polling3 => {
            while let Some((length, after)) = rest.split_once(':') {
                let length = length.parse().unwrap_or(after.len());
                let (packet, next) = after.split_at_checked(length).unwrap_or((after, ""));
                packets.push(packet.to_owned());
                rest = next;
            }
        }
        Wire::Polling09 if body.starts_with('\u{fffd}') => {
            let mut words = body.split('\u{fffd}').skip(1);
            while let (Some(_), Some(packet)) = (words.next(), words.next()) {
                packets.push(packet.to_owned());
            }
        }
        Wire::Polling06 => {
            while let Some((length, _)) = rest.strip_prefix("~m~").and_then(|rest| rest.split_once("~m~")) {
                let end = 6 + length.len() + length.parse().unwrap_or(rest.len());
                let (frame, next) = rest.split_at_checked(end).unwrap_or((rest, ""));
                packets.push(frame.to_owned());
                rest = next;
            }
        }
        _ => packets.push(body.to_owned()),
    }
    packets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_split_into_packets() {
        assert_eq!(split(Wire::Polling4, "2\u{1e}42[1]"), ["2", "42[1]"]);
        assert_eq!(split(Wire::Polling3, "1:65:42[1]"), ["6", "42[1]"]);
        assert_eq!(
            split(Wire::Polling09, "\u{fffd}3\u{fffd}2::\u{fffd}4\u{fffd}3:::"),
            ["2::", "3:::"]
        );
        assert_eq!(split(Wire::Polling09, "8::"), ["8::"]);
        assert_eq!(split(Wire::Polling06, "~m~1~m~a~m~2~m~bc"), ["~m~1~m~a", "~m~2~m~bc"]);
        assert!(is_heartbeat(Wire::WebSocket06, "~m~4~m~~h~1"));
    }
}
