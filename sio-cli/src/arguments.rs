//! The arguments of the program. The help, the man page and the completions are made from them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use serde_json::{Map, Value};
use std::time::Duration;

use crate::explain::Form;
use crate::proxying::Proxying;
use crate::target::Target;

const CODES: &str = "\
Exit codes:
  0    good
  1    the answer is no: malformed, refused, a check has failed
  2    the arguments or the input cannot be used
  3    the server cannot be reached
  4    the output cannot be written
  130  ended by Ctrl-C
  141  nobody reads the output any more";

/// Talk to Socket.IO servers of every generation, explain their wire, examine and measure them.
#[derive(Debug, Parser)]
#[command(name = "sio", version, after_long_help = CODES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// When to write in colours. `auto`: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Colour,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Connect(Connect),
    Doctor(Doctor),
    Bench(Bench),
    Explain(Explain),
    /// Write the man page of `sio`, or of one command, in roff: `sio man | man -l -`
    Man {
        /// The command
        page: Option<String>,
    },
    /// Write completions for a shell, to a file where the shell looks for them
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// When to write in colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    Auto,
    Always,
    Never,
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    /// A client has sent it
    Client,
    /// A server has sent it
    Server,
}

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  sio explain '42[\"chat\",\"hi\"]'
  sio explain --raw '6:4hello2:4€'                a payload of Engine.IO 3
  sio explain '51-[\"file\",{\"_placeholder\":true,\"num\":0}]' bAQID --as sio5
  sio explain --hex '00 04 ff 34 e2 82 ac'        a binary payload of Engine.IO 3
  sio explain '~m~5~m~hello'                      Socket.IO 0.6
  pbpaste | sio explain                           the standard input
  sio explain --file site.har                     what a browser has saved

Exit codes: 0 valid, 1 malformed, 2 the input cannot be read.";

/// Say what each part of a message is, and which rule a malformed one breaks
///
/// Reads one packet, payload, frame, request or recording of any generation. Several messages are
/// read as the messages of one connection, in order: attachments follow their packet. Without a
/// message and a file, the standard input is read. The generation is guessed, unless `--as` says
/// it. Each line has the place of a piece in the input (counted in bytes), the piece, and what it
/// is.
#[derive(Args, Debug)]
#[command(after_long_help = EXPLAIN_EXAMPLES)]
pub(crate) struct Explain {
    /// The messages; `-` means the standard input
    #[arg(value_name = "MESSAGE")]
    pub(crate) messages: Vec<String>,
    /// Read a file: one message, a capture, a HAR file, or a transcript
    #[arg(long, short, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The input is hexadecimal digits
    #[arg(long, conflicts_with = "base64")]
    pub(crate) hex: bool,
    /// The input is base64
    #[arg(long)]
    pub(crate) base64: bool,
    /// What the input is; guessed by default
    #[arg(long = "as", value_name = "FORM")]
    pub(crate) form: Option<Form>,
    /// Who has sent it; some packets are allowed from one end only
    #[arg(long, value_name = "SIDE")]
    pub(crate) from: Option<Side>,
    /// The messages of Engine.IO are not those of Socket.IO
    #[arg(long)]
    pub(crate) raw: bool,
    /// Write one JSON object for each message
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a client reaches a server.
#[derive(Args, Debug)]
pub(crate) struct Dial {
    /// The server: `http://host:3000`, `host:3000`, `https://host/namespace`
    #[arg(value_name = "URL")]
    pub(crate) target: Target,
    /// The generation of the server
    #[arg(long, short, value_name = "N", default_value = "auto")]
    pub(crate) generation: Speaks,
    /// The transports, in order: the first one opens
    #[arg(
        long,
        short,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "polling,websocket"
    )]
    pub(crate) transport: Vec<Via>,
    /// The path of Socket.IO on the server; by default what the URL says, or /socket.io/
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// A header field of every request, `Name: value`; may be repeated
    #[arg(long, short = 'H', value_name = "FIELD", value_parser = field)]
    pub(crate) header: Vec<(String, String)>,
    /// A parameter of the query of every request, `name=value`; may be repeated
    #[arg(long, short, value_name = "PAIR", value_parser = parameter)]
    pub(crate) query: Vec<(String, String)>,
    /// The parser of packets, if it is not the usual one
    #[arg(long, value_name = "NAME")]
    pub(crate) parser: Option<Codec>,
    /// Trust only the certificate authorities of this PEM file
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) proxying: Proxying,
    /// Seconds for a connection, for an acknowledgement, and for an emit of a script that waits for
    /// its namespace
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) timeout: u32,
}

