//! What becomes of the user's commands.

use std::time::Instant;

use serde_json::json;
use sio_tokio::RawArgs;
use sio_tokio::client::{AckError, NotSent, Offline, Outcome, Receipt};

use super::command::{Command, HELP};
use super::report::Report;
use super::session::{End, Ended, Next, Session, Space};
use crate::clock;
use crate::ending::{Ending, Failed};
use crate::values::{self, Arguments};

/// What is known of an event that was written, and that nobody has confirmed.
const LOST: &str =
    "the connection ended after the event was written, and it is not known whether the server has had it";

/// Only a refusal takes events out of the queue.
const REFUSED: &str = "the event was not sent: the server has refused the namespace";

impl Session<'_> {
    pub(super) fn obey(&mut self, line: &str) -> Result<Next, Failed> {
        let obeyed = match Command::parse(line) {
            Ok(Command::Quit) => return Ok(Next::End),
            Ok(command) => self.carry_out(command)?,
            Err(error) => Err(error),
        };
        if let Err(error) = obeyed {
            if !self.is_interactive {
                self.ending = Ending::Bad;
            }
            self.reporter.tell(&Report::Error(&error))?;
        }
        Ok(Next::Go)
    }

    /// Carries out a command. The inner error is for the user.
    fn carry_out(&mut self, command: Command) -> Result<Result<(), String>, Failed> {
        Ok(match command {
            Command::Emit { .. } => self.emit(command)?,
            Command::Answer { id, args } => match self.questions.remove(&id) {
                None => Err(format!("no event {id} waits for an answer")),
                Some(ack) => {
                    ack.send(Arguments(args));
                    Ok(())
                }
            },
            Command::Watch(names) => {
                self.watched = names;
                Ok(())
            }
            Command::Mute(names) => {
                self.muted = names;
                Ok(())
            }
            Command::Namespace(Some(name)) => self.enter(&name),
            Command::Namespace(None) | Command::State => {
                self.say_state()?;
                Ok(())
            }
            Command::Leave(name) => {
                let left = self.space(name.as_deref()).map(|space| space.socket.disconnect());
                self.is_leaving |= left.is_ok();
                left
            }
            Command::Connect => {
                let name = self.current.clone();
                self.enter(&name)
            }
            Command::Drop => {
                self.client.network_lost();
                Ok(())
            }
            Command::Pending => {
                self.say_pending()?;
                Ok(())
            }
            Command::Help => {
                self.reporter.tell(&Report::Said(HELP, json!({ "help": HELP })))?;
                Ok(())
            }
            Command::Quit | Command::Nothing => Ok(()),
        })
    }

    fn space(&self, name: Option<&str>) -> Result<&Space, String> {
        let name = name.unwrap_or(&self.current);
        let space = self.spaces.get(name).or_else(|| self.spaces.get(&format!("/{name}")));
        space.ok_or_else(|| format!("the namespace {name} is not connected; try: ns {name}"))
    }

    /// Sends an event. The inner error is for the user.
    fn emit(&mut self, command: Command) -> Result<Result<(), String>, Failed> {
        let (namespace, emit) = match self.begin_emit(command) {
            Ok(begun) => begun,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(namespace) = namespace {
            let words = format!("emit {emit} waits: {namespace} is not connected");
            let value = json!({ "waiting": emit, "ns": namespace });
            self.reporter.tell(&Report::Said(&words, value))?;
        }
        Ok(Ok(()))
    }

    /// Returns the number of the emit, and the namespace if it waits for its connection.
    fn begin_emit(&mut self, command: Command) -> Result<(Option<String>, u64), String> {
        let Command::Emit {
            namespace,
            event,
            args,
            ack,
            volatile,
            timeout,
        } = command
        else {
            return Err("this sends nothing".into());
        };
        let space = self.space(namespace.as_deref())?;
        let socket = space.socket.clone();
        if space.is_refused {
            let name = socket.namespace();
            return Err(format!(
                "the server has refused the namespace {name}: connect it again first"
            ));
        }
        let args = Arguments(args);
        let (emit, began) = (self.emitted + 1, clock::now());
        if ack {
            let limit = timeout.unwrap_or_else(|| self.arguments.dial.timeout());
            let answer = socket.timeout(limit).emit_with_ack::<RawArgs>(&event, args);
            self.emits.spawn(async move {
                let end = match answer.await {
                    Ok(args) => End::Acknowledged(values::of(&args)),
                    Err(AckError::NotSent(NotSent::Removed)) => End::Failed(REFUSED.into()),
                    Err(error) => End::Failed(error.to_string()),
                };
                Ended { emit, began, end }
            });
        } else {
            let offline = if volatile { Offline::Volatile } else { Offline::Queue };
            let receipt = socket
                .offline(offline)
                .emit_with_receipt(&event, args)
                .map_err(|error| error.to_string())?;
            self.emits.spawn(sent(emit, began, receipt));
        }
        self.emitted = emit;
        let waits = !volatile && !socket.is_connected();
        Ok((waits.then(|| socket.namespace().to_owned()), emit))
    }

    fn say_state(&mut self) -> Result<(), Failed> {
        let transport = self.client.transport().map(sio_tokio::client::Transport::as_str);
        let mut words = format!("transport {}", transport.unwrap_or("none"));
        let mut spaces = Vec::new();
        for (name, space) in &self.spaces {
            let id = space.socket.id();
            let here = if *name == self.current { " (here)" } else { "" };
            let state = id
                .as_deref()
                .map_or_else(|| "not connected".into(), |id| format!("connected as {id}"));
            words.push_str(&format!("\n{name}{here} {state}"));
            spaces.push(json!({ "ns": name, "id": id }));
        }
        self.reporter.tell(&Report::Said(
            &words,
            json!({ "transport": transport, "namespaces": spaces }),
        ))
    }

    fn say_pending(&mut self) -> Result<(), Failed> {
        let pending: Vec<String> = self
            .spaces
            .values()
            .flat_map(|space| space.socket.pending())
            .map(|pending| format!("{} {}", pending.name, pending.args.json()))
            .collect();
        let words = if pending.is_empty() {
            "nothing waits".to_owned()
        } else {
            pending.join("\n")
        };
        self.reporter.tell(&Report::Said(&words, json!({ "pending": pending })))
    }
}

/// The end of an emit without an acknowledgement. It is good if the event was written.
async fn sent(emit: u64, began: Instant, receipt: Receipt) -> Ended {
    let end = match receipt.await {
        Outcome::Sent | Outcome::Confirmed | Outcome::Acknowledged(_) => End::Sent,
        Outcome::NotSent(NotSent::Volatile) => End::Dropped,
        Outcome::NotSent(NotSent::Removed) => End::Failed(REFUSED.into()),
        Outcome::NotSent(why) => End::Failed(AckError::NotSent(why).to_string()),
        Outcome::Disconnected | Outcome::TimedOut | Outcome::Unanswered => End::Failed(LOST.into()),
    };
    Ended { emit, began, end }
}
