//! Packets of peers, in the form in which the shard gets them. They are already decoded, so a line
//! has the content of a packet and not its bytes.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::fmt;

use bytes::BytesMut;

use super::Problem;
use super::line::Line;
use super::messages::{args, namespace, optional_json, put_args};
use super::words::Words;
use crate::codec::{Envelope, Framing, MessageCodec, PayloadError, Streaming};
use crate::engine::EngineMessage;
use crate::engine::Packet as EnginePacket;
use crate::legacy::legacy09;
use crate::server::{Breach, BreachKind, Garbled};
use crate::socket::Packet;
use crate::socket::text::{Decoded, Partial};
use crate::wire::Inbound;
use crate::{Config, json};

/// Writes a packet that has arrived.
pub(super) fn put_packet(line: &mut Line<'_>, packet: &Inbound) {
    match packet {
        Inbound::Engine(packet) => put_engine(line, packet),
        Inbound::Event(event) => put_socket(line.word("socket"), &event.to_packet()),
        Inbound::Partial(event) => {
            let Partial { packet, attachments } = event.to_partial();
            put_socket(line.word("partial").word(attachments), &packet);
        }
        Inbound::Socket(Decoded::Packet(packet)) => put_socket(line.word("socket"), packet),
        Inbound::Socket(Decoded::Partial(Partial { packet, attachments })) => {
            put_socket(line.word("partial").word(attachments), packet);
        }
        Inbound::Socket(Decoded::Nothing) => {
            line.word("nothing");
        }
        Inbound::Part(message) => put_engine_message(line.word("part"), message),
        Inbound::Legacy09(packet) => {
            let mut text = BytesMut::new();
            packet.encode(&mut text);
            line.word("legacy09").payload(&text);
        }
        Inbound::Message(json) => {
            line.word("json").payload(json.as_bytes());
        }
        Inbound::Heartbeat(text) => {
            line.word("heartbeat").payload(text.as_bytes());
        }
        Inbound::Digest(digest) => {
            line.word("digest").secret(digest);
        }
        Inbound::Goodbye => {
            line.word("goodbye");
        }
        Inbound::Payload { payload, from_form } => {
            line.word("payload").flag(*from_form, "form", "plain");
            line.payload(payload.as_bytes());
        }
        Inbound::Garbled(garbled) => put_garbled(line.word("garbled"), garbled),
        Inbound::Broken(breach) => put_breach(line.word("broken"), breach),
        Inbound::LeftOut(breach, count) => put_breach(line.word("left-out").word(count), breach),
    }
}

/// Reads a packet.
pub(super) fn packet(words: &mut Words<'_>, config: &Config) -> Result<Inbound, Problem> {
    let kind = words.word("a kind of packet")?;
    Ok(match kind {
        "socket" => Inbound::Socket(Decoded::Packet(socket(words)?)),
        "partial" => {
            let attachments = words.number("a number of attachments")?;
            let packet = socket(words)?;
            if !(1..=1_000).contains(&attachments) {
                return Err(Problem::Invalid("a number of attachments"));
            }
            Inbound::Socket(Decoded::Partial(Partial { packet, attachments }))
        }
        "nothing" => Inbound::Socket(Decoded::Nothing),
        "part" => Inbound::Part(engine_message(words)?),
        "legacy09" => {
            let packet = legacy09::Packet::decode(&words.text("a packet")?);
            let packet = packet.map_err(|_| Problem::Invalid("a packet"))?;
            Inbound::Legacy09(Box::new(packet))
        }
        "json" => match words.text("a JSON value")? {
            text if json::validate(&text, json::MAX_DEPTH).is_ok() => Inbound::Message(text),
            _ => return Err(Problem::Invalid("a JSON value")),
        },
        "heartbeat" => Inbound::Heartbeat(words.text("a number")?),
        "digest" => {
            let digest = words.bytes("a digest")?;
            Inbound::Digest(digest[..].try_into().map_err(|_| Problem::Invalid("a digest"))?)
        }
        "goodbye" => Inbound::Goodbye,
        "payload" => Inbound::Payload {
            from_form: words.flag("form or plain", "form", "plain")?,
            payload: words.text("a payload")?,
        },
        "garbled" => Inbound::Garbled(Box::new(garbled(words, config)?)),
        "broken" => Inbound::Broken(breach(words)?),
        "left-out" => {
            let count = words.number("a number of packets")?;
            Inbound::LeftOut(breach(words)?, count)
        }
        _ => Inbound::Engine(engine(kind, words)?),
    })
}

fn put_engine(line: &mut Line<'_>, packet: &EnginePacket) {
    match packet {
        EnginePacket::Open(text) => line.word("open").payload(text.as_bytes()),
        EnginePacket::Close => line.word("close"),
        EnginePacket::Ping(text) => line.word("ping").payload(text.as_bytes()),
        EnginePacket::Pong(text) => line.word("pong").payload(text.as_bytes()),
        EnginePacket::Message(text) => line.word("message").payload(text.as_bytes()),
        EnginePacket::Binary(bytes) => line.word("binary").payload(bytes),
        EnginePacket::Upgrade => line.word("upgrade"),
        EnginePacket::Noop => line.word("noop"),
    };
}

