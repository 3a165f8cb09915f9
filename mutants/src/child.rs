//! Runs tests in a program of their own, which may do what a mutant makes it do: fail, end without
//! a word, run for ever, or ask for all memory.

use crate::failure::{Outcome, While};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The most address space that a program of tests may have, in KiB.
const MOST_MEMORY: &str = "4194304";

/// The settings of the tests: few cases of each property, and always the same.
const SETTINGS: &[(&str, &str)] = &[
    ("PROPTEST_CASES", "8"),
    ("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1"),
    ("PROPTEST_RNG_SEED", "7"),
    ("RUST_BACKTRACE", "0"),
    ("SIO_CLIENT_CASES", "10"),
];

/// How a program of tests has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All tests have passed.
    Passed,
    /// A test has failed, or the program has ended in another way. The words say which.
    Failed(String),
    /// The time was over.
    Endless,
}

/// A command that runs a program of tests for a mutant (or for another word that the chosen module
/// knows). Its working folder is the one that Cargo would give it.
pub(crate) fn command(program: &Path, copy: &Path, mutant: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v \"$1\" && shift && exec \"$@\"", "sh", MOST_MEMORY]);
    command.arg(program).current_dir(copy.join("sio-proto"));
    command.env("CARGO_MANIFEST_DIR", copy.join("sio-proto"));
    command.env("SIO_MUTANT", mutant).envs(SETTINGS.iter().copied());
    command
}

/// Runs a command of tests. It is ended at the first test that fails, unless `to_the_end`, and when
/// its time is over. `each` gets each line.
pub(crate) fn run(
    command: &mut Command,
    limit: Duration,
    to_the_end: bool,
    each: &mut dyn FnMut(&str),
) -> Outcome<End> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().when("sh")?;
    let end = listen(&mut child, limit, to_the_end, each);
    // It may have ended already.
    let _ = child.kill();
    let status = child.wait().when("a program of tests")?;
    Ok(match end {
        None if status.success() => End::Passed,
        None => End::Failed(status.to_string()),
        Some(end) => end,
    })
}

/// Reads what the program writes. Returns nothing if the program has ended by itself.
fn listen(child: &mut Child, limit: Duration, to_the_end: bool, each: &mut dyn FnMut(&str)) -> Option<End> {
    let output = child.stdout.take()?;
    let (sender, lines) = channel();
    // The thread ends when the program has ended, or when nobody listens to it.
    thread::spawn(move || {
        let lines = BufReader::new(output).split(b'\n').map_while(Result::ok);
        lines
            .into_iter()
            .try_for_each(|line| sender.send(String::from_utf8_lossy(&line).into_owned()))
    });
    let over = Instant::now() + limit;
    let mut failed = None;
    loop {
        match lines.recv_timeout(over.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                each(&line);
                if let Some(test) = failed_test(&line) {
                    failed.get_or_insert_with(|| End::Failed(test.to_owned()));
                    if !to_the_end {
                        return failed;
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => return Some(End::Endless),
            Err(RecvTimeoutError::Disconnected) => return failed,
        }
    }
}

/// The name of the test in a line that says that it has failed.
pub(crate) fn failed_test(line: &str) -> Option<&str> {
    let test = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
    Some(test.strip_suffix(" - should panic").unwrap_or(test))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script as if it were a program of tests.
    fn script(words: &str, limit: Duration) -> End {
        let mut command = Command::new("sh");
        run(command.args(["-c", words]), limit, false, &mut |_| {}).unwrap()
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn how_programs_end() {
        assert_eq!(script("echo 'test a ... ok'", LONG), End::Passed);
        // It is ended at once, and not after its sleep.
        assert_eq!(
            script("echo 'test a::b ... FAILED'; exec sleep 60", LONG),
            End::Failed("a::b".to_owned())
        );
        assert!(matches!(script("exit 101", LONG), End::Failed(_)));
        assert_eq!(script("exec sleep 60", Duration::from_millis(50)), End::Endless);
    }

    #[test]
    fn a_program_cannot_have_all_memory() {
        let mut command = command(Path::new("sh"), &Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), "7");
        let mut lines = Vec::new();
        command.args(["-c", "ulimit -v; echo $SIO_MUTANT"]);
        let end = run(&mut command, LONG, false, &mut |line| lines.push(line.to_owned()));
        assert_eq!(
            (end.unwrap(), lines),
            (End::Passed, vec![MOST_MEMORY.to_owned(), "7".to_owned()])
        );
    }

    #[test]
    fn which_test_has_failed() {
        assert_eq!(failed_test("test a::b ... FAILED"), Some("a::b"));
        assert_eq!(failed_test("test a::b - should panic ... FAILED"), Some("a::b"));
        assert_eq!(failed_test("test a::b ... ok"), None);
        assert_eq!(failed_test("test result: FAILED. 1 passed"), None);
    }
}
