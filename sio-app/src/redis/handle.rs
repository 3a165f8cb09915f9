//! The handle of the connections to a broker.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sio_proto::Time;
use sio_proto::broker::{Broker, BrokerError, Command, Counters};

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
    /// Whether the machine was given a command since the task has last asked this.
    pub(super) is_commanded: AtomicBool,
    pub(super) network: Network,
}

impl Shared {
    /// Changes the machine, and wakes the task.
    fn command<R>(&self, change: impl FnOnce(&mut Broker, Time) -> R) -> R {
        let now = (self.network.runtime.now)();
        let (result, alarm) = {
            let mut core = self.core.lock_for("broker command");
            let result = change(&mut core.machine, now);
            // Under the lock: a task whose waker changes now sees the flag, or leaves its new waker
            // here.
            self.is_commanded.store(true, Ordering::Release);
            (result, core.alarm.clone())
        };
        if let Some(alarm) = alarm {
            alarm.wake();
        }
        result
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

    /// Gives a command, unless a message or a request would be dropped at once. It never waits.
    ///
    /// # Errors
    /// [`BrokerError::Full`] if too much waits already, [`BrokerError::Stopped`] if the connections
    /// are closed. Then nothing has been done.
    pub fn try_send(&self, command: Command) -> Result<(), BrokerError> {
        self.0.0.command(|machine, now| match machine.would_take(&command) {
            true => {
                machine.handle_command(now, command);
                Ok(())
            }
            false if machine.is_stopped() => Err(BrokerError::Stopped),
            false => Err(BrokerError::Full),
        })
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
