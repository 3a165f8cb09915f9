//! A socket, as a turn knows it: what stands beside the socket of a shard, and outlives it.
//!
//! Users hold it by handles. Order of its locks: none is taken while another of them is held, and
//! that of the entry under the shard's.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use bytestring::ByteString;
use sio_proto::SocketKey;
use sio_proto::server::{self, Auth, Form, Handshake};
use sio_proto::socket::Args;

use crate::lock::Mutex;
use crate::runtime::Runtime;
use crate::turn;
use crate::turn::Turn;
use crate::turn::ack_slot::AckSlot;
use crate::turn::application::Application;
use crate::turn::entry::Entry;
use crate::turn::gone::Mourners;
use crate::turn::guest::Guest;
use crate::turn::load::{Load, Overflow};
use crate::turn::mailbox::Mailbox;
use crate::turn::shard::ShardCell;
use crate::turn::socket_id::SocketId;
use crate::turn::table::Table;

pub(crate) struct SocketCell {
    pub(crate) cell: Arc<ShardCell>,
    /// What waits for its session.
    pub(crate) load: Arc<Load>,
    pub(crate) key: SocketKey,
    pub(crate) form: Form,
    standing: AtomicU8,
    id: SocketId,
    /// How the client knows itself, where this is not `id`: a secret.
    wire_id: Option<sio_proto::WireId>,
    pub(crate) namespace: ByteString,
    auth: Said,
    handshake: Arc<Handshake>,
    table: OnceLock<Arc<Table>>,
    pub(crate) mailbox: Mailbox,
    /// What most sockets never have.
    extras: OnceLock<Box<Extras>>,
}

// Held per socket, beside what the shard holds.
const _: () = assert!(size_of::<SocketCell>() <= 256);

/// What the client has said for itself.
enum Said {
    Nothing,
    Payload(Box<str>),
    /// In the query of the handshake alone.
    AtHandshake,
    /// In that and in the query of a CONNECT: made one object when somebody asks, because clients
    /// may ask for namespaces as often as they like.
    Later(Box<(ByteString, OnceLock<Option<ByteString>>)>),
}

impl Said {
    /// A copy: the original is part of a read buffer.
    fn new(auth: Auth) -> Self {
        match auth {
            Auth::None => Self::Nothing,
            Auth::Payload(payload) => Self::Payload(Box::from(&*payload)),
            Auth::Query(own) if own.is_empty() => Self::AtHandshake,
            Auth::Query(own) => Self::Later(Box::new((ByteString::from(&*own), OnceLock::new()))),
        }
    }

    /// What is kept of it beside the handshake, in bytes.
    fn bytes(&self) -> usize {
        match self {
            Self::Nothing | Self::AtHandshake => 0,
            Self::Payload(payload) => payload.len(),
            Self::Later(later) => later.0.len() + later.1.get().and_then(Option::as_ref).map_or(0, |made| made.len()),
        }
    }

    fn json<'a>(&'a self, handshake: &'a Handshake) -> Option<&'a str> {
        match self {
            Self::Nothing => None,
            Self::Payload(payload) => Some(payload),
            Self::AtHandshake => handshake.query_object().map(|object| &**object),
            Self::Later(later) => {
                let (own, made) = &**later;
                made.get_or_init(|| Auth::Query(own.clone()).to_json(handshake))
                    .as_deref()
            }
        }
    }
}

#[derive(Default)]
struct Extras {
    acks: Mutex<Acks>,
    data: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
    /// What was done for it before it was let in.
    entry: Mutex<Entry>,
    /// The rooms that it was in, while it is told of its end.
    last_rooms: Mutex<Option<Vec<ByteString>>>,
    mourners: Mourners,
}

#[derive(Default)]
struct Acks {
    next: u64,
    open: BTreeMap<u64, Arc<AckSlot>>,
}

const ASKING: u8 = 0;
const CONNECTED: u8 = 1;
const GONE: u8 = 2;
/// Gone because too much waits for its handlers.
const OVERRUN: u8 = 3;

