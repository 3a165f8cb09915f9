//! The inputs of a shard: how each is written, and read back.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::BytesMut;
use bytestring::ByteString;

use super::Problem;
use super::line::Line;
use super::messages::{ack, command, message, optional_json, put_ack, put_message, reason};
use super::outputs::put_frames;
use super::packets::{breach, engine_message, put_breach, put_engine_message};
use super::requests::{put_request, request};
use super::words::Words;
use crate::engine::EngineMessage;
use crate::server::{
    AckRequest, Breach, Cause, Command, Encoded, Form, Generation, Message, Reason, Request, Target, Welcome,
};
use crate::wire::Inbound;
use crate::{Config, Excess, Frame, LinkId, Rate, RateLimit, SessionKey, SocketKey};

/// An input that has been read.
#[derive(Debug)]
pub(super) enum Input {
    Request(LinkId, Box<Request>),
    BodyStarted(LinkId, Box<Request>),
    /// The packets stand in the next lines.
    Packets(LinkId, Vec<Inbound>),
    /// The packets stand in the next lines.
    Part(LinkId, Box<Request>, usize, Vec<Inbound>),
    Excuse(SessionKey),
    Closed(LinkId, Cause),
    Timeout,
    DisconnectFor(SocketKey, Breach),
    TellConnectionErrors(bool),
    Flush(usize),
    Blocked(LinkId, usize),
    Drained(LinkId),
    Returned(LinkId, Vec<Frame>),
    EndPoll(LinkId),
    Accept(SocketKey, Welcome),
    Refuse(SocketKey, ByteString, Option<ByteString>),
    Release(SocketKey),
    Confirm(SocketKey, u64),
    Emit(SocketKey, Box<Message>, Option<AckRequest>),
    EmitEncoded(SocketKey, Form, Encoded),
    ForgetAck(SocketKey, u64),
    Disconnect(SocketKey, bool),
    Dismiss(SocketKey, Reason),
    Join(SocketKey, ByteString),
    Leave(SocketKey, ByteString),
    Command(Box<Command>),
    SendEngine(SessionKey, EngineMessage),
    CloseEngine(SessionKey),
}

