//! Events that are confirmed, over the sockets of the adapter and a relay that cuts connections.

use std::sync::mpsc;
use std::time::Duration;

use sio_app::client::{AckError, Outcome};
use sio_app::{Ack, Socket};

use super::client::{Relay, run, url, ways};
use super::{heard, serve};

/// How often the connection is cut.
const CUTS: u32 = 5;

/// How many events are sent between two cuts.
const EVENTS: u32 = 30;

/// Recovery R11, F13: each event is handled once and in order, and the user is told of each what
/// has become of it.
#[test]
fn r11_events_are_handled_once_over_cuts() {
    for transports in ways() {
        let (tell, told) = mpsc::channel();
        let server = serve(|io| {
            let tell_asked = tell.clone();
            io.of("/")
                .recovery(true)
                .on("count", move |_: Socket, number: u32| {
                    tell.send(number).unwrap_or_default();
                })
                .on("ask", move |_: Socket, number: u32, ack: Ack| {
                    tell_asked.send(number).unwrap_or_default();
                    ack.send(number);
                });
        });
        let relay = Relay::to(&server);
        let url = url(relay.address);
        run(async move {
            let builder = crate::client(&url).transports(transports).config(|config| {
                let delay = Duration::from_millis(50);
                config
                    .confirm_events(true)
                    .reconnection_delay(delay)
                    .reconnection_delay_max(delay)
                    .max_attempts_per_minute(1000)
            });
            let client = builder.build().unwrap();
            let root = client.of("/").unwrap();
            root.connect().unwrap();
            let (mut receipts, mut answers, mut next) = (Vec::new(), Vec::new(), 0);
            for cut in 0..=CUTS {
                let numbers = cut * EVENTS..(cut + 1) * EVENTS;
                for number in numbers.clone() {
                    match number % 10 {
                        9 => answers.push((number, root.emit_with_ack::<u32>("ask", number))),
                        _ => receipts.push(root.emit_with_receipt("count", number).unwrap()),
                    }
                }
                // Some of them have arrived, and others are on the way.
                let first = numbers.start + cut;
                while next <= first {
                    assert_eq!(heard(&told), next);
                    next += 1;
                }
                if cut < CUTS {
                    relay.cut();
                }
            }
            while next < (CUTS + 1) * EVENTS {
                assert_eq!(heard(&told), next);
                next += 1;
            }
            for receipt in receipts {
                let outcome = receipt.await;
                assert!(matches!(outcome, Outcome::Confirmed), "{outcome:?}");
            }
            for (number, answer) in answers {
                match answer.await {
                    Ok(answer) => assert_eq!(answer, number),
                    Err(error) => assert!(matches!(error, AckError::Unanswered), "{error:?}"),
                }
            }
            assert!(told.try_recv().is_err(), "nothing is handled twice");
        });
    }
}
