//! The text of an error that a client gets: only text that was written for the client.
//!
//! The error of a database or of a library may contain text that a client must not see. So a client
//! gets only the text of errors of these types: `&'static str`, `String`, [`Refusal`], and errors
//! of this crate that say what was wrong in the client's message.

use std::any::Any;
use std::error::Error;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::args::ArgsError;
use crate::turn::refusal::Refusal;
use crate::user::handler::extract::AuthError;

/// Returns what a client gets of an error of this type. Returns `None` for an error that only the
/// application may see.
pub(crate) fn words_of<E: 'static>(error: &E) -> Option<Refusal> {
    let error: &dyn Any = error;
    let boxed = error.downcast_ref::<Box<dyn Error + Send + Sync>>();
    let refusal = error
        .downcast_ref::<Refusal>()
        .or_else(|| boxed?.downcast_ref::<Refusal>());
    if let Some(refusal) = refusal {
        return Some(refusal.clone());
    }
    let text = error.downcast_ref::<&'static str>().copied();
    let text = text.or_else(|| error.downcast_ref::<String>().map(String::as_str));
    match text {
        Some(text) => Some(text.into()),
        None if error.is::<ArgsError>() => Some(misfit()),
        None if error.is::<AuthError>() => Some("auth does not fit".into()),
        None => None,
    }
}

/// Makes the refusal for arguments that do not fit. It does not say which types the handler asks
/// for.
pub(crate) fn misfit() -> Refusal {
    "arguments do not fit".into()
}

/// An error as an acknowledgement: `{ "error": message }`, with `data` if the refusal has data.
pub(crate) struct Told(pub(crate) Refusal);

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let data = self.0.data();
        let mut object = serializer.serialize_struct("Told", 1 + usize::from(data.is_some()))?;
        object.serialize_field("error", self.0.message())?;
        if let Some(data) = data {
            let data: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
            object.serialize_field("data", &data)?;
        }
        object.end()
    }
}