fn engine(kind: &str, words: &mut Words<'_>) -> Result<EnginePacket, Problem> {
    Ok(match kind {
        "open" => EnginePacket::Open(words.text("a text")?),
        "close" => EnginePacket::Close,
        "ping" => EnginePacket::Ping(words.text("a text")?),
        "pong" => EnginePacket::Pong(words.text("a text")?),
        "message" => EnginePacket::Message(words.text("a text")?),
        "binary" => EnginePacket::Binary(words.bytes("bytes")?),
        "upgrade" => EnginePacket::Upgrade,
        "noop" => EnginePacket::Noop,
        _ => return Err(Problem::Invalid("a kind of packet")),
    })
}

/// Writes a message of Engine.IO.
pub(super) fn put_engine_message(line: &mut Line<'_>, message: &EngineMessage) {
    match message {
        EngineMessage::Text(text) => line.word("text").payload(text.as_bytes()),
        EngineMessage::Binary(bytes) => line.word("binary").payload(bytes),
    };
}

pub(super) fn engine_message(words: &mut Words<'_>) -> Result<EngineMessage, Problem> {
    Ok(match words.flag("text or binary", "text", "binary")? {
        true => EngineMessage::Text(words.text("a text")?),
        false => EngineMessage::Binary(words.bytes("bytes")?),
    })
}

fn put_socket(line: &mut Line<'_>, packet: &Packet) {
    match packet {
        Packet::Connect {
            namespace,
            query,
            payload,
        } => {
            line.word("connect").name(namespace);
            line.optional_secret(query.as_deref())
                .optional_secret(payload.as_deref());
        }
        Packet::Disconnect { namespace } => {
            line.word("disconnect").name(namespace);
        }
        Packet::Event {
            namespace,
            name,
            id,
            args,
        } => {
            line.word("event").name(namespace).name(name).optional_word(*id);
            put_args(line, args);
        }
        Packet::Ack { namespace, id, args } => {
            line.word("ack").name(namespace).word(id);
            put_args(line, args);
        }
        Packet::ConnectError { namespace, payload } => {
            line.word("error").name(namespace).payload(payload.as_bytes());
        }
    }
}

fn socket(words: &mut Words<'_>) -> Result<Packet, Problem> {
    let kind = words.word("a kind of packet")?;
    let namespace = namespace(words)?;
    Ok(match kind {
        "connect" => Packet::Connect {
            namespace,
            query: words.optional_text("a query")?,
            payload: optional_json(words, "what the client says for itself")?,
        },
        "disconnect" => Packet::Disconnect { namespace },
        "event" => Packet::Event {
            namespace,
            name: words.text("a name")?,
            id: words.optional_number("an id")?,
            args: args(words)?,
        },
        "ack" => Packet::Ack {
            namespace,
            id: words.number("an id")?,
            args: args(words)?,
        },
        "error" => Packet::ConnectError {
            namespace,
            payload: optional_json(words, "a JSON value")?.ok_or(Problem::Missing("a JSON value"))?,
        },
        _ => return Err(Problem::Invalid("a kind of packet")),
    })
}

/// Writes a broken rule: its kind, and its text.
pub(super) fn put_breach(line: &mut Line<'_>, breach: &Breach) {
    line.word(breach.kind()).name(breach.text());
}

pub(super) fn breach(words: &mut Words<'_>) -> Result<Breach, Problem> {
    let kind = words.word("a kind of rule")?;
    let known = BreachKind::ALL.into_iter().find(|known| known.as_str() == kind);
    let kind = known.ok_or(Problem::Invalid("a kind of rule"))?;
    Ok(Breach::new(kind, words.text("what is wrong")?))
}

/// Writes a payload that could not be read: `session|rest looks-like "error"`.
pub(super) fn put_garbled(line: &mut Line<'_>, garbled: &Garbled) {
    line.flag(garbled.error.is_fatal(), "session", "rest");
    line.optional(garbled.looks_like)
        .payload(garbled.error.to_string().as_bytes());
}

fn garbled(words: &mut Words<'_>, config: &Config) -> Result<Garbled, Problem> {
    let ends = words.flag("session or rest", "session", "rest")?;
    let looks_like = words.optional_text("a codec")?;
    let error = Told(words.text("an error")?.to_string());
    Ok(Garbled {
        error: match ends {
            true => PayloadError::session(error),
            false => PayloadError::rest(error),
        },
        looks_like: looks_like.and_then(|name| known_codec(&name, config)),
    })
}

/// The name of a codec as a text of the program.
fn known_codec(name: &str, config: &Config) -> Option<&'static str> {
    let known: [&dyn MessageCodec; 3] = [&Framing, &Streaming, &Envelope];
    let codecs = config.legacy06.codecs().map(|codec| &**codec).chain(known);
    codecs.map(MessageCodec::name).find(|known| *known == name)
}

/// An error of which only the text is known.
#[derive(Debug)]
struct Told(String);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Told {}
