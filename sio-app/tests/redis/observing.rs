//! Two nodes of a cluster, a client of each, and a number every ten milliseconds from one node to
//! both clients: what was lost while something failed, how long the client of the same node waited,
//! and when the client of the other node heard again.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sio_app::{Cluster, ClusterKind, Options, RecoveryConfig, StreamsConfig};

use super::connections::config;
use super::peers::{Hearer, Served};
use super::say;

/// The pause between two numbers.
const PACE: Duration = Duration::from_millis(10);

/// How long numbers are sent before something fails.
const BEFORE: Duration = Duration::from_millis(500);

/// How long numbers are sent after the other node has heard again.
const BEHIND: Duration = Duration::from_secs(1);

/// The longest time that a client of the same node may wait. The machine may have other work.
const LOCAL: Duration = Duration::from_secs(1);

/// How long a client of the same node waits for the half of the messages at most: it waits for
/// nothing, or, with recovery, for the stream.
const LOCAL_MEDIAN: Duration = Duration::from_millis(50);
const RECOVERED_MEDIAN: Duration = Duration::from_millis(400);

/// The longest time until another node hears again. Delays between attempts are two seconds at
/// most.
const BACK: Duration = Duration::from_secs(15);

/// A message that was sent this long before Redis went may still have been under way.
const UNDER_WAY: Duration = Duration::from_millis(500);

pub(super) struct World {
    pub(super) nodes: [Served; 2],
    pub(super) clients: [Hearer; 2],
    max_median: Duration,
}

pub(super) struct Report {
    /// How many numbers the client of the other node has not heard.
    pub(super) lost: usize,
}

/// Since when something fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// From the beginning: nothing has worked before.
    Start,
    /// From the call that makes it fail.
    Call,
}

impl World {
    pub(super) fn start(cluster: impl Fn() -> Cluster) -> Self {
        Self::start_with(&Options::default(), cluster)
    }

    fn start_with(options: &Options, cluster: impl Fn() -> Cluster) -> Self {
        let nodes = [(); 2].map(|()| Served::start_with(options.clone(), cluster(), |_| {}));
        let clients = [0, 1].map(|at: usize| Hearer::connect(nodes[at].address));
        let max_median = match options.recovery.is_some() {
            true => RECOVERED_MEDIAN,
            false => LOCAL_MEDIAN,
        };
        Self {
            nodes,
            clients,
            max_median,
        }
    }

    pub(super) fn classic(url: &str) -> Self {
        let world = Self::start(|| Cluster::new(config(url)));
        world.until_up();
        world
    }

    /// Streams without recovery: what was written is read, and what was not may be lost.
    pub(super) fn streams(url: &str) -> Self {
        Self::streams_with(&Options::default(), url)
    }

    /// Clients of these nodes may come back to the other one.
    pub(super) fn recovered(url: &str) -> Self {
        Self::streams_with(&Options::default().recovery(RecoveryConfig::default()), url)
    }

    fn streams_with(options: &Options, url: &str) -> Self {
        let kind = ClusterKind::Streams(StreamsConfig::default());
        let world = Self::start_with(options, || Cluster::new(config(url)).kind(kind.clone()));
        world.until_up();
        // A reader begins at the end of the stream when it is there.
        sleep(Duration::from_millis(500));
        world
    }

    pub(super) fn until_up(&self) {
        let started = Instant::now();
        let is_up = |node: &Served| node.io.metrics().cluster.is_some_and(|cluster| cluster.is_up);
        while !self.nodes.iter().all(is_up) {
            assert!(started.elapsed() < Duration::from_secs(20), "the cluster is not there");
            sleep(Duration::from_millis(5));
        }
    }

    /// Adds a count of both nodes.
    pub(super) fn count(&self, of: impl Fn(&sio_app::ClusterCounts) -> u64) -> u64 {
        let counts = self.nodes.iter().filter_map(|node| node.io.metrics().cluster);
        counts.map(|counts| of(&counts)).sum()
    }

