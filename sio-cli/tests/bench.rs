//! `sio bench`, short, against a server of ours.

mod running;

use running::{finished, said, server, sio, started};
use serde_json::Value;
use sio_tokio::Config;
use sio_tokio::codec::Streaming;
use std::thread;

fn measured(port: u16, more: &[&str]) -> (Value, i32) {
    let url = format!("127.0.0.1:{port}");
    let mut arguments = vec![
        "bench",
        url.as_str(),
        "--json",
        "--clients",
        "8",
        "--seconds",
        "1",
        "--timeout",
        "2",
    ];
    arguments.extend_from_slice(more);
    let (text, code) = said(&sio(&arguments, ""));
    (
        serde_json::from_str(text.trim()).unwrap_or_else(|_| panic!("{text}")),
        code,
    )
}

#[test]
fn every_kind_of_work_is_measured() {
    let server = server(Config::default());
    for transport in ["websocket", "polling"] {
        for work in ["connections", "echo", "broadcast"] {
            let (summary, code) = measured(server.port, &["--work", work, "-t", transport]);
            assert_eq!(code, 0, "{work} {transport}: {summary}");
            assert_eq!(summary["connected"], 8);
            assert_eq!(summary["connecting"]["count"], 8);
            let rounds = summary["rounds"]["count"].as_u64().unwrap();
            assert_eq!(rounds > 0, work != "connections", "{work} {transport}: {summary}");
            assert!(summary["rounds"]["p50"].as_u64() <= summary["rounds"]["p99"].as_u64());
        }
    }
}

#[test]
fn a_summary_for_people() {
    let server = server(Config::default());
    let url = format!("127.0.0.1:{}", server.port);
    let arguments = ["bench", &url, "--clients", "4", "--seconds", "1"];
    let (text, code) = said(&sio(&arguments, ""));
    assert_eq!(code, 0, "{text}");
    for words in ["4 of 4", "p99 ", "a second", "█"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn what_goes_wrong_has_an_exit_code() {
    let server = server(Config::default());
    let (summary, code) = measured(server.port, &["--event", "silent"]);
    assert_eq!(code, 1, "{summary}");
    assert!(summary["hint"].as_str().unwrap().contains("--event"), "{summary}");
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (summary, code) = measured(free, &[]);
    assert_eq!((code, &summary["connected"]), (3, &Value::from(0)), "{summary}");
    // Another machine is not measured by mistake. 192.0.2.1 is nobody's (RFC 5737), and is not
    // asked.
    // Behind a proxy, the name of this machine may be that of another.
    let through = ["bench", "127.0.0.1:3000", "--proxy", "http://192.0.2.1:3128"];
    for arguments in [&["bench", "192.0.2.1:3000"][..], &through] {
        let (text, code) = said(&sio(arguments, ""));
        assert_eq!(code, 2, "{text}");
        assert!(text.contains("--yes"), "{text}");
    }
}

/// Each generation is measured over each of its transports, those without acknowledgements by the
/// message that comes back.
#[test]
fn every_generation_is_measured() {
    let mut config = Config::default();
    config.legacy06 = config.legacy06.codec(Streaming);
    let (usual, streaming) = (server(Config::default()), server(config));
    for generation in ["4", "3", "2", "1", "0.9", "0.6", "streaming"] {
        let server = if generation == "streaming" { &streaming } else { &usual };
        let (over_polling, over_websocket) = thread::scope(|scope| {
            let measure = |transport| measured(server.port, &["-g", generation, "-t", transport]);
            let polling = scope.spawn(move || measure("polling"));
            let websocket = measure("websocket");
            (polling.join().unwrap(), websocket)
        });
        for (transport, (summary, code)) in [("polling", over_polling), ("websocket", over_websocket)] {
            assert_eq!(code, 0, "{generation} {transport}: {summary}");
            assert!(
                summary["rounds"]["count"].as_u64() >= Some(8),
                "{generation} {transport}: {summary}"
            );
            assert_eq!(summary["transports"][transport], 8, "{generation}: {summary}");
        }
    }
}

/// The server answers with an event, and does not answer another one.
#[test]
fn answers_that_are_events() {
    let server = server(Config::default());
    let (summary, code) = measured(server.port, &["--event", "echo", "--answer", "echo"]);
    assert_eq!(code, 0, "{summary}");
    assert!(summary["rounds"]["count"].as_u64() > Some(8), "{summary}");
    let (summary, code) = measured(server.port, &["--event", "silent", "--answer", "echo"]);
    assert_eq!(
        (code, &summary["errors"]["no answer in time"]),
        (1, &Value::from(8)),
        "{summary}"
    );
    assert!(summary["hint"].as_str().unwrap().contains("`silent`"), "{summary}");
}

/// Ctrl-C ends the work, and what was measured until then is written.
#[test]
fn an_interrupt_writes_the_summary_so_far() {
    let server = server(Config::default());
    let url = format!("127.0.0.1:{}", server.port);
    let child = started(&[], &["bench", &url, "--json", "--clients", "4", "--seconds", "60"]);
    #[expect(clippy::disallowed_methods, reason = "the work has to have begun")]
    thread::sleep(std::time::Duration::from_secs(2));
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let (text, code) = said(&finished(child));
    assert_eq!(code, 130, "{text}");
    let summary: Value = serde_json::from_str(text.trim()).unwrap();
    assert!(summary["rounds"]["count"].as_u64() > Some(0), "{summary}");
    assert!(summary["per_second"].as_f64() > Some(0.0), "{summary}");
}
