//! Histories of rooms, for users: which rooms have one, how a client catches up, and what the
//! application reads of it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytestring::ByteString;
use serde::Serialize;
use sio_proto::recovery::Ring;
use sio_proto::socket::Offset;

use crate::args::RawArgs;
use crate::error::{EmitError, RegisterError};
use crate::turn::comeback::Present;
use crate::turn::entering::{Entered, join_at};
use crate::turn::history::stream::LAG;
use crate::turn::history::{Covered, Has, Part, RoomHistory};
use crate::turn::order::{Order, To, carry_out};
use crate::turn::shards::Shards;
use crate::turn::socket::SocketCell;
use crate::user::inner::Inner;
use crate::user::message::{prepared, send_again, send_event};
use crate::user::namespace::{Namespace, Whom};
use crate::user::socket::Socket;

/// How many events are read from a history at once.
const PART: usize = 64;

/// How often a client may fall behind the oldest event that is kept, while it catches up.
const FALLS: usize = 3;

/// How long the end of a connection is waited for, or a client whose queue has room, but to which
/// nothing can be sent because too much waits for all clients together.
const PAUSE: Duration = Duration::from_millis(20);

/// About how many bytes an event has in addition to its name and arguments, in any generation.
const FRAMING: usize = 128;

/// About how many bytes the event `history` has.
const MARK: usize = 512;

/// How long a client that is away is waited for, before it is looked for again.
const AWAY: Duration = Duration::from_secs(1);

/// Histories of rooms.
impl Namespace {
    /// Gives rooms a history: events to such a room are kept, and clients that come later, or come
    /// back, get what they have missed ([`Socket::resume`]). In the pattern each `*` stands for any
    /// text. It counts for events that are sent later. If several patterns fit a room, the first
    /// one counts.
    ///
    /// Each event to a room with a history has its place as its last argument, for every client: a
    /// short text such as `k3f9xq-17`. A client keeps the last place that it has seen, and shows it
    /// when it comes back. Clients of every generation can do this, because it is all done with
    /// plain events:
    ///
    /// ```js
    /// let text = "", place = null;
    /// socket.on("connect", () => socket.recovered || socket.emit("follow", "answer-1", place));
    /// socket.on("token", (token, at) => { text += token; place = at; });
    /// socket.on("history", (mark) => {
    ///   if (mark.state === "truncated") text = "";  // something is missing: begin again
    ///   place = mark.at;
    /// });
    /// ```
    ///
    /// The server decides who may follow what:
    ///
    /// ```
    /// use sio_app::{Io, Offset, ResumeError, Ring, Socket};
    ///
    /// # fn register(io: &Io) {
    /// io.of("/").history("answer-*", Ring::default()).on(
    ///     "follow",
    ///     async |socket: Socket, (answer, seen): (String, Option<Offset>)| -> Result<(), ResumeError> {
    ///         socket.resume(&answer, seen).await?;
    ///         Ok(())
    ///     },
    /// );
    /// io.to("answer-1").emit("token", "Once ");
    /// io.to("answer-1").emit("token", "upon a time");
    /// # }
    /// ```
    ///
    /// An event for a room with a history is for this room alone: with several rooms it fails with
    /// [`EmitError::SeveralHistories`]. Volatile events are not kept, and have the place of the
    /// event before them. Nothing leaves a history because of [`except`](crate::Emitter::except):
    /// a client that was left out gets the event if it resumes from before it. A broadcast that
    /// asks for acknowledgements has no place and is not kept.
    ///
    /// The server keeps at most [`Options::max_history_rooms`](crate::Options::max_history_rooms)
    /// histories with [`Options::max_history_bytes`](crate::Options::max_history_bytes) bytes. They
    /// are in memory: after a restart clients are told that they have missed something. Limits of
    /// zero are a mistake, and the server does not start ([`Io::check`](crate::Io::check)). A room
    /// whose name is too long to be joined has no history. In the namespaces of a rule, a history
    /// begins only while the namespace has members.
    ///
    /// In a cluster over one stream (`ClusterKind::Streams`), rooms have the same history on all
    /// servers, and places count everywhere. Then an event to such a room is sent when it is read
    /// from the stream, and the result of `emit` counts nobody. A server that starts anew reads the
    /// tail of the stream, within limits, if the pattern was registered before.
    pub fn history(&self, pattern: &str, ring: Ring) -> Self {
        if let Err(error) = ring.validate() {
            self.io.note_mistake(RegisterError::Ring {
                pattern: pattern.to_owned(),
                error,
            });
            return self.clone();
        }
        let namespace = match &self.whom {
            Whom::Named(name) => Covered::Named(name.clone()),
            Whom::Ruled(behaviour) => Covered::Ruled(Arc::clone(behaviour.names())),
        };
        self.io.shards.histories.add(namespace, pattern, ring);
        self.create()
    }

