//! What the tests of commands share: a server of ours on a free port, and the program.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "these are tests, with threads of their own"
)]

use std::io::Write as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use sio_tokio::{Ack, Auth, Config, RawArgs, Refusal, Server, Socket};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A server that ends with this value.
pub(crate) struct Running {
    pub(crate) port: u16,
    _stop: oneshot::Sender<()>,
}

#[derive(serde::Deserialize)]
struct Credentials {
    token: String,
}

/// Starts a server with the events of the tests.
pub(crate) fn server(config: Config) -> Running {
    let (tell, port) = mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let io = Server::new(config).unwrap();
            register(&io);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap().port()).unwrap();
            let serving = io.serve(listener);
            tokio::select! {
                ended = async { serving.await } => ended.unwrap(),
                _ = stopped => {}
            }
        });
    });
    let port = port.recv_timeout(Duration::from_secs(30)).unwrap();
    Running { port, _stop: stop }
}

fn register(io: &Server) {
    io.of("/")
        .on("echo", |socket: Socket, args: RawArgs, ack: Ack| {
            if ack.is_wanted() {
                ack.send(args);
            } else {
                drop(socket.emit("echo", args));
            }
        })
        // The messages of generations without names of events.
        .on("message", |socket: Socket, args: RawArgs| {
            drop(socket.emit("message", args))
        })
        .on("cast", {
            let all = io.of("/");
            move |_: Socket, args: RawArgs| {
                all.emit("cast", args);
            }
        })
        .on("ask-me", async |socket: Socket, args: RawArgs| {
            let answer: RawArgs = socket.emit_with_ack("question", args).await?;
            drop(socket.emit("answered", answer));
            Ok::<_, sio_tokio::AckError>(())
        })
        .on("bye", |socket: Socket| socket.disconnect());
    io.of("/private")
        .with(|Auth(credentials): Auth<Credentials>| match &*credentials.token {
            "secret" => Ok(()),
            _ => Err(Refusal::new("forbidden")),
        });
}

/// Runs the program to its end.
pub(crate) fn sio(arguments: &[&str], input: &str) -> Output {
    sio_in(&[], arguments, input)
}

/// Runs the program to its end, with these variables of the environment.
pub(crate) fn sio_in(variables: &[(&str, &str)], arguments: &[&str], input: &str) -> Output {
    let mut child = started(variables, arguments);
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    finished(child)
}

/// Starts the program, with these variables of the environment and no proxy but theirs.
pub(crate) fn started(variables: &[(&str, &str)], arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sio"));
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_ascii_uppercase());
    }
    command
        .args(arguments)
        .envs(variables.iter().copied())
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for its end, at most a minute.
pub(crate) fn finished(child: Child) -> Output {
    let (tell, ended) = mpsc::channel();
    let id = child.id();
    thread::spawn(move || tell.send(child.wait_with_output()));
    match ended.recv_timeout(Duration::from_secs(60)) {
        Ok(output) => output.unwrap(),
        Err(_) => panic!("the program {id} does not end"),
    }
}

/// What it has written, and its exit code.
pub(crate) fn said(output: &Output) -> (String, i32) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    (format!("{text}{complaints}"), code.unwrap_or(-1))
}
