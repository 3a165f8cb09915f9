//! The client: what it holds, and what the user tells it to do.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::BytesMut;
use bytestring::ByteString;

use super::backoff::Backoff;
use super::config::{ClientConfig, ClientConfigError, Generation, Transport};
use super::cookies::CookieJar;
use super::endpoint::Endpoint;
use super::event::{
    ClientError, Credentials, Delivery, DisconnectReason, ErrorClass, Output, SocketId, State, StopReason,
};
use super::outputs::{Outputs, give_back};
use super::protocol::{Feature, Protocol};
use super::session::{Context, End, Heard, Resume, Session};
use super::socket::{Receipts, Socket, SocketState};
use crate::json;
use crate::wire::Reassembly;
use crate::{Entropy, Time};

/// A client of one server. See the [module](super) for its loop.
///
/// Each input may make outputs: call [`Client::poll_output`] until it returns `None` after every
/// input and command.
pub struct Client {
    pub(super) config: ClientConfig,
    pub(super) endpoint: Endpoint,
    pub(super) entropy: Box<dyn Entropy>,
    pub(super) jar: CookieJar,
    pub(super) outputs: Outputs,
    pub(super) heard: VecDeque<Heard>,
    pub(super) stage: Stage,
    pub(super) sockets: Vec<Socket>,
    pub(super) reassembly: Reassembly,
    pub(super) buffer: BytesMut,
    pub(super) backoff: Backoff,
    /// When the attempts of the last minute have started.
    pub(super) recent: VecDeque<Time>,
    pub(super) last_error: Option<ClientError>,
    /// How often the handshake was refused in a row.
    pub(super) refusals: u32,
    pub(super) protocol: Protocol,
    /// How many protocols were tried since the client last waited or was stopped.
    pub(super) tried: usize,
    /// The session to which the next connection goes back.
    pub(super) resume: Option<Resume>,
    pub(super) websocket_worked: bool,
    pub(super) no_upgrade_until: Time,
    /// When the next event may leave the queue, if it may not leave now.
    pub(super) drain_at: Option<Time>,
    /// When it might have left, if the transport had been free.
    pub(super) drain_due: Time,
    pub(super) closed: bool,
    /// The session has been open.
    pub(super) was_open: bool,
    pub(super) next_link: u64,
    /// Numbers of emits, answers and questions.
    pub(super) next_number: u64,
}

/// What the client does about its connection.
#[derive(Debug)]
pub(super) enum Stage {
    Idle,
    Asking { question: u64, until: Time },
    Session(Box<Session>),
    Waiting(Time),
}

/// Why a command was refused.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The client was closed.
    #[error("the client was closed")]
    Closed,
    /// A namespace starts with `/`, has no comma, and is not too long.
    #[error("invalid namespace")]
    Namespace,
    /// There are [`ClientConfig::max_namespaces`] already.
    #[error("too many namespaces")]
    TooManyNamespaces,
    /// The generation has no namespace with this name.
    #[error("this generation does not have {0}")]
    Unsupported(Feature),
    /// An `auth` is a JSON object.
    #[error("the auth is no JSON object")]
    Auth,
    /// Nobody asks this question any more.
    #[error("nobody asks this question any more")]
    Question,
}

crate::readable::says_why!(CommandError);

/// Checks that a text is a JSON object.
pub(super) fn check_auth(auth: &ByteString) -> Result<(), CommandError> {
    let is_object = auth.starts_with('{') && json::validate(auth, json::MAX_DEPTH).is_ok();
    is_object.then_some(()).ok_or(CommandError::Auth)
}

impl Client {
    /// A client that does nothing until [`Client::connect`].
    ///
    /// # Errors
    ///
    /// A setting with which no client can work.
    pub fn new(endpoint: Endpoint, config: ClientConfig, entropy: Box<dyn Entropy>) -> Result<Self, ClientConfigError> {
        config.validate()?;
        let protocol = Protocol::candidates(&config)[0];
        Ok(Self {
            config,
            endpoint,
            entropy,
            jar: CookieJar::default(),
            outputs: Outputs::new(),
            heard: VecDeque::new(),
            stage: Stage::Idle,
            sockets: Vec::new(),
            reassembly: Reassembly::new(),
            buffer: BytesMut::new(),
            backoff: Backoff::default(),
            recent: VecDeque::new(),
            last_error: None,
            refusals: 0,
            protocol,
            tried: 1,
            resume: None,
            websocket_worked: false,
            no_upgrade_until: Time::ZERO,
            drain_at: None,
            drain_due: Time::ZERO,
            closed: false,
            was_open: false,
            next_link: 0,
            next_number: 0,
        })
    }

