//! A proxy to a ZooKeeper server that fails chosen reads: they get an error in place of their answer.

use crate::util::task::Group;
use crate::zookeeper::wire::{Code, op};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// An error that fails the session, and one that does not.
pub(crate) const SESSION_EXPIRED: i32 = Code::SessionExpired as i32;
pub(crate) const THROTTLED: i32 = -127;

/// Fails one read: after `reads` others below `path`, with `error`.
#[derive(Clone)]
struct Plan {
    path: String,
    reads: usize,
    error: i32,
}

pub(crate) struct Faults {
    pub(crate) address: String,
    plan: Arc<Mutex<Option<Plan>>>,
}

impl Faults {
    pub(crate) async fn before(server: &str, group: &Group) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address").to_string();
        let plan: Arc<Mutex<Option<Plan>>> = Arc::default();
        let (server, shared, inner) = (server.to_owned(), Arc::clone(&plan), group.clone());
        group.spawn("faults", async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&server).await.expect("reach the server");
                let (shared, doomed) = (Arc::clone(&shared), Arc::<Mutex<HashSet<i32>>>::default());
                let ((from_client, to_client), (from_server, to_server)) = (near.into_split(), far.into_split());
                let error = Arc::<Mutex<i32>>::default();
                let there = requests(from_client, to_server, shared, Arc::clone(&doomed), Arc::clone(&error));
                let back = replies(from_server, to_client, doomed, error);
                inner.spawn("faulty", async move {
                    tokio::select! {
                        () = there => {}
                        () = back => {}
                    }
                });
            }
        });
        Self { address, plan }
    }

    /// Fails a read of `path` or of a node below it, the one after `reads` others.
    pub(crate) fn fail(&self, path: &str, reads: usize, error: i32) {
        *self.plan.lock() = Some(Plan { path: path.to_owned(), reads, error });
    }

    /// Whether the read to fail has arrived.
    pub(crate) fn is_spent(&self) -> bool {
        self.plan.lock().is_none()
    }
}

async fn frame(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let length = from.read_u32().await.ok()? as usize;
    let mut frame = vec![0; 4 + length];
    frame[..4].copy_from_slice(&(length as u32).to_be_bytes());
    from.read_exact(&mut frame[4..]).await.ok()?;
    Some(frame)
}

fn int(frame: &[u8], at: usize) -> i32 {
    frame.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_be_bytes)
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    plan: Arc<Mutex<Option<Plan>>>,
    doomed: Arc<Mutex<HashSet<i32>>>,
    error: Arc<Mutex<i32>>,
) {
    let mut is_first = true;
    while let Some(frame) = frame(&mut from).await {
        let reads = [op::GET_DATA, op::EXISTS, op::GET_CHILDREN, op::GET_CHILDREN2, op::MULTI_READ];
        if !std::mem::replace(&mut is_first, false) && reads.contains(&int(&frame, 8)) {
            let mut plan = plan.lock();
            let text = String::from_utf8_lossy(&frame[12..]);
            if let Some(due) = plan.as_mut().filter(|due| text.contains(&due.path)) {
                if due.reads == 0 {
                    *error.lock() = due.error;
                    doomed.lock().insert(int(&frame, 4));
                    *plan = None;
                } else {
                    due.reads -= 1;
                }
            }
        }
        if to.write_all(&frame).await.is_err() {
            return;
        }
    }
}

async fn replies(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    doomed: Arc<Mutex<HashSet<i32>>>,
    error: Arc<Mutex<i32>>,
) {
    let mut is_first = true;
    while let Some(mut frame) = frame(&mut from).await {
        if !std::mem::replace(&mut is_first, false) && doomed.lock().remove(&int(&frame, 4)) {
            frame.truncate(20);
            frame[..4].copy_from_slice(&16_u32.to_be_bytes());
            frame[16..].copy_from_slice(&error.lock().to_be_bytes());
        }
        if to.write_all(&frame).await.is_err() {
            return;
        }
    }
}
