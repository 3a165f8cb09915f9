//! Surveys: broadcasts that ask for acknowledgements, and the answers that have come.
//!
//! ```text
//!   ask ──► recipients, added under the lock of each shard ──► answers, as they come ──► taken
//! ```
//! An answer finds its survey by the id of the acknowledgement. All recipients of a survey share
//! this id, so the message is encoded once. A recipient is added while its shard is locked, so no
//! answer can come before the survey knows its sender. The shard watches the time, and reports the
//! end of a recipient like an answer. So every recipient is heard of once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
#[cfg(feature = "redis")]
use std::sync::Weak;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use sio_proto::SocketKey;
use sio_proto::server;
use sio_proto::socket::Args;

use crate::args::detached;
use crate::error::{AckError, EmitError};
use crate::lock::Mutex;
use crate::options::Options;
use crate::turn::shard::ShardCell;
use crate::turn::socket::SocketCell;
use crate::turn::socket_id::SocketId;

/// A recipient: the address of its shard, and its key in this shard.
type Recipient = (usize, SocketKey);

/// What has come from one recipient.
pub(crate) type Outcome = (SocketId, Result<Args, AckError>);

/// All surveys of a server. It also gives out the ids of acknowledgements.
pub(crate) struct Surveys {
    max_recipients: usize,
    max_bytes: usize,
    max_total_bytes: usize,
    open: Mutex<HashMap<u64, Arc<Survey>>>,
    next: AtomicU32,
    /// The recipients of all surveys that nobody has taken yet, and the bytes of their answers.
    recipients: AtomicUsize,
    bytes: AtomicUsize,
}

/// One broadcast that asks for acknowledgements.
pub(crate) struct Survey {
    id: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The shards that have recipients.
    cells: Vec<Arc<ShardCell>>,
    waiting: BTreeMap<Recipient, SocketId>,
    come: VecDeque<Outcome>,
    /// The bytes of the answers that have come.
    bytes: usize,
    /// Whether all shards have been asked.
    is_asked: bool,
    /// How many requests to other nodes are not over.
    elsewhere: usize,
    /// Whether nobody waits any more.
    #[cfg(feature = "redis")]
    is_given_up: bool,
    /// Who waits, and whether it wants each answer at once.
    waiter: Option<(Waker, bool)>,
}

impl State {
    fn is_over(&self) -> bool {
        self.is_asked && self.elsewhere == 0 && self.waiting.is_empty()
    }

    /// Takes the waker, if there is something for the one who waits.
    fn news(&mut self) -> Option<Waker> {
        let is_over = self.is_over();
        let waiter = self.waiter.take_if(|(_, wants_each)| *wants_each || is_over);
        waiter.map(|(waker, _)| waker)
    }
}

impl Surveys {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            max_recipients: options.max_broadcast_acks,
            max_bytes: options.max_broadcast_ack_bytes,
            max_total_bytes: options.max_total_broadcast_ack_bytes,
            open: Mutex::default(),
            next: AtomicU32::new(0),
            recipients: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Returns an id for an acknowledgement. It fits into 31 bits, because some clients keep ids in
    /// such numbers. All sockets share the ids: a client may answer a question of its earlier
    /// connection when it has a new socket, and this answer must not count for another question.
    pub(crate) fn next_id(&self) -> u64 {
        u64::from(self.next.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff)
    }

    /// Begins a survey.
    ///
    /// # Errors
    /// [`EmitError::Full`] if the surveys have as many recipients as they may.
    pub(crate) fn open(self: &Arc<Self>) -> Result<OpenSurvey, EmitError> {
        if self.recipients.load(Ordering::Relaxed) >= self.max_recipients {
            return Err(EmitError::Full);
        }
        let survey = Arc::new(Survey {
            id: self.next_id(),
            state: Mutex::default(),
        });
        let old = self.open.lock().insert(survey.id, Arc::clone(&survey));
        drop(old);
        Ok(OpenSurvey {
            surveys: Arc::clone(self),
            survey,
        })
    }

    /// An answer has come, or the reason why none will come. If no survey waits for it, it is
    /// dropped.
    pub(crate) fn acknowledged(&self, from: &SocketCell, id: u64, result: Result<Args, server::AckError>) {
        let survey = self.open.lock().get(&id).cloned();
        if let Some(survey) = survey {
            let result = result.map(detached).map_err(AckError::from);
            survey.heard(self, &recipient(&from.cell, from.key), result);
        }
    }

    /// Ends all surveys, because no answer will come any more.
    pub(crate) fn end(&self) {
        let open = std::mem::take(&mut *self.open.lock());
        open.into_values().for_each(|survey| survey.end());
    }

    /// Counts the bytes of an answer, if the limits allow it.
    fn enter(&self, state: &mut State, bytes: usize) -> Result<(), AckError> {
        if state.bytes.saturating_add(bytes) > self.max_bytes {
            return Err(AckError::TooLarge);
        }
        // The sum is never above the limit, not even for a moment: an outcome without bytes always
        // fits.
        let add = |sum: usize| sum.checked_add(bytes).filter(|sum| *sum <= self.max_total_bytes);
        let added = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        if added.is_err() {
            return Err(AckError::TooLarge);
        }
        state.bytes += bytes;
        Ok(())
    }

