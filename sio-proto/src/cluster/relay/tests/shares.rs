//! The room for bytes is shared by client addresses.

use super::*;

/// A client has many relays that hold a little each, and fills the room. A neighbour with one large
/// relay, and one that begins, have their shares all the same.
#[test]
fn an_address_with_many_small_relays_loses_nothing_of_others() {
    let config = config().max_total_waiting_bytes(60_000_usize);
    let mut world = World::new(2, &config);
    let neighbour = world.open_for("198.51.100.7:1", 0, 1, &[1; 12_000]).unwrap();
    // 48 of them fit beside the neighbour.
    let many: Vec<_> = (0..80)
        .map(|number| {
            world
                .open_for(&alloc::format!("192.0.2.1:{number}"), 0, 1, &[2; 1_000])
                .unwrap()
        })
        .collect();
    world.settle();
    let ended = |world: &World, lines: &[LineId]| lines.iter().filter(|line| world.seen(0, **line).ends > 0).count();
    assert_eq!((ended(&world, &[neighbour]), ended(&world, &many)), (0, 80 - 48));
    let begins = world.open_for("203.0.113.9:1", 0, 1, &[3; 12_000]).unwrap();
    world.settle();
    assert_eq!(ended(&world, &[neighbour, begins]), 0);
    assert_eq!(world.seen(1, world.other(begins)).bytes.len(), 12_000);
    assert!(world.counters(1).waiting_bytes <= 60_000);
    // The relays of one subscriber with IPv6 are one share.
    for number in 0..80 {
        let client = alloc::format!("[2001:db8::{number:x}]:1");
        world.open_for(&client, 0, 1, &[4; 1_000]).unwrap();
    }
    world.settle();
    assert_eq!(ended(&world, &[neighbour, begins]), 0);
    let shares = [("192.0.2.1", 2), ("2001:db8::", 4)].map(|(_, mark): (&str, u8)| {
        let seen = world.nodes[1].seen.values();
        let open = seen.filter(|seen| seen.ends == 0 && seen.bytes[0] == mark);
        open.map(|seen| seen.waiting).sum::<usize>()
    });
    assert!(
        shares.iter().all(|share| (16_000..20_000).contains(share)),
        "{shares:?}"
    );
}

/// A share that was given up is free again, however the relay has ended.
#[test]
fn what_has_gone_takes_no_room() {
    let mut world = World::new(2, &config());
    for round in 0..4 {
        let line = world.open(0, 1, &[1; 9_000]).unwrap();
        world.settle();
        let there = world.other(line);
        match round {
            0 => world.act(1, |relays, now, out| relays.reset(now, there, Reset::Failed, out)),
            1 => world.act(0, |relays, now, out| relays.reset(now, line, Reset::Closed, out)),
            2 => world.act(1, |relays, now, out| relays.keep(now, there, 0, out)),
            _ => {
                world.act(1, |relays, now, out| {
                    relays.send(now, there, b"x", Some(Final::Closes), out)
                });
            }
        }
        world.settle();
        assert!(world.nodes.iter().all(|node| node.relays.room.is_empty()), "{round}");
    }
}
