//! The application's functions: those that decide about requests, and those that get reports.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytestring::ByteString;
use parking_lot::RwLock;
use sio_proto::http::{HeaderError, ResponseHeaders};
use sio_proto::server::{ConnectionError, Handshake, TransportKind};

use crate::error::HandlerError;
use crate::turn::application::Application;
use crate::turn::room_news::RoomEvent;
use crate::user::engine::EngineHandler;
use crate::user::socket::Socket;
use crate::web::request::{HttpRequest, HttpResponse};

/// The application's functions. None is called or dropped under the lock.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(super) set: RwLock<Set>,
    /// Whether there is a hook for the headers of answers. Most servers have none, and then a poll
    /// checks nothing but this flag.
    pub(super) has_headers: AtomicBool,
}

#[derive(Default)]
pub(super) struct Set {
    pub(super) request: Option<RequestFn>,
    pub(super) allow: Allows,
    pub(super) error: Option<ErrorFn>,
    pub(super) engine: Option<Arc<dyn EngineHandler>>,
    pub(super) headers: Option<HeadersFn>,
    pub(super) id: Option<IdFn>,
    pub(super) upgrade: Option<UpgradeFn>,
    pub(super) room: Option<RoomFn>,
    pub(super) expired: Option<SocketFn>,
    pub(super) namespace: Option<NamespaceFn>,
    pub(super) connection_error: Option<ConnectionErrorFn>,
}

pub(super) type RequestFn = Arc<dyn Fn(&HttpRequest<'_>) -> HttpResponse + Send + Sync>;
pub(crate) type AllowFn = Arc<dyn Fn(&HttpRequest<'_>) -> Result<(), String> + Send + Sync>;
pub(crate) type AllowLaterFn = Arc<dyn Fn(Arc<Handshake>) -> AllowFuture + Send + Sync>;
pub(crate) type AllowFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
pub(super) type HeadersFn =
    Arc<dyn Fn(&HttpRequest<'_>, &mut ResponseHeaders) -> Result<(), HeaderError> + Send + Sync>;
pub(super) type IdFn = Arc<dyn Fn(&Socket) -> Option<String> + Send + Sync>;
pub(super) type RoomFn = Arc<dyn Fn(&RoomEvent) + Send + Sync>;
pub(super) type SocketFn = Arc<dyn Fn(&Socket) + Send + Sync>;
pub(super) type NamespaceFn = Arc<dyn Fn(Arc<dyn Application>, &ByteString) + Send + Sync>;
pub(super) type UpgradeFn = Arc<dyn Fn(&Socket, TransportKind) + Send + Sync>;
pub(super) type ConnectionErrorFn = Arc<dyn Fn(&ConnectionError) + Send + Sync>;
pub(super) type ErrorFn = Arc<dyn Fn(Option<&Socket>, &str, &HandlerError) + Send + Sync>;

/// The function that decides about requests that would open a session.
#[derive(Clone, Default)]
pub(crate) enum Allows {
    /// There is no such function: all requests are allowed.
    #[default]
    All,
    /// A function that decides at once.
    Now(AllowFn),
    /// A function whose future decides.
    Later(AllowLaterFn),
}

impl Hooks {
    pub(crate) fn engine(&self) -> Option<Arc<dyn EngineHandler>> {
        self.set.read().engine.clone()
    }

    pub(crate) fn id(&self) -> Option<IdFn> {
        self.set.read().id.clone()
    }

    pub(crate) fn upgrade(&self) -> Option<UpgradeFn> {
        self.set.read().upgrade.clone()
    }

    pub(crate) fn room(&self) -> Option<RoomFn> {
        self.set.read().room.clone()
    }

    pub(crate) fn expired(&self) -> Option<SocketFn> {
        self.set.read().expired.clone()
    }

    pub(crate) fn namespace(&self) -> Option<NamespaceFn> {
        self.set.read().namespace.clone()
    }

    pub(crate) fn connection_error(&self) -> Option<ConnectionErrorFn> {
        self.set.read().connection_error.clone()
    }

    pub(super) fn headers(&self) -> Option<HeadersFn> {
        let asked = self.has_headers.load(Ordering::Relaxed);
        asked.then(|| self.set.read().headers.clone())?
    }

    /// Drops all of them.
    pub(crate) fn clear(&self) {
        self.has_headers.store(false, Ordering::Relaxed);
        let hooks = std::mem::take(&mut *self.set.write());
        drop(hooks);
    }
}
