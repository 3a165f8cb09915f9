//! The clients of a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use sio_tokio::client::{Client, ClientError, DisconnectReason, Socket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::TICK;
use super::summary::Summary;
use crate::arguments::Bench;
use crate::ending::Failed;
use crate::{clock, dialing};

/// How long goodbyes may take, all together.
const GOODBYE: Duration = Duration::from_secs(3);

/// A client with its namespace.
pub(super) struct Member {
    pub(super) client: Client,
    pub(super) socket: Socket,
}

/// All clients that are connected.
pub(super) struct Crowd {
    pub(super) members: Vec<Member>,
    lost: Arc<AtomicU32>,
}

/// One client that has connected, or the reason why it has not, and how long this took.
type Connected = (Duration, Result<Member, String>);

impl Crowd {
    /// Connects all clients, some at a time.
    pub(super) async fn connect(arguments: &Bench, summary: &mut Summary, bar: &ProgressBar) -> Result<Self, Failed> {
        let mut crowd = Self {
            members: Vec::new(),
            lost: Arc::default(),
        };
        let began = clock::now();
        let mut waiting = JoinSet::new();
        let mut left = arguments.clients;
        while left > 0 || !waiting.is_empty() {
            while left > 0 && waiting.len() < arguments.at_once as usize {
                left -= 1;
                start(&mut waiting, arguments, &crowd.lost)?;
            }
            let Some(Ok((took, connected))) = waiting.join_next().await else {
                continue;
            };
            bar.inc(1);
            match connected {
                Ok(member) => {
                    summary.connecting.add(took);
                    summary.connected += 1;
                    crowd.members.push(member);
                }
                Err(error) => summary.fail(&error),
            }
            summary.connected_in = clock::now().saturating_duration_since(began);
        }
        Ok(crowd)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many clients have lost their connection.
    pub(super) fn lost(&self) -> u32 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Counts on which transports the clients are.
    pub(super) fn count_transports(&self, summary: &mut Summary) {
        for member in &self.members {
            summary.ends_on(member.client.transport());
        }
    }

    /// Keeps the connections open for some seconds.
    pub(super) async fn hold(&self, seconds: u64, bar: &ProgressBar) {
        for _ in 0..seconds {
            sleep(TICK).await;
            bar.inc(1);
        }
    }

    /// Says goodbye.
    pub(super) async fn close(self) {
        let mut states: Vec<_> = self.members.iter().map(|member| member.client.states()).collect();
        for member in &self.members {
            member.client.close();
        }
        let goodbyes = async {
            for states in &mut states {
                while states.next_state().await.is_some() {}
            }
        };
        let _ = timeout(GOODBYE, goodbyes).await;
    }
}

/// Starts a client.
fn start(waiting: &mut JoinSet<Connected>, arguments: &Bench, lost: &Arc<AtomicU32>) -> Result<(), Failed> {
    let began = clock::now();
    let builder = dialing::builder(&arguments.dial)?;
    let client = dialing::build(builder.config(|config| config.reconnection(false)))?;
    let target = &arguments.dial.target;
    let name = arguments.ns.as_deref().or(target.namespace.as_deref()).unwrap_or("/");
    let usage = |error: &dyn std::fmt::Display| Failed::Usage(error.to_string());
    let socket = client.of(name).map_err(|error| usage(&error))?;
    if let Some(auth) = &arguments.auth {
        socket.set_auth(auth).map_err(|error| usage(&error))?;
    }
    let limit = arguments.dial.timeout();
    waiting.spawn(connected(client, socket, began, limit, Arc::clone(lost)));
    Ok(())
}

async fn connected(client: Client, socket: Socket, began: Instant, limit: Duration, lost: Arc<AtomicU32>) -> Connected {
    let (tell, mut told) = mpsc::channel(1);
    let good = tell.clone();
    socket
        .on_connect(move || drop(good.try_send(Ok(clock::now()))))
        .on_connect_error(move |error: ClientError| drop(tell.try_send(Err(error))))
        .on_disconnect(move |reason: DisconnectReason| {
            if reason != DisconnectReason::Client {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        });
    if let Err(error) = socket.connect() {
        return (Duration::ZERO, Err(error.to_string()));
    }
    match timeout(limit, told.recv()).await {
        Ok(Some(Ok(at))) => (at.saturating_duration_since(began), Ok(Member { client, socket })),
        Ok(Some(Err(error))) => (Duration::ZERO, Err(error.message.to_string())),
        Ok(None) | Err(_) => (Duration::ZERO, Err("not connected in time".into())),
    }
}
