//! Ids that the application makes for its sockets, seen by friends and by thieves.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::adapter::Runtime;
use crate::tests::{Driven, RUNTIME, UPGRADE, once_pending, pass, run_tasks, text};
use crate::{
    Config, EmitError, HandlerError, IdError, Io, Options, RecoveryConfig, RegisterError, Socket, SocketIdError,
};

thread_local!(static DRAWN: Cell<u32> = const { Cell::new(0) });

/// A runtime whose random bytes differ each time.
const DRAWING: Runtime = Runtime {
    fill: |out| {
        DRAWN.set(DRAWN.get() + 1);
        let number = DRAWN.get().to_le_bytes();
        let bytes = number.iter().cycle();
        out.iter_mut().zip(bytes).for_each(|(out, byte)| *out = *byte);
    },
    ..RUNTIME
};

const REFUSED: &str = r#"44{"message":"Internal server error"}"#;

/// A server whose sockets are called as their clients say: a dangerous application.
fn server(options: Options) -> Io {
    let config = Config::default()
        .ping_interval(Duration::from_secs(3600))
        .socket_id_prefix("user:")
        .max_socket_id_bytes(16);
    let io = Io::new(config, options, DRAWING).unwrap();
    io.generate_id(
        |socket| match socket.auth::<BTreeMap<String, String>>()?.remove("name")? {
            name if name == "panic" => panic!("no id today"),
            name => Some(name),
        },
    );
    io.of("/other").create();
    io
}

fn plain() -> Io {
    server(Options::default().shards(4))
}

fn recovering() -> Io {
    let settings = RecoveryConfig::default().window(Duration::from_secs(10));
    server(Options::default().shards(4).recovery(settings))
}

struct Client {
    driven: Driven,
    /// The answer to its CONNECT.
    answer: String,
    /// What was written behind the answer.
    first: Vec<String>,
}

