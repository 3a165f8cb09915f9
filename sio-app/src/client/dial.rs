//! A TCP connection to one of the addresses of a name (RFC 8305, "Happy Eyeballs").
//!
//! ```text
//!   addresses, the families in turns ─► try one ─► it fails, or does not answer for a while
//!                                          ▲                        │
//!                                          └──── the next one ──────┘
//! ```
//! An address that does not answer is still waited for while the next one is tried. The first
//! connection that stands wins, and the other attempts are given up. So a name with an address that
//! leads nowhere costs a quarter of a second, and not the whole time for an attempt.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use super::network::{Dialing, Network, Sleeping};

/// How long one address is waited for before the next one is tried, too (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// How many addresses of one name are tried.
const MAX_ADDRESSES: usize = 8;

/// A connection to one address.
type Attempt<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// Connects to a host by its name or its address.
pub(crate) fn dial(network: Network, host: String, port: u16) -> Dialing {
    Box::pin(async move {
        let addresses = in_turns((network.resolve)(host, port).await?);
        race(addresses, network.connect, || (network.sleep)(HEAD_START)).await
    })
}

/// The addresses that are tried: those of both families in turns, beginning with the one that the
/// resolver prefers (RFC 8305 §4).
pub(super) fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let prefers_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, others): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == prefers_ipv6);
    let (mut preferred, mut others) = (preferred.into_iter(), others.into_iter());
    let mut ordered = Vec::new();
    while ordered.len() < MAX_ADDRESSES {
        let pair = [preferred.next(), others.next()];
        if pair == [None, None] {
            break;
        }
        ordered.extend(pair.into_iter().flatten());
    }
    ordered.truncate(MAX_ADDRESSES);
    ordered
}