/// The inputs that need their own functions, because their values belong to the shard's caller.
impl Line<'_> {
    pub(crate) fn request(&mut self, link: LinkId, request: &Request) {
        put_request(self.word("request").link(link), request);
    }

    pub(crate) fn body_started(&mut self, link: LinkId, request: &Request) {
        put_request(self.word("body-started").link(link), request);
    }

    pub(crate) fn part(&mut self, link: LinkId, request: &Request, max: usize) {
        put_request(self.word("part").link(link).word(max), request);
    }

    pub(crate) fn excuse(&mut self, session: SessionKey) {
        self.word("excuse").word(session);
    }

    pub(crate) fn closed(&mut self, link: LinkId, cause: &Cause) {
        self.word("closed").link(link);
        match cause {
            Cause::Closed => _ = self.word("closed"),
            Cause::Failed => _ = self.word("failed"),
            Cause::Broken(breach) => put_breach(self.word("broken"), breach),
        }
    }

    pub(crate) fn disconnect_for(&mut self, socket: SocketKey, breach: &Breach) {
        put_breach(self.word("disconnect-for").word(socket), breach);
    }

    pub(crate) fn tell_errors(&mut self, tell: bool) {
        self.word("tell-connection-errors").word(tell);
    }

    pub(crate) fn verb(&mut self, verb: &str) {
        self.word(verb);
    }

    pub(crate) fn at_link(&mut self, verb: &str, link: LinkId) {
        self.word(verb).link(link);
    }

    pub(crate) fn at_socket(&mut self, verb: &str, socket: SocketKey) {
        self.word(verb).word(socket);
    }

    pub(crate) fn counted(&mut self, verb: &str, count: usize) {
        self.word(verb).word(count);
    }

    pub(crate) fn blocked(&mut self, link: LinkId, held: usize) {
        self.word("blocked").link(link).word(held);
    }

    pub(crate) fn returned(&mut self, link: LinkId, frames: &[Frame]) {
        put_frames(self.word("returned").link(link), frames);
    }

    pub(crate) fn accept(&mut self, socket: SocketKey, welcome: &Welcome) {
        self.word("accept").word(socket);
        self.optional_secret(welcome.pid.as_deref())
            .optional(welcome.id.as_deref());
        if let Some(rate) = &welcome.rate {
            put_rate(self.word("rate"), rate);
        }
        if let Some(heard) = welcome.confirmed {
            self.word("confirmed").word(heard);
        }
    }

    pub(crate) fn confirm(&mut self, socket: SocketKey, heard: u64) {
        self.word("confirm").word(socket).word(heard);
    }

    pub(crate) fn refuse(&mut self, socket: SocketKey, message: &str, data: Option<&str>) {
        self.word("refuse")
            .word(socket)
            .payload(message.as_bytes())
            .optional(data);
    }

    pub(crate) fn forget_ack(&mut self, socket: SocketKey, id: u64) {
        self.word("forget-ack").word(socket).word(id);
    }

    pub(crate) fn emit(&mut self, socket: SocketKey, message: &Message, ack: Option<AckRequest>) {
        put_message(self.word("emit").word(socket), message);
        put_ack(self, ack);
    }

    pub(crate) fn emit_encoded(&mut self, socket: SocketKey, form: Form, message: &Encoded) {
        let form = form.generation() == Generation::Engine4;
        self.word("emit-encoded").word(socket).flag(form, "4", "3");
        let frames: Vec<Frame> = message.frames().cloned().collect();
        put_frames(self, &frames);
    }

    pub(crate) fn disconnect(&mut self, socket: SocketKey, close: bool) {
        self.word("disconnect").word(socket).flag(close, "session", "namespace");
    }

    pub(crate) fn dismiss(&mut self, socket: SocketKey, reason: Reason) {
        self.word("dismiss").word(socket).payload(reason.as_str().as_bytes());
    }

    pub(crate) fn room(&mut self, verb: &str, socket: SocketKey, room: &str) {
        self.word(verb).word(socket).name(room);
    }

    pub(crate) fn broadcast(&mut self, target: &Target, message: &Message) {
        super::messages::put_broadcast(self, target, message);
    }

    pub(crate) fn command(&mut self, command: &Command) {
        super::messages::put_command(self, command);
    }

    pub(crate) fn send_engine(&mut self, session: SessionKey, message: &EngineMessage) {
        put_engine_message(self.word("send-engine").word(session), message);
    }

    pub(crate) fn close_engine(&mut self, session: SessionKey) {
        self.word("close-engine").word(session);
    }
}

