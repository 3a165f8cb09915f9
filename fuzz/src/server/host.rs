//! The two ways to run a server: the facade, or a shard and its connections, as the adapters do it.
//!
//! The important difference: the facade flushes every ready link before it does anything else.
//! [`Stepwise`] flushes one link at a time. So requests, deadlines and commands can come after a
//! link becomes ready and before it is flushed, as they do during a large broadcast.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::BytesMut;
use sio_proto::conn::{Arrivals, Conn};
use sio_proto::server::{Admission, Cause, Output, Outputs, Peer, Response, Routed, Router, Server, Shard, Then, Write, Written};
use sio_proto::{Config, Entropy, LinkId, Time};

const KEY: [u8; 16] = [7; 16];

pub(super) enum Host {
    Facade(Box<Server>),
    Stepwise(Box<Stepwise>),
}

pub(super) struct Stepwise {
    shard: Shard,
    router: Router,
    config: Arc<Config>,
    connections: BTreeMap<LinkId, (Conn, BytesMut)>,
    opened: u32,
    out: Outputs,
    queue: VecDeque<Output>,
    /// Connections that may read on.
    resumed: VecDeque<LinkId>,
}

impl Host {
    pub(super) fn facade(config: Config, entropy: Box<dyn Entropy>) -> Self {
        Self::Facade(Box::new(Server::new(config, KEY, entropy).expect("a sensible config")))
    }

    pub(super) fn stepwise(config: Config, entropy: Box<dyn Entropy>) -> Self {
        let shard = Shard::new(config, 0, KEY, entropy).expect("a sensible config");
        let config = Arc::clone(shard.config());
        Self::Stepwise(Box::new(Stepwise {
            router: Router::new(&config, KEY, 1),
            shard,
            config,
            connections: BTreeMap::new(),
            opened: 0,
            out: Outputs::default(),
            queue: VecDeque::new(),
            resumed: VecDeque::new(),
        }))
    }

    pub(super) fn open(&mut self) -> LinkId {
        match self {
            Self::Facade(server) => server.open(Peer::default()),
            Self::Stepwise(host) => host.open(),
        }
    }

    pub(super) fn handle_bytes(&mut self, now: Time, link: LinkId, bytes: &mut BytesMut) {
        match self {
            Self::Facade(server) => server.handle_bytes(now, link, bytes),
            Self::Stepwise(host) => {
                if let Some((_, rest)) = host.connections.get_mut(&link) {
                    rest.extend_from_slice(bytes);
                    host.advance(now, link);
                    host.settle(now);
                }
                bytes.clear();
            }
        }
    }

    pub(super) fn handle_closed(&mut self, now: Time, link: LinkId, cause: Cause) {
        match self {
            Self::Facade(server) => server.handle_closed(now, link, cause),
            Self::Stepwise(host) => {
                if host.connections.remove(&link).is_some() {
                    host.shard.handle_closed(now, link, cause, &mut host.out);
                    host.settle(now);
                }
            }
        }
    }

    pub(super) fn handle_blocked(&mut self, now: Time, link: LinkId, held: usize) {
        match self {
            Self::Facade(server) => server.handle_blocked(now, link, held),
            Self::Stepwise(host) => host.shard.handle_blocked(now, link, held),
        }
    }

