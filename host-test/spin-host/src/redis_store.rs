//! A key-value store in Redis: what Spin's `type = "redis"` does, with the crate it does it with.

use std::{fmt, sync::Arc};

use anyhow::{Context as _, Result};
use redis::{
    AsyncCommands as _, Client, RedisError, RedisResult, aio::ConnectionManager, parse_redis_url,
};
use tokio::sync::OnceCell;
use url::Url;

use super::key_value::StoreFailed;

/// Bytes of one answer that Spin hands to a guest.
const ANSWER_LIMIT: usize = 128 * 1024 * 1024;

/// Clones share one connection, which is opened when a guest first opens the store and opened again
/// when it breaks. No time limit on an answer, as in Spin: a guest that wants one waits that long
/// and no longer.
#[derive(Clone)]
pub(crate) struct RedisStore(Arc<Inner>);

struct Inner {
    /// May hold a password.
    url: Url,
    connection: OnceCell<ConnectionManager>,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<a store in Redis>")
    }
}

impl RedisStore {
    pub(crate) fn new(url: &str) -> Result<Self> {
        let url = parse_redis_url(url)
            .context("url is no address of Redis: write redis://<host>[:<port>][/<database>]")?;
        Ok(Self(Arc::new(Inner {
            url,
            connection: OnceCell::new(),
        })))
    }

    /// Fails while Redis has never been reached. Once it was, an error of the connection only has
    /// it opened anew.
    pub(crate) async fn open(&self) -> Result<(), StoreFailed> {
        let mut connection = self.connection().await?;
        _ = connection.ping::<()>().await;
        Ok(())
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreFailed> {
        let value: Option<Vec<u8>> = self.connection().await?.get(key).await?;
        let bytes = value.as_ref().map_or(0, Vec::len);
        if bytes.saturating_add(size_of_val(&value)) > ANSWER_LIMIT {
            return Err(StoreFailed(format!(
                "query result exceeds limit of {ANSWER_LIMIT} bytes"
            )));
        }
        Ok(value)
    }

    pub(crate) async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreFailed> {
        Ok(self.connection().await?.set(key, value).await?)
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<(), StoreFailed> {
        Ok(self.connection().await?.del(key).await?)
    }

    pub(crate) async fn exists(&self, key: &str) -> Result<bool, StoreFailed> {
        Ok(self.connection().await?.exists(key).await?)
    }

    /// All keys of the database, whoever set them.
    pub(crate) async fn keys(&self) -> Result<Vec<String>, StoreFailed> {
        let mut connection = self.connection().await?;
        let mut found = connection.scan::<String>().await?;
        let mut keys = Vec::new();
        while let Some(key) = found.next_item().await {
            keys.push(key);
        }
        Ok(keys)
    }

    async fn connection(&self) -> RedisResult<ConnectionManager> {
        let open = || async {
            let client = Client::open(self.0.url.clone())?;
            client.get_connection_manager().await
        };
        self.0.connection.get_or_try_init(open).await.cloned()
    }
}

impl From<RedisError> for StoreFailed {
    fn from(error: RedisError) -> Self {
        tracing::warn!("key-value error: {error:?}");
        Self(format!("{error:?}"))
    }
}
