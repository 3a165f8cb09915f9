//! One run of `sio connect`: what the server does and what the user does, in one loop.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use serde_json::Value;
use sio_tokio::client::{
    Ack, Client, ClientError, ConnectionState, DisconnectReason, ErrorClass, Event, Events, Recovery, Socket,
    StopReason,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::prompt::{Line, Prompt};
use super::report::{Report, Reporter};
use super::terminal::Terminal;
use crate::arguments::{Colour, Connect};
use crate::clock;
use crate::ending::{Ending, Failed};
use crate::output::Output;
use crate::values;
use crate::{dialing, run};

/// How many events of the server may wait for an answer of the user. The oldest are forgotten.
const MAX_QUESTIONS: usize = 1000;

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the handlers of a namespace tell.
enum Note {
    Connected(String, Option<String>, bool),
    Failed(String, ClientError),
    Disconnected(String, DisconnectReason),
}

/// How an emit has ended.
pub(super) struct Ended {
    pub(super) emit: u64,
    pub(super) began: Instant,
    pub(super) end: End,
}

/// The end of an emit.
pub(super) enum End {
    /// It was sent, and wanted no acknowledgement.
    Sent,
    Acknowledged(Vec<Value>),
    /// It was volatile, and could not leave at once.
    Dropped,
    Failed(String),
}

/// A namespace.
pub(super) struct Space {
    pub(super) socket: Socket,
    events: Events,
    /// Whether the last answer of the server to this namespace was a refusal.
    pub(super) is_refused: bool,
}

pub(super) struct Session<'a> {
    pub(super) arguments: &'a Connect,
    pub(super) client: Client,
    pub(super) spaces: BTreeMap<String, Space>,
    pub(super) current: String,
    tell: mpsc::UnboundedSender<Note>,
    pub(super) reporter: Reporter,
    pub(super) is_interactive: bool,
    pub(super) emits: JoinSet<Ended>,
    pub(super) emitted: u64,
    pub(super) questions: BTreeMap<u64, Ack>,
    asked: u64,
    pub(super) watched: Vec<String>,
    pub(super) muted: Vec<String>,
    /// How the program ends if the last attempt, which has failed, was the last one.
    failed: Option<Ending>,
    was_connected: bool,
    pub(super) is_leaving: bool,
    /// The namespace whose answer a script waits for.
    entering: Option<String>,
    /// When a script has waited for it for too long.
    gives_up: Option<tokio::time::Instant>,
    pub(super) ending: Ending,
}

/// What to do next.
#[derive(PartialEq, Eq)]
pub(super) enum Next {
    Go,
    End,
}

