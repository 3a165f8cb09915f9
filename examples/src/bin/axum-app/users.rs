//! The users who are logged in: their names, found by token. A browser sends the token as a cookie;
//! other clients send it in `Authorization: Bearer …`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE};

/// The most people who are logged in. When there are more, the one who logged in first is logged
/// out.
const MAX_USERS: usize = 10_000;
/// The most characters of a name.
const MAX_NAME: usize = 32;

/// The name of the cookie.
pub(crate) const TOKEN: &str = "token";

/// A user who has logged in. The middleware puts this value into the extensions of a request.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) name: Arc<str>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Users(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    by_token: BTreeMap<String, User>,
    oldest_first: VecDeque<String>,
}

impl Users {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs a user in. Returns the token, or `None` if the name is empty.
    pub(crate) fn enter(&self, name: &str) -> Option<String> {
        let name: String = name.trim().chars().take(MAX_NAME).collect();
        if name.is_empty() {
            return None;
        }
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).ok()?;
        let token = format!("{:032x}", u128::from_be_bytes(secret));
        let mut table = self.table();
        if table.oldest_first.len() == MAX_USERS
            && let Some(oldest) = table.oldest_first.pop_front()
        {
            table.by_token.remove(&oldest);
        }
        table.oldest_first.push_back(token.clone());
        table.by_token.insert(token.clone(), User { name: name.into() });
        Some(token)
    }

    pub(crate) fn leave(&self, headers: &HeaderMap) {
        let Some(token) = token(headers) else { return };
        let mut table = self.table();
        table.by_token.remove(token);
        table.oldest_first.retain(|other| other != token);
    }

    /// Returns the user whose request this is.
    pub(crate) fn find(&self, headers: &HeaderMap) -> Option<User> {
        self.table().by_token.get(token(headers)?).cloned()
    }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some(token) = bearer.and_then(|value| value.strip_prefix("Bearer ")) {
        return Some(token);
    }
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(TOKEN)?.strip_prefix('='))
}
