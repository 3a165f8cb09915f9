//! The commands of the prompt: words for people, JSON objects for scripts.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::values;

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    /// Send an event in the namespace, or in the current one.
    Emit {
        namespace: Option<String>,
        event: String,
        args: Vec<Value>,
        ack: bool,
        volatile: bool,
        timeout: Option<Duration>,
    },
    /// Answer an event that asks for it.
    Answer {
        id: u64,
        args: Vec<Value>,
    },
    /// Show only these events; none means all.
    Watch(Vec<String>),
    /// Do not show these events; none means no exception.
    Mute(Vec<String>),
    /// Connect a namespace, and make it the current one. None: list them.
    Namespace(Option<String>),
    /// Leave a namespace, or the current one.
    Leave(Option<String>),
    /// Connect again after an end.
    Connect,
    /// Drop the connection; the client reconnects.
    Drop,
    /// Say what is connected.
    State,
    /// List the events that wait for a connection.
    Pending,
    Help,
    Quit,
    /// Nothing, or a comment.
    Nothing,
}

pub(super) const HELP: &str = "\
emit NAME [VALUE...]      (e) send an event; values are JSON, plain words are strings, hex:0102 is bytes
ack NAME [VALUE...]       (a) send an event and wait for its acknowledgement
volatile NAME [VALUE...]  (v) send an event only if it can leave at once
answer ID [VALUE...]          acknowledge the event with this number
watch [NAME...]               show only these events; without names: all
mute [NAME...]                do not show these events; without names: show them again
ns [NAMESPACE]                connect a namespace and go on in it; without a name: list them
leave [NAMESPACE]             leave a namespace
connect, disconnect           connect the namespace again, leave it
drop                          drop the connection, to see the client reconnect
state, pending                what is connected; which events wait for a connection
help, quit                (?), (q)";

/// The words of commands, for completion.
pub(super) const WORDS: &[&str] = &[
    "emit ",
    "ack ",
    "volatile ",
    "answer ",
    "watch ",
    "mute ",
    "ns ",
    "leave ",
    "connect",
    "disconnect",
    "drop",
    "state",
    "pending",
    "help",
    "quit",
];

impl Command {
    /// Reads a line: an object if it begins with a brace, words otherwise.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let line = line.trim();
        if line.starts_with('{') {
            return Self::from_json(line);
        }
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let names = || rest.split_whitespace().map(str::to_owned).collect();
        let name = || Some(rest).filter(|rest| !rest.is_empty()).map(str::to_owned);
        Ok(match word {
            "" => Self::Nothing,
            _ if word.starts_with('#') => Self::Nothing,
            "emit" | "e" => emit(rest, false, false)?,
            "ack" | "a" => emit(rest, true, false)?,
            "volatile" | "v" => emit(rest, false, true)?,
            "answer" => {
                let (id, args) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                let id = id
                    .trim_start_matches('#')
                    .parse()
                    .map_err(|_| "answer needs the number of an event")?;
                let args = values::parse(args)?;
                Self::Answer { id, args }
            }
            "watch" | "on" => Self::Watch(names()),
            "mute" | "off" => Self::Mute(names()),
            "ns" | "of" => Self::Namespace(name()),
            "leave" | "disconnect" => Self::Leave(name()),
            "connect" => match name() {
                None => Self::Connect,
                namespace => Self::Namespace(namespace),
            },
            "drop" => Self::Drop,
            "state" => Self::State,
            "pending" => Self::Pending,
            "help" | "?" => Self::Help,
            "quit" | "q" | "exit" => Self::Quit,
            other => return Err(format!("there is no command {other}; try help")),
        })
    }

    fn from_json(line: &str) -> Result<Self, String> {
        let object: Object = serde_json::from_str(line).map_err(|error| error.to_string())?;
        Ok(match object {
            Object::Emit {
                emit,
                args,
                ack,
                volatile,
                timeout,
                ns,
            } => Self::Emit {
                namespace: ns,
                event: emit,
                args,
                ack,
                volatile,
                timeout: timeout.map(|millis| Duration::from_millis(millis.clamp(1, MAX_TIMEOUT))),
            },
            Object::Answer { answer: id, args } => Self::Answer { id, args },
            Object::Watch { watch } => Self::Watch(watch),
            Object::Mute { mute } => Self::Mute(mute),
            Object::Connect { connect } => Self::Namespace(Some(connect)),
            Object::Disconnect { disconnect } => Self::Leave(Some(disconnect)),
            Object::Drop { .. } => Self::Drop,
            Object::Quit { .. } => Self::Quit,
        })
    }
}

