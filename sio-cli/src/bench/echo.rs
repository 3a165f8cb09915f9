//! Events that come back: to the client that has sent them, or to all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use sio_tokio::RawArgs;
use sio_tokio::client::{AckError, Socket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant as Deadline, interval, sleep_until, timeout};

use super::TICK;
use super::clients::Crowd;
use super::summary::Summary;
use crate::arguments::Bench;
use crate::clock;
use crate::ending::Failed;

/// How many results may wait until they are counted.
const MAX_WAITING: usize = 4096;

/// How long the last deliveries are waited for.
const REST: Duration = Duration::from_secs(2);

/// The result of one event.
type Round = Result<Duration, String>;

/// Each client sends an event, and the next one when the answer has come.
pub(super) async fn echo(
    crowd: &Crowd,
    arguments: &Bench,
    summary: &mut Summary,
    bar: &ProgressBar,
) -> Result<(), Failed> {
    let (tell, told) = mpsc::channel(MAX_WAITING);
    let began = clock::now();
    summary.began = Some(began);
    let end = began + Duration::from_secs(arguments.seconds.into());
    let event: Arc<str> = arguments.event().into();
    let payload: Arc<str> = "x".repeat(arguments.size as usize).into();
    let mut tasks = JoinSet::new();
    for member in &crowd.members {
        let one = Sender {
            socket: member.socket.clone(),
            event: Arc::clone(&event),
            payload: Arc::clone(&payload),
            limit: arguments.dial.timeout(),
            end,
            tell: tell.clone(),
        };
        match arguments.answer() {
            None => tasks.spawn(one.with_acks()),
            Some(answer) => {
                let answers = one.answers(answer);
                tasks.spawn(one.with_events(answers))
            }
        };
    }
    drop(tell);
    count(told, summary, bar, began).await;
    if summary.rounds.count() == 0 {
        summary.hint = Some(match arguments.answer() {
            None => format!(
                "The server does not acknowledge the event `{event}`: name one that it does with --event, or the event \
                 that it answers with by --answer."
            ),
            Some(answer) => format!("The server does not answer the event `{event}` with the event `{answer}`."),
        });
    }
    Ok(())
}

struct Sender {
    socket: Socket,
    event: Arc<str>,
    payload: Arc<str>,
    limit: Duration,
    end: Instant,
    tell: mpsc::Sender<Round>,
}

impl Sender {
    /// The answer to each event is its acknowledgement.
    async fn with_acks(self) {
        let mut began = clock::now();
        while began < self.end {
            let emitter = self.socket.timeout(self.limit);
            let answer = emitter.emit_with_ack::<RawArgs>(&self.event, &*self.payload).await;
            let now = clock::now();
            let round = match &answer {
                Ok(_) => Ok(now.saturating_duration_since(began)),
                Err(error) => Err(error.to_string()),
            };
            let goes_on = matches!(answer, Ok(_) | Err(AckError::TimedOut));
            if self.tell.send(round).await.is_err() || !goes_on {
                return;
            }
            began = now;
        }
    }

    /// The times at which events of this name come.
    fn answers(&self, name: &str) -> mpsc::Receiver<Instant> {
        let (tell, answers) = mpsc::channel(1);
        // An answer that nobody waits for is dropped.
        self.socket.on(name, move || {
            let _ = tell.try_send(clock::now());
        });
        answers
    }

    /// The answer to each event is another event. After an answer that is late, the next one could
    /// not be told from it, so the client stops.
    async fn with_events(self, mut answers: mpsc::Receiver<Instant>) {
        let mut began = clock::now();
        while began < self.end {
            let round = match self.socket.emit(&self.event, &*self.payload) {
                Err(error) => Err(error.to_string()),
                Ok(()) => match timeout(self.limit, answers.recv()).await {
                    Ok(Some(at)) => Ok(at.saturating_duration_since(began)),
                    Ok(None) | Err(_) => Err("no answer in time".to_owned()),
                },
            };
            let goes_on = round.is_ok();
            if self.tell.send(round).await.is_err() || !goes_on {
                return;
            }
            began = clock::now();
        }
    }
}

/// Counts results until all senders have ended.
async fn count(mut told: mpsc::Receiver<Round>, summary: &mut Summary, bar: &ProgressBar, began: Instant) {
    let mut ticks = interval(TICK);
    ticks.tick().await;
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => bar.inc(1),
            round = told.recv() => match round {
                Some(Ok(took)) => summary.rounds.add(took),
                Some(Err(error)) => summary.fail(&error),
                None => break,
            },
        }
    }
    summary.took = clock::now().saturating_duration_since(began);
}

/// One client sends an event that the server sends to all. The next one leaves when all have it.
pub(super) async fn broadcast(
    crowd: &mut Crowd,
    arguments: &Bench,
    summary: &mut Summary,
    bar: &ProgressBar,
) -> Result<(), Failed> {
    let event = arguments.event();
    let (tell, mut told) = mpsc::channel(MAX_WAITING);
    // The number of the event under way. Late deliveries of earlier ones do not count.
    let current = Arc::new(AtomicU64::new(0));
    for member in &crowd.members {
        let (tell, current) = (tell.clone(), Arc::clone(&current));
        member.socket.on(event, move |args: RawArgs| {
            let first = args
                .iter()
                .next()
                .and_then(|arg| arg.trim_start_matches('[').split(',').next());
            let number = first.and_then(|number| number.parse::<u64>().ok());
            if number.is_none_or(|number| number == current.load(Ordering::Relaxed)) {
                // A full channel only loses measurements.
                let _ = tell.try_send(clock::now());
            }
        });
    }
    let Some(sender) = crowd.members.first().map(|member| member.socket.clone()) else {
        return Ok(());
    };
    let payload = "x".repeat(arguments.size as usize);
    let began = clock::now();
    summary.began = Some(began);
    let end = began + Duration::from_secs(arguments.seconds.into());
    let mut shown = 0;
    while clock::now() < end {
        let number = current.fetch_add(1, Ordering::Relaxed) + 1;
        let sent = clock::now();
        if let Err(error) = sender.emit(event, ((number, &payload),)) {
            summary.fail(&error.to_string());
            break;
        }
        let all = deliveries(&mut told, crowd.members.len(), sent, summary).await;
        if !all {
            summary.fail("a broadcast did not reach all clients in time");
            if summary.rounds.count() == 0 {
                break;
            }
        }
        let seconds = clock::now().saturating_duration_since(began).as_secs();
        bar.inc(seconds - shown);
        shown = seconds;
    }
    summary.took = clock::now().saturating_duration_since(began);
    if summary.rounds.count() == 0 {
        summary.hint = Some(format!(
            "The server does not send the event `{event}` to all: name one with --event."
        ));
    }
    Ok(())
}

/// Waits for the deliveries of one event. Returns whether all have come.
async fn deliveries(told: &mut mpsc::Receiver<Instant>, wanted: usize, sent: Instant, summary: &mut Summary) -> bool {
    let deadline = Deadline::from_std(sent + REST);
    for _ in 0..wanted {
        tokio::select! {
            at = told.recv() => match at {
                Some(at) => summary.rounds.add(at.saturating_duration_since(sent)),
                None => return false,
            },
            () = sleep_until(deadline) => return false,
        }
    }
    true
}
