//! What the handles of a client and its task share.
//!
//! ```text
//!   any thread ─ command ─► Core (one lock) ◄─ bytes, time ─ the client's task ─► connections
//!                             │                                   │
//!                             └── outputs, taken by the task ─────┴─► handlers, streams, receipts
//! ```
//! A command never waits: it changes the core and wakes the task. Only the task takes outputs, so
//! handlers and streams see them in their order. No handler runs under a lock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use bytestring::ByteString;
use sio_proto::Time;
use sio_proto::client::{self as machine, EmitId, Recovery, SocketId};

use super::builder::{ErrorFn, Provider};
use super::events::{Changes, Inbox};
use super::handlers::Handlers;
use super::network::Network;
use super::receipt::Outcome;
use super::slot::Slot;
use super::socket::Socket;
use super::ways::Ways;
use crate::error::{HandlerError, RegisterError};
use crate::guarded::guarded;
use crate::lock::{Alarm, Mutex};
use crate::rated::Warnings;
use crate::turn::states::States;

/// What errors are reported of besides events.
const OWN_EVENTS: &[&str] = &["connect", "connect_error", "disconnect", "ack"];

/// What the lock of a client protects.
pub(super) struct Core {
    pub(super) machine: machine::Client,
    /// Wakes the client's task.
    pub(super) alarm: Option<Alarm>,
    /// The emits whose end somebody waits for. Each emit ends once, so none stays here.
    pub(super) waiting: BTreeMap<EmitId, Arc<Slot<Outcome>>>,
}

/// A client without its handles.
pub(super) struct Shared {
    pub(super) core: Mutex<Core>,
    pub(super) network: Network,
    pub(super) states: States,
    pub(super) provider: Option<Provider>,
    pub(super) on_error: Option<ErrorFn>,
    pub(super) max_waiting_handlers: usize,
    pub(super) max_inbox_bytes: usize,
    pub(super) inbox_reserve_bytes: usize,
    /// Handlers that have not finished.
    pub(super) waiting_handlers: AtomicUsize,
    pub(super) ways: Ways,
    /// A client for `http` needs it after a redirect, and looks for it then.
    #[cfg(feature = "tls")]
    tls: OnceLock<super::tls::ClientTls>,
    pub(super) places: Mutex<Vec<Arc<Place>>>,
    pub(super) watchers: Mutex<Vec<Weak<Changes>>>,
    /// The client's task has ended, so nobody ends a stream that is made now. Set before the lists
    /// of streams are locked for the last time, and read under their locks.
    ended: AtomicBool,
    warnings: Warnings,
    /// The first thing that could not be registered.
    pub(super) mistake: Mutex<Option<RegisterError>>,
    alive: OnceLock<Weak<Alive>>,
}

/// One namespace of a client.
pub(super) struct Place {
    pub(super) id: SocketId,
    pub(super) namespace: ByteString,
    pub(super) handlers: Handlers,
    pub(super) inboxes: Mutex<Vec<Weak<Inbox>>>,
    /// The id of the connection, if the namespace is connected, and whether it goes on from the
    /// one before.
    pub(super) connection: Mutex<Option<(ByteString, Recovery)>>,
}

/// All handles of a client hold this value. When the last one goes, the client closes.
pub(super) struct Alive(pub(super) Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.command(|core, now| core.machine.close(now));
    }
}

/// The parts of a client that its settings decide.
pub(super) struct Parts {
    pub(super) machine: machine::Client,
    pub(super) network: Network,
    pub(super) states: States,
    pub(super) provider: Option<Provider>,
    pub(super) on_error: Option<ErrorFn>,
    pub(super) max_waiting_handlers: usize,
    pub(super) max_inbox_bytes: usize,
    pub(super) inbox_reserve_bytes: usize,
    pub(super) ways: Ways,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<super::tls::ClientTls>,
}

impl Alive {
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        let shared = Arc::new(Shared {
            core: Mutex::new(Core {
                machine: parts.machine,
                alarm: None,
                waiting: BTreeMap::new(),
            }),
            network: parts.network,
            states: parts.states,
            provider: parts.provider,
            on_error: parts.on_error,
            max_waiting_handlers: parts.max_waiting_handlers,
            max_inbox_bytes: parts.max_inbox_bytes,
            inbox_reserve_bytes: parts.inbox_reserve_bytes,
            waiting_handlers: AtomicUsize::new(0),
            ways: parts.ways,
            #[cfg(feature = "tls")]
            tls: parts.tls.map_or_else(OnceLock::new, OnceLock::from),
            places: Mutex::default(),
            watchers: Mutex::default(),
            ended: AtomicBool::new(false),
            warnings: Warnings::new(),
            mistake: Mutex::default(),
            alive: OnceLock::new(),
        });
        let alive = Arc::new(Self(Arc::clone(&shared)));
        let _ = shared.alive.set(Arc::downgrade(&alive));
        alive
    }
}

