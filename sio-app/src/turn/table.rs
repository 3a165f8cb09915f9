//! The handlers of a namespace, as the turn knows them: functions, in a table.
//!
//! A turn starts handlers, waits for them and handles their panics. It does not make their
//! parameters (a handle of the socket, arguments as types): the functions in the table do, and they
//! come from the floor above.

#[cfg(feature = "redis")]
use std::collections::BTreeSet;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use bytestring::ByteString;
use sio_proto::RateLimit;

use crate::args::RawArgs;
use crate::error::HandlerError;
use crate::lock::Mutex;
use crate::turn::call::{Call, NotCalled, Owed, Started, StartedMiddleware};
use crate::turn::incoming::Incoming;
use crate::turn::policy::Policy;
use crate::turn::refusal::Refusal;
use crate::turn::server_side::ServerSideEvent;
use crate::turn::socket::SocketCell;
use crate::turn::states::States;

/// The handlers for the sockets of a namespace.
#[derive(Clone, Default)]
pub(crate) struct Table {
    pub(crate) events: HashMap<Box<str>, Handlers, BuildHasherDefault<NameHasher>>,
    pub(crate) any: Vec<AnyFn>,
    pub(crate) outgoing: Vec<OutgoingFn>,
    pub(crate) filters: Vec<FilterFn>,
    /// What becomes of events of these names for clients that do not take them at once.
    pub(crate) policies: HashMap<Box<str>, Policy, BuildHasherDefault<NameHasher>>,
    pub(crate) connect: Vec<SocketFn>,
    pub(crate) disconnecting: Vec<SocketFn>,
    pub(crate) disconnect: Vec<SocketFn>,
    pub(crate) middleware: Vec<MiddlewareFn>,
    pub(crate) error: Option<ErrorFn>,
    pub(crate) answer: Option<AnswerFn>,
    pub(crate) one_at_a_time: bool,
    /// Whether a question that no handler handles is answered with an error.
    pub(crate) refuses_unknown: bool,
    /// Whether the namespace has recovery, if the application has said so.
    pub(crate) recovers: Option<bool>,
    /// How fast a client may send in the namespace, if the application has said so.
    pub(crate) rate: Option<RateLimit>,
    /// What is done when a server sends the servers an event, by its name.
    pub(crate) server_side: HashMap<Box<str>, Vec<ServerSideFn>, BuildHasherDefault<NameHasher>>,
    pub(crate) states: Arc<States>,
    /// The counts of a rule's namespaces, by name.
    pub(crate) names: Option<Arc<Names>>,
}

/// The handlers of one event, in the order in which they were registered. Usually there is one.
#[derive(Clone)]
pub(crate) struct Handlers {
    pub(crate) first: EventFn,
    pub(crate) more: Vec<EventFn>,
}

/// Hashes event names (FNV-1a). The names in the table are the application's, so no attacker can
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

