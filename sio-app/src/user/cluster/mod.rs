//! This node of a cluster: what it tells other nodes and what it does for them.
//!
//! ```text
//!   Emitter ─► sending ─► Voice ─► Node ─► commands ─► outbox ─► the broker's connections
//!   receiving ◄─ deliveries ◄─ Node ◄─ Reader ◄─ events ◄─────────────────────┘
//! ```
//! What concerns the sockets of this node is done first and never waits for the broker, except in
//! namespaces with recovery over streams (`ordering.rs`). The rules
//! of messages are those of [`sio_proto::cluster::Node`]. It stands behind one lock, under which no
//! user code runs, and no message is written or read: a [`Voice`] writes and a [`Reader`] reads
//! between two short holds. What one read of the broker has brought is one batch: it takes the lock
//! twice, and what the node delivers for it is one turn, without the lock, by the thread that has
//! brought it. One task brings the events of the broker, so orders of other nodes are carried out
//! in their order.
//!
//! Order of locks: the lock of the node and that of its relays are taken under no other lock. Under
//! them, the outbox, the timer, the registry, the room news, the lock of recovery and, to find a
//! socket, a shard may be taken.

mod answering;
mod bringing;
pub(crate) mod counts;
mod fences;
mod opening;
mod ordering;
pub(crate) mod outbox;
mod queue;
mod receiving;
pub(crate) mod relays;
mod sending;
mod sessions;
mod tail;
mod unread;
mod watching;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use sio_proto::broker::{Answer, BrokerError, Command, Event, Refusal, Request as BrokerRequest};
use sio_proto::cluster::{Delivery, Message, Node, NotSent, Outputs, Reader, RequestId, Unread, Voice, Written};
use sio_proto::recovery::RecordKey;
use sio_proto::socket::Offset;
use sio_proto::{ClusterKind, ConfigError, Time};

use crate::lock::{Alarm, Mutex};
use crate::options::Cluster;
use crate::runtime::Runtime;
use crate::turn;
use crate::turn::survey::SurveyElsewhere;
use crate::user::inner::Inner;
use crate::user::io::Io;
use crate::user::request::{Request, RequestError};

use bringing::{Comers, Slot};
use counts::Trouble;
use opening::Opening;
use ordering::{Ordering as Order, place_of};
use outbox::{Link, Outbox};
use relays::Relaying;
use sessions::Sessions;
use watching::Awaited;

/// How often the nodes are counted ([`Io::nodes`](crate::Io::nodes)).
const CENSUS: Duration = Duration::from_secs(2);

/// The name of the question how many nodes there are. The node gives its own questions names that
/// end in other bits, and the relays those below [`OWN_TAG`].
const CENSUS_TAG: u64 = 3;

/// The names of the other requests of this file have this bit, and end in those of the census.
const OWN_TAG: u64 = 1 << 63;

/// How many events of the broker are one batch. It bounds how long the lock of the node is held.
const EVENTS_AT_ONCE: usize = 256;

/// This node of a cluster.
pub(crate) struct ClusterNode {
    server: OnceLock<Weak<Inner>>,
    runtime: Runtime,
    settings: Cluster,
    reader: Arc<Reader>,
    state: Mutex<State>,
    outbox: Mutex<Outbox>,
    timer: Mutex<Timer>,
    /// How many nodes were counted last, or zero.
    census: AtomicUsize,
    /// Whether the broker has forbidden to count them, since its connections were made.
    may_not_count: AtomicBool,
    /// Orders that could not be sent, because they are too large or their names are the protocol's.
    unsent: AtomicU64,
    is_up: AtomicBool,
    /// Whether more waits of what others have ordered than may. It changes under the lock.
    is_crowded: AtomicBool,
    /// The connections to the broker, when they have been started.
    link: OnceLock<Box<dyn Link>>,
    /// Whether the tasks have been started.
    has_joined: AtomicBool,
    /// Whether there are no connections to the broker, and never will be.
    is_alone: AtomicBool,
    /// The requests whose sessions are on other nodes, if they are passed on.
    relaying: Option<Relaying>,
    /// How many clients wait for the broker because they want to come back.
    bringing: AtomicUsize,
    /// How many clients of other nodes have come back to this one, and how many could not.
    restored: AtomicU64,
    not_restored: AtomicU64,
}

