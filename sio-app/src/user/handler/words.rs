//! What a client may read of an error: words that were written for it, and nothing else.
//!
//! An error of a database or of a library says things that are none of a client's business. So only
//! errors of these types are told: `&'static str`, `String`, [`Refusal`], and those of this crate
//! that say how the client has misspelt something.

use std::any::Any;
use std::error::Error;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::args::ArgsError;
use crate::turn::refusal::Refusal;
use crate::user::handler::extract::AuthError;

/// What a client may read of an error of this type. `None` for an error of the application's own.
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

/// The arguments are not what a handler asks for. What it asks for is not said.
pub(crate) fn misfit() -> Refusal {
    "arguments do not fit".into()
}

/// An error as an acknowledgement: `{ "error": message }`, with `data` if the refusal has some.
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
