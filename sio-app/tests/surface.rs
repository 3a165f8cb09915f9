//! Users of a server must not see methods of [`Io`] that drive the state machine or remove the
//! application's handlers. Only adapters have such methods, in `sio_app::adapter::Driver`.

use sio_app::{Config, Emitter, Io, Namespace, Options};

/// The return type of the trait's methods below. If `Io` itself had a method with one of these
/// names, Rust would call it instead, and this file would not compile because of the other return
/// type.
#[derive(Debug, PartialEq)]
struct Absent;

trait NoSuchMethod {
    fn abort(&self) -> Absent {
        Absent
    }
    fn clear(&self) -> Absent {
        Absent
    }
    fn concerns(&self) -> Absent {
        Absent
    }
    fn exchange(&self) -> Absent {
        Absent
    }
    fn finish(&self) -> Absent {
        Absent
    }
    fn handle_timeout(&self) -> Absent {
        Absent
    }
    fn keep_time(&self) -> Absent {
        Absent
    }
    fn sweep(&self) -> Absent {
        Absent
    }
    fn take_up(&self) -> Absent {
        Absent
    }
}

impl NoSuchMethod for Io {}

/// The method that asks for acknowledgements. Handles of many sockets do not have it before a time
/// limit is set.
trait NoQuestion {
    fn emit_with_ack(&self) -> Absent {
        Absent
    }
}

impl NoQuestion for Io {}
impl NoQuestion for Namespace {}
impl NoQuestion for Emitter {}

#[expect(
    clippy::unwrap_used,
    reason = "the lint knows tests by their attribute, and this is their helper"
)]
fn server() -> Io {
    let runtime = sio_app::adapter::Runtime {
        now: || sio_app::adapter::Time::ZERO,
        unix_time: || 0,
        spawn: drop,
        fill: |bytes| bytes.fill(7),
    };
    Io::new(Config::default(), Options::default(), runtime).unwrap()
}

#[test]
fn users_see_nothing_that_drives_the_machine() {
    let io = server();
    let absent = [
        io.abort(),
        io.clear(),
        io.concerns(),
        io.exchange(),
        io.finish(),
        io.handle_timeout(),
        io.keep_time(),
        io.sweep(),
        io.take_up(),
    ];
    assert!(absent.iter().all(|absent| *absent == Absent));
}

/// One of many sockets may never answer. So many sockets are asked only with a time limit.
#[test]
fn many_sockets_are_asked_only_with_a_time_limit() {
    let io = server();
    let absent = [
        io.emit_with_ack(),
        io.of("/").emit_with_ack(),
        io.to("room").emit_with_ack(),
    ];
    assert!(absent.iter().all(|absent| *absent == Absent));
}
