//! The applications of the recorded servers, as far as the traffic shows them.

use std::time::Duration;

use serde_json::Value;
use sio_proto::SocketKey;
use sio_proto::server::{AckError, Delivery, Reason};
use sio_proto::socket::Args;

use super::stage::{Stage, args, args_with, shown};

/// A scripted application. It receives every cue, and acts on the stage.
pub type Application = fn(&mut Stage, Cue<'_>);

pub enum Cue<'a> {
    Delivery(&'a Delivery),
    /// The time of an alarm from [`Stage::alarm`] has come.
    Alarm(u64),
    /// The recorded application did this without a cue.
    Act(&'a [Value]),
}

pub fn named(name: &str) -> Application {
    match name {
        "accept" => accept,
        "demo" => demo,
        "lifecycle" => lifecycle,
        "echo" => echo,
        "malformed" => malformed,
        "acks" => acks,
        "retries" => retries,
        "features" => features,
        "tilde" => tilde,
        "msgpack" => msgpack,
        "colon" => colon,
        other => panic!("no application is called {other}"),
    }
}

/// Lets sockets into these namespaces. Returns the socket if it was let in. For other namespaces
/// genuine servers answer `Invalid namespace`.
fn join(stage: &mut Stage, cue: &Cue<'_>, namespaces: &[&str]) -> Option<SocketKey> {
    let Cue::Delivery(Delivery::Connect { socket, namespace, .. }) = cue else {
        return None;
    };
    if namespaces.contains(&&***namespace) {
        stage.accept(*socket, namespace);
        return Some(*socket);
    }
    stage.refuse(*socket, "Invalid namespace", None);
    None
}

/// Records who comes and goes. When a client has just left, the server notices this late, or not at
/// all, so this is not recorded.
fn note_presence(stage: &mut Stage, cue: &Cue<'_>) {
    match cue {
        Cue::Delivery(Delivery::Connect { namespace, .. }) => stage.see(format!("{namespace} connect")),
        Cue::Delivery(Delivery::Disconnect { .. }) => note_end(stage, cue),
        _ => {}
    }
}

fn note_end(stage: &mut Stage, cue: &Cue<'_>) {
    if let Cue::Delivery(Delivery::Disconnect {
        socket,
        reason,
        connected: true,
        ..
    }) = cue
        && *reason != Reason::TransportClose
    {
        stage.see(format!("{} disconnect {reason}", stage.namespace(*socket)));
    }
}

struct Event<'a> {
    socket: SocketKey,
    name: &'a str,
    args: &'a Args,
    ack: Option<u64>,
}

fn event<'a>(cue: &Cue<'a>) -> Option<Event<'a>> {
    let Cue::Delivery(Delivery::Event {
        socket,
        name,
        args,
        ack,
    }) = cue
    else {
        return None;
    };
    Some(Event {
        socket: *socket,
        name,
        args,
        ack: *ack,
    })
}

/// Accepts `/` and does nothing else.
fn accept(stage: &mut Stage, cue: Cue<'_>) {
    note_end(stage, &cue);
    join(stage, &cue, &["/"]);
}

