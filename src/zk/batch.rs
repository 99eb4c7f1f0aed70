//! Owns writes under a controller's term: each succeeds only while `/controller_epoch` is unchanged since the
//! controller was elected. Kafka: `KafkaZkClient.wrapRequestWithControllerEpochCheck`, one multi per write.
//!
//! Here many writes share one multi. One failed write fails its whole multi, so the writes of that multi are retried
//! one by one; the results per write are those of Kafka's single writes.

use super::client::{Client, Error, MultiError, Write, Written};
use super::paths;
use tracing::warn;

/// The most writes that share a multi.
const OPS_PER_MULTI: usize = 100;

/// The most bytes of paths and data in a multi; the server's limit is a megabyte.
const BYTES_PER_MULTI: usize = 512 << 10;

/// The `/controller_epoch` under which a write succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The dataVersion of `/controller_epoch`, not the term in it.
    pub version: i32,
}

/// Why fenced writes stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FencedError {
    /// Another broker has been elected since.
    #[error("the controller moved to another broker")]
    ControllerMoved,
    #[error("ZooKeeper: {0}")]
    Zk(#[from] Error),
}

impl Fence {
    fn guard(self, writes: impl IntoIterator<Item = Write>) -> Vec<Write> {
        let check = Write::Check { path: paths::CONTROLLER_EPOCH.to_owned(), version: self.version };
        std::iter::once(check).chain(writes).collect()
    }

    /// Writes in order, and returns the result of each. Later writes are tried even when earlier ones fail.
    pub async fn write_all(
        self,
        client: &Client,
        writes: Vec<Write>,
    ) -> Result<Vec<Result<Written, Error>>, FencedError> {
        let chunks = chunks(writes);
        let guarded: Vec<Vec<Write>> = chunks.iter().map(|chunk| self.guard(chunk.clone())).collect();
        let mut out = Vec::new();
        for (chunk, result) in chunks.into_iter().zip(client.multi_all(&guarded).await?) {
            match result {
                Ok(written) => out.extend(written.into_iter().skip(1).map(Ok)),
                Err(MultiError::Operation { index: 0, error: Error::BadVersion }) => {
                    return Err(FencedError::ControllerMoved);
                }
                Err(MultiError::Operation { index: 0, error }) | Err(MultiError::Request(error)) => {
                    return Err(error.into());
                }
                Err(MultiError::Operation { .. }) => out.extend(self.one_by_one(client, chunk).await?),
            }
        }
        Ok(out)
    }

    async fn one_by_one(self, client: &Client, chunk: Vec<Write>) -> Result<Vec<Result<Written, Error>>, FencedError> {
        let guarded: Vec<Vec<Write>> = chunk.into_iter().map(|write| self.guard([write])).collect();
        let mut out = Vec::with_capacity(guarded.len());
        for result in client.multi_all(&guarded).await? {
            match result {
                Ok(mut written) => out.push(written.pop().ok_or(Error::Unreadable)),
                Err(MultiError::Operation { index: 0, error: Error::BadVersion }) => {
                    return Err(FencedError::ControllerMoved);
                }
                Err(MultiError::Operation { index: 0, error }) => return Err(error.into()),
                Err(MultiError::Operation { error, .. } | MultiError::Request(error)) => out.push(Err(error)),
            }
        }
        Ok(out)
    }

    pub async fn write(self, client: &Client, write: Write) -> Result<Result<Written, Error>, FencedError> {
        let mut results = self.one_by_one(client, vec![write]).await?;
        Ok(results.pop().unwrap_or(Err(Error::Unreadable)))
    }

    /// Deletes nodes that may be deleted already, in order.
    pub async fn delete_all(self, client: &Client, paths: Vec<String>) -> Result<(), FencedError> {
        for result in self.write_all(client, deletes(&paths)).await? {
            match result {
                Ok(_) | Err(Error::NoNode) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The same in a directory where any client may have created nodes. A node that has children, or that we may not
    /// delete, is left: a controller that failed on it would do so in every term. Kafka ignores the results here. True
    /// when none is left.
    pub async fn sweep(self, client: &Client, paths: Vec<String>) -> Result<bool, FencedError> {
        let mut is_clean = true;
        for (path, result) in paths.iter().zip(self.write_all(client, deletes(&paths)).await?) {
            match result {
                Ok(_) | Err(Error::NoNode) => {}
                Err(error @ (Error::NotEmpty | Error::NoAuth)) => {
                    warn!(path, %error, "left where it is");
                    is_clean = false;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(is_clean)
    }
}

fn deletes(paths: &[String]) -> Vec<Write> {
    paths.iter().map(|path| Write::Delete { path: path.clone(), version: -1 }).collect()
}

/// Splits writes, in order, into requests that fit the limits.
fn chunks(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let mut out: Vec<Vec<Write>> = Vec::new();
    let mut bytes = 0;
    for write in writes {
        // Operation headers, versions and ACLs are below this.
        let size = write.size() + 128;
        match out.last_mut() {
            Some(chunk) if chunk.len() < OPS_PER_MULTI && bytes + size <= BYTES_PER_MULTI => {
                bytes += size;
                chunk.push(write);
            }
            _ => {
                bytes = size;
                out.push(vec![write]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_keep_the_order_and_both_bounds() {
        let set = |n: usize, bytes| Write::Set { path: format!("/{n}"), data: vec![0; bytes], version: -1 };
        let sizes = |writes: Vec<Write>| chunks(writes).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes((0..250).map(|n| set(n, 10)).collect()), [100, 100, 50]);
        assert_eq!(sizes((0..5).map(|n| set(n, 200 << 10)).collect()), [2, 2, 1]);
        assert_eq!(sizes(vec![set(0, 900 << 10), set(1, 1)]), [1, 1]);
        assert!(chunks(Vec::new()).is_empty());
        let order: Vec<Write> = chunks((0..250).map(|n| set(n, 0)).collect()).into_iter().flatten().collect();
        assert_eq!(order[249], set(249, 0));
    }
}
