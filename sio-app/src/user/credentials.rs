//! The end of credentials, for users: a deadline for each socket, and the revocation of many.
//! `docs/credentials.md` shows how the two are used together.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::turn::comeback::Present;
use crate::turn::credentials::Doubt;
use crate::user::io::Io;
use crate::user::socket::Socket;

/// The end of credentials.
impl Socket {
    /// Ends the socket at this time, unless another call moves or removes the deadline before. Call
    /// it in a middleware with the time at which the client's token expires, and again when the
    /// client shows a newer token.
    ///
    /// At the deadline, the client is told as by [`Socket::disconnect`], and does not connect again
    /// by itself. The [`Reason`](crate::Reason) for the disconnect handler is
    /// [`CredentialsExpired`](crate::Reason::CredentialsExpired). Events of the client that have
    /// arrived before and have no handler yet are not handled any more. A client whose deadline has
    /// passed before it is let in is refused.
    ///
    /// The deadline belongs to what a client gets back when its connection was cut: a socket that
    /// [has come back](Socket::recovered) has the deadline of the socket before it, and a client
    /// whose deadline has passed cannot come back. If the client of this socket has come back with
    /// another one, the call sets the deadline of the other one.
    ///
    /// The server's clock of dates counts whole seconds. So the socket ends up to one second before
    /// the given time, and not after it. If the machine's clock is set after the call, the deadline
    /// is not moved. [`Socket::expires_in`] is exact.
    ///
    /// ```
    /// # use std::time::{Duration, UNIX_EPOCH};
    /// # use sio_app::{Io, Refusal, Socket};
    /// # #[derive(Clone)] struct Claims { user: String, exp: u64 }
    /// # fn verify(token: Option<&str>) -> Result<Claims, Refusal> { Err(Refusal::new("no token")) }
    /// # fn register(io: &Io) {
    /// io.of("/").with(|socket: Socket| {
    ///     let claims = verify(socket.auth_json())?;
    ///     socket.expires_at(UNIX_EPOCH + Duration::from_secs(claims.exp));
    ///     socket.set_data(claims);
    ///     Ok::<_, Refusal>(())
    /// });
    /// # }
    /// ```
    pub fn expires_at(&self, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let whole = (self.0.runtime().unix_time)().saturating_add(1);
        self.expires_in(since.saturating_sub(Duration::from_secs(whole)));
    }

    /// Ends the socket after this time, as [`Socket::expires_at`] does.
    pub fn expires_in(&self, left: Duration) {
        self.0.expire_at(Some(self.0.now() + left));
    }

    /// Removes the deadline that [`Socket::expires_at`] or [`Socket::expires_in`] has set.
    pub fn never_expires(&self) {
        self.0.expire_at(None);
    }

    /// Returns how much time is left until the socket's deadline, or `None` if it has none.
    #[must_use]
    pub fn expires(&self) -> Option<Duration> {
        let expiry = match self.0.present() {
            Present::Here(present) | Present::Away(present) => present.expiry(),
            Present::Gone => self.0.expiry(),
        };
        Some(expiry?.saturating_since(self.0.now()))
    }
}

/// The end of credentials.
impl Io {
    /// Ends all sockets that the function says yes to, in all namespaces, and returns how many it
    /// has ended. It also ends what is kept for clients that are away, so that they do not come
    /// back as the same sockets.
    ///
    /// A client is told as by [`Socket::disconnect`]. The [`Reason`](crate::Reason) for the
    /// disconnect handler is [`CredentialsRevoked`](crate::Reason::CredentialsRevoked). For a
    /// client that is away there is no client to tell and no disconnect handler left to call;
    /// [`Io::on_expired`] reports it. The function sees such a client as the socket that it had:
    /// its id, its namespace, its rooms, its [`auth`](Socket::auth), its handshake and its data.
    ///
    /// First change what your middlewares decide by, for example delete the session from your
    /// database, and then call this function. Then no socket is missed. A client that connects
    /// after the change is refused by the middleware. A socket about which a middleware decides
    /// during the call is asked about when the middleware has let it in, before its connect handler
    /// is called; it does not count in the result. What the function looks at has to be known when
    /// the middlewares have run: a connect handler may come too late.
    ///
    /// The function is called on this thread, and later on the threads of sockets that were asking
    /// to be let in. It is called for each socket at least once, under no lock. If it panics for a
    /// socket that is being let in, the socket is refused.
    ///
    /// # Panics
    /// If the function panics on this thread. The sockets that it has not been asked about stay
    /// connected.
    ///
    /// ```
    /// # use sio_app::Io;
    /// # struct User { name: String }
    /// # fn lock_out(io: &Io, name: String) {
    /// let ended = io.revoke(move |socket| socket.data::<User>().is_some_and(|user| user.name == name));
    /// # let _ = ended;
    /// # }
    /// ```
    pub fn revoke(&self, is_revoked: impl Fn(&Socket) -> bool + Send + Sync + 'static) -> usize {
        let doubt = Doubt::new(move |socket| is_revoked(&Socket(Arc::clone(socket))));
        self.0.shards.revoke(&doubt)
    }
}