    /// Returns a handle of one room, which reads the room's history. For the namespaces of a rule,
    /// it has nothing to read: name one of them with [`Io::of`](crate::Io::of).
    pub fn room(&self, room: impl AsRef<str>) -> Room {
        let namespace = match &self.whom {
            Whom::Named(name) => name.clone(),
            Whom::Ruled(_) => ByteString::new(),
        };
        Room {
            io: Arc::clone(&self.io),
            namespace,
            name: room.as_ref().into(),
        }
    }
}

/// A room of a namespace.
#[derive(Clone)]
pub struct Room {
    io: Arc<Inner>,
    namespace: ByteString,
    name: ByteString,
}

/// What was said in a room since a place.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RoomSince {
    /// Whether events behind the place are missing. Then `events` begins with the oldest event that
    /// is kept.
    pub truncated: bool,
    /// The events, oldest first.
    pub events: Vec<HistoryEvent>,
    /// The place of the last event, or `None` if nothing was said in the room.
    pub at: Option<Offset>,
}

/// An event in the history of a room.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HistoryEvent {
    /// The event's place.
    pub at: Offset,
    /// How long ago it was sent.
    pub age: Duration,
    /// Its name.
    pub name: ByteString,
    /// Its arguments, without the place.
    pub args: RawArgs,
}

impl Room {
    /// Returns the room's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the events behind a place, or all that are kept. The bytes are shared with the
    /// history.
    ///
    /// ```
    /// # use sio_app::Io;
    /// # fn example(io: &Io) {
    /// let said = io.of("/").room("answer-1").since(None);
    /// for event in &said.events {
    ///     println!("{} {} {}", event.at, event.name, event.args.json());
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn since(&self, seen: Option<Offset>) -> RoomSince {
        let now = self.io.now();
        let histories = &self.io.shards.histories;
        let Some(history) = histories.find(&self.namespace, &self.name) else {
            let is_known = |seen| histories.knows(&self.namespace, &self.name, seen);
            return RoomSince {
                truncated: seen.is_some_and(|seen| !is_known(seen)),
                events: Vec::new(),
                at: seen.filter(|seen| is_known(*seen)),
            };
        };
        let Part {
            truncated,
            events,
            last,
            ..
        } = history.part(now, Has::Seen(seen), histories, usize::MAX);
        let events = events.into_iter().map(|(at, sent, said)| HistoryEvent {
            at,
            age: now.saturating_since(sent),
            name: said.name,
            args: RawArgs(said.args.split_offset().map_or(said.args, |(args, _)| args)),
        });
        RoomSince {
            truncated,
            events: events.collect(),
            at: Some(last),
        }
    }
}

/// How a client has caught up. It can be sent as an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Resumed {
    /// How many events the client got.
    pub missed: usize,
    /// Whether events are missing that the client has not seen.
    pub truncated: bool,
    /// The place behind which the client gets the events of the room as they come. `None` if
    /// nothing was said in the room yet.
    pub at: Option<Offset>,
}

/// Why a client could not catch up. The socket is not in the room then, and may have got a part of
/// what it has missed. It can resume from the last place that it has seen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// No pattern of the namespace fits the room ([`Namespace::history`]).
    #[error("the room has no history")]
    NoHistory,
    /// The client reads more slowly than the room speaks: again and again, events that it had not
    /// got yet were thrown away.
    #[error("the client is too slow for the history of the room")]
    TooSlow,
    /// The client is gone, or the room cannot be joined.
    #[error(transparent)]
    Emit(#[from] EmitError),
}

/// What a client is told while it catches up: the event `history`.
#[derive(Serialize)]
struct Mark<'a> {
    room: &'a str,
    state: &'static str,
    at: Option<Offset>,
}