/// What was asked of the broker beside what the node asks.
enum Asked {
    /// To write this record.
    Record(RecordKey),
    /// To delete the record with this secret.
    Erased(ByteString),
    /// For a client that wants to come back.
    Comeback(Arc<Slot<Answer>>),
}

struct State {
    node: Node,
    out: Outputs,
    /// Who waits for the answers to which request.
    waiting: HashMap<RequestId, Waiting>,
    opening: Opening,
    ordering: Order,
    sessions: Sessions,
    awaited: Awaited,
    /// The clients that wait because they want to come back.
    comers: Comers,
    /// What was asked, by the tags of the requests.
    asked: HashMap<u64, Asked>,
    /// How many tags were given.
    tags: u64,
}

impl State {
    fn next_tag(&mut self) -> u64 {
        self.tags += 1;
        OWN_TAG | self.tags << 2 | CENSUS_TAG
    }

    fn next_timeout(&self) -> Option<Time> {
        let next = [
            self.node.next_timeout(),
            self.ordering.next_timeout(),
            self.sessions.next_timeout(),
        ];
        next.into_iter().flatten().min()
    }
}

/// How often it is logged that messages were lost, if some were.
const TROUBLE: Duration = Duration::from_secs(10);

/// When the task that watches the time comes, and what makes it come earlier.
#[derive(Default)]
struct Timer {
    next: Option<Time>,
    census: Time,
    /// What was logged last, and when it is looked again.
    trouble: (Trouble, Time),
    alarm: Option<Alarm>,
}

/// What a batch of events of the broker has brought beside what the node has to know.
#[derive(Default)]
struct News {
    answers: Vec<(Asked, Result<Answer, BrokerError>)>,
    /// Up to where the stream has been read.
    read: Option<Offset>,
    /// The stream that is read now, and behind which entry.
    begun: Option<(Bytes, Bytes)>,
    is_down: bool,
    /// Whether the broker is back, and has not gone again.
    is_up: bool,
}

/// Who waits for the answers of other nodes.
enum Waiting {
    /// A request of the application, and its namespace.
    Request(Request, ByteString),
    /// A broadcast that asks for acknowledgements.
    Survey(Arc<SurveyElsewhere>),
}

impl ClusterNode {
    /// Makes the node of a server, whose session ids are made with `key`.
    ///
    /// # Errors
    /// If the settings are not valid.
    pub(super) fn new(settings: &Cluster, key: [u8; 16], runtime: Runtime) -> Result<Arc<Self>, ConfigError> {
        let broker = settings.broker.validate();
        broker.map_err(|error| ConfigError::Broker(error.to_string()))?;
        let mut node = Node::new(settings.config.clone(), Box::new(runtime.fill))?;
        node.set_unix_time((runtime.now)(), Duration::from_secs((runtime.unix_time)()));
        Ok(Arc::new(Self {
            server: OnceLock::new(),
            runtime,
            reader: Arc::clone(node.reader()),
            state: Mutex::new(State {
                node,
                out: Outputs::default(),
                waiting: HashMap::new(),
                opening: Opening::default(),
                ordering: Order::default(),
                sessions: Sessions::default(),
                awaited: Awaited::default(),
                comers: Comers::default(),
                asked: HashMap::new(),
                tags: 0,
            }),
            outbox: Mutex::new(Outbox::new(settings.broker.max_waiting_bytes)),
            timer: Mutex::default(),
            census: AtomicUsize::new(0),
            may_not_count: AtomicBool::new(false),
            unsent: AtomicU64::new(0),
            is_up: AtomicBool::new(false),
            is_crowded: AtomicBool::new(false),
            link: OnceLock::new(),
            has_joined: AtomicBool::new(false),
            is_alone: AtomicBool::new(false),
            relaying: Relaying::new(settings, key, runtime)?,
            bringing: AtomicUsize::new(0),
            restored: AtomicU64::new(0),
            not_restored: AtomicU64::new(0),
            settings: settings.clone(),
        }))
    }