    /// What to do next. Call it until it returns `None`, after every input and command.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The namespace with this name. It is made if there is none, and not connected.
    ///
    /// # Errors
    ///
    /// [`CommandError::Namespace`], [`CommandError::TooManyNamespaces`], and
    /// [`CommandError::Unsupported`] in a generation that does not have the namespace. With
    /// [`Generation::Auto`], such a namespace cannot connect ([`Delivery::ConnectError`]).
    pub fn socket(&mut self, namespace: &str) -> Result<SocketId, CommandError> {
        if let Some(at) = self.sockets.iter().position(|socket| socket.namespace == namespace) {
            return Ok(SocketId(at as u32));
        }
        let is_valid = namespace.starts_with('/')
            && !namespace.contains(',')
            && namespace.len() <= self.config.packet.max_namespace_bytes;
        if !is_valid {
            return Err(CommandError::Namespace);
        }
        if self.config.generation != Generation::Auto {
            self.protocol
                .check_namespace(namespace)
                .map_err(CommandError::Unsupported)?;
        }
        if self.sockets.len() >= self.config.max_namespaces {
            return Err(CommandError::TooManyNamespaces);
        }
        self.sockets.push(Socket::new(namespace.into()));
        Ok(SocketId(self.sockets.len() as u32 - 1))
    }

    /// The name of a namespace.
    #[must_use]
    pub fn namespace(&self, socket: SocketId) -> Option<&ByteString> {
        self.sockets.get(socket.0 as usize).map(|socket| &socket.namespace)
    }

    /// Whether a namespace is connected.
    #[must_use]
    pub fn is_connected(&self, socket: SocketId) -> bool {
        self.sockets.get(socket.0 as usize).is_some_and(Socket::is_connected)
    }

    /// The transport of the open session, if there is one.
    #[must_use]
    pub fn transport(&self) -> Option<Transport> {
        match &self.stage {
            Stage::Session(session) if session.is_open() => Some(session.transport),
            Stage::Session(_) | Stage::Idle | Stage::Asking { .. } | Stage::Waiting(_) => None,
        }
    }

    /// Sets the `auth` of a namespace, a JSON object, for each CONNECT from now on. Engine.IO 3 and
    /// 0.9 have no `auth`: its members become the query of the CONNECT, except for `/`, where only
    /// [`ClientConfig::query`] reaches the server.
    ///
    /// # Errors
    ///
    /// [`CommandError::Auth`] and [`CommandError::Namespace`].
    pub fn set_auth(&mut self, socket: SocketId, auth: Option<ByteString>) -> Result<(), CommandError> {
        auth.as_ref().map_or(Ok(()), check_auth)?;
        let socket = self.sockets.get_mut(socket.0 as usize);
        socket.ok_or(CommandError::Namespace)?.auth = auth;
        Ok(())
    }

    /// Connects a namespace, and keeps it connected. The first one makes the client connect; after
    /// [`StopReason`], also after a refusal, it begins again.
    ///
    /// # Errors
    ///
    /// [`CommandError::Closed`] and [`CommandError::Namespace`].
    pub fn connect(&mut self, now: Time, socket: SocketId) -> Result<(), CommandError> {
        if self.closed {
            return Err(CommandError::Closed);
        }
        let at = socket.0 as usize;
        let place = self.sockets.get_mut(at).ok_or(CommandError::Namespace)?;
        if !place.is_active() {
            place.state = SocketState::Wanted;
            place.refusals = 0;
            match &self.stage {
                Stage::Idle => self.begin(now),
                Stage::Session(session) if session.is_open() && !session.is_closing() => self.join(now, at),
                Stage::Session(_) | Stage::Asking { .. } | Stage::Waiting(_) => {}
            }
        }
        self.settle(now);
        Ok(())
    }

    /// Leaves a namespace. The connection is closed with the last one, if
    /// [`ClientConfig::close_with_last`] is set. What waits in the queue goes on waiting. What was
    /// written and is not acknowledged or confirmed ends as
    /// [`Outcome::Disconnected`](super::Outcome::Disconnected), unless it is sent again
    /// ([`ClientConfig::retries`]): then it goes on waiting, too.
    ///
    /// # Errors
    ///
    /// [`CommandError::Namespace`].
    pub fn disconnect(&mut self, now: Time, socket: SocketId) -> Result<(), CommandError> {
        let at = socket.0 as usize;
        self.sockets.get(at).ok_or(CommandError::Namespace)?;
        self.leave(now, at);
        self.close_if_unused(now);
        self.settle(now);
        Ok(())
    }

    /// Closes the client for good. What is connected says goodbye; nothing else leaves any more.
    /// All emits end.
    pub fn close(&mut self, now: Time) {
        if core::mem::replace(&mut self.closed, true) {
            return;
        }
        for at in 0..self.sockets.len() {
            self.leave(now, at);
            let mut receipts = Receipts::new();
            self.sockets[at].end(&mut receipts);
            self.report(receipts);
        }
        self.with_session(now, |session, cx| session.close(cx));
        if !matches!(self.stage, Stage::Session(_)) {
            self.stop(StopReason::Closed);
        }
        self.settle(now);
    }

    /// The machine has been asleep, the application was in the background, or the network is back:
    /// an open connection is probed, and a waiting client connects at once, with fresh delays.
    pub fn wake(&mut self, now: Time) {
        self.no_upgrade_until = Time::ZERO;
        match &mut self.stage {
            Stage::Waiting(_) => {
                self.backoff.reset();
                self.begin(now);
            }
            Stage::Session(session) if session.is_open() => {
                self.with_session(now, |session, cx| session.wake(cx));
            }
            Stage::Session(session) => session.end_upgrade_pause(),
            Stage::Asking { .. } | Stage::Idle => {}
        }
        self.settle(now);
    }

