//! When the client connects, and what it does when a connection ends or cannot be made
//! (docs/protocol/socket-io.md §8.3 and §8.4).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::time::Duration;

use super::config::{OnRefused, Transport};
use super::cookies::CookieJar;
use super::event::{
    ClientError, Credentials, Delivery, DisconnectReason, ErrorClass, Output, Question, SocketId, State, StopReason,
};
use super::manager::{Client, Stage, auth_for};
use super::outputs::give_back;
use super::protocol::Protocol;
use super::session::{End, Instead, Opening, Session};
use super::socket::{Receipts, SocketState};
use crate::Time;
use crate::wire::Reassembly;

/// How often a connection may end without an answer when a session is to be resumed. Genuine
/// servers of 0.6 answer nothing if they do not know the session.
const MAX_DOUBTS: u32 = 2;

const MINUTE: Duration = Duration::from_secs(60);

impl Client {
    /// Begins an attempt, unless there were too many in the last minute.
    pub(super) fn begin(&mut self, now: Time) {
        while self.recent.front().is_some_and(|start| *start + MINUTE <= now) {
            self.recent.pop_front();
        }
        give_back(&mut self.recent);
        let next_free = self.recent.front().map(|start| *start + MINUTE);
        if self.recent.len() >= self.config.max_attempts_per_minute
            && let Some(until) = next_free
        {
            return self.wait(until);
        }
        self.recent.push_back(now);
        self.outputs
            .push_back(Output::State(State::Connecting(self.backoff.attempts())));
        if !self.config.provider {
            return self.open_session(now, Credentials::default());
        }
        let question = self.number();
        let until = now + self.config.connect_timeout;
        self.stage = Stage::Asking { question, until };
        self.outputs.push_back(Output::CredentialsWanted(Question {
            id: question,
            attempt: self.backoff.attempts(),
            socket: None,
            last_error: self.last_error.clone(),
        }));
    }

    fn wait(&mut self, until: Time) {
        // After a wait, the server may be another one.
        self.tried = 1;
        self.stage = Stage::Waiting(until);
        self.outputs.push_back(Output::State(State::Waiting(until)));
    }

    pub(super) fn open_session(&mut self, now: Time, credentials: Credentials) {
        let mut transports: VecDeque<Transport> = self.config.transports.iter().copied().collect();
        let has_websocket = transports.contains(&Transport::WebSocket);
        if self.config.remember_upgrade && self.websocket_worked && has_websocket {
            transports.retain(|transport| *transport != Transport::WebSocket);
            transports.push_front(Transport::WebSocket);
        }
        let wants_upgrade = self.config.upgrade && has_websocket;
        let may_upgrade = wants_upgrade && self.no_upgrade_until <= now;
        if may_upgrade && !self.protocol.has_upgrade() {
            transports.retain(|transport| *transport != Transport::WebSocket);
            transports.push_front(Transport::WebSocket);
        }
        let opening = Opening {
            endpoint: self.endpoint.clone(),
            protocol: self.protocol,
            transports,
            may_upgrade,
            upgrade_from: wants_upgrade.then_some(self.no_upgrade_until),
            credentials,
            resume: self.resume.clone(),
        };
        self.reassembly = Reassembly::new();
        let mut cx = super::session::Context {
            now,
            config: &self.config,
            entropy: &mut *self.entropy,
            jar: &mut self.jar,
            outputs: &mut self.outputs,
            heard: &mut self.heard,
            next_link: &mut self.next_link,
        };
        self.stage = Stage::Session(Box::new(Session::start(opening, &mut cx)));
    }

    /// Ends the attempt under way, whose connections cannot be trusted after a sleep, and begins
    /// another one with fresh delays.
    pub(super) fn begin_anew(&mut self, now: Time) {
        let error = ClientError::new(ErrorClass::Unreachable, "the machine has slept");
        let end = End::new(DisconnectReason::TransportClose, error.class, &error.message);
        self.with_session(now, |session, cx| session.end(end, cx));
        self.heard.clear();
        self.last_error = Some(error.clone());
        self.outputs.push_back(Output::State(State::Failed(error)));
        self.backoff.reset();
        self.begin(now);
    }

