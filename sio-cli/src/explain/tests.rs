//! Tables of inputs, with the whole output for each: `tests/explain/*.txt`. After an intended
//! change, write them again with `SIO_WRITE_SNAPSHOTS=1 cargo test -p sio-cli explain`, and read
//! the difference.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::Parser as _;
use proptest::prelude::*;

use super::*;
use crate::arguments::{Cli, Command};

/// An output that the test can read.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn ran(arguments: &[String]) -> (String, Result<Ending, Failed>) {
    let all = ["sio", "explain"]
        .into_iter()
        .map(str::to_owned)
        .chain(arguments.iter().cloned());
    let cli = Cli::try_parse_from(all).unwrap();
    let Command::Explain(arguments) = cli.command else {
        panic!("another command")
    };
    let shared = Shared::default();
    let mut out = Output::new(Box::new(shared.clone()), false);
    let ending = run(&arguments, &mut out);
    let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
    (text, ending)
}

fn tables() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain")
}

/// Runs the cases of a file, and compares the output. A case is a line `$ ARGUMENTS`, a JSON array,
/// and the output. Every case ends as `ending`.
fn check(file: &str, ending: Ending) {
    let path = tables().join(file);
    let text = fs::read_to_string(&path).unwrap();
    let mut fresh = String::new();
    let (mut cases, mut wrong) = (0, Vec::new());
    let (head, rest) = text.split_at(text.find("$ ").unwrap());
    fresh.push_str(head);
    for case in rest.split("$ [").skip(1) {
        let (arguments, expected) = case.split_once('\n').unwrap();
        let arguments: Vec<String> = serde_json::from_str(&format!("[{arguments}")).unwrap();
        let (output, ended) = ran(&arguments);
        if ended.ok() != Some(ending) {
            wrong.push(format!("{arguments:?}:\n{output}"));
        }
        if std::env::var_os("SIO_WRITE_SNAPSHOTS").is_none() {
            assert_eq!(output.trim_end(), expected.trim_end(), "{file}: {arguments:?}");
        }
        let line = serde_json::to_string(&arguments).unwrap();
        fresh.push_str(&format!("$ {line}\n{}\n\n", output.trim_end()));
        cases += 1;
    }
    assert!(cases > 20, "{file} has only {cases} cases");
    assert!(wrong.is_empty(), "not {ending:?}:\n{}", wrong.join("\n"));
    if std::env::var_os("SIO_WRITE_SNAPSHOTS").is_some() {
        fs::write(&path, fresh.trim_end().to_owned() + "\n").unwrap();
    }
}

#[test]
fn good_inputs_of_every_generation() {
    check("good.txt", Ending::Good);
}

#[test]
fn malformed_inputs_of_every_generation() {
    check("malformed.txt", Ending::Bad);
}

/// The repository's captures are explained to their end. Those that record malformed packets have
/// problems, and those of plain conversations have none.
#[test]
fn captures_of_the_repository() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sio-proto/tests/captures");
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let (output, ended) = ran(&["--file".into(), path.display().to_string()]);
        let ending = ended.unwrap();
        assert!(output.lines().count() > 5, "{name}:\n{output}");
        if name.starts_with("4.8.4-") || name.starts_with("3.1.2-") || name.starts_with("msgpack-") {
            assert_eq!(ending, Ending::Good, "{name}:\n{}", around_problems(&output));
        }
        if name.starts_with("malformed-") {
            assert_eq!(ending, Ending::Bad, "{name}");
        }
        files += 1;
    }
    assert!(files > 50, "{files}");
}

fn around_problems(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let at = lines.iter().position(|line| line.contains('✗')).unwrap_or(0);
    lines[at.saturating_sub(8)..(at + 3).min(lines.len())].join("\n")
}

#[test]
fn transcripts_of_the_repository() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sio-proto/tests/transcripts");
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let (output, ended) = ran(&["--file".into(), path.display().to_string()]);
        assert_eq!(
            ended.unwrap(),
            Ending::Good,
            "{}:\n{}",
            path.display(),
            around_problems(&output)
        );
        files += 1;
    }
    assert!(files > 0);
}

