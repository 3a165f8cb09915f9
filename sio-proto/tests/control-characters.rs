//! Control characters in long texts. A decoder that has unmasked a text says whether it has any,
//! and then they are not looked for again.

mod common;

use common::*;
use sio_proto::Config;

/// RFC 8259 §7: a string has no control characters. The longer texts are unmasked and looked at in
/// one go, and their frames may come in pieces, behind others, or in several fragments.
#[test]
fn a_control_character_in_a_long_text_is_found_however_it_comes() {
    for len in [100, 300, 5_000, 70_000] {
        for (bad, at) in [(b'\x01', 0), (b'\x1f', len / 2), (b'\n', len - 1)] {
            let good = format!(r#"42["clean","{}"]"#, "x".repeat(len));
            let mut value = vec![b'x'; len];
            value[at] = bad;
            let value = String::from_utf8(value).unwrap_or_default();
            let spoilt = format!(r#"42["spoilt","{value}"]"#);
            for (before, piece) in [(false, usize::MAX), (true, usize::MAX), (false, 1_000), (true, 97)] {
                let mut world = World::new(Config::default());
                let link = world.join();
                world.heard();
                let mut bytes = Vec::new();
                if before {
                    bytes.extend(text(&good));
                }
                bytes.extend(text(&spoilt));
                for piece in bytes.chunks(piece) {
                    world.send(link, piece);
                }
                let heard = world.heard().join("\n");
                let what = format!("{len} bytes, {bad:#x} at {at}, in pieces of {piece}: {heard:.200}");
                assert_eq!(heard.contains("clean"), before, "{what}");
                assert!(!heard.contains("spoilt"), "{what}");
                assert!(!world.breaches.is_empty(), "{what}");
            }
        }
    }
}
