//! Large messages that wait until others have done their work.

use super::lagging::polling;
use super::*;

/// Microseconds.
const SECOND: u64 = 1_000_000;

/// A server on which large messages wait as soon as much work is left.
struct Full {
    io: Io,
    /// The client whose work is left.
    busy: Option<Driven>,
    /// How many events `e` have been handled.
    heard: Arc<AtomicUsize>,
}

impl Full {
    fn new(options: Options) -> Self {
        let io = Io::new(Config::default(), options.shards(1).max_left_bytes(0), RUNTIME).unwrap();
        let heard = Arc::<AtomicUsize>::default();
        let counting = Arc::clone(&heard);
        io.of("/")
            .on("e", move || _ = counting.fetch_add(1, Ordering::Relaxed))
            .on("x", |_: usize| set_now(now() + 1_000));
        Self { io, busy: None, heard }
    }

    /// From now on, much work is left.
    fn fill(&mut self) {
        let mut busy = Driven::connected(&self.io);
        busy.script.reads = vec![(0..100).flat_map(|n| text(&format!(r#"42["x",{n}]"#))).collect()];
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(busy.connection.poll(cx, &mut busy.script).is_pending());
        self.busy = Some(busy);
    }

    /// The work that was left is done.
    fn empty(&mut self) {
        if let Some(mut busy) = self.busy.take() {
            (0..200).for_each(|_| _ = busy.poll());
        }
    }

    fn wait_until(&self, time: u64) {
        while now() < time {
            set_now(time.min(now() + SECOND / 2));
            Driver::new(&self.io).handle_timeout(0, Waker::noop());
        }
    }

    fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }
}

fn post(target: &str, kind: &str, body: &str) -> Vec<Vec<u8>> {
    let length = body.len();
    let request =
        format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}");
    request.as_bytes().chunks(100_000).map(<[u8]>::to_vec).collect()
}

/// A large frame of a websocket: the beginning of a text, or its end.
fn fragment(is_first: bool, text: &str) -> Vec<u8> {
    let mut frame = vec![if is_first { 0x01 } else { 0x80 }, 0x80 | 127];
    frame.extend_from_slice(&(text.len() as u64).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Post,
    Mounted,
    /// A websocket, on which a message comes in fragments.
    Fragments,
    /// A stream of 0.6, whose client answers by POST.
    Stream,
}

/// The answer to a heartbeat may stand in a message that waits for room, or behind it. Its client
/// is not late because of us.
#[test]
fn a_heartbeat_in_a_message_that_waits_ends_no_session() {
    for way in [Way::Post, Way::Mounted, Way::Fragments, Way::Stream] {
        let mut full = Full::new(Options::default());
        let begin = now();
        let mut hears = match way {
            Way::Fragments => Driven::connected(&full.io),
            Way::Post | Way::Mounted | Way::Stream => Driven::new(&full.io, usize::MAX),
        };
        let target = match way {
            Way::Post | Way::Mounted => polling(&full.io),
            Way::Fragments => String::new(),
            Way::Stream => {
                let open = b"GET /socket.io/htmlfile//1 HTTP/1.1\r\nHost: x\r\nReferer: http://x/\r\n\r\n";
                let _ = hears.read(open);
                let written = hears.written();
                let id = written.rsplit("~m~").next().unwrap().split('"').next().unwrap();
                format!("/socket.io/htmlfile/{id}/send")
            }
        };
        let get = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        if matches!(way, Way::Post | Way::Mounted) {
            fetch(&full.io, Method::Get, &target, "");
            let _ = hears.read(get.as_bytes());
        }
        // The heartbeat, and the time until which it has to be answered.
        let (asked, question, until) = match way {
            Way::Stream => (10, "~h~1", 18),
            Way::Post | Way::Mounted | Way::Fragments => (25, "2", 45),
        };
        full.wait_until(begin + asked * SECOND + SECOND / 2);
        assert!(hears.written().contains(question), "{way:?}");
        let mut next = Driven::new(&full.io, usize::MAX);
        if matches!(way, Way::Post | Way::Mounted) {
            let _ = next.read(get.as_bytes());
        }
        full.wait_until(begin + (until - 1) * SECOND);
        full.fill();
        let large = format!(r#"42["e","{}"]"#, "x".repeat(300_000));
        let mut is_done: Box<dyn FnMut() -> bool> = match way {
            Way::Post => {
                let mut client = Driven::new(&full.io, usize::MAX);
                client.script.reads = post(&target, "text/plain", &format!("3\u{1e}{large}"));
                Box::new(move || {
                    let _ = client.poll();
                    client.written().ends_with("ok")
                })
            }
            Way::Mounted => {
                let mut exchange = ours(&full.io, head(Method::Post, &target, &[("host", "x")]));
                exchange.body(Ok(format!("3\u{1e}{large}").into()));
                Box::new(move || answer(&mut exchange).is_some())
            }
            Way::Fragments => {
                let (first, rest) = large.split_at(70_000);
                hears.script.reads = vec![fragment(true, first), fragment(false, rest), text("3")];
                Box::new(move || {
                    let _ = hears.poll();
                    hears.script.reads.is_empty()
                })
            }
            Way::Stream => {
                let mut client = Driven::new(&full.io, usize::MAX);
                let form = format!("data=~m~4~m~~h~1~m~300000~m~{}", "x".repeat(300_000));
                client.script.reads = post(&target, "application/x-www-form-urlencoded", &form);
                Box::new(move || {
                    let _ = client.poll();
                    client.written().ends_with("ok")
                })
            }
        };
        assert!(!is_done(), "{way:?}: it waits");
        full.wait_until(begin + (until + 2) * SECOND);
        assert!(!is_done(), "{way:?}: it still waits");
        assert_eq!(full.io.sessions(), 2, "{way:?}");
        full.wait_until(begin + (until + 4) * SECOND);
        assert!(is_done(), "{way:?}: no longer than this");
        assert_eq!(full.io.sessions(), 2, "{way:?}");
        if way != Way::Stream {
            assert_eq!(full.heard(), 1, "{way:?}");
        }
    }
}

/// One excuse for one message: a client that says nothing ends, although a body of it has waited.
#[test]
fn a_message_that_waits_excuses_once() {
    let mut full = Full::new(Options::default());
    let begin = now();
    let target = polling(&full.io);
    fetch(&full.io, Method::Get, &target, "");
    full.wait_until(begin + 25 * SECOND + SECOND / 2);
    assert!(fetch(&full.io, Method::Get, &target, "").1.contains('2'));
    full.wait_until(begin + 44 * SECOND);
    full.fill();
    let large = format!(r#"42["e","{}"]"#, "x".repeat(300_000));
    let mut client = Driven::new(&full.io, usize::MAX);
    client.script.reads = post(&target, "text/plain", &large);
    for seconds in 44..48 {
        full.wait_until(begin + seconds * SECOND);
        let _ = client.poll();
        assert_eq!(client.written(), "", "it waits");
    }
    full.wait_until(begin + 49 * SECOND);
    let _ = client.poll();
    assert!(client.written().ends_with("ok"));
    assert_eq!(full.io.sessions(), 2);
    full.wait_until(begin + 67 * SECOND);
    assert_eq!(full.io.sessions(), 1, "it has not answered the next heartbeat");
}

/// One excuse also for a message that waits several times, because its pieces come one after the
/// other, and the answer to a heartbeat was due meanwhile.
#[test]
fn a_message_whose_pieces_wait_excuses_once() {
    let mut full = Full::new(Options::default());
    let begin = now();
    let mut client = Driven::connected(&full.io);
    full.wait_until(begin + 25 * SECOND + SECOND / 2);
    assert!(client.written().contains('2'));
    full.wait_until(begin + 44 * SECOND);
    full.fill();
    let message = format!(r#"42["e","{}"]"#, "x".repeat(300_000));
    let (first, rest) = message.split_at(70_000);
    let (middle, last) = rest.split_at(70_000);
    let mut middle = fragment(false, middle);
    middle[0] = 0;
    client.script.reads = vec![fragment(true, first), middle];
    let _ = client.poll();
    full.wait_until(begin + 46 * SECOND);
    assert!(client.written().contains('2'), "it is excused, and asked again");
    full.empty();
    let _ = client.poll();
    full.fill();
    client.script.reads = vec![fragment(false, last)];
    let _ = client.poll();
    assert_eq!(full.heard(), 0, "it waits again");
    full.wait_until(begin + 55 * SECOND);
    let _ = client.poll();
    assert_eq!(full.heard(), 1);
    let sessions = full.io.sessions();
    full.wait_until(begin + 67 * SECOND);
    assert_eq!(full.io.sessions(), sessions - 1, "it has not answered this heartbeat");
}

/// Each message has a time of its own for which it waits, also if the next one has begun before
/// anything else was read.
#[test]
fn each_message_that_waits_has_its_time() {
    let mut full = Full::new(Options::default());
    let mut client = Driven::connected(&full.io);
    full.fill();
    let message = format!(r#"42["e","{}"]"#, "x".repeat(140_000));
    let (first, rest) = message.split_at(70_000);
    let between = [fragment(false, rest), fragment(true, first)].concat();
    client.script.reads = vec![fragment(true, first), between, fragment(false, rest)];
    for handled in 0..3 {
        let _ = client.poll();
        assert_eq!(full.heard(), handled);
        full.wait_until(now() + Config::default().longest_pause().as_micros() as u64 + 1);
    }
}

/// A body that waits inside another HTTP server counts as received, and as one that is coming.
#[test]
fn a_mounted_body_that_waits_is_counted() {
    let mut full = Full::new(Options::default().max_receiving_bytes(500_000));
    let targets = [polling(&full.io), polling(&full.io)];
    full.fill();
    let open = |n: usize| ours(&full.io, head(Method::Post, &targets[n], &[("host", "x")]));
    let body = || bytes::Bytes::from(format!(r#"42["e","{}"]"#, "x".repeat(300_000)));
    let (mut first, mut other) = (open(0), open(1));
    first.body(Ok(body()));
    assert!(answer(&mut first).is_none(), "it waits");
    other.body(Ok(body()));
    assert!(
        matches!(answer(&mut other), Some(Answer::Aborted)),
        "there is no room for it"
    );
    // A second POST of the session breaks the protocol.
    let mut second = open(0);
    second.body_started();
    assert_eq!(reply(&mut second).0, 400);
    assert!(matches!(answer(&mut first), Some(Answer::Aborted)));
    // Nothing is counted any more.
    drop((first, second, other));
    assert!(open(1).receive(400_000));
}