impl Shared {
    pub(super) fn now(&self) -> Time {
        (self.network.runtime.now)()
    }

    /// The TLS of connections to the server.
    #[cfg(feature = "tls")]
    pub(super) fn tls(&self) -> Result<super::tls::ClientTls, super::tls::ClientTlsError> {
        if let Some(known) = self.tls.get() {
            return Ok(known.clone());
        }
        let found = super::tls::ClientTls::platform()?;
        Ok(self.tls.get_or_init(|| found).clone())
    }

    /// Changes the core, and wakes the client's task.
    pub(super) fn command<R>(&self, change: impl FnOnce(&mut Core, Time) -> R) -> R {
        let now = self.now();
        let (result, alarm) = {
            let mut core = self.core.lock_for("command");
            (change(&mut core, now), core.alarm.clone())
        };
        if let Some(alarm) = alarm {
            alarm.wake();
        }
        result
    }

    /// Wakes the client's task.
    pub(super) fn wake(&self) {
        self.command(|_, _| {});
    }

    pub(super) fn place(&self, id: SocketId) -> Option<Arc<Place>> {
        let places = self.places.lock();
        places.iter().find(|place| place.id == id).cloned()
    }

    /// Returns the place of a namespace, which is made if there is none.
    pub(super) fn place_of(&self, id: SocketId, namespace: ByteString) -> Arc<Place> {
        let mut places = self.places.lock();
        if let Some(place) = places.iter().find(|place| place.id == id) {
            return Arc::clone(place);
        }
        let place = Arc::new(Place {
            id,
            namespace,
            handlers: Handlers::default(),
            inboxes: Mutex::default(),
            connection: Mutex::default(),
        });
        places.push(Arc::clone(&place));
        place
    }

    /// Returns the handle of a namespace for its handlers, while the user has a handle.
    pub(super) fn socket(&self, place: &Arc<Place>) -> Option<Socket> {
        let alive = self.alive.get()?.upgrade()?;
        Some(Socket::new(alive, Arc::clone(place)))
    }

    /// Whether as many handlers wait as may.
    pub(super) fn has_enough_handlers(&self) -> bool {
        self.waiting_handlers.load(Ordering::Relaxed) >= self.max_waiting_handlers
    }

    /// Notes that the client's task ends: it ends all streams that are in the lists behind this
    /// call.
    pub(super) fn note_end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Adds a stream to its list. Returns false if the client's task has ended: then the stream
    /// has to be ended here.
    #[must_use]
    pub(super) fn register<T>(&self, list: &Mutex<Vec<Weak<T>>>, stream: &Arc<T>) -> bool {
        let mut list = list.lock();
        let goes_on = !self.ended.load(Ordering::Relaxed);
        if goes_on {
            list.retain(|other| other.strong_count() > 0);
            list.push(Arc::downgrade(stream));
        }
        goes_on
    }

    /// Reports an error of a handler to the application, or to the log if there is no function for
    /// errors or if it panics.
    pub(super) fn report(&self, place: &Place, event: &str, error: &HandlerError) {
        let report = self.on_error.as_ref();
        if report.is_some_and(|report| guarded(|| report(&place.namespace, event, error)).is_ok()) {
            return;
        }
        // A name without a handler was chosen by the server.
        let is_ours = OWN_EVENTS.contains(&event) || place.handlers.knows(event);
        let event = if is_ours { event } else { "(any)" };
        self.warnings.say_failure(self.now(), &place.namespace, event, error);
    }

    /// Notes a mistake of registration. Only the first one is kept.
    pub(super) fn note_mistake(&self, mistake: RegisterError) {
        self.mistake.lock().get_or_insert(mistake);
    }
}

impl Place {
    /// Returns the streams of this namespace that somebody holds.
    pub(super) fn inboxes(&self) -> Vec<Arc<Inbox>> {
        let mut inboxes = self.inboxes.lock();
        inboxes.retain(|inbox| inbox.strong_count() > 0);
        inboxes.iter().filter_map(Weak::upgrade).collect()
    }
}
