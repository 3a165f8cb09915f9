//! What is under way for a socket: while it lasts, the socket's session does not leave.

use std::sync::Arc;

use crate::turn;
use crate::user::socket::SocketInner;

/// Something under way for a socket.
pub(crate) struct Guest {
    socket: Arc<SocketInner>,
    bytes: usize,
}

impl Guest {
    /// So many bytes of a peer's are kept for it; they have been counted.
    pub(crate) const fn new(socket: Arc<SocketInner>, bytes: usize) -> Self {
        Self { socket, bytes }
    }

    pub(crate) const fn socket(&self) -> &Arc<SocketInner> {
        &self.socket
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let Self { socket, bytes } = self;
        socket.load.leave(*bytes);
        if socket.mailbox.exit() {
            turn::act(socket.runtime(), |turn| socket.leave(turn));
        }
    }
}
