//! Refused requests: they are counted, and reported to an application that asks for reports.

use super::recording::noted;
use super::{Core, Delivery, Input, LinkId, Refused, Request, Shard, Write};
use crate::request::Refusing;
use crate::server::Body;

impl Shard {
    /// Sets whether refused requests are reported ([`Delivery::ConnectionError`]). Default false:
    /// then they cost only their answers.
    pub fn tell_connection_errors(&mut self, tell: bool) {
        noted!(
            self,
            None,
            None,
            None,
            |line, _| {
                line.tell_errors(tell);
                false
            },
            {
                self.core.tells_errors = tell;
            }
        )
    }
}

impl Core {
    /// Counts the answers that refuse one request.
    pub(super) fn count_refusals(&mut self, by_application: bool, writes: &[Write]) {
        for write in writes {
            step!();
            let Write::Response(_, response) = write else { continue };
            if response.status < 400 {
                continue;
            }
            let why = match response.status {
                401 | 403 if by_application => Refused::Application,
                401 | 403 => Refused::Forbidden,
                503 if self.shutting_down => Refused::ShuttingDown,
                503 => Refused::Full,
                _ => Refused::BadRequest,
            };
            self.counters.refuse(why);
        }
    }
}

impl Input<'_> {
    /// Reports a refused request, if the caller asks for reports.
    pub(crate) fn tell_connection_error(&mut self, request: &Request, refusing: Refusing<'_>) {
        if self.shard.core.tells_errors {
            self.out
                .deliveries
                .push(Delivery::ConnectionError(request.refused(refusing)));
        }
    }

    /// Reports a request that a generation has refused without further text. `before` counts the
    /// writes and deliveries before the request.
    pub(super) fn tell_refusal(&mut self, request: &Request, link: LinkId, before: (usize, usize)) {
        if !self.shard.core.tells_errors {
            return;
        }
        let deliveries = &self.out.deliveries[before.1..];
        let told = deliveries
            .iter()
            .any(|delivery| matches!(delivery, Delivery::ConnectionError(_)));
        let context = deliveries.iter().find_map(|delivery| match delivery {
            Delivery::Stranger(stranger) => Some(stranger.why.explain()),
            _ => None,
        });
        let response = self.out.writes[before.0..].iter().find_map(|write| match write {
            Write::Response(its, response) if *its == link && response.status >= 400 => Some(response),
            _ => None,
        });
        let Some(response) = response.filter(|_| !told) else {
            return;
        };
        let message = match &response.body {
            Body::Bytes(bytes) if !bytes.is_empty() => &bytes[..],
            Body::Bytes(_) | Body::Packets(..) => crate::http::reason_phrase(response.status).as_bytes(),
        };
        let refused = request.refused(Refusing {
            status: response.status,
            code: None,
            message,
            context,
        });
        self.out.deliveries.push(Delivery::ConnectionError(refused));
    }
}
