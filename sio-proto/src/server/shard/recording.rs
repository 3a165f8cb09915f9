//! The transcript of a shard, with the feature `transcript`. Each method that changes the shard
//! records its arguments and its results ([`transcript`](crate::server::transcript)). Values from
//! outside, random bytes and the answers of a shared quota, are recorded where the shard asks for
//! them.
//!
//! Without the feature nothing of this exists: the macro expands to its body, and the two types are
//! plain boxes.

#[cfg(not(feature = "transcript"))]
pub(super) use unwatched::{Quota, Source, quota, share, source};
#[cfg(feature = "transcript")]
pub(crate) use watched::Script;
#[cfg(feature = "transcript")]
pub(super) use watched::{Quota, Source, quota, share, source};

/// Records an input of the shard around the code that handles it: `noted!(self, now, outputs,
/// packets, |line, shard| …, { … })`. The closure writes the line. It returns `true` if the input
/// gets a line only if it has results.
#[cfg(feature = "transcript")]
macro_rules! noted {
    ($shard:ident, $now:expr, $out:expr, $packets:expr, |$line:ident, $asked:pat_param| $write:expr, $body:block) => {{
        let mark = $shard.note_input($now, $out, $packets, |$line, $asked| $write);
        let result = crate::server::shard::recording::call(|| $body);
        $shard.note_outcome(mark, $out, &result);
        result
    }};
}

/// Without the feature nothing is recorded.
#[cfg(not(feature = "transcript"))]
macro_rules! noted {
    ($shard:ident, $now:expr, $out:expr, $packets:expr, |$line:ident, $asked:pat_param| $write:expr, $body:block) => {{
        let _: Option<crate::Time> = $now;
        $body
    }};
}

pub(super) use noted;

/// Runs a body. A `return` in the body ends only the body.
#[cfg(feature = "transcript")]
pub(super) fn call<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[cfg(not(feature = "transcript"))]
mod unwatched {
    use alloc::boxed::Box;

    use crate::Entropy;
    use crate::server::SessionQuota;

    /// The source of the shard's random bytes.
    pub(in crate::server::shard) type Source = Box<dyn Entropy>;

    /// The quota that the shard asks for room for sessions.
    pub(in crate::server::shard) type Quota = Box<dyn SessionQuota>;

    pub(in crate::server::shard) fn source(entropy: Box<dyn Entropy>) -> Source {
        entropy
    }

    pub(in crate::server::shard) fn quota(quota: Box<dyn SessionQuota>) -> Quota {
        quota
    }

    /// From now on other shards use this quota, too.
    pub(in crate::server::shard) fn share(quota: &mut Quota, shared: Box<dyn SessionQuota>) {
        *quota = shared;
    }
}

#[cfg(feature = "transcript")]
mod watched {
    use alloc::boxed::Box;
    use alloc::collections::VecDeque;
    use alloc::string::String;
    use alloc::vec::Vec;
    use core::net::IpAddr;

    use crate::server::transcript::{Charged, Line, Mark, Outcome, Recorder, RecorderOptions};
    use crate::server::{NoRoom, Outputs, SessionQuota, Shard};
    use crate::wire::Inbound;
    use crate::{Entropy, Time};

    /// The values that a shard gets in a replay, in place of the values from outside.
    #[derive(Debug, Default)]
    pub(crate) struct Script {
        /// Random bytes.
        pub(crate) drawn: VecDeque<u8>,
        /// Answers of a shared quota.
        pub(crate) quota: VecDeque<u8>,
    }

    /// The source of the shard's random bytes, and the bytes of the current input.
    pub(in crate::server::shard) struct Source {
        inner: Box<dyn Entropy>,
        is_heard: bool,
        drawn: Vec<u8>,
        script: Option<VecDeque<u8>>,
    }

    pub(in crate::server::shard) fn source(inner: Box<dyn Entropy>) -> Source {
        Source {
            inner,
            is_heard: false,
            drawn: Vec::new(),
            script: None,
        }
    }

    impl Source {
        /// Fills `random` completely. In a replay the bytes come from the script, and are zero
        /// beyond its end.
        pub(in crate::server::shard) fn fill(&mut self, random: &mut [u8]) {
            match &mut self.script {
                Some(script) => random.fill_with(|| script.pop_front().unwrap_or_default()),
                None => self.inner.fill(random),
            }
            if self.is_heard {
                self.drawn.extend_from_slice(random);
            }
        }
    }

    /// The quota that the shard asks for room for sessions, and the answers to the current input:
    /// `o` means yes, `t` and `a` mean no because of the total or the address, `c` and `r` mean
    /// crowded or roomy.
    pub(in crate::server::shard) struct Quota {
        inner: Box<dyn SessionQuota>,
        /// Whether the answers depend on other shards.
        is_shared: bool,
        is_heard: bool,
        answers: Vec<u8>,
        script: VecDeque<u8>,
    }

    pub(in crate::server::shard) fn quota(inner: Box<dyn SessionQuota>) -> Quota {
        Quota {
            inner,
            is_shared: false,
            is_heard: false,
            answers: Vec::new(),
            script: VecDeque::new(),
        }
    }

