//! The ids that do not name a place in a shard: ids that the application has made, and ids that
//! sockets have from before.
//!
//! ```text
//!   reserve ─► taken ── pass_on: the client has come back with another socket ─► taken
//!                └───── release: the socket is gone, and is not waited for ────► free
//! ```
//! An id belongs to one socket of a namespace. Its lock may be taken under the lock of recovery. No
//! other lock is taken under it. A server without such ids pays one load of an atomic for a look-up
//! that has found nothing elsewhere.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytestring::ByteString;

use crate::error::{HandlerError, IdError};
use crate::guarded::guarded;
use crate::lock::Mutex;
use crate::turn::refusal::Refusal;
use crate::turn::socket::SocketCell;
use crate::turn::socket_id::SocketId;

/// Who has which id.
#[derive(Default)]
pub(crate) struct Ids {
    len: AtomicUsize,
    /// By the id first, so that it is found without the namespace. A weak reference keeps no data
    /// of the user, so nothing of the user is dropped under the lock.
    taken: Mutex<BTreeMap<(SocketId, ByteString), Weak<SocketCell>>>,
}

impl Ids {
    /// Does something under the lock. `name` says what the lock is taken for.
    fn with<R>(
        &self,
        name: &'static str,
        act: impl FnOnce(&mut BTreeMap<(SocketId, ByteString), Weak<SocketCell>>) -> R,
    ) -> R {
        let mut taken = self.taken.lock_for(name);
        let result = act(&mut taken);
        self.len.store(taken.len(), Ordering::Relaxed);
        result
    }

    /// Gives an id to a socket, unless another socket of its namespace has the id.
    fn reserve(&self, id: &SocketId, socket: &Arc<SocketCell>) -> bool {
        self.with("reserve an id", |taken| {
            let place = (id.clone(), socket.namespace().clone());
            let is_free = !taken.contains_key(&place);
            if is_free {
                taken.insert(place, Arc::downgrade(socket));
            }
            is_free
        })
    }

    /// Gives the id of an earlier socket to the socket with which its client has come back.
    pub(super) fn pass_on(&self, id: &SocketId, socket: &Arc<SocketCell>) {
        self.with("pass an id on", |taken| {
            taken.insert((id.clone(), socket.namespace().clone()), Arc::downgrade(socket));
        });
    }

    /// Frees the id of a socket, if it still belongs to this socket.
    pub(super) fn release(&self, socket: &Arc<SocketCell>) {
        if self.len.load(Ordering::Relaxed) == 0 {
            return;
        }
        self.with("release an id", |taken| {
            let place = (socket.id().clone(), socket.namespace().clone());
            if taken
                .get(&place)
                .is_some_and(|known| known.as_ptr() == Arc::as_ptr(socket))
            {
                taken.remove(&place);
            }
        });
    }

    /// Frees all ids. Called at the end of the server.
    pub(super) fn clear(&self) {
        self.with("clear", BTreeMap::clear);
    }

    /// Whether a socket has this id, connected or away.
    pub(super) fn has(&self, id: &str) -> bool {
        if self.len.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let first = (SocketId::named(id), ByteString::new());
        let taken = self.taken.lock_for("has");
        taken
            .range(first..)
            .next()
            .is_some_and(|((known, _), _)| **known == *id)
    }

    /// Returns the connected socket that has this id. If sockets of several namespaces have it, the
    /// result is the one in `/`, or else in the first namespace by name.
    pub(super) fn find(&self, id: &str) -> Option<Arc<SocketCell>> {
        if self.len.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let first = (SocketId::named(id), ByteString::new());
        let known: Vec<Weak<SocketCell>> = {
            let taken = self.taken.lock_for("find");
            let known = taken.range(first..).take_while(|((known, _), _)| **known == *id);
            known.map(|(_, socket)| Weak::clone(socket)).collect()
        };
        // The last handle of a socket may be dropped here, with data of the user, under no lock.
        let mut sockets = known.iter().filter_map(Weak::upgrade);
        sockets.find(|socket| socket.is_connected())
    }

    /// Returns the socket of a namespace that has this id, connected or away.
    #[cfg(feature = "redis")]
    pub(super) fn holder(&self, namespace: &ByteString, id: &str) -> Option<Arc<SocketCell>> {
        let place = (SocketId::named(id), namespace.clone());
        let known = self.taken.lock_for("holder").get(&place).cloned();
        known.as_ref().and_then(Weak::upgrade)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.taken.lock().len()
    }
}

/// Asks the application for the id of a socket that is about to be let in, unless its client has
/// come back to the id that it had. It is asked after the middlewares, so that a client that they
/// refuse takes nobody's id.
///
/// # Errors
/// The refusal for the client, if the application panics, or if the socket cannot have the id. The
/// client is not told why, because the id may be another's.
pub(super) fn name(socket: &Arc<SocketCell>) -> Result<(), Refusal> {
    if socket.cell.config.socket_id_prefix.is_none() || socket.is_coming_back() || socket.own_id().is_some() {
        return Ok(());
    }
    let Some(application) = socket.application() else {
        return Ok(());
    };
    let error = match guarded(|| application.make_id(socket)) {
        Ok(None) => return Ok(()),
        Ok(Some(id)) => match take(socket, &id) {
            Ok(()) => return Ok(()),
            Err(error) => HandlerError::Id(error),
        },
        Err(panic) => panic,
    };
    application.report(Some(socket), "generate_id", &error);
    Err(Refusal::internal())
}

/// Gives a socket an id that the application has made for it.
fn take(socket: &Arc<SocketCell>, id: &str) -> Result<(), IdError> {
    socket.cell.config.check_socket_id(id)?;
    let id = SocketId::named(id);
    if !socket.cell.recovery.ids.reserve(&id, socket) {
        return Err(IdError::Taken);
    }
    socket.set_own_id(id);
    Ok(())
}
