//! Where commands come from: a prompt with history, or the lines of the standard input.
//!
//! Both block their reader, so a thread of its own reads them.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write};
use std::path::PathBuf;
use std::{env, fs};

use rustyline::completion::Completer;
use rustyline::config::Configurer as _;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, ExternalPrinter, Helper};
use tokio::sync::mpsc;

use super::command::WORDS;
use crate::arguments::Connect;
use crate::output::Output;

/// How many lines may wait until they are carried out.
const MAX_WAITING: usize = 64;

/// The longest line of a script, in bytes.
const MAX_LINE: u64 = 64 << 20;

/// The most lines of history.
const MAX_HISTORY: usize = 1000;

/// Where the commands come from.
pub(super) struct Prompt {
    tell: mpsc::Sender<Line>,
    /// Whether a person is there.
    pub(super) is_interactive: bool,
    is_open: bool,
}

/// Something that the user does.
pub(super) enum Line {
    Text(String),
    /// Ctrl-C at the prompt.
    Interrupt,
    /// The end of the input.
    End,
}

impl Prompt {
    /// Returns the prompt, which is not open yet, and the lines that will come.
    pub(super) fn new(arguments: &Connect) -> (Self, mpsc::Receiver<Line>) {
        let (tell, lines) = mpsc::channel(MAX_WAITING);
        let is_person = io::stdin().is_terminal() && io::stdout().is_terminal();
        let prompt = Self {
            tell,
            is_interactive: is_person && !arguments.json && !arguments.listen,
            is_open: false,
        };
        (prompt, lines)
    }

    /// Opens the prompt, or the standard input if nobody is there. Returns the output that writes
    /// above the prompt.
    ///
    /// While the prompt is open, the terminal is in a mode of its own, which ends with the prompt.
    /// So it is opened when there is a connection: from then on only its user ends the program.
    pub(super) fn open(&mut self, arguments: &Connect, has_colours: bool) -> Option<Output> {
        if self.is_open || arguments.listen {
            return None;
        }
        self.is_open = true;
        if self.is_interactive
            && let Some(out) = interactive(arguments, &self.tell, has_colours)
        {
            return Some(out);
        }
        let tell = self.tell.clone();
        spawn(move || read_lines(&tell));
        None
    }
}

#[expect(clippy::disallowed_methods, reason = "the standard input blocks its reader")]
fn spawn(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}

fn read_lines(tell: &mpsc::Sender<Line>) {
    let mut input = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        match input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => {
                let _ = tell.blocking_send(Line::End);
                return;
            }
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        if tell.blocking_send(Line::Text(line)).is_err() {
            return;
        }
    }
}

/// Starts the prompt. Returns the output that writes above it, or nothing if the terminal cannot do
/// this.
fn interactive(arguments: &Connect, tell: &mpsc::Sender<Line>, colours: bool) -> Option<Output> {
    let mut editor: Editor<Words, FileHistory> = Editor::new().ok()?;
    editor.set_helper(Some(Words));
    let _ = editor.set_max_history_size(MAX_HISTORY);
    editor.set_auto_add_history(true);
    let printer = editor.create_external_printer().ok()?;
    let history = if arguments.no_history { None } else { history_file() };
    if let Some(file) = &history {
        // There is no history before the first time.
        let _ = editor.load_history(file);
    }
    let tell = tell.clone();
    spawn(move || {
        loop {
            let line = match editor.readline("> ") {
                Ok(line) => Line::Text(line),
                Err(ReadlineError::Interrupted) => Line::Interrupt,
                Err(_) => break,
            };
            let is_last = matches!(&line, Line::Interrupt) || matches!(&line, Line::Text(line) if is_quit(line));
            if is_last {
                save(&mut editor, history.as_deref());
            }
            // The terminal must not be taken again when the program is about to end.
            if tell.blocking_send(line).is_err() || is_last {
                return;
            }
        }
        save(&mut editor, history.as_deref());
        let _ = tell.blocking_send(Line::End);
    });
    Some(Output::new(Box::new(Above(printer)), colours))
}

fn is_quit(line: &str) -> bool {
    matches!(line.trim(), "quit" | "q" | "exit")
}

fn save(editor: &mut Editor<Words, FileHistory>, file: Option<&std::path::Path>) {
    // A history that cannot be kept is no reason to stop.
    if let Some(file) = file {
        let _ = file.parent().map(fs::create_dir_all);
        let _ = editor.save_history(file);
    }
}

/// The file of the history, by the XDG base directories.
fn history_file() -> Option<PathBuf> {
    let state = env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("sio").join("history"))
}

/// Writes above the line that is being edited.
struct Above<P>(P);

impl<P: ExternalPrinter> Write for Above<P> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.0.print(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Completes the words of commands.
struct Words;

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, end: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..end];
        let words = WORDS.iter().filter(|word| word.starts_with(typed));
        Ok((0, words.map(|word| (*word).to_owned()).collect()))
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}