impl Client {
    /// A client that says its name.
    fn new(io: &Io, name: &str) -> Self {
        Self::with(io, &format!(r#"40{{"name":"{name}"}}"#))
    }

    fn with(io: &Io, connect: &str) -> Self {
        let mut driven = Driven::new(io, usize::MAX);
        let _ = driven.read(UPGRADE);
        let _ = driven.written();
        let _ = driven.read(&text(connect));
        let mut first = packets(&driven);
        let answer = first.remove(0);
        Self { driven, answer, first }
    }

    fn heard(&self) -> Vec<String> {
        packets(&self.driven)
    }

    fn field(&self, name: &str) -> String {
        let found = self.answer.split_once(&format!(r#""{name}":""#));
        let (_, behind) = found.unwrap_or_else(|| panic!("{name} in {}", self.answer));
        behind.split('"').next().unwrap().to_owned()
    }

    fn cut(self) {
        drop(self.driven);
        run_tasks();
    }
}

/// Returns the packets in what was written: text frames of less than 126 bytes.
fn packets(driven: &Driven) -> Vec<String> {
    let written = driven.wall.take();
    let (mut rest, mut packets) = (&written[..], Vec::new());
    while let [_, len, behind @ ..] = rest {
        let (payload, behind) = behind.split_at(usize::from(*len));
        packets.push(String::from_utf8_lossy(payload).into_owned());
        rest = behind;
    }
    packets
}

/// Collects the errors that the application is told of.
fn errors(io: &Io) -> Arc<Mutex<Vec<String>>> {
    let told = Arc::<Mutex<Vec<String>>>::default();
    let tell = Arc::clone(&told);
    io.on_error(move |_, event, error| {
        let kind = match error {
            HandlerError::Id(IdError::Taken) => "taken",
            HandlerError::Id(IdError::Invalid(SocketIdError::TooLong(_))) => "too long",
            HandlerError::Id(IdError::Invalid(SocketIdError::Prefix)) => "prefix",
            HandlerError::Id(IdError::Invalid(SocketIdError::Character)) => "character",
            HandlerError::Panicked(_) => "panic",
            _ => "another",
        };
        tell.lock().unwrap().push(format!("{event}: {kind}"));
    });
    told
}

#[test]
fn a_socket_is_called_and_found_by_the_id_that_the_application_has_made() {
    let io = plain();
    let (ann, bob) = (Client::new(&io, "user:ann"), Client::new(&io, "user:bob"));
    let drawn = Client::with(&io, "40");
    assert_eq!(ann.answer, r#"40{"sid":"user:ann"}"#);
    assert_eq!(drawn.field("sid").len(), 20, "the function has left it the drawn id");
    let socket = io.socket("user:ann").unwrap();
    assert_eq!(
        (socket.id().as_str(), socket.wire_id().reveal()),
        ("user:ann", "user:ann")
    );
    assert_eq!(socket.rooms(), ["user:ann"]);
    assert_eq!(io.of("/").room_len("user:ann"), 1);
    io.to("user:ann").emit("psst", ());
    io.of("/other").to("user:ann").emit("psst", "in another namespace");
    io.except("user:ann").emit("others", ());
    assert_eq!(ann.heard(), [r#"42["psst"]"#]);
    assert_eq!(bob.heard(), [r#"42["others"]"#]);
    // Nobody leaves the room of its own id, and nobody sees this room.
    socket.join("lobby").unwrap();
    socket.join("user:ann").unwrap();
    socket.leave("user:ann");
    io.except("nobody").leave("user:ann");
    assert_eq!(io.of("/").rooms().keys().collect::<Vec<_>>(), ["lobby"]);
    io.to("user:ann").emit("still", ());
    assert_eq!(ann.heard(), [r#"42["still"]"#]);
    ann.cut();
    assert!(io.socket("user:ann").is_none());
    assert_eq!(io.0.shards.recovery.ids.len(), 1, "only the other one is left");
    drop((bob, drawn));
}

/// Hardening A4. A client that may choose its name, and the names of its rooms, gets nothing of
/// another's id by it.
#[test]
fn a_thief_can_neither_take_nor_squat_nor_probe_an_id() {
    let io = plain();
    let told = errors(&io);
    let thief = Client::with(&io, "40");
    let its = io.sockets().remove(0);
    // Before there is a socket of this name, while there is one, and when it has gone.
    let tries = || {
        let joined = ["user:ann", "user:nobody", "user:"].map(|room| its.join(room));
        assert!(
            joined
                .iter()
                .all(|joined| matches!(joined, Err(EmitError::ReservedRoom))),
            "{joined:?}"
        );
        io.to("user:ann").emit("psst", ());
        assert_eq!(thief.heard(), [""; 0]);
        io.of("/").room_len("user:ann")
    };
    assert_eq!(tries(), 0);
    let ann = Client::new(&io, "user:ann");
    assert_eq!(tries(), 1);
    assert_eq!(ann.heard(), [r#"42["psst"]"#]);
    // All refusals look the same.
    for name in ["user:ann", "user:a\\\\b", "ann", "user:", "user:12345678901x", "panic"] {
        assert_eq!(Client::new(&io, name).answer, REFUSED, "{name}");
    }
    let kinds = ["taken", "character", "prefix", "prefix", "too long", "panic"];
    assert_eq!(*told.lock().unwrap(), kinds.map(|kind| format!("generate_id: {kind}")));
    assert_eq!(
        io.socket("user:ann").map(|socket| socket.id().to_string()).as_deref(),
        Some("user:ann")
    );
    ann.cut();
    assert_eq!(tries(), 0);
    assert_eq!(
        Client::new(&io, "user:ann").answer,
        r#"40{"sid":"user:ann"}"#,
        "it is free again"
    );
}

#[test]
fn a_client_that_a_middleware_refuses_takes_nobodys_id() {
    let io = plain();
    let seen = Arc::<Mutex<Vec<usize>>>::default();
    let see = Arc::clone(&seen);
    io.of("/").with(move |socket: Socket| {
        let mut seen = see.lock().unwrap();
        seen.push(socket.id().len());
        if seen.len() == 1 { Err("nobody yet") } else { Ok(()) }
    });
    let first = Client::new(&io, "user:ann");
    assert_eq!(first.answer, r#"44{"message":"nobody yet"}"#);
    let second = Client::new(&io, "user:ann");
    assert_eq!(second.answer, r#"40{"sid":"user:ann"}"#);
    assert_eq!(*seen.lock().unwrap(), [20, 20], "a middleware sees a drawn id");
}

#[test]
fn one_client_may_have_its_id_in_several_namespaces() {
    let io = plain();
    let mut client = Client::with(&io, r#"40/other,{"name":"user:ann"}"#);
    assert_eq!(client.answer, r#"40/other,{"sid":"user:ann"}"#);
    assert_eq!(io.socket("user:ann").unwrap().namespace(), "/other");
    let _ = client.driven.read(&text(r#"40{"name":"user:ann"}"#));
    assert_eq!(client.heard(), [r#"40{"sid":"user:ann"}"#]);
    assert_eq!(io.socket("user:ann").unwrap().namespace(), "/");
    io.of("/other").to("user:ann").emit("there", ());
    assert_eq!(client.heard(), [r#"42/other,["there"]"#]);
}

#[test]
fn a_recovered_socket_keeps_its_id_and_its_messages_find_it() {
    let io = recovering();
    let told = errors(&io);
    let ann = Client::new(&io, "user:ann");
    let pid = ann.field("pid");
    ann.cut();
    // Its id belongs to it while it is waited for.
    assert_eq!(Client::new(&io, "user:ann").answer, REFUSED);
    assert_eq!(*told.lock().unwrap(), ["generate_id: taken"]);
    assert!(io.socket("user:ann").is_none());
    io.to("user:ann").emit("missed", ());
    io.to("user:bob").emit("nobody", ());
    let ann = Client::with(&io, &format!(r#"40{{"pid":"{pid}"}}"#));
    assert_eq!((ann.field("sid").as_str(), ann.field("pid")), ("user:ann", pid.clone()));
    assert!(
        ann.first[0].starts_with(r#"42["missed","#) && ann.first.len() == 1,
        "{:?}",
        ann.first
    );
    let socket = io.socket("user:ann").unwrap();
    assert!(socket.recovered());
    assert_eq!(socket.rooms(), ["user:ann"]);
    io.to("user:ann").emit("live", ());
    assert!(ann.heard()[0].starts_with(r#"42["live","#));
    // Once more, and then its time is over.
    ann.cut();
    let ann = Client::with(&io, &format!(r#"40{{"pid":"{pid}"}}"#));
    assert_eq!(ann.field("sid"), "user:ann");
    ann.cut();
    pass(&io, 11_000);
    assert_eq!((io.recoverable(), io.0.shards.recovery.ids.len()), (0, 0));
    // A client that cannot be recovered is asked for a new id.
    let late = Client::with(&io, &format!(r#"40{{"pid":"{pid}"}}"#));
    assert_eq!(late.field("sid").len(), 20, "its auth is no name");
    let other = Client::new(&io, "user:ann");
    assert_eq!(other.field("sid"), "user:ann");
}

#[test]
fn a_client_that_loses_its_record_while_a_middleware_waits_gets_a_new_id() {
    let io = recovering();
    let ann = Client::new(&io, "user:ann");
    let show = format!(r#"40{{"pid":"{}"}}"#, ann.field("pid"));
    ann.cut();
    let waits = Arc::new(AtomicBool::new(true));
    let hold = Arc::clone(&waits);
    io.of("/").with(move |_: Socket| {
        let waits = hold.swap(false, Ordering::Relaxed);
        async move {
            if waits {
                once_pending().await;
            }
            Ok::<(), &str>(())
        }
    });
    io.generate_id(|_| Some("user:late".to_owned()));
    let mut slow = Driven::new(&io, usize::MAX);
    let _ = slow.read(UPGRADE);
    let _ = slow.written();
    let _ = slow.read(&text(&show));
    assert_eq!(packets(&slow), [""; 0]);
    // Another connection of the client is faster, and says goodbye. So the record is closed.
    let mut fast = Client::with(&io, &show);
    assert_eq!(fast.field("sid"), "user:ann");
    let _ = fast.driven.read(&text("41"));
    run_tasks();
    let answer = packets(&slow).remove(0);
    assert!(answer.starts_with(r#"40{"sid":"user:late","pid":""#), "{answer}");
    let socket = io.socket("user:late").unwrap();
    assert!(!socket.recovered() && io.socket("user:ann").is_none());
}

#[test]
fn a_goodbye_frees_the_id_of_a_socket_with_a_record() {
    let io = recovering();
    let mut ann = Client::new(&io, "user:ann");
    let _ = ann.driven.read(&text("41"));
    assert_eq!((io.recoverable(), io.0.shards.recovery.ids.len()), (0, 0));
    let again = Client::new(&io, "user:ann");
    assert_eq!(again.field("sid"), "user:ann");
}

#[test]
fn ids_without_a_prefix_are_a_mistake() {
    let io = Io::new(Config::default(), Options::default(), DRAWING).unwrap();
    io.generate_id(|_| Some("user:ann".to_owned()));
    assert_eq!(io.check(), Err(RegisterError::NoSocketIdPrefix));
    assert_eq!(Client::new(&io, "user:ann").field("sid").len(), 20);
}
