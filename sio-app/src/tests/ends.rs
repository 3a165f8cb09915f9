//! What does not happen any more: events behind the end of a socket, and errors without an end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use super::{Driven, RUNTIME, once_pending, run_tasks, server, text};
use crate::{Ack, Config, EmitError, HandlerError, Incoming, Io, Options, RoomEvent, Socket};

/// A server whose event `pay` is counted.
fn counting() -> (Io, Arc<AtomicUsize>) {
    let (io, paid) = (server(1), Arc::<AtomicUsize>::default());
    let count = Arc::clone(&paid);
    io.on_error(|_, _, _| ());
    io.of("/")
        .on("pay", move |_: u32| _ = count.fetch_add(1, Ordering::Relaxed))
        .on("panic", |socket: Socket| {
            assert!(!socket.is_connected(), "the test wants a panic")
        })
        .on("leave", |socket: Socket| socket.disconnect());
    (io, paid)
}

/// Returns how often `pay` was heard in one read of these packets.
fn paid_after(packets: &[&str]) -> usize {
    let (io, paid) = counting();
    io.of("/").filter(|socket: &Socket, event: &mut Incoming| {
        if event.name() == "ban" {
            socket.disconnect();
            return Err("banned");
        }
        Ok(())
    });
    let mut client = Driven::connected(&io);
    let bytes: Vec<u8> = packets.iter().flat_map(|packet| text(packet)).collect();
    let _ = client.read(&bytes);
    paid.load(Ordering::Relaxed)
}

#[test]
fn no_event_behind_a_disconnect_by_the_server_is_heard() {
    let pay = r#"42["pay",1]"#;
    assert_eq!(paid_after(&[pay, r#"42["leave"]"#, pay, pay]), 1);
    assert_eq!(paid_after(&[pay, r#"42["panic"]"#, pay, pay]), 1);
    assert_eq!(paid_after(&[r#"42["ban"]"#, pay, pay]), 0);
}

#[test]
fn what_a_client_says_before_it_leaves_is_heard() {
    let pay = r#"42["pay",1]"#;
    assert_eq!(paid_after(&[pay, pay, "41"]), 2);
}

#[test]
fn a_room_is_left_when_too_much_waits_for_a_socket() {
    let options = Options::default().shards(1).max_waiting_events(3);
    let io = Io::new(Config::default(), options, RUNTIME).unwrap();
    let (tell, told) = channel();
    io.on_room(move |event: &RoomEvent| tell.send(format!("{event:?}")).unwrap());
    io.of("/")
        .one_at_a_time()
        .on_connect(|socket: Socket| socket.join("a"))
        .on("wait", async || once_pending().await);
    let mut client = Driven::connected(&io);
    for _ in 0..2 {
        let bytes: Vec<u8> = (0..6).flat_map(|_| text(r#"42["wait"]"#)).collect();
        client.press(&io, &bytes);
    }
    run_tasks();
    let told: Vec<String> = told.try_iter().collect();
    let count = |what: &str| told.iter().filter(|event| event.contains(what)).count();
    assert_eq!((count("Joined"), count("Left")), (1, 1), "{told:?}");
}

#[test]
fn an_error_that_its_report_causes_again_has_an_end() {
    let (io, reports) = (server(1), Arc::<AtomicUsize>::default());
    let (emitter, count) = (io.clone(), Arc::clone(&reports));
    io.on_error(move |_, _, error: &HandlerError| {
        count.fetch_add(1, Ordering::Relaxed);
        // The name is reserved, which is an error as well.
        emitter.emit("disconnect", error.to_string());
    });
    io.of("/").on("number", |_: u32| ());
    let mut client = Driven::connected(&io);
    client.says(r#"42["number","none"]"#);
    assert_eq!(reports.load(Ordering::Relaxed), 1);
    client.says(r#"42["number","none"]"#);
    assert_eq!(reports.load(Ordering::Relaxed), 2);
}

#[test]
fn a_handler_of_one_socket_has_an_id_that_no_other_handler_has() {
    let io = server(1);
    let mut clients = [Driven::connected(&io), Driven::connected(&io)];
    let sockets = io.sockets();
    let heard = Arc::<AtomicUsize>::default();
    let add = |socket: &Socket| {
        let heard = Arc::clone(&heard);
        socket.on("x", move || _ = heard.fetch_add(1, Ordering::Relaxed))
    };
    let (first, second) = (add(&sockets[0]).unwrap(), add(&sockets[1]).unwrap());
    assert_ne!(first, second);
    sockets[1].remove_handler(first);
    clients.iter_mut().for_each(|client| drop(client.says(r#"42["x"]"#)));
    assert_eq!(
        heard.load(Ordering::Relaxed),
        2,
        "no handler of another socket is removed"
    );
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error_for_the_client_too() {
    let io = server(1);
    let (tell, told) = channel();
    io.on_error(move |_, event, error| {
        let unsent = matches!(error, HandlerError::Emit(EmitError::Args(_)));
        tell.send((event.to_owned(), unsent)).unwrap();
    });
    // JSON has no such keys.
    let unwritable = || HashMap::from([((1, 2), 3)]);
    io.of("/")
        .on("returned", move || Ok::<_, &str>(unwritable()))
        .on("sent", move |ack: Ack| ack.send(unwritable()));
    let mut client = Driven::connected(&io);
    for event in ["returned", "sent"] {
        let written = client.says(&format!(r#"421["{event}"]"#));
        assert!(
            written.ends_with(r#"431[{"error":"Internal server error"}]"#),
            "{written}"
        );
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [("ack".to_owned(), true)]);
    }
}