/// Runs until the user, the standard input or the server ends it.
pub(super) async fn run(arguments: &Connect, colour: Colour) -> Result<Ending, Failed> {
    let mut builder = dialing::builder(&arguments.dial)?;
    if arguments.no_reconnect {
        builder = builder.config(|config| config.reconnection(false));
    }
    if arguments.confirm_events {
        builder = builder.config(|config| config.confirm_events(true));
    }
    let (mut prompt, mut lines) = Prompt::new(arguments);
    if !prompt.is_interactive {
        // Nobody sees that an emit waits, and nobody can take it back.
        let timeout = arguments.dial.timeout();
        builder = builder.config(|config| config.max_queue_age(Some(timeout)));
    }
    let client = dialing::build(builder)?;
    // It is dropped last, whatever ends the program.
    let _terminal = Terminal::now();
    let (tell, mut notes) = mpsc::unbounded_channel();
    let mut states = client.states();
    let target = &arguments.dial.target;
    let namespace = arguments
        .ns
        .clone()
        .or_else(|| target.namespace.clone())
        .unwrap_or_else(|| "/".into());
    let out = Output::standard(colour);
    let has_colours = out.has_colours();
    let reporter = Reporter::new(out, arguments.json);
    let mut session = Session::new(arguments, client, tell, reporter, prompt.is_interactive);
    session.enter(&namespace).map_err(Failed::Usage)?;
    let mut input_is_open = true;
    let mut until = None;
    let mut stop = std::pin::pin!(run::interrupted());
    loop {
        if (session.was_connected || !prompt.is_interactive)
            && let Some(above) = prompt.open(arguments, has_colours)
        {
            session.reporter.move_to(above);
        }
        // A script ends when all that it has sent has ended.
        if !input_is_open && session.is_done() && until.is_none() {
            until = Some(tokio::time::Instant::from_std(clock::now()) + arguments.stay());
        }
        let next = tokio::select! {
            biased;
            Some(note) = notes.recv() => session.note(note)?,
            Some(state) = states.next_state() => session.state(&state)?,
            (namespace, event) = next_event(&mut session.spaces) => {
                session.event(&namespace, event)?;
                Next::Go
            }
            Some(Ok(ended)) = session.emits.join_next(), if !session.emits.is_empty() => {
                session.ended(ended)?;
                Next::Go
            }
            line = lines.recv(), if input_is_open && session.takes_commands() => match line {
                Some(Line::Text(line)) => session.obey(&line)?,
                Some(Line::Interrupt) => {
                    session.ending = Ending::Interrupted;
                    Next::End
                }
                Some(Line::End) if prompt.is_interactive => Next::End,
                Some(Line::End) | None => {
                    input_is_open = false;
                    Next::Go
                }
            },
            () = &mut stop => {
                session.ending = Ending::Interrupted;
                Next::End
            }
            () = sleep_until(until), if until.is_some() => Next::End,
            () = sleep_until(session.gives_up), if session.gives_up.is_some() => session.give_up()?,
        };
        if next == Next::End {
            break;
        }
    }
    let goodbye = session.goodbye();
    timeout(GOODBYE, goodbye).await.unwrap_or(Ok(()))?;
    let _ = timeout(GOODBYE, async { while states.next_state().await.is_some() {} }).await;
    if session.ending == Ending::Unreachable && !arguments.json {
        let words = format!("`sio doctor {target}` looks for the reason");
        session.reporter.tell(&Report::Said(&words, Value::Null))?;
    }
    Ok(session.ending)
}

/// Waits until this time.
async fn sleep_until(time: Option<tokio::time::Instant>) {
    if let Some(time) = time {
        tokio::time::sleep_until(time).await;
    }
}

/// Waits for an event of any namespace.
async fn next_event(spaces: &mut BTreeMap<String, Space>) -> (String, Event) {
    poll_fn(|cx| {
        for (name, space) in spaces.iter_mut() {
            if let Poll::Ready(Some(event)) = space.events.poll_next_event(cx) {
                return Poll::Ready((name.clone(), event));
            }
        }
        Poll::Pending
    })
    .await
}

impl<'a> Session<'a> {
    fn new(
        arguments: &'a Connect,
        client: Client,
        tell: mpsc::UnboundedSender<Note>,
        reporter: Reporter,
        is_interactive: bool,
    ) -> Self {
        Self {
            arguments,
            client,
            spaces: BTreeMap::new(),
            current: "/".into(),
            tell,
            reporter,
            is_interactive,
            emits: JoinSet::new(),
            emitted: 0,
            questions: BTreeMap::new(),
            asked: 0,
            watched: arguments.watch.clone(),
            muted: Vec::new(),
            failed: None,
            was_connected: false,
            is_leaving: false,
            entering: None,
            gives_up: None,
            ending: Ending::Good,
        }
    }

    /// Whether nothing that a script has begun is still under way.
    fn is_done(&self) -> bool {
        self.emits.is_empty() && self.entering.is_none()
    }

    /// Whether the next command can be carried out. A script's commands wait for the namespace that
    /// they are about.
    const fn takes_commands(&self) -> bool {
        self.is_interactive || self.entering.is_none()
    }

