//! What users of a server do not see: no method of [`Io`] drives the machine, or lets go of what
//! the application has registered. Adapters have `sio_app::adapter::Driver` for that.

use sio_app::{Config, Io, Options};

/// What the methods of the trait below give. A method of `Io` itself with one of these names would
/// be the one that is called, and would give something else: then this file does not compile.
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

#[test]
fn users_see_nothing_that_drives_the_machine() {
    let runtime = sio_app::adapter::Runtime {
        now: || sio_app::adapter::Time::ZERO,
        unix_time: || 0,
        spawn: drop,
        fill: |bytes| bytes.fill(7),
    };
    let io = Io::new(Config::default(), Options::default(), runtime).unwrap();
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
