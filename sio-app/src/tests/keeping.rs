//! Handlers that wait do not keep the buffer that their thread reads into. Handlers that keep their
//! thread are named in the log.

use std::future::{Future, pending};
use std::task::{Context, Waker};

use super::{Driven, server, text};
use crate::host::connection::is_read_buffer_free;
use crate::{Ack, Binary, Data, Io, Raw, RawArgs, Refusal, Socket};

/// Makes a masked binary frame. The mask is zero.
fn binary(bytes: &[u8]) -> Vec<u8> {
    [&[0x82, 0x80 | bytes.len() as u8, 0, 0, 0, 0][..], bytes].concat()
}

fn waiting(io: &Io) {
    io.of("/")
        .on("raw args", |_: Socket, args: RawArgs| async move {
            pending::<()>().await;
            drop(args);
        })
        .on("raw", |_: Socket, args: (String, Raw), ack: Ack| async move {
            pending::<()>().await;
            drop((args, ack));
        })
        .on("binary", |_: Socket, args: Binary| async move {
            pending::<()>().await;
            drop(args);
        })
        .on("data", |_: Socket, args: Data| async move {
            pending::<()>().await;
            drop(args);
        })
        .on("room", |socket: Socket, room: Raw| socket.join(room.json()));
    io.of("/one")
        .one_at_a_time()
        .on("wait", |_: Socket, _: String| pending::<()>());
    io.of_pattern("/asks-*").with(async |_: Socket| {
        pending::<()>().await;
        Ok::<_, Refusal>(())
    });
}

/// Hardening A11.
#[test]
fn what_waits_keeps_no_read_buffer() {
    let event = |packet: &str| text(packet);
    let placeholder = r#"{"_placeholder":true,"num":0}"#;
    let attached = |name: &str| {
        [
            text(&format!(r#"451-["{name}",{placeholder}]"#)),
            binary(b"a few bytes"),
        ]
        .concat()
    };
    let cases = [
        ("all arguments", event(r#"42["raw args",1,"two"]"#)),
        ("one argument", event(r#"421["raw","a",{"b":[1,2]}]"#)),
        ("a text", event(r#"42["data","text"]"#)),
        ("a value", event(r#"42["data",{"x":1}]"#)),
        ("bytes", attached("binary")),
        ("bytes as data", attached("data")),
        ("bytes among all", attached("raw args")),
        (
            "a packet without its attachment",
            event(&format!(r#"451-["raw args",{placeholder}]"#)),
        ),
        (
            "a packet with one of its attachments",
            [
                event(r#"452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#),
                binary(b"a few bytes"),
            ]
            .concat(),
        ),
        ("a room", event(r#"42["room","a name of a room"]"#)),
        ("a CONNECT that is being decided", event(r#"40/asks-1,{"token":"x"}"#)),
        (
            "events whose turn has not come",
            event(r#"42/one,["wait","a"]"#).repeat(3),
        ),
        ("half a frame", event(r#"42["raw",1]"#)[..9].to_vec()),
        ("a fragment", vec![0x01, 0x83, 0, 0, 0, 0, b'4', b'2', b'[']),
    ];
    for (what, bytes) in cases {
        let io = server(1);
        waiting(&io);
        let mut client = Driven::connected(&io);
        let _ = client.read(&text("40/one,"));
        assert!(is_read_buffer_free(), "before {what}");
        let _ = client.read(&bytes);
        assert_eq!(io.sessions(), 1, "{what}");
        assert!(is_read_buffer_free(), "{what}");
    }
    super::drop_tasks();
}

/// Hardening A11.
#[test]
fn a_request_that_waits_for_its_body_keeps_no_read_buffer() {
    let io = server(1);
    for body in ["", "4", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let head = match body.starts_with('T') {
            true => body.to_owned(),
            false => format!("Content-Length: 9\r\n\r\n{body}"),
        };
        let mut client = Driven::new(&io, usize::MAX);
        let _ = client
            .read(format!("POST /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nHost: x\r\n{head}").as_bytes());
        assert!(is_read_buffer_free(), "{body:?}");
    }
}

/// Hardening A11.
#[test]
fn an_answer_that_nobody_awaits_keeps_no_read_buffer() {
    let io = server(1);
    let mut client = Driven::connected(&io);
    let socket = io.sockets().remove(0);
    let mut asked = Box::pin(socket.emit_with_ack::<RawArgs>("ask", ()));
    let _ = client.read(&text(r#"430["an answer"]"#));
    assert!(is_read_buffer_free());
    assert!(asked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
}

/// The events that are named in warnings about slow handlers.
#[derive(Clone, Default)]
struct Named(std::sync::Arc<std::sync::Mutex<Vec<String>>>);

impl tracing::field::Visit for Named {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if matches!(field.name(), "event" | "millis") {
            self.0.lock().unwrap().push(format!("{value:?}"));
        }
    }
}

impl tracing::Subscriber for Named {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Hardening A16.
#[test]
fn a_handler_that_keeps_its_thread_is_named() {
    let named = Named::default();
    tracing::subscriber::with_default(named.clone(), || {
        let io = server(1);
        let takes = |millis: u64| super::set_now(super::now() + millis * 1000);
        io.of("/")
            .on("quick", move || takes(49))
            .on("slow", move || takes(70))
            .on("waits", move |_: Socket| async move {
                takes(60);
                pending::<()>().await;
            });
        io.of("/slow").with(move |_: Socket| {
            takes(80);
            Err::<(), _>("no")
        });
        let mut client = Driven::connected(&io);
        for packet in [
            r#"42["quick"]"#,
            r#"42["slow"]"#,
            r#"42["quick"]"#,
            r#"42["waits"]"#,
            "40/slow,",
        ] {
            let _ = client.read(&text(packet));
        }
    });
    let named = named.0.lock().unwrap();
    assert_eq!(*named, ["\"slow\"", "70", "\"waits\"", "60", "\"middleware\"", "80"]);
    super::drop_tasks();
}