/// Reads the rest of an input's line. The result is the input that a shard with this config gets.
pub(super) fn input(words: &mut Words<'_>, config: &Config) -> Result<Input, Problem> {
    let verb = words.word("an input")?;
    let input = match verb {
        "request" => Input::Request(words.link()?, Box::new(request(words, config)?)),
        "body-started" => Input::BodyStarted(words.link()?, Box::new(request(words, config)?)),
        "packets" => Input::Packets(words.link()?, Vec::new()),
        "part" => {
            let (link, max) = (words.link()?, words.number("a number of packets")?);
            Input::Part(link, Box::new(request(words, config)?), max, Vec::new())
        }
        "excuse" => Input::Excuse(words.session()?),
        "closed" => Input::Closed(words.link()?, cause(words)?),
        "disconnect-for" => Input::DisconnectFor(words.socket()?, breach(words)?),
        "tell-connection-errors" => Input::TellConnectionErrors(words.number("true or false")?),
        "timeout" => Input::Timeout,
        "flush" => Input::Flush(words.number("a number of links")?),
        "blocked" => Input::Blocked(words.link()?, words.number("a number of bytes")?),
        "drained" => Input::Drained(words.link()?),
        "returned" => Input::Returned(words.link()?, frames(words)?),
        "end-poll" => Input::EndPoll(words.link()?),
        "accept" => {
            let socket = words.socket()?;
            let (pid, id) = (words.optional_text("a pid")?, words.optional_text("an id")?);
            let rate = rate(words)?;
            let confirmed = match words.skip("confirmed") {
                true => Some(words.number("a number of events")?),
                false => None,
            };
            Input::Accept(
                socket,
                Welcome {
                    pid,
                    id,
                    rate,
                    confirmed,
                },
            )
        }
        "refuse" => {
            let (socket, message) = (words.socket()?, words.text("a message")?);
            Input::Refuse(socket, message, optional_json(words, "data")?)
        }
        "release" => Input::Release(words.socket()?),
        "confirm" => Input::Confirm(words.socket()?, words.number("a number of events")?),
        "emit" => {
            let (socket, message) = (words.socket()?, Box::new(message(words)?));
            Input::Emit(socket, message, ack(words)?)
        }
        "emit-encoded" => {
            let (socket, is_4) = (words.socket()?, words.flag("4 or 3", "4", "3")?);
            let form = if is_4 { Form::Engine4 } else { Form::Engine3 };
            let mut frames = frames(words)?;
            if frames.is_empty() {
                return Err(Problem::Invalid("a packet"));
            }
            let (first, attachments) = (frames.remove(0), frames.into());
            Input::EmitEncoded(socket, form, Encoded { first, attachments })
        }
        "forget-ack" => Input::ForgetAck(words.socket()?, words.number("an id")?),
        "disconnect" => {
            let socket = words.socket()?;
            Input::Disconnect(socket, words.flag("session or namespace", "session", "namespace")?)
        }
        "dismiss" => Input::Dismiss(words.socket()?, reason(words)?),
        "join" => Input::Join(words.socket()?, words.text("a room")?),
        "leave" => Input::Leave(words.socket()?, words.text("a room")?),
        "send-engine" => Input::SendEngine(words.session()?, engine_message(words)?),
        "close-engine" => Input::CloseEngine(words.session()?),
        verb => match command(verb, words)? {
            Some(command) => Input::Command(Box::new(command)),
            None => return Err(Problem::Invalid("an input")),
        },
    };
    words.end()?;
    Ok(input)
}

fn frames(words: &mut Words<'_>) -> Result<Vec<Frame>, Problem> {
    let count = words.count("a number of packets")?;
    let mut buffer = BytesMut::new();
    let frames = (0..count).map(|_| {
        let is_binary = words.flag("binary or text", "binary", "text")?;
        let payload = words.bytes("a packet")?;
        Ok(match is_binary {
            true => Frame::binary(&mut buffer, |b| b.extend_from_slice(&payload)),
            false => Frame::text(&mut buffer, |b| b.extend_from_slice(&payload)),
        })
    });
    frames.collect()
}

fn cause(words: &mut Words<'_>) -> Result<Cause, Problem> {
    Ok(match words.word("a cause")? {
        "closed" => Cause::Closed,
        "failed" => Cause::Failed,
        "broken" => Cause::Broken(breach(words)?),
        _ => return Err(Problem::Invalid("a cause")),
    })
}

fn put_rate(line: &mut Line<'_>, limit: &RateLimit) {
    for rate in [limit.events, limit.bytes] {
        let Rate { per_second, burst } = rate.unwrap_or(Rate {
            per_second: 0,
            burst: 0,
        });
        line.word(per_second).word(burst);
    }
    line.flag(limit.excess == Excess::Throttle, "throttle", "disconnect");
}

fn rate(words: &mut Words<'_>) -> Result<Option<RateLimit>, Problem> {
    if !words.skip("rate") {
        return Ok(None);
    }
    let mut limit = RateLimit::NONE;
    for part in [&mut limit.events, &mut limit.bytes] {
        let (per_second, burst) = (words.number("a rate")?, words.number("a burst")?);
        *part = (per_second > 0).then_some(Rate { per_second, burst });
    }
    limit.excess = match words.flag("throttle or disconnect", "throttle", "disconnect")? {
        true => Excess::Throttle,
        false => Excess::Disconnect,
    };
    limit.validate("rate").map_err(Problem::Config)?;
    Ok(Some(limit))
}
