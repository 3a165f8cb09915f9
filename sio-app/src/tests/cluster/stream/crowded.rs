//! More has come from other servers than this one can do at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Wake;

use super::*;

const LIMIT: usize = 16_384;
const EVENTS: u64 = 40;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// While one thread sends what others have written, another one reads on, until more waits than
/// may. Then it waits until there is room.
#[test]
fn what_others_write_is_not_read_without_bound() {
    let servers = Servers::new(
        |mut cluster| {
            cluster.broker.max_waiting_bytes = LIMIT;
            cluster
        },
        |_| {},
    );
    let mut clients = servers.clients();
    servers.hold(0, 0);
    for number in 0..EVENTS {
        servers.ios[1].emit("n", (number, "x".repeat(1000)));
        servers.settle();
    }
    servers.model.borrow_mut().readable.remove(&0);
    let mut events = servers.read_on(0);
    assert_eq!(events.len() as u64, EVENTS);
    let first = events.remove(0);
    let woken = Arc::<Woken>::default();
    let waker: Waker = Arc::clone(&woken).into();
    assert!(node(&servers.ios[0]).may_read(&waker));
    // What another thread would do while this one is sending the first event.
    let unread = Mutex::new(events.into_iter());
    let (reader, refused) = (Arc::downgrade(node(&servers.ios[0])), Arc::new(AtomicUsize::new(0)));
    let (noted, reads) = (Arc::clone(&refused), waker.clone());
    servers.ios[0]
        .of("/")
        .on_any_outgoing(move |_: Option<&Socket>, _: &str, _: &RawArgs| {
            let reader = reader.upgrade().unwrap();
            while reader.may_read(&reads) {
                let Some(event) = unread.lock().unwrap().next() else {
                    return;
                };
                reader.handle_events(&mut vec![event]);
            }
            noted.fetch_add(1, Ordering::Relaxed);
            assert!(reader.counts().waiting_bytes <= LIMIT + 2 * 1600);
        });
    node(&servers.ios[0]).handle_events(&mut vec![first]);
    assert!(refused.load(Ordering::Relaxed) > 0, "it had to wait");
    assert!(woken.0.load(Ordering::Relaxed) > 0, "it is woken");
    assert!(node(&servers.ios[0]).may_read(&waker));
    let all: Vec<u64> = (0..EVENTS).collect();
    assert_eq!(heard(&mut clients[0]).0, all, "nothing is lost, and in order");
    assert_eq!(servers.counts(0).waiting_bytes, 0);
}