    /// Says whose node it is.
    pub(super) fn serve(self: &Arc<Self>, server: Weak<Inner>) {
        if let Some(server) = server.upgrade() {
            server.shards.recovery.hear_others();
            if self.follows_stream() {
                server.shards.recovery.follow_stream();
                server.shards.histories.follow_stream((self.runtime.now)());
            }
        }
        let _ = self.server.set(server);
        self.start_relays();
    }

    /// Does something with the node, and then all that it wants.
    fn with<R>(self: &Arc<Self>, act: impl FnOnce(&mut Node, Time, &mut Outputs) -> R) -> R {
        self.with_state(|state, now| act(&mut state.node, now, &mut state.out))
    }

    fn with_state<R>(self: &Arc<Self>, act: impl FnOnce(&mut State, Time) -> R) -> R {
        let now = (self.runtime.now)();
        let (result, deliveries, refused, mut alarms, leaving) = {
            let mut state = self.state.lock_for("cluster");
            let result = act(&mut state, now);
            let State {
                node,
                out,
                opening,
                asked,
                ordering,
                ..
            } = &mut *state;
            let (mut alarms, mut refused, mut leaving) = (Vec::new(), Vec::new(), None);
            // In the order of the node, so under its lock.
            while !out.commands.is_empty() {
                alarms.extend(opening.note(&out.commands));
                let (full, next) = self.put(&mut out.commands);
                leaving = leaving.or(next);
                for tag in full {
                    match asked.remove(&tag) {
                        Some(asked) => refused.push((asked, Err(BrokerError::Full))),
                        None => node.handle_refused(now, tag, BrokerError::Full, out),
                    }
                }
            }
            let deliveries = std::mem::take(&mut out.deliveries);
            // Under the same lock: the node says from now on that it knows of these failures, so
            // nothing may be written before these events are.
            for delivery in &deliveries {
                if let Delivery::Stored { request, entry: Err(_) } = delivery {
                    ordering.unread.answered(*request, false);
                }
            }
            alarms.extend(self.hurry(state.next_timeout()));
            (result, deliveries, refused, alarms, leaving)
        };
        self.give_on(leaving);
        alarms.drain(..).for_each(Alarm::wake);
        refused.into_iter().for_each(|(asked, answer)| self.told(asked, answer));
        if !deliveries.is_empty() {
            turn::run(self.runtime, |_| {
                deliveries.into_iter().for_each(|delivery| self.deliver(delivery));
            });
        }
        result
    }

    /// Returns what writes a message of this node in a namespace.
    fn voice(&self, namespace: &ByteString) -> Option<Voice> {
        let now = (self.runtime.now)();
        self.state.lock_for("cluster voice").node.voice(now, namespace)
    }

    /// Sends a message that was written.
    fn send(self: &Arc<Self>, written: Written) -> Result<Option<RequestId>, NotSent> {
        if !written.is_publication() {
            return self.with(|node, now, out| node.send(now, written, out));
        }
        // Nothing else of the node changes, so there is nothing else to do for it.
        let leaving = {
            let mut state = self.state.lock_for("cluster publication");
            let message = state.node.publish(written);
            // In the order of the node, so under its lock.
            let mut outbox = self.outbox.lock();
            message.into_iter().for_each(|message| outbox.put_message(message));
            outbox.begin()
        };
        self.give_on(leaving);
        Ok(None)
    }

    /// Puts commands into the outbox. Returns the names of the requests for which there is no room,
    /// and what the caller has to give on ([`ClusterNode::give_on`]).
    fn put(&self, commands: &mut Vec<Command>) -> (Vec<u64>, Option<Vec<Command>>) {
        let mut outbox = self.outbox.lock();
        let refused = outbox.put(commands);
        (refused, outbox.begin())
    }