    /// Connects a namespace.
    pub(super) fn enter(&mut self, name: &str) -> Result<(), String> {
        if let Some(space) = self.spaces.get_mut(name) {
            space.socket.connect().map_err(|error| error.to_string())?;
            space.is_refused = false;
            let is_connected = space.socket.is_connected();
            name.clone_into(&mut self.current);
            if !is_connected {
                self.wait_for(name.to_owned());
            }
            return Ok(());
        }
        let socket = self.client.of(name).map_err(|error| error.to_string())?;
        if let Some(auth) = &self.arguments.auth {
            socket.set_auth(auth).map_err(|error| error.to_string())?;
        }
        let (connected, failed, disconnected) = (self.tell.clone(), self.tell.clone(), self.tell.clone());
        // The receiver lives as long as the client. An end that nobody hears is no mistake.
        socket
            .on_connect(move |socket: Socket| {
                let recovered = socket.recovery() == Some(Recovery::Recovered);
                let _ = connected.send(Note::Connected(socket.namespace().into(), socket.id(), recovered));
            })
            .on_connect_error(move |socket: Socket, error: ClientError| {
                let _ = failed.send(Note::Failed(socket.namespace().into(), error));
            })
            .on_disconnect(move |socket: Socket, reason: DisconnectReason| {
                let _ = disconnected.send(Note::Disconnected(socket.namespace().into(), reason));
            });
        let events = socket.events();
        socket.connect().map_err(|error| error.to_string())?;
        let name = socket.namespace().to_owned();
        self.current.clone_from(&name);
        self.wait_for(name.clone());
        let space = Space {
            socket,
            events,
            is_refused: false,
        };
        self.spaces.insert(name, space);
        Ok(())
    }

    /// Lets the commands of a script wait until the server has answered this namespace.
    fn wait_for(&mut self, namespace: String) {
        self.entering = Some(namespace);
        let patience = self.arguments.patience(self.is_interactive);
        self.gives_up = patience.map(|patience| tokio::time::Instant::from_std(clock::now()) + patience);
    }

    /// Ends a script that has waited for a namespace for too long.
    fn give_up(&mut self) -> Result<Next, Failed> {
        let namespace = self.entering.take().unwrap_or_default();
        let is_there = self.client.transport().is_some();
        self.ending = if is_there { Ending::Bad } else { Ending::Unreachable };
        let why = if is_there {
            "the server does not answer it"
        } else {
            "there is no connection"
        };
        let words = format!("gave up waiting for the namespace {namespace}: {why}");
        self.reporter.tell(&Report::Error(&words))?;
        Ok(Next::End)
    }

    /// Whether a failure ends the program: there is no user, or no prompt yet.
    const fn ends_by_itself(&self) -> bool {
        !self.is_interactive || !self.was_connected
    }

    fn has_answered(&mut self, namespace: &str) {
        if self.entering.take_if(|entering| entering == namespace).is_some() {
            self.gives_up = None;
        }
    }

    fn note(&mut self, note: Note) -> Result<Next, Failed> {
        match note {
            Note::Connected(namespace, id, recovered) => {
                self.was_connected = true;
                self.has_answered(&namespace);
                let (namespace, id) = (&*namespace, id.as_deref());
                self.reporter.tell(&Report::Connected {
                    namespace,
                    id,
                    recovered,
                })?;
            }
            Note::Failed(namespace, error) => {
                let namespace = &*namespace;
                let is_refused = error.class == ErrorClass::Refused;
                self.reporter.tell(&Report::ConnectError {
                    namespace,
                    error: &error,
                })?;
                if is_refused && self.ends_by_itself() {
                    self.ending = Ending::Bad;
                    self.has_answered(namespace);
                    if !self.was_connected {
                        return Ok(Next::End);
                    }
                }
                if is_refused && !self.is_interactive {
                    self.refuse(namespace);
                }
            }
            Note::Disconnected(namespace, reason) => {
                self.events_before_end()?;
                let namespace = &*namespace;
                self.reporter.tell(&Report::Disconnected { namespace, reason })?;
                if reason == DisconnectReason::Server && !self.is_interactive {
                    self.ending = Ending::Bad;
                    return Ok(Next::End);
                }
            }
        }
        Ok(Next::Go)
    }

