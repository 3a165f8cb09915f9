//! `sio connect`, as scripts use it, against a server of ours.

mod running;
#[path = "connect/scripts.rs"]
mod scripts;
#[path = "running/terminal.rs"]
mod terminal;

use running::{finished, said, server, sio, started};
use serde_json::{Value, json};
use sio_tokio::Config;
use std::io::{BufRead as _, BufReader, Write as _};

fn objects(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{text}")))
        .collect()
}

/// The objects that have this key.
fn with<'a>(objects: &'a [Value], key: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object.get(key).is_some()).collect()
}

#[test]
fn a_script_sends_events_and_gets_acknowledgements() {
    for generation in ["auto", "4", "2"] {
        for transport in ["polling", "websocket", "polling,websocket"] {
            let server = server(Config::default());
            let url = format!("127.0.0.1:{}", server.port);
            let input = "ack echo 1 \"two\" {\"three\":[3]}\n{\"emit\":\"echo\",\"args\":[{\"$bytes\":\"AQI=\"}],\"ack\":true}\n";
            let arguments = ["connect", &url, "--json", "-g", generation, "-t", transport];
            let (text, code) = said(&sio(&arguments, input));
            assert_eq!(code, 0, "{generation} {transport}: {text}");
            let objects = objects(&text);
            let connected = with(&objects, "connect");
            assert_eq!((connected.len(), &connected[0]["connect"]), (1, &json!("/")), "{text}");
            let engine = if generation == "2" { 3 } else { 4 };
            assert!(objects.iter().any(|object| object["engine"] == engine), "{text}");
            let mut acks = with(&objects, "ack");
            acks.sort_by_key(|ack| ack["ack"].as_u64());
            assert_eq!(acks[0]["args"], json!([1, "two", {"three": [3]}]));
            assert_eq!(acks[1]["args"], json!([{"$bytes": "AQI="}]));
        }
    }
}

/// Commands wait until the namespace is connected that they are about; filters choose events; an
/// event that asks for an answer gets it.
#[test]
fn a_script_answers_events_and_uses_namespaces() {
    let server = server(Config::default());
    let url = format!("127.0.0.1:{}", server.port);
    let mut child = started(&[], &["connect", &url, "--json", "--auth", "{\"token\":\"secret\"}"]);
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = |key: &str| loop {
        let object: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if object.get(key).is_some() {
            return object;
        }
    };
    input
        .write_all(b"watch question answered cast\nemit echo unseen\nemit ask-me 5\n")
        .unwrap();
    let question = until("event");
    assert_eq!(
        (&question["event"], &question["args"]),
        (&json!("question"), &json!([5]))
    );
    writeln!(input, "answer {} fine", question["answer"]).unwrap();
    let answered = until("event");
    assert_eq!(
        (&answered["event"], &answered["args"]),
        (&json!("answered"), &json!(["fine"]))
    );
    input.write_all(b"connect private\nstate\n").unwrap();
    assert_eq!(until("connect")["connect"], "/private");
    assert_eq!(until("namespaces")["namespaces"].as_array().unwrap().len(), 2);
    input
        .write_all(b"{\"emit\":\"cast\",\"args\":[7],\"ns\":\"/\"}\n")
        .unwrap();
    assert_eq!(until("event")["args"], json!([7]));
    input.write_all(b"quit\n").unwrap();
    assert!(finished(child).status.success());
}

/// An emit of a namespace that is not connected waits, and one that never leaves is told.
#[test]
fn emits_that_wait_and_do_not_leave_are_told() {
    let server = server(Config::default());
    let url = format!("127.0.0.1:{}", server.port);
    let input = "leave private\nemit echo 1\nconnect private\n";
    let private = [
        "connect",
        &url,
        "--json",
        "--ns",
        "/private",
        "-a",
        "{\"token\":\"secret\"}",
    ];
    let (text, code) = said(&sio(&private, input));
    let found = objects(&text);
    assert_eq!(
        (code, with(&found, "waiting")[0]),
        (0, &json!({ "waiting": 1, "ns": "/private" })),
        "{text}"
    );
    assert!(with(&found, "ack").is_empty(), "it was sent: {text}");
    // Two namespaces, so that the connection stays when one is left.
    let input = "connect /\nleave private\n{\"emit\":\"echo\",\"ns\":\"/private\"}\nquit\n";
    let (text, code) = said(&sio(&private, input));
    let found = objects(&text);
    assert_eq!(with(&found, "waiting").len(), 1, "{text}");
    let ack = with(&found, "ack")[0];
    assert_eq!((code, &ack["ack"]), (1, &json!(1)), "{text}");
    assert_eq!(ack["error"], "the event was not sent: the client was closed", "{text}");
}