    /// Gives commands on to the connections, and what others put into the outbox meanwhile.
    fn give_on(&self, mut next: Option<Vec<Command>>) {
        let Some(link) = self.link.get() else { return };
        while let Some(mut commands) = next {
            link.send_all(&mut commands);
            next = self.outbox.lock().take(commands);
        }
    }

    /// Says where the connections to the broker are.
    pub(crate) fn set_link(&self, link: Box<dyn Link>) {
        let _ = self.link.set(link);
        let waiting = {
            let mut outbox = self.outbox.lock();
            // Whoever puts something in behind this gives it on. What was put in before is here.
            outbox.connect();
            outbox.begin()
        };
        self.give_on(waiting);
    }

    /// The connections to the broker cannot be made, whatever happens.
    pub(crate) fn be_alone(&self) {
        self.is_alone.store(true, Ordering::Relaxed);
        // Whoever asks behind this sees it under the lock.
        let asked = std::mem::take(&mut self.state.lock_for("cluster alone").asked);
        Self::answer_all_stopped(asked);
    }

    /// Whether requests to the broker can never be answered.
    pub(super) fn is_alone(&self) -> bool {
        self.is_alone.load(Ordering::Relaxed)
    }

    /// Tells those who wait for an answer of the broker that there will be none.
    fn answer_all_stopped(asked: HashMap<u64, Asked>) {
        for asked in asked.into_values() {
            if let Asked::Comeback(slot) = asked {
                slot.fill(Err(BrokerError::Stopped));
            }
        }
    }

    /// Whether there are connections to the broker, or they are being made. Only they answer
    /// requests, and only with them somebody watches the time of the node.
    fn is_linked(&self) -> bool {
        self.has_joined.load(Ordering::Relaxed) && !self.is_alone()
    }

    /// Returns what wakes the task that watches the time, if it would come too late.
    fn hurry(&self, next: Option<Time>) -> Option<Alarm> {
        let next = next?;
        let mut timer = self.timer.lock();
        match timer.next.is_none_or(|known| next < known) {
            true => timer.alarm.take(),
            false => None,
        }
    }

    /// Returns how many nodes there are, as far as is known.
    pub(super) fn nodes(&self) -> usize {
        match self.census.load(Ordering::Relaxed) {
            0 => 1 + self.state.lock().node.nodes((self.runtime.now)(), "/").count(),
            census => census,
        }
    }

    /// Whether the broker is there.
    pub(crate) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// Returns where the broker is, and what its connections may cost.
    pub(crate) const fn settings(&self) -> &Cluster {
        &self.settings
    }

    fn note_unsent(&self, error: &NotSent) {
        self.unsent.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%error, "an order is not sent to other nodes");
    }

    /// Ends the node: it hears nothing more, its requests end, and nothing more is sent.
    pub(super) fn close(self: &Arc<Self>, server: &Inner) {
        let awaited = self.state.lock().awaited.take_namespaces();
        for namespace in server.namespaces.existing().into_iter().chain(awaited) {
            self.with(|node, now, out| node.close_namespace(now, &namespace, out));
        }
        self.close_relays();
        self.stop();
    }

    /// Sends nothing more, and lets the tasks end.
    fn stop(&self) {
        self.outbox.lock().end();
        let (asked, waiters) = {
            let mut state = self.state.lock_for("cluster stop");
            (std::mem::take(&mut state.asked), state.ordering.end())
        };
        waiters.iter().for_each(|slot| slot.fill(Err(BrokerError::Stopped)));
        Self::answer_all_stopped(asked);
        if let Some(link) = self.link.get() {
            link.close();
        }
        let alarm = self.timer.lock().alarm.take();
        if let Some(alarm) = alarm {
            alarm.wake();
        }
    }
}

impl Io {
    /// Returns the node whose tasks have to be started now, the first time that this is called.
    pub(crate) fn cluster_to_join(&self) -> Option<&Arc<ClusterNode>> {
        let cluster = self.0.cluster.as_ref()?;
        let has_joined = cluster.has_joined.load(Ordering::Relaxed) || cluster.has_joined.swap(true, Ordering::Relaxed);
        (!has_joined).then_some(cluster)
    }
}