    pub(super) fn handle_drained(&mut self, now: Time, link: LinkId) {
        match self {
            Self::Facade(server) => server.handle_drained(now, link),
            Self::Stepwise(host) => host.shard.handle_drained(now, link),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Time) {
        match self {
            Self::Facade(server) => server.handle_timeout(now),
            Self::Stepwise(host) => {
                host.shard.handle_timeout(now, &mut host.out);
                host.settle(now);
            }
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        match self {
            Self::Facade(server) => server.next_timeout(),
            Self::Stepwise(host) => host.shard.next_timeout(),
        }
    }

    pub(super) fn shard<R>(&mut self, now: Time, command: impl FnOnce(&mut Shard, &mut Outputs) -> R) -> R {
        match self {
            Self::Facade(server) => server.shard(now, command),
            Self::Stepwise(host) => {
                let result = command(&mut host.shard, &mut host.out);
                host.settle(now);
                result
            }
        }
    }

    pub(super) fn respond(&mut self, now: Time, link: LinkId, response: Response) {
        match self {
            Self::Facade(server) => server.respond(now, link, response),
            Self::Stepwise(host) => {
                host.out.writes.push(Write::Response(link, Box::new(response)));
                host.settle(now);
            }
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        match self {
            Self::Facade(server) => server.poll_output(),
            Self::Stepwise(host) => host.queue.pop_front(),
        }
    }

    /// Flushes at most `turns` ready links. The facade has flushed all links already.
    pub(super) fn flush(&mut self, now: Time, turns: usize) {
        if let Self::Stepwise(host) = self {
            for _ in 0..turns {
                let more = host.shard.flush_ready(now, 1, &mut host.out);
                host.settle(now);
                if !more {
                    return;
                }
            }
        }
    }
}

impl Stepwise {
    fn open(&mut self) -> LinkId {
        // Each link gets a new slot. The facade tests that slots are used again.
        let link = LinkId::new(self.opened, 0);
        self.opened += 1;
        let conn = Conn::new(Arc::clone(&self.config), Peer::default());
        self.connections.insert(link, (conn, BytesMut::new()));
        link
    }

    fn advance(&mut self, now: Time, link: LinkId) {
        let Some((conn, rest)) = self.connections.get_mut(&link) else {
            return;
        };
        let mut arrivals = Arrivals::default();
        conn.handle_bytes(rest, &mut arrivals);
        if let Some(head) = arrivals.body_started {
            self.shard.handle_body_started(now, link, &head, &mut self.out);
        }
        if let Some(request) = arrivals.request {
            let mut request = request.admission(Admission::Allowed);
            match self.router.route(&mut request) {
                Routed::Foreign => self.queue.push_back(Output::Request(link, request.http)),
                Routed::New | Routed::Session(_) => self.shard.handle_request(now, link, &mut request, &mut self.out),
            }
        }
        self.shard.handle_packets(now, link, &mut arrivals.packets, &mut self.out);
        self.write_all(now);
        if self.connections.contains_key(&link) {
            if !arrivals.pongs.is_empty() {
                self.queue.push_back(Output::Bytes(link, arrivals.pongs.take_all()));
            }
            self.queue.extend(arrivals.replies.into_iter().map(|bytes| Output::Bytes(link, bytes)));
        }
        if let Some(cause) = arrivals.closed
            && self.connections.remove(&link).is_some()
        {
            self.queue.push_back(Output::End(link));
            self.shard.handle_closed(now, link, cause, &mut self.out);
        }
    }

    fn settle(&mut self, now: Time) {
        loop {
            self.write_all(now);
            let Some(link) = self.resumed.pop_front() else { return };
            self.advance(now, link);
        }
    }

    /// Writes what the shard has to say. A link that ends is reported as closed, as by every host:
    /// a session may wait for it.
    fn write_all(&mut self, now: Time) {
        while !self.out.writes.is_empty() || !self.out.deliveries.is_empty() {
            self.queue.extend(self.out.deliveries.drain(..).map(Output::Delivery));
            self.out.released.clear();
            for write in std::mem::take(&mut self.out.writes) {
                self.write(now, write);
            }
        }
    }

    fn write(&mut self, now: Time, write: Write) {
        let link = write.link();
        let Some((conn, _)) = self.connections.get_mut(&link) else {
            return;
        };
        let Written { head, body, then } = write.encode(&mut BytesMut::new(), None);
        for bytes in [head, body].into_iter().filter(|bytes| !bytes.is_empty()) {
            self.queue.push_back(Output::Bytes(link, bytes));
        }
        match then {
            Then::GoesOn => {}
            Then::Answered => {
                conn.handle_answered();
                self.resumed.push_back(link);
            }
            Then::Upgraded(wire) => {
                conn.handle_upgraded(wire);
                self.resumed.push_back(link);
            }
            Then::Ends | Then::Aborts => {
                self.connections.remove(&link);
                self.queue.push_back(Output::End(link));
                self.shard.handle_closed(now, link, Cause::Closed, &mut self.out);
            }
        }
    }
}