/// Tries the addresses, each with a head start over the next one. Returns the first connection, or
/// the last error.
async fn race<T>(
    addresses: Vec<SocketAddr>,
    mut connect: impl FnMut(SocketAddr) -> Attempt<T>,
    mut head_start: impl FnMut() -> Sleeping,
) -> io::Result<T> {
    let mut untried = addresses.into_iter();
    let mut attempts: Vec<Attempt<T>> = Vec::new();
    let mut waiting: Option<Sleeping> = None;
    let no_address = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut last = no_address();
    poll_fn(|cx| {
        loop {
            let mut is_due = false;
            let mut at = 0;
            while let Some(attempt) = attempts.get_mut(at) {
                match attempt.as_mut().poll(cx) {
                    Poll::Pending => at += 1,
                    Poll::Ready(Ok(connection)) => return Poll::Ready(Ok(connection)),
                    Poll::Ready(Err(error)) => {
                        last = error;
                        drop(attempts.swap_remove(at));
                        is_due = true;
                    }
                }
            }
            let is_late = |waiting: &mut Sleeping| waiting.as_mut().poll(cx).is_ready();
            is_due |= attempts.is_empty() || waiting.as_mut().is_some_and(is_late);
            if !is_due {
                return Poll::Pending;
            }
            let Some(address) = untried.next() else {
                waiting = None;
                return match attempts.is_empty() {
                    true => Poll::Ready(Err(std::mem::replace(&mut last, no_address()))),
                    false => Poll::Pending,
                };
            };
            attempts.push(connect(address));
            waiting = Some(head_start());
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Waker};

    use super::*;

    /// The last part of an address says what becomes of it.
    const NOWHERE: u8 = 1;
    const REFUSED: u8 = 2;
    const THERE: u8 = 3;
    /// It answers when the others have had their head start.
    const SLOW: u8 = 4;

    fn address(number: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, number], 80))
    }

    fn ipv6(number: u16) -> SocketAddr {
        SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, number], 80))
    }

    /// A race on a clock that the test moves: so many head starts are over.
    struct Race {
        running: Pin<Box<dyn Future<Output = io::Result<SocketAddr>>>>,
        over: Arc<AtomicUsize>,
        tried: Arc<Mutex<Vec<u8>>>,
    }

    impl Race {
        fn begin(numbers: &[u8]) -> Self {
            let (over, tried) = (Arc::new(AtomicUsize::new(0)), Arc::<Mutex<Vec<u8>>>::default());
            let (clock, log) = (Arc::clone(&over), Arc::clone(&tried));
            let connect = move |to: SocketAddr| {
                let SocketAddr::V4(ip) = to else { unreachable!() };
                let number = ip.ip().octets()[3];
                log.lock().unwrap().push(number);
                let clock = Arc::clone(&clock);
                Box::pin(async move {
                    match number {
                        NOWHERE => pending().await,
                        REFUSED => Err(io::ErrorKind::ConnectionRefused.into()),
                        SLOW => {
                            passed(clock, 2).await;
                            Ok(to)
                        }
                        _ => Ok(to),
                    }
                }) as Attempt<SocketAddr>
            };
            let (clock, mut begun) = (Arc::clone(&over), 0);
            let head_start = move || {
                begun += 1;
                Box::pin(passed(Arc::clone(&clock), begun)) as Sleeping
            };
            let addresses = numbers.iter().copied().map(address).collect();
            let running = Box::pin(race(addresses, connect, head_start));
            Self { running, over, tried }
        }

        fn poll(&mut self) -> Poll<io::Result<SocketAddr>> {
            self.running.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        }

        /// The time of one more head start passes.
        fn pass(&mut self) -> Poll<io::Result<SocketAddr>> {
            self.over.fetch_add(1, Ordering::Relaxed);
            self.poll()
        }

        fn tried(&self) -> Vec<u8> {
            self.tried.lock().unwrap().clone()
        }
    }

    /// Waits until so many head starts are over. It must not be polled again behind its end.
    async fn passed(clock: Arc<AtomicUsize>, many: usize) {
        poll_fn(|_| match clock.load(Ordering::Relaxed) >= many {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    fn connected(result: &Poll<io::Result<SocketAddr>>) -> Option<SocketAddr> {
        match result {
            Poll::Ready(Ok(address)) => Some(*address),
            _ => None,
        }
    }

    #[test]
    fn families_take_turns_and_the_preferred_one_begins() {
        let all = vec![ipv6(1), ipv6(2), ipv6(3), address(1), address(2)];
        assert_eq!(in_turns(all), [ipv6(1), address(1), ipv6(2), address(2), ipv6(3)]);
        assert_eq!(in_turns(vec![address(1), ipv6(1)]), [address(1), ipv6(1)]);
        assert_eq!(in_turns((0..20).map(address).collect()).len(), MAX_ADDRESSES);
        assert_eq!(in_turns(vec![]), []);
    }

    #[test]
    fn an_address_that_leads_nowhere_does_not_keep_the_others() {
        let mut race = Race::begin(&[NOWHERE, THERE]);
        assert!(race.poll().is_pending());
        assert_eq!(race.tried(), [NOWHERE]);
        assert_eq!(connected(&race.pass()), Some(address(THERE)));
    }

    #[test]
    fn who_is_slow_may_still_win() {
        let mut race = Race::begin(&[SLOW, NOWHERE]);
        assert!(race.poll().is_pending() && race.pass().is_pending());
        assert_eq!(race.tried(), [SLOW, NOWHERE]);
        assert_eq!(connected(&race.pass()), Some(address(SLOW)));
    }

    #[test]
    fn a_refusal_is_followed_by_the_next_address_at_once() {
        let mut race = Race::begin(&[REFUSED, REFUSED, THERE]);
        assert_eq!(connected(&race.poll()), Some(address(THERE)));
        assert_eq!(race.tried(), [REFUSED, REFUSED, THERE]);
    }

    #[test]
    fn the_last_error_is_told_when_nobody_is_left() {
        let failed = |result| match result {
            Poll::Ready(Err::<SocketAddr, io::Error>(error)) => Some(error.kind()),
            _ => None,
        };
        let refused = Some(io::ErrorKind::ConnectionRefused);
        assert_eq!(failed(Race::begin(&[REFUSED, REFUSED]).poll()), refused);
        assert_eq!(failed(Race::begin(&[]).poll()), Some(io::ErrorKind::NotFound));
        // Whoever does not answer is waited for: the attempt has its own time.
        let mut race = Race::begin(&[NOWHERE, REFUSED]);
        assert!(race.poll().is_pending() && race.pass().is_pending() && race.pass().is_pending());
    }
}
