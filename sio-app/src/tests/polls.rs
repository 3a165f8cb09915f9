//! What one turn puts into the answers of polls.

use super::{Driven, RUNTIME};
use crate::{Config, Io, Options};

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()
}

/// Hardening B11: a namespace that lets everybody in at once is not connected before the client has the open packet, unless so configured.
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
        let (_, id) = open.split_once("\"sid\":\"").unwrap();
        let connected = "2:4011:42[\"hello\"]";
        assert_eq!(open.ends_with(connected), with_open, "{open}");
        if !with_open {
            assert!(open.ends_with('}'), "{open}");
            let _ = client.read(&get(&format!("/socket.io/?EIO=3&transport=polling&sid={}", &id[..20])));
            assert!(client.written().ends_with(connected));
        }
    }
}
