//! Which requests are let in over a real socket, whose peer's address is known.

use super::http::Connection;
use super::serve;

/// Hardening A13. A page whose host name points to this machine: its `Origin` and `Host` agree, and
/// its GETs have no `Origin`.
#[test]
fn a_page_that_is_rebound_opens_nothing() {
    let served = serve(|io| drop(io.of("/")));
    for (host, origin, opens) in [
        (
            "attacker.example:3000",
            "Origin: http://attacker.example:3000\r\n",
            false,
        ),
        ("attacker.example:3000", "", false),
        ("localhost:3000", "Origin: http://localhost:3000\r\n", true),
        ("localhost:3000", "Origin: http://attacker.example:3000\r\n", false),
        ("localhost:3000", "", true),
    ] {
        for target in [
            "/socket.io/?EIO=4&transport=polling",
            "/socket.io/?EIO=3&transport=polling",
        ] {
            let before = served.io.sessions();
            let mut connection = Connection::open(served.address);
            connection.write(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{origin}\r\n"));
            let (head, body) = connection.response_with_head();
            let status = if opens { "HTTP/1.1 200" } else { "HTTP/1.1 403" };
            assert!(head.starts_with(status), "{host} {origin} {head}");
            assert_eq!(body.contains("Config::"), !opens, "{body}");
            assert_eq!(served.io.sessions() > before, opens, "{host} {origin}");
        }
    }
}
