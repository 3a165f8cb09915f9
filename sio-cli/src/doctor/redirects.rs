//! Where redirects lead that answer a handshake.

use sio_proto::http::Response;

use super::wire::{Ask, Site};
use crate::explain::shown;

/// The most redirects that are followed. Browsers follow twenty.
const MAX: usize = 10;

/// Whether an answer is a redirect (RFC 9110 §15.4).
pub(super) const fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Follows redirects as long as they stay at the server. Returns what was found, and what to do.
pub(super) async fn follow(site: &Site<'_>, first: &Response) -> (String, &'static str) {
    let status = first.status;
    let mut seen = vec![site.engine(4, "polling", None)];
    let mut response = first.clone();
    while is_redirect(response.status) {
        let location = response.headers.text("location").unwrap_or_default();
        let Some(next) = place(site, &location) else {
            let what = match location.is_empty() {
                true => format!("{status}: a redirection without a Location"),
                false => format!("{status}: redirected to {}", shown(&location, 100)),
            };
            return (what, ELSEWHERE);
        };
        if seen.contains(&next) {
            let what = format!("{status}: redirected in a circle, to {} again", shown(&next, 100));
            return (what, CIRCLE);
        }
        if seen.len() > MAX {
            let what = format!(
                "{status}: more than {MAX} redirections, the last one to {}",
                shown(&next, 100)
            );
            return (what, CIRCLE);
        }
        response = match site.ask(&Ask::get(&next)).await {
            Ok(response) => response,
            Err(trouble) => {
                let what = format!(
                    "{status}: redirected to {}, and there: {}",
                    shown(&next, 100),
                    trouble.words()
                );
                return (what, ELSEWHERE);
            }
        };
        seen.push(next);
    }
    let last = seen.last().map_or("", String::as_str);
    let what = format!(
        "{status}: redirected to {}, which answers {}",
        shown(last, 100),
        response.status
    );
    (what, ELSEWHERE)
}

const ELSEWHERE: &str = "use the URL of the redirection: browsers follow it for polls, but no websocket does";

const CIRCLE: &str = "the server or its proxy redirects each request for this path: leave the path of Socket.IO out of that \
                      rule (a rule for https or for www that does not see that the request has come so already: look at \
                      X-Forwarded-Proto; a login; a slash at the end)";

/// The path and the query of a location, if it is at the same server.
fn place(site: &Site<'_>, location: &str) -> Option<String> {
    let rest = match location.split_once("://") {
        None => location,
        Some((scheme, rest)) => {
            let begin = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at(begin);
            let is_same = format!("{scheme}://{authority}").eq_ignore_ascii_case(&site.target.origin());
            is_same.then_some(rest)?
        }
    };
    let rest = rest.split('#').next().unwrap_or_default();
    (rest.starts_with('/') && !rest.starts_with("//")).then(|| rest.to_owned())
}
