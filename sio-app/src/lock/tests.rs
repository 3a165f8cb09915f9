use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use sio_proto::codec::{Messages, PacketError, PacketParser, Parsed};
use sio_proto::http::Method;
use sio_proto::socket::text::{Decoded, Encoder, Limits, decode};
use sio_proto::socket::{Packet, Revision, Role};

use super::*;
use crate::adapter::Driver;
use crate::adapter::Exchanged;
use crate::tests::{Driven, RUNTIME, head, run_tasks, set_now, text};
use crate::{Ack, Config, EngineMessage, EngineSocket, HttpResponse, Io, Options, Peer, RegisterError, Socket};

/// A value that takes every lock when it is dropped, and when it is woken.
struct Probe {
    io: Io,
    dropped: Arc<AtomicUsize>,
}

impl Probe {
    fn stays(&self) {}

    fn come_back(&self) {
        assert_none_held();
        self.io.emit("probe", 1);
        self.io.of_pattern("/probe-*").create().emit("probe", 2);
        self.io.sockets().into_iter().for_each(|socket| drop(socket.rooms()));
        self.io.to("nobody").disconnect();
        self.io.on_request(|_| HttpResponse::new(404));
        assert!(self.io.connections() + self.io.sessions() < 100);
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.come_back();
        self.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wake for Probe {
    fn wake(self: Arc<Self>) {
        self.come_back();
    }
}

/// Runs a scenario on its own thread: a thread that waits for a lock that it holds itself would
/// hang for ever.
fn watched(what: &'static str, probes: usize, scenario: impl FnOnce(&Io, &dyn Fn() -> Probe) + Send + 'static) {
    watched_with(Config::default(), what, probes, scenario);
}

/// Runs a scenario as [`watched`] does, with a server of these settings.
#[expect(
    clippy::disallowed_methods,
    reason = "a scenario that hangs must not take the test with it"
)]
fn watched_with(
    config: Config,
    what: &'static str,
    probes: usize,
    scenario: impl FnOnce(&Io, &dyn Fn() -> Probe) + Send + 'static,
) {
    let (done, ends) = mpsc::channel();
    std::thread::spawn(move || {
        let io = Io::new(config, Options::default().shards(1), RUNTIME).unwrap();
        let dropped = Arc::new(AtomicUsize::new(0));
        let probe = || Probe {
            io: io.clone(),
            dropped: Arc::clone(&dropped),
        };
        scenario(&io, &probe);
        run_tasks();
        let _ = done.send(dropped.load(Ordering::SeqCst));
    });
    match ends.recv_timeout(Duration::from_secs(10)) {
        Ok(dropped) => assert_eq!(dropped, probes, "{what}"),
        Err(error) => panic!("{what}: {error}"),
    }
}

/// Sends a request with a probe, and returns the status of its answer.
fn ask(io: &Io, target: &str, probe: Probe) -> u16 {
    let request = head(Method::Get, target, &[("host", "x")]);
    let Exchanged::Ours(mut exchange) = Driver::new(io).exchange(request, Peer::default(), || Some(Arc::new(probe)))
    else {
        panic!("it is ours");
    };
    exchange.body(Ok(bytes::Bytes::new()));
    match exchange.poll_answer(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(crate::adapter::Answer::Response(response)) => response.status,
        other => panic!("{other:?}"),
    }
}

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// Hardening A9.
#[test]
fn an_extension_of_a_request_may_come_back() {
    watched("a bad request", 1, |io, probe| {
        assert_eq!(ask(io, "/socket.io/?EIO=4&transport=none", probe()), 400);
    });
    watched("a refused request", 1, |io, probe| {
        io.allow_request(|_| Err("no".into()));
        assert_eq!(ask(io, POLLING, probe()), 403);
    });
    watched("a session that times out", 1, |io, probe| {
        assert_eq!(ask(io, POLLING, probe()), 200);
        while let Some(next) = Driver::new(io).handle_timeout(0, Waker::noop()) {
            set_now(next.as_micros());
        }
        assert_eq!(io.sessions(), 0);
    });
    watched("a session that is aborted with its server", 1, |io, probe| {
        assert_eq!(ask(io, POLLING, probe()), 200);
        io.close();
        while let Some(next) = Driver::new(io).handle_timeout(0, Waker::noop()) {
            set_now(next.as_micros());
        }
        Driver::new(io).clear();
    });
}

