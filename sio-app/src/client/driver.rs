//! The task of a client: connections, the time, and everything that the machine tells.
//!
//! There is one task for each client, and it owns all of its connections. So what an attempt uses
//! ends with the attempt, and everything ends with the task. The task ends when the client has
//! closed.

use std::collections::VecDeque;
use std::future::{Future, ready};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use sio_proto::Time;
use sio_proto::client::{self as machine, Delivery, Output, Question, SocketId, State, StopReason};

use super::builder::{Attempt, Providing};
use super::clocks::Clocks;
use super::dial::dial;
use super::events::ConnectionState;
use super::handlers::{News, tell};
use super::link::{Link, Told};
use super::network::{Dialing, Sleeping};
use super::receipt::Outcome;
use super::shared::Shared;
use crate::args::detached;
use crate::guarded::guarded;
use crate::lock::Alarm;
use crate::trim::trim_queue;

/// How often the task goes round before other tasks have their turn.
const ROUNDS: usize = 32;

/// How long the last bytes of a closed connection may take to leave.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct Driver {
    shared: Arc<Shared>,
    links: Vec<Link>,
    outputs: VecDeque<Output>,
    /// What the handlers have to be told. It waits while as many handlers wait as may.
    news: VecDeque<(SocketId, News)>,
    news_bytes: usize,
    /// How many of the first news have waited for a handler to finish. They share no memory with
    /// what was read.
    news_waiting: usize,
    /// The questions that the provider of credentials has not answered.
    asked: Vec<(u64, Providing)>,
    clocks: Clocks,
    timer: Option<(Time, Sleeping)>,
    /// When a connection that is not read now has to be read.
    reads_at: Option<Time>,
    alarm: Option<std::task::Waker>,
    is_closed: bool,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            clocks: Clocks::read(shared.network),
            shared,
            links: Vec::new(),
            outputs: VecDeque::new(),
            news: VecDeque::new(),
            news_bytes: 0,
            news_waiting: 0,
            asked: Vec::new(),
            timer: None,
            reads_at: None,
            alarm: None,
            is_closed: false,
        }
    }

    /// Tells the machine if the clock of dates has gone ahead.
    fn look_at_clocks(&mut self) {
        let ahead = self.clocks.look(self.shared.network);
        if !ahead.is_zero() {
            let now = self.shared.now();
            let mut core = self.shared.core.lock_for("clocks");
            core.machine.handle_clock_jump(now, ahead);
        }
    }

    /// Takes what the machine tells. Returns when the machine wants to be called.
    fn take_outputs(&mut self) -> Option<Time> {
        let now = self.shared.now();
        let mut core = self.shared.core.lock_for("outputs");
        if core.machine.next_timeout().is_some_and(|time| time <= now) {
            core.machine.handle_timeout(now);
        }
        while let Some(output) = core.machine.poll_output() {
            self.outputs.push_back(output);
        }
        core.machine.next_timeout()
    }

    /// Acts on what the machine has told. Returns whether there was anything.
    fn act(&mut self) -> bool {
        let acts = !self.outputs.is_empty();
        while let Some(output) = self.outputs.pop_front() {
            match output {
                Output::Connect { link, host, port, tls } => {
                    let dialing = self.dial(host.trim_matches(['[', ']']), port, tls);
                    self.links.push(Link::new(link, dialing));
                }
                Output::Bytes(id, bytes) => {
                    if let Some(link) = self.links.iter_mut().find(|link| link.id == id) {
                        link.write(bytes);
                    }
                }
                Output::Close(id) => {
                    let until = self.shared.now() + CLOSE_TIMEOUT;
                    if let Some(link) = self.links.iter_mut().find(|link| link.id == id) {
                        link.close(until);
                    }
                }
                Output::CredentialsWanted(question) => self.ask(question),
                Output::State(state) => self.change(state),
                Output::Delivery(delivery) => self.deliver(delivery),
                _ => {}
            }
        }
        trim_queue(&mut self.outputs);
        self.tell_news() || acts
    }

    /// Tells the handlers and streams what has happened. Returns whether there was anything.
    fn tell_news(&mut self) -> bool {
        let mut tells = false;
        while let Some((_, news)) = self.news.front() {
            let waits = matches!(news, News::Event { .. }) && self.shared.has_enough_handlers();
            // Handlers that never finish must not keep a client that has closed.
            if waits && !self.is_closed {
                self.let_news_wait();
                break;
            }
            let Some((id, news)) = self.news.pop_front() else { break };
            self.news_waiting = self.news_waiting.saturating_sub(1);
            trim_queue(&mut self.news);
            self.news_bytes -= news.bytes();
            if waits {
                continue;
            }
            tells = true;
            let Some(place) = self.shared.place(id) else { continue };
            match &news {
                News::Connected(sid, recovery) => *place.connection.lock() = Some((sid.clone(), *recovery)),
                News::Disconnected(_) => *place.connection.lock() = None,
                News::Failed(_) | News::Event { .. } => {}
            }
            tell(&self.shared, &place, news);
        }
        tells
    }

    /// All news wait, perhaps for long. They must not keep the buffers that they were read into.
    fn let_news_wait(&mut self) {
        for (_, news) in self.news.iter_mut().skip(self.news_waiting) {
            news.detach();
        }
        self.news_waiting = self.news.len();
    }

    /// Of the failures to connect that wait behind an event, each namespace is told the last one:
    /// a server that refuses a client again and again must not make them pile up.
    fn replace_failure(&mut self, id: SocketId, news: &mut News) -> bool {
        if self.news_waiting == 0 || !matches!(news, News::Failed(_)) {
            return false;
        }
        let last = self.news.iter_mut().rev().find(|(other, _)| *other == id);
        let Some((_, before @ News::Failed(_))) = last else {
            return false;
        };
        self.news_bytes -= before.bytes();
        self.news_bytes += news.bytes();
        std::mem::swap(before, news);
        true
    }

    /// Connects to the server, through a proxy if there is one.
    fn dial(&self, host: &str, port: u16, tls: bool) -> Dialing {
        let network = self.shared.network;
        let dialing = match self.shared.ways.choose(tls) {
            Ok(Some(through)) => Arc::clone(through).dial(network, host.to_owned(), port),
            Ok(None) => dial(network, host.to_owned(), port),
            Err(error) => return Box::pin(ready(Err(error))),
        };
        if !tls {
            return dialing;
        }
        // A client for `https` has TLS. A client for `http` may have been redirected.
        #[cfg(feature = "tls")]
        let dialing = match self.shared.tls() {
            Ok(tls) => {
                let host = host.to_owned();
                Box::pin(async move { tls.wrap(&host, dialing.await?) })
            }
            Err(error) => failed_tls(error),
        };
        #[cfg(not(feature = "tls"))]
        let dialing = {
            drop(dialing);
            failed_tls("the server redirects to https, and the client is built without the feature `tls`")
        };
        dialing
    }

    fn ask(&mut self, question: Question) {
        let Some(provider) = &self.shared.provider else { return };
        let place = question.socket.and_then(|socket| self.shared.place(socket));
        let attempt = Attempt {
            number: question.attempt,
            namespace: place.map(|place| place.namespace.clone()),
            last_error: question.last_error,
        };
        let providing = match guarded(|| provider(attempt)) {
            Ok(providing) => providing,
            Err(panic) => Box::pin(async move { Err(panic.to_string()) }),
        };
        self.asked.push((question.id, providing));
    }

    fn change(&mut self, state: State) {
        self.is_closed |= matches!(state, State::Stopped(StopReason::Closed));
        let Some(state) = ConnectionState::of(state, &self.shared) else {
            return;
        };
        let watchers: Vec<_> = self.shared.watchers.lock().iter().filter_map(Weak::upgrade).collect();
        for watcher in watchers {
            watcher.push(state.clone());
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let news = match delivery {
            // A handler may wait for it, so it does not wait behind other news.
            Delivery::Receipt { emit, outcome } => {
                let slot = self.shared.core.lock_for("receipt").waiting.remove(&emit);
                if let Some(slot) = slot {
                    // The answer may wait for long. It must not keep the buffer that it came in.
                    slot.fill(match outcome {
                        machine::Outcome::Acknowledged(args) => machine::Outcome::Acknowledged(detached(args)).into(),
                        outcome => outcome.into(),
                    });
                }
                return;
            }
            Delivery::Connect { socket, sid, recovery } => (socket, News::Connected(sid, recovery)),
            Delivery::ConnectError { socket, error } => (socket, News::Failed(error)),
            Delivery::Disconnect { socket, reason } => (socket, News::Disconnected(reason)),
            Delivery::Event {
                socket,
                name,
                args,
                ack,
            } => (socket, News::Event { name, args, ack }),
            _ => return,
        };
        let (id, mut news) = news;
        if self.replace_failure(id, &mut news) {
            return;
        }
        self.news_bytes += news.bytes();
        self.news.push_back((id, news));
    }

    /// Gives up questions that nobody asks any more: a provider that never answers costs one future
    /// at most.
    fn drop_stale_questions(&mut self) {
        if self.asked.is_empty() {
            return;
        }
        let open: Vec<bool> = {
            let core = self.shared.core.lock_for("questions");
            self.asked
                .iter()
                .map(|(question, _)| core.machine.asks(*question))
                .collect()
        };
        // Futures of the user are dropped here, under no lock.
        let mut open = open.into_iter();
        self.asked.retain(|_| open.next().unwrap_or_default());
    }

    /// Hands over the credentials that have been provided.
    fn poll_provider(&mut self, cx: &mut Context<'_>) -> bool {
        self.drop_stale_questions();
        let mut answered = false;
        let shared = &self.shared;
        self.asked.retain_mut(|(question, providing)| {
            let provided = match guarded(|| providing.as_mut().poll(cx)) {
                Ok(Poll::Pending) => return true,
                Ok(Poll::Ready(provided)) => provided,
                Err(panic) => Err(panic.to_string()),
            };
            answered = true;
            let now = shared.now();
            let mut core = shared.core.lock_for("credentials");
            let why = match provided {
                Ok(credentials) => match core.machine.provide(now, *question, credentials) {
                    Ok(()) => return false,
                    Err(error) => error.to_string(),
                },
                Err(why) => why,
            };
            // Nobody may ask any more, because the time is over.
            let _ = core.machine.provide_nothing(now, *question, &why);
            false
        });
        answered
    }

    /// Reads from and writes to all connections. Returns whether there is more to do.
    fn poll_links(&mut self, cx: &mut Context<'_>) -> bool {
        let fullest = self.shared.fullest(self.news_bytes);
        let (shared, mut goes_on) = (&self.shared, false);
        let (started, mut reads_at) = (shared.now(), None::<Time>);
        // An idle client holds no buffer.
        let mut spare = bytes::BytesMut::new();
        for link in &mut self.links {
            let reads_from = shared.reads_from(link.id, fullest);
            let may_read = reads_from.is_some_and(|from| from <= started);
            let later = reads_from.filter(|_| !may_read);
            reads_at = reads_at.into_iter().chain(later).min();
            let mut told = |link: &mut Link, what: Told| {
                let now = shared.now();
                let mut core = shared.core.lock_for("connection");
                match what {
                    Told::Connected => core.machine.handle_connected(now, link.id),
                    Told::Bytes => core.machine.handle_bytes(now, link.id, &mut link.buffer),
                    Told::Blocked => core.machine.handle_blocked(now, link.id),
                    Told::Drained => core.machine.handle_drained(now, link.id),
                    Told::Closed(error) => core.machine.handle_closed(now, link.id, error),
                }
                goes_on = true;
            };
            let again = link.poll(may_read, &mut spare, cx, &mut told);
            goes_on |= again;
        }
        self.reads_at = reads_at;
        let now = self.shared.now();
        self.links
            .retain(|link| !link.is_over() && link.closing.is_none_or(|until| now < until));
        goes_on
    }

    /// Waits until this time. Returns true if it has come.
    fn poll_timer(&mut self, time: Option<Time>, cx: &mut Context<'_>) -> bool {
        let closing = self.links.iter().filter_map(|link| link.closing);
        // A client that waits for nothing need not know that the machine has slept.
        let look = time.map(|_| self.clocks.next_look());
        let Some(time) = closing.chain(time).chain(self.reads_at).chain(look).min() else {
            self.timer = None;
            return false;
        };
        if self.timer.as_ref().is_none_or(|(set, _)| *set != time) {
            let duration = time.saturating_since(self.shared.now());
            self.timer = Some((time, (self.shared.network.sleep)(duration)));
        }
        let is_over = self
            .timer
            .as_mut()
            .is_some_and(|(_, sleeping)| sleeping.as_mut().poll(cx).is_ready());
        if is_over {
            self.timer = None;
        }
        is_over
    }

    fn set_alarm(&mut self, cx: &Context<'_>) {
        if self.alarm.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            return;
        }
        self.alarm = Some(cx.waker().clone());
        let alarm = Alarm::new(cx.waker());
        let old = self.shared.core.lock_for("alarm").alarm.replace(alarm);
        drop(old);
    }
}

