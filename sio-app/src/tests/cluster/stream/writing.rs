//! Events whose entries fail, and are written again.

use super::*;

/// An entry that nobody can read any more does not keep the server from the order of the stream.
#[test]
fn an_echo_that_never_comes_is_given_up() {
    let servers = plain();
    let mut clients = servers.clients();
    servers.fail(Fault::Trimmed);
    servers.ios[0].emit("n", 1);
    servers.settle();
    servers.fail(Fault::None);
    assert_eq!(heard(&mut clients[0]), (vec![], 0));
    assert!(servers.counts(0).waiting_bytes > 0);
    servers.pass(250 * MILLISECOND);
    assert_eq!(heard(&mut clients[0]), (vec![1], 0), "without the stream");
    servers.ios[0].emit("n", 2);
    assert_eq!(heard(&mut clients[0]), (vec![2], 0), "at once");
    servers.settle();
    servers.pass(250 * MILLISECOND);
    servers.ios[0].emit("n", 3);
    assert_eq!(heard(&mut clients[0]), (vec![], 0), "it waits for the stream again");
    servers.settle();
    for _ in 0..10 {
        servers.pass(Duration::from_secs(1));
    }
    assert_eq!(heard(&mut clients[0]), (vec![3], 1), "nothing twice");
    assert_eq!(heard(&mut clients[1]), (vec![2, 3], 2));
    assert_eq!((servers.counts(0).waiting_bytes, servers.counts(0).dropped), (0, 0));
}

/// The connection ends behind the order and in front of the answer.
#[test]
fn an_entry_whose_answer_was_lost_is_not_written_twice() {
    let servers = plain();
    let mut clients = servers.clients();
    servers.fail(Fault::Unanswered);
    servers.ios[0].emit("n", 1);
    servers.settle();
    servers.fail(Fault::None);
    for _ in 0..10 {
        servers.pass(Duration::from_secs(1));
    }
    for client in &mut clients {
        assert_eq!(heard(client).0, [1]);
    }
    servers.ios[0].emit("n", 2);
    assert_eq!(heard(&mut clients[0]).0, [0; 0], "it waits for the stream again");
}

#[test]
fn what_was_refused_is_written_later_once_and_in_order() {
    let servers = plain();
    let mut clients = servers.clients();
    servers.fail(Fault::Refused);
    for number in 1..=3 {
        servers.ios[0].emit("n", number);
        servers.settle();
        assert_eq!(heard(&mut clients[0]), (vec![number], 0), "without the stream");
    }
    for _ in 0..4 {
        servers.pass(Duration::from_secs(1));
        servers.ios[0].emit("n", 4);
        servers.model.borrow_mut().fault = Fault::Refused;
    }
    assert_eq!(heard(&mut clients[0]).0, [4; 4]);
    servers.fail(Fault::None);
    servers.ios[0].emit("n", 5);
    for _ in 0..4 {
        servers.pass(Duration::from_secs(1));
    }
    assert_eq!(heard(&mut clients[0]).0, [5]);
    assert_eq!(heard(&mut clients[1]), (vec![1, 2, 3, 4, 4, 4, 4, 5], 8));
    servers.ios[0].emit("n", 6);
    servers.settle();
    assert_eq!(heard(&mut clients[0]), (vec![6], 1), "in the order of the stream");
}

/// An event has failed, and the server hears of it only when it has given the next one on.
#[test]
fn nothing_is_written_behind_an_event_that_is_written_again() {
    for fault in [Fault::Refused, Fault::Unanswered] {
        let servers = plain();
        let mut clients = servers.clients();
        servers.model.borrow_mut().late_failures = Some(Vec::new());
        servers.fail(fault);
        servers.ios[0].emit("n", 1);
        servers.settle();
        servers.fail(Fault::None);
        servers.ios[0].emit("n", 2);
        servers.settle();
        let mut late = servers.model.borrow_mut().late_failures.take().unwrap();
        assert_eq!(late.len(), 2, "the second one was refused");
        node(&servers.ios[0]).handle_events(&mut late);
        servers.ios[0].emit("n", 3);
        for _ in 0..4 {
            servers.pass(Duration::from_secs(1));
        }
        for client in &mut clients {
            assert_eq!(heard(client).0, [1, 2, 3]);
        }
        servers.ios[0].emit("n", 4);
        servers.settle();
        assert_eq!(heard(&mut clients[1]), (vec![4], 1));
        assert_eq!(heard(&mut clients[0]), (vec![4], 1), "in the order of the stream again");
    }
}
