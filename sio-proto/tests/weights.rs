//! The size of a message is checked before it is written. A message of a client cannot grow many
//! times on its way out, and a message that is too large for any queue is an error for its sender.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod older;

use bytes::Bytes;
use common::*;
use sio_proto::server::{Form, Message, SendError};
use sio_proto::socket::Args;
use sio_proto::{ByteString, BytesMut, Config};

const ONE: &str = r#"{"_placeholder":true,"num":0}"#;

fn small_queues() -> Config {
    let mut config = Config::default();
    config.max_queued_bytes = 100_000;
    config
}

fn named_often(times: usize, bytes: usize) -> Args {
    Args {
        json: vec![ONE; times].join(",").into(),
        attachments: vec![Bytes::from(vec![b'x'; bytes])],
        ..Default::default()
    }
}

/// Hardening A3: 800 placeholders that name one attachment of 900,000 bytes are malformed, and
/// reach nobody.
#[test]
fn a_number_that_stands_twice_ends_the_session() {
    let mut world = World::new(Config::default());
    let bystander = world.bystander();
    let link = world.join();
    let packet = format!(r#"451-["cast",[{}]]"#, vec![ONE; 800].join(","));
    world.send(link, &text(&packet));
    world.send(link, &binary(&vec![b'x'; 900_000]));
    let events: Vec<String> = world
        .heard()
        .into_iter()
        .filter(|line| line.starts_with("event"))
        .collect();
    assert_eq!(events.join(","), "");
    assert_eq!(world.frames(link), ["close"]);
    assert_eq!(world.sessions(), 1);
    world.assert_works(bystander.0, bystander.1);
}

/// Hardening A3: an attachment that no placeholder names is dropped.
#[test]
fn an_attachment_that_is_not_named_is_dropped() {
    let mut world = World::new(Config::default());
    let link = world.join();
    world.heard();
    world.send(link, &text(&format!(r#"452-["m",{}]"#, ONE)));
    world.send(link, &binary(b"named"));
    world.send(link, &binary(b"not"));
    world.send(link, &text(r#"451-["m",1]"#));
    world.send(link, &binary(b"not"));
    let named = format!(r#"event m {ONE} b"named""#);
    assert_eq!(world.heard(), [&*named, "event m 1"]);
}

/// Hardening A3: the size of arguments that an application has put together itself is checked, too,
/// in every form and before anything is written.
#[test]
fn what_is_too_large_is_not_written_first() {
    let config = small_queues();
    let max = config.max_queued_bytes;
    let forms = [Form::Engine4, Form::Engine3, Form::Legacy09, Form::Plain(0)];
    let text = |length: usize, unit: &str| Args::from(ByteString::from(format!("\"{}\"", unit.repeat(length))));
    for (form, name, args) in [
        (Form::Legacy09, "m", named_often(800, max / 100)),
        (Form::Legacy09, "message", named_often(1, max)),
        (Form::Engine4, "m", named_often(1, max)),
        (Form::Engine3, "m", text(max / 5, "é")),
        (Form::Legacy09, "m", text(max / 5, "\u{2028}")),
        (Form::Plain(0), "m", named_often(1, max)),
        (
            Form::Plain(0),
            "message",
            Args::from(ByteString::from(vec!["1"; max / 8].join(","))),
        ),
    ] {
        let mut buffer = BytesMut::new();
        let mut message = Message::event("/".into(), name.into(), args, None);
        assert_eq!(
            message.encode(form, &config, &mut buffer),
            Err(SendError::TooLarge),
            "{form:?}"
        );
        assert_eq!(buffer.capacity(), 0, "{form:?}: nothing was written");
    }
    for form in forms {
        let mut message = Message::event("/".into(), "m".repeat(max).into(), Args::default(), None);
        assert_eq!(
            message.encode(form, &config, &mut BytesMut::new()),
            Err(SendError::TooLarge),
            "{form:?}"
        );
        // A message that just fits is sent, although its bytes might have grown.
        let mut message = Message::event("/".into(), "m".into(), text(max - 200, "a"), None);
        assert_eq!(message.encode(form, &config, &mut BytesMut::new()), Ok(()), "{form:?}");
    }
}

/// Hardening A3: this also holds for MessagePack, which is written from JSON.
#[cfg(feature = "msgpack")]
#[test]
fn what_is_too_large_for_messagepack_is_not_written_first() {
    let config = small_queues().parser(sio_proto::codec::MessagePack::default());
    let max = config.max_queued_bytes;
    let floats = Args::from(ByteString::from(vec!["1.5"; max / 8].join(",")));
    let small = Args::from(ByteString::from(vec!["1"; max - 100].join(",")));
    for (args, result) in [
        (named_often(800, max / 100), Err(SendError::TooLarge)),
        (floats, Err(SendError::TooLarge)),
        (small, Ok(())),
    ] {
        let mut buffer = BytesMut::new();
        let mut message = Message::event("/".into(), "m".into(), args, None);
        assert_eq!(message.encode(Form::Engine4, &config, &mut buffer), result);
        assert!(result.is_ok() || buffer.capacity() == 0, "nothing was written");
    }
}

/// Hardening A3: a message that fits into no queue ends no connection.
#[test]
fn what_fits_no_queue_is_the_senders_error() {
    let mut world = World::new(small_queues());
    let link = world.join();
    let socket = world.last_socket();
    let old = world.open();
    world.send(old, &upgrade("/socket.io/?EIO=3&transport=websocket"));
    let id = world
        .reply(&get("/socket.io/1/"))
        .text()
        .split(':')
        .next()
        .unwrap()
        .to_string();
    let nine = world.open();
    world.send(nine, &upgrade(&format!("/socket.io/1/websocket/{id}")));
    let six = world.open();
    world.send(six, &upgrade("/socket.io/websocket"));
    assert_eq!(world.sessions(), 4);
    let large = format!("\"{}\"", "x".repeat(100_000));
    assert_eq!(world.emit(socket, "m", &large), Err(SendError::TooLarge));
    world.broadcast(&[], "m", &large);
    assert_eq!(world.sessions(), 4);
    world.broadcast(&[], "m", "1");
    assert_eq!(world.frames(link).last().unwrap(), "42[\"m\",1]");
    assert_eq!(world.frames(old).last().unwrap(), "42[\"m\",1]");
    assert_eq!(world.frames(nine).last().unwrap(), "5:::{\"name\":\"m\",\"args\":[1]}");
    assert_eq!(
        world.frames(six).last().unwrap(),
        "~m~27~m~~j~{\"event\":\"m\",\"args\":[1]}"
    );
}

/// Hardening A3: a queue without a limit takes every message.
#[cfg(feature = "msgpack")]
#[test]
fn no_limit_is_a_limit_too() {
    let mut config = Config::default();
    config.max_queued_bytes = usize::MAX;
    let parser = config.clone().parser(sio_proto::codec::MessagePack::default());
    for config in [&config, &parser] {
        for form in [Form::Engine4, Form::Engine3, Form::Legacy09, Form::Plain(0)] {
            let mut message = Message::event("/".into(), "m".into(), named_often(1, 10), None);
            assert_eq!(message.encode(form, config, &mut BytesMut::new()), Ok(()), "{form:?}");
        }
    }
}
