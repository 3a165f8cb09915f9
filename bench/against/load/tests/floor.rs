//! The load generator against the server without a protocol, in a thread of this process.

#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output};

fn floor() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("a port").port();
    in_thread(|| drop(against_floor::serve(listener)));
    port
}

#[expect(clippy::disallowed_methods, reason = "a server beside the test")]
fn in_thread(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}

fn load(port: u16, scenario: &str) -> Output {
    let pid = std::process::id();
    let options = format!("{scenario} --raw --port {port} --pid {pid} --secs 0.2 --warmup 0.1");
    Command::new(env!("CARGO_BIN_EXE_against-load"))
        .args(options.split(' '))
        .output()
        .expect("the load generator")
}

#[test]
fn every_scenario_has_a_result() {
    let port = floor();
    for scenario in [
        "echo --n 3",
        "echo --n 2 --w 16",
        "echo --n 2 --s 70000 --w 3",
        "binary --n 2 --s 300",
        "cast --n 20 --w 3",
        "rooms --n 20 --w 2",
        "connect --n 3",
        "idle --n 5 --s 20000",
    ] {
        let output = load(port, scenario);
        let (told, failed) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{scenario}: {failed}");
        if scenario.starts_with("idle") {
            assert!(told.contains("\"touched_bytes\":"), "{scenario}: {told}");
            continue;
        }
        assert!(!told.contains("\"ops\":0,"), "{scenario}: {told}");
        for number in ["server_us", "p50_us", "p99_us"] {
            assert!(told.contains(&format!("\"{number}\":")), "{scenario}: {told}");
        }
    }
}

/// A server whose fifth echo has one wrong letter.
#[test]
fn a_wrong_answer_is_seen() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("a port").port();
    let inner = floor();
    in_thread(move || {
        let (mut client, _) = listener.accept().expect("the load generator");
        let mut server = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, inner)).expect("the floor");
        let mut bytes = [0; 4096];
        for round in 0..100 {
            let Ok(length @ 1..) = client.read(&mut bytes) else {
                return;
            };
            server.write_all(&bytes[..length]).expect("the floor");
            let length = server.read(&mut bytes).expect("the floor");
            bytes[length - 3] ^= u8::from(round == 5);
            client.write_all(&bytes[..length]).expect("the load generator");
        }
    });
    let output = load(port, "echo --n 1");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("was due, and this came"), "{told}");
}

#[test]
fn a_server_that_goes_is_seen() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("a port").port();
    in_thread(move || drop(listener.accept()));
    let output = load(port, "echo --n 1");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let none = load(1, "echo --n 1");
    assert_eq!(none.status.code(), Some(1), "{none:?}");
}
