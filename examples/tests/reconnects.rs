//! Client C20: reconnections leave nothing. This is the short form of `cargo xtask leaks --client`.

use std::process::Command;

fn nothing_is_left_on(runtime: &str) {
    let run = Command::new(env!("CARGO_BIN_EXE_reconnects"))
        .args(["--runtime", runtime, "--cycles", "300"])
        .output()
        .expect("the program runs");
    let (out, err) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(run.status.success(), "{out}{err}");
    assert_eq!(
        out.lines().filter(|line| line.contains("after 300 ")).count(),
        3,
        "{out}"
    );
}

#[test]
fn nothing_is_left_on_tokio() {
    nothing_is_left_on("tokio");
}

#[test]
fn nothing_is_left_on_async_std() {
    nothing_is_left_on("async-std");
}