/// Histories of rooms.
impl Socket {
    /// Sends the client what it has missed in a room with a history, and puts it into the room.
    /// `seen` is the place of the last event that it has seen; `None` if it has seen none. What was
    /// missed and what comes are one sequence: no event is left out, comes twice, or comes in
    /// another order.
    ///
    /// The client gets the events behind the place, oldest first, and then the event `history` with
    /// `{room, state: "ready", at}`. If events are missing that it has not seen, it first gets
    /// `history` with `{room, state: "truncated", at}`, and then all events that are kept. `at` is
    /// a place, or null: if the client is cut off then, it resumes from there.
    ///
    /// If the socket is in the room already, it leaves the room while it catches up; events that
    /// are on their way to the client at this moment are not those that it has seen, and come
    /// again. So a client follows a room once for each connection. A client with more to catch up
    /// than its queue can hold is waited for. Who may read a room is the application's decision:
    /// call this for a name that a client has sent only after a check. With
    /// [recovery](Namespace::recovery), a client that [has come back](Socket::recovered) is in its
    /// rooms already and gets what it has missed without this. If it was cut off while it caught
    /// up, the call waits for it, and goes on when it has come back. Events that are too large for
    /// the client, or that its generation cannot carry, are left out, as they were when they were
    /// sent.
    ///
    /// # Errors
    /// [`ResumeError::NoHistory`] if no pattern fits the room. [`ResumeError::TooSlow`] if the room
    /// speaks faster than the client reads. [`ResumeError::Emit`] if the socket is gone, has not
    /// been let in yet, or cannot join the room: [`EmitError::Full`] says that the socket is in as
    /// many rooms as it may be. If the future is dropped, the socket is not in the room, either.
    pub async fn resume(&self, room: impl AsRef<str>, seen: Option<Offset>) -> Result<Resumed, ResumeError> {
        let socket = &self.0;
        let room = ByteString::from(room.as_ref());
        if !socket.is_connected() {
            return Err(EmitError::Disconnected.into());
        }
        let (is_id, has_history) = self.ask(|shards| {
            let has_history = shards.histories.covers(socket.namespace(), &room);
            (shards.is_id(&room), has_history)
        })?;
        if is_id {
            return Err(EmitError::ReservedRoom.into());
        }
        if !has_history {
            return Err(ResumeError::NoHistory);
        }
        carry_out(Order::Leave {
            to: To::Socket(socket),
            rooms: &[&room],
        })?;
        let mut catching = Catching {
            socket: self,
            room,
            seen,
            got: None,
            resumed: Resumed {
                missed: 0,
                truncated: false,
                at: None,
            },
            falls: 0,
        };
        catching.wait_for_stream().await?;
        loop {
            let history = self.ask(|shards| shards.histories.find(socket.namespace(), &catching.room))?;
            if catching.step(history.as_ref()).await? {
                return Ok(catching.resumed);
            }
        }
    }
}

impl Socket {
    /// Asks the shards. The server is not held, so that a client that is waited for does not keep
    /// it.
    fn ask<R>(&self, question: impl FnOnce(&Shards) -> R) -> Result<R, EmitError> {
        let application = self.0.application().ok_or(EmitError::Disconnected)?;
        Ok(question(application.shards()))
    }
}

/// A client that catches up.
struct Catching<'a> {
    socket: &'a Socket,
    room: ByteString,
    seen: Option<Offset>,
    /// The history that has given it what it has, and the number up to which.
    got: Option<(Weak<RoomHistory>, u64)>,
    resumed: Resumed,
    falls: usize,
}