/// Hardening A9.
#[test]
fn what_is_kept_with_a_socket_may_come_back() {
    watched("data of a socket that goes", 2, |io, probe| {
        let mut client = Driven::connected(io);
        let socket = io.sockets().remove(0);
        socket.set_data(probe());
        socket.set_data(probe());
        drop(socket);
        let _ = client.read(&text("41"));
    });
    watched("data of a socket that is refused", 1, |io, probe| {
        let given = Mutex::new(Some(probe()));
        io.of("/no").with(move |socket: Socket| {
            let given = given.lock().take();
            given.into_iter().for_each(|probe| socket.set_data(probe));
            Err::<(), _>("no")
        });
        let mut client = Driven::connected(io);
        let _ = client.read(&text("40/no,"));
        drop(client);
    });
    watched("data of a socket that goes while its handler waits", 1, |io, probe| {
        io.of("/").one_at_a_time().on("wait", crate::tests::once_pending);
        let mut client = Driven::connected(io);
        let _ = client.read(&text(r#"42["wait"]"#));
        io.sockets()[0].set_data(probe());
        drop(client);
        while run_tasks() > 0 {}
    });
    watched("data of sockets that a server lets go of", 1, |io, probe| {
        let _client = Driven::connected(io);
        io.sockets()[0].set_data(probe());
        Driver::new(io).clear();
    });
}

/// Hardening A9.
#[test]
fn what_handlers_capture_may_come_back() {
    watched("handlers that are taken away or replaced", 7, |io, probe| {
        let (event, any, outgoing, told) = (probe(), probe(), probe(), probe());
        let (request, error, allow) = (probe(), probe(), probe());
        io.of("/x")
            .on("event", move |_: Socket| event.stays())
            .on_any(move |_, _, _| any.stays())
            .on_any_outgoing(move |_, _, _| outgoing.stays())
            .on_error(move |_, _, _| told.stays());
        io.of("/x")
            .off("event")
            .off_any()
            .off_any_outgoing()
            .on_error(|_, _, _| ());
        io.on_request(move |_| {
            request.stays();
            HttpResponse::new(404)
        });
        io.on_request(|_| HttpResponse::new(404));
        io.on_error(move |_, _, _| error.stays());
        io.on_error(|_, _, _| ());
        io.allow_request(move |_| {
            allow.stays();
            Ok(())
        });
        io.allow_request(|_| Ok(()));
    });
    watched("handlers of one socket", 5, |io, probe| {
        let client = Driven::connected(io);
        let socket = io.sockets().remove(0);
        let give = |event: &str| {
            let (held, ring) = (probe(), socket.clone());
            socket.on(event, move || {
                held.stays();
                drop(ring.clone());
            })
        };
        let first = give("first").unwrap();
        give("second").unwrap();
        give("third").unwrap();
        socket.remove_handler(first);
        socket.off("second");
        assert!(give(&"x".repeat(257)).is_err(), "what is refused is dropped as well");
        drop(client);
        run_tasks();
        assert_eq!(give("late"), Err(RegisterError::Disconnected));
    });
    watched("handlers of sockets that a server lets go of", 1, |io, probe| {
        let _client = Driven::connected(io);
        let (held, ring) = (probe(), io.sockets().remove(0));
        let given = ring.clone().on("x", move || {
            held.stays();
            drop(ring.clone());
        });
        given.unwrap();
        Driver::new(io).clear();
    });
    watched(
        "handlers, rules, state and hooks of a server that is over",
        5,
        |io, probe| {
            let (event, middleware, rule, engine) = (probe(), probe(), probe(), probe());
            io.state(Arc::new(probe()));
            io.of("/x")
                .on("event", move |_: Socket| event.stays())
                .with(move |_: Socket| {
                    middleware.stays();
                    Ok::<_, &str>(())
                });
            io.of_fn(move |_, _| {
                rule.stays();
                false
            });
            io.on_engine(move |_: &EngineSocket, _: EngineMessage| engine.stays());
            Driver::new(io).clear();
        },
    );
    watched("a handler's future", 1, |io, probe| {
        let given = Mutex::new(Some(probe()));
        io.of("/").on("wait", move |_: Socket| {
            let probe = given.lock().take();
            async move {
                crate::tests::once_pending().await;
                drop(probe);
            }
        });
        let mut client = Driven::connected(io);
        let _ = client.read(&text(r#"42["wait"]"#));
        while run_tasks() > 0 {}
        drop(client);
    });
}

/// Hardening A9.
#[test]
fn wakers_may_come_back() {
    let poll = |future: &mut (dyn Future<Output = bool> + Unpin), probe: Probe| {
        let waker = Waker::from(Arc::new(probe));
        std::pin::Pin::new(future).poll(&mut Context::from_waker(&waker))
    };
    watched("an acknowledgement that comes", 3, move |io, probe| {
        let mut client = Driven::connected(io);
        let socket = io.sockets().remove(0);
        let mut asked = pin!(async { socket.emit_with_ack::<u8>("ask", ()).await.is_ok() });
        assert!(poll(&mut asked, probe()).is_pending());
        assert!(poll(&mut asked, probe()).is_pending());
        let _ = client.read(&text("430[7]"));
        assert_eq!(poll(&mut asked, probe()), Poll::Ready(true));
    });
    watched(
        "an acknowledgement that is not awaited any more",
        1,
        move |io, probe| {
            let _client = Driven::connected(io);
            let socket = io.sockets().remove(0);
            let mut asked = Box::pin(async { socket.emit_with_ack::<u8>("ask", ()).await.is_ok() });
            assert!(poll(&mut asked, probe()).is_pending());
            drop(asked);
        },
    );
    watched("a sleep that ends, and one that is dropped", 5, move |io, probe| {
        let mut ends = Box::pin(async {
            io.sleep(Duration::from_secs(1)).await;
            true
        });
        let mut dropped = Box::pin(async {
            io.sleep(Duration::from_secs(9)).await;
            true
        });
        assert!(poll(&mut ends, probe()).is_pending());
        assert!(poll(&mut ends, probe()).is_pending());
        assert!(poll(&mut dropped, probe()).is_pending());
        let timer = Waker::from(Arc::new(probe()));
        Driver::new(io).handle_timeout(0, &timer);
        set_now(crate::tests::now() + 1_000_000);
        Driver::new(io).handle_timeout(0, Waker::noop());
        drop((dropped, timer));
        assert_eq!(poll(&mut ends, probe()), Poll::Ready(true));
    });
}

/// A subscriber that sends its lines to clients.
struct Shown(Io);

impl tracing::Subscriber for Shown {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        assert_none_held();
        self.0.emit("log", event.metadata().name());
        assert!(self.0.sessions() < 100);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Hardening A9.
#[test]
fn the_log_may_be_shown_to_clients() {
    watched("a log", 1, |io, probe| {
        tracing::subscriber::with_default(Shown(io.clone()), || {
            io.of("/").one_at_a_time().on("wait", std::future::pending::<()>);
            io.of("/no").with(|_: Socket| Err::<(), _>("no"));
            let mut client = Driven::connected(io);
            let _ = client.read(&text("40/no,"));
            assert_eq!(ask(io, "/socket.io/?EIO=4&transport=none", probe()), 400);
            let _ = client.read(&text(r#"42["wait"]"#).repeat(5_000));
            drop(client);
            assert_eq!(io.sessions(), 0);
        });
    });
}

thread_local! {
    /// The probe that takes every lock when something of this thread's test is read or written.
    static COMES_BACK: std::cell::RefCell<Option<Probe>> = const { std::cell::RefCell::new(None) };
    /// How often the probe has taken the locks.
    static TIMES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Takes every lock, but only once: the probe itself sends something that is read and written.
fn come_back_once() {
    if let Some(probe) = COMES_BACK.take() {
        probe.come_back();
        TIMES.set(TIMES.get() + 1);
        COMES_BACK.set(Some(probe));
    }
}

/// A number that takes every lock when it is deserialized.
struct Coming;

impl<'de> serde::Deserialize<'de> for Coming {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer)?;
        come_back_once();
        Ok(Self)
    }
}

/// Hardening A9.
#[test]
fn what_reads_arguments_may_come_back() {
    watched("arguments, acknowledgements and auth", 1, |io, probe| {
        COMES_BACK.set(Some(probe()));
        io.of("/")
            .on("number", |_: Socket, _: Coming| ())
            .on("answer", |_: Socket, (_, _): (Coming, Coming), ack: Ack| ack.send(1));
        io.of("/auth").with(|socket: Socket| {
            let auth = socket.auth::<std::collections::BTreeMap<String, Coming>>();
            auth.map(|_| ()).ok_or("no auth")
        });
        let mut client = Driven::connected(io);
        let _ = client.read(&text(r#"42["number",1]"#));
        assert_eq!(TIMES.get(), 1);
        let _ = client.read(&text(r#"427["answer",1,2]"#));
        assert_eq!(TIMES.get(), 3);
        let _ = client.read(&text(r#"40/auth,{"a":1}"#));
        assert_eq!(TIMES.get(), 4);
        let socket = io.of("/").sockets().remove(0);
        let mut asked = pin!(async { socket.emit_with_ack::<Coming>("ask", ()).await.is_ok() });
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(asked.as_mut().poll(cx).is_pending());
        let _ = client.read(&text("430[7]"));
        assert_eq!(asked.as_mut().poll(cx), Poll::Ready(true));
        assert_eq!(TIMES.get(), 5);
        drop(COMES_BACK.take());
    });
}

/// The standard parser, which takes every lock for each event that it reads and writes.
#[derive(Debug)]
struct ComingParser;

impl PacketParser for ComingParser {
    fn encode(&self, packet: &Packet, messages: &mut Messages<'_>) -> Result<(), PacketError> {
        if matches!(packet, Packet::Event { .. }) {
            come_back_once();
        }
        let mut text = bytes::BytesMut::new();
        Encoder::new(Revision::Five).packet(&mut text, packet);
        messages.text(std::str::from_utf8(&text).unwrap())
    }

    fn decode(&self, message: EngineMessage, limits: &Limits) -> Result<Parsed, PacketError> {
        come_back_once();
        let EngineMessage::Text(text) = message else {
            return Err(PacketError::WrongKind);
        };
        match decode(&text, Revision::Five, Role::Server, limits)? {
            Decoded::Packet(packet) => Ok(Parsed::Packet(packet)),
            Decoded::Partial(_) | Decoded::Nothing => Ok(Parsed::Nothing),
        }
    }
}

/// Hardening A9.
#[test]
fn what_reads_and_writes_packets_may_come_back() {
    let mut config = Config::default();
    config.parser = Some(Arc::new(ComingParser));
    watched_with(config, "a parser", 1, |io, probe| {
        io.of("/").on("echo", |socket: Socket, x: u8| socket.emit("echo", x));
        let mut client = Driven::connected(io);
        COMES_BACK.set(Some(probe()));
        let _ = client.read(&text(r#"42["echo",1]"#));
        assert_eq!(TIMES.get(), 2, "read and written");
        io.emit("all", 1);
        assert_eq!(TIMES.get(), 3);
        let mut other = Driven::new(io, usize::MAX);
        let _ = other.read(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n");
        let heard = other.written();
        let sid = heard
            .split_once("\"sid\":\"")
            .unwrap()
            .1
            .split('"')
            .next()
            .unwrap()
            .to_owned();
        let post = format!(
            "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n40"
        );
        let _ = other.read(post.as_bytes());
        assert_eq!(TIMES.get(), 4);
        assert_eq!(io.of("/").sockets().len(), 2);
        drop(COMES_BACK.take());
    });
}