    /// Sends numbers while `fail` does something to Redis and mends it. `fail` returns when it
    /// was mended.
    pub(super) fn observe(&self, what: &str, fail: impl FnOnce() -> Instant) -> Report {
        self.observe_since(Since::Call, what, fail)
    }

    /// As [`World::observe`], for something that fails since then.
    pub(super) fn observe_since(&self, since: Since, what: &str, fail: impl FnOnce() -> Instant) -> Report {
        let (is_over, sent) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let started = Instant::now();
        let (called, mended, back) = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let number = {
                        let mut sent = sent.lock().unwrap();
                        sent.push(Instant::now());
                        sent.len() as u64 - 1
                    };
                    self.nodes[0].io.emit("n", number);
                    sleep(PACE);
                }
            });
            sleep(BEFORE);
            let called = Instant::now();
            let mended = fail();
            let mut back = None;
            while back.is_none() && mended.elapsed() < BACK {
                // What was sent before may have been under way.
                let heard = self.clients[1].heard();
                let sent = sent.lock().unwrap().clone();
                let later = heard.iter().find(|(number, _)| sent[*number as usize] > mended);
                back = later.map(|(_, at)| *at);
                sleep(Duration::from_millis(2));
            }
            // What is lost from now on is lost without a reason.
            sleep(BEHIND);
            is_over.store(true, Ordering::Relaxed);
            (called, mended, back)
        });
        let sent = sent.into_inner().unwrap();
        let back = back.unwrap_or_else(|| panic!("{what}: nothing is heard within {BACK:?}"));
        self.until_heard(sent.len() as u64 - 1);
        let [near, far] = [0, 1].map(|at: usize| self.clients[at].heard());
        let all: Vec<u64> = (0..sent.len() as u64).collect();
        assert_eq!(
            near.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
            all,
            "{what}: near"
        );
        let waits = near.iter();
        let waits = waits.map(|(number, at)| at.saturating_duration_since(sent[*number as usize]));
        let mut waits: Vec<Duration> = waits.collect();
        waits.sort_unstable();
        let (median, waited) = (waits[waits.len() / 2], waits[waits.len() - 1]);
        assert!(waited < LOCAL, "{what}: local delivery waited for {waited:?}");
        assert!(
            median < self.max_median,
            "{what}: a half of local deliveries waited for {median:?}"
        );
        let far: Vec<u64> = far.into_iter().map(|(number, _)| number).collect();
        if let Some(at) = far.windows(2).position(|pair| pair[0] >= pair[1]) {
            let around = &far[at.saturating_sub(20)..far.len().min(at + 20)];
            let is_twice = far[..=at].contains(&far[at + 1]);
            let fault = if is_twice { "twice" } else { "out of order" };
            panic!("{what}: {} is heard {fault}: {around:?}", far[at + 1]);
        }
        let heard: BTreeSet<u64> = far.into_iter().collect();
        let lost: Vec<u64> = all.iter().filter(|number| !heard.contains(number)).copied().collect();
        let failed = match since {
            Since::Start => started,
            Since::Call => called,
        };
        for number in &lost {
            let at = sent[*number as usize];
            let last = mended.max(back) + UNDER_WAY;
            assert!(
                at + UNDER_WAY > failed && at < last,
                "{what}: {number} is lost without a reason"
            );
        }
        say(&format!(
            "{what}: {} of {} lost; local delivery waited {:.1} ms in the median, {} ms at most; heard again \
             after {} ms",
            lost.len(),
            sent.len(),
            median.as_secs_f64() * 1000.0,
            waited.as_millis(),
            back.saturating_duration_since(mended).as_millis(),
        ));
        Report { lost: lost.len() }
    }

    /// Waits until both clients have heard the last number.
    fn until_heard(&self, last: u64) {
        let started = Instant::now();
        let has = |client: &Hearer| client.heard().last().is_some_and(|(number, _)| *number == last);
        while !self.clients.iter().all(has) {
            assert!(started.elapsed() < BACK, "the last number is not heard");
            sleep(Duration::from_millis(5));
        }
    }
}
