//! The room: the people who are in it, and what was said.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The most entries that are kept for people who come later.
const MAX_HISTORY: usize = 200;
/// The most characters of one message.
const MAX_TEXT: usize = 2_000;
/// The most characters of a name.
const MAX_NAME: usize = 32;

/// A person in the room.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) name: String,
    generation: &'static str,
    transport: &'static str,
}

/// One thing that happened in the room.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    n: u64,
    kind: &'static str,
    id: String,
    name: String,
    generation: &'static str,
    transport: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    at: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Room {
    people: Vec<Person>,
    history: VecDeque<Entry>,
    count: u64,
}

impl Room {
    /// A person enters the room, or says a name again.
    pub(crate) fn enter(
        &mut self,
        id: &str,
        name: &str,
        generation: &'static str,
        transport: &'static str,
    ) -> (Person, Option<Entry>) {
        let name = shorten(name, MAX_NAME).unwrap_or_else(|| format!("guest {}", self.count % 1000));
        if let Some(person) = self.people.iter().find(|p| p.id == id) {
            return (person.clone(), None);
        }
        let person = Person {
            id: id.to_owned(),
            name,
            generation,
            transport,
        };
        self.people.push(person.clone());
        let entry = self.record("join", &person, None);
        (person, Some(entry))
    }

    pub(crate) fn leave(&mut self, id: &str) -> Option<Entry> {
        let at = self.people.iter().position(|p| p.id == id)?;
        let person = self.people.remove(at);
        Some(self.record("leave", &person, None))
    }

    /// Gives a person a new name. The entry carries the new name, and the old name as its text.
    pub(crate) fn rename(&mut self, id: &str, name: &str) -> Option<Entry> {
        let name = shorten(name, MAX_NAME)?;
        let person = self.people.iter_mut().find(|p| p.id == id && p.name != name)?;
        let old = std::mem::replace(&mut person.name, name);
        let person = person.clone();
        Some(self.record("rename", &person, Some(old)))
    }

    pub(crate) fn say(&mut self, id: &str, text: &str, transport: &'static str) -> Result<Entry, &'static str> {
        let text = text.trim();
        if text.is_empty() {
            return Err("there is nothing in it");
        }
        if text.chars().count() > MAX_TEXT {
            return Err("that is too long");
        }
        let person = self.people.iter_mut().find(|p| p.id == id).ok_or("say hello first")?;
        person.transport = transport;
        let person = person.clone();
        Ok(self.record("say", &person, Some(text.to_owned())))
    }

    pub(crate) fn knows(&self, id: &str) -> bool {
        self.people.iter().any(|p| p.id == id)
    }

    pub(crate) fn present(&self) -> Vec<Person> {
        self.people.clone()
    }

    pub(crate) fn history(&self) -> Vec<Entry> {
        self.history.iter().cloned().collect()
    }

    fn record(&mut self, kind: &'static str, person: &Person, text: Option<String>) -> Entry {
        self.count += 1;
        let entry = Entry {
            n: self.count,
            kind,
            id: person.id.clone(),
            name: person.name.clone(),
            generation: person.generation,
            transport: person.transport,
            text,
            at: now_millis(),
        };
        if self.history.len() == MAX_HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(entry.clone());
        entry
    }
}

/// Removes control characters and the blanks around a text, and cuts it to `max` characters.
/// Returns `None` if nothing is left.
fn shorten(name: &str, max: usize) -> Option<String> {
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(max).collect();
    (!name.is_empty()).then_some(name)
}

#[expect(
    clippy::disallowed_methods,
    reason = "entries carry the time of day, which no machine depends on"
)]
fn now_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_short_and_in_order() {
        let mut room = Room::default();
        room.enter("a", " Ada\u{7} ", "4.x", "websocket");
        for n in 0..MAX_HISTORY {
            assert!(room.say("a", &format!("m{n}"), "websocket").is_ok());
        }
        let history = room.history();
        assert_eq!(history.len(), MAX_HISTORY);
        assert!(history.windows(2).all(|w| w[0].n + 1 == w[1].n));
        assert_eq!(history[0].text.as_deref(), Some("m0"));
        assert_eq!(room.present()[0].name, "Ada");
    }

    #[test]
    fn only_who_is_there_can_speak_and_leave() {
        let mut room = Room::default();
        assert!(room.say("a", "hi", "polling").is_err());
        assert!(room.leave("a").is_none());
        room.enter("a", "", "0.6", "polling");
        assert!(room.enter("a", "again", "0.6", "polling").1.is_none());
        assert!(room.say("a", "  ", "polling").is_err());
        assert!(room.say("a", &"x".repeat(MAX_TEXT + 1), "polling").is_err());
        assert!(
            room.rename("a", "Bea")
                .is_some_and(|e| e.text.as_deref() == Some("guest 0"))
        );
        assert!(room.leave("a").is_some());
        assert!(room.present().is_empty());
    }
}
