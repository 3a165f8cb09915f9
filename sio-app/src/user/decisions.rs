//! The functions with which the application decides about requests and hears of failures.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytestring::ByteString;
use sio_proto::http::{self, HeaderError, Method, ResponseHeaders};
use sio_proto::server::{Admission, ConnectionError, Handshake, Request, Routed, TransportKind};

use crate::error::{HandlerError, RegisterError};
use crate::guarded::guarded;
use crate::turn::application::Application;
use crate::turn::call::Failure;
use crate::turn::refusal::Refusal;
use crate::turn::room_news::RoomEvent;
use crate::user::engine::EngineHandler;
use crate::user::handler::Told;
use crate::user::hooks::{AllowFn, Allows};
use crate::user::inner::Inner;
use crate::user::io::Io;
use crate::user::namespace::Namespace;
use crate::user::socket::Socket;
use crate::web::request::{HttpRequest, HttpResponse};

/// The application's decisions.
impl Io {
    /// Answers requests that are not for Socket.IO. Without this function they get 404, or 405 if
    /// the server does not know their method.
    ///
    /// The function is called in place and must not wait.
    ///
    /// ```
    /// # use sio_app::{HttpResponse, Io};
    /// # fn register(io: &Io) {
    /// io.on_request(|request| match request.path() {
    ///     "/" => HttpResponse::html("<script src=/socket.io/socket.io.js></script>"),
    ///     _ => HttpResponse::new(404),
    /// });
    /// # }
    /// ```
    ///
    /// A function that holds the `Io` itself keeps it alive until [`Io::close`]. This one serves
    /// the metrics:
    ///
    /// ```
    /// # use sio_app::{HttpResponse, Io};
    /// # fn register(io: &Io) {
    /// let server = io.clone();
    /// io.on_request(move |request| match request.path() {
    ///     "/metrics" => HttpResponse::new(200).body("text/plain; version=0.0.4", server.metrics().to_prometheus()),
    ///     _ => HttpResponse::new(404),
    /// });
    /// # }
    /// ```
    pub fn on_request(&self, answer: impl Fn(&HttpRequest<'_>) -> HttpResponse + Send + Sync + 'static) {
        let old = self.0.hooks.set.write().request.replace(Arc::new(answer));
        drop(old);
    }

    /// Decides about requests that would open a session. The client gets the text of the error.
    /// The function replaces an earlier [`Io::allow_request_async`]. It must not block.
    pub fn allow_request(&self, decide: impl Fn(&HttpRequest<'_>) -> Result<(), String> + Send + Sync + 'static) {
        self.set_allows(Allows::Now(Arc::new(decide)));
    }

    /// Decides about requests that would open a session, and may wait for the decision:
    /// JavaScript's `allowRequest(req, callback)`. The client gets the text of the error. The
    /// function replaces an earlier [`Io::allow_request`].
    ///
    /// The function gets the part of the request that its session would keep: target, query,
    /// address, and the header fields that fit into
    /// [`Config::max_handshake_bytes`](sio_proto::Config::max_handshake_bytes). It is not called
    /// for requests that are refused because of their host or origin. It is called for all
    /// transports and generations, and also if the server is mounted in another HTTP server.
    ///
    /// A request that is not allowed is refused. So it is refused if the future panics, if it takes
    /// longer than [`Options::allow_request_timeout`](crate::Options::allow_request_timeout), or if
    /// [`Options::max_waiting_requests`](crate::Options::max_waiting_requests) wait already. The
    /// task of the request's connection polls the future. If the client goes away, the future is
    /// dropped: spawn a task for work that has to be finished in any case.
    ///
    /// ```
    /// # use sio_app::Io;
    /// # async fn knows(token: &str) -> bool { token == "secret" }
    /// # fn register(io: &Io) {
    /// io.allow_request_async(async |request| match request.query_value("token") {
    ///     Some(token) if knows(&token).await => Ok(()),
    ///     _ => Err("who are you?".to_owned()),
    /// });
    /// # }
    /// ```
    pub fn allow_request_async<F>(&self, decide: impl Fn(Arc<Handshake>) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.set_allows(Allows::Later(Arc::new(move |handshake| Box::pin(decide(handshake)))));
    }

    fn set_allows(&self, allows: Allows) {
        let old = std::mem::replace(&mut self.0.hooks.set.write().allow, allows);
        drop(old);
    }

    /// Adds header fields to the answers to Socket.IO's requests, in every generation: to polls,
    /// handshakes, websocket handshakes (the 101) and refusals. The thread that read a request
    /// calls the function before the request is handled. The function must not block.
    /// [`HttpRequest::may_open_session`] tells handshakes apart, as JavaScript's `initial_headers`
    /// does.
    ///
    /// A field that is not valid in an answer, or that only the server may write, is an error
    /// ([`ResponseHeaders::add`]). If the function returns an error or panics, the error is
    /// reported ([`Io::on_error`]) and nothing is added. Answers to messages that are not valid
    /// HTTP do not have these fields. If the server is mounted in another HTTP server, that
    /// server's own answers do not have them either.
    ///
    /// ```
    /// # use sio_app::Io;
    /// # fn register(io: &Io) {
    /// io.on_headers(|request, headers| {
    ///     headers.add("X-Node", "seven")?;
    ///     if request.may_open_session() {
    ///         headers.add("Set-Cookie", "seen=1; HttpOnly; SameSite=Lax")?;
    ///     }
    ///     Ok(())
    /// });
    /// # }
    /// ```
    pub fn on_headers(
        &self,
        add: impl Fn(&HttpRequest<'_>, &mut ResponseHeaders) -> Result<(), HeaderError> + Send + Sync + 'static,
    ) {
        let old = self.0.hooks.set.write().headers.replace(Arc::new(add));
        self.0.hooks.has_headers.store(true, Ordering::Relaxed);
        drop(old);
    }

    /// Calls the function for each event of a room, in all namespaces: JavaScript's `create-room`,
    /// `join-room`, `leave-room` and `delete-room`. The rooms with the sockets' own ids have no
    /// events. Set this function before clients connect, because the beginning and the end of rooms
    /// that exist already are not reported.
    ///
    /// The function is called under no lock, after the call that has caused the event: if a handler
    /// joins a room, after the handler has returned, and otherwise soon after the call. The room
    /// may have changed again by then. The events of one handler or call are reported in their
    /// order. Between handlers and threads there is no common order: an event may be reported
    /// after a later one of another handler. [`Namespace::room_len`](crate::Namespace::room_len)
    /// has the present state. The function must not block. If a room has members in several shards,
    /// it begins with its first member in any shard, and ends with its last member.
    ///
    /// ```
    /// # use sio_app::{Io, RoomEvent};
    /// # fn register(io: &Io) {
    /// io.on_room(|event| match event {
    ///     RoomEvent::Created { room, .. } => println!("{room} begins"),
    ///     RoomEvent::Joined { room, socket, .. } => println!("{socket} is in {room}"),
    ///     _ => {}
    /// });
    /// # }
    /// ```
    pub fn on_room(&self, tell: impl Fn(&RoomEvent) + Send + Sync + 'static) {
        let old = self.0.hooks.set.write().room.replace(Arc::new(tell));
        self.0.shards.news.want();
        drop(old);
    }

    /// Calls the function when a namespace of a pattern or a function ([`Io::of_pattern`],
    /// [`Io::of_fn`]) has its first member, before the connect handlers are called: JavaScript's
    /// `new_namespace`. If a namespace has lost all its members, its next member counts as the
    /// first again. The function must not block.
    pub fn on_namespace(&self, tell: impl Fn(Namespace) + Send + Sync + 'static) {
        let old = self.0.hooks.set.write().namespace.replace(Arc::new(
            move |application: Arc<dyn Application>, name: &ByteString| {
                if let Some(server) = Inner::of(application) {
                    tell(Namespace::named(server, name.clone()));
                }
            },
        ));
        drop(old);
    }

    /// Calls the function when the session of a socket has moved from polling to a websocket, once
    /// for each socket of the session. It is JavaScript's `socket.conn.on("upgrade")`. The function
    /// must not block. It is not called for sessions that were opened over a websocket, and not for
    /// sockets that are not let in yet: a connect handler can ask for the transport. The
    /// handlers of each socket are told of the end of the session
    /// ([`Namespace::on_disconnect`](crate::Namespace::on_disconnect)), and [`Socket::close`] ends
    /// it.
    pub fn on_upgrade(&self, tell: impl Fn(&Socket, TransportKind) + Send + Sync + 'static) {
        let old = self.0.hooks.set.write().upgrade.replace(Arc::new(tell));
        drop(old);
    }

    /// Calls the function for each refused request, with the reason. It is JavaScript's
    /// `engine.on("connection_error")`. The function is called after the answer is decided, and
    /// must not block. Peers can send such requests as often as they like, so limit the rate of
    /// your own log. (The server itself logs refused origins at a limited rate.)
    ///
    /// ```
    /// # use sio_app::Io;
    /// # fn register(io: &Io) {
    /// io.on_connection_error(|error| {
    ///     println!("{:?} {}: {} ({:?})", error.method, error.path, error.message, error.context);
    /// });
    /// # }
    /// ```
    pub fn on_connection_error(&self, tell: impl Fn(&ConnectionError) + Send + Sync + 'static) {
        let old = self.0.hooks.set.write().connection_error.replace(Arc::new(tell));
        drop(old);
        for cell in &self.0.shards.cells {
            cell.ask("hook", |state| state.shard.tell_connection_errors(true));
        }
    }

    /// Makes the public ids of sockets, in place of the ids that the server draws. JavaScript's
    /// `generateId` makes the id of the session, too. Here this id is a secret, and is always
    /// drawn.
    ///
    /// The ids begin with [`Config::socket_id_prefix`](sio_proto::Config::socket_id_prefix), so
    /// that everybody can tell them from names of rooms: no room can have such a name, whether the
    /// id is in use or not. So a client that may choose the names of its rooms can neither read
    /// what is sent to another's id nor find out which ids are in use. Without a prefix the server
    /// does not start ([`Io::check`]).
    ///
    /// The function is called when the middlewares have let a socket in; in middlewares the socket
    /// has a drawn id, which nobody else is told. With `None` it keeps this id. It is not called
    /// for a client that comes back as the same socket ([`Namespace::recovery`]), because the
    /// client keeps the id that it had. Clients from before Socket.IO 3 know themselves by their
    /// session's id, and not by this one. The function must not block.
    ///
    /// Two sockets of a namespace cannot have the same id. A socket whose id is in use, or is no id
    /// ([`Config::check_socket_id`](sio_proto::Config::check_socket_id)), is not let in, and
    /// neither is a socket for which the function panics: the client is told of an internal error,
    /// and [`Io::on_error`] gets a [`HandlerError::Id`]. An id is in use until its socket is gone,
    /// and with recovery until nobody waits for its client. A client whose connection breaks comes
    /// back before the server knows it. So an id should have a part that is new for each
    /// connection.
    ///
    /// ```
    /// # use sio_app::{Config, ConfigError, Io, Socket};
    /// # use std::sync::atomic::{AtomicU64, Ordering};
    /// # fn register(io: &Io) {
    /// // With `Config::default().socket_id_prefix("user:")`:
    /// static NEXT: AtomicU64 = AtomicU64::new(1);
    /// io.generate_id(|socket: &Socket| {
    ///     let user = socket.data::<String>()?;
    ///     Some(format!("user:{user}.{}", NEXT.fetch_add(1, Ordering::Relaxed)))
    /// });
    /// # }
    /// ```
    pub fn generate_id(&self, make: impl Fn(&Socket) -> Option<String> + Send + Sync + 'static) {
        if self.config().socket_id_prefix.is_none() {
            return self.0.note_mistake(RegisterError::NoSocketIdPrefix);
        }
        let old = self.0.hooks.set.write().id.replace(Arc::new(make));
        drop(old);
    }

    /// Gets the errors of handlers: the socket, the event's name, and the error. There is no socket
    /// if a function of the server itself has failed. Without this function errors are logged.
    /// Errors that the function itself causes, on its thread, are logged too.
    pub fn on_error(&self, tell: impl Fn(Option<&Socket>, &str, &HandlerError) + Send + Sync + 'static) {
        let old = self.0.hooks.set.write().error.replace(Arc::new(tell));
        drop(old);
    }

    /// Handles raw Engine.IO sessions ([`Config::engine_path`](sio_proto::Config::engine_path)).
    pub fn on_engine(&self, handler: impl EngineHandler) {
        let handler: Arc<dyn EngineHandler> = Arc::new(handler);
        let old = self.0.hooks.set.write().engine.replace(handler);
        drop(old);
    }
}

impl Inner {
    /// Returns the client file that a request asks for, if there is one.
    pub(crate) fn client_file(&self, request: &http::Request) -> Option<HttpResponse> {
        let files = self.options.client_files.as_ref()?;
        files.answer(&self.config().path, request)
    }

    /// Returns the answer to a request that is not for Socket.IO: a file of the client, or the
    /// application's answer.
    pub(crate) fn answer(&self, request: &Request) -> HttpResponse {
        if let Some(answer) = self.client_file(&request.http) {
            return answer;
        }
        // Such a request asks about the server as a whole (RFC 9110 §9.3.7), and not about a page
        // of the application.
        if request.http.method == Method::Options && &*request.http.target == "*" {
            return HttpResponse::new(204).header("Allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS");
        }
        let hook = self.hooks.set.read().request.clone();
        let Some(hook) = hook else {
            return match request.http.method {
                Method::Other => HttpResponse::new(405).header("Allow", "GET, HEAD, POST, OPTIONS"),
                _ => HttpResponse::new(404),
            };
        };
        guarded(|| hook(&HttpRequest::new(request))).unwrap_or_else(|error| {
            self.report(None, "request", &error);
            HttpResponse::new(500)
        })
    }

    /// Returns the application's hook for requests that would open a session.
    pub(crate) fn allows(&self) -> Allows {
        self.hooks.set.read().allow.clone()
    }

    /// Asks the application about a request that would open a session.
    pub(crate) fn admission(&self, hook: &AllowFn, request: &Request) -> Admission {
        match guarded(|| hook(&HttpRequest::new(request))) {
            Ok(Ok(())) => Admission::Allowed,
            Ok(Err(message)) => Admission::Refused(message.into()),
            Err(error) => {
                self.report(None, "allow_request", &error);
                Admission::Refused(Refusal::INTERNAL.into())
            }
        }
    }

    /// Logs that something could not be registered. From now on [`Io::check`] returns this error.
    pub(crate) fn note_mistake(&self, mistake: RegisterError) {
        tracing::error!(error = %mistake, "cannot register");
        self.namespaces.note_mistake(mistake);
    }

    /// Reports the failure of a handler to the application. Then a client that waits for an
    /// acknowledgement gets one with an error.
    pub(crate) fn failed(&self, socket: &Socket, event: &str, failure: Failure) {
        let Failure { error, words, owed } = failure;
        self.report(Some(socket), event, &error);
        let Some(owed) = owed else { return };
        let Some(answer) = socket.0.table().and_then(|table| table.answer.as_ref()) else {
            return owed.send(&Told(words.unwrap_or_else(Refusal::internal)));
        };
        if let Err(panic) = guarded(|| answer(event, &error, owed)) {
            self.report(Some(socket), event, &panic);
            socket.disconnect();
        }
    }

    /// Asks the application for the header fields of the answer to a request that is for Socket.IO.
    pub(crate) fn add_headers(&self, request: &mut Request) {
        let Some(hook) = self.hooks.headers() else { return };
        if self.shards.router.route(request) == Routed::Foreign {
            return;
        }
        let mut headers = ResponseHeaders::new();
        let added = guarded(|| hook(&HttpRequest::new(request), &mut headers));
        match added.and_then(|added| added.map_err(|error| HandlerError::Failed(error.to_string()))) {
            Ok(()) => request.answer_headers = headers,
            Err(error) => self.report(None, "headers", &error),
        }
    }

    /// Tells the application's function for errors. Returns false if there is none, if it panics,
    /// or if such a function on this thread has caused the error. An error that its own report
    /// causes would have no end.
    fn tell(&self, socket: Option<&Socket>, event: &str, error: &HandlerError) -> bool {
        thread_local!(static TELLING: Cell<bool> = const { Cell::new(false) });
        if TELLING.replace(true) {
            return false;
        }
        let own = socket.and_then(|socket| Some((socket, socket.0.table()?.error.as_ref()?)));
        let told = match own {
            Some((socket, hook)) => guarded(|| hook(&socket.0, event, error)).is_ok(),
            None => {
                let hook = self.hooks.set.read().error.clone();
                hook.is_some_and(|hook| guarded(|| hook(socket, event, error)).is_ok())
            }
        };
        TELLING.set(false);
        told
    }

    /// Tells the application, or the log, about an error.
    pub(crate) fn report(&self, socket: Option<&Socket>, event: &str, error: &HandlerError) {
        if let HandlerError::Refused(_) = error {
            return;
        }
        self.tally.failed(error);
        if self.tell(socket, event, error) {
            return;
        }
        let namespace = socket.map_or("", Socket::namespace);
        // A name without a handler was chosen by a client, and the text of an error about arguments
        // may contain what the client sent. Neither is logged.
        let is_ours = socket.is_none_or(|socket| socket.0.table().is_none_or(|table| table.knows(event)));
        let event = if is_ours { event } else { "(any)" };
        self.warnings.say_failure(self.now(), namespace, event, error);
    }
}