impl Dial {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.into())
    }
}

/// A generation of Socket.IO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Speaks {
    /// 4, then 2 and 0.9 if the server speaks one of them
    Auto,
    /// Socket.IO 4, over Engine.IO 4
    #[value(name = "4")]
    Four,
    /// Socket.IO 3: the same wire
    #[value(name = "3")]
    Three,
    /// Socket.IO 2, over Engine.IO 3
    #[value(name = "2")]
    Two,
    /// Socket.IO 1: the same wire
    #[value(name = "1")]
    One,
    /// Socket.IO 0.7 to 0.9
    #[value(name = "0.9")]
    V0_9,
    /// Socket.IO 0.5 and 0.6
    #[value(name = "0.6")]
    V0_6,
    /// The streaming codec of 2011
    Streaming,
}

impl Speaks {
    /// Its name as an argument.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Four => "4",
            Self::Three => "3",
            Self::Two => "2",
            Self::One => "1",
            Self::V0_9 => "0.9",
            Self::V0_6 => "0.6",
            Self::Streaming => "streaming",
        }
    }
}

/// A transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Via {
    Polling,
    Websocket,
}

/// A parser of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Codec {
    /// MessagePack, as socket.io-msgpack-parser
    Msgpack,
}

const CONNECT_EXAMPLES: &str = "\
Examples:
  sio connect localhost:3000
  sio connect https://example.com/chat --auth '{\"token\":\"t\"}'
  sio connect localhost:3000 --generation 2 --transport websocket
  echo 'ack sum 1 2' | sio connect localhost:3000 --json
  sio connect localhost:3000 --json --listen --watch chat | jq .args

