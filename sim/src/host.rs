//! The server of a world: the facade with one shard, or a host of several shards.

use std::sync::Arc;

use sio_proto::http::{self, Method};
use sio_proto::server::{
    Budget, Cause, CommonHolding, Output, Outputs, Peer, QuotaLimits, Request, Routed, Router, Server, SessionHolding,
    Shard,
};
use sio_proto::{Bytes, BytesMut, Config, LinkId, SocketKey, Time};

use crate::door::{Door, Watched};
use crate::house::House;
use crate::life::Session;
use crate::plan::Plan;
use crate::world::entropy;

/// The key of a socket in a server of several shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Socket {
    pub(crate) shard: usize,
    pub(crate) key: SocketKey,
}

/// The memory of what a connection holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// What has come and is not complete.
    pub(crate) arriving: usize,
    /// What may not come yet.
    pub(crate) slowed: usize,
    /// What may have to be sent on another connection.
    pub(crate) leaving: usize,
    /// All of it, with the connection itself.
    pub(crate) all: usize,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Host {
    machine: Machine,
    config: Config,
    router: Router,
}

#[derive(Debug)]
enum Machine {
    One(Box<Server>),
    Several(Box<House>),
}

impl Host {
    /// A server. Whether somebody may open a session is decided by the door, which also sees each
    /// session begin and end.
    pub(crate) fn new(plan: &Plan, restarts: u64, door: &Door) -> Self {
        let seed = plan.seed ^ restarts << 40;
        let mut key = [0; 16];
        entropy(seed ^ 0x5ec_2e7)(&mut key);
        let quota = Watched::new(QuotaLimits::new(&plan.server), door);
        let decide = door.clone();
        let machine = if plan.shards == 1 {
            let server = Server::new(plan.server.clone(), key, Box::new(entropy(seed ^ 0xd1ce)));
            let mut server = Box::new(server.unwrap_or_else(|error| unusable(plan, &error)));
            server.allow_request(move |request| decide.decide(request));
            server.shard(Time::ZERO, |shard, _| shard.share_quota(Box::new(quota)));
            Machine::One(server)
        } else {
            let budget = Arc::new(Budget::new(plan.server.max_total_queued_bytes));
            let shards = (0..plan.shards as u8).map(|index| {
                let random = Box::new(entropy(seed ^ 0xd1ce ^ u64::from(index) << 56));
                let shard = Shard::new(plan.server.clone(), index, key, random);
                let mut shard = shard.unwrap_or_else(|error| unusable(plan, &error));
                shard.share_quota(Box::new(quota.clone()));
                shard.share_budget(Arc::clone(&budget));
                shard
            });
            Machine::Several(Box::new(House::new(shards.collect(), key, decide, plan.takes_frames)))
        };
        Self {
            machine,
            config: plan.server.clone(),
            router: Router::new(&plan.server, key, plan.shards),
        }
    }

    pub(crate) fn shards(&self) -> usize {
        match &self.machine {
            Machine::One(_) => 1,
            Machine::Several(house) => house.shards(),
        }
    }

    /// Tells what each session holds.
    pub(crate) fn holding_of_sessions(&self, mut tell: impl FnMut(Session, SessionHolding)) {
        match &self.machine {
            Machine::One(server) => server.holding_of_sessions(|key, holding| tell((0, key), holding)),
            Machine::Several(house) => house.holding_of_sessions(tell),
        }
    }

    /// Tells the memory of what each connection holds.
    pub(crate) fn holding_of_connections(&self, mut tell: impl FnMut(LinkId, Share)) {
        match &self.machine {
            Machine::One(server) => server.holding_of_each(|link, holding| {
                let share = Share {
                    arriving: holding.arriving.most_memory(),
                    slowed: holding.slowed.most_memory(),
                    leaving: holding.leaving.most_memory(),
                    all: holding.most_memory(),
                };
                tell(link, share);
            }),
            Machine::Several(house) => house.holding_of_connections(tell),
        }
    }

    /// What the server holds for nobody: tables, lists and buffers.
    pub(crate) fn holding_of_nobody(&self) -> CommonHolding {
        match &self.machine {
            Machine::One(server) => server.holding_of_nobody(),
            Machine::Several(house) => house.holding_of_nobody(),
        }
    }