/// The calls of the tasks that an adapter starts.
impl ClusterNode {
    /// Returns the commands for the broker, for a test that is the broker.
    #[cfg(test)]
    pub(crate) fn take_commands(&self) -> Vec<Command> {
        self.outbox.lock().take(Vec::new()).unwrap_or_default()
    }

    /// Takes what the broker brings. The list is empty afterwards.
    pub(crate) fn handle_events(self: &Arc<Self>, events: &mut Vec<Event>) {
        self.relays_handle(events);
        while !events.is_empty() {
            let some = events.len().min(EVENTS_AT_ONCE);
            let (unread, news) = self.recognise(events.drain(..some));
            let messages: Vec<Message> = unread.into_iter().map(|unread| self.reader.read(unread)).collect();
            if !messages.is_empty() {
                self.with(|node, now, out| {
                    messages
                        .into_iter()
                        .for_each(|message| node.handle_message(now, message, out));
                });
            }
            self.take_news(news);
        }
    }

    /// Does what is due when the node has had a batch, and what it has delivered is done.
    fn take_news(self: &Arc<Self>, news: News) {
        let News {
            answers,
            read,
            begun,
            is_down,
            is_up,
        } = news;
        answers.into_iter().for_each(|(asked, answer)| self.told(asked, answer));
        if let (Some((stream, after)), Some(server)) = (begun, self.server.get().and_then(Weak::upgrade)) {
            self.read_tail(&server, stream, after);
        }
        if let Some(place) = read {
            self.read_up_to(place);
        }
        if is_down {
            self.send_waiting();
        }
        if let Some(server) = self.server.get().and_then(Weak::upgrade).filter(|_| is_up) {
            self.write_missing();
            if self.follows_stream() {
                self.erase_again(server.shards.recovery.window());
            }
            self.renew_records(&server);
        }
    }

    /// The broker has answered, or will not.
    fn told(self: &Arc<Self>, asked: Asked, answer: Result<Answer, BrokerError>) {
        match asked {
            Asked::Comeback(slot) => slot.fill(answer),
            Asked::Record(key) => self.record_written(key, &answer),
            Asked::Erased(pid) => self.record_erased(pid, answer.is_ok()),
        }
    }

    /// Returns what of the broker's events the node has to know and what is due behind it, and does
    /// what concerns nobody else.
    fn recognise(&self, events: impl Iterator<Item = Event>) -> (Vec<Unread>, News) {
        let (mut unread, mut alarms, mut news) = (Vec::new(), Vec::new(), News::default());
        let mut state = self.state.lock_for("cluster recognise");
        let State {
            node, opening, asked, ..
        } = &mut *state;
        for event in events {
            match &event {
                Event::Up => {
                    self.is_up.store(true, Ordering::Relaxed);
                    self.may_not_count.store(false, Ordering::Relaxed);
                    news.is_up = true;
                }
                Event::Down { .. } => {
                    self.is_up.store(false, Ordering::Relaxed);
                    (news.is_down, news.is_up) = (true, false);
                    alarms.extend(opening.gone());
                }
                Event::Answer {
                    tag: CENSUS_TAG,
                    answer,
                } => {
                    self.counted(answer);
                    continue;
                }
                Event::Answer { tag, answer } if *tag >= OWN_TAG => {
                    // The answer to a request that was given up concerns nobody.
                    news.answers
                        .extend(asked.remove(tag).map(|asked| (asked, answer.clone())));
                    continue;
                }
                Event::Subscribed { channel, .. } => alarms.extend(opening.opened(channel)),
                Event::Reading { stream, after } => {
                    news.begun = Some((stream.clone(), after.clone()));
                    news.read = place_of(after).or(news.read);
                }
                Event::Entry { id: place, .. } => news.read = place_of(place).or(news.read),
                Event::Answer { .. } | Event::Message { .. } => {}
            }
            node.recognise(event, &mut unread);
        }
        drop(state);
        alarms.into_iter().for_each(Alarm::wake);
        (unread, news)
    }