At the prompt, `help` lists the commands. With `--json`, and when the standard input is no terminal,
each line of the standard input is a command: the words of the prompt, or an object:
  {\"emit\":\"chat\",\"args\":[\"hi\"],\"ack\":true,\"timeout\":5000,\"ns\":\"/chat\"}
  {\"answer\":1,\"args\":[true]}   {\"connect\":\"/chat\"}   {\"disconnect\":\"/chat\"}
  {\"watch\":[\"chat\"]}   {\"mute\":[\"chat\"]}   {\"drop\":true}   {\"quit\":true}
Bytes are {\"$bytes\":\"base64\"}.

A script ends with its input, when all emits have ended. An emit ends when it is written or
acknowledged, when it has waited for --timeout, or when its namespace is refused. Commands wait for
the namespace that they are about; a script whose namespace has no answer for --give-up ends.

Exit codes:
  0    good: also if volatile emits were dropped
  1    refused, not sent, not acknowledged, a command that cannot be carried out, or a server that
       is there and does not answer a namespace
  2    bad arguments
  3    not reached: the first attempt has failed, or there was no connection for --give-up
  130  Ctrl-C";

/// Connect to a server: send events, watch events, see what the connection does
///
/// The path of the URL is the namespace, as in JavaScript. Without a terminal, or with `--json`,
/// it is a tool for scripts. If the first attempt fails, the program ends, unless `--retry` is
/// given; after a loss it connects again.
#[derive(Args, Debug)]
#[command(after_long_help = CONNECT_EXAMPLES)]
pub(crate) struct Connect {
    #[command(flatten)]
    pub(crate) dial: Dial,
    /// The namespace; by default the path of the URL, or /
    #[arg(long, short, value_name = "NAME")]
    pub(crate) ns: Option<String>,
    /// The auth of the namespaces, a JSON object
    #[arg(long, short, value_name = "JSON", value_parser = object)]
    pub(crate) auth: Option<Map<String, Value>>,
    /// Show only this event; may be repeated
    #[arg(long, short, value_name = "EVENT")]
    pub(crate) watch: Vec<String>,
    /// Write one JSON object for each event, state and acknowledgement
    #[arg(long)]
    pub(crate) json: bool,
    /// Read no commands; run until Ctrl-C, or until the server ends the connection
    #[arg(long, short)]
    pub(crate) listen: bool,
    /// Seconds to stay after the end of the standard input
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub(crate) stay: u32,
    /// Go on trying if the first attempt fails (a script: for --give-up)
    #[arg(long)]
    pub(crate) retry: bool,
    /// Seconds that a script waits for a namespace, over all attempts; 0 waits for ever. By default
    /// 60; for ever at a terminal and with --listen
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub(crate) give_up: Option<u32>,
    /// Do not connect again after a loss
    #[arg(long)]
    pub(crate) no_reconnect: bool,
    /// Ask the server to confirm events: each is handled exactly once over a loss of the
    /// connection, if the server is one of this project, with recovery. Others ignore it, and see a
    /// member of the auth, `sio.confirmed`
    #[arg(long)]
    pub(crate) confirm_events: bool,
    /// Keep no history of the prompt (it is in $XDG_STATE_HOME/sio/history)
    #[arg(long)]
    pub(crate) no_history: bool,
}

/// How long a script waits for a namespace, in seconds.
const GIVE_UP: u32 = 60;

impl Connect {
    /// How long the program waits for a namespace.
    pub(crate) fn patience(&self, is_interactive: bool) -> Option<Duration> {
        let is_script = !is_interactive && !self.listen;
        let seconds = self.give_up.unwrap_or(if is_script { GIVE_UP } else { 0 });
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }

    pub(crate) fn stay(&self) -> Duration {
        Duration::from_secs(self.stay.into())
    }
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header field is `Name: value`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a parameter is `name=value`")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("no JSON object: {error}"))
}

const DOCTOR_EXAMPLES: &str = "\
Examples:
  sio doctor https://example.com
  sio doctor https://example.com/chat?token=t --origin https://app.example.com
  sio doctor localhost:3000 --path /api/socket.io/ --json
  sio doctor https://example.com --proxy http://me:secret@proxy.example:3128

It opens some forty short connections, and sends no events. The query of the URL is sent with each
request. A step (a connection with its TLS and its proxy, an answer, a packet over a websocket) may
take --timeout, and the whole examination --limit: what it has not reached then is not examined, and
this is a problem.

Exit codes: 0 no problems (there may be warnings), 1 problems, 2 bad arguments, 3 not reached, 130 Ctrl-C.";

/// Examine a server and what stands before it: what works, and what to do
///
/// Tries the handshake of each generation, websocket, the upgrade, whether long polls and
/// websockets are buffered by a proxy, polling by scripts (JSONP), whether sessions are found again
/// (sticky sessions), which pages may connect (CORS and origins), cookies, TLS, heartbeats, and
/// mistakes in the path.
#[derive(Args, Debug)]
#[command(after_long_help = DOCTOR_EXAMPLES)]
pub(crate) struct Doctor {
    /// The server: `https://example.com`, `localhost:3000`, `http://host/namespace?token=t`
    #[arg(value_name = "URL")]
    pub(crate) target: Target,
    /// The path of Socket.IO on the server; by default what the URL says, or /socket.io/
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// A page that should be able to connect, `https://app.example.com`; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Vec<String>,
    /// A header field of every request, `Name: value`; may be repeated
    #[arg(long, short = 'H', value_name = "FIELD", value_parser = field)]
    pub(crate) header: Vec<(String, String)>,
    /// A parameter of the query of every request, `name=value`; may be repeated
    #[arg(long, short, value_name = "PAIR", value_parser = parameter)]
    pub(crate) query: Vec<(String, String)>,
    /// The namespace that a client connects to; by default the path of the URL, or /
    #[arg(long, short, value_name = "NAME")]
    pub(crate) ns: Option<String>,
    /// The auth of the namespace, a JSON object
    #[arg(long, short, value_name = "JSON", value_parser = object)]
    pub(crate) auth: Option<Map<String, Value>>,
    /// How many sessions are tried for sticky sessions
    #[arg(long, value_name = "N", default_value = "6", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) sessions: u32,
    /// Trust only the certificate authorities of this PEM file
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) proxying: Proxying,
    /// Seconds for each step: a connection, an answer, a packet over a websocket
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=300))]
    pub(crate) timeout: u32,
    /// Seconds for the whole examination
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) limit: u32,
    /// Write one JSON object for each finding
    #[arg(long)]
    pub(crate) json: bool,
}

