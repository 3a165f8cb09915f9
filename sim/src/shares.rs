//! Who holds the memory of the server (promise 7): after each step, what each session and each
//! connection holds is compared with its limits, and what all of them hold together with what the
//! allocator says. So each byte has an owner, or is one of the few that nobody has to own.
//!
//! The owners tell themselves what they hold, and count it anew each time
//! (`sio_proto::Holding`): no counter is read that the product adds to and takes from, except for
//! the size of a read buffer and the weights of what recovery keeps.
//! An owner that holds more than it says makes the sum too small, and one that says all that it
//! holds is compared with its limits.

use sio_proto::server::SessionHolding;
use sio_proto::{Config, Holding};

use crate::straits::Burden;
use crate::terms::Seen;
use crate::violation::Promise;
use crate::world::World;

/// What a session may hold beside what its settings limit.
const SMALL: usize = 8 << 10;

/// What a connection may hold beside what its settings limit, with the head that it remembers.
const SMALL_CONNECTION: usize = 8 << 10;

/// What nobody owns: buffers that the frames in them still share, and what is smaller than that.
const NAMELESS: usize = 24 << 10;

/// A frame may share a buffer of this size with others that are gone.
const SHARED: usize = 8 << 10;

/// How many packets of the protocol itself may wait in addition to an eighth of the queue, and how
/// many bytes of them.
const CONTROL: (usize, usize) = (16, 4 << 10);

/// How many bytes of packets may leave on a connection beside a full queue and what is under way.
const LEAVING: usize = 40 << 10;

/// How many bytes may be under way on a connection that swallows everything: what is said to it in
/// one go.
const SWALLOWED: usize = 32 << 10;

/// What a packet may take beside its bytes.
const PACKET: usize = 192;

/// For how many packets a queue that is empty may have room.
const ROOM: usize = 32;

/// What the tables of a server may hold, and how much more for each session, connection and socket
/// that there has been at one time.
const TABLES: (usize, usize) = (32 << 10, 1 << 10);

/// What a question that has no answer may take, and the deadlines that there may be for each
/// question which one client may be asked, in bytes: some stay until there are many.
const QUESTION: usize = 160;
const DEADLINES: usize = 1 << 10;

/// What the lists of outputs, the lists of what has arrived, and the buffers of a server may hold
/// between two inputs.
const OUTPUTS: usize = 256 << 10;
const ARRIVALS: usize = 96 << 10;
const BUFFERS: usize = 32 << 10;

/// How many bytes each byte of the target of a handshake may take: the pairs of the query are kept
/// as JSON, too.
const TARGET: usize = 3;

/// The most bytes of packets that may have to be sent on another connection: a queue may have left,
/// and nobody knows yet what of it was written. The places of those that are `under_way` may take
/// more than their bytes.
fn leaving(config: &Config, under_way: usize) -> usize {
    let (packets, bytes) = (config.max_queued_packets, config.max_queued_bytes);
    LEAVING + 4 * under_way + 2 * (bytes + bytes / 8) + PACKET * (packets + packets / 8)
}

/// How much more than its settings allow a session holds. It owes so many answers at most.
fn excess(holding: &SessionHolding, config: &Config, asks: usize) -> Option<String> {
    let (bytes, messages) = (config.max_queued_bytes, config.max_queued_packets);
    // A client of an old wire that is away has a limit of its own.
    let away = config
        .legacy09
        .max_pending_messages
        .max(config.legacy06.max_pending_messages);
    let packets = if holding.is_engine {
        messages
    } else {
        messages.max(away)
    };
    let control = (packets + packets / 8 + CONTROL.0, bytes + bytes / 8 + CONTROL.1);
    let queues = [
        ("messages that wait", holding.messages, (messages, bytes)),
        ("packets that wait", holding.queue, control),
        ("packets of the last answer", holding.answer, control),
    ];
    for (what, Holding { count, bytes, .. }, (most, most_bytes)) in queues {
        if count > most || bytes > most_bytes {
            let words = format!("a session holds {count} {what}, {bytes} bytes, at most {most} and {most_bytes}");
            return Some(words);
        }
    }
    let (ahead, most) = (holding.ahead, config.max_upgrade_packets);
    if ahead > most {
        return Some(format!(
            "a session holds {ahead} packets until it has moved, at most {most}"
        ));
    }
    let Holding { count, room, .. } = holding.queue;
    // A queue gives its memory back when it is empty.
    let most = if count == 0 { ROOM } else { ROOM + 2 * control.0 };
    if room > most {
        let words = format!("a session has room for {room} packets, at most {most}: it has {count}");
        return Some(words);
    }
    let arriving = 2 * (config.max_payload + config.max_auth_bytes);
    let handshake = config.max_handshake_bytes + TARGET * config.http.max_target_bytes;
    let memory = [
        ("of what has come", holding.arriving.most_memory(), arriving),
        ("of its handshake", holding.handshake.most_memory(), handshake),
        ("beside that", holding.others.most_memory(), QUESTION * asks),
    ];
    memory.into_iter().find_map(|(what, has, limit)| {
        let most = limit + SMALL;
        (has > most).then(|| format!("a session holds {has} bytes {what}, at most {most}"))
    })
}