    /// From now on other shards use this quota, too.
    pub(in crate::server::shard) fn share(quota: &mut Quota, shared: Box<dyn SessionQuota>) {
        quota.inner = shared;
        quota.is_shared = true;
    }

    impl Quota {
        fn note(&mut self, letter: u8) {
            if self.is_heard && self.is_shared {
                self.answers.push(letter);
            }
        }

        fn said(&mut self, answer: Result<(), NoRoom>) -> Result<(), NoRoom> {
            let answer = match self.script.pop_front() {
                Some(b't') => Err(NoRoom::Total),
                Some(b'a') => Err(NoRoom::Address),
                Some(_) => Ok(()),
                None => answer,
            };
            self.note(match answer {
                Ok(()) => b'o',
                Err(NoRoom::Total) => b't',
                Err(NoRoom::Address) => b'a',
            });
            answer
        }

        pub(in crate::server::shard) fn enter(&mut self, address: Option<IpAddr>, bytes: usize) -> Result<(), NoRoom> {
            let answer = self.inner.enter(address, bytes);
            self.said(answer)
        }

        pub(in crate::server::shard) fn grow(&mut self, address: Option<IpAddr>, bytes: usize) -> Result<(), NoRoom> {
            let answer = self.inner.grow(address, bytes);
            self.said(answer)
        }

        pub(in crate::server::shard) fn shrink(&mut self, address: Option<IpAddr>, bytes: usize) {
            self.inner.shrink(address, bytes);
        }

        pub(in crate::server::shard) fn leave(&mut self, address: Option<IpAddr>, bytes: usize) {
            self.inner.leave(address, bytes);
        }

        pub(in crate::server::shard) fn is_crowded(&mut self) -> bool {
            let is_crowded = match self.script.pop_front() {
                Some(letter) => letter == b'c',
                None => self.inner.is_crowded(),
            };
            self.note(if is_crowded { b'c' } else { b'r' });
            is_crowded
        }

        pub(in crate::server::shard) fn network(&self, address: IpAddr) -> IpAddr {
            self.inner.network(address)
        }
    }

    /// Whether an input is recorded.
    pub(in crate::server::shard) enum Noted {
        /// No transcript is written, or the input is part of another one.
        Not,
        /// It is left out, because too much text waits.
        LeftOut,
        As(Mark),
    }

    /// Transcripts.
    impl Shard {
        /// Starts a transcript. It can be replayed if it is
        /// [full](crate::server::transcript::Detail::Full) and the shard has no sessions yet. Take
        /// its text regularly ([`Shard::take_transcript`]). An earlier transcript is dropped.
        pub fn start_transcript(&mut self, options: RecorderOptions) {
            let sessions = self.sessions();
            let core = &mut self.core;
            let recorder = Recorder::new(options, &core.config, core.index, &core.key, sessions);
            core.entropy.is_heard = true;
            core.quota.is_heard = true;
            self.recorder = Some(Box::new(recorder));
        }

        /// The lines that have been written since the last time; empty if there is no transcript.
        pub fn take_transcript(&mut self) -> String {
            self.recorder
                .as_mut()
                .map(|recorder| recorder.take())
                .unwrap_or_default()
        }

        /// Ends the transcript. Returns the lines that have not been taken.
        pub fn end_transcript(&mut self) -> String {
            let rest = self.take_transcript();
            self.recorder = None;
            self.core.entropy.is_heard = false;
            self.core.quota.is_heard = false;
            rest
        }

        /// In the next input, the shard gets these values in place of the values from outside.
        pub(crate) fn follow(&mut self, script: Script) {
            self.core.entropy.script = Some(script.drawn);
            self.core.quota.is_shared |= !script.quota.is_empty();
            self.core.quota.script = script.quota;
        }

        pub(in crate::server::shard) fn note_input(
            &mut self,
            now: Option<Time>,
            out: Option<&Outputs>,
            packets: Option<&[Inbound]>,
            write: impl FnOnce(&mut Line<'_>, &Self) -> bool,
        ) -> Noted {
            let Some(mut recorder) = self.recorder.take_if(|recorder| !recorder.is_busy()) else {
                return Noted::Not;
            };
            let charged = self.charged();
            let mark = recorder.input(now, out, charged, packets, |line| write(line, self));
            self.recorder = Some(recorder);
            mark.map_or(Noted::LeftOut, Noted::As)
        }

        pub(in crate::server::shard) fn note_outcome(
            &mut self,
            noted: Noted,
            out: Option<&Outputs>,
            outcome: &impl Outcome,
        ) {
            let mark = match noted {
                Noted::Not => return,
                Noted::LeftOut => None,
                Noted::As(mark) => Some(mark),
            };
            let (charged, next) = (self.charged(), self.next_timeout_reason());
            let core = &mut self.core;
            if let Some(recorder) = &mut self.recorder {
                if let Some(mark) = mark {
                    let facts = [("drawn", &*core.entropy.drawn), ("quota", &core.quota.answers)];
                    recorder.outcome(mark, out, &facts, outcome, next, charged);
                }
                recorder.end();
            }
            core.entropy.drawn.clear();
            core.quota.answers.clear();
        }

        fn charged(&self) -> Charged {
            let budget = self.core.backlog.budget();
            Charged {
                bytes: budget.used(),
                shards: budget.shards(),
            }
        }
    }
}
