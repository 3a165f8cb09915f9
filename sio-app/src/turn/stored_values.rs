//! The values of the application in a store: when they are written, and how they are read.
//!
//! ```text
//!   set_data ─► encode, under no lock ─► lock of recovery: does the record belong to the socket?
//!                  ▲                        │ is this still the value? ─► noted, behind all changes
//!                  └───── another value ◄───┘                             before it
//! ```
//! Values are encoded and decoded by code of the user. Under the lock, a value is only compared
//! with the one that was encoded. So the rows of a value are in the order in which the value has
//! changed, and none comes behind the end of its record. A socket whose client has come back with
//! another one writes nothing.

use std::any::TypeId;
use std::sync::Arc;

use sio_proto::recovery::RecordKey;

use crate::guarded::guarded;
use crate::turn::keeper::{Keeper, ValueCodec};
use crate::turn::recovery::{Recovery, State};
use crate::turn::rows::Noted;
use crate::turn::socket::SocketCell;
use crate::turn::values::{Value, Values};

/// The most bytes of one value of the application that are kept in a store.
const MAX_VALUE_BYTES: usize = 64 * 1024;

/// The values that the application has kept with a socket of another process, by their names. They
/// are read when somebody needs them, because the application names their types only after the
/// server has been made.
pub(super) struct Frozen(pub(super) Vec<(String, Vec<u8>)>);

impl Frozen {
    /// The names and values of such a value.
    fn rows(value: &Value) -> &[(String, Vec<u8>)] {
        value.downcast_ref().map_or(&[], |Self(rows)| rows)
    }

    fn value(rows: Vec<(String, Vec<u8>)>) -> Option<Value> {
        (!rows.is_empty()).then(|| Arc::new(Self(rows)) as Value)
    }
}

/// A value of a socket, as it was when it was encoded.
pub(super) struct EncodedValue {
    codec: ValueCodec,
    value: Option<Value>,
    /// What the store gets. `None` removes the row.
    json: Option<Vec<u8>>,
    is_noted: bool,
}

impl EncodedValue {
    fn new(socket: &SocketCell, codec: ValueCodec) -> Self {
        let value = socket.data(false).and_then(|values| values.find(codec.kind));
        let json = match &value {
            Some(value) => encode(&codec, value),
            // What cannot be read stays as it is.
            None => socket.frozen().and_then(|(_, frozen)| {
                let rows = Frozen::rows(&frozen).iter();
                let mut named = rows.filter(|(name, _)| name == codec.name);
                Some(named.next()?.1.clone())
            }),
        };
        Self {
            json,
            codec,
            value,
            is_noted: false,
        }
    }

    /// Drops the value. It may be the last handle of a value that another thread has replaced, so
    /// code of the user runs here, which may panic.
    pub(super) fn let_go(self) {
        let _ = guarded(|| drop(self));
    }

    /// Whether the socket has no other value by now.
    fn is_current(&self, socket: &SocketCell) -> bool {
        let (kind, value) = (self.codec.kind, self.value.as_ref());
        match socket.data(false) {
            Some(values) => values.is_still(kind, value),
            None => value.is_none(),
        }
    }
}

fn encode(codec: &ValueCodec, value: &Value) -> Option<Vec<u8>> {
    let json = guarded(|| (codec.encode)(value)).ok().flatten();
    json.filter(|json| json.len() <= MAX_VALUE_BYTES)
}

impl State {
    /// Notes a value for the store, if the record belongs to the socket. Otherwise there is nothing
    /// to be noted. If the socket has another value by now, this one is not noted.
    fn note_value(&mut self, key: RecordKey, socket: &SocketCell, encoded: &mut EncodedValue) {
        let record = self.machine.record_number(key);
        let Some(record) = record.filter(|_| self.belongs_to(key, socket)) else {
            encoded.is_noted = true;
            return;
        };
        if !encoded.is_noted && encoded.is_current(socket) {
            let (name, json) = (encoded.codec.name.into(), encoded.json.take());
            self.note(Noted::Value { record, name, json });
            encoded.is_noted = true;
        }
    }

    /// Notes the values that a socket has when its record begins, or goes on with it. A value that
    /// was replaced after it had been encoded is noted, too, so that the record is never without a
    /// value. The new one comes behind it ([`Recovery::note_late_values`]): no other thread can
    /// have noted it, because the socket has its record only since this step.
    pub(super) fn note_values(&mut self, key: RecordKey, socket: &SocketCell, values: &mut [EncodedValue]) {
        for encoded in values {
            self.note_value(key, socket, encoded);
            if let Some(record) = self.machine.record_number(key).filter(|_| !encoded.is_noted) {
                let (name, json) = (encoded.codec.name.into(), encoded.json.take());
                self.note(Noted::Value { record, name, json });
            }
        }
    }
}

