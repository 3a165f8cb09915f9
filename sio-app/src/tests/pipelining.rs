//! Requests that a client sends before the answer to an earlier request.

use std::task::Context;

use super::{Counted, Driven, RUNTIME, fetch, now, once_pending, run_tasks, set_now};
use crate::{Config, Io, Method, Options, RawArgs, Refusal, Socket};

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
}

fn post(target: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// Makes a server that echoes. A task answers `slow`, and a task lets sockets into `late`.
fn server(options: Options) -> Io {
    let io = Io::new(Config::default(), options, RUNTIME).unwrap();
    io.of("/")
        .on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", args))
        .on("quiet", |_: Socket| {})
        .on("bye", |socket: Socket| socket.disconnect())
        .on("slow", async |socket: Socket| {
            once_pending().await;
            socket.emit("slow", 1)
        });
    io
}

fn late_server(options: Options) -> Io {
    let io = Io::new(Config::default(), options, RUNTIME).unwrap();
    let _ = io.of("/").with(async |_: Socket| {
        once_pending().await;
        Ok::<(), Refusal>(())
    });
    io
}

/// Opens a session that has joined and has nothing to fetch. Returns its path.
fn join(io: &Io) -> String {
    let (_, open) = fetch(io, Method::Get, "/socket.io/?EIO=4&transport=polling", "");
    let path = format!(
        "/socket.io/?EIO=4&transport=polling&sid={}",
        open.split('"').nth(3).unwrap()
    );
    assert_eq!(fetch(io, Method::Post, &path, "40").1, "ok");
    let _ = fetch(io, Method::Get, &path, "");
    path
}

/// Returns the statuses and bodies of several answers.
fn answers(mut written: &str) -> Vec<(u16, String)> {
    let mut answers = Vec::new();
    while let Some((head, rest)) = written.split_once("\r\n\r\n") {
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let (body, rest) = rest.split_at(length.unwrap_or(0));
        answers.push((head[9..12].parse().unwrap(), body.to_owned()));
        written = rest;
    }
    assert_eq!(written, "");
    answers
}

fn answered(written: &[(u16, &str)]) -> Vec<(u16, String)> {
    written
        .iter()
        .map(|(status, body)| (*status, (*body).to_owned()))
        .collect()
}

/// Hardening B15: a POST behind a held GET is handled at once, and the packets that it causes are
/// the answer to the GET.
#[test]
fn a_post_behind_a_held_get_is_handled_at_once() {
    let echoed = r#"42["echo",7]"#;
    for in_one_read in [true, false] {
        for shards in [1, 4] {
            let io = server(Options::default().shards(shards));
            let path = join(&io);
            let mut client = Driven::new(&io, usize::MAX);
            let (poll, echo) = (get(&path), post(&path, echoed));
            if in_one_read {
                let _ = client.read(format!("{poll}{echo}").as_bytes());
            } else {
                assert!(client.read(poll.as_bytes()).is_pending());
                assert_eq!(client.written(), "");
                // The POST comes in two pieces. The first piece is not a whole request.
                let (first, second) = echo.split_at(20);
                let _ = client.read(first.as_bytes());
                assert_eq!(client.written(), "");
                let _ = client.read(second.as_bytes());
            }
            assert_eq!(answers(&client.written()), answered(&[(200, echoed), (200, "ok")]));
            // The connection goes on, and the same works again.
            let _ = client.read(format!("{}{}{}", get(&path), post(&path, echoed), get(&path)).as_bytes());
            assert_eq!(answers(&client.written()), answered(&[(200, echoed), (200, "ok")]));
            io.emit("n", 1);
            assert_eq!(answers(&client.written()), answered(&[(200, r#"42["n",1]"#)]));
        }
    }
}

/// Hardening B15: when a client knows that its payload was taken, it may send the next payload on
/// another connection. So the answer is sent only when all handlers have run.
#[test]
fn a_post_behind_a_held_get_is_answered_when_its_handlers_have_run() {
    let io = server(Options::default().shards(1));
    io.of("/").on("slow-echo", |socket: Socket, args: RawArgs| {
        set_now(now() + 1_000);
        socket.emit("slow-echo", args)
    });
    let path = join(&io);
    let mut client = Driven::new(&io, usize::MAX);
    let (counted, body) = (Counted::default(), [r#"42["slow-echo",7]"#; 12].join("\u{1e}"));
    let waker = counted.waker();
    client.script.reads = vec![format!("{}{}", get(&path), post(&path, &body)).into()];
    let poll = |client: &mut Driven| {
        client
            .connection
            .poll(&mut Context::from_waker(&waker), &mut client.script)
    };
    assert!(poll(&mut client).is_pending());
    assert_eq!((counted.take(), &*client.written()), (1, ""), "eight have run");
    assert!(poll(&mut client).is_pending());
    assert_eq!(answers(&client.written()), answered(&[(200, &body), (200, "ok")]));
    // The connection goes on.
    let _ = client.read(format!("{}{}", get(&path), post(&path, r#"42["echo",7]"#)).as_bytes());
    let last = [(200, r#"42["echo",7]"#), (200, "ok")];
    assert_eq!(answers(&client.written()), answered(&last));
}

/// Hardening B15: clients of older generations may post behind a held GET, too.
#[test]
fn older_clients_may_post_behind_a_held_get() {
    let io = server(Options::default().shards(1));
    let target = "/socket.io/?EIO=3&transport=polling";
    let (_, open) = fetch(&io, Method::Get, target, "");
    let path = format!("{target}&sid={}", open.split('"').nth(3).unwrap());
    let _ = fetch(&io, Method::Get, &path, "");
    let mut client = Driven::new(&io, usize::MAX);
    let requests = [
        get(&path),
        post(&path, r#"12:42["echo",7]"#),
        get(&path),
        post(&path, r#"11:42["quiet"]"#),
    ];
    let _ = client.read(requests.concat().as_bytes());
    let expected = [(200, r#"12:42["echo",7]"#), (200, "ok"), (200, "1:6"), (200, "ok")];
    assert_eq!(answers(&client.written()), answered(&expected));

    let (_, open) = fetch(&io, Method::Get, "/socket.io/1/", "");
    let path = format!("/socket.io/1/xhr-polling/{}", open.split(':').next().unwrap());
    assert_eq!(fetch(&io, Method::Get, &path, "").1, "1::");
    let echo = r#"5:::{"name":"echo","args":[7]}"#;
    let requests = [
        get(&path),
        post(&path, echo),
        get(&path),
        post(&path, r#"5:::{"name":"quiet"}"#),
    ];
    let _ = client.read(requests.concat().as_bytes());
    let expected = [(200, echo), (200, "1"), (200, "8::"), (200, "1")];
    assert_eq!(answers(&client.written()), answered(&expected));

    let (_, open) = fetch(&io, Method::Get, "/socket.io/xhr-polling//1", "");
    let path = format!("/socket.io/xhr-polling/{}", open.rsplit("~m~").next().unwrap());
    let requests = [
        get(&format!("{path}/2")),
        post(&format!("{path}/send"), "data=~m~1~m~x"),
    ];
    let _ = client.read(requests.concat().as_bytes());
    assert_eq!(answers(&client.written()), answered(&[(200, ""), (200, "ok")]));
}

/// Hardening B15: a request that causes no packets at once does not wait either. Any request behind
/// a held GET ends the GET, and answers stay in order.
#[test]
fn whatever_comes_behind_a_held_get_ends_it() {
    let io = server(Options::default().shards(4));
    let (path, other) = (join(&io), join(&io));
    let mut client = Driven::new(&io, usize::MAX);
    let mut ask = |request: &str| {
        let _ = client.read(format!("{}{request}", get(&path)).as_bytes());
        answers(&client.written())
    };
    let quiet = post(&path, r#"42["quiet"]"#);
    assert_eq!(ask(&quiet), answered(&[(200, "6"), (200, "ok")]));
    assert_eq!(ask(&post(&path, r#"42["slow"]"#)), answered(&[(200, "6"), (200, "ok")]));
    run_tasks();
    // The held GET is answered with the packet that has come meanwhile, and the GET behind it is
    // held.
    assert_eq!(ask(&get(&path)), answered(&[(200, r#"42["slow",1]"#)]));
    assert_eq!(ask(&quiet), answered(&[(200, "6"), (200, "6"), (200, "ok")]));
    // The request behind the GET may belong to another session, in any shard, or to the
    // application.
    let foreign = post(&other, r#"42["quiet"]"#);
    assert_eq!(ask(&foreign), answered(&[(200, "6"), (200, "ok")]));
    assert_eq!(ask(&get("/x")), answered(&[(200, "6"), (404, "")]));
    // The body of the request has not arrived yet. It causes something later.
    let large = post(&path, &format!("42[\"echo\",\"{}\"]", "x".repeat(2_000)));
    let (head, rest) = large.split_at(1_000);
    assert_eq!(ask(head), answered(&[(200, "6")]));
    let _ = client.read(rest.as_bytes());
    assert_eq!(answers(&client.written()), answered(&[(200, "ok")]));
    assert_eq!(fetch(&io, Method::Get, &path, "").1.len(), 2_000 + 13);
    // The request is a closing packet, or not valid HTTP.
    let _ = client.read(format!("{}{}", get(&path), post(&path, "1")).as_bytes());
    assert_eq!(answers(&client.written()), answered(&[(200, "6"), (200, "ok")]));
    let _ = client.read(format!("{}\u{1}\u{2}\r\n\r\n", get(&other)).as_bytes());
    let last = answers(&client.written());
    assert_eq!(
        (last[0].clone(), last[1].0, last.len()),
        ((200, "6".to_owned()), 400, 2)
    );
}

/// A body that has arrived with its head needs no `100 Continue`. Sent after the answer, a `100
/// Continue` would be read as the beginning of the next answer (RFC 9110 §10.1.1).
#[test]
fn leave_to_send_a_body_is_not_given_behind_the_answer() {
    let io = server(Options::default().shards(1));
    let path = join(&io);
    let request = post(&path, r#"42["echo",7]"#).replace("Host", "Expect: 100-continue\r\nHost");
    let (head, body) = request.split_at(request.len() - 12);
    let mut client = Driven::new(&io, usize::MAX);
    let echoed = (200, r#"42["echo",7]"#);
    let _ = client.read(format!("{request}{}", get(&path)).as_bytes());
    assert_eq!(answers(&client.written()), answered(&[(200, "ok"), echoed]));
    let _ = client.read(format!("{}{request}", get(&path)).as_bytes());
    assert_eq!(answers(&client.written()), answered(&[echoed, (200, "ok")]));
    let _ = client.read(format!("{}{head}", get(&path)).as_bytes());
    assert_eq!(answers(&client.written()), answered(&[(200, "6"), (100, "")]));
    let _ = client.read(body.as_bytes());
    assert_eq!(answers(&client.written()), answered(&[(200, "ok")]));
}

/// Hardening B15: if a POST ends its session, the answer to the GET says so.
#[test]
fn the_end_of_a_session_is_the_answer_to_the_get() {
    let io = server(Options::default().shards(1));
    for (body, expected) in [
        (r#"42["bye"]"#, [(200, "41"), (200, "ok")]),
        // Only the server may send this packet.
        ("2", [(200, "1"), (200, "ok")]),
    ] {
        let path = join(&io);
        let mut client = Driven::new(&io, usize::MAX);
        let _ = client.read(format!("{}{}", get(&path), post(&path, body)).as_bytes());
        assert_eq!(answers(&client.written()), answered(&expected), "{body}");
    }
}

#[test]
fn who_pipelines_too_much_is_read_on_from_when_the_answer_is_there() {
    let io = late_server(Options::default().shards(1));
    let mut client = Driven::new(&io, usize::MAX);
    let counted = Counted::default();
    let waker = counted.waker();
    let poll = |client: &mut Driven| {
        client
            .connection
            .poll(&mut Context::from_waker(&waker), &mut client.script)
    };
    let next = post("/x", &"x".repeat(100_000));
    client
        .script
        .reads
        .push(format!("{}{next}", get("/socket.io/1/")).into_bytes());
    assert!(poll(&mut client).is_pending());
    counted.take();
    run_tasks();
    assert_eq!(counted.take(), 1);
    assert!(client.written().starts_with("HTTP/1.1 200"));
    assert!(poll(&mut client).is_pending());
    assert!(client.written().starts_with("HTTP/1.1 404"));
}

#[test]
fn what_is_pipelined_is_bounded() {
    for (limit, reads_left) in [(64 * 1024, 0), (3_000, 2), (1, 3)] {
        let io = late_server(Options::default().shards(1).max_pipelined_bytes(limit));
        let mut client = Driven::new(&io, usize::MAX);
        client.script.reads = vec![post("/x", &"x".repeat(1_950)).into_bytes(); 5];
        client.script.reads[0] = get("/socket.io/1/").into_bytes();
        let _ = client.poll();
        assert_eq!(client.script.reads.len(), reads_left, "{limit}");
        // No request is lost.
        run_tasks();
        let _ = client.poll();
        let statuses: Vec<u16> = answers(&client.written()).iter().map(|answer| answer.0).collect();
        assert_eq!(statuses, [200, 404, 404, 404, 404], "{limit}");
    }
}