    /// The session is open.
    pub(super) fn opened(&mut self, now: Time) {
        let Stage::Session(session) = &self.stage else { return };
        let (generation, transport) = (session.protocol.generation(), session.transport);
        self.was_open = true;
        self.resume = None;
        self.websocket_worked |= transport == Transport::WebSocket;
        self.backoff.reset();
        self.refusals = 0;
        self.last_error = None;
        self.outputs
            .push_back(Output::State(State::Connected { generation, transport }));
        for at in 0..self.sockets.len() {
            step!();
            self.sockets[at].was_answered = false;
            if self.sockets[at].state == SocketState::Wanted {
                // The namespace may have been made when its credentials had been provided already.
                if let Stage::Session(session) = &self.stage {
                    self.sockets[at].provided = auth_for(at, session.credentials());
                }
                self.send_connect(now, at);
            }
        }
        (self.drain_at, self.drain_due) = (None, now);
        self.close_if_unused(now);
    }

    /// The session has ended.
    pub(super) fn ended(&mut self, now: Time, end: End) {
        let Stage::Session(session) = core::mem::replace(&mut self.stage, Stage::Idle) else {
            return;
        };
        self.heard.clear();
        if session.transport == Transport::WebSocket && !self.was_open {
            self.websocket_worked = false;
        }
        let was_open = core::mem::replace(&mut self.was_open, false);
        self.disconnect_sockets(now, &end);
        if self.closed {
            return self.stop(StopReason::Closed);
        }
        if session.is_closing() {
            // Somebody may have connected again while the goodbye was on its way.
            return match self.sockets.iter().any(|socket| socket.is_active()) {
                true => self.begin(now),
                false => self.stop(StopReason::NoNamespace),
            };
        }
        self.note_resume(&session, was_open, &end);
        if let Some(instead) = end.instead
            && let Some(protocol) = self.other_protocol(instead)
        {
            // The server speaks another protocol: the next attempt follows at once, and counts.
            self.protocol = protocol;
            return self.begin(now);
        }
        if was_open {
            self.last_error = Some(end.error);
            self.outputs.push_back(Output::State(State::Lost(end.reason)));
            self.try_again(now, end.retry_after);
        } else {
            self.fail_attempt(now, end.error, end.retry_after);
        }
    }

    /// The protocol to try next, unless all of them were tried.
    fn other_protocol(&mut self, instead: Instead) -> Option<Protocol> {
        let candidates = Protocol::candidates(&self.config);
        if self.tried >= candidates.len() {
            return None;
        }
        self.tried += 1;
        match instead {
            Instead::This(protocol) if candidates.contains(&protocol) => Some(protocol),
            Instead::This(_) | Instead::Next => {
                let at = candidates.iter().position(|candidate| *candidate == self.protocol)?;
                candidates.get((at + 1) % candidates.len()).copied()
            }
        }
    }

    /// Keeps the id of a session that outlives its connection, until the server does not know it.
    fn note_resume(&mut self, session: &Session, was_open: bool, end: &End) {
        let is_lost = matches!(
            end.reason,
            DisconnectReason::TransportClose | DisconnectReason::TransportError | DisconnectReason::PingTimeout
        );
        if was_open {
            let keeps = self.protocol.resumes() && is_lost && !session.is_closing();
            self.resume = keeps.then(|| session.to_resume());
        } else if session.has_given_up_resuming() {
            self.resume = None;
        } else if end.is_unanswered
            && let Some(resume) = &mut self.resume
        {
            resume.doubts += 1;
            if resume.doubts >= MAX_DOUBTS {
                self.resume = None;
            }
        }
    }

