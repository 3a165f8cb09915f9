//! What handlers can ask for beside the arguments: the socket, state, `auth`, and whatever types of
//! the application's own say how they are found.

use std::any::{TypeId, type_name};
use std::fmt;
use std::ops::Deref;

use serde::de::DeserializeOwned;

use crate::turn::call::Call;
use crate::user::io::Io;
use crate::user::socket::Socket;

/// A type that handlers and middlewares can ask for, in any place before the arguments.
///
/// | type | is |
/// |---|---|
/// | [`Socket`] | the socket that the call concerns |
/// | [`Io`] | the server |
/// | [`State<T>`] | a value that the server was given with [`Io::state`](crate::Io::state) |
/// | [`Auth<T>`] | what the client has sent as `auth` |
/// | `Option<E>`, `Result<E, E::Error>` | `E`, if there is one: the handler decides what its absence means |
///
/// If one cannot be had, the handler is not called, and its error takes the way of a handler's
/// error: [`Namespace::on_error`](crate::Namespace::on_error),
/// [`Io::on_error`](crate::Io::on_error) or the log hear of it as
/// [`HandlerError::Extract`](crate::HandlerError::Extract), a client that has asked for an
/// acknowledgement gets one that says so, and in a middleware the socket is refused. Clients read
/// only what was written for them; see [the module](super#what-clients-read-of-errors).
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
pub trait Extract: Sized {
    /// Why there is none.
    type Error: fmt::Display + 'static;

    /// Finds it. It must not wait.
    ///
    /// # Errors
    /// If there is none.
    fn extract(call: &Call<'_>) -> Result<Self, Self::Error>;

    /// Says what the server has to have for it. A server that was not given it does not begin.
    fn needs(needs: &mut Needs) {
        let _ = needs;
    }
}

/// What handlers need the server to have: collected when they are registered.
#[derive(Debug, Default)]
pub struct Needs {
    pub(crate) states: Vec<(TypeId, &'static str)>,
}

impl Needs {
    /// A state of this type.
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

/// A value that the server was given with [`Io::state`](crate::Io::state): a clone of it, so what
/// is large or shared is given as an `Arc`.
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

impl<T: Clone + Send + Sync + 'static> Extract for State<T> {
    type Error = NoState;

    fn extract(call: &Call<'_>) -> Result<Self, NoState> {
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

/// What the client has sent as `auth` when it connected, as a type: in middlewares, connect
/// handlers and all others.
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

/// What the client has sent as `auth` is not of the type that was asked for. It is told no more
/// than `auth does not fit`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// It has sent none.
    #[error("the client has sent no auth")]
    Missing,
    /// It is of another type.
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

impl<E: Extract> Extract for Option<E> {
    type Error = std::convert::Infallible;

    fn extract(call: &Call<'_>) -> Result<Self, Self::Error> {
        Ok(E::extract(call).ok())
    }
}

impl<E: Extract> Extract for Result<E, E::Error> {
    type Error = std::convert::Infallible;

    fn extract(call: &Call<'_>) -> Result<Self, Self::Error> {
        Ok(E::extract(call))
    }
}
