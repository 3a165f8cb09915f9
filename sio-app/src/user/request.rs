//! A request to the other nodes of a cluster, whose answers somebody waits for.

use std::mem;
use std::sync::Arc;
use std::task::{Poll, Waker};

use sio_proto::broker::BrokerError;
use sio_proto::socket::Args;

use crate::lock::Mutex;
use crate::user::remote_socket::RemoteSocket;

/// A request whose answers somebody waits for. Clones mean the same request.
#[derive(Clone, Default)]
pub(crate) struct Request(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    answers: Answers,
    is_over: bool,
    waker: Option<Waker>,
}

/// What other nodes have answered.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) sockets: Vec<RemoteSocket>,
    /// How many sockets nodes have left out of their answers.
    pub(crate) left_out: u64,
    pub(crate) values: Vec<Args>,
    /// How many nodes have not answered in time.
    pub(crate) silent: u64,
    /// The names of those that are known.
    pub(crate) silent_nodes: Vec<String>,
    /// Why not all nodes have been asked.
    pub(crate) error: Option<RequestError>,
}

/// Why a request to the other nodes of a cluster says nothing of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The broker could not say how many nodes there are. Those that have answered are in the
    /// result.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Nobody was asked. The text says why: the request is too large, its event has a reserved
    /// name, or as many requests wait for answers as may.
    #[error("no node was asked: {0}")]
    NotSent(String),
    /// The server or its namespace has ended meanwhile.
    #[error("the namespace was closed")]
    Closed,
}

impl Request {
    /// Takes the answers when the request is over.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Answers> {
        let waker = waker.clone();
        let (answers, _old) = {
            let mut state = self.0.lock();
            match state.is_over {
                true => (Poll::Ready(mem::take(&mut state.answers)), None),
                false => (Poll::Pending, state.waker.replace(waker)),
            }
        };
        answers
    }
}

/// The side of the cluster.
#[cfg(feature = "redis")]
impl Request {
    /// Notes answers that have come.
    pub(crate) fn add(&self, add: impl FnOnce(&mut Answers)) {
        add(&mut self.0.lock().answers);
    }

    /// Ends the request, and wakes whoever waits for it.
    pub(crate) fn end(&self) {
        let waker = {
            let mut state = self.0.lock();
            state.is_over = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Answers {
    /// Adds the answers to another request.
    pub(crate) fn merge(&mut self, other: Self) {
        self.sockets.extend(other.sockets);
        self.left_out = self.left_out.saturating_add(other.left_out);
        self.values.extend(other.values);
        self.silent = self.silent.saturating_add(other.silent);
        self.silent_nodes.extend(other.silent_nodes);
        self.error = self.error.take().or(other.error);
    }
}

/// Several requests, of which all are waited for.
#[derive(Default)]
pub(crate) struct Requests {
    pub(crate) open: Vec<Request>,
    pub(crate) answers: Answers,
}

impl Requests {
    /// Takes the answers when all requests are over.
    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<Answers> {
        let Self { open, answers } = self;
        open.retain(|request| match request.poll(waker) {
            Poll::Ready(come) => {
                answers.merge(come);
                false
            }
            Poll::Pending => true,
        });
        match open.is_empty() {
            true => Poll::Ready(mem::take(answers)),
            false => Poll::Pending,
        }
    }
}
