//! Requests that are sent ahead of an answer.

use std::task::Context;

use super::{Counted, Driven, RUNTIME, fetch, server};
use crate::{Config, Io, Method, Options};

#[test]
fn who_pipelines_too_much_is_read_on_from_when_the_answer_is_there() {
    let io = server(1);
    let (_, open) = fetch(&io, Method::Get, "/socket.io/?EIO=4&transport=polling", "");
    let path = format!(
        "/socket.io/?EIO=4&transport=polling&sid={}",
        open.split('"').nth(3).unwrap()
    );
    assert_eq!(fetch(&io, Method::Post, &path, "40").1, "ok");
    let _ = fetch(&io, Method::Get, &path, "");
    let mut client = Driven::new(&io, usize::MAX);
    let counted = Counted::default();
    let waker = counted.waker();
    let poll = |client: &mut Driven| {
        client
            .connection
            .poll(&mut Context::from_waker(&waker), &mut client.script)
    };
    let large = "x".repeat(100_000);
    let next = format!("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{large}");
    client
        .script
        .reads
        .push(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n{next}").into_bytes());
    assert!(poll(&mut client).is_pending());
    counted.take();
    io.emit("n", 1);
    assert_eq!(counted.take(), 1);
    assert!(client.written().ends_with(r#"42["n",1]"#));
    assert!(poll(&mut client).is_pending());
    assert!(client.written().starts_with("HTTP/1.1 404"));
}

#[test]
fn what_is_pipelined_is_bounded() {
    for (limit, reads_left) in [(64 * 1024, 0), (3_000, 2), (1, 3)] {
        let options = Options::default().shards(1).max_pipelined_bytes(limit);
        let io = Io::new(Config::default(), options, RUNTIME).unwrap();
        let (_, open) = fetch(&io, Method::Get, "/socket.io/?EIO=4&transport=polling", "");
        let sid = open.split('"').nth(3).unwrap();
        let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        assert_eq!(fetch(&io, Method::Post, &path, "40").1, "ok");
        let _ = fetch(&io, Method::Get, &path, "");
        let mut client = Driven::new(&io, usize::MAX);
        let body = "x".repeat(1_950);
        let next = format!("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1950\r\n\r\n{body}");
        client.script.reads = vec![next.into_bytes(); 5];
        client.script.reads[0] = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
        let _ = client.poll();
        assert_eq!(client.script.reads.len(), reads_left, "{limit}");
        // Nothing of it is lost.
        io.emit("n", 1);
        let _ = client.poll();
        let written = client.written();
        assert!(written.contains(r#"42["n",1]"#), "{written}");
        assert_eq!(written.matches("HTTP/1.1 404").count(), 4, "{limit}: {written}");
    }
}