    /// Stops counting outcomes that have been taken.
    fn leave(&self, state: &mut State, outcomes: usize, bytes: usize) {
        state.bytes -= bytes;
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.recipients.fetch_sub(outcomes, Ordering::Relaxed);
    }

    /// Returns the open surveys, their recipients, and the bytes of their answers.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (self.open.lock().len(), count(&self.recipients), count(&self.bytes))
    }
}

fn recipient(cell: &Arc<ShardCell>, key: SocketKey) -> Recipient {
    (Arc::as_ptr(cell).addr(), key)
}

fn bytes_of(outcome: &Outcome) -> usize {
    outcome.1.as_ref().map_or(0, Args::bytes)
}

impl Survey {
    /// One recipient has answered, or will not answer.
    fn heard(&self, surveys: &Surveys, recipient: &Recipient, result: Result<Args, AckError>) {
        let bytes = result.as_ref().map_or(0, Args::bytes);
        let waker = {
            let mut state = self.state.lock();
            let Some(id) = state.waiting.remove(recipient) else {
                return;
            };
            let entered = surveys.enter(&mut state, bytes);
            state.come.push_back((id, entered.and(result)));
            state.news()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// So many sockets of other nodes have answered, or will not answer, and so many requests to
    /// other nodes are over.
    #[cfg(feature = "redis")]
    fn heard_elsewhere(&self, surveys: &Surveys, result: Result<Args, AckError>, sockets: usize, over: usize) {
        let waker = {
            let mut state = self.state.lock();
            if state.is_given_up {
                surveys.recipients.fetch_sub(sockets, Ordering::Relaxed);
                return;
            }
            match result {
                Ok(args) => {
                    let entered = surveys.enter(&mut state, args.bytes());
                    state.come.push_back((SocketId::named(""), entered.and(Ok(args))));
                }
                Err(_) => {
                    let missing = (0..sockets).map(|_| (SocketId::named(""), Err(AckError::TimedOut)));
                    state.come.extend(missing);
                }
            }
            state.elsewhere -= over;
            state.news()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn end(&self) {
        let waker = {
            let mut state = self.state.lock();
            let State { waiting, come, .. } = &mut *state;
            let lost = std::mem::take(waiting).into_values();
            come.extend(lost.map(|id| (id, Err(AckError::Disconnected))));
            state.news()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A survey that somebody waits for. When this is dropped, the survey ends, the recipients owe no
/// answers any more, and later answers are ignored.
pub(crate) struct OpenSurvey {
    surveys: Arc<Surveys>,
    survey: Arc<Survey>,
}

impl OpenSurvey {
    /// Returns the id of the acknowledgements.
    pub(crate) fn id(&self) -> u64 {
        self.survey.id
    }

    /// Adds the recipients in one shard, which is locked. Those that were not asked are heard of at
    /// once.
    pub(super) fn add(&self, cell: &Arc<ShardCell>, asked: Vec<(SocketKey, SocketId, Result<(), AckError>)>) {
        self.surveys.recipients.fetch_add(asked.len(), Ordering::Relaxed);
        let mut state = self.survey.state.lock();
        if !state.cells.iter().any(|known| Arc::ptr_eq(known, cell)) {
            state.cells.push(Arc::clone(cell));
        }
        for (key, id, result) in asked {
            match result {
                Ok(()) => _ = state.waiting.insert(recipient(cell, key), id),
                Err(error) => state.come.push_back((id, Err(error))),
            }
        }
    }

    /// Notes that all shards have been asked.
    pub(crate) fn all_asked(&self) {
        self.survey.state.lock().is_asked = true;
    }

    /// Takes the next outcome. `None` if every recipient has been heard of.
    pub(crate) fn poll_next(&self, waker: &Waker) -> Poll<Option<Outcome>> {
        let waker = waker.clone();
        let (next, _old) = {
            let mut state = self.survey.state.lock();
            let next = state.come.pop_front();
            if let Some(outcome) = &next {
                self.surveys.leave(&mut state, 1, bytes_of(outcome));
            }
            match next.is_some() || state.is_over() {
                true => (Poll::Ready(next), None),
                false => (Poll::Pending, state.waiter.replace((waker, true))),
            }
        };
        next
    }

    /// Takes all outcomes, when every recipient has been heard of.
    pub(crate) fn poll_all(&self, waker: &Waker) -> Poll<VecDeque<Outcome>> {
        let waker = waker.clone();
        let (all, _old) = {
            let mut state = self.survey.state.lock();
            match state.is_over() {
                true => {
                    let come = std::mem::take(&mut state.come);
                    let bytes = state.bytes;
                    self.surveys.leave(&mut state, come.len(), bytes);
                    (Poll::Ready(come), None)
                }
                false => (Poll::Pending, state.waiter.replace((waker, false))),
            }
        };
        all
    }
}

#[cfg(feature = "redis")]
impl OpenSurvey {
    /// Waits for sockets of other nodes, too, until the returned value is dropped.
    pub(crate) fn elsewhere(&self) -> SurveyElsewhere {
        self.survey.state.lock().elsewhere += 1;
        SurveyElsewhere {
            surveys: Arc::clone(&self.surveys),
            survey: Arc::downgrade(&self.survey),
            due: AtomicUsize::new(0),
        }
    }

    /// Returns how many recipients may answer or have answered.
    pub(crate) fn asked(&self) -> usize {
        let state = self.survey.state.lock();
        state.waiting.len() + state.come.iter().filter(|(_, result)| result.is_ok()).count()
    }
}

/// The part of a survey that other nodes answer. They do not say which socket has answered, so its
/// id is empty. When this is dropped, the sockets that have not answered are missing.
#[cfg(feature = "redis")]
pub(crate) struct SurveyElsewhere {
    surveys: Arc<Surveys>,
    survey: Weak<Survey>,
    /// How many sockets have been asked and have not answered.
    due: AtomicUsize,
}

#[cfg(feature = "redis")]
impl SurveyElsewhere {
    /// A node has asked so many sockets. They count as recipients, as far as the limit allows.
    pub(crate) fn expect(&self, sockets: u64) {
        let recipients = self.surveys.recipients.load(Ordering::Relaxed);
        let room = self.surveys.max_recipients.saturating_sub(recipients);
        let sockets = usize::try_from(sockets).unwrap_or(usize::MAX).min(room);
        if self.survey.strong_count() > 0 {
            self.due.fetch_add(sockets, Ordering::Relaxed);
            self.surveys.recipients.fetch_add(sockets, Ordering::Relaxed);
        }
    }

    /// A socket has answered.
    pub(crate) fn heard(&self, args: Args) {
        let one_less = |due: usize| due.checked_sub(1);
        if self
            .due
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_err()
        {
            return;
        }
        match self.survey.upgrade() {
            Some(survey) => survey.heard_elsewhere(&self.surveys, Ok(detached(args)), 1, 0),
            None => _ = self.surveys.recipients.fetch_sub(1, Ordering::Relaxed),
        }
    }
}

#[cfg(feature = "redis")]
impl Drop for SurveyElsewhere {
    fn drop(&mut self) {
        let due = *self.due.get_mut();
        match self.survey.upgrade() {
            Some(survey) => survey.heard_elsewhere(&self.surveys, Err(AckError::TimedOut), due, 1),
            None => _ = self.surveys.recipients.fetch_sub(due, Ordering::Relaxed),
        }
    }
}

impl Drop for OpenSurvey {
    fn drop(&mut self) {
        let Self { surveys, survey } = self;
        let known = {
            let mut open = surveys.open.lock();
            let is_ours = open.get(&survey.id).is_some_and(|known| Arc::ptr_eq(known, survey));
            is_ours.then(|| open.remove(&survey.id))
        };
        drop(known);
        let (cells, waiting, _waiter) = {
            let mut state = survey.state.lock();
            #[cfg(feature = "redis")]
            {
                state.is_given_up = true;
            }
            let (waiting, come) = (std::mem::take(&mut state.waiting), std::mem::take(&mut state.come));
            let bytes = state.bytes;
            surveys.leave(&mut state, waiting.len() + come.len(), bytes);
            (std::mem::take(&mut state.cells), waiting, state.waiter.take())
        };
        let mut waiting = waiting.into_keys().peekable();
        while let Some((address, _)) = waiting.peek().copied() {
            let keys = std::iter::from_fn(|| waiting.next_if(|(other, _)| *other == address));
            let keys: Vec<SocketKey> = keys.map(|(_, key)| key).collect();
            if let Some(cell) = cells.iter().find(|cell| Arc::as_ptr(cell).addr() == address) {
                cell.forget_acks(survey.id, &keys);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// An answer that is too large takes no room, not even for a moment: a recipient of which no
    /// answer comes is reported as such, whatever other surveys are told at the same time.
    #[test]
    fn an_outcome_without_bytes_always_fits() {
        let options = Options::default()
            .max_broadcast_ack_bytes(usize::MAX)
            .max_total_broadcast_ack_bytes(1000);
        let surveys = Surveys::new(&options);
        let (begun, over) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut state = State::default();
                while !over.load(Ordering::Relaxed) {
                    assert!(matches!(surveys.enter(&mut state, 1001), Err(AckError::TooLarge)));
                    begun.store(true, Ordering::Relaxed);
                }
            });
            while !begun.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            let mut state = State::default();
            let all = (0..3_000_000).all(|_| surveys.enter(&mut state, 0).is_ok());
            over.store(true, Ordering::Relaxed);
            assert!(all);
        });
        let mut state = State::default();
        assert!(surveys.enter(&mut state, 1000).is_ok());
        assert!(matches!(surveys.enter(&mut state, 1), Err(AckError::TooLarge)));
        assert_eq!((state.bytes, surveys.bytes.load(Ordering::Relaxed)), (1000, 1000));
    }
}
