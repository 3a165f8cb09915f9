//! The work that a query costs, counted in steps. They are counted for the whole process, so no
//! other test stands here.
#![cfg(feature = "steps")]
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;

use common::*;
use sio_proto::{Config, steps_taken};

const QUERY: &str = "?EIO=4&transport=polling";

/// Hardening A15. The cost of a request depends on the length of its query, not on the content: the
/// query is walked over once by each that needs it.
#[test]
fn a_query_is_walked_over_once() {
    let steps = |filling: &str| {
        let target = format!("/socket.io/{QUERY}&{}", filling.repeat(7_800 / filling.len()));
        let mut world = World::new(Config::default());
        let before = steps_taken();
        let answer = world.ask(&get(&target));
        assert_eq!(status(&answer), 200);
        steps_taken() - before
    };
    let plain = steps("a");
    assert!(plain > 7_800, "{plain}: each byte is looked at");
    for filling in ["&", "a&", "a=&", "%73=&", "%73&", "="] {
        let spent = steps(filling);
        assert!(spent <= 3 * plain, "{filling}: {spent}, and {plain} for letters");
    }
}
