//! All shards of a server, and the values that they share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use sio_proto::server::{Budget, Router, Shard, Target};
use sio_proto::{Config, ConfigError, CorsOrigins, OriginRule};

use crate::guarded::guarded;
use crate::options::Options;
use crate::rated::Warnings;
use crate::runtime::Runtime;
use crate::turn::application::Application;
use crate::turn::directory::{Bits, Directory, Watch};
use crate::turn::history::Histories;
use crate::turn::load::Loads;
use crate::turn::quota::SharedQuota;
use crate::turn::recovery::Recovery;
use crate::turn::restore;
use crate::turn::room_news::{RoomNews, RoomNotes};
use crate::turn::shard::ShardCell;
use crate::turn::socket::SocketCell;
use crate::turn::survey::Surveys;

pub(crate) struct Shards {
    pub(crate) runtime: Runtime,
    pub(crate) cells: Box<[Arc<ShardCell>]>,
    pub(crate) config: Arc<Config>,
    pub(crate) router: Router,
    pub(super) directory: Arc<Directory>,
    /// Whether the application wants events of rooms.
    pub(crate) news: Arc<RoomNews>,
    pub(crate) recovery: Arc<Recovery>,
    /// The key with which ids are made.
    pub(crate) key: [u8; 16],
    /// The broadcasts that wait for acknowledgements.
    pub(crate) surveys: Arc<Surveys>,
    pub(crate) histories: Histories,
    next: AtomicUsize,
}

/// Shards that do not have an application yet.
pub(crate) struct NewShards {
    runtime: Runtime,
    key: [u8; 16],
    shards: Vec<(Shard, Arc<RoomNotes>)>,
    directory: Arc<Directory>,
    news: Arc<RoomNews>,
    config: Arc<Config>,
    recovery: Arc<Recovery>,
}

impl NewShards {
    /// Makes shards that charge waiting bytes to `budget`.
    ///
    /// # Errors
    /// If the config is not valid, or if [`Runtime::fill`] gives nothing but zeros.
    pub(crate) fn new(
        config: Config,
        options: &Options,
        runtime: Runtime,
        budget: &Arc<Budget>,
    ) -> Result<Self, ConfigError> {
        let mut key = [0; 16];
        (runtime.fill)(&mut key);
        if key == [0; 16] {
            return Err(ConfigError::Entropy);
        }
        // Ids of sockets that come back are recognised by the key with which they were made.
        if let Some(kept) = options.store.as_ref().and_then(restore::id_key) {
            key = kept;
        }
        if !(1..=256).contains(&options.shards) {
            return Err(ConfigError::Shards(options.shards));
        }
        let mut config = config;
        guard_rule(&mut config);
        let directory = Arc::new(Directory::new(options.shards));
        let news = Arc::<RoomNews>::default();
        let quota = SharedQuota::new(&config, options);
        let shards = (0..=255u8).take(options.shards).map(|index| {
            let mut shard = Shard::new(config.clone(), index, key, Box::new(runtime.fill))?;
            shard.share_quota(Box::new(quota.clone()));
            let notes = Arc::new(RoomNotes::new(&news));
            shard.watch_rooms(Box::new(Watch::new(&directory, index.into(), Arc::clone(&notes))));
            shard.share_budget(Arc::clone(budget));
            Ok((shard, notes))
        });
        let shards = shards.collect::<Result<Vec<_>, _>>()?;
        let config = shards
            .first()
            .map_or_else(Arc::default, |(shard, _)| Arc::clone(shard.config()));
        if let Some(settings) = &options.recovery {
            settings.validate()?;
        }
        let recovery = Arc::new(Recovery::new(options, &config, runtime));
        Ok(Self {
            runtime,
            key,
            shards,
            directory,
            news,
            config,
            recovery,
        })
    }

    /// Returns the key with which ids are made.
    #[cfg(feature = "redis")]
    pub(crate) const fn key(&self) -> [u8; 16] {
        self.key
    }

    /// Gives the shards their application.
    pub(crate) fn of(self, application: &Weak<dyn Application>, options: &Options, warnings: &Arc<Warnings>) -> Shards {
        let Self {
            runtime,
            key,
            shards,
            directory,
            news,
            config,
            recovery,
        } = self;
        let loads = Arc::new(Loads::new(options));
        if !(config.session_rate.is_none() && config.socket_rate.is_none()) {
            loads.set_measures();
        }
        let router = Router::new(&config, key, shards.len());
        let cells = shards.into_iter().map(|(shard, notes)| {
            Arc::new(ShardCell::new(
                application.clone(),
                runtime,
                shard,
                notes,
                Arc::clone(&loads),
                Arc::clone(warnings),
                Arc::clone(&recovery),
            ))
        });
        let histories = Histories::new(options, &config, runtime);
        Shards {
            runtime,
            cells: cells.collect(),
            config,
            router,
            directory,
            news,
            recovery,
            key,
            surveys: Arc::new(Surveys::new(options)),
            histories,
            next: AtomicUsize::new(0),
        }
    }
}

/// Guards the application's rule about origins. If the rule panics, the answer is no.
fn guard_rule(config: &mut Config) {
    if let Some(cors) = &mut config.cors
        && let CorsOrigins::Rule(rule) = &cors.origins
    {
        let rule = rule.clone();
        let guarded = OriginRule::new(move |origin| guarded(|| rule.accepts(origin)).unwrap_or(false));
        cors.origins = CorsOrigins::Rule(guarded);
    }
}

impl Shards {
    /// Returns the shard for a new session. Shards are used in turn.
    pub(crate) fn pick(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % self.cells.len()
    }

    /// Whether a text is the id of a socket, which may have gone. No room can have such a name.
    pub(crate) fn is_id(&self, text: &str) -> bool {
        self.router.shard_of(text).is_some() || self.config.keeps_for_ids(text) || self.recovery.ids.has(text)
    }

    /// Returns the socket with this id. Only the shard that the id names is asked. A table has the
    /// ids that name no place, or another place than that of their socket.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<SocketCell>> {
        if let Some(shard) = self.router.shard_of(id) {
            let found = self
                .cells
                .get(shard)?
                .ask("find", |state| state.find(state.shard.find(id)?));
            return found.or_else(|| self.recovery.ids.find(id));
        }
        self.recovery.ids.find(id)
    }

    /// Returns the index of the shard behind this one.
    pub(super) fn behind(&self, cell: Option<&Arc<ShardCell>>) -> usize {
        let is_it = |known: &Arc<ShardCell>| cell.is_some_and(|cell| Arc::ptr_eq(cell, known));
        self.cells.iter().position(is_it).map_or(0, |at| at + 1)
    }

    /// Returns the shards that may have sockets in the target, at the time of the call.
    pub(super) fn of_target(&self, target: &Target) -> impl Iterator<Item = &Arc<ShardCell>> + Clone + use<'_> {
        let shards = Bits::of(target, &self.directory, &self.router);
        let cells = self.cells.iter().enumerate();
        cells
            .filter(move |(shard, cell)| cell.sessions() > 0 && shards.have(*shard))
            .map(|(_, cell)| cell)
    }
}
