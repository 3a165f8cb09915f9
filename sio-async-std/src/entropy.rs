//! The one place that draws random bytes.

use sio_app::adapter::fill_from_stock;

/// Fills `out` with random bytes of the operating system.
///
/// # Panics
/// If the operating system gives no random bytes. The server cannot go on safely without them,
/// because a session id is a secret: whoever has it controls the session.
pub(crate) fn fill(out: &mut [u8]) {
    fill_from_stock(out, |bytes| {
        getrandom::fill(bytes).expect("the operating system gives random bytes")
    });
}
