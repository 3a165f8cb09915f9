//! The states that a server was given for its handlers, by type.

use std::any::{Any, TypeId};
use std::sync::Arc;

/// The states that a server was given, by type. They are replaced as a whole, so that handlers find
/// theirs without a lock.
#[derive(Clone, Default)]
pub(crate) struct States(Vec<(TypeId, Arc<dyn Any + Send + Sync>)>);

impl States {
    pub(crate) fn get<T: 'static>(&self) -> Option<&T> {
        let (_, value) = self.0.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.downcast_ref()
    }

    pub(crate) fn has(&self, id: TypeId) -> bool {
        self.0.iter().any(|(known, _)| *known == id)
    }

    /// Returns these states and one more.
    pub(crate) fn and(&self, id: TypeId, value: Arc<dyn Any + Send + Sync>) -> Self {
        Self(self.0.iter().cloned().chain([(id, value)]).collect())
    }
}
