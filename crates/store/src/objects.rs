//! Sealed files on an object store: S3 and services that speak its protocol, Google Cloud Storage,
//! Azure.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use url::Url;

use crate::Store;
use crate::error::Error;
use crate::files::SealedFiles;
use crate::ledger::SealedFile;

/// The longest time of one operation, its repetitions included. A file has at most some hundred
/// MiB.
const LIMIT: Duration = Duration::from_secs(120);
/// The prefixes of environment variables that settings and credentials are taken from.
const FAMILIES: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];

/// A store of the bytes of sealed files as objects `FOLDER/NAME`; their lines stay in the store of
/// record.
///
/// Bytes are written before their line and removed after it: a line always has its file, and an
/// object without a line is one that is about to get it, or about to go.
#[derive(Clone)]
pub struct ObjectFiles {
    objects: Arc<dyn ObjectStore>,
    folder: Path,
    store: Arc<dyn Store>,
}

impl std::fmt::Debug for ObjectFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectFiles")
            .field("objects", &self.objects.to_string())
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl ObjectFiles {
    /// Opens the folder that `url` names: `s3://BUCKET/FOLDER`, `gs://BUCKET/FOLDER` or
    /// `az://CONTAINER/FOLDER`. Credentials, region and endpoint come from `environment`, under the
    /// names that each provider's own tools read (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, …). Asks
    /// the object store once, so that a mistake shows at the start.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] if the URL or a setting is no good or the object store refuses,
    /// [`Error::Unavailable`] if it does not answer.
    pub async fn open(
        url: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        store: Arc<dyn Store>,
    ) -> Result<Self, Error> {
        // Another part of the program may have installed a provider before. Any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let parsed = Url::parse(url).map_err(|error| Error::Misconfigured(error.to_string()))?;
        let settings = environment
            .into_iter()
            .filter(|(name, _)| FAMILIES.iter().any(|family| name.starts_with(family)));
        let (objects, folder) = object_store::parse_url_opts(&parsed, settings)
            .map_err(|error| Error::Misconfigured(format!("the object store: {error}")))?;
        let files = Self {
            objects: Arc::from(objects),
            folder,
            store,
        };
        match tokio::time::timeout(LIMIT, files.first()).await {
            Ok(Ok(())) => Ok(files),
            // It answered, and not as a folder would that we may use.
            Ok(Err(error)) if !is_out_of_reach(&error) => {
                Err(Error::Misconfigured(format!("the object store: {error}")))
            }
            Ok(Err(error)) => Err(store_error(&error)),
            Err(_) => Err(silent()),
        }
    }

    /// Lists the folder up to its first object, which shows that it answers and that we may look.
    async fn first(&self) -> object_store::Result<()> {
        let mut listing = self.objects.list(Some(&self.folder));
        listing.try_next().await.map(drop)
    }

    fn path(&self, name: &str) -> Path {
        self.folder.clone().join(name)
    }

    async fn bounded<T>(
        &self,
        operation: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(LIMIT, operation).await {
            Ok(done) => done.map_err(|error| store_error(&error)),
            Err(_) => Err(silent()),
        }
    }
}

#[async_trait]
impl SealedFiles for ObjectFiles {
    async fn commit_seal_with(&self, file: SealedFile, content: Vec<u8>) -> Result<(), Error> {
        let name = file.name.clone();
        self.put_content(&name, content).await?;
        let committed = self.store.commit_seal(file).await;
        if matches!(committed, Err(Error::Position { .. })) {
            // The records are sealed in other files. If the object cannot be removed now, it stays
            // without a line, which does no harm.
            let _ = self.remove_content(&name).await;
        }
        committed
    }

    async fn put_content(&self, name: &str, content: Vec<u8>) -> Result<(), Error> {
        let (path, payload) = (self.path(name), PutPayload::from(content));
        self.bounded(self.objects.put(&path, payload))
            .await
            .map(drop)
    }

    async fn content(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(name);
        let read = async {
            match self.objects.get(&path).await {
                Ok(found) => found.bytes().await.map(|bytes| Some(bytes.into())),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        match (self.bounded(read).await?, self.store.sealed_files()) {
            // The file was sealed before there was an object store.
            (None, Some(rows)) => rows.content(name).await,
            (found, _) => Ok(found),
        }
    }

    async fn content_names(&self) -> Result<Vec<String>, Error> {
        let names = self
            .objects
            .list(Some(&self.folder))
            .try_filter_map(
                |found| async move { Ok(found.location.filename().map(str::to_owned)) },
            );
        let mut names: Vec<String> = self.bounded(names.try_collect()).await?;
        names.sort_unstable();
        Ok(names)
    }

    async fn remove_content(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        let remove = async {
            match self.objects.delete(&path).await {
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                done => done,
            }
        };
        self.bounded(remove).await
    }
}

fn store_error(error: &object_store::Error) -> Error {
    Error::Unavailable(format!("the object store: {error}"))
}

fn silent() -> Error {
    Error::Unavailable("the object store does not answer".to_owned())
}

/// Returns whether no answer came at all.
fn is_out_of_reach(error: &object_store::Error) -> bool {
    let first: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(first), |error| error.source())
        .any(|error| error.is::<object_store::client::HttpError>())
}
