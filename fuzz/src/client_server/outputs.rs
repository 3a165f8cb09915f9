//! What both ends put out, and what must hold of it.

use sio_proto::client::{self, Outcome};
use sio_proto::server::{self, BreachKind, Cause, Peer};

use super::{NAMESPACES, Network, Wire, World, number_of};

impl World {
    pub(super) fn take_outputs(&mut self) {
        for _ in 0..100_000 {
            if let Some(output) = self.client.poll_output() {
                self.of_client(output);
            } else if let Some(output) = self.server.poll_output() {
                self.of_server(output);
            } else {
                return;
            }
        }
        panic!("one input has no end");
    }

    pub(super) fn of_client(&mut self, output: client::Output) {
        match output {
            client::Output::Connect { link, .. } => {
                assert!(!self.wires.contains_key(&link), "a link is named twice");
                if self.network == Network::Refuses {
                    return self.client.handle_closed(self.now, link, None);
                }
                let stalled = self.network == Network::Stalls;
                let at_server = (!stalled).then(|| self.server.open(Peer::default()));
                self.wires.insert(
                    link,
                    Wire {
                        at_server,
                        at_client: true,
                        stalled,
                        ..Wire::default()
                    },
                );
                if !stalled {
                    self.client.handle_connected(self.now, link);
                }
            }
            client::Output::Bytes(link, bytes) => {
                if let Some(wire) = self.wires.get_mut(&link).filter(|wire| wire.at_client) {
                    wire.to_server.extend_from_slice(&bytes);
                }
            }
            client::Output::Close(link) => {
                let Some(wire) = self.wires.get_mut(&link) else { return };
                wire.at_client = false;
                // What was written before arrives.
                let (rest, at_server) = (std::mem::take(&mut wire.to_server), wire.at_server);
                if !wire.stalled
                    && let Some(at_server) = at_server
                {
                    self.to_server(at_server, &rest);
                    self.wires.get_mut(&link).expect("it is there").at_server = None;
                    self.server.handle_closed(self.now, at_server, Cause::Closed);
                }
                self.forget_dead_wires();
            }
            client::Output::State(client::State::Connecting(_)) => assert!(!self.closed, "a closed client comes back"),
            client::Output::Delivery(delivery) => self.at_client(delivery),
            _ => {}
        }
    }

    pub(super) fn at_client(&mut self, delivery: client::Delivery) {
        match delivery {
            client::Delivery::Event { socket, args, ack, .. } => {
                let number = number_of(&args);
                let before = self.listened.entry(socket).or_default();
                assert!(
                    before.last().is_none_or(|last| *last < number),
                    "{number} after {before:?}"
                );
                before.push(number);
                self.tickets.extend(ack.map(|ticket| (ticket, number)));
            }
            client::Delivery::Receipt { emit, outcome } => {
                let emitted = self.emits.get(&emit).expect("an emit that nobody has made");
                match &outcome {
                    Outcome::Acknowledged(args) => {
                        assert_eq!(number_of(args), emitted.number, "an answer to another event");
                    }
                    Outcome::NotSent(why) => {
                        let heard = self.heard.get(NAMESPACES[emitted.namespace]);
                        let is_heard = heard.is_some_and(|heard| heard.contains(&emitted.number));
                        assert!(!is_heard, "{why}, and yet it was heard");
                    }
                    _ => {}
                }
                assert!(self.ended.insert(emit, outcome).is_none(), "an emit ends twice");
            }
            _ => {}
        }
    }

    pub(super) fn of_server(&mut self, output: server::Output) {
        match output {
            // What the server said before it was told of the end of a connection comes to nobody.
            server::Output::Bytes(link, bytes) => {
                let wire = self.wires.iter_mut().find(|(_, wire)| wire.at_server == Some(link));
                if let Some((link, wire)) = wire {
                    let link = *link;
                    wire.to_client.extend_from_slice(&bytes);
                    self.tell_what_is_held(link);
                }
            }
            server::Output::End(link) => {
                if let Some(wire) = self.wires.values_mut().find(|wire| wire.at_server == Some(link)) {
                    wire.at_server = None;
                    wire.ends = true;
                    self.forget_dead_wires();
                }
            }
            server::Output::Delivery(delivery) => self.at_server(delivery),
            _ => {}
        }
    }

    pub(super) fn at_server(&mut self, delivery: server::Delivery) {
        match delivery {
            server::Delivery::Connect { socket, namespace, .. } => {
                // It may have gone in the same turn. Then the next delivery says so.
                self.server
                    .shard(self.now, |shard, out| shard.accept(self.now, socket, out));
                self.peers.push((socket, sio_proto::ByteString::clone(&namespace)));
            }
            server::Delivery::Disconnect { socket, .. } => {
                let at = self
                    .peers
                    .iter()
                    .position(|(peer, _)| *peer == socket)
                    .expect("nobody goes");
                self.peers.remove(at);
                self.owed.retain(|(peer, ..)| *peer != socket);
                assert!(
                    self.asked.keys().all(|(peer, _)| *peer != socket),
                    "questions end before their socket does"
                );
            }
            server::Delivery::Event { socket, args, ack, .. } => {
                let peer = self.peers.iter().find(|(peer, _)| *peer == socket);
                let (_, namespace) = peer.expect("an event of nobody").clone();
                let number = number_of(&args);
                assert!(number < self.emitted, "an event that nobody has sent");
                let heard = self.heard.entry(namespace.clone()).or_default();
                assert!(
                    self.retries || heard.last().is_none_or(|last| *last < number),
                    "{number} after {heard:?}"
                );
                heard.push(number);
                self.owed.extend(ack.map(|id| (socket, namespace, id, args)));
            }
            server::Delivery::Ack { socket, id, result } => {
                let number = self
                    .asked
                    .remove(&(socket, id))
                    .expect("an answer to a question that has ended");
                if let Ok(args) = result {
                    assert_eq!(number_of(&args), number, "an answer to another event");
                }
            }
            server::Delivery::Breach { breach, .. } => {
                // An event that crosses the server's goodbye breaks a rule
                // (docs/protocol/socket-io.md §3.1).
                let crosses = breach.text().contains("in which the client is not");
                // The user connects and leaves again and again while no time passes.
                let hurries = breach.text().starts_with("more CONNECTs than a second");
                // Broadcasts may end a client that takes nothing (docs/flow-control.md).
                let floods = breach.text().ends_with("and its queue is full");
                assert!(
                    breach.kind() == BreachKind::Late || crosses || hurries || floods,
                    "{breach}"
                );
            }
            server::Delivery::Garbled { .. } => panic!("what the client has written cannot be read"),
            _ => {}
        }
    }
}