impl SocketCell {
    #[expect(clippy::too_many_arguments, reason = "all that a shard says of a socket, once")]
    pub(crate) fn new(
        cell: Arc<ShardCell>,
        load: Arc<Load>,
        key: SocketKey,
        (id, wire_id): (SocketId, Option<sio_proto::WireId>),
        namespace: ByteString,
        auth: Auth,
        handshake: Arc<Handshake>,
        form: Form,
    ) -> Self {
        Self {
            cell,
            load,
            key,
            form,
            standing: AtomicU8::new(ASKING),
            id,
            wire_id,
            namespace,
            auth: Said::new(auth),
            handshake,
            table: OnceLock::new(),
            mailbox: Mailbox::default(),
            extras: OnceLock::new(),
        }
    }

    pub(crate) fn runtime(&self) -> Runtime {
        self.cell.runtime
    }

    /// Whom it belongs to; `None` after the end of the server.
    pub(crate) fn application(&self) -> Option<Arc<dyn Application>> {
        self.cell.application.upgrade()
    }

    pub(crate) const fn id(&self) -> &SocketId {
        &self.id
    }

    /// How the client knows itself, where this is not its id: a secret.
    pub(crate) fn reveal_wire_id(&self) -> Option<String> {
        self.wire_id.as_ref().map(|id| id.reveal(&self.namespace))
    }

    pub(crate) fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// What the client has said for itself, as JSON.
    pub(crate) fn auth_json(&self) -> Option<&str> {
        self.auth.json(&self.handshake)
    }

    pub(crate) fn table(&self) -> Option<&Arc<Table>> {
        self.table.get()
    }

    pub(crate) fn set_table(&self, table: Arc<Table>) -> &Arc<Table> {
        self.table.get_or_init(|| table)
    }

    /// The shard has let it in, and is locked. Gives what was done for it before.
    pub(crate) fn let_in(&self, table: &Table) -> Entry {
        // Nobody else has had a handle of it.
        if self.extras.get().is_none() && table.middleware.is_empty() && table.names.is_none() {
            self.set_connected();
            return Entry::default();
        }
        let mut entry = self.extras().entry.lock();
        self.set_connected();
        std::mem::take(&mut *entry)
    }

