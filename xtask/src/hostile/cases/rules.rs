//! Rules and values of an application, on the server of `--guarded`: attacks try to switch the
//! rules off, and to let the values get stuck.

use crate::failure::Outcome;
use crate::hostile::clients;
use crate::hostile::field::{ATTACKER, Field};
use crate::hostile::session::{Part, Session, Wire};
use crate::hostile::wire;

/// Lets the application send to a namespace that a refusing pattern covers. The pattern must still
/// refuse whoever asks for it.
pub(super) fn locked(field: &Field) -> Outcome {
    for number in 0..field.times(0) {
        let name = format!("/locked-{number}");
        for (mut peer, connect, refused) in [
            (
                clients::join4(ATTACKER, field.port, None)?,
                format!("40{name},"),
                format!("44{name},"),
            ),
            (
                clients::join3(ATTACKER, field.port, None)?,
                format!("40{name}"),
                format!("44{name},"),
            ),
            (
                clients::join09(ATTACKER, field.port, None)?,
                format!("1::{name}"),
                format!("7::{name}"),
            ),
        ] {
            let address = match connect.starts_with("1::") {
                true => format!("5:::{{\"name\":\"address\",\"args\":[\"{name}\"]}}"),
                false => format!("42[\"address\",\"{name}\"]"),
            };
            let answer = peer.answer(&wire::text(&connect), &refused)?;
            // Otherwise it may be refused because nobody serves the name.
            if refused.starts_with('4') && !answer.contains("\"locked\"") {
                field.finding(format!("{name} is not refused by its rule: {answer:?}"));
            }
            peer.say(wire::text(&address))?;
            peer.say(wire::text(&connect))?;
            let answer = loop {
                let answer = String::from_utf8_lossy(&peer.message()?).into_owned();
                if answer.contains(&name) {
                    break answer;
                }
            };
            if !answer.starts_with(&refused) {
                field.finding(format!(
                    "{name} was joined after the application had named it: {answer:?}"
                ));
            }
            field.count(&peer);
        }
    }
    Ok(())
}

/// Names that nearly match a pattern with five stars, as long as a name may be. Whoever tries all
/// places of the stars needs seconds for one of them.
pub(super) fn starred(field: &Field) -> Outcome {
    let long = "a".repeat(490);
    let mut asked = 0;
    for _ in 0..field.size(20, 200) {
        let mut peer = clients::join4(ATTACKER, field.port, None)?;
        // A name that matches is refused by the pattern's rule.
        let answer = peer.answer(&wire::text("40/starred-xaxaxaxaxb,"), "44/starred-x")?;
        if !answer.contains("\"starred\"") {
            field.finding(format!("the pattern does not match: {answer:?}"));
        }
        let names: Vec<u8> = (0..100)
            .flat_map(|number| wire::text(&format!("40/starred-{long}{number},")))
            .collect();
        peer.say(names)?;
        for _ in 0..100 {
            let answer = peer.message_with("44/starred-a")?;
            if answer.contains("\"starred\"") {
                field.finding("the pattern matches a name that does not end as it does");
            }
            asked += 1;
        }
        field.count(&peer);
    }
    field.assert_least("names that were refused", asked, field.size(2000, 20_000) as u64);
    Ok(())
}

/// Sockets keep a value that asks the server, and sends a message, when it is dropped. They leave
/// in every way that there is.
pub(super) fn values(field: &Field) -> Outcome {
    let mut witness = clients::join4(ATTACKER, field.port, None)?;
    witness.say(wire::text("421[\"join\",\"looks-back\"]"))?;
    witness.message_with("431")?;
    let keep = Part::Text("42[\"keep\"]".to_owned());
    let (mut left, mut heard) = (0, 0);
    for wire in [Wire::WebSocket4, Wire::Polling4, Wire::WebSocket3, Wire::Polling3] {
        for number in 0..field.times(0) {
            let mut session = Session::open(field, wire)?;
            // The second value takes the place of the first.
            session.send(&[keep.clone(), keep.clone()])?;
            session.alive()?;
            field.count(&session.peer);
            let end = ["41", "1", "47", ""][number % 4];
            match end {
                "" => session.peer.reset(),
                end => drop(session.send(&[Part::Text(end.to_owned())])),
            }
            left += 2;
            // The witness has heartbeats of its own to answer.
            for message in witness.waiting_messages()? {
                heard += u32::from(message.starts_with(b"42[\"gone\""));
                if message == b"2" {
                    witness.say(wire::text("3"))?;
                }
            }
        }
    }
    // Sessions that poll end when their heartbeat is not answered.
    while heard < left {
        match witness.message_with("42[\"gone\"") {
            Ok(_) => heard += 1,
            Err(why) => {
                field.finding(format!("of {left} values {heard} were dropped: {why}"));
                break;
            }
        }
    }
    field.count(&witness);
    Ok(())
}

/// The server asks its clients many questions, and all of them are answered: their deadlines must
/// not stay.
pub(super) fn questions(field: &Field) -> Outcome {
    let mut peers = Vec::new();
    for _ in 0..4 {
        peers.push(clients::join4(ATTACKER, field.port, None)?);
    }
    let mut answered = 0;
    for _ in 0..field.size(500, 5000) {
        for peer in &mut peers {
            for _ in 0..10 {
                peer.say(wire::text("42[\"ask-me\",1]"))?;
            }
            for _ in 0..10 {
                let asked = peer.message_with("42")?;
                // A question has an id, which the answer repeats.
                let id: String = asked[2..].chars().take_while(char::is_ascii_digit).collect();
                if !id.is_empty() {
                    peer.say(wire::text(&format!("43{id}[1]")))?;
                    answered += 1;
                }
            }
        }
    }
    // A part of the messages that were read are the server's answers to these answers.
    field.assert_least(
        "questions that were answered",
        answered,
        field.size(5000, 50_000) as u64,
    );
    let timers = clients::stats(ATTACKER, field.port)?["held"]["timers"].as_u64();
    // Each session has a few timers of its own.
    if timers.is_none_or(|timers| timers > 60) {
        field.finding(format!("{timers:?} timers are left of answered questions"));
    }
    peers.iter().for_each(|peer| field.count(peer));
    Ok(())
}