impl Doctor {
    /// How long a step may take.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout.into())
    }

    /// How long everything may take.
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(self.limit.into())
    }
}

/// What the clients of a measurement do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// Connect, and stay
    Connections,
    /// Send events, and wait for their acknowledgements
    Echo,
    /// Get what one of them sends to all
    Broadcast,
}

impl Bench {
    /// Whether the generation has neither names of events nor acknowledgements.
    const fn is_plain(&self) -> bool {
        matches!(self.dial.generation, Speaks::V0_6 | Speaks::Streaming)
    }

    /// The event that is sent.
    pub(crate) fn event(&self) -> &str {
        let usual = match self.work {
            _ if self.is_plain() => "message",
            Work::Broadcast => "cast",
            Work::Echo | Work::Connections => "echo",
        };
        self.event.as_deref().unwrap_or(usual)
    }

    /// The event that answers, if it is not an acknowledgement.
    pub(crate) fn answer(&self) -> Option<&str> {
        self.answer.as_deref().or_else(|| self.is_plain().then_some("message"))
    }
}

impl Work {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Echo => "echo",
            Self::Broadcast => "broadcast",
        }
    }
}

const BENCH_EXAMPLES: &str = "\
Examples:
  sio bench localhost:3000
  sio bench localhost:3000 --work connections --clients 1000 --seconds 5
  sio bench localhost:3000 --work echo --event ping --size 1000 -t websocket
  sio bench https://staging.example.com --yes --json

`echo` needs an event that the server acknowledges (`--event`, default `echo`), or answers with an
event (`--answer`); `broadcast` needs one that the server sends on to all clients, with its argument
[number, text] (default `cast`). Generations 0.6 and streaming have no acknowledgements: there, both
events of `echo` are `message` by default.
All clients run on one thread: above some ten thousand events a second, this program is measured.
Each connection is a descriptor: see `ulimit -n`.

Exit codes: 0 good, 1 errors or lost connections, 2 bad arguments, 3 no connection, 130 Ctrl-C.";

/// Measure a server: connections, echoes, broadcasts
///
/// Connects many clients, lets them work for some seconds, and writes a summary with the latencies.
#[derive(Args, Debug)]
#[command(after_long_help = BENCH_EXAMPLES)]
pub(crate) struct Bench {
    #[command(flatten)]
    pub(crate) dial: Dial,
    /// What the clients do
    #[arg(long, short, value_name = "WORK", default_value = "echo")]
    pub(crate) work: Work,
    /// How many clients
    #[arg(long, short, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) clients: u32,
    /// How many clients connect at the same time
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) at_once: u32,
    /// How many seconds the work takes
    #[arg(long, short, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) seconds: u32,
    /// The event; by default `echo` or `cast`, by the work
    #[arg(long, short, value_name = "NAME")]
    pub(crate) event: Option<String>,
    /// The event with which the server answers an echo, instead of an acknowledgement
    #[arg(long, value_name = "NAME")]
    pub(crate) answer: Option<String>,
    /// How many bytes of text the event carries
    #[arg(long, value_name = "BYTES", default_value = "32", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) size: u32,
    /// The namespace; by default the path of the URL, or /
    #[arg(long, short, value_name = "NAME")]
    pub(crate) ns: Option<String>,
    /// The auth of the namespace, a JSON object
    #[arg(long, short, value_name = "JSON", value_parser = object)]
    pub(crate) auth: Option<Map<String, Value>>,
    /// Measure a server on another machine
    #[arg(long)]
    pub(crate) yes: bool,
    /// Write the summary as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only a script gives up by itself.
    #[test]
    fn how_long_a_namespace_is_waited_for() {
        let patience = |line: &str, is_interactive: bool| {
            let Command::Connect(arguments) = Cli::parse_from(line.split(' ')).command else {
                panic!("another command");
            };
            arguments.patience(is_interactive).map(|patience| patience.as_secs())
        };
        assert_eq!(patience("sio connect host", false), Some(60));
        assert_eq!(patience("sio connect host", true), None);
        assert_eq!(patience("sio connect host --listen", false), None);
        assert_eq!(patience("sio connect host --give-up 0", false), None);
        assert_eq!(patience("sio connect host --give-up 5", true), Some(5));
        assert_eq!(patience("sio connect host --listen --give-up 5", false), Some(5));
    }
}