    /// Ends the emits of a script that wait for a namespace that was refused.
    fn refuse(&mut self, namespace: &str) {
        if let Some(space) = self.spaces.get_mut(namespace) {
            space.is_refused = true;
            space.socket.clear_pending();
        }
    }

    /// Reports the events that came before the end of a namespace.
    fn events_before_end(&mut self) -> Result<(), Failed> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let mut ready = Vec::new();
        for (name, space) in &mut self.spaces {
            while let Poll::Ready(Some(event)) = space.events.poll_next_event(&mut cx) {
                ready.push((name.clone(), event));
            }
        }
        ready.into_iter().try_for_each(|(name, event)| self.event(&name, event))
    }

    fn state(&mut self, state: &ConnectionState) -> Result<Next, Failed> {
        // With `Auto`, an attempt in another generation follows at once. A client that waits has no
        // generation left.
        if let (ConnectionState::Waiting(_), Some(ending)) = (state, self.failed)
            && !self.was_connected
            && !self.arguments.retry
        {
            self.ending = ending;
            return Ok(Next::End);
        }
        self.reporter.tell(&Report::State(state))?;
        match state {
            ConnectionState::Failed(error) => self.failed = Some(failed(error)),
            ConnectionState::Stopped(StopReason::Refused(error)) if self.ends_by_itself() => {
                self.ending = failed(error);
                return Ok(Next::End);
            }
            ConnectionState::Stopped(StopReason::ReconnectionOff | StopReason::AttemptsExhausted)
                if self.ends_by_itself() =>
            {
                self.ending = Ending::Unreachable;
                return Ok(Next::End);
            }
            ConnectionState::Stopped(StopReason::NoNamespace) if self.is_leaving && !self.is_interactive => {
                return Ok(Next::End);
            }
            _ => {}
        }
        Ok(Next::Go)
    }

    fn event(&mut self, namespace: &str, event: Event) -> Result<(), Failed> {
        let (name, args, ack) = event.into_parts();
        let is_watched = self.watched.is_empty() || self.watched.iter().any(|watched| *watched == *name);
        if !is_watched || self.muted.iter().any(|muted| *muted == *name) {
            return Ok(());
        }
        let answer = ack.is_wanted().then(|| {
            self.asked += 1;
            self.questions.insert(self.asked, ack);
            while self.questions.len() > MAX_QUESTIONS {
                self.questions.pop_first();
            }
            self.asked
        });
        self.reporter.tell(&Report::Event {
            namespace,
            name: &name,
            args: values::of(&args),
            answer,
        })
    }

    fn ended(&mut self, ended: Ended) -> Result<(), Failed> {
        let answer = match ended.end {
            End::Sent => return Ok(()),
            End::Dropped => return self.reporter.tell(&Report::Dropped(ended.emit)),
            End::Acknowledged(args) => Ok(args),
            End::Failed(error) => Err(error),
        };
        if answer.is_err() {
            self.ending = Ending::Bad;
        }
        self.reporter.tell(&Report::Ack {
            emit: ended.emit,
            answer,
            took: clock::now().saturating_duration_since(ended.began),
        })
    }
}

impl Session<'_> {
    /// Closes the client, and reports the emits that end with it.
    async fn goodbye(&mut self) -> Result<(), Failed> {
        let ending = self.ending;
        self.client.close();
        while let Some(ended) = self.emits.join_next().await {
            let Ok(ended) = ended else { continue };
            self.ended(ended)?;
        }
        if ending != Ending::Good {
            self.ending = ending;
        }
        Ok(())
    }
}

const fn failed(error: &ClientError) -> Ending {
    match error.class {
        ErrorClass::Refused => Ending::Bad,
        _ => Ending::Unreachable,
    }
}
