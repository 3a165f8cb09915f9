//! A client asks to join a namespace in which it may have been before.

use std::sync::Arc;

use sio_proto::recovery::NotRecovered;

use crate::turn::Turn;
#[cfg(feature = "redis")]
use crate::turn::application::Bringing;
use crate::turn::comeback::recognise;
use crate::turn::socket::SocketCell;
use crate::turn::table::Table;
use crate::turn::work::{Then, accept, ask};
#[cfg(feature = "redis")]
use crate::turn::{new_owner, work::resume};

/// Goes on with a CONNECT when other servers have been asked for the record of the client. Other
/// sessions are not delayed.
#[cfg(feature = "redis")]
pub(super) fn wait_for_record(socket: &Arc<SocketCell>, bringing: Bringing) -> Then {
    let guest = socket.guest(socket.auth_bytes());
    socket.mailbox.park(new_owner());
    let socket = Arc::clone(socket);
    (socket.runtime().spawn)(Box::pin(async move {
        let lost = bringing.await;
        resume(&socket, |turn| match socket.table() {
            Some(table) if !socket.is_gone() => enter(turn, &socket, table, lost),
            _ => Then::Next,
        });
        drop(guest);
    }));
    Then::Parked
}

/// Looks whether the client comes back, and lets the middlewares decide. `lost` says why it does
/// not, if this is known.
pub(super) fn enter(turn: &Turn, socket: &Arc<SocketCell>, table: &Table, lost: Option<NotRecovered>) -> Then {
    let skips = recognise(socket, table, lost);
    if skips {
        return accept(turn, socket, table);
    }
    ask(turn, socket, table)
}
