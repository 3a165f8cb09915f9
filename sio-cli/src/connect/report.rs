//! What has happened, as lines for people or as JSON objects for scripts.

use std::time::Duration;

use serde_json::{Value, json};
use sio_tokio::client::{ClientError, ConnectionState, DisconnectReason, Generation, NotSent};

use crate::ending::Failed;
use crate::explain::shown;
use crate::output::Output;

/// The most characters of a line of arguments that people see.
const ARGUMENTS: usize = 4000;

/// The most characters of a line of an answer that people see.
const SAID: usize = 500;

/// Something that has happened.
pub(super) enum Report<'a> {
    State(&'a ConnectionState),
    Connected {
        namespace: &'a str,
        id: Option<&'a str>,
        recovered: bool,
    },
    ConnectError {
        namespace: &'a str,
        error: &'a ClientError,
    },
    Disconnected {
        namespace: &'a str,
        reason: DisconnectReason,
    },
    Event {
        namespace: &'a str,
        name: &'a str,
        args: Vec<Value>,
        answer: Option<u64>,
    },
    Ack {
        emit: u64,
        answer: Result<Vec<Value>, String>,
        took: Duration,
    },
    /// A volatile emit that could not leave at once.
    Dropped(u64),
    Error(&'a str),
    /// The answer to a question of the user.
    Said(&'a str, Value),
}

/// Writes reports.
pub(super) struct Reporter {
    out: Output,
    json: bool,
}

impl Reporter {
    pub(super) const fn new(out: Output, json: bool) -> Self {
        Self { out, json }
    }

    /// Writes somewhere else from now on.
    pub(super) fn move_to(&mut self, out: Output) {
        self.out = out;
    }

    pub(super) fn tell(&mut self, report: &Report<'_>) -> Result<(), Failed> {
        if self.json {
            return self.out.json(&to_json(report));
        }
        let words = self.words(report);
        self.out.line(&words)
    }

    fn words(&self, report: &Report<'_>) -> String {
        let out = &self.out;
        match report {
            Report::State(state) => out.dim(&format!("· {}", shown(&state.to_string(), SAID))),
            Report::Connected {
                namespace,
                id,
                recovered,
            } => {
                let id = id.map_or_else(String::new, |id| format!(" as {}", shown(id, 60)));
                let recovered = if *recovered { ", recovered" } else { "" };
                out.green(&format!("● connected to {}{id}{recovered}", shown(namespace, 100)))
            }
            Report::ConnectError { namespace, error } => {
                let data = error
                    .data
                    .as_deref()
                    .map_or_else(String::new, |data| format!(" {}", shown(data, 500)));
                let message = shown(&error.message, 500);
                out.red(&format!(
                    "✗ not connected to {}: {message}{data}",
                    shown(namespace, 100)
                ))
            }
            Report::Disconnected { namespace, reason } => out.yellow(&format!(
                "○ disconnected from {}: {}",
                shown(namespace, 100),
                reason.as_str()
            )),
            Report::Event {
                namespace,
                name,
                args,
                answer,
            } => {
                let namespace = match *namespace {
                    "/" => String::new(),
                    other => out.dim(&format!(" [{}]", shown(other, 100))),
                };
                let answer = answer.map_or_else(String::new, |id| out.yellow(&format!("  (answer {id} …)")));
                let name = out.cyan(&shown(name, 200));
                format!("←{namespace} {name}{}{answer}", listed(args))
            }
            Report::Ack { emit, answer, took } => match answer {
                Ok(args) => format!("{} {emit}{}  ({})", out.green("✓ ack"), listed(args), millis(*took)),
                Err(error) => out.red(&format!("✗ emit {emit}: {}", shown(error, 500))),
            },
            Report::Dropped(emit) => out.yellow(&format!("○ emit {emit} was dropped: {}", NotSent::Volatile)),
            Report::Error(error) => out.red(&format!("✗ {}", shown(error, 1000))),
            // A server has chosen the id of a socket, and perhaps the names of events.
            Report::Said(words, _) => {
                let lines = words.lines().map(|line| shown(line, SAID));
                lines.collect::<Vec<_>>().join("\n")
            }
        }
    }
}

fn listed(args: &[Value]) -> String {
    let mut text = String::new();
    for arg in args {
        text.push(' ');
        text.push_str(&arg.to_string());
    }
    shown(&text, ARGUMENTS)
}

fn millis(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

fn to_json(report: &Report<'_>) -> Value {
    match report {
        Report::State(state) => state_json(state),
        Report::Connected {
            namespace,
            id,
            recovered,
        } => json!({ "connect": namespace, "id": id, "recovered": recovered }),
        Report::ConnectError { namespace, error } => json!({
            "connect_error": namespace,
            "message": &*error.message,
            "data": error.data.as_deref().map(|data| serde_json::from_str(data).unwrap_or(Value::Null)),
        }),
        Report::Disconnected { namespace, reason } => json!({ "disconnect": namespace, "reason": reason.as_str() }),
        Report::Event {
            namespace,
            name,
            args,
            answer,
        } => {
            let mut event = json!({ "event": name, "ns": namespace, "args": args });
            if let Some(id) = answer {
                event["answer"] = json!(id);
            }
            event
        }
        Report::Ack { emit, answer, took } => {
            let ms = took.as_secs_f64() * 1000.0;
            match answer {
                Ok(args) => json!({ "ack": emit, "args": args, "ms": ms }),
                Err(error) => json!({ "ack": emit, "error": error, "ms": ms }),
            }
        }
        Report::Dropped(emit) => json!({ "dropped": emit, "why": NotSent::Volatile.to_string() }),
        Report::Error(error) => json!({ "error": error }),
        Report::Said(_, value) => value.clone(),
    }
}

fn state_json(state: &ConnectionState) -> Value {
    match state {
        ConnectionState::Connecting(attempt) => json!({ "state": "connecting", "attempt": attempt }),
        ConnectionState::Connected { generation, transport } => {
            let engine = match generation {
                Generation::Four => Some(4),
                Generation::Two => Some(3),
                _ => None, // the generations before 1.0 have none
            };
            json!({ "state": "open", "engine": engine, "transport": transport.as_str() })
        }
        ConnectionState::Upgraded => json!({ "state": "upgraded" }),
        ConnectionState::Lost(reason) => json!({ "state": "lost", "reason": reason.as_str() }),
        ConnectionState::Failed(error) => {
            json!({ "state": "failed", "error": &*error.message, "status": error.status })
        }
        ConnectionState::Waiting(time) => json!({ "state": "waiting", "ms": time.as_secs_f64() * 1000.0 }),
        ConnectionState::Stopped(reason) => json!({ "state": "stopped", "reason": reason.to_string() }),
        other => json!({ "state": format!("{other:?}") }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use sio_tokio::client::StopReason;

    use super::*;

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A server chooses ids, names, arguments and reasons. None of them reaches the terminal as
    /// something that the terminal obeys.
    #[test]
    fn a_server_cannot_write_to_the_terminal() {
        let evil = "a\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\u{7}b";
        let error = ClientError {
            class: sio_tokio::client::ErrorClass::Refused,
            status: None,
            message: evil.into(),
            data: Some(evil.into()),
        };
        for is_json in [false, true] {
            let screen = Screen::default();
            let mut reporter = Reporter::new(Output::new(Box::new(screen.clone()), false), is_json);
            for report in [
                Report::Said(evil, json!({ "said": evil })),
                Report::Error(evil),
                Report::Connected {
                    namespace: evil,
                    id: Some(evil),
                    recovered: false,
                },
                Report::ConnectError {
                    namespace: evil,
                    error: &error,
                },
                Report::State(&ConnectionState::Stopped(StopReason::Refused(error.clone()))),
                Report::Event {
                    namespace: evil,
                    name: evil,
                    args: vec![json!(evil)],
                    answer: None,
                },
            ] {
                reporter.tell(&report).unwrap();
            }
            let text = String::from_utf8(screen.0.lock().unwrap().clone()).unwrap();
            let obeyed = text.chars().find(|c| *c != '\n' && crate::output::is_obeyed(*c));
            assert_eq!(obeyed, None, "{text:?}");
            if is_json {
                let said: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
                assert_eq!(said, json!({ "said": evil }), "a script reads what the server has said");
            }
        }
    }
}