impl Recovery {
    /// Encodes the values of a socket that is about to be let in ([`State::note_values`]).
    pub(super) fn encode_values(&self, socket: &SocketCell) -> Vec<EncodedValue> {
        let codecs = self.codecs().into_iter();
        codecs.map(|codec| EncodedValue::new(socket, codec)).collect()
    }

    /// Notes those of the values that have changed since they were encoded.
    pub(super) fn note_late_values(&self, socket: &SocketCell, values: Vec<EncodedValue>) {
        for encoded in values {
            let late = (!encoded.is_noted).then(|| encoded.codec.clone());
            encoded.let_go();
            if let (Some(key), Some(codec)) = (socket.record(), late) {
                self.note_value(key, socket, codec);
            }
        }
    }

    /// Notes that a value of the application has changed.
    pub(crate) fn value_changed(&self, socket: &SocketCell, kind: TypeId) {
        if let (Some(keeper), Some(key)) = (&self.keeper, socket.record())
            && let Some(codec) = keeper.codec(kind)
        {
            socket.forget_frozen(codec.name);
            self.note_value(key, socket, codec);
            keeper.settle(socket.now());
        }
    }

    /// Notes the present value of a socket. If it changes meanwhile, it is encoded again, so each
    /// time some thread has got on.
    fn note_value(&self, key: RecordKey, socket: &SocketCell, codec: ValueCodec) {
        loop {
            let mut encoded = EncodedValue::new(socket, codec.clone());
            self.with("value", |state| state.note_value(key, socket, &mut encoded));
            let is_noted = encoded.is_noted;
            encoded.let_go();
            if is_noted {
                return;
            }
        }
    }

    fn codecs(&self) -> Vec<ValueCodec> {
        self.keeper.as_ref().map_or_else(Vec::new, Keeper::codecs)
    }

    /// Adds a type of values that are kept in the store.
    pub(crate) fn add_codec(&self, codec: ValueCodec) {
        if let Some(keeper) = &self.keeper {
            keeper.add_codec(codec);
        }
    }
}

/// Notes the rows of all values of a socket, for a store that has none of them. What has not been
/// read since another process has written it is written as it is.
pub(super) fn all_values(record: u64, socket: &SocketCell, codecs: &[ValueCodec], noted: &mut Vec<Noted>) {
    let values = socket.data(false).map(Values::all).unwrap_or_default();
    let mut is_read = Vec::new();
    for codec in codecs {
        let Some(value) = values.iter().find(|value| (***value).type_id() == codec.kind) else {
            continue;
        };
        is_read.push(codec.name);
        let (name, json) = (codec.name.into(), encode(codec, value));
        noted.extend(json.map(|json| Noted::Value {
            record,
            name,
            json: Some(json),
        }));
    }
    for (name, json) in values.iter().flat_map(Frozen::rows) {
        if !is_read.contains(&&**name) {
            let (name, json) = (name.clone().into(), Some(json.clone()));
            noted.push(Noted::Value { record, name, json });
        }
    }
}

impl SocketCell {
    /// The values of another process that have not been read yet.
    fn frozen(&self) -> Option<(&Values, Value)> {
        let values = self.data(false)?;
        Some((values, values.find(TypeId::of::<Frozen>())?))
    }

    /// Reads the values that the application has kept with a socket of another process. Those that
    /// cannot be read stay as they are: their types may be named later, or by the next process. Of
    /// several threads that do this at one time, one puts all of the values in their place, in one
    /// step. So what the application takes out then does not come again.
    pub(super) fn thaw(&self) {
        while let Some((values, old)) = self.frozen() {
            let codecs = self.cell.recovery.codecs();
            let (mut read, mut rest) = (Vec::new(), Vec::new());
            for (name, json) in Frozen::rows(&old) {
                let codec = codecs.iter().find(|codec| codec.name == name);
                let value = codec.and_then(|codec| guarded(|| (codec.decode)(json)).ok().flatten());
                match value {
                    Some(value) => read.push(value),
                    None => rest.push((name.clone(), json.clone())),
                }
            }
            if read.is_empty() || values.exchange(&old, Frozen::value(rest), read).is_ok() {
                return;
            }
        }
    }

    /// Forgets what another process has kept under this name, because the application has another
    /// value now.
    fn forget_frozen(&self, name: &str) {
        while let Some((values, old)) = self.frozen() {
            let rows = Frozen::rows(&old);
            let rest: Vec<_> = rows.iter().filter(|(known, _)| known != name).cloned().collect();
            if rest.len() == rows.len() || values.exchange(&old, Frozen::value(rest), Vec::new()).is_ok() {
                return;
            }
        }
    }
}