#[test]
fn what_goes_wrong_has_an_exit_code() {
    let server = server(Config::default());
    let url = format!("127.0.0.1:{}", server.port);
    // Nobody listens on a port that has just been given back.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let cases: &[(&[&str], &str, i32, &str)] = &[
        (&["connect", &free], "", 3, "failed"),
        (
            &["connect", &url, "--ns", "/private", "-a", "{\"token\":\"no\"}"],
            "",
            1,
            "forbidden",
        ),
        (&["connect", &url, "--ns", "/nowhere"], "", 1, "Invalid namespace"),
        (&["connect", &url], "ack silent 1\n", 1, "timed out"),
        (&["connect", &url], "nonsense\n", 1, "there is no command nonsense"),
        (&["connect", &url], "emit bye\nack echo 1\n", 1, "disconnect"),
        (&["connect", "ftp://x"], "", 2, "URL"),
        (&["connect", &url, "--auth", "[1]"], "", 2, "no JSON object"),
        (&["connect"], "", 2, "Usage"),
    ];
    for (arguments, input, wanted, words) in cases {
        let mut arguments = arguments.to_vec();
        if arguments.len() > 1 {
            arguments.extend(["--timeout", "5"]);
        }
        let (text, code) = said(&sio(&arguments, input));
        assert_eq!(code, *wanted, "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text}");
        assert!(!text.contains('\x1b'), "colours without a terminal: {text}");
    }
}

/// The example of `sio explain` in the README is what the program writes.
#[test]
fn the_example_of_the_readme_is_true() {
    let readme = include_str!("../../README.md");
    let (_, example) = readme.split_once("$ sio explain '42[\"chat\",\"hi\"'\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let (text, code) = said(&sio(&["explain", "42[\"chat\",\"hi\""], ""));
    assert_eq!((text.as_str(), code), (example, 1));
}

/// A server that is not reached: a person is told what may say more, a script gets only objects.
#[test]
fn a_failure_names_the_doctor() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let (text, _) = said(&sio(&["connect", &free], ""));
    assert!(text.contains(&format!("`sio doctor http://{free}`")), "{text}");
    let (text, _) = said(&sio(&["connect", &free, "--json"], ""));
    assert!(!objects(&text).is_empty() && !text.contains("doctor"), "{text}");
}

#[test]
fn colours_come_when_they_are_asked_for() {
    let (text, _) = said(&sio(&["--color", "always", "explain", "42[\"a\"]"], ""));
    assert!(text.contains("\x1b[36m"), "{text}");
}

/// `auto` finds every generation that tells itself apart: one attempt follows the other at once.
#[test]
fn the_generation_of_a_server_is_found() {
    for (engine4, engine3, legacy09) in [(true, false, false), (false, true, false), (false, false, true)] {
        let mut config = Config::default();
        let served = &mut config.generations;
        (served.engine4, served.engine3, served.legacy09) = (engine4, engine3, legacy09);
        let server = server(config);
        let url = format!("127.0.0.1:{}", server.port);
        let (text, code) = said(&sio(&["connect", &url, "--json"], "ack echo 1\n"));
        assert_eq!(code, 0, "{engine4} {engine3} {legacy09}: {text}");
        assert_eq!(with(&objects(&text), "ack")[0]["args"], json!([1]), "{text}");
    }
}

/// A server that is not there is asked once.
#[test]
fn one_attempt_is_enough_for_an_answer() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let (text, code) = said(&sio(&["connect", &free, "--json"], ""));
    assert_eq!(code, 3, "{text}");
    let attempts = objects(&text)
        .iter()
        .filter(|object| object["state"] == "connecting")
        .count();
    assert_eq!(attempts, 1, "{text}");
}

/// A reader that goes away is no panic.
#[test]
fn nobody_reads_the_output() {
    let capture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../sio-proto/tests/captures/malformed-4.8.4.json"
    );
    let mut child = started(&[], &["explain", "--file", capture]);
    drop(child.stdout.take());
    let output = finished(child);
    assert_eq!(
        output.status.code(),
        Some(141),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.stderr.is_empty());
}

/// Ctrl-C ends the program politely.
#[cfg(unix)]
#[test]
fn an_interrupt_closes_the_connection() {
    let server = server(Config::default());
    let url = format!("127.0.0.1:{}", server.port);
    let mut child = started(&[], &["connect", &url, "--json", "--listen"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("\"connect\"")));
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(finished(child).status.code(), Some(130), "{rest:?}");
}

#[test]
fn pages_and_completions_are_made() {
    let (text, code) = said(&sio(&["man"], ""));
    assert!(
        code == 0 && text.contains(".TH") && text.contains("EXIT CODES") || text.contains("Exit codes"),
        "{text}"
    );
    for command in ["connect", "explain"] {
        let (text, code) = said(&sio(&["man", command], ""));
        assert!(code == 0 && text.contains("Examples"), "{text}");
    }
    assert_eq!(said(&sio(&["man", "nothing"], "")).1, 2);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (text, code) = said(&sio(&["completions", shell], ""));
        assert!(code == 0 && text.contains("explain"), "{shell}");
    }
}