    /// The network has gone: the connection ends at once. The client tries again after the usual
    /// delay, or at [`Client::wake`].
    pub fn network_lost(&mut self, now: Time) {
        self.no_upgrade_until = Time::ZERO;
        let end = End::new(
            DisconnectReason::TransportClose,
            ErrorClass::Unreachable,
            "the network was lost",
        );
        self.with_session(now, |session, cx| session.end(end, cx));
        self.settle(now);
    }

    /// Whether this [`Question`](super::Question) is still open: it was not answered, its time is
    /// not over, and its attempt goes on. The caller need not look for the answer any more
    /// otherwise.
    #[must_use]
    pub fn asks(&self, question: u64) -> bool {
        let is_of_socket =
            |socket: &Socket| matches!(socket.state, SocketState::Asking { question: asked, .. } if asked == question);
        matches!(self.stage, Stage::Asking { question: asked, .. } if asked == question)
            || self.sockets.iter().any(is_of_socket)
    }

    /// Answers [`Output::CredentialsWanted`].
    ///
    /// # Errors
    ///
    /// [`CommandError::Auth`] if an `auth` is no JSON object; the question stays open. And
    /// [`CommandError::Question`].
    pub fn provide(&mut self, now: Time, question: u64, credentials: Credentials) -> Result<(), CommandError> {
        credentials.auth.iter().try_for_each(|(_, auth)| check_auth(auth))?;
        let asks =
            |socket: &Socket| matches!(socket.state, SocketState::Asking { question: asked, .. } if asked == question);
        if matches!(self.stage, Stage::Asking { question: asked, .. } if asked == question) {
            for (at, socket) in self.sockets.iter_mut().enumerate() {
                socket.provided = auth_for(at, &credentials);
            }
            self.open_session(now, credentials);
        } else if let Some(at) = self.sockets.iter().position(asks) {
            self.sockets[at].provided = auth_for(at, &credentials);
            self.send_connect(now, at);
        } else {
            return Err(CommandError::Question);
        }
        self.settle(now);
        Ok(())
    }

    /// Answers [`Output::CredentialsWanted`]: there are no credentials, because of this.
    ///
    /// # Errors
    ///
    /// [`CommandError::Question`].
    pub fn provide_nothing(&mut self, now: Time, question: u64, why: &str) -> Result<(), CommandError> {
        let error = ClientError::new(ErrorClass::Credentials, why);
        let asks =
            |socket: &Socket| matches!(socket.state, SocketState::Asking { question: asked, .. } if asked == question);
        if matches!(self.stage, Stage::Asking { question: asked, .. } if asked == question) {
            self.fail_attempt(now, error, None);
        } else if let Some(at) = self.sockets.iter().position(asks) {
            self.refuse(at, error);
            self.close_if_unused(now);
        } else {
            return Err(CommandError::Question);
        }
        self.settle(now);
        Ok(())
    }

    pub(super) fn with_session<R>(
        &mut self,
        now: Time,
        act: impl FnOnce(&mut Session, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let Stage::Session(session) = &mut self.stage else {
            return None;
        };
        let mut cx = Context {
            now,
            config: &self.config,
            entropy: &mut *self.entropy,
            jar: &mut self.jar,
            outputs: &mut self.outputs,
            heard: &mut self.heard,
            next_link: &mut self.next_link,
        };
        Some(act(session, &mut cx))
    }

    /// Acts on everything that the session has heard, and writes what can be written.
    pub(super) fn settle(&mut self, now: Time) {
        loop {
            while let Some(heard) = self.heard.pop_front() {
                step!();
                self.hear(now, heard);
            }
            self.flush(now);
            if self.heard.is_empty() {
                give_back(&mut self.heard);
                break;
            }
        }
    }

    fn hear(&mut self, now: Time, heard: Heard) {
        match heard {
            Heard::Opened => self.opened(now),
            Heard::Message(message) => self.handle_message(now, message),
            Heard::Packet(packet) => self.handle_packet(now, packet),
            Heard::Dismissed => self.dismissed(now),
            Heard::Upgraded => {
                self.websocket_worked = true;
                self.outputs.push_back(Output::State(State::Upgraded));
            }
            Heard::UpgradeFailed => self.no_upgrade_until = now + self.config.upgrade_pause,
            Heard::Ended(end) => self.ended(now, end),
        }
    }

    pub(super) fn report(&mut self, receipts: Receipts) {
        let delivery = |(emit, outcome)| Output::Delivery(Delivery::Receipt { emit, outcome });
        self.outputs.extend(receipts.into_iter().map(delivery));
    }

    pub(super) const fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }
}

pub(super) fn auth_for(at: usize, credentials: &Credentials) -> Option<ByteString> {
    let own = Some(SocketId(at as u32));
    let entry = |wanted| credentials.auth.iter().find(move |(socket, _)| *socket == wanted);
    entry(own).or_else(|| entry(None)).map(|(_, auth)| auth.clone())
}