/// Every rule that is cited stands in a section that exists.
#[test]
fn the_sections_that_rules_cite_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let sources = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/explain/rules.rs")).unwrap();
    let pages: Vec<(&str, &str)> = sources
        .lines()
        .filter_map(|line| line.strip_prefix("const ")?.strip_suffix(';')?.split_once(": &str = "))
        .map(|(name, page)| (name, page.trim_matches('"')))
        .collect();
    assert_eq!(pages.len(), 6);
    let mut cited = 0;
    for (name, page) in pages {
        let text = fs::read_to_string(root.join(page)).unwrap();
        let flat = sources
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .replace("( ", "(");
        for rule in flat.split(&format!("rule({name}, \"")).skip(1) {
            let section = rule.split('"').next().unwrap();
            let heading = |line: &str| {
                let title = line.trim_start_matches('#').trim();
                line.starts_with('#')
                    && (title.starts_with(&format!("{section} "))
                        || title.starts_with(&format!("{section}. "))
                        || title.starts_with(section) && !section.starts_with(|c: char| c.is_ascii_digit()))
            };
            assert!(text.lines().any(heading), "{page} has no section {section}");
            cited += 1;
        }
    }
    assert!(cited > 40, "{cited}");
}

/// What a terminal would obey is shown escaped: control characters, and those that change the
/// direction of text.
#[test]
fn nothing_of_the_input_reaches_the_terminal_as_it_is() {
    let (output, _) = ran(&["42[\"\u{202e}\",\"\u{200f}\"]\u{1b}[31m\u{7}".into()]);
    let obeyed = |c: &char| (c.is_control() && *c != '\n') || matches!(*c, '\u{202e}' | '\u{200f}');
    assert_eq!(output.chars().find(obeyed), None, "{output}");
    assert!(output.contains("\\u{202e}"), "{output}");
}

/// The same lines come as JSON, one object for each message.
#[test]
fn json_has_the_lines_and_the_verdict() {
    let (output, ended) = ran(&["--json".into(), "42[\"a\",1]".into(), "42[\"a\"".into()]);
    assert_eq!(ended.unwrap(), Ending::Bad);
    let objects: Vec<serde_json::Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[0]["form"], "eio4");
    assert_eq!(objects[0]["valid"], true);
    assert_eq!(objects[0]["lines"][3]["at"], 7);
    assert_eq!(objects[1]["valid"], false);
    let problem = objects[1]["lines"]
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line.get("problem").is_some())
        .unwrap();
    assert_eq!(problem["page"], "docs/protocol/socket-io.md");
    assert_eq!(problem["at"], 6);
}

fn explain_all(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    let forms = <Form as clap::ValueEnum>::value_variants()
        .iter()
        .copied()
        .map(Some)
        .chain([None]);
    for form in forms {
        for role in [Role::Server, Role::Client] {
            let mut talk = Conversation::new(role);
            let first = explanation(form, &bytes, "", &mut talk);
            // What a message leaves behind meets another message.
            let second = explanation(form, &bytes, "", &mut talk);
            for explanation in [first, second] {
                let mut out = Output::new(Box::new(io::sink()), true);
                print(&explanation, &mut out).unwrap();
                for line in &explanation.sheet.lines {
                    assert!(line.at.is_none_or(|at| at <= input.len()), "{line:?}");
                }
            }
        }
    }
}

/// So many cases, unless `PROPTEST_CASES` says how many.
fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() {
            given.cases
        } else {
            300
        },
        ..given
    }
}

proptest! {
    #![proptest_config(config())]

    /// No bytes make the tool panic, as whatever form they are read, and every place is in them.
    #[test]
    fn never_panics_on_any_bytes(input in proptest::collection::vec(any::<u8>(), 0..80)) {
        explain_all(&input);
    }

    /// Nor does text made of the marks of all generations.
    #[test]
    fn never_panics_on_marks(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("~m~"), Just("~h~"), Just("~j~"), Just("\u{fffd}"), Just("\u{1e}"), Just(":"), Just("4"), Just("2"),
                Just("5:"), Just("51-"), Just("61-"), Just("/a,"), Just("[\"e\""), Just("]"), Just("{\"sid\":\"x\"}"),
                Just("{\"_placeholder\":true,\"num\":0}"), Just(","), Just("b4AQI="), Just("😀"), Just("é"), Just("12"),
                Just("+"), Just("\n"), Just("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n"),
                Just("HTTP/1.1 200 OK\r\n\r\n"), Just("sio-transcript 1 full\n"), Just("0.000000 > x"), Just("websocket"),
                Just("{\"entries\":["), Just("___eio[0](\""), Just("\");"),
            ],
            0..12,
        )
    ) {
        explain_all(pieces.concat().as_bytes());
    }

    /// Nor do bytes that are nearly frames, binary payloads or MessagePack.
    #[test]
    fn never_panics_on_nearly_binary(
        head in prop_oneof![Just(vec![0x81u8]), Just(vec![0x82, 0xfe]), Just(vec![0, 1]), Just(vec![1, 9, 0xff]),
            Just(vec![0x83, 0xa4, b't', b'y', b'p', b'e', 2]), Just(vec![0x88, 2])],
        rest in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut input = head;
        input.extend(rest);
        explain_all(&input);
    }
}