    /// Takes the time. Returns when this has to be called again, or `None` when the node has ended.
    /// The waker is woken if this time becomes earlier.
    pub(crate) fn handle_timeout(self: &Arc<Self>, waker: &Waker) -> Option<Time> {
        if self.server.get().is_some_and(|server| server.strong_count() == 0) {
            self.stop();
        }
        if self.outbox.lock().is_over() {
            return None;
        }
        self.keep_order();
        if let Some(server) = self.server.get().and_then(Weak::upgrade) {
            self.keep_records(&server);
        }
        let asks = {
            let now = (self.runtime.now)();
            let mut timer = self.timer.lock();
            let asks = timer.census <= now;
            if asks {
                timer.census = now + CENSUS;
            }
            asks
        };
        self.with_state(|state, now| {
            // The clock of the machine may have been set.
            let unix_time = Duration::from_secs((self.runtime.unix_time)());
            state.node.set_unix_time(now, unix_time);
            state.node.handle_timeout(now, &mut state.out);
            if asks && self.is_up() && !self.may_not_count.load(Ordering::Relaxed) {
                state.out.commands.push(self.census_command());
            }
        });
        self.relays_handle_timeout();
        if asks {
            if let Some(server) = self.server.get().and_then(Weak::upgrade) {
                self.look_for_awaited(&server);
            }
            self.log_trouble();
        }
        let alarm = Alarm::new(waker);
        let mut timer = self.timer.lock();
        let census = timer.census;
        timer.next = Some(census);
        let before = timer.alarm.replace(alarm);
        drop(timer);
        drop(before);
        // Asked behind the alarm: what becomes due from now on wakes the task.
        let next = self.state.lock().next_timeout();
        let relays = self.relaying.as_ref().and_then(Relaying::next_timeout);
        let next = next.into_iter().chain(relays).min();
        let next = next.map_or(census, |next| next.min(census));
        self.timer.lock().next = Some(next);
        Some(next)
    }

    /// Logs which messages were lost since the last time, at most every ten seconds.
    fn log_trouble(&self) {
        let now = (self.runtime.now)();
        if self.timer.lock().trouble.1 > now {
            return;
        }
        let trouble = Trouble::of(&self.counts());
        let before = {
            let known = &mut self.timer.lock().trouble;
            std::mem::replace(known, (trouble, now + TROUBLE)).0
        };
        trouble.log_since(before);
    }

    /// The broker has counted the nodes, or has not. Where it is forbidden, it is not asked again
    /// until its connections are made anew, and the nodes that were heard are counted.
    fn counted(&self, answer: &Result<Answer, BrokerError>) {
        match answer {
            Ok(Answer::Count(count)) => {
                let count = usize::try_from(*count).unwrap_or(usize::MAX).max(1);
                self.census.store(count, Ordering::Relaxed);
            }
            // Forbidden, or called by another name.
            Err(error) if error.is_refused_as(Refusal::Permission) || error.is_refused_as(Refusal::Other) => {
                self.may_not_count.store(true, Ordering::Relaxed);
                self.census.store(0, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    /// Asks how many nodes hear `/`.
    fn census_command(&self) -> Command {
        let config = &self.settings.config;
        let (what, sharded) = match &config.kind {
            ClusterKind::Classic => ("-request", false),
            ClusterKind::Streams(streams) => ("", streams.sharded),
            _ => ("", true),
        };
        let request = BrokerRequest::Subscribers {
            channel: Bytes::from(format!("{}{what}#/#", config.prefix)),
            sharded,
        };
        Command::Request {
            tag: CENSUS_TAG,
            request,
        }
    }
}

impl Waiting {
    /// Nobody was asked.
    fn refuse(self, error: &NotSent) {
        match self {
            Self::Request(request, _) => {
                let error = RequestError::NotSent(error.to_string());
                request.add(|answers| answers.error = Some(error));
                request.end();
            }
            Self::Survey(survey) => drop(survey),
        }
    }
}
