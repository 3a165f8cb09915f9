//! The implementation of the interface through which turns use the application.

use std::sync::Arc;

use sio_proto::server::{ConnectionError, TransportKind};

use crate::error::HandlerError;
#[cfg(feature = "redis")]
use crate::turn::application::Bringing;
use crate::turn::application::{Application, EngineNews};
use crate::turn::call::Failure;
#[cfg(feature = "redis")]
use crate::turn::comeback;
use crate::turn::policy::Policy;
use crate::turn::raw_session::RawSession;
use crate::turn::room_news::RoomEvent;
use crate::turn::shards::Shards;
use crate::turn::socket::SocketCell;
use crate::turn::table::{OutgoingFn, Table};
use crate::user::engine::EngineSocket;
use crate::user::inner::Inner;
use crate::user::socket::Socket;

impl Application for Inner {
    fn shards(&self) -> &Shards {
        &self.shards
    }

    fn table(&self, socket: &Arc<SocketCell>) -> Option<Arc<Table>> {
        self.namespaces.find(&Socket(Arc::clone(socket)))
    }

    fn make_id(&self, socket: &Arc<SocketCell>) -> Option<String> {
        let make = self.hooks.id()?;
        make(&Socket(Arc::clone(socket)))
    }

    fn engine(&self, session: Arc<RawSession>, news: EngineNews) {
        let Some(handler) = self.hooks.engine() else { return };
        let socket = EngineSocket(session);
        match news {
            EngineNews::Opened => handler.open(&socket, socket.handshake()),
            EngineNews::Upgraded(transport) => handler.upgrade(&socket, transport),
            EngineNews::Message(message) => handler.message(&socket, message),
            EngineNews::Closed(ending) => handler.close(&socket, ending.reason, ending.breach.as_ref()),
        }
    }

    fn upgraded(&self, socket: Arc<SocketCell>, transport: TransportKind) {
        if let Some(hook) = self.hooks.upgrade() {
            hook(&Socket(socket), transport);
        }
    }

    fn refused(&self, error: &ConnectionError) {
        if let Some(hook) = self.hooks.connection_error() {
            hook(error);
        }
    }

    fn report(&self, socket: Option<&Arc<SocketCell>>, event: &str, error: &HandlerError) {
        let socket = socket.map(|socket| Socket(Arc::clone(socket)));
        Self::report(self, socket.as_ref(), event, error);
    }

    fn failed(&self, socket: &Arc<SocketCell>, event: &str, failure: Failure) {
        Self::failed(self, &Socket(Arc::clone(socket)), event, failure);
    }

    fn watchers(&self, namespace: &str) -> Vec<OutgoingFn> {
        self.namespaces.watchers(namespace)
    }

    fn policy(&self, namespace: &str, event: &str) -> Option<Policy> {
        self.namespaces.policy(namespace, event)
    }

    fn namespace_begins(&self, socket: &Arc<SocketCell>) {
        if let Some(hook) = self.hooks.namespace()
            && let Some(application) = socket.application()
        {
            hook(application, socket.namespace());
        }
    }

    #[cfg(feature = "redis")]
    fn socket_changed(&self, socket: &Arc<SocketCell>) {
        let Some(cluster) = &self.cluster else { return };
        // A namespace of a rule begins and ends with its members.
        let is_ruled = socket.table().is_some_and(|table| table.names.is_some());
        if is_ruled {
            cluster.namespace_changed(self, socket.namespace());
        }
        cluster.socket_changed(self, socket);
    }

    #[cfg(feature = "redis")]
    fn bring_back(&self, socket: &Arc<SocketCell>, table: &Table) -> Option<Bringing> {
        let cluster = self.cluster.as_ref()?;
        let server = Self::of(socket.application()?)?;
        let shown = comeback::shown(socket, table)?;
        cluster.bring_back(&server, socket, shown)
    }

    #[cfg(feature = "redis")]
    fn record_changed(&self, socket: &Arc<SocketCell>) {
        if let Some(cluster) = &self.cluster
            && let Some(server) = socket.application().and_then(Self::of)
        {
            cluster.record_changed(&server, socket);
        }
    }

    #[cfg(feature = "redis")]
    fn record_revoked(&self, pid: bytestring::ByteString) {
        if let Some(cluster) = self.cluster.as_ref().filter(|cluster| cluster.follows_stream()) {
            cluster.forget_record(pid);
        }
    }

    fn room(&self, event: &RoomEvent) {
        #[cfg(feature = "redis")]
        if let Some(cluster) = &self.cluster
            && let RoomEvent::Created { namespace, room } | RoomEvent::Deleted { namespace, room } = event
        {
            cluster.room_changed(self, namespace, room);
        }
        if self.shards.news.is_wanted()
            && let Some(hook) = self.hooks.room()
        {
            hook(event);
        }
    }

    fn expired(&self, socket: &Arc<SocketCell>) {
        if let Some(hook) = self.hooks.expired() {
            hook(&Socket(Arc::clone(socket)));
        }
    }

    fn shard_emptied(&self) {
        Self::shard_emptied(self);
    }
}
