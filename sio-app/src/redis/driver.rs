//! The task of a broker: its connections, the time, and the events for the listener.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use sio_proto::broker::{Address, Event, Output};
use sio_proto::{LinkId, Time};

use super::handle::Shared;
use super::line::{Line, see_flags};
use crate::client::dial::dial;
use crate::client::link::{Link, Told};
use crate::client::network::{Dialing, Sleeping};
#[cfg(feature = "tls")]
use crate::client::{ClientTls, network::Wire};
use crate::guarded::guarded;
use crate::lock::Alarm;

/// How often the task goes round before other tasks have their turn.
const ROUNDS: usize = 32;

/// How large the empty list of events may stay.
const MOST_EVENTS_KEPT: usize = 1024;

/// How long the last bytes of a closed connection may take to leave.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What gets the events: all that have come at once. It empties the list.
pub(super) type Listener = Box<dyn FnMut(&mut Vec<Event>) + Send>;

/// Says whether the listener takes more entries of streams. If not, it wakes the waker later.
pub(super) type MayRead = Box<dyn FnMut(&Waker) -> bool + Send>;

/// Calls a listener, which may panic.
pub(super) fn hear(listen: impl FnOnce()) {
    if let Err(error) = guarded(listen) {
        tracing::error!(%error, "the listener of a broker panicked");
    }
}

