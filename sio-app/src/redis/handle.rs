//! The handle of the connections to a broker.

use std::fmt;
use std::sync::Arc;

use sio_proto::broker::{Broker, Command, Counters};

use crate::client::network::Network;
use crate::lock::{Alarm, Mutex};

/// What the lock of a broker protects.
pub(super) struct Core {
    pub(super) machine: Broker,
    /// Wakes the broker's task.
    pub(super) alarm: Option<Alarm>,
}

pub(super) struct Shared {
    pub(super) core: Mutex<Core>,
    pub(super) network: Network,
}

impl Shared {
    /// Changes the machine, and wakes the task.
    fn command(&self, change: impl FnOnce(&mut Broker, sio_proto::Time)) {
        let now = (self.network.runtime.now)();
        let alarm = {
            let mut core = self.core.lock_for("broker command");
            change(&mut core.machine, now);
            core.alarm.clone()
        };
        if let Some(alarm) = alarm {
            alarm.wake();
        }
    }
}

/// All handles hold this value. When the last one goes, the connections are closed.
struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.command(Broker::stop);
    }
}

/// The connections of this process to its broker. It is cheap to clone. When the last handle is
/// dropped, the connections are closed.
#[derive(Clone)]
pub struct BrokerHandle(Arc<Alive>);

impl BrokerHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(Arc::new(Alive(shared)))
    }

    /// Gives a command. It never waits: what the broker cannot take now waits within
    /// [`BrokerConfig::max_waiting_bytes`](sio_proto::broker::BrokerConfig::max_waiting_bytes).
    pub fn send(&self, command: Command) {
        self.0.0.command(|machine, now| machine.handle_command(now, command));
    }

    /// Gives several commands, under one lock and with one wake-up. The list is empty afterwards.
    pub fn send_all(&self, commands: &mut Vec<Command>) {
        if commands.is_empty() {
            return;
        }
        self.0.0.command(|machine, now| {
            for command in commands.drain(..) {
                machine.handle_command(now, command);
            }
        });
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.0.0.core.lock_for("broker counters").machine.counters()
    }

    /// Closes the connections. Requests that wait are answered with an error, and later commands do
    /// nothing.
    pub fn close(&self) {
        self.0.0.command(Broker::stop);
    }
}

impl fmt::Debug for BrokerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerHandle").finish_non_exhaustive()
    }
}