    fn set_connected(&self) {
        let _ = self
            .standing
            .compare_exchange(ASKING, CONNECTED, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// It is not let in: what was done for it has not happened.
    pub(crate) fn turn_away(&self) {
        self.set_gone();
        let Some(extras) = self.extras.get() else { return };
        let entry = std::mem::take(&mut *extras.entry.lock());
        let data = std::mem::take(&mut *extras.data.lock());
        drop((entry, data));
    }

    /// What its `auth` takes in memory.
    pub(crate) fn auth_bytes(&self) -> usize {
        self.auth.bytes()
    }

    /// Whether its namespace has not decided about it.
    pub(crate) fn is_asking(&self) -> bool {
        self.standing.load(Ordering::Relaxed) == ASKING
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.standing.load(Ordering::Relaxed) == CONNECTED
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.standing.load(Ordering::Relaxed) >= GONE
    }

    /// Does something for it that counts once it is let in. `None` if it has been let in meanwhile.
    pub(crate) fn prepare<R>(&self, act: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        if !self.is_asking() {
            return None;
        }
        let mut entry = self.extras().entry.lock();
        self.is_asking().then(|| act(&mut entry))
    }

    /// While it is told of its end it has the rooms that it was in.
    pub(crate) fn set_last_rooms(&self, rooms: Option<Vec<ByteString>>) {
        let old = std::mem::replace(&mut *self.extras().last_rooms.lock(), rooms);
        drop(old);
    }

    pub(crate) fn last_rooms(&self) -> Option<Vec<ByteString>> {
        self.extras.get()?.last_rooms.lock().clone()
    }

    /// Keeps a value of the user's, in place of an earlier one of the same type.
    pub(crate) fn set_data(&self, value: Arc<dyn Any + Send + Sync>) {
        let mut data = self.extras().data.lock();
        let same = data.iter_mut().find(|old| (***old).type_id() == (*value).type_id());
        let old = match same {
            Some(old) => Some(std::mem::replace(old, value)),
            None => {
                data.push(value);
                None
            }
        };
        // The user's destructor does not run under the lock.
        drop(data);
        drop(old);
    }

    /// The value of this type that is kept.
    pub(crate) fn data(&self, kind: TypeId) -> Option<Arc<dyn Any + Send + Sync>> {
        let data = self.extras.get()?.data.lock();
        let value = data.iter().find(|value| (***value).type_id() == kind);
        value.map(Arc::clone)
    }

    pub(crate) fn mourners(&self) -> &Mourners {
        &self.extras().mourners
    }

    /// Those who have waited for its end hear of it.
    pub(crate) fn wake_mourners(&self) {
        if let Some(extras) = self.extras.get() {
            extras.mourners.wake();
        }
    }

    pub(crate) fn set_gone(&self) {
        self.standing.fetch_max(GONE, Ordering::Relaxed);
    }

    /// Whether too much waits for its handlers: it is closed, and no more of them are started for
    /// events that came along.
    pub(crate) fn is_overrun(&self) -> bool {
        self.standing.load(Ordering::Relaxed) == OVERRUN
    }

    fn extras(&self) -> &Extras {
        self.extras.get_or_init(Box::default)
    }

    /// An acknowledgement will be asked for: the id to ask with, and where the answer is put.
    pub(crate) fn open_ack(&self) -> (u64, Arc<AckSlot>) {
        let slot = Arc::new(AckSlot::default());
        let mut acks = self.extras().acks.lock();
        let id = acks.next;
        acks.next += 1;
        acks.open.insert(id, Arc::clone(&slot));
        (id, slot)
    }

    pub(crate) fn acknowledged(&self, id: u64, result: Result<Args, server::AckError>) {
        let slot = self.extras.get().and_then(|extras| extras.acks.lock().open.remove(&id));
        if let Some(slot) = slot {
            slot.fill(result);
        }
    }

    pub(crate) fn forget_ack(&self, id: u64) {
        if let Some(extras) = self.extras.get() {
            extras.acks.lock().open.remove(&id);
        }
    }

    /// Something is under way that takes so many bytes, and that a server which goes away waits
    /// for, until the guest is dropped. If it is too much, the session is closed.
    pub(crate) fn guest(self: &Arc<Self>, bytes: usize) -> Guest {
        self.cell.note_waiting(self.mailbox.enter());
        if let Err(Overflow) = self.load.enter(bytes) {
            // It is there, so it is counted all the same.
            self.load.add(bytes);
            self.overrun();
        }
        let socket = Arc::clone(self);
        Guest::new(socket, bytes)
    }

    /// Too much waits: the session is closed, and no more handlers are started.
    pub(crate) fn overrun(self: &Arc<Self>) {
        if self.standing.swap(OVERRUN, Ordering::Relaxed) != OVERRUN {
            self.cell.warn_of_overflow(self.key);
            self.disconnect(true);
        }
    }

    /// Makes it leave its namespace, or closes its whole session.
    pub(crate) fn disconnect(&self, close: bool) {
        turn::act(self.runtime(), |turn| {
            self.cell.input("disconnect", turn, |state, now, out| {
                state.shard.disconnect(now, self.key, close, out)
            });
        });
    }

    /// Nothing is under way, and the server goes away.
    pub(crate) fn leave(&self, turn: &Turn) {
        self.cell.input("release", turn, |state, now, out| {
            state.shard.release(now, self.key, out)
        });
    }

    /// No acknowledgement will come any more.
    pub(crate) fn drop_acks(&self) {
        let Some(extras) = self.extras.get() else { return };
        let open = std::mem::take(&mut extras.acks.lock().open);
        for slot in open.into_values() {
            slot.fill(Err(server::AckError::Disconnected));
        }
    }
}

impl Drop for SocketCell {
    fn drop(&mut self) {
        self.mailbox.give_up(&self.load);
    }
}
