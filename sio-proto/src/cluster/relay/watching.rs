//! The time of relays and of the other nodes.

use core::time::Duration;

use alloc::vec::Vec;

use super::message::{Body, Reset};
use super::{LineId, RelayEnd, RelayOutputs, Relays, TAG};
use crate::Time;
use crate::broker::{Command, Request};

/// What is due for one relay.
enum Due {
    /// Nothing before this time.
    Later(Time),
    /// The other node has not said that it has the request.
    Unanswered,
    /// Nothing was heard about the relay for too long.
    Silent,
    TooOld,
    /// The other node has to hear something.
    Refresh,
}

impl Relays {
    /// A node says hello to another one at most this often.
    pub(super) const GREETING_PAUSE: Duration = Duration::from_secs(1);

    /// Returns when [`Relays::handle_timeout`] has to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        if self.is_closed {
            return None;
        }
        let line = self.deadlines.first().map(|(time, _)| *time);
        let nodes = self.is_ready().then(|| self.hello.min(self.look));
        line.into_iter().chain(nodes).min()
    }

    /// Takes the time.
    pub fn handle_timeout(&mut self, now: Time, out: &mut RelayOutputs) {
        if self.is_closed {
            return;
        }
        while let Some((time, id)) = self.deadlines.first().copied()
            && time <= now
        {
            self.deadlines.pop_first();
            self.check(now, id, out);
        }
        if !self.is_ready() {
            return;
        }
        if self.hello <= now {
            self.say_hello(now, false, out);
        }
        if self.look <= now {
            self.look_at_nodes(now, out);
        }
    }

    /// The broker hears this node's channel, perhaps again.
    pub(super) fn heard(&mut self, now: Time, out: &mut RelayOutputs) {
        if self.is_closed {
            return;
        }
        self.is_heard = true;
        self.look = now + self.config.hello_interval;
        // They could say nothing while the broker was away.
        self.roster.iter_mut().for_each(|(_, known)| known.heard = now);
        self.say_hello(now, true, out);
    }

    fn say_hello(&mut self, now: Time, asks: bool, out: &mut RelayOutputs) {
        self.hello = now + self.config.hello_interval;
        let body = Body::Hello { key: self.key, asks };
        self.publish(now, self.all.clone(), 0, false, body, out);
    }

    /// Puts a new relay among the deadlines.
    pub(super) fn schedule(&mut self, now: Time, id: LineId) {
        let config = &self.config;
        let most = config.answer_timeout.min(config.max_age).min(config.max_silence / 3);
        if let Some(line) = self.line(id) {
            line.due = now + most;
            let due = line.due;
            self.deadlines.insert((due, id));
        }
    }

    /// Looks at a relay whose deadline has come. Each relay has one deadline. What happens
    /// meanwhile does not move it, so a message costs no search.
    fn check(&mut self, now: Time, id: LineId, out: &mut RelayOutputs) {
        match self.due(now, id) {
            None => {}
            Some(Due::Later(time)) => {
                if let Some(line) = self.line(id) {
                    line.due = time;
                    self.deadlines.insert((time, id));
                }
            }
            Some(Due::Unanswered | Due::Silent) => self.end(now, id, RelayEnd::Silent, Some(Reset::Failed), out),
            Some(Due::TooOld) => self.end(now, id, RelayEnd::TooOld, Some(Reset::Failed), out),
            Some(Due::Refresh) => {
                self.take_up(now, id, out);
                self.check(now, id, out);
            }
        }
    }

    fn due(&mut self, now: Time, id: LineId) -> Option<Due> {
        let (answer, silence, age) = {
            let config = &self.config;
            (config.answer_timeout, config.max_silence, config.max_age)
        };
        let line = self.line(id)?;
        let too_old = line.opened + age;
        if too_old <= now {
            return Some(Due::TooOld);
        }
        let Some(heard) = line.heard else {
            let answered = line.opened + answer;
            return Some(match answered <= now {
                true => Due::Unanswered,
                false => Due::Later(answered.min(too_old)),
            });
        };
        let (silent, refresh) = (heard + silence, line.told + silence / 3);
        Some(if silent <= now {
            Due::Silent
        } else if refresh <= now {
            Due::Refresh
        } else {
            Due::Later(silent.min(refresh).min(too_old))
        })
    }

    /// Forgets nodes that have said nothing, and asks the broker about those with relays.
    fn look_at_nodes(&mut self, now: Time, out: &mut RelayOutputs) {
        let patience = 3 * self.config.hello_interval;
        let mut next = now + self.config.hello_interval;
        let mut silent = Vec::new();
        let (sharded, interval) = (self.sharded, self.config.probe_interval);
        for (name, known) in self.roster.iter_mut() {
            if known.heard + patience <= now {
                silent.push(name);
                continue;
            }
            next = next.min(known.heard + patience);
            let Some(probe) = known.probe else { continue };
            if probe > now {
                next = next.min(probe);
                continue;
            }
            known.probe = (known.lines > 0).then(|| now + interval);
            next = known.probe.map_or(next, |probe| next.min(probe));
            if known.lines == 0 || known.asked.is_some() {
                continue;
            }
            self.last_tag += 1;
            let tag = self.last_tag << 2 | TAG;
            known.asked = Some(tag);
            out.commands.push(Command::Request {
                tag,
                request: Request::Subscribers {
                    channel: known.channel.clone(),
                    sharded,
                },
            });
        }
        self.look = next;
        for name in silent {
            self.end_node(now, name, out);
        }
    }

    /// The broker has said how many hear the channel of a node, or could not.
    pub(super) fn probed(&mut self, now: Time, tag: u64, count: Option<u64>, out: &mut RelayOutputs) {
        let asked = self.roster.iter_mut().find(|(_, known)| known.asked == Some(tag));
        let Some(name) = asked.map(|(name, _)| name) else {
            return;
        };
        match (count, self.roster.get_mut(name)) {
            (Some(0), _) => self.end_node(now, name, out),
            (count, Some(known)) => {
                known.asked = None;
                if count.is_some() {
                    known.heard = now;
                }
            }
            (_, None) => {}
        }
    }
}
