//! The packets that one turn puts into the answers of polls, and the moments outside of turns.

use super::{Driven, RUNTIME, set_now};
use crate::{Config, Io, Options};

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()
}

/// Hardening B11: a namespace that lets all clients in at once does not connect a client before it
/// has the open packet, unless the config says so.
#[test]
fn the_connect_of_clients_of_1_and_2_comes_with_the_next_poll() {
    for (config, with_open) in [
        (Config::default(), false),
        (Config::default().engine3_connect_at_once(true), true),
    ] {
        let io = Io::new(config, Options::default(), RUNTIME).unwrap();
        io.of("/").on_connect(|socket: crate::Socket| socket.emit("hello", ()));
        let mut client = Driven::new(&io, usize::MAX);
        let _ = client.read(&get("/socket.io/?EIO=3&transport=polling"));
        let open = client.written();
        let id = open.split('"').nth(3).unwrap();
        let connected = "2:4011:42[\"hello\"]";
        assert_eq!(open.ends_with(connected), with_open, "{open}");
        if !with_open {
            assert!(open.ends_with('}'), "{open}");
            let _ = client.read(&get(&format!("/socket.io/?EIO=3&transport=polling&sid={id}")));
            assert!(client.written().ends_with(connected));
        }
    }
}

/// Hardening C8: outside of handlers, too, the second of two volatile emits in a row is dropped. An
/// emit that comes a millisecond later is not dropped.
#[test]
fn the_second_volatile_emit_in_a_row_is_dropped() {
    let io = Io::new(Config::default(), Options::default(), RUNTIME).unwrap();
    let root = io.of("/").on("ticks", |socket: crate::Socket| {
        for number in 10..13 {
            socket.volatile().emit("tick", number);
        }
        socket.emit("end", ())
    });
    let mut client = Driven::connected(&io);
    let mut other = Driven::connected(&io);
    let sockets = root.sockets();
    let tick = |now: u64, number: u64| {
        set_now(now);
        for socket in &sockets {
            socket.volatile().emit("tick", number);
        }
    };
    tick(10_000, 1);
    tick(10_400, 2);
    tick(10_999, 3);
    tick(11_000, 4);
    set_now(11_001);
    io.volatile().emit("all", 1);
    set_now(12_000);
    io.volatile().emit("all", 2);
    io.volatile().emit("all", 3);
    for client in [&mut client, &mut other] {
        let written = client.written();
        let said: Vec<&str> = written
            .split("42")
            .skip(1)
            .map(|said| &said[..said.find(']').unwrap() + 1])
            .collect();
        assert_eq!(said, [r#"["tick",1]"#, r#"["tick",4]"#, r#"["all",2]"#]);
    }
    set_now(20_000);
    let _ = client.read(&super::text(r#"42["ticks"]"#));
    let written = client.written();
    assert!(
        written.contains(r#"["tick",10]"#) && written.contains(r#"["end"]"#),
        "{written}"
    );
    assert!(!written.contains(r#"["tick",11]"#), "{written}");
}
