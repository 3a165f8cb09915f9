//! The parameters that handlers can ask for beside the arguments: the socket, the server, state,
//! `auth`, and the application's own types that implement [`Extract`].

use std::any::{TypeId, type_name};
use std::fmt;
use std::ops::Deref;

use serde::de::DeserializeOwned;

use crate::turn::call::{Call, ServerSide, Side};
use crate::user::io::Io;
use crate::user::socket::Socket;

/// A type that handlers and middlewares can ask for, in any place before the arguments.
///
/// | type | value |
/// |---|---|
/// | [`Socket`] | the socket that the call concerns |
/// | [`Io`] | the server |
/// | [`State<T>`] | a value that the server was given with [`Io::state`](crate::Io::state) |
/// | [`Auth<T>`] | the `auth` data that the client has sent |
/// | `Option<E>`, `Result<E, E::Error>` | the value of `E`, if there is one; if not, the handler still runs |
///
/// If a value cannot be found, the handler is not called. The error is handled like an error that a
/// handler returns. It is reported as [`HandlerError::Extract`](crate::HandlerError::Extract) to
/// [`Namespace::on_error`](crate::Namespace::on_error), to [`Io::on_error`](crate::Io::on_error) or
/// to the log. A client that has asked for an acknowledgement gets one with an error. In a
/// middleware, the socket is refused. Clients get only texts that were written for them; see [the
/// module](super#what-clients-get-to-know-of-errors).
///
/// A type of your own:
///
/// ```
/// use sio_app::handler::{Call, Extract};
/// use sio_app::{Io, Refusal};
///
/// /// The user whom a middleware has let in.
/// #[derive(Clone)]
/// struct User(String);
///
/// impl Extract for User {
///     type Error = Refusal;
///
///     fn extract(call: &Call<'_>) -> Result<Self, Refusal> {
///         let user = call.socket().data::<Self>();
///         user.map(|user| Self::clone(&user)).ok_or_else(|| "log in first".into())
///     }
/// }
///
/// # fn register(io: &Io) {
/// io.of("/").on("whoami", |User(name): User| Ok::<_, Refusal>(name));
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand here in a handler",
    label = "a handler cannot ask for `{Self}` in this place",
    note = "before the arguments a handler asks for a `Socket`, `State<T>`, `Auth<T>` or another type that implements `Extract`, taken by value",
    note = "the arguments of the event are one value, owned and `Deserialize`, behind these: several arguments are a tuple, `(a, b): (String, u32)`",
    note = "`Ack` is last, in handlers of events; `Reason` is for handlers of disconnections"
)]
pub trait Extract<S: Side = ServerSide>: Sized {
    /// The error if there is no value.
    type Error: fmt::Display + 'static;

    /// Finds the value. This function must not wait.
    ///
    /// # Errors
    /// If there is no value.
    fn extract(call: &Call<'_, S>) -> Result<Self, Self::Error>;

    /// Adds what this type needs the server to have. A server that was not given it does not start.
    fn needs(needs: &mut Needs) {
        let _ = needs;
    }
}

/// Lists what handlers need the server to have. The list is filled when handlers are registered.
#[derive(Debug, Default)]
pub struct Needs {
    pub(crate) states: Vec<(TypeId, &'static str)>,
}

impl Needs {
    /// Adds a state of this type.
    pub fn state<T: Send + Sync + 'static>(&mut self) {
        self.states.push((TypeId::of::<T>(), type_name::<T>()));
    }
}

impl Extract for Socket {
    type Error = std::convert::Infallible;

    fn extract(call: &Call<'_>) -> Result<Self, Self::Error> {
        Ok(call.socket())
    }
}

impl Extract for Io {
    type Error = &'static str;

    fn extract(call: &Call<'_>) -> Result<Self, Self::Error> {
        call.socket().io().ok_or("the server has ended")
    }
}

/// A clone of a value that the server was given with [`Io::state`](crate::Io::state). Put a large
/// or shared value into an `Arc`.
///
/// ```
/// # use std::sync::Arc;
/// # use std::sync::atomic::{AtomicU32, Ordering};
/// # use sio_app::{Ack, Io};
/// use sio_app::handler::State;
///
/// #[derive(Clone, Default)]
/// struct Visits(Arc<AtomicU32>);
///
/// # fn register(io: &Io) {
/// io.state(Visits::default());
/// io.of("/")
///     .on_connect(|State(visits): State<Visits>| drop(visits.0.fetch_add(1, Ordering::Relaxed)))
///     .on("visits", |State(visits): State<Visits>, ack: Ack| ack.send(visits.0.load(Ordering::Relaxed)));
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State<T>(pub T);

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<S: Side, T: Clone + Send + Sync + 'static> Extract<S> for State<T> {
    type Error = NoState;

    fn extract(call: &Call<'_, S>) -> Result<Self, NoState> {
        let state = call.state::<T>().cloned();
        state.map(Self).ok_or_else(|| NoState(type_name::<T>()))
    }

    fn needs(needs: &mut Needs) {
        needs.state::<T>();
    }
}

/// The server was not given a state of this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server was given no state of the type `{0}`: `io.state(value)` gives it one, before clients connect")]
pub struct NoState(pub(crate) &'static str);

/// The `auth` data that the client sent when it connected, converted to a type. All handlers and
/// middlewares can ask for it.
///
/// ```
/// # use sio_app::{Io, Socket};
/// use sio_app::handler::Auth;
///
/// #[derive(serde::Deserialize)]
/// struct Token { token: String }
///
/// # fn register(io: &Io) {
/// io.of("/admin").with(|Auth(auth): Auth<Token>| match &*auth.token {
///     "secret" => Ok(()),
///     _ => Err("forbidden"),
/// });
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Auth<T>(pub T);

impl<T> Deref for Auth<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The client's `auth` data does not fit the type that a handler asks for. The client gets only the
/// text `auth does not fit`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The client has sent no `auth`.
    #[error("the client has sent no auth")]
    Missing,
    /// The `auth` data does not fit the type.
    #[error("auth does not fit: {0}")]
    Misfit(#[source] serde_json::Error),
}

impl<T: DeserializeOwned> Extract for Auth<T> {
    type Error = AuthError;

    fn extract(call: &Call<'_>) -> Result<Self, AuthError> {
        let socket = call.socket();
        let json = socket.auth_json().ok_or(AuthError::Missing)?;
        serde_json::from_str(json).map(Self).map_err(AuthError::Misfit)
    }
}

impl<S: Side, E: Extract<S>> Extract<S> for Option<E> {
    type Error = std::convert::Infallible;

    fn extract(call: &Call<'_, S>) -> Result<Self, Self::Error> {
        Ok(E::extract(call).ok())
    }
}

impl<S: Side, E: Extract<S>> Extract<S> for Result<E, E::Error> {
    type Error = std::convert::Infallible;

    fn extract(call: &Call<'_, S>) -> Result<Self, Self::Error> {
        Ok(E::extract(call))
    }
}
