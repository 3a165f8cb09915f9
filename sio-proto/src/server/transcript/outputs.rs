//! The outputs of a shard. They are written and never read: a replay writes its own outputs and
//! compares the text.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use bytestring::ByteString;

use super::line::Line;
use super::messages::put_args;
use super::packets::{put_breach, put_engine_message, put_garbled};
use crate::server::{Body, Breach, Delivery, NextTimeout, Reason, Response, StreamForm, Write};
use crate::socket::Args;
use crate::{Frame, SocketKey};

/// Writes a write for a link.
pub(super) fn put_write(line: &mut Line<'_>, write: &Write) {
    let link = write.link();
    match write {
        Write::Response(_, response) => put_response(line.word("answer").link(link), response),
        Write::Upgrade(_, upgrade) => {
            line.word("upgrade").link(link).payload(&upgrade.accept);
            line.payload(format!("{:?}", upgrade.wire).as_bytes());
            put_fields(line, upgrade.headers.iter().map(|(name, value)| (*name, &**value)));
        }
        Write::Hixie(_, hixie) => {
            line.word("hixie")
                .link(link)
                .payload(format!("{:?}", hixie.wire).as_bytes());
            line.secret(&hixie.head);
        }
        Write::Bytes(_, bytes) => {
            line.word("bytes").link(link).secret(bytes);
        }
        Write::Frame(_, frame) => put_frame(line.word("frame").link(link), frame),
        Write::Close(_, code) => {
            line.word("close").link(link).optional_word(*code);
        }
        Write::Stream(_, stream) => {
            put_form(line.word("stream").link(link), &stream.form);
            put_fields(line, stream.fields());
        }
        Write::Part(_, part) => {
            put_form(line.word("part").link(link), &part.form);
            put_frames(line, &part.frames);
        }
        Write::StreamEnd(_, form) => put_form(line.word("stream-end").link(link), form),
        Write::Abort(_) => {
            line.word("abort").link(link);
        }
    }
}

fn put_frame(line: &mut Line<'_>, frame: &Frame) {
    line.flag(frame.is_binary(), "binary", "text").payload(frame.payload());
}

pub(super) fn put_frames(line: &mut Line<'_>, frames: &[Frame]) {
    line.word(frames.len());
    frames.iter().for_each(|frame| put_frame(line, frame));
}

fn put_form(line: &mut Line<'_>, form: &StreamForm) {
    line.payload(format!("{:?}", form.encoding).as_bytes());
    line.flag(form.chunked, "chunked", "whole")
        .flag(form.keep_alive, "keep", "end");
}

fn put_response(line: &mut Line<'_>, response: &Response) {
    line.word(response.status);
    let exchange = &response.exchange;
    line.flag(exchange.is_head, "head", "body").word(exchange.version_minor);
    line.flag(exchange.keep_alive, "keep", "end");
    match &response.body {
        Body::Bytes(bytes) => {
            line.word("bytes").payload(bytes);
        }
        Body::Packets(frames, encoding) => {
            line.payload(format!("{encoding:?}").as_bytes());
            put_frames(line, frames);
        }
    }
    put_fields(line, response.fields());
}

/// Writes header fields: their number, and in a full transcript each field.
fn put_fields<'a>(line: &mut Line<'_>, fields: impl Iterator<Item = (&'static str, &'a str)>) {
    let fields: Vec<_> = fields.collect();
    line.word(fields.len());
    if line.is_full() {
        for (name, value) in fields {
            line.payload(name.as_bytes()).payload(value.as_bytes());
        }
    }
}

