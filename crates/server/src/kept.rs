//! What a server keeps beyond its requests: jobs, works, and the store of models.

use std::sync::Arc;
use std::time::Duration;

use medley_engine::database::Database;
use medley_engine::director::Creations;
use medley_engine::documents::{Documents, Readers};
use medley_engine::jobs::{self, Jobs, Runner, RunnerHandle};
use medley_engine::library::Library;
use medley_engine::responses::Responses;
use medley_engine::serving::{Compute, Shelf};
use medley_engine::{EngineError, Home, Store};

use crate::error::{Answer, ApiError};
use crate::responses::abandoned;
use crate::service::Service;

/// What a server keeps.
pub(crate) struct Kept {
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) library: Arc<Library>,
    pub(crate) store: Arc<Store>,
    pub(crate) documents: Arc<Documents>,
    pub(crate) database: Arc<Database>,
    pub(crate) creations: Arc<Creations>,
    runner: RunnerHandle,
}

impl Kept {
    /// Opens what is kept in a home, and begins to carry out its jobs.
    pub(crate) fn open(
        home: Home,
        compute: Arc<Compute>,
        shelf: Arc<dyn Shelf>,
        readers: Readers,
    ) -> Result<Self, EngineError> {
        let database = Arc::new(Database::open(&home.database_file())?);
        let library = Arc::new(Library::open(database.clone(), &home.library_folder())?);
        let jobs = Arc::new(Jobs::new(database.clone(), library.clone()));
        let root = home.root().to_owned();
        // Before the runner takes the same lock.
        if let Some(_alone) = jobs::alone(&home)? {
            Responses::new(database.clone()).recover(abandoned)?;
            Documents::new(database.clone(), Readers::Here).recover_attached()?;
        }
        let creations = Arc::new(Creations::new(&home));
        let store = Arc::new(Store::open(home)?);
        let runner = Runner::start(
            jobs.clone(),
            compute,
            shelf,
            store.clone(),
            creations.clone(),
        );
        Ok(Self {
            runner: runner.map_err(EngineError::io("begin the jobs of", root))?,
            jobs,
            library,
            store,
            documents: Arc::new(Documents::new(database.clone(), readers)),
            database,
            creations,
        })
    }

    /// Puts back what runs.
    pub(crate) fn stop(&self, patience: Duration) {
        self.runner.stop(patience);
    }
}

/// Does something with what is kept, where it may wait for a disk.
pub(crate) async fn with_kept<T: Send + 'static>(
    service: &Arc<Service>,
    work: impl FnOnce(&Kept) -> Result<T, EngineError> + Send + 'static,
) -> Answer<T> {
    let service = service.clone();
    let done = tokio::task::spawn_blocking(move || {
        let kept = service.kept()?;
        work(kept).map_err(|error| ApiError::of_engine(&error))
    });
    done.await
        .map_err(|_| ApiError::internal("what is kept could not be read"))?
}