/// A connection that cannot be made, because there is no TLS.
fn failed_tls(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Dialing {
    Box::pin(ready(Err(io::Error::new(io::ErrorKind::InvalidData, why))))
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.set_alarm(cx);
        this.look_at_clocks();
        for _ in 0..ROUNDS {
            let timeout = this.take_outputs();
            let mut goes_on = this.act();
            goes_on |= this.poll_provider(cx);
            goes_on |= this.poll_links(cx);
            if this.is_closed && this.links.is_empty() {
                return Poll::Ready(());
            }
            if !goes_on && !this.poll_timer(timeout, cx) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Driver {
    /// Ends everything that waits for the client: it has closed, or its runtime has ended.
    fn drop(&mut self) {
        self.links.clear();
        let shared = Arc::clone(&self.shared);
        let now = shared.now();
        let (waiting, old) = {
            let mut core = shared.core.lock_for("end");
            core.machine.close(now);
            while core.machine.poll_output().is_some() {}
            (std::mem::take(&mut core.waiting), core.alarm.take())
        };
        drop(old);
        for slot in waiting.into_values() {
            slot.fill(Outcome::Disconnected);
        }
        shared.note_end();
        let watchers = std::mem::take(&mut *shared.watchers.lock());
        watchers
            .iter()
            .filter_map(Weak::upgrade)
            .for_each(|watcher| watcher.end());
        let places = shared.places.lock().clone();
        for place in places {
            place.inboxes().iter().for_each(|inbox| inbox.end());
            // Handlers may hold the client.
            place.handlers.change(|table| *table = Default::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use bytestring::ByteString;

    use super::super::socket::Socket;
    use super::super::tests::client_with;
    use super::*;

    /// A namespace, and a driver of its client.
    fn driver(max_waiting_handlers: usize) -> (Socket, Driver) {
        let client = client_with(|builder| builder.max_waiting_handlers(max_waiting_handlers));
        let root = client.of("/").unwrap();
        let driver = Driver::new(Arc::clone(root.shared()));
        (root, driver)
    }

    fn event(root: &Socket, json: &Bytes) -> Delivery {
        Delivery::Event {
            socket: root.place().id,
            name: "e".into(),
            args: ByteString::try_from(json.clone()).unwrap().into(),
            ack: None,
        }
    }

    fn failure(root: &Socket, text: &str) -> Delivery {
        Delivery::ConnectError {
            socket: root.place().id,
            error: machine::ClientError {
                class: machine::ErrorClass::Unreachable,
                status: None,
                message: text.into(),
                data: Some(text.into()),
            },
        }
    }

    /// What waits for a handler to finish shares no memory with what was read, also if it has come
    /// together with the event of this handler.
    #[test]
    fn news_that_wait_keep_no_read_buffer() {
        let (root, mut driver) = driver(1);
        root.on("e", std::future::pending::<()>);
        let read = Bytes::from(vec![b'1'; 1000]);
        for _ in 0..3 {
            let part = event(&root, &read.slice(..10));
            driver.outputs.push_back(Output::Delivery(part));
        }
        driver.act();
        assert_eq!(driver.news.len(), 2);
        assert!(read.is_unique());
        driver.deliver(event(&root, &read.slice(..10)));
        driver.act();
        assert_eq!(driver.news.len(), 3);
        assert!(read.is_unique());
    }

    /// Failures that wait behind an event do not pile up, and count with their texts.
    #[test]
    fn the_last_failure_waits() {
        let (root, mut driver) = driver(1);
        let failed = Arc::new(std::sync::Mutex::new(Vec::new()));
        let told = Arc::clone(&failed);
        root.on("e", std::future::pending::<()>)
            .on_connect_error(move |error: machine::ClientError| told.lock().unwrap().push(error.message.to_string()));
        // Nothing waits, so each is told.
        for text in ["one", "two"] {
            driver.outputs.push_back(Output::Delivery(failure(&root, text)));
        }
        driver.act();
        assert_eq!(failed.lock().unwrap().drain(..).collect::<Vec<_>>(), ["one", "two"]);
        let json = Bytes::from_static(b"1");
        for _ in 0..2 {
            driver.outputs.push_back(Output::Delivery(event(&root, &json)));
        }
        driver.act();
        let before = driver.news_bytes;
        for round in 0..1000 {
            let text = format!("{round}{}", "x".repeat(1000));
            driver.outputs.push_back(Output::Delivery(failure(&root, &text)));
            driver.act();
        }
        assert_eq!(driver.news.len(), 2, "an event and a failure");
        let bytes = driver.news_bytes - before;
        assert!((2000..3000).contains(&bytes), "{bytes}");
        // The event is left out when the client has closed, and the failure is told.
        driver.is_closed = true;
        driver.act();
        assert_eq!((driver.news.len(), driver.news_bytes), (0, 0));
        assert!(failed.lock().unwrap().len() == 1 && failed.lock().unwrap()[0].starts_with("999x"));
    }

    /// One large answer makes no client large for ever.
    #[test]
    fn queues_give_back_what_one_large_answer_has_needed() {
        let (root, mut driver) = driver(1024);
        let mut events = root.events();
        let json = Bytes::from_static(b"1");
        for _ in 0..10_000 {
            driver.outputs.push_back(Output::Delivery(event(&root, &json)));
        }
        driver.act();
        assert!(driver.outputs.capacity() <= 128, "{}", driver.outputs.capacity());
        assert!(driver.news.capacity() <= 128, "{}", driver.news.capacity());
        let inbox = root.place().inboxes().remove(0);
        assert!(inbox.room() >= 10_000);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while events.poll_next_event(&mut cx).is_ready() {}
        assert!(inbox.room() <= 128, "{}", inbox.room());
    }
}
