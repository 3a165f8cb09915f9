//! A Redis cluster of three, and what a test needs while slots move there.

use sio_proto::broker::BrokerConfig;
use sio_proto::{BytesMut, LinkId};

use super::{Node, World, bulk, line};

/// Three masters of a cluster.
pub(crate) fn cluster() -> World {
    let mut nodes = vec![Node::new("a", 1), Node::new("a", 2), Node::new("a", 3)];
    nodes.iter_mut().for_each(|node| node.in_cluster = true);
    nodes[0].slots = vec![(0, 5460)];
    nodes[1].slots = vec![(5461, 10922)];
    nodes[2].slots = vec![(10923, 16383)];
    World::new(BrokerConfig::from_url("redis://a:1,a:2,a:3").unwrap(), nodes)
}

impl World {
    /// Hands over the first line of what a server has said on each of its connections.
    pub(crate) fn hear_first_line(&mut self, node: usize) {
        let of_node = |link: &LinkId| self.conns[link].node == node;
        let said = std::mem::take(&mut self.to_broker).into_iter();
        let (first, others): (Vec<_>, Vec<_>) = said.partition(|(link, _)| of_node(link));
        self.to_broker = others.into_iter().collect();
        for (link, mut said) in first {
            let end = said.windows(2).position(|end| end == b"\r\n").map_or(0, |at| at + 2);
            let line = said.split_to(end);
            self.to_broker.insert(link, said);
            self.hand_over(link, &line);
        }
    }

    /// A server that stands still carries out one command of each connection.
    pub(crate) fn answer_one(&mut self, node: usize) {
        let of_node = self.conns.iter().filter(|(_, conn)| conn.node == node);
        let links: Vec<LinkId> = of_node.map(|(link, _)| *link).collect();
        for link in links {
            let conn = self.conns.get_mut(&link).unwrap();
            let Some(parts) = conn.next_command() else { continue };
            let mut out = self.to_broker.remove(&link).unwrap_or_default();
            self.answer(link, &parts, &mut out);
            self.to_broker.insert(link, out);
        }
    }

    /// All subscriptions of a server end, as when its slots move.
    pub(crate) fn take_away(&mut self, node: usize) {
        self.end_subscriptions(node, |_| true);
    }

    /// One subscription ends, as when its slot moves.
    pub(crate) fn end_subscription(&mut self, node: usize, channel: &str) {
        self.end_subscriptions(node, |name| name == channel.as_bytes());
    }

    fn end_subscriptions(&mut self, node: usize, ends: impl Fn(&[u8]) -> bool) {
        for (link, conn) in &mut self.conns {
            if conn.node != node {
                continue;
            }
            let out = self.to_broker.entry(*link).or_default();
            let sharded: Vec<_> = conn
                .channels
                .iter()
                .filter(|(name, sharded)| *sharded && ends(name))
                .cloned()
                .collect();
            for key in sharded {
                line(out, ">3");
                bulk(out, b"sunsubscribe");
                bulk(out, &key.0);
                line(out, ":0");
                conn.channels.remove(&key);
            }
        }
    }

    /// Answers `CLUSTER SLOTS`.
    pub(super) fn slots(&self, at: usize, out: &mut BytesMut) {
        if !self.nodes[at].in_cluster {
            return line(out, "-ERR This instance has cluster support disabled");
        }
        let ranges = self
            .nodes
            .iter()
            .flat_map(|node| node.slots.iter().map(move |range| (node, range)));
        let ranges: Vec<_> = ranges.collect();
        line(out, &format!("*{}", ranges.len()));
        for (node, (from, to)) in ranges {
            line(out, &format!("*3\r\n:{from}\r\n:{to}\r\n*3"));
            bulk(out, node.host.as_bytes());
            line(out, &format!(":{}", node.port));
            bulk(out, b"id");
        }
    }
}