    /// Gives one shard a command.
    pub(crate) fn shard<R>(
        &mut self,
        now: Time,
        index: usize,
        command: impl FnOnce(&mut Shard, &mut Outputs) -> R,
    ) -> R {
        match &mut self.machine {
            Machine::One(server) => server.shard(now, command),
            Machine::Several(house) => house.shard(now, index, command),
        }
    }

    /// Asks all shards, and adds up what they say.
    pub(crate) fn sum(&mut self, now: Time, mut ask: impl FnMut(&mut Shard) -> usize) -> usize {
        (0..self.shards())
            .map(|index| self.shard(now, index, |shard, _| ask(shard)))
            .sum()
    }

    /// The session whose websocket, or whose held request, a connection is.
    pub(crate) fn session_on(&mut self, now: Time, link: LinkId) -> Option<Session> {
        let shard = match &self.machine {
            Machine::One(_) => 0,
            Machine::Several(house) => house.seat(link)?,
        };
        let key = self.shard(now, shard, |shard, _| shard.session_on(link))?;
        Some((shard, key))
    }

    /// The session that a request with this target names.
    pub(crate) fn named(&mut self, target: &str) -> Option<Session> {
        let http = http::Request {
            method: Method::Get,
            target: target.into(),
            version_minor: 1,
            headers: std::iter::empty::<(&str, &str)>().collect(),
            body: Ok(Bytes::new()),
        };
        let mut request = Request::new(&self.config, http, Peer::default());
        let Routed::Session(shard) = self.router.route(&mut request) else {
            return None;
        };
        let key = self.shard(Time::ZERO, shard, |shard, _| shard.session_named_by(&request))?;
        Some((shard, key))
    }

    pub(crate) fn open(&mut self, peer: Peer) -> LinkId {
        match &mut self.machine {
            Machine::One(server) => server.open(peer),
            Machine::Several(house) => house.open(peer),
        }
    }

    pub(crate) fn handle_bytes(&mut self, now: Time, link: LinkId, bytes: &mut BytesMut) {
        match &mut self.machine {
            Machine::One(server) => server.handle_bytes(now, link, bytes),
            Machine::Several(house) => house.handle_bytes(now, link, bytes),
        }
    }

    pub(crate) fn handle_closed(&mut self, now: Time, link: LinkId, cause: Cause) {
        match &mut self.machine {
            Machine::One(server) => server.handle_closed(now, link, cause),
            Machine::Several(house) => house.handle_closed(now, link, cause),
        }
    }

    pub(crate) fn wants_bytes(&self, link: LinkId) -> bool {
        match &self.machine {
            Machine::One(server) => server.wants_bytes(link),
            Machine::Several(house) => house.wants_bytes(link),
        }
    }

    pub(crate) fn handle_blocked(&mut self, now: Time, link: LinkId, held: usize) {
        match &mut self.machine {
            Machine::One(server) => server.handle_blocked(now, link, held),
            Machine::Several(house) => house.handle_blocked(now, link, held),
        }
    }

    pub(crate) fn handle_drained(&mut self, now: Time, link: LinkId) {
        match &mut self.machine {
            Machine::One(server) => server.handle_drained(now, link),
            Machine::Several(house) => house.handle_drained(now, link),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        match &mut self.machine {
            Machine::One(server) => server.handle_timeout(now),
            Machine::Several(house) => house.handle_timeout(now),
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        match &self.machine {
            Machine::One(server) => server.next_timeout(),
            Machine::Several(house) => house.next_timeout(),
        }
    }

    /// The next output, and the shard that it comes from.
    pub(crate) fn poll_output(&mut self) -> Option<(usize, Output)> {
        match &mut self.machine {
            Machine::One(server) => Some((0, server.poll_output()?)),
            Machine::Several(house) => house.poll_output(),
        }
    }
}

fn unusable<R>(plan: &Plan, error: &sio_proto::ConfigError) -> R {
    panic!("seed {} draws settings of no use: {error}", plan.seed)
}
