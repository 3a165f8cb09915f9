//! Something under way for a socket. While a guest exists, a shutdown does not let the socket's
//! session leave.

use std::sync::Arc;

use crate::turn;
use crate::turn::socket::SocketCell;

/// Something under way for a socket.
pub(crate) struct Guest {
    socket: Arc<SocketCell>,
    bytes: usize,
}

impl Guest {
    /// Makes a guest that keeps `bytes` bytes of the peer. The caller has counted them.
    pub(crate) const fn new(socket: Arc<SocketCell>, bytes: usize) -> Self {
        Self { socket, bytes }
    }

    pub(crate) const fn socket(&self) -> &Arc<SocketCell> {
        &self.socket
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let Self { socket, bytes } = self;
        socket.load().leave(*bytes);
        socket.load().note_done();
        if socket.mailbox.exit() {
            turn::act(socket.runtime(), |turn| socket.leave(turn));
        }
    }
}