impl World {
    /// Promise 7: nobody holds more than its limits allow, and each byte has an owner.
    pub(crate) fn check_shares(&mut self) {
        let (config, mut excess_of, mut sum) = (&self.plan.server, None, 0);
        let (mut burden, asks) = (Burden::default(), self.most_asked());
        let (mut sessions, mut seen) = (0, std::mem::take(&mut self.terms.seen));
        seen.clear();
        self.server.holding_of_sessions(|key, holding| {
            let shared = if holding.queue.count + holding.answer.count > 0 {
                SHARED
            } else {
                0
            };
            sessions += 1;
            seen.push((key, Seen::new(&holding)));
            burden.add(&holding);
            sum += holding.most_memory() + shared;
            if excess_of.is_none() {
                excess_of = excess(&holding, config, asks).map(|words| format!("{key:?}: {words}"));
            }
        });
        self.terms.seen = seen;
        let mut shares = Vec::new();
        self.server.holding_of_connections(|link, share| {
            sum += share.all;
            shares.push((link, share));
        });
        let connections = shares.len();
        for (link, share) in shares {
            let number = self.at_server.get(&link);
            let arriving = number.map_or(usize::MAX, |number| self.most_of_arriving(*number));
            let wire = number.and_then(|number| self.wires.get_mut(number));
            let wire = wire.filter(|wire| !wire.is_dead && !wire.is_cut);
            let under_way = wire.map_or(SWALLOWED, |wire| {
                // What has arrived is forgotten with the next input of the server.
                let recently = wire.under_way - wire.under_way / 16;
                wire.under_way = wire.down.under_way().max(recently);
                wire.under_way
            });
            let parts = [
                ("has come", share.arriving, arriving),
                ("may not come yet", share.slowed, 0),
                ("leaves", share.leaving, leaving(config, under_way)),
            ];
            for (what, bytes, most) in parts {
                if bytes > most && excess_of.is_none() {
                    excess_of = Some(format!(
                        "a connection holds {bytes} bytes of what {what}, at most {most}"
                    ));
                }
            }
        }
        if let Some(words) = excess_of {
            return self.fail(Promise::Price, format_args!("{words}"));
        }
        self.check_burden(&burden);
        let nobody = self.server.holding_of_nobody();
        let things = sessions + connections + self.members.len() + self.crowd.len() + self.names.len();
        self.peak = self.peak.max(things);
        let parts = [
            (
                "tables",
                nobody.tables,
                TABLES.0 + TABLES.1 * self.peak + DEADLINES * asks,
            ),
            ("lists of outputs", nobody.outputs, OUTPUTS + DEADLINES * asks),
            ("lists of what arrives", nobody.arrivals, ARRIVALS),
            ("buffers", nobody.buffers, BUFFERS),
        ];
        for (what, holding, most) in parts {
            let holds = holding.most_memory();
            if holds > most {
                return self.fail(
                    Promise::Price,
                    format_args!("the {what} of the server hold {holds} bytes, at most {most}"),
                );
            }
        }
        let nobody = nobody.most_memory();
        let recovery = self.comebacks.as_ref();
        let recovery = recovery.map_or(0, |comebacks| comebacks.machine.holding().most_memory());
        let (most, holds) = (sum + nobody + recovery + NAMELESS, self.held.bytes - self.empty);
        if holds > most as isize {
            let words = format_args!(
                "the server holds {holds} bytes, and {most} have an owner: {sum} of sessions and {connections} \
                 connections, {nobody} of tables, {recovery} of recovery"
            );
            self.fail(Promise::Price, words);
        }
    }

    /// The most bytes of what has come on a connection and is not complete.
    fn most_of_arriving(&self, number: u64) -> usize {
        let config = &self.plan.server;
        let given = self.wires.get(&number).map_or(0, |wire| wire.given);
        SMALL_CONNECTION + (4 * given).min(4 * (config.max_payload + config.http.max_head_bytes))
    }
}
