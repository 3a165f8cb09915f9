//! Values of the application: arguments, messages, targets and commands.

use alloc::vec::Vec;

use bytestring::ByteString;

use super::Problem;
use super::line::Line;
use super::words::Words;
use crate::json;
use crate::server::{AckRequest, Command, Key, Message, Policy, Reason, Target};
use crate::socket::{Args, Exact};

/// Writes arguments: `"json" attachments… exact…`.
pub(super) fn put_args(line: &mut Line<'_>, args: &Args) {
    line.payload(args.json.as_bytes()).payloads(args.attachments.iter());
    line.word(args.exact.iter().count());
    for (place, value) in args.exact.iter() {
        line.word(place).payload(value);
    }
}

pub(super) fn args(words: &mut Words<'_>) -> Result<Args, Problem> {
    let json = elements(words, "arguments")?;
    let attachments = words.payloads("attachments")?;
    let mut exact = Exact::default();
    let mut last = None;
    for _ in 0..words.count("exact arguments")? {
        let place: usize = words.number("the place of an argument")?;
        if last.is_some_and(|last| place <= last) {
            return Err(Problem::Invalid("the place of an argument"));
        }
        last = Some(place);
        exact.insert(place, Some(words.bytes("an exact argument")?));
    }
    Ok(Args {
        json,
        attachments,
        exact,
    })
}

/// JSON values joined by commas.
fn elements(words: &mut Words<'_>, what: &'static str) -> Result<ByteString, Problem> {
    let text = words.text(what)?;
    match json::validate_elements(&text, json::MAX_DEPTH) {
        Ok(()) => Ok(text),
        Err(_) => Err(Problem::Invalid(what)),
    }
}

/// One JSON value, if there is any.
pub(super) fn optional_json(words: &mut Words<'_>, what: &'static str) -> Result<Option<ByteString>, Problem> {
    let text = words.optional_text(what)?;
    let is_json = |text: &ByteString| json::validate(text, json::MAX_DEPTH).is_ok();
    match text.as_ref().is_none_or(is_json) {
        true => Ok(text),
        false => Err(Problem::Invalid(what)),
    }
}

/// A namespace: it begins with a slash and has no comma.
pub(super) fn namespace(words: &mut Words<'_>) -> Result<ByteString, Problem> {
    let name = words.text("a namespace")?;
    match name.starts_with('/') && !name.contains(',') {
        true => Ok(name),
        false => Err(Problem::Invalid("a namespace")),
    }
}

/// Writes a message: `event "/" "name" id volatile policy moment args` or `ack "/" id …`.
pub(super) fn put_message(line: &mut Line<'_>, message: &Message) {
    match &message.name {
        Some(name) => line.word("event").name(&message.namespace).name(name),
        None => line.word("ack").name(&message.namespace),
    };
    line.optional_word(message.id);
    line.flag(message.volatile, "volatile", "kept");
    put_policy(line, &message.policy);
    match message.moment {
        Some(moment) => line.time(moment),
        None => line.word('-'),
    };
    line.optional_word(message.offset);
    put_args(line, &message.args);
}

pub(super) fn message(words: &mut Words<'_>) -> Result<Message, Problem> {
    let is_event = words.flag("event or ack", "event", "ack")?;
    let namespace = namespace(words)?;
    let name = if is_event { Some(words.text("a name")?) } else { None };
    let id = words.optional_number("an id")?;
    let volatile = words.flag("volatile or kept", "volatile", "kept")?;
    let policy = policy(words)?;
    let moment = words.optional_time("a moment")?;
    let offset = words.optional_number("an offset")?;
    let args = args(words)?;
    let message = match (name, id) {
        (Some(name), id) => Message::event(namespace, name, args, id),
        (None, Some(id)) => Message::ack(namespace, id, args),
        (None, None) => return Err(Problem::Missing("an id")),
    };
    Ok(message.volatile(volatile).policy(policy).moment(moment).offset(offset))
}

/// Writes a policy, and nothing if nothing may be left out.
fn put_policy(line: &mut Line<'_>, policy: &Policy) {
    let word = match policy {
        Policy::Ordered => return,
        Policy::Refuse => "refuse",
        Policy::Drop => "drop",
        Policy::DropOldest => "drop-oldest",
        Policy::Newest(_) => "newest",
        Policy::Merge(_) => "merge",
        Policy::Behind(_) => "behind",
    };
    line.word(word);
    if let Some(key) = policy.key() {
        line.name(key.as_str());
    }
}

fn policy(words: &mut Words<'_>) -> Result<Policy, Problem> {
    for (word, policy) in [
        ("refuse", Policy::Refuse),
        ("drop", Policy::Drop),
        ("drop-oldest", Policy::DropOldest),
    ] {
        if words.skip(word) {
            return Ok(policy);
        }
    }
    if words.skip("newest") {
        return Ok(Policy::Newest(key(words)?));
    }
    if words.skip("merge") {
        return Ok(Policy::Merge(key(words)?));
    }
    if words.skip("behind") {
        return Ok(Policy::Behind(key(words)?));
    }
    Ok(Policy::Ordered)
}

fn key(words: &mut Words<'_>) -> Result<Key, Problem> {
    words.text("a key").map(|text| Key::from_text(&text))
}

