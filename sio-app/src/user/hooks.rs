//! The application's decisions: what it says of requests, and what it is told of failures.

use std::sync::Arc;

use parking_lot::RwLock;
use sio_proto::http::{self, Method};
use sio_proto::server::{Admission, Request};

use crate::error::HandlerError;
use crate::guarded::guarded;
use crate::user::engine::EngineHandler;
use crate::user::io::{Inner, Io};
use crate::user::socket::Socket;
use crate::web::request::{HttpRequest, HttpResponse};

/// The application's functions. None is called or dropped under the lock.
#[derive(Default)]
pub(crate) struct Hooks(RwLock<Set>);

#[derive(Default)]
struct Set {
    request: Option<RequestFn>,
    allow: Option<AllowFn>,
    error: Option<ErrorFn>,
    engine: Option<Arc<dyn EngineHandler>>,
}

type RequestFn = Arc<dyn Fn(&HttpRequest<'_>) -> HttpResponse + Send + Sync>;
type AllowFn = Arc<dyn Fn(&HttpRequest<'_>) -> Result<(), String> + Send + Sync>;
type ErrorFn = Arc<dyn Fn(Option<&Socket>, &str, &HandlerError) + Send + Sync>;

impl Hooks {
    pub(crate) fn engine(&self) -> Option<Arc<dyn EngineHandler>> {
        self.0.read().engine.clone()
    }

    /// Lets go of all of them.
    pub(crate) fn clear(&self) {
        let hooks = std::mem::take(&mut *self.0.write());
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
        let old = self.0.hooks.0.write().request.replace(Arc::new(answer));
        drop(old);
    }

    /// Decides about requests that would open a session. The error is what the client is told.
    pub fn allow_request(&self, decide: impl Fn(&HttpRequest<'_>) -> Result<(), String> + Send + Sync + 'static) {
        let old = self.0.hooks.0.write().allow.replace(Arc::new(decide));
        drop(old);
    }

    /// Is told what goes wrong in handlers: the socket it was for, the event's name, and what.
    /// Without this it is logged.
    pub fn on_error(&self, tell: impl Fn(Option<&Socket>, &str, &HandlerError) + Send + Sync + 'static) {
        let old = self.0.hooks.0.write().error.replace(Arc::new(tell));
        drop(old);
    }

    /// Handles raw Engine.IO sessions ([`Config::engine_path`]).
    pub fn on_engine(&self, handler: impl EngineHandler) {
        let handler: Arc<dyn EngineHandler> = Arc::new(handler);
        let old = self.0.hooks.0.write().engine.replace(handler);
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
        let hook = self.hooks.0.read().request.clone();
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

    /// The application's word on a request that would open a session.
    pub(crate) fn admission(&self, request: &Request) -> Admission {
        let hook = self.hooks.0.read().allow.clone();
        let Some(hook) = hook else {
            return Admission::Allowed;
        };
        match guarded(|| hook(&HttpRequest::new(request))) {
            Ok(Ok(())) => Admission::Allowed,
            Ok(Err(message)) => Admission::Refused(message.into()),
            Err(error) => {
                self.report(None, "allow_request", &error);
                Admission::Refused("Internal server error".into())
            }
        }
    }

    /// Tells the application, or the log, what went wrong.
    pub(crate) fn report(&self, socket: Option<&Socket>, event: &str, error: &HandlerError) {
        self.tally.failed(error);
        let hook = self.hooks.0.read().error.clone();
        let told = hook.is_some_and(|hook| guarded(|| hook(socket, event, error)).is_ok());
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
            HandlerError::Failed(_) => &self.warnings.failed,
            HandlerError::Args(_) => &self.warnings.misfits,
            HandlerError::Emit(_) => &self.warnings.unsent,
        };
        rated.say(self.now(), || match error {
            HandlerError::Panicked(error) => tracing::error!(namespace, event, error, "handler panicked"),
            HandlerError::Failed(error) => tracing::warn!(namespace, event, error, "handler failed"),
            HandlerError::Args(_) => tracing::warn!(namespace, event, "arguments do not fit"),
            HandlerError::Emit(_) => tracing::warn!(namespace, event, "cannot emit"),
        });
    }
}
