//! The handlers of a namespace, as the turn knows them: functions, in a table.
//!
//! A turn starts handlers, waits for them and puts up with their panics. What they are given (a
//! handle of the socket, arguments as types) is made inside these functions, above.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::hash::{BuildHasherDefault, Hasher};
use std::pin::Pin;
use std::sync::Arc;

use bytestring::ByteString;
use sio_proto::server::Reason;
use sio_proto::socket::Args;

use crate::args::RawArgs;
use crate::error::HandlerError;
use crate::lock::Mutex;
use crate::turn::refusal::Refusal;
use crate::turn::socket::SocketCell;

/// What happens to the sockets of a namespace.
#[derive(Clone, Default)]
pub(crate) struct Table {
    pub(crate) events: HashMap<Box<str>, EventFn, BuildHasherDefault<NameHasher>>,
    pub(crate) any: Option<AnyFn>,
    pub(crate) connect: Option<ConnectFn>,
    pub(crate) disconnecting: Option<DisconnectFn>,
    pub(crate) disconnect: Option<DisconnectFn>,
    pub(crate) middleware: Vec<MiddlewareFn>,
    pub(crate) one_at_a_time: bool,
    /// Where the names of a rule's namespaces are counted.
    pub(crate) names: Option<Arc<Names>>,
}

/// Hashes event names (FNV-1a). The names in the table are the application's own, so nobody can
/// make them collide.
#[derive(Clone)]
pub(crate) struct NameHasher(u64);

impl Default for NameHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

pub(crate) type EventFn = Arc<dyn Fn(Call) -> Started + Send + Sync>;
pub(crate) type AnyFn = Arc<dyn Fn(&Arc<SocketCell>, &str, &RawArgs) + Send + Sync>;
pub(crate) type ConnectFn = Arc<dyn Fn(Arc<SocketCell>) -> Started + Send + Sync>;
pub(crate) type DisconnectFn = Arc<dyn Fn(Arc<SocketCell>, Reason) -> Started + Send + Sync>;
pub(crate) type MiddlewareFn = Arc<dyn Fn(Arc<SocketCell>) -> StartedMiddleware + Send + Sync>;

impl Table {
    /// Whether the name of an event is the application's, or one of those that
    /// [`Io::on_error`](crate::Io::on_error) gives to what is no event.
    pub(crate) fn knows(&self, event: &str) -> bool {
        self.events.contains_key(event) || matches!(event, "connect" | "disconnecting" | "disconnect" | "ack" | "join")
    }

    /// This table with another over it. All middleware of both has to agree, that of this one
    /// first: what is registered for one name does not switch off the decision of the rule that
    /// covers the name. Of everything else the other's goes first.
    pub(crate) fn with_over(&self, above: &Self) -> Self {
        let mut whole = self.clone();
        let events = above.events.iter();
        whole
            .events
            .extend(events.map(|(name, handler)| (name.clone(), Arc::clone(handler))));
        whole.middleware.extend(above.middleware.iter().cloned());
        whole.any = above.any.clone().or(whole.any);
        whole.connect = above.connect.clone().or(whole.connect);
        whole.disconnecting = above.disconnecting.clone().or(whole.disconnecting);
        whole.disconnect = above.disconnect.clone().or(whole.disconnect);
        whole.one_at_a_time |= above.one_at_a_time;
        whole
    }
}

pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send>>;

/// A handler that has been started.
#[doc(hidden)]
pub enum Started {
    Done(Result<(), HandlerError>),
    Waiting(HandlerFuture),
}

/// An event on its way to a handler.
#[doc(hidden)]
pub struct Call {
    pub(crate) socket: Arc<SocketCell>,
    pub(crate) args: Args,
    pub(crate) ack: Option<u64>,
    pub(crate) keeps: bool,
}

/// A middleware that has been started.
#[doc(hidden)]
pub enum StartedMiddleware {
    Done(Result<(), Refusal>),
    Waiting(Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>),
}

/// The namespaces of a rule that have members, by how many. Their names are chosen by clients, and
/// each stays as long as it has members.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<BTreeMap<ByteString, usize>>);

impl Names {
    /// A socket is in. Call it under the lock of the socket's shard, as the other one.
    pub(crate) fn enter(&self, name: &ByteString) {
        *self.0.lock().entry(name.clone()).or_default() += 1;
    }

    /// A socket is gone that was in.
    pub(crate) fn leave(&self, name: &ByteString) {
        let mut names = self.0.lock();
        if let Some(members) = names.get_mut(name) {
            *members -= 1;
            if *members == 0 {
                names.remove(name);
            }
        }
    }

    pub(crate) fn all(&self) -> Vec<ByteString> {
        self.0.lock().keys().cloned().collect()
    }
}