impl Catching<'_> {
    /// Sends a part of what the client has missed. If nothing is left, the socket joins the room,
    /// and true is returned.
    async fn step(&mut self, history: Option<&Arc<RoomHistory>>) -> Result<bool, ResumeError> {
        let (socket, seen) = (&self.socket.0, self.seen);
        let (part, is_known) = self.socket.ask(|shards| {
            let histories = &shards.histories;
            let part = history.map(|history| history.part(socket.now(), self.has(history), histories, PART));
            // A place in a room where nothing was said is one of a history that is gone, or of a
            // history of another server.
            let is_known = seen.is_none_or(|seen| histories.knows(socket.namespace(), &self.room, seen));
            (part, is_known)
        })?;
        let truncated = part.as_ref().map_or(!is_known, |part| part.truncated);
        if truncated {
            self.falls += 1;
            if self.falls > FALLS {
                return Err(ResumeError::TooSlow);
            }
            self.resumed.truncated = true;
            self.seen = part.as_ref().map(|part| match part.events.first() {
                Some((first, ..)) => Offset {
                    sequence: first.sequence - 1,
                    ..*first
                },
                None => part.last,
            });
            let args = (self.mark("truncated", self.seen),);
            self.patiently(MARK, |socket| send_event(socket, "history", &args, None, false))
                .await?;
        }
        let (Some(part), Some(history)) = (part, history) else {
            return self.join(None, self.seen).await;
        };
        let got = part.events.last().map_or(part.last, |(last, ..)| *last);
        self.got = Some((Arc::downgrade(history), got.sequence));
        for (place, _, said) in part.events {
            let bytes = said.name.len() + said.args.bytes() + FRAMING;
            let sent = self
                .patiently(bytes, |socket| send_again(socket, said.name.clone(), said.args.clone()))
                .await;
            match sent {
                Ok(()) => self.resumed.missed += 1,
                // No client of this kind has got the event, and its sender knows it.
                Err(EmitError::TooLarge | EmitError::Unsupported) => {}
                Err(error) => return Err(error.into()),
            }
            self.seen = Some(place);
        }
        match part.is_end {
            true => self.join(Some(history), Some(part.last)).await,
            false => Ok(false),
        }
    }

    /// What the client has of a history. What this history has given it is not asked about again as
    /// a place that it shows: here it is known, whatever is known of the stream.
    fn has(&self, history: &Arc<RoomHistory>) -> Has {
        let got = self.got.as_ref().filter(|(of, _)| of.as_ptr() == Arc::as_ptr(history));
        got.map_or(Has::Seen(self.seen), |(_, number)| Has::Got(*number))
    }

    /// Waits until this server has read the stream of the cluster up to the place that the client
    /// has seen at another server, or what the stream had before, at most [`LAG`].
    async fn wait_for_stream(&self) -> Result<(), ResumeError> {
        let end = self.socket.0.now() + LAG;
        loop {
            let now = self.socket.0.now();
            let is_behind = self.socket.ask(|shards| shards.histories.is_behind(now, self.seen))?;
            if !is_behind || now >= end {
                return Ok(());
            }
            self.socket.sleep(PAUSE).await;
        }
    }

    async fn join(&mut self, history: Option<&RoomHistory>, place: Option<Offset>) -> Result<bool, ResumeError> {
        let args = (self.mark("ready", place),);
        let entered = self.patiently(MARK, |socket| {
            let (mut mark, bytes) = prepared(socket, "history", &args)?;
            match join_at(socket, &self.room, history, place, (&mut mark, bytes)) {
                Ok(Entered::Full) => Err(EmitError::Full),
                // Waiting makes no room for one more room.
                Err(EmitError::Full) => Ok(Err(EmitError::Full)),
                entered => entered.map(Ok),
            }
        });
        let entered = entered.await??;
        self.resumed.at = place;
        Ok(entered == Entered::In)
    }

    fn mark(&self, state: &'static str, at: Option<Offset>) -> Mark<'_> {
        Mark {
            room: &self.room,
            state,
            at,
        }
    }

    /// Sends something of about this size when the client has room for it, and at most half of its
    /// queue is in use.
    /// So a client that is cut off meanwhile can still be recovered, and has room for other events.
    /// A client that is away is waited for, and gets the rest when it has come back.
    async fn patiently<R>(
        &self,
        bytes: usize,
        mut send: impl FnMut(&Arc<SocketCell>) -> Result<R, EmitError>,
    ) -> Result<R, EmitError> {
        loop {
            let pause = match self.socket.0.present() {
                Present::Gone => return Err(EmitError::Disconnected),
                Present::Away(_) => AWAY,
                Present::Here(socket) => match Socket(Arc::clone(&socket)).ready_for(bytes).await {
                    Err(_) => PAUSE,
                    Ok(()) => match send(&socket) {
                        Err(EmitError::Full) => PAUSE,
                        // It may come back.
                        Err(EmitError::Disconnected) if socket.record().is_some() => PAUSE,
                        result => return result,
                    },
                },
            };
            self.socket.sleep(pause).await;
        }
    }
}
