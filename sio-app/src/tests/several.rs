//! Several handlers of one event, handlers of one socket, and functions that are called for every
//! event.

use std::sync::{Arc, Mutex};

use super::{Driven, once_pending, run_tasks, server, text};
use crate::{Ack, Io, RawArgs, RegisterError, Socket};

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// API: several listeners of one name.
#[test]
fn handlers_of_one_event_run_in_order_and_the_first_answer_counts() {
    let (io, log) = (server(1), Log::default());
    let (first, second, third) = (log.clone(), log.clone(), log.clone());
    io.of("/")
        .on("x", move |n: u32| first.add(format!("first {n}")))
        .on("x", move |_: Socket, n: u32, ack: Ack| {
            second.add(format!("second {n}"));
            ack.send("second");
        })
        .on("x", move |n: u32| {
            third.add(format!("third {n}"));
            Ok::<_, &str>("third")
        });
    let mut client = Driven::connected(&io);
    let written = client.says(r#"421["x",5]"#);
    assert!(written.ends_with(r#"431["second"]"#), "{written}");
    assert!(!written.contains("third"));
    assert_eq!(log.take(), ["first 5", "second 5", "third 5"]);
    // One handler may read arguments that another cannot read.
    io.of("/two")
        .on("x", |_: Socket, _: String| ())
        .on("x", |n: u32| Ok::<_, &str>(n));
    io.on_error(|_, _, _| ());
    let _ = client.says("40/two,");
    assert!(
        client
            .says(r#"42/two,1["x",1]"#)
            .ends_with(r#"43/two,1[{"error":"arguments do not fit"}]"#)
    );
}

/// API: several listeners of one name, where handlers run one at a time.
#[test]
fn one_at_a_time_holds_for_several_handlers_too() {
    let (io, log) = (server(1), Log::default());
    let (first, second, third) = (log.clone(), log.clone(), log.clone());
    io.of("/")
        .one_at_a_time()
        .on("x", move |n: u32| {
            let log = first.clone();
            async move {
                log.add(format!("begins {n}"));
                once_pending().await;
                log.add(format!("ends {n}"));
            }
        })
        .on("x", move |n: u32| {
            let log = second.clone();
            async move {
                once_pending().await;
                log.add(format!("second {n}"));
            }
        })
        .on("x", move |n: u32| third.add(format!("third {n}")));
    let mut client = Driven::connected(&io);
    let _ = client.read(&text(r#"42["x",1]"#));
    let _ = client.read(&text(r#"42["x",2]"#));
    assert_eq!(log.take(), ["begins 1"]);
    while run_tasks() > 0 {}
    assert_eq!(
        log.take(),
        [
            "begins 1", "ends 1", "second 1", "third 1", "begins 2", "ends 2", "second 2", "third 2"
        ][1..]
    );
}

/// API: `socket.on`, `once`, `off` per socket; removing handlers.
#[test]
fn a_socket_has_handlers_of_its_own() {
    let (io, log) = (server(1), Log::default());
    let of_all = log.clone();
    io.of("/").on("x", move |_: Socket| of_all.add("namespace"));
    let mut client = Driven::connected(&io);
    let mut other = Driven::connected(&io);
    let socket = io.sockets().remove(0);
    let add = |name: &'static str| {
        let log = log.clone();
        move || log.add(name)
    };
    let on = socket.on("x", add("on")).unwrap();
    socket.once("x", add("once")).unwrap();
    socket.on("own", add("own")).unwrap();
    let _ = client.says(r#"42["x"]"#);
    assert_eq!(log.take(), ["namespace", "on", "once"]);
    let _ = client.says(r#"42["x"]"#);
    assert_eq!(log.take(), ["namespace", "on"]);
    socket.remove_handler(on);
    let _ = client.says(r#"42["own"]"#);
    let _ = client.says(r#"42["x"]"#);
    assert_eq!(log.take(), ["own", "namespace"]);
    socket.off("own");
    let _ = client.says(r#"42["own"]"#);
    let _ = other.says(r#"42["own"]"#);
    let _ = other.says(r#"42["x"]"#);
    assert_eq!(log.take(), ["namespace"]);
    socket.once("answer", || Ok::<_, &str>("once")).unwrap();
    assert!(client.says(r#"421["answer"]"#).ends_with(r#"431["once"]"#));
    assert_eq!(client.says(r#"422["answer"]"#), "");
}

/// API: per-socket handlers are bounded, and end with the socket.
#[test]
fn handlers_of_a_socket_are_bounded() {
    let options = crate::Options::default().shards(1).max_handlers_per_socket(2);
    let io = Io::new(crate::Config::default(), options, super::RUNTIME).unwrap();
    let client = Driven::connected(&io);
    let socket = io.sockets().remove(0);
    let first = socket.on("a", || ()).unwrap();
    socket.once("b", || ()).unwrap();
    assert_eq!(socket.on("c", || ()), Err(RegisterError::TooMany));
    socket.remove_handler(first);
    socket.on("c", || ()).unwrap();
    assert_eq!(socket.on(&"c".repeat(257), || ()), Err(RegisterError::NameTooLong));
    drop(client);
    run_tasks();
    assert_eq!(socket.on("d", || ()), Err(RegisterError::Disconnected));
}

/// API: `onAny`, `prependAny`, `offAny`; `off`.
#[test]
fn several_see_every_event() {
    let (io, log) = (server(1), Log::default());
    let add = |name: &'static str| {
        let log = log.clone();
        move |_: &Socket, event: &str, args: &RawArgs| log.add(format!("{name} {event} {}", args.json()))
    };
    let handled = log.clone();
    io.of("/")
        .on_any(add("one"))
        .on_any(add("two"))
        .prepend_any(add("zero"))
        .on("x", move || handled.add("x"));
    let mut client = Driven::connected(&io);
    let _ = client.says(r#"42["x",1]"#);
    assert_eq!(log.take(), ["zero x 1", "one x 1", "two x 1", "x"]);
    io.of("/").off_any().off("x").on_any(add("last"));
    let _ = client.says(r#"42["y"]"#);
    assert_eq!(log.take().len(), 3, "sockets keep what they began with");
    let mut later = Driven::connected(&io);
    let _ = later.says(r#"42["x"]"#);
    assert_eq!(log.take(), ["last x "]);
}

/// API: `onAnyOutgoing` and its family.
#[test]
fn what_is_sent_can_be_seen() {
    let (io, log) = (server(2), Log::default());
    let add = |name: &'static str, io: Option<Io>| {
        let log = log.clone();
        move |to: Option<&Socket>, event: &str, args: &RawArgs| {
            log.add(format!("{name} {} {event} {}", to.is_some(), args.json()));
            // The function is not called for events that it sends itself.
            if let Some(io) = &io {
                io.emit("seen", ());
            }
        }
    };
    io.of("/")
        .on_any_outgoing(add("one", Some(io.clone())))
        .prepend_any_outgoing(add("zero", None));
    io.of_pattern("/p-*").on_any_outgoing(add("pattern", None));
    let mut clients = [Driven::connected(&io), Driven::connected(&io)];
    io.emit("news", (1, 2));
    assert_eq!(log.take(), ["zero false news 1,2", "one false news 1,2"]);
    for client in &mut clients {
        let written = client.written();
        assert!(
            written.contains(r#"42["seen"]"#) && written.ends_with(r#"42["news",1,2]"#),
            "{written}"
        );
    }
    io.sockets()[0].emit("you", "x").unwrap();
    drop(io.sockets()[0].emit_with_ack::<()>("asked", ()));
    assert_eq!(
        log.take(),
        [
            "zero true you \"x\"",
            "one true you \"x\"",
            "zero true asked ",
            "one true asked "
        ]
    );
    let _ = clients[0].says("40/p-1,");
    io.of("/p-1").emit("named", 1);
    io.of_pattern("/other").emit("nobody", 1);
    assert_eq!(log.take(), ["pattern false named 1"]);
    io.of("/").off_any_outgoing();
    io.emit("unseen", ());
    assert_eq!(log.take(), [""; 0]);
}

/// If a function that is called for sent events panics, the event is sent nevertheless, and the
/// panic is reported.
#[test]
fn a_panic_of_what_sees_sent_events_is_told() {
    let (io, log) = (server(1), Log::default());
    let told = log.clone();
    io.on_error(move |socket, event, error| told.add(format!("{} {event}: {error}", socket.is_some())));
    io.of("/").on_any_outgoing(|_, event, _| panic!("seen {event}"));
    let mut client = Driven::connected(&io);
    io.emit("all", 1);
    io.sockets()[0].emit("one", 2).unwrap();
    let written = client.written();
    assert!(
        written.contains(r#"42["all",1]"#) && written.ends_with(r#"42["one",2]"#),
        "{written}"
    );
    assert_eq!(
        log.take(),
        ["false all: panicked: seen all", "true one: panicked: seen one"]
    );
}

/// API: several connect handlers, and several of the end.
#[test]
fn connections_may_have_several_handlers() {
    let (io, log) = (server(1), Log::default());
    let add = |name: &'static str| {
        let log = log.clone();
        move |socket: Socket| log.add(format!("{name} {}", socket.rooms().len()))
    };
    io.of("/")
        .on_connect(|socket: Socket| socket.join("a"))
        .on_connect(add("connect"))
        .on_disconnecting(add("disconnecting"))
        .on_disconnecting(add("disconnecting too"))
        .on_disconnect(add("disconnect"))
        .on_disconnect(add("disconnect too"));
    drop(Driven::connected(&io));
    run_tasks();
    assert_eq!(
        log.take(),
        [
            "connect 2",
            "disconnecting 2",
            "disconnecting too 2",
            "disconnect 0",
            "disconnect too 0"
        ]
    );
}