pub(crate) type EventFn = Arc<dyn Fn(Call<'_>) -> Started + Send + Sync>;
pub(crate) type AnyFn = Arc<dyn Fn(&Arc<SocketCell>, &str, &RawArgs) + Send + Sync>;
pub(crate) type OutgoingFn = Arc<dyn Fn(Option<&Arc<SocketCell>>, &str, &RawArgs) + Send + Sync>;
pub(crate) type FilterFn = Arc<dyn Fn(&Arc<SocketCell>, &mut Incoming) -> Result<(), Refusal> + Send + Sync>;
pub(crate) type SocketFn = Arc<dyn Fn(&Call<'_>) -> Started + Send + Sync>;
pub(crate) type MiddlewareFn = Arc<dyn Fn(&Call<'_>) -> Result<StartedMiddleware, NotCalled> + Send + Sync>;
pub(crate) type ErrorFn = Arc<dyn Fn(&Arc<SocketCell>, &str, &HandlerError) + Send + Sync>;
pub(crate) type ServerSideFn = Arc<dyn Fn(ServerSideEvent) + Send + Sync>;
pub(crate) type AnswerFn = Arc<dyn Fn(&str, &HandlerError, Owed) + Send + Sync>;

impl Table {
    /// Whether the name of an event is the application's, or one of the names that
    /// [`Io::on_error`](crate::Io::on_error) uses for things that are not events.
    pub(crate) fn knows(&self, event: &str) -> bool {
        self.events.contains_key(event) || matches!(event, "connect" | "disconnecting" | "disconnect" | "ack" | "join")
    }

    /// Adds a handler of an event, after the others.
    pub(crate) fn add(&mut self, event: &str, handler: EventFn) {
        match self.events.get_mut(event) {
            Some(handlers) => handlers.more.push(handler),
            None => {
                let first = Handlers {
                    first: handler,
                    more: Vec::new(),
                };
                self.events.insert(event.into(), first);
            }
        }
    }

    /// Combines this table with one above it. All middlewares and all filters of both tables have
    /// to agree, and those of this table run first: a registration for one name does not switch off
    /// the decision of the rule that covers the name. Everything else in the table above replaces
    /// what is in this table.
    pub(crate) fn with_over(&self, above: &Self) -> Self {
        let mut whole = self.clone();
        let events = above.events.iter();
        whole
            .events
            .extend(events.map(|(name, handler)| (name.clone(), handler.clone())));
        whole.middleware.extend(above.middleware.iter().cloned());
        whole.filters.extend(above.filters.iter().cloned());
        take_place(&mut whole.any, &above.any);
        take_place(&mut whole.outgoing, &above.outgoing);
        take_place(&mut whole.connect, &above.connect);
        take_place(&mut whole.disconnecting, &above.disconnecting);
        take_place(&mut whole.disconnect, &above.disconnect);
        let policies = above.policies.iter();
        whole
            .policies
            .extend(policies.map(|(name, policy)| (name.clone(), policy.clone())));
        let server_side = above.server_side.iter();
        whole
            .server_side
            .extend(server_side.map(|(name, handlers)| (name.clone(), handlers.clone())));
        whole.error = above.error.clone().or(whole.error);
        whole.answer = above.answer.clone().or(whole.answer);
        whole.one_at_a_time |= above.one_at_a_time;
        whole.recovers = above.recovers.or(whole.recovers);
        whole.rate = above.rate.or(whole.rate);
        whole
    }
}

/// Replaces the handlers below by those above, if there are some.
fn take_place<T: Clone>(whole: &mut Vec<T>, above: &[T]) {
    if !above.is_empty() {
        *whole = above.to_vec();
    }
}

/// The namespaces of a rule that have members, with the number of members. Clients choose these
/// names. Each name is kept as long as the namespace has members.
#[derive(Debug, Default)]
pub(crate) struct Names {
    members: Mutex<BTreeMap<ByteString, usize>>,
    /// The namespaces that have or had members and that this node of a cluster hears.
    #[cfg(feature = "redis")]
    heard: Mutex<BTreeSet<ByteString>>,
}

impl Names {
    /// Counts a socket that has been let in. Call it under the lock of the socket's shard, like
    /// [`Self::leave`]. Returns true for the first socket of the namespace.
    pub(crate) fn enter(&self, name: &ByteString) -> bool {
        let mut names = self.members.lock();
        let members = names.entry(name.clone()).or_default();
        *members += 1;
        *members == 1
    }

    /// Stops counting a socket that has gone.
    pub(crate) fn leave(&self, name: &ByteString) {
        let mut names = self.members.lock();
        if let Some(members) = names.get_mut(name) {
            *members -= 1;
            if *members == 0 {
                names.remove(name);
            }
        }
    }

    /// Whether the namespace of this name has members.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.lock().contains_key(name)
    }

    pub(crate) fn all(&self) -> Vec<ByteString> {
        self.members.lock().keys().cloned().collect()
    }

    /// This node hears the namespace of this name, which has members. It is kept in mind until the
    /// node hears it no longer ([`Self::forget`]), also when they have gone.
    #[cfg(feature = "redis")]
    pub(crate) fn remember(&self, name: &ByteString) {
        let mut heard = self.heard.lock();
        if !heard.contains(name) {
            heard.insert(name.clone());
        }
    }

    #[cfg(feature = "redis")]
    pub(crate) fn forget(&self, name: &str) {
        self.heard.lock().remove(name);
    }

    /// Whether this node hears the namespace of this name, which has had members.
    #[cfg(feature = "redis")]
    pub(crate) fn had(&self, name: &str) -> bool {
        self.heard.lock().contains(name)
    }
}