/// The longest time for an acknowledgement, in milliseconds: a day.
const MAX_TIMEOUT: u64 = 24 * 60 * 60 * 1000;

/// A command of a script.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Object {
    Emit {
        emit: String,
        #[serde(default)]
        args: Vec<Value>,
        #[serde(default)]
        ack: bool,
        #[serde(default)]
        volatile: bool,
        timeout: Option<u64>,
        ns: Option<String>,
    },
    Answer {
        answer: u64,
        #[serde(default)]
        args: Vec<Value>,
    },
    Watch {
        watch: Vec<String>,
    },
    Mute {
        mute: Vec<String>,
    },
    Connect {
        connect: String,
    },
    Disconnect {
        disconnect: String,
    },
    Drop {
        #[serde(rename = "drop")]
        _drop: Value,
    },
    Quit {
        #[serde(rename = "quit")]
        _quit: Value,
    },
}

fn emit(rest: &str, ack: bool, volatile: bool) -> Result<Command, String> {
    if rest.is_empty() {
        return Err("the name of the event is missing".into());
    }
    // A name with spaces is written as a JSON string.
    let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<String>();
    let (event, args) = match stream.next() {
        Some(Ok(name)) if rest.starts_with('"') => (name, &rest[stream.byte_offset()..]),
        _ => {
            let (name, args) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            (name.to_owned(), args)
        }
    };
    Ok(Command::Emit {
        namespace: None,
        event,
        args: values::parse(args)?,
        ack,
        volatile,
        timeout: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sends(event: &str, args: Vec<Value>, ack: bool) -> Command {
        Command::Emit {
            namespace: None,
            event: event.into(),
            args,
            ack,
            volatile: false,
            timeout: None,
        }
    }

    #[test]
    fn words() {
        let parse = |line: &str| Command::parse(line).unwrap();
        assert_eq!(
            parse("emit chat hi 5"),
            sends("chat", vec![json!("hi"), json!(5)], false)
        );
        assert_eq!(
            parse("e \"two words\" {\"a\": 1}"),
            sends("two words", vec![json!({"a": 1})], false)
        );
        assert_eq!(parse("ack sum 1 2"), sends("sum", vec![json!(1), json!(2)], true));
        assert_eq!(
            parse("answer #3 true"),
            Command::Answer {
                id: 3,
                args: vec![json!(true)]
            }
        );
        assert_eq!(parse("watch a b"), Command::Watch(vec!["a".into(), "b".into()]));
        assert_eq!(parse("ns /chat"), Command::Namespace(Some("/chat".into())));
        assert_eq!(parse("connect"), Command::Connect);
        assert_eq!(parse("  # nothing"), Command::Nothing);
        for wrong in ["emit", "hello", "answer x", "emit a {"] {
            assert!(Command::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn objects() {
        let parse = |line: &str| Command::parse(line).unwrap();
        assert_eq!(
            parse(r#"{"emit":"a","args":[1],"ack":true}"#),
            sends("a", vec![json!(1)], true)
        );
        assert_eq!(parse(r#"{"answer":7}"#), Command::Answer { id: 7, args: vec![] });
        assert_eq!(parse(r#"{"disconnect":"/a"}"#), Command::Leave(Some("/a".into())));
        assert_eq!(parse(r#"{"quit":true}"#), Command::Quit);
        for wrong in ["{", "{}", r#"{"emit":1}"#, r#"{"emit":"a","arg":[]}"#] {
            assert!(Command::parse(wrong).is_err(), "{wrong}");
        }
    }
}