    fn disconnect_sockets(&mut self, now: Time, end: &End) {
        for at in 0..self.sockets.len() {
            step!();
            let mut receipts = Receipts::new();
            let socket = &mut self.sockets[at];
            let was_connected = socket.is_connected();
            socket.lose(&mut receipts);
            if socket.is_active() {
                socket.state = SocketState::Wanted;
            }
            self.limit_waiting(now, at);
            self.report(receipts);
            if was_connected {
                self.outputs.push_back(Output::Delivery(Delivery::Disconnect {
                    socket: SocketId(at as u32),
                    reason: end.reason,
                }));
            }
        }
    }

    /// A namespace is not connected any more. What waits for its next connection waits no longer
    /// than events may.
    pub(super) fn limit_waiting(&mut self, now: Time, at: usize) {
        if let Some(age) = self.config.max_queue_age {
            self.sockets[at].limit_waiting(now, age);
        }
    }

    /// An attempt has failed before the session was open.
    pub(super) fn fail_attempt(&mut self, now: Time, error: ClientError, retry_after: Option<Duration>) {
        self.last_error = Some(error.clone());
        self.outputs.push_back(Output::State(State::Failed(error.clone())));
        if error.class == ErrorClass::Refused && self.config.on_refused != OnRefused::Retry {
            self.refusals += 1;
            let asks_again = self.config.provider && self.config.on_refused == OnRefused::AskOnce;
            if asks_again && self.refusals == 1 {
                return self.begin(now);
            }
            self.tell_failure(&error);
            return self.stop(StopReason::Refused(error));
        }
        self.tell_failure(&error);
        self.try_again(now, retry_after);
    }

    fn tell_failure(&mut self, error: &ClientError) {
        for (at, socket) in self.sockets.iter().enumerate() {
            if socket.is_active() {
                self.outputs.push_back(Output::Delivery(Delivery::ConnectError {
                    socket: SocketId(at as u32),
                    error: error.clone(),
                }));
            }
        }
    }

    fn try_again(&mut self, now: Time, retry_after: Option<Duration>) {
        if !self.sockets.iter().any(|socket| socket.is_active()) {
            return self.stop(StopReason::NoNamespace);
        }
        if !self.config.reconnection {
            return self.stop(StopReason::ReconnectionOff);
        }
        let is_last = |attempts: u32| self.backoff.attempts() >= attempts;
        if self.config.reconnection_attempts.is_some_and(is_last) {
            return self.stop(StopReason::AttemptsExhausted);
        }
        let delay = self.backoff.next(&self.config, &mut *self.entropy);
        self.wait(now + delay.max(retry_after.unwrap_or_default()));
    }

    /// The client does nothing more until it is told to connect. Then it begins from nothing.
    pub(super) fn stop(&mut self, reason: StopReason) {
        self.stage = Stage::Idle;
        self.resume = None;
        self.tried = 1;
        self.refusals = 0;
        self.backoff.reset();
        for socket in &mut self.sockets {
            socket.state = SocketState::Idle;
        }
        if self.closed {
            // Nothing follows that could need them.
            (self.jar, self.last_error) = (CookieJar::default(), None);
            self.recent = VecDeque::new();
        }
        self.outputs.push_back(Output::State(State::Stopped(reason)));
    }

    /// Closes the connection if no namespace wants it.
    pub(super) fn close_if_unused(&mut self, now: Time) {
        if self.closed || self.sockets.iter().any(|socket| socket.is_active()) {
            return;
        }
        // On the wires before Engine.IO the session itself is the namespace `/`: a client that left
        // and kept it would go on getting messages.
        let may_stay = !self.config.close_with_last && matches!(self.protocol, Protocol::Engine(_));
        match &self.stage {
            Stage::Session(session) if session.is_open() && may_stay => {}
            Stage::Session(_) => {
                self.with_session(now, |session, cx| session.close(cx));
            }
            Stage::Waiting(_) | Stage::Asking { .. } => self.stop(StopReason::NoNamespace),
            Stage::Idle => {}
        }
    }
}
