//! The writes of one flush: taken out of a shard under its lock, and written without it.

use std::sync::Arc;

use sio_proto::server::{Outputs, Write};
use sio_proto::{Frame, LinkId};

use crate::link::{Claim, Item, Link, Pen, Progress, taken};
use crate::trim::trim;
use crate::turn::links::Links;

/// The writes that one flush takes out of the shard, on their way to the links.
#[derive(Default)]
pub(crate) struct Batch {
    /// Frames for idle links that have been claimed for them, and nothing else goes to these links.
    /// This is the usual case. A frame without a link is dropped.
    frames: Vec<(Option<Arc<Link>>, LinkId, Frame)>,
    /// Two frames of this kind, as a message with one attachment has.
    pair: Option<(Option<Arc<Link>>, LinkId, [Frame; 2])>,
    writes: Vec<Write>,
    groups: Vec<Group>,
    pen: Pen,
}

/// The next `count` writes go to this link. `None` if the link could not be claimed.
struct Group {
    link: Option<(Arc<Link>, Claim)>,
    id: LinkId,
    count: usize,
}

impl Batch {
    /// Claims the links of the writes, in order. The writes of one link stand together. This runs
    /// under the shard's lock. Returns how many packets the writes have.
    pub(super) fn collect(&mut self, links: &Links, out: &mut Outputs) -> usize {
        debug_assert!(self.writes.is_empty(), "what was taken out before has been written");
        if let [Write::Frame(..)] = &out.writes[..]
            && let Some(Write::Frame(id, frame)) = out.writes.pop()
        {
            self.collect_frame(links, id, frame);
            return 1;
        }
        std::mem::swap(&mut self.writes, &mut out.writes);
        let mut packets = 0;
        let mut rest = &mut self.writes[..];
        let mut next = rest.first().map(Write::link);
        while let Some(id) = next {
            let mut count = 0;
            next = None;
            for write in &*rest {
                let link = write.link();
                if link != id {
                    next = Some(link);
                    break;
                }
                packets += write.packets();
                count += 1;
            }
            let (run, others) = std::mem::take(&mut rest).split_at_mut(count);
            rest = others;
            let link = links.get(id).and_then(|link| {
                let claim = link.claim(&mut taken(run))?;
                Some((Arc::clone(link), claim))
            });
            self.groups.push(Group { link, id, count });
        }
        packets
    }

    /// Claims the link of a frame, as [`Batch::collect`] does. It is the only write for this link.
    #[inline]
    pub(super) fn collect_frame(&mut self, links: &Links, id: LinkId, frame: Frame) {
        match links.get(id) {
            Some(link) if link.claim_idle() => self.frames.push((Some(Arc::clone(link)), id, frame)),
            Some(link) => self.collect_for_busy(link, id, frame),
            // It is dropped when the lock is not held.
            None => self.frames.push((None, id, frame)),
        }
    }

    /// Does the same for two frames, which are the only writes for this link. There is at most one
    /// pair in a flush.
    #[inline(never)]
    pub(super) fn collect_pair(&mut self, links: &Links, id: LinkId, pair: [Frame; 2]) {
        debug_assert!(self.pair.is_none(), "what was taken out before has been written");
        match links.get(id) {
            Some(link) if link.claim_idle() => self.pair = Some((Some(Arc::clone(link)), id, pair)),
            Some(link) => {
                let mut pair = pair.into_iter();
                let claim = link.claim(&mut pair.by_ref().map(Item::Frame));
                match (claim, pair.next(), pair.next()) {
                    // It has become idle since the caller looked.
                    (Some(Claim::Clear), Some(first), Some(second)) => {
                        self.pair = Some((Some(Arc::clone(link)), id, [first, second]));
                    }
                    (Some(claim), ..) => self.groups.push(Group {
                        link: Some((Arc::clone(link), claim)),
                        id,
                        count: 0,
                    }),
                    (None, ..) => {}
                }
            }
            // They are dropped when the lock is not held.
            None => self.pair = Some((None, id, pair)),
        }
    }

    /// Does the same for a link to which something else goes before the frame.
    #[cold]
    fn collect_for_busy(&mut self, link: &Arc<Link>, id: LinkId, frame: Frame) {
        let mut frame = Some(frame);
        let claim = link.claim(&mut std::iter::from_fn(|| frame.take().map(Item::Frame)));
        match (claim, frame) {
            // It has become idle since the caller looked.
            (Some(Claim::Clear), Some(frame)) => self.frames.push((Some(Arc::clone(link)), id, frame)),
            (Some(claim), _) => self.groups.push(Group {
                link: Some((Arc::clone(link), claim)),
                id,
                count: 0,
            }),
            (None, _) => {}
        }
    }

    pub(super) fn write(&mut self, block: impl Fn(LinkId, &Link)) {
        for (link, id, frame) in self.frames.drain(..) {
            let Some(link) = link else { continue };
            match link.write_frame(&mut self.pen, &frame) {
                Progress::Done => {}
                Progress::Full | Progress::Stuck => block(id, &link),
                Progress::Resting => link.rest(),
            }
        }
        // Most flushes have none, and taking it out moves much.
        if self.pair.is_some() {
            self.write_pair(&block);
        }
        if self.groups.is_empty() {
            return self.writes.clear();
        }
        let mut rest = &mut self.writes[..];
        for Group { link, id, count } in self.groups.drain(..) {
            let (run, others) = std::mem::take(&mut rest).split_at_mut(count);
            rest = others;
            let Some((link, claim)) = link else { continue };
            let progress = match (&mut *run, claim) {
                ([Write::Frame(_, frame)], Claim::Clear) => link.write_frame(&mut self.pen, frame),
                ([Write::Response(_, response)], Claim::Clear) if link.writes_whole(response) => {
                    let progress = link.write_answer(&mut self.pen, response);
                    if let [write] = run
                        && let Write::Response(_, response) = std::mem::replace(write, Write::Abort(id))
                    {
                        self.pen.keep(response);
                    }
                    progress
                }
                (run, Claim::Clear) => link.write_several(&mut self.pen, run),
                // The writes are in the queue, behind older ones.
                (_, Claim::Queued) => link.write(&mut self.pen, &mut std::iter::empty()),
            };
            match progress {
                Progress::Done => {}
                Progress::Full | Progress::Stuck => block(id, &link),
                Progress::Resting => link.rest(),
            }
        }
        self.writes.clear();
        // The memory is kept for the next flush, but not if a broadcast to a crowd has made it
        // large.
        trim(&mut self.writes);
        trim(&mut self.groups);
    }

    /// Writes the two frames that have been collected as a pair.
    #[inline(never)]
    fn write_pair(&mut self, block: &impl Fn(LinkId, &Link)) {
        let Some((Some(link), id, pair)) = self.pair.take() else {
            return;
        };
        match link.write_pair(&mut self.pen, pair) {
            Progress::Done => {}
            Progress::Full | Progress::Stuck => block(id, &link),
            Progress::Resting => link.rest(),
        }
    }

    /// Returns the working memory, for writes outside of a flush.
    pub(crate) const fn pen(&mut self) -> &mut Pen {
        &mut self.pen
    }
}

#[cfg(test)]
mod tests;