/// The server of the captures whose names are a version and a transport.
fn demo(stage: &mut Stage, cue: Cue<'_>) {
    if let Cue::Delivery(Delivery::Connect {
        socket,
        namespace,
        auth,
        handshake,
        ..
    }) = &cue
    {
        let more = match (&***namespace, auth.to_json(handshake).as_deref()) {
            ("/", _) => "",
            ("/admin", Some(r#"{"token":"t0ken"}"#)) => r#","auth":"t0ken""#,
            ("/denied", _) => return stage.refuse(*socket, "Not authorized", Some(r#"{"code":"E1"}"#)),
            _ => return stage.refuse(*socket, "Invalid namespace", None),
        };
        note_presence(stage, &cue);
        let welcome = format!(r#"{{"nsp":"{namespace}","uni":"é€😀","n":1.5,"z":null{more}}}"#);
        stage.accept(*socket, namespace);
        stage.emit(*socket, "welcome", args(&welcome));
    } else if let Cue::Delivery(Delivery::Ack {
        socket,
        result: Ok(answer),
        ..
    }) = &cue
    {
        stage.emit(*socket, "answer", args(&format!("[{}]", answer.json)));
    } else if let Some(Event {
        socket,
        name,
        args: said,
        ack,
    }) = event(&cue)
    {
        match (name, ack) {
            ("echo", Some(id)) => stage.acknowledge(socket, id, said.clone()),
            ("bin", _) => {
                let json = r#"{"_placeholder":true,"num":0},{"nested":{"b":{"_placeholder":true,"num":1}}}"#;
                stage.emit(socket, "bin-back", args_with(json, &[&said.attachments[0], &[9, 8]]));
            }
            ("bin-ack", Some(id)) => {
                let buffer = args_with(r#"{"_placeholder":true,"num":0}"#, &[&[0, 255, 128]]);
                stage.acknowledge(socket, id, buffer);
            }
            ("ask", _) => stage.ask(&[socket], "question", args("7"), None),
            ("bye", _) => stage.disconnect(socket, false),
            other => panic!("{other:?}"),
        }
    }
    note_end(stage, &cue);
}

fn lifecycle(stage: &mut Stage, cue: Cue<'_>) {
    if join(stage, &cue, &["/", "/dyn-7"]).is_some() {
        note_presence(stage, &cue);
    }
    note_end(stage, &cue);
    if let Cue::Act(_) = cue {
        stage.shut_down();
    } else if let Some(Event {
        socket,
        name,
        args: said,
        ..
    }) = event(&cue)
    {
        match name {
            "kick" => stage.disconnect(socket, &*said.json == "true"),
            "burst" => {
                for n in 0..5 {
                    stage.emit(socket, "n", args(&n.to_string()));
                }
                stage.emit(socket, "nc", args("1"));
                stage.disconnect(socket, true);
            }
            _ => {}
        }
    }
}

/// Sends every event back under its name.
fn echo(stage: &mut Stage, cue: Cue<'_>) {
    join(stage, &cue, &["/"]);
    note_end(stage, &cue);
    if let Some(Event { socket, name, args, .. }) = event(&cue) {
        stage.see(format!("/ {name} {}", shown(args)));
        stage.emit(socket, name, args.clone());
    } else if let Cue::Act([act, rest @ ..]) = cue {
        let socket = stage.members.last().expect("somebody is there").key;
        match (act.as_str().unwrap(), rest) {
            ("emit", [name, value]) => stage.emit(socket, name.as_str().unwrap(), args(&value.to_string())),
            ("disconnect", []) => stage.disconnect(socket, true),
            other => panic!("{other:?}"),
        }
    }
}

/// Acknowledges with the arguments.
fn malformed(stage: &mut Stage, cue: Cue<'_>) {
    join(stage, &cue, &["/", "/a"]);
    if let Some(Event {
        socket,
        name,
        args,
        ack,
    }) = event(&cue)
    {
        let wanted = if ack.is_some() { " +ack" } else { "" };
        stage.see(format!("{} {name} {}{wanted}", stage.namespace(socket), shown(args)));
        if let Some(id) = ack {
            stage.acknowledge(socket, id, args.clone());
        }
    } else if let Cue::Delivery(Delivery::Disconnect {
        socket,
        reason,
        connected: true,
        ..
    }) = cue
        && *reason != Reason::TransportClose
    {
        stage.see(format!("{} disconnect {reason}", stage.namespace(*socket)));
    }
}

fn acks(stage: &mut Stage, cue: Cue<'_>) {
    const SLOW: u64 = 300;
    /// Two broadcasts come first.
    const ASKED_OF_ONE: u64 = 2;
    join(stage, &cue, &["/"]);
    if let Cue::Alarm(id) = cue {
        let first = stage.members[0].key;
        stage.acknowledge(first, id, args("\"late\""));
    } else if let Some(Event {
        socket,
        name,
        args: said,
        ack,
    }) = event(&cue)
    {
        match (name, ack) {
            ("slow", Some(id)) => stage.alarm(SLOW, id),
            ("multi", Some(id)) => stage.acknowledge(socket, id, said.clone()),
            ("bcast", None) => {
                let all: Vec<SocketKey> = stage.members.iter().map(|m| m.key).collect();
                stage.ask(&all, "q", args("1"), Some(Duration::from_millis(300)));
            }
            ("sask", None) => stage.ask(&[socket], "noreply", args(""), Some(Duration::from_millis(150))),
            ("never", Some(_)) => {}
            other => panic!("{other:?}"),
        }
    } else if let Cue::Delivery(Delivery::Ack { id, result, .. }) = cue {
        // The first argument of each answer to a broadcast counts.
        let timed_out = match result {
            Ok(answer) => {
                stage.answers.extend(answer.iter().next().map(str::to_owned));
                false
            }
            Err(error) => *error == AckError::TimedOut,
        };
        if *id == ASKED_OF_ONE && timed_out {
            stage.see("server emit timeout err=operation has timed out undefined".to_owned());
        } else if timed_out || stage.answers.len() == 2 {
            let error = if timed_out { "operation has timed out" } else { "null" };
            let answers = std::mem::take(&mut stage.answers).join(",");
            stage.see(format!("broadcast ack err={error} [{answers}]"));
        }
    }
}

/// Acknowledges from the third try on.
fn retries(stage: &mut Stage, cue: Cue<'_>) {
    join(stage, &cue, &["/"]);
    if let Some(Event {
        socket,
        name: "q",
        args: said,
        ack: Some(id),
    }) = event(&cue)
    {
        stage.count += 1;
        stage.see(format!("server got q {} n={}", said.json, stage.count));
        if stage.count >= 3 {
            stage.acknowledge(socket, id, args(&format!("\"ok{}\"", said.json)));
        }
    }
}

/// Sends messages that are worth compressing.
fn features(stage: &mut Stage, cue: Cue<'_>) {
    if let Some(socket) = join(stage, &cue, &["/"]) {
        stage.emit(socket, "big", args(&format!("\"{}\"", "x".repeat(300))));
    } else if let Some(Event {
        socket, name: "big", ..
    }) = event(&cue)
    {
        stage.emit(socket, "big", args(&format!("\"{}\"", "y".repeat(300))));
    }
}

/// The server of the captures with the MessagePack parser. It emits a date and an undefined member;
/// here they are written as JSON.
fn msgpack(stage: &mut Stage, cue: Cue<'_>) {
    if let Cue::Delivery(Delivery::Connect { socket, namespace, .. }) = &cue {
        match &***namespace {
            "/no" => return stage.refuse(*socket, "nope", Some(r#"{"c":1}"#)),
            "/" | "/a" => {}
            _ => return stage.refuse(*socket, "Invalid namespace", None),
        }
        let values =
            r#""bin":{"_placeholder":true,"num":0},"u":"é€😀","f":1.5,"neg":-3,"big":5000000000,"nul":null,"t":true"#;
        let welcome = format!(r#"{{"n":"{namespace}",{values},"d":"1970-01-01T00:00:00.000Z"}}"#);
        stage.accept(*socket, namespace);
        stage.emit(*socket, "w", args_with(&welcome, &[&[1, 2]]));
    } else if let Some(Event {
        socket,
        name,
        args: said,
        ack,
    }) = event(&cue)
    {
        match (name, ack) {
            ("e", Some(id)) => stage.acknowledge(socket, id, said.clone()),
            ("bye", None) => stage.disconnect(socket, false),
            other => panic!("{other:?}"),
        }
    }
}

/// The server of the 0.6 captures.
fn tilde(stage: &mut Stage, cue: Cue<'_>) {
    if let Some(socket) = join(stage, &cue, &["/"]) {
        stage.emit(socket, "message", args("\"welcome\""));
    } else if let Some(Event { socket, args: said, .. }) = event(&cue) {
        match &*said.json {
            "\"burst\"" => {
                for json in ["\"one\"", r#"{"two":2}"#, "\"thré♥e😀\""] {
                    stage.emit(socket, "message", args(json));
                }
            }
            // The recorded application destroyed the TCP connection. The capture has this cut.
            "\"close-me\"" => {}
            _ => stage.emit(socket, "message", said.clone()),
        }
    }
}

/// The server of the captures of 0.7-0.9.
fn colon(stage: &mut Stage, cue: Cue<'_>) {
    if let Some(socket) = join(stage, &cue, &["/", "/chat"]) {
        let namespace = stage.namespace(socket);
        let endpoint = namespace.strip_suffix('/').unwrap_or(&namespace);
        stage.first_id = 1;
        stage.emit(socket, "welcome", args(&format!("\"{endpoint}\"")));
    } else if let Some(Event {
        socket,
        name,
        args: said,
        ack,
    }) = event(&cue)
    {
        match (name, &*said.json) {
            ("message", "\"burst\"") => {
                stage.emit(socket, "message", args("\"one\""));
                stage.emit(socket, "message", args(r#"{"two":2}"#));
                stage.emit(socket, "ev", args("\"thré♥e😀\",3"));
            }
            ("message", "\"kick\"") => stage.disconnect(socket, true),
            // It sent the object back as a text, without marking it as an object.
            ("message", json) if json.starts_with('{') => stage.emit(socket, "message", args("\"[object Object]\"")),
            ("message", json) => {
                if let Some(id) = ack {
                    stage.acknowledge(socket, id, args(&format!("\"acked\",{json}")));
                }
                stage.emit(socket, "message", said.clone());
            }
            ("echo", _) => match ack {
                Some(id) => stage.acknowledge(socket, id, said.clone()),
                None => stage.emit(socket, "echo", said.clone()),
            },
            ("want-ack", _) => stage.ask(&[socket], "question", args(r#"{"q":1}"#), None),
            ("want-auto-ack", _) => stage.ask(&[socket], "message", args("\"ack-me-please\""), None),
            _ => {}
        }
    } else if let Cue::Delivery(Delivery::Ack {
        socket,
        result: Ok(answer),
        ..
    }) = &cue
    {
        let name = if answer.is_empty() { "auto-acked" } else { "answered" };
        stage.emit(*socket, name, answer.clone());
    }
}