/// Writes the request for an acknowledgement: `ack id timeout`, or `-`.
pub(super) fn put_ack(line: &mut Line<'_>, ack: Option<AckRequest>) {
    match ack {
        None => line.word('-'),
        Some(ack) => {
            line.word("ack").word(ack.id);
            match ack.timeout {
                Some(timeout) => line.duration(timeout),
                None => line.word('-'),
            }
        }
    };
}

pub(super) fn ack(words: &mut Words<'_>) -> Result<Option<AckRequest>, Problem> {
    if words.skip("-") {
        return Ok(None);
    }
    if !words.skip("ack") {
        return Err(Problem::Missing("ack"));
    }
    let id = words.number("an id")?;
    let timeout = match words.skip("-") {
        true => None,
        false => Some(words.duration("a timeout")?),
    };
    Ok(Some(AckRequest { id, timeout }))
}

fn put_names(line: &mut Line<'_>, names: &[ByteString]) {
    line.word(names.len());
    for name in names {
        line.name(name);
    }
}

fn put_target(line: &mut Line<'_>, target: &Target) {
    line.name(&target.namespace);
    put_names(line, &target.rooms);
    put_names(line, &target.except);
    line.optional_word(target.except_socket);
}

fn target(words: &mut Words<'_>) -> Result<Target, Problem> {
    Ok(Target {
        namespace: words.text("a namespace")?,
        rooms: words.texts("rooms")?,
        except: words.texts("rooms that are left out")?,
        except_socket: match words.skip("-") {
            true => None,
            false => Some(words.socket()?),
        },
    })
}

/// Writes a message to many sockets, whether it came as a command or not.
pub(super) fn put_broadcast(line: &mut Line<'_>, target: &Target, message: &Message) {
    put_target(line.word("broadcast"), target);
    put_message(line, message);
}

/// Writes a command: its verb, its target, and its content.
pub(super) fn put_command(line: &mut Line<'_>, command: &Command) {
    match command {
        Command::Broadcast { target, message } => put_broadcast(line, target, message),
        Command::Join { target, rooms } => {
            put_target(line.word("join-all"), target);
            put_names(line, rooms);
        }
        Command::Leave { target, rooms } => {
            put_target(line.word("leave-all"), target);
            put_names(line, rooms);
        }
        Command::Disconnect { target, close } => {
            put_target(line.word("disconnect-all"), target);
            line.flag(*close, "session", "namespace");
        }
        Command::Drain {
            spread,
            patience,
            handover,
            pause,
        } => {
            line.word("drain").duration(*spread).duration(*patience);
            line.flag(*handover, "handover", "alone");
            match pause {
                Some(pause) => line.duration(*pause),
                None => line.word("-"),
            };
        }
        Command::Shutdown { reason } => {
            line.word("shutdown").payload(reason.as_str().as_bytes());
        }
    }
}

/// The command of this verb, if the verb belongs to a command.
pub(super) fn command(verb: &str, words: &mut Words<'_>) -> Result<Option<Command>, Problem> {
    Ok(Some(match verb {
        "broadcast" => Command::Broadcast {
            target: target(words)?,
            message: message(words)?,
        },
        "join-all" => Command::Join {
            target: target(words)?,
            rooms: words.texts("rooms")?,
        },
        "leave-all" => Command::Leave {
            target: target(words)?,
            rooms: words.texts("rooms")?,
        },
        "disconnect-all" => Command::Disconnect {
            target: target(words)?,
            close: words.flag("session or namespace", "session", "namespace")?,
        },
        "drain" => Command::Drain {
            spread: words.duration("how long sessions are spread")?,
            patience: words.duration("how long work is waited for")?,
            handover: words.flag("handover or alone", "handover", "alone")?,
            pause: words.optional_duration("how long clients stay away")?,
        },
        "shutdown" => Command::Shutdown { reason: reason(words)? },
        _ => return Ok(None),
    }))
}

pub(super) fn reason(words: &mut Words<'_>) -> Result<Reason, Problem> {
    let text = words.text("a reason")?;
    let known: Vec<Reason> = Reason::ALL
        .into_iter()
        .filter(|reason| *reason.as_str() == *text)
        .collect();
    known.first().copied().ok_or(Problem::Invalid("a reason"))
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use bytes::Bytes;

    use super::super::Detail;
    use super::*;

    /// Arguments that JSON does not express exactly are read as they were written, in order.
    #[test]
    fn exact_arguments_are_read_back() {
        let mut exact = Exact::default();
        for place in [0, 2] {
            exact.insert(place, Some(Bytes::from_static(b"\xd4\0\0")));
        }
        let written = Args {
            json: "null,1,null".into(),
            attachments: Vec::new(),
            exact,
        };
        let mut text = String::new();
        put_args(&mut Line::of_head(&mut text, Detail::Full, "args"), &written);
        let rest = text.strip_prefix("args ").unwrap_or_default();
        let mut words = Words::new(rest);
        assert_eq!((args(&mut words), words.end()), (Ok(written), Ok(())));
        for (places, is_right) in [("0 2", true), ("2 0", false), ("2 2", false)] {
            let (first, second) = places.split_once(' ').unwrap_or_default();
            let text = alloc::format!("\"null,1,null\" 0 2 {first} \"a\" {second} \"b\"");
            assert_eq!(args(&mut Words::new(&text)).is_ok(), is_right, "{places}");
        }
    }
}
