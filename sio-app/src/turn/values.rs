//! The application's own values, kept by type with a socket or a raw session.

use std::any::{Any, TypeId};
use std::sync::Arc;

use crate::lock::Mutex;

/// A value of the application.
pub(crate) type Value = Arc<dyn Any + Send + Sync>;

/// Values, at most one of each type. No method drops a value under the lock, because the drop is
/// user code.
#[derive(Default)]
pub(crate) struct Values(Mutex<Vec<Value>>);

impl Values {
    /// Keeps a value, if `may` returns true for the value of the same type that was kept before.
    /// Returns that earlier value.
    ///
    /// # Errors
    /// The new value, if `may` returns false.
    pub(crate) fn replace(
        &self,
        value: Value,
        may: impl FnOnce(Option<&Value>) -> bool,
    ) -> Result<Option<Value>, Value> {
        let mut values = self.0.lock();
        let at = position(&values, (*value).type_id());
        if !may(at.and_then(|at| values.get(at))) {
            return Err(value);
        }
        match at.and_then(|at| values.get_mut(at)) {
            Some(old) => Ok(Some(std::mem::replace(old, value))),
            None => {
                values.push(value);
                Ok(None)
            }
        }
    }

    /// Returns the value of this type.
    pub(crate) fn find(&self, kind: TypeId) -> Option<Value> {
        let values = self.0.lock();
        position(&values, kind).and_then(|at| values.get(at)).cloned()
    }

    /// Returns all values.
    pub(super) fn all(&self) -> Vec<Value> {
        self.0.lock().clone()
    }

    /// Whether `value` is still what is kept of this type. `None` means that nothing is.
    pub(super) fn is_still(&self, kind: TypeId, value: Option<&Value>) -> bool {
        let values = self.0.lock();
        let now = position(&values, kind).and_then(|at| values.get(at));
        match (now, value) {
            (Some(now), Some(value)) => std::ptr::addr_eq(Arc::as_ptr(now), Arc::as_ptr(value)),
            (now, value) => now.is_none() && value.is_none(),
        }
    }

    /// Takes the value of this type out.
    pub(crate) fn take(&self, kind: TypeId) -> Option<Value> {
        let mut values = self.0.lock();
        position(&values, kind).map(|at| values.swap_remove(at))
    }

    /// Replaces a value by others, if it is still there. Of these, one is kept if there is none of
    /// its type, and `rest` has the type of the value. Returns what is not kept any more.
    ///
    /// # Errors
    /// What should be kept, if the value is not there any more.
    pub(super) fn exchange(
        &self,
        old: &Value,
        rest: Option<Value>,
        others: Vec<Value>,
    ) -> Result<Vec<Value>, (Option<Value>, Vec<Value>)> {
        let mut values = self.0.lock();
        let is_old = |value: &Value| std::ptr::addr_eq(Arc::as_ptr(value), Arc::as_ptr(old));
        let Some(at) = values.iter().position(is_old) else {
            return Err((rest, others));
        };
        let mut left = vec![values.swap_remove(at)];
        for value in rest.into_iter().chain(others) {
            let known = position(&values, (*value).type_id());
            let place = if known.is_none() { &mut *values } else { &mut left };
            place.push(value);
        }
        Ok(left)
    }

    /// Takes over the values of a socket that was here before. `self` is new, and has none yet.
    pub(super) fn take_over(&self, before: &Self) {
        let values = before.0.lock().clone();
        let none = std::mem::replace(&mut *self.0.lock(), values);
        drop(none);
    }

    /// Takes all values out.
    pub(crate) fn take_all(&self) -> Vec<Value> {
        std::mem::take(&mut *self.0.lock())
    }
}

fn position(values: &[Value], kind: TypeId) -> Option<usize> {
    values.iter().position(|value| (**value).type_id() == kind)
}