pub(super) struct Driver {
    shared: Arc<Shared>,
    listener: Listener,
    may_read: MayRead,
    /// Whether the listener has said no.
    holds: bool,
    links: Vec<Line>,
    outputs: VecDeque<Output>,
    /// What the listener gets next.
    events: Vec<Event>,
    /// The memory that is read into, as long as no connection waits for the rest of a reply.
    spare: BytesMut,
    timer: Option<(Time, Sleeping)>,
    /// Whether the machine may tell something new, or want to be called at another time.
    is_changed: bool,
    /// When the machine wants to be called, unless it has changed.
    next: Option<Time>,
    alarm: Option<Waker>,
    is_over: bool,
    #[cfg(feature = "tls")]
    tls: Option<ClientTls>,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        (listener, may_read): (Listener, MayRead),
        #[cfg(feature = "tls")] tls: Option<ClientTls>,
    ) -> Self {
        Self {
            shared,
            listener,
            may_read,
            holds: false,
            links: Vec::new(),
            outputs: VecDeque::new(),
            events: Vec::new(),
            spare: BytesMut::new(),
            timer: None,
            is_changed: true,
            next: None,
            alarm: None,
            is_over: false,
            #[cfg(feature = "tls")]
            tls,
        }
    }

    fn now(&self) -> Time {
        (self.shared.network.runtime.now)()
    }

    /// Takes what the machine tells. If there is nothing and the caller has nothing to do either,
    /// the machine gets the time, if it waits for it. Returns when the machine wants to be called.
    /// Without a reason, it is not looked at.
    fn look(&mut self, is_idle: bool) -> Option<Time> {
        // Whoever gives a command sets the flag behind it, and wakes the task behind both.
        self.is_changed |= self.shared.is_commanded.swap(false, Ordering::AcqRel);
        let now = self.now();
        if !self.is_changed && self.next.is_none_or(|time| time > now) {
            return self.next;
        }
        self.is_changed = true;
        let mut core = self.shared.core.lock_for("broker outputs");
        let machine = &mut core.machine;
        self.outputs.extend(std::iter::from_fn(|| machine.poll_output()));
        self.is_over = machine.is_stopped();
        if !is_idle || !self.outputs.is_empty() {
            return None;
        }
        self.next = machine.next_timeout();
        if self.next.is_some_and(|time| time <= now) {
            machine.handle_timeout(now);
            self.outputs.extend(std::iter::from_fn(|| machine.poll_output()));
            self.next = machine.next_timeout();
        }
        self.is_changed = false;
        self.next
    }

    /// Gives the machine the time, if it waits for it, also if there is always something to do.
    fn keep_deadlines(&mut self) {
        let now = self.now();
        let mut core = self.shared.core.lock_for("broker deadlines");
        if core.machine.next_timeout().is_some_and(|time| time <= now) {
            core.machine.handle_timeout(now);
        }
        self.is_changed = true;
    }

    /// Acts on what the machine has told.
    fn act(&mut self) {
        while let Some(output) = self.outputs.pop_front() {
            match output {
                Output::Open { link, address, tls } => {
                    let dialing = self.dial(address, tls);
                    let task = self.alarm.as_ref().unwrap_or(Waker::noop());
                    self.links.push(Line::new(Link::new(link, dialing), task));
                }
                Output::Write { link, bytes } => {
                    if let Some(line) = self.line(link) {
                        line.link.write(bytes);
                        line.set();
                    }
                }
                Output::Close { link } => {
                    let until = self.now() + CLOSE_TIMEOUT;
                    if let Some(line) = self.line(link) {
                        line.link.close(until);
                        line.set();
                    }
                }
                Output::Event(event) => {
                    note(&event);
                    self.events.push(event);
                }
            }
        }
        self.tell();
    }

    fn line(&mut self, link: LinkId) -> Option<&mut Line> {
        self.links.iter_mut().find(|known| known.link.id == link)
    }

    /// Gives all events to the listener.
    fn tell(&mut self) {
        let Self { listener, events, .. } = self;
        if !events.is_empty() {
            hear(|| listener(events));
            events.clear();
            if events.capacity() > MOST_EVENTS_KEPT {
                *events = Vec::new();
            }
        }
    }

    /// Connects to a server of the broker.
    fn dial(&self, address: Address, tls: bool) -> Dialing {
        let dialing = dial(self.shared.network, address.host.to_string(), address.port);
        #[cfg(feature = "tls")]
        if let Some(tls) = self.tls.clone().filter(|_| tls) {
            let wrapped = async move { tls.wrap(&address.host, dialing.await?) as std::io::Result<Wire> };
            return Box::pin(wrapped);
        }
        // Without the feature, no settings with TLS are accepted.
        debug_assert!(!tls);
        dialing
    }

    /// Reads from and writes to the connections that have something to do. Returns whether some
    /// connection has more to do. What the machine makes of it is not known yet.
    fn poll_links(&mut self, cx: &Context<'_>) -> bool {
        let holds = !(self.may_read)(cx.waker());
        if std::mem::replace(&mut self.holds, holds) != holds {
            let now = self.now();
            self.is_changed = true;
            self.shared
                .core
                .lock_for("broker pause")
                .machine
                .hold_streams(now, holds);
            // What came for a connection that was not read has been forgotten.
            self.links.iter().for_each(Line::set);
        }
        let (shared, spare, mut goes_on) = (&self.shared, &mut self.spare, false);
        let is_changed = &mut self.is_changed;
        see_flags();
        for line in &mut self.links {
            if !line.take() {
                continue;
            }
            let mut told = |link: &mut Link, what: Told| {
                *is_changed = true;
                let now = (shared.network.runtime.now)();
                let mut core = shared.core.lock_for("broker connection");
                let machine = &mut core.machine;
                match what {
                    Told::Connected => machine.handle_connected(now, link.id),
                    Told::Bytes => machine.handle_bytes(now, link.id, &mut link.buffer),
                    Told::Blocked => machine.handle_blocked(link.id),
                    Told::Drained => machine.handle_drained(now, link.id),
                    Told::Closed(error) => machine.handle_closed(now, link.id, error.map(|error| error.message)),
                }
            };
            // Only streams bring what the listener does not take. All else is read, so that answers
            // are not late.
            let is_held = holds && shared.core.lock_for("broker pause").machine.is_held(line.link.id);
            let mut cx = Context::from_waker(&line.waker);
            if line.link.poll(!is_held, spare, &mut cx, &mut told) {
                line.set();
                goes_on = true;
            }
        }
        let has_ended = |Line { link, .. }: &Line| link.is_over() || link.closing.is_some();
        if self.links.iter().any(has_ended) {
            let now = (shared.network.runtime.now)();
            self.links
                .retain(|Line { link, .. }| !link.is_over() && link.closing.is_none_or(|until| now < until));
        }
        goes_on
    }

    /// Waits until this time. Returns true if it has come.
    fn poll_timer(&mut self, time: Option<Time>, cx: &mut Context<'_>) -> bool {
        let closing = self.links.iter().filter_map(|line| line.link.closing);
        let Some(time) = closing.chain(time).min() else {
            self.timer = None;
            return false;
        };
        // A timer that comes earlier is left as it is: with each message, the next time is later.
        if self.timer.as_ref().is_none_or(|(set, _)| *set > time) {
            let duration = time.saturating_since(self.now());
            self.timer = Some((time, (self.shared.network.sleep)(duration)));
        }
        let is_due = |(_, sleeping): &mut (Time, Sleeping)| sleeping.as_mut().poll(cx).is_ready();
        let is_over = self.timer.as_mut().is_some_and(is_due);
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
        let old = self.shared.core.lock_for("broker alarm").alarm.replace(alarm);
        drop(old);
        self.links.iter_mut().for_each(|line| line.set_task(cx.waker()));
    }
}

