//! Recovery, for users: which namespaces have it, which sockets have come back, and whose time is
//! over.

use std::any::TypeId;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sio_proto::recovery::Absence;

use crate::store::StoreReport;
use crate::turn::comeback::Comeback;
use crate::turn::keeper::ValueCodec;
use crate::user::io::Io;
use crate::user::namespace::Namespace;
use crate::user::socket::Socket;

/// Recovery.
impl Socket {
    /// Whether the client has come back with this socket, as in JavaScript: the socket has the id,
    /// the rooms and the data that it had before, and gets what it has missed.
    #[must_use]
    pub fn recovered(&self) -> bool {
        matches!(self.recovery(), Comeback::Recovered { .. })
    }

    /// Returns whether the client has come back with this socket, how much it had missed, or why it
    /// could not be recovered. In a middleware the answer may still become [`Comeback::Lost`].
    ///
    /// ```
    /// # use sio_app::{Comeback, Io, Socket};
    /// # fn register(io: &Io) {
    /// io.of("/").recovery(true).on_connect(|socket: Socket| match socket.recovery() {
    ///     Comeback::Recovered { missed } => println!("{} is back, and had missed {missed}", socket.id()),
    ///     Comeback::Lost(why) => println!("{} begins again: {why}", socket.id()),
    ///     _ => println!("{} is new", socket.id()),
    /// });
    /// # }
    /// ```
    #[must_use]
    pub fn recovery(&self) -> Comeback {
        self.0.comeback()
    }

    /// Returns how long the client of this socket was away, and how much was said meanwhile, if it
    /// was recognised. This is known of a client that could not be recovered, too: what it has
    /// missed was sent between `away` ago and now.
    #[must_use]
    pub fn absence(&self) -> Option<Absence> {
        self.0.absence()
    }
}

/// Recovery.
impl Namespace {
    /// Sets whether clients of 4.6 and later come back to this namespace as the same sockets when
    /// their connection was cut. It counts for clients that connect later. Without this call,
    /// [`Options::recovery`](crate::Options::recovery) decides.
    ///
    /// Such a client gets every event that it has missed, once and in order: those to its own
    /// socket, to the rooms that it was in, and to all. Not kept are volatile events, and events
    /// that want an acknowledgement. Each event has the offset of the event as its last argument.
    /// The middlewares run for a client that comes back, too, unless
    /// [`skip_middlewares`](sio_proto::RecoveryConfig::skip_middlewares) is set.
    ///
    /// In a namespace with recovery, the messages of all threads are queued one after the other. A
    /// message is encoded under no lock, except when other messages have taken its number again and
    /// again, or when a middleware has sent it.
    pub fn recovery(&self, recovery: bool) -> Self {
        if recovery {
            self.io.shards.recovery.expect();
        }
        self.change(|table| table.recovers = Some(recovery))
    }
}

/// Recovery.
impl Io {
    /// Calls the function with each socket whose client has not come back in time, or is not waited
    /// for any more: the socket is gone, and still has its id and its data. It is not called for
    /// clients that have said goodbye, and not for those that are away when the server ends. The
    /// function must not block.
    pub fn on_expired(&self, tell: impl Fn(&Socket) + Send + Sync + 'static) {
        let old = self.0.hooks.set.write().expired.replace(Arc::new(tell));
        drop(old);
    }

    /// Keeps the values of one type that are kept with sockets ([`Socket::set_data`]) in the store,
    /// as JSON under this name, so that a client that comes back to the next process finds them.
    /// Values of other types are lost with the process. Call it before the server is served. A
    /// value of more than 64 KiB, and one that cannot be written, is not kept. Nothing happens
    /// without a store ([`Options::store`](crate::Options::store)).
    ///
    /// ```
    /// # use sio_app::{Io, Socket};
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Name(String);
    ///
    /// # fn register(io: &Io) {
    /// io.keep_data::<Name>("name");
    /// io.of("/").on("name", |socket: Socket, name: String| socket.set_data(Name(name)));
    /// # }
    /// ```
    pub fn keep_data<T>(&self, name: &'static str)
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.0.shards.recovery.add_codec(ValueCodec {
            kind: TypeId::of::<T>(),
            name,
            encode: |value| serde_json::to_vec(value.downcast_ref::<T>()?).ok(),
            decode: |json| Some(Arc::new(serde_json::from_slice::<T>(json).ok()?)),
        });
    }

    /// Returns how the store of recovery does. `None` without a store.
    #[must_use]
    pub fn store(&self) -> Option<StoreReport> {
        self.0.shards.recovery.store_report()
    }

    /// Returns how many sockets may come back: those that are connected to a namespace with
    /// recovery, and those whose clients are away.
    #[must_use]
    pub fn recoverable(&self) -> usize {
        self.0.shards.recovery.records()
    }
}