/// Writes a delivery to the user.
pub(super) fn put_delivery(line: &mut Line<'_>, delivery: &Delivery) {
    match delivery {
        Delivery::Connect { .. } => put_connect(line, delivery),
        Delivery::Event {
            socket,
            name,
            args,
            ack,
        } => {
            line.word("event").word(socket).name(name).optional_word(*ack);
            put_args(line, args);
        }
        Delivery::Ack {
            socket,
            id,
            result: Ok(args),
        } => put_ack(line, *socket, *id, args),
        Delivery::Ack {
            socket,
            id,
            result: Err(error),
        } => {
            line.word("ack").word(socket).word(id);
            line.word(format_args!("{error:?}"));
        }
        Delivery::Disconnect {
            socket,
            reason,
            breach,
            connected,
            rooms,
        } => {
            put_end(line.word("disconnect").word(socket), *reason, breach.as_ref());
            line.flag(*connected, "connected", "asked");
            put_rooms(line, rooms);
        }
        Delivery::Leaving { socket } => {
            line.word("leaving").word(socket);
        }
        Delivery::Stranger(stranger) => {
            line.word("stranger").word(format_args!("{:?}", stranger.why));
            line.optional(stranger.origin.as_deref())
                .optional(stranger.host.as_deref());
        }
        Delivery::Garbled { socket, codec, garbled } => {
            line.word("garbled").word(socket).name(codec);
            put_garbled(line, garbled);
        }
        Delivery::EngineOpen { session, .. } => {
            line.word("engine-open").word(session);
        }
        Delivery::EngineMessage { session, message } => {
            put_engine_message(line.word("engine-message").word(session), message);
        }
        Delivery::EngineClose {
            session,
            reason,
            breach,
        } => put_end(line.word("engine-close").word(session), *reason, breach.as_ref()),
        Delivery::ConnectionError(error) => {
            line.word("connection-error").word(error.status);
            line.optional_word(error.code).name(&error.message).name(&error.path);
        }
        Delivery::Upgraded { socket, transport } => {
            line.word("upgraded").word(socket).transport(*transport);
        }
        Delivery::EngineUpgraded { session, transport } => {
            line.word("engine-upgraded").word(session).transport(*transport);
        }
        Delivery::Breach {
            socket,
            session,
            ends,
            breach,
        } => {
            line.word("breach").optional_word(*socket);
            match session {
                Some((generation, transport)) => line.word(generation).transport(*transport),
                None => line.word('-'),
            };
            put_breach(line.flag(*ends, "ends", "goes-on"), breach);
        }
    }
}

fn put_connect(line: &mut Line<'_>, delivery: &Delivery) {
    let Delivery::Connect {
        socket,
        session,
        sid,
        wire_id,
        namespace,
        auth,
        handshake,
        generation,
        transport,
        form,
    } = delivery
    else {
        return;
    };
    line.word("connect").word(socket).word(session).name(namespace);
    line.secret(sid.to_string().as_bytes());
    line.optional_secret(wire_id.map(|id| id.reveal(namespace)).as_deref());
    line.word(generation)
        .transport(*transport)
        .word(format_args!("{form:?}"));
    line.optional_secret(auth.to_json(handshake).as_deref());
}

fn put_ack(line: &mut Line<'_>, socket: SocketKey, id: u64, args: &Args) {
    line.word("ack").word(socket).word(id).word("ok");
    put_args(line, args);
}

/// Writes the reason of an end, and the rule that was broken.
fn put_end(line: &mut Line<'_>, reason: Reason, breach: Option<&Breach>) {
    line.name(reason.as_str());
    match breach {
        Some(breach) => put_breach(line, breach),
        None => _ = line.word('-'),
    }
}

fn put_rooms(line: &mut Line<'_>, rooms: &[ByteString]) {
    line.word(rooms.len());
    for room in rooms {
        line.name(room);
    }
}

/// Writes when the shard has to be woken, and the reason.
pub(super) fn put_next_timeout(line: &mut Line<'_>, next: Option<NextTimeout>) {
    let Some(next) = next else {
        line.word("never");
        return;
    };
    line.time(next.at).word(format_args!("{:?}", next.reason));
    line.optional_word(next.session).optional_word(next.socket);
}