/// Logs when the broker comes and goes.
fn note(event: &Event) {
    match event {
        Event::Up => tracing::info!("the broker is there"),
        Event::Down { why } => tracing::warn!(%why, "the broker is away"),
        Event::Reading { .. }
        | Event::Message { .. }
        | Event::Entry { .. }
        | Event::Answer { .. }
        | Event::Subscribed { .. } => {}
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.set_alarm(cx);
        let _ = this.look(false);
        for _ in 0..ROUNDS {
            this.act();
            let goes_on = this.poll_links(cx);
            let timeout = this.look(!goes_on);
            if goes_on || !this.outputs.is_empty() {
                continue;
            }
            if this.is_over && this.links.is_empty() {
                return Poll::Ready(());
            }
            if !this.poll_timer(timeout, cx) {
                return Poll::Pending;
            }
        }
        this.keep_deadlines();
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Driver {
    /// Answers all requests: the broker was closed, or the runtime has ended.
    fn drop(&mut self) {
        self.links.clear();
        let now = self.now();
        let old = {
            let mut core = self.shared.core.lock_for("broker end");
            core.machine.stop(now);
            while let Some(output) = core.machine.poll_output() {
                self.outputs.push_back(output);
            }
            core.alarm.take()
        };
        drop(old);
        let last = std::mem::take(&mut self.outputs).into_iter();
        self.events.extend(last.filter_map(|output| match output {
            Output::Event(event) => Some(event),
            Output::Open { .. } | Output::Write { .. } | Output::Close { .. } => None,
        }));
        self.tell();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::io;
    use std::net::SocketAddr;

    use bytes::Bytes;
    use sio_proto::broker::{BrokerConfig, Command, StreamPosition};
    use sio_proto::resp::{Decoder, Value};

    use super::*;
    use crate::client::network::{Network, Wire};
    use crate::link::pipe::Duplex;
    use crate::redis::BrokerBuilder;
    use crate::tests::{RUNTIME, now, run_tasks, set_now};

    thread_local! {
        static EVENTS: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
        static MAY_READ: Cell<bool> = const { Cell::new(false) };
    }

    /// A server with one entry in each stream, which answers at once.
    #[derive(Default)]
    struct Near {
        asked: BytesMut,
        said: BytesMut,
    }

    impl Near {
        fn answer(&mut self, parts: &[Value]) {
            let first = parts.first().and_then(Value::text).cloned().unwrap_or_default();
            let position = parts.last().and_then(Value::text).cloned().unwrap_or_default();
            self.said.extend_from_slice(match &first[..] {
                b"HELLO" => b"%0\r\n",
                b"PING" => b"+PONG\r\n",
                b"XREVRANGE" => b"*0\r\n",
                b"TIME" => b"*2\r\n$1\r\n1\r\n$1\r\n0\r\n",
                b"XREAD" if position == b"9000-0"[..] => b"",
                b"XREAD" => b"%1\r\n$1\r\ns\r\n*1\r\n*2\r\n$6\r\n9000-0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
                b"PUBLISH" => b":1\r\n",
                _ => b"-ERR unknown command\r\n",
            });
        }
    }

    impl Duplex for Near {
        fn poll_read(&mut self, _: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
            if self.said.is_empty() {
                return Poll::Pending;
            }
            let said = self.said.split();
            into.extend_from_slice(&said);
            Poll::Ready(Ok(said.len()))
        }

        fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.asked.extend_from_slice(bytes);
            while let Ok(Some(Value::List(parts))) =
                Decoder::new(sio_proto::resp::Limits::default()).decode(&mut self.asked)
            {
                self.answer(&parts);
            }
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn network() -> Network {
        Network {
            runtime: RUNTIME,
            can_spawn: || true,
            connect: |_| Box::pin(async { Ok(Box::new(Near::default()) as Wire) }),
            resolve: |_, port| Box::pin(async move { Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]) }),
            sleep: |duration| {
                let until = now() + duration.as_micros() as u64;
                Box::pin(std::future::poll_fn(move |_| match now() >= until {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }))
            },
        }
    }

    fn run() -> Vec<Event> {
        for _ in 0..4 {
            let _ = run_tasks();
        }
        EVENTS.take()
    }

    /// A listener that takes no more lets the entries of streams stay with the broker, for as long
    /// as it likes. All else is read, so nothing is late.
    #[test]
    fn no_entry_is_read_that_the_listener_does_not_take() {
        set_now(1_000_000);
        let config = BrokerConfig::from_url("redis://127.0.0.1").unwrap();
        let builder = BrokerBuilder::new(network(), config);
        let take = |events: &mut Vec<Event>| EVENTS.with_borrow_mut(|all| all.append(events));
        let broker = builder.connect_in_batches(take, |_| MAY_READ.get()).unwrap();
        let stream = Bytes::from_static(b"s");
        let after = StreamPosition::End;
        broker.send(Command::ReadStream { stream, after });
        let events = run();
        assert!(
            matches!(
                &events[..],
                [Event::Up, Event::Reading { .. }] | [Event::Reading { .. }, Event::Up]
            ),
            "{events:?}"
        );
        for _ in 0..60 {
            set_now(now() + 1_000_000);
            assert_eq!(run(), []);
        }
        assert!(broker.counters().is_up);
        MAY_READ.set(true);
        let events = run();
        assert!(matches!(&events[..], [Event::Entry { .. }]), "{events:?}");
        MAY_READ.set(false);
        for _ in 0..60 {
            set_now(now() + 1_000_000);
            assert_eq!(run(), []);
        }
        // The broker has its whole time for an answer, and is late behind it as ever.
        MAY_READ.set(true);
        for _ in 0..9 {
            assert_eq!(run(), []);
            set_now(now() + 1_000_000);
        }
        assert_eq!(run(), []);
        set_now(now() + 2_000_000);
        assert!(matches!(&run()[..], [Event::Down { .. }, ..]));
        broker.close();
        run();
    }
}
