//! The task that has the connections to the broker of a cluster.
//!
//! ```text
//!   commands of the node ─►                ─► events for the node
//!                            Broker (proto)
//!   bytes, ends, the time ─►               ─► connections, bytes
//! ```
//! One task has the machine and all of its connections, so nothing here has a lock. It also does
//! what other nodes order: handlers that this causes run in this task, in a turn for each round.

use std::collections::VecDeque;
use std::future::{Future, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use sio_proto::Time;
use sio_proto::broker::{Address, Broker, BrokerConfigError, Event, Output};

use crate::client::dial::dial;
use crate::client::link::{Link, Told};
use crate::client::network::{Dialing, Network, Sleeping};
#[cfg(feature = "tls")]
use crate::client::tls::ClientTls;
use crate::host::driver::Driver;
use crate::user::cluster::ClusterNode;

/// How often the task goes round before other tasks have their turn.
const ROUNDS: usize = 32;

/// How long the last bytes of a closed connection may take to leave.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

impl Driver {
    /// Starts the task that has the connections to the broker, and the one that watches the time of
    /// the cluster, unless the server has no cluster or they have been started before. The tasks
    /// end with the server.
    pub fn join_cluster(&self, network: Network) {
        let Some(node) = self.0.cluster_to_join() else { return };
        match BrokerTask::new(Arc::clone(node), network) {
            Ok(task) => {
                (network.runtime.spawn)(Box::pin(task));
                (network.runtime.spawn)(Box::pin(keep_time(Arc::clone(node), network)));
            }
            Err(error) => tracing::error!(%error, "the settings of the cluster's broker cannot be used"),
        }
    }
}

/// Watches the time of the node.
async fn keep_time(node: Arc<ClusterNode>, network: Network) {
    let mut sleeping: Option<(Time, Sleeping)> = None;
    std::future::poll_fn(|cx| {
        loop {
            let Some(next) = node.handle_timeout(cx.waker()) else {
                return Poll::Ready(());
            };
            if sleeping.as_ref().is_none_or(|(time, _)| *time != next) {
                let duration = next.saturating_since((network.runtime.now)());
                sleeping = Some((next, (network.sleep)(duration)));
            }
            let is_over = |(_, sleeping): &mut (Time, Sleeping)| sleeping.as_mut().poll(cx).is_ready();
            if !sleeping.as_mut().is_some_and(is_over) {
                return Poll::Pending;
            }
            sleeping = None;
        }
    })
    .await;
}

struct BrokerTask {
    node: Arc<ClusterNode>,
    network: Network,
    broker: Broker,
    links: Vec<Link>,
    events: VecDeque<Event>,
    timer: Option<(Time, Sleeping)>,
}

impl BrokerTask {
    fn new(node: Arc<ClusterNode>, network: Network) -> Result<Self, BrokerConfigError> {
        let config = node.settings().broker.clone();
        let broker = Broker::new((network.runtime.now)(), config, Box::new(network.runtime.fill))?;
        Ok(Self {
            node,
            network,
            broker,
            links: Vec::new(),
            events: VecDeque::new(),
            timer: None,
        })
    }

    fn now(&self) -> Time {
        (self.network.runtime.now)()
    }

    /// Gives the commands of the node to the machine. Returns `None` when no more will come, and
    /// otherwise whether there were any.
    fn take_commands(&mut self, cx: &Context<'_>) -> Option<bool> {
        let commands = self.node.take_commands(cx.waker())?;
        let now = self.now();
        let any = !commands.is_empty();
        for command in commands {
            self.broker.handle_command(now, command);
        }
        Some(any)
    }

    /// Acts on what the machine wants. Returns whether there was anything.
    fn act(&mut self) -> bool {
        let mut any = false;
        while let Some(output) = self.broker.poll_output() {
            any = true;
            match output {
                Output::Open { link, address, tls } => {
                    let dialing = self.dial(&address, tls);
                    self.links.push(Link::new(link, dialing));
                }
                Output::Write { link, bytes } => {
                    if let Some(link) = self.links.iter_mut().find(|known| known.id == link) {
                        link.write(bytes);
                    }
                }
                Output::Close { link } => {
                    let until = self.now() + CLOSE_TIMEOUT;
                    if let Some(link) = self.links.iter_mut().find(|known| known.id == link) {
                        link.close(until);
                    }
                }
                Output::Event(event) => self.events.push_back(event),
            }
        }
        if !self.events.is_empty() {
            self.node.handle_events(self.events.drain(..));
        }
        any
    }

    fn dial(&self, address: &Address, tls: bool) -> Dialing {
        let host = address.host.to_string();
        if !tls {
            return dial(self.network, host, address.port);
        }
        #[cfg(feature = "tls")]
        {
            match client_tls(&self.node) {
                Ok(tls) => {
                    let dialing = dial(self.network, host.clone(), address.port);
                    Box::pin(async move { tls.wrap(&host, dialing.await?) })
                }
                Err(error) => Box::pin(ready(Err(error))),
            }
        }
        #[cfg(not(feature = "tls"))]
        Box::pin(ready(Err(without_tls())))
    }

    /// Reads from and writes to all connections. Returns whether there is more to do.
    fn poll_links(&mut self, cx: &mut Context<'_>) -> bool {
        let Self {
            links, broker, network, ..
        } = self;
        let (now, mut goes_on) = ((network.runtime.now)(), false);
        for link in links.iter_mut() {
            let mut told = |link: &mut Link, what: Told| {
                match what {
                    Told::Connected => broker.handle_connected(now, link.id),
                    Told::Bytes => broker.handle_bytes(now, link.id, &mut link.buffer),
                    // What waits is bounded by the machine.
                    Told::Blocked | Told::Drained => {}
                    Told::Closed(error) => {
                        let why = error.map(|error| error.message);
                        broker.handle_closed(now, link.id, why);
                    }
                }
                goes_on = true;
            };
            let again = link.poll(true, cx, &mut told);
            goes_on |= again;
        }
        links.retain(|link| !link.is_over() && link.closing.is_none_or(|until| now < until));
        goes_on
    }

    /// Waits for the next deadline. Returns true if it has come.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let closing = self.links.iter().filter_map(|link| link.closing);
        let Some(time) = closing.chain(self.broker.next_timeout()).min() else {
            self.timer = None;
            return false;
        };
        if self.timer.as_ref().is_none_or(|(set, _)| *set != time) {
            let duration = time.saturating_since(self.now());
            self.timer = Some((time, (self.network.sleep)(duration)));
        }
        let timer = self.timer.as_mut();
        let is_over = timer.is_some_and(|(_, sleeping)| sleeping.as_mut().poll(cx).is_ready());
        if is_over {
            self.timer = None;
            self.broker.handle_timeout(self.now());
        }
        is_over
    }
}

#[cfg(feature = "tls")]
fn client_tls(node: &ClusterNode) -> io::Result<ClientTls> {
    let given = node.settings().tls.clone().map(ClientTls::new);
    let trusted = ClientTls::or_platform(given).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    trusted.ok_or_else(without_tls)
}

fn without_tls() -> io::Error {
    let why = "the URL of the broker asks for TLS, and it is not known which servers are trusted";
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Future for BrokerTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        for _ in 0..ROUNDS {
            let Some(mut goes_on) = this.take_commands(cx) else {
                return Poll::Ready(());
            };
            goes_on |= this.act();
            goes_on |= this.poll_links(cx);
            if !goes_on && !this.poll_timer(cx) {
                this.node.note_broker(this.broker.counters());
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
