//! The application's decisions: what it says of requests, and what it is told of failures.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use sio_proto::http::{self, HeaderError, Method, ResponseHeaders};
use sio_proto::server::{Admission, ConnectionError, Handshake, Request, Routed, TransportKind};

use crate::error::{HandlerError, RegisterError};
use crate::guarded::guarded;
use crate::turn::call::Failure;
use crate::turn::refusal::Refusal;
use crate::user::engine::EngineHandler;
use crate::user::handler::Told;
use crate::user::io::{Inner, Io};
use crate::user::socket::Socket;
use crate::web::request::{HttpRequest, HttpResponse};

/// The application's functions. None is called or dropped under the lock.
#[derive(Default)]
pub(crate) struct Hooks {
    set: RwLock<Set>,
    /// Whether there is a hook for the headers of answers. Most servers have none, and their polls
    /// look at nothing else.
    has_headers: AtomicBool,
}

#[derive(Default)]
struct Set {
    request: Option<RequestFn>,
    allow: Allows,
    error: Option<ErrorFn>,
    engine: Option<Arc<dyn EngineHandler>>,
    headers: Option<HeadersFn>,
    upgrade: Option<UpgradeFn>,
    connection_error: Option<ConnectionErrorFn>,
}

type RequestFn = Arc<dyn Fn(&HttpRequest<'_>) -> HttpResponse + Send + Sync>;
pub(crate) type AllowFn = Arc<dyn Fn(&HttpRequest<'_>) -> Result<(), String> + Send + Sync>;
pub(crate) type AllowLaterFn = Arc<dyn Fn(Arc<Handshake>) -> AllowFuture + Send + Sync>;
pub(crate) type AllowFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
type HeadersFn = Arc<dyn Fn(&HttpRequest<'_>, &mut ResponseHeaders) -> Result<(), HeaderError> + Send + Sync>;
type UpgradeFn = Arc<dyn Fn(&Socket, TransportKind) + Send + Sync>;
type ConnectionErrorFn = Arc<dyn Fn(&ConnectionError) + Send + Sync>;
type ErrorFn = Arc<dyn Fn(Option<&Socket>, &str, &HandlerError) + Send + Sync>;

/// Who decides about requests that would open a session.
#[derive(Clone, Default)]
pub(crate) enum Allows {
    /// Nobody: all may.
    #[default]
    All,
    /// A function that decides at once.
    Now(AllowFn),
    /// A function whose future decides.
    Later(AllowLaterFn),
}

impl Hooks {
    pub(crate) fn engine(&self) -> Option<Arc<dyn EngineHandler>> {
        self.set.read().engine.clone()
    }

    pub(crate) fn upgrade(&self) -> Option<UpgradeFn> {
        self.set.read().upgrade.clone()
    }

    pub(crate) fn connection_error(&self) -> Option<ConnectionErrorFn> {
        self.set.read().connection_error.clone()
    }

    fn headers(&self) -> Option<HeadersFn> {
        let asked = self.has_headers.load(Ordering::Relaxed);
        asked.then(|| self.set.read().headers.clone())?
    }

    /// Lets go of all of them.
    pub(crate) fn clear(&self) {
        self.has_headers.store(false, Ordering::Relaxed);
        let hooks = std::mem::take(&mut *self.set.write());
        drop(hooks);
    }
}

/// The application's decisions.
impl Io {
    /// Answers requests that are not Socket.IO's. Without this they get 404, or 405 if their method
    /// is none that this server knows.
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
    pub fn on_request(&self, answer: impl Fn(&HttpRequest<'_>) -> HttpResponse + Send + Sync + 'static) {
        let old = self.0.hooks.set.write().request.replace(Arc::new(answer));
        drop(old);
    }

    /// Decides about requests that would open a session. The error is what the client is told. It
    /// takes the place of an earlier [`Io::allow_request_async`].
    ///
    /// The function is called in place and must not wait.
    pub fn allow_request(&self, decide: impl Fn(&HttpRequest<'_>) -> Result<(), String> + Send + Sync + 'static) {
        self.set_allows(Allows::Now(Arc::new(decide)));
    }

    /// Decides about requests that would open a session, and may wait for the decision:
    /// JavaScript's `allowRequest(req, callback)`. The error is what the client is told. The
    /// function takes the place of an earlier [`Io::allow_request`].
    ///
    /// The function is given what a session keeps of its request: target, query, address, and the
    /// header fields that fit into [`Config::max_handshake_bytes`]. Requests that are refused for
    /// where they come from are not asked about. All transports and generations are, websockets and
    /// servers that this one is mounted in too.
    ///
    /// What is not allowed is refused: if the future panics, or takes longer than
    /// [`Options::allow_request_timeout`](crate::Options::allow_request_timeout), or when
    /// [`Options::max_waiting_requests`](crate::Options::max_waiting_requests) wait already. The
    /// future is polled by the task of its connection, and dropped when the client goes away; so
    /// what it has to finish in any case belongs into a task of its own.
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

    /// Adds header fields to the answers of Socket.IO's requests: of polls, of handshakes, of
    /// websockets (the 101) and of refusals, in every generation. The function is called for each
    /// request before it is handled, in place, and must not wait.
    /// [`HttpRequest::may_open_session`] tells handshakes, as JavaScript's `initial_headers`.
    ///
    /// A field that no answer can hold, or that only the server may write, is an error
    /// ([`ResponseHeaders::add`]). If the function returns an error or panics, the error is
    /// reported ([`Io::on_error`]) and nothing is added. Answers to messages that are no HTTP have
    /// no such fields, and the answers that an HTTP server around this one makes by itself neither.
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

    /// Is told when the session of a socket has moved from polling to a websocket, once for each
    /// socket of the session: JavaScript's `socket.conn.on("upgrade")`. The function is called in
    /// place and must not wait. Sessions that are opened over a websocket do not move. The end of a
    /// session is told to the handlers of each socket
    /// ([`Namespace::on_disconnect`](crate::Namespace::on_disconnect)), and
    /// [`Socket::close`] ends it.
    pub fn on_upgrade(&self, tell: impl Fn(&Socket, TransportKind) + Send + Sync + 'static) {
        let old = self.0.hooks.set.write().upgrade.replace(Arc::new(tell));
        drop(old);
    }

    /// Is told which requests were refused, and why: JavaScript's `engine.on("connection_error")`.
    /// The function is called in place, after the answer is decided, and must not wait. Peers can
    /// send such requests as often as they like, so limit the rate of what you log. (Refused
    /// origins are logged at a limited rate in any case.)
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
            cell.ask(|state| state.shard.tell_connection_errors(true));
        }
    }

    /// Is told what goes wrong in handlers: the socket it was for, the event's name, and what.
    /// Without this it is logged.
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
    /// The client's file that a request asks for, if there is one.
    pub(crate) fn client_file(&self, request: &http::Request) -> Option<HttpResponse> {
        let files = self.options.client_files.as_ref()?;
        files.answer(&self.config().path, request)
    }

    /// The answer to a request that is not Socket.IO's: a file of the client's, or what the
    /// application says.
    pub(crate) fn answer(&self, request: &Request) -> HttpResponse {
        if let Some(answer) = self.client_file(&request.http) {
            return answer;
        }
        // It asks about the server as a whole (RFC 9110 §9.3.7), which is none of the application's
        // pages.
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

    /// Who decides about requests that would open a session.
    pub(crate) fn allows(&self) -> Allows {
        self.hooks.set.read().allow.clone()
    }

    /// The application's word on a request that would open a session.
    pub(crate) fn admission(&self, hook: &AllowFn, request: &Request) -> Admission {
        match guarded(|| hook(&HttpRequest::new(request))) {
            Ok(Ok(())) => Admission::Allowed,
            Ok(Err(message)) => Admission::Refused(message.into()),
            Err(error) => {
                self.report(None, "allow_request", &error);
                Admission::Refused("Internal server error".into())
            }
        }
    }

    /// Logs that something could not be registered. [`Io::check`] says it from here on.
    pub(crate) fn note_mistake(&self, mistake: RegisterError) {
        tracing::error!(error = %mistake, "cannot register");
        self.namespaces.note_mistake(mistake);
    }

    /// Tells the application why a handler has not done what it was for, and then a client that
    /// waits for an acknowledgement.
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

    /// The header fields that the application adds to the answer to a request of Socket.IO's.
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

    /// Tells the application, or the log, what went wrong.
    pub(crate) fn report(&self, socket: Option<&Socket>, event: &str, error: &HandlerError) {
        if let HandlerError::Refused(_) = error {
            return;
        }
        self.tally.failed(error);
        let own = socket.and_then(|socket| Some((socket, socket.0.table()?.error.as_ref()?)));
        let told = match own {
            Some((socket, hook)) => guarded(|| hook(&socket.0, event, error)).is_ok(),
            None => {
                let hook = self.hooks.set.read().error.clone();
                hook.is_some_and(|hook| guarded(|| hook(socket, event, error)).is_ok())
            }
        };
        if told {
            return;
        }
        let namespace = socket.map_or("", Socket::namespace);
        // A name for which there is no handler is a client's word, and so is what arguments are
        // that do not fit.
        let is_ours = socket.is_none_or(|socket| socket.0.table().is_none_or(|table| table.knows(event)));
        let event = if is_ours { event } else { "(any)" };
        let rated = match error {
            HandlerError::Panicked(_) => &self.warnings.panicked,
            HandlerError::Failed(_) | HandlerError::Refused(_) => &self.warnings.failed,
            HandlerError::Extract { .. } => &self.warnings.unextracted,
            HandlerError::Args(_) => &self.warnings.misfits,
            HandlerError::Emit(_) => &self.warnings.unsent,
        };
        rated.say(self.now(), || match error {
            HandlerError::Panicked(error) => tracing::error!(namespace, event, error, "handler panicked"),
            HandlerError::Failed(error) | HandlerError::Refused(error) => {
                tracing::warn!(namespace, event, error, "handler failed");
            }
            HandlerError::Extract { what, .. } => tracing::warn!(namespace, event, what, "a handler cannot be called"),
            HandlerError::Args(_) => tracing::warn!(namespace, event, "arguments do not fit"),
            HandlerError::Emit(_) => tracing::warn!(namespace, event, "cannot emit"),
        });
    }
}
