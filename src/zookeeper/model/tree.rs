//! Owns the znodes: a path to a node, versions and zxids of each, the ephemerals of each session. Counterpart: `DataTree`,
//! `DataNode`. Changes come prepared: here nothing is refused but what contradicts the tree, which only a damaged log does.
//! Absent on purpose: quotas, TTL and container nodes, the digest of the tree.

use super::SessionId;
use crate::common::ids::Millis;
use crate::zookeeper::wire::{Acl, Stat, perms};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub data: Option<Bytes>,
    pub acl: Arc<[Acl]>,
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime: Millis,
    pub mtime: Millis,
    pub version: i32,
    /// How many children were ever created here: the number of the next sequential child.
    pub creations: i32,
    pub aversion: i32,
    /// The owning session, 0 for a persistent node.
    pub owner: SessionId,
    pub pzxid: i64,
    pub children: BTreeSet<Box<str>>,
}

impl Node {
    pub fn stat(&self) -> Stat {
        let num_children = self.children.len() as i32;
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            // Creations and deletions: each creation without a child left was deleted.
            cversion: self.creations.wrapping_mul(2).wrapping_sub(num_children),
            aversion: self.aversion,
            ephemeral_owner: self.owner,
            data_length: self.data.as_ref().map_or(0, |d| d.len() as i32),
            num_children,
            pzxid: self.pzxid,
        }
    }
}

/// A change to one node, prepared: it does not depend on who asked or when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Create { path: Arc<str>, data: Option<Bytes>, acl: Arc<[Acl]>, owner: SessionId },
    Delete { path: Arc<str> },
    SetData { path: Arc<str>, data: Option<Bytes> },
    SetAcl { path: Arc<str>, acl: Arc<[Acl]> },
}

/// What takes a change back.
#[derive(Debug)]
pub enum Undo {
    Create { path: Arc<str>, parent_pzxid: i64 },
    Delete { path: Arc<str>, node: Node, parent_pzxid: i64 },
    SetData { path: Arc<str>, data: Option<Bytes>, version: i32, mzxid: i64, mtime: Millis },
    SetAcl { path: Arc<str>, acl: Arc<[Acl]>, aversion: i32 },
}

/// A change that does not fit this tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("change of {path} does not fit the tree")]
pub struct Misfit {
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    nodes: HashMap<Arc<str>, Node>,
    ephemerals: BTreeMap<SessionId, BTreeSet<Arc<str>>>,
    /// The ACL of nearly every node, shared.
    open: Arc<[Acl]>,
}

/// The parent of a path that starts with a slash; "/" is its own.
pub fn parent_of(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &path[..at],
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// The version after `version`. -1 is skipped: as an expected version it means "any".
fn next_version(version: i32) -> i32 {
    match version.wrapping_add(1) {
        -1 => 0,
        next => next,
    }
}

impl Tree {
    /// What a new ensemble holds: the root, and the reserved nodes under /zookeeper.
    pub fn reserved() -> Self {
        let open: Arc<[Acl]> = Arc::new([Acl::open()]);
        let mut tree = Self { nodes: HashMap::new(), ephemerals: BTreeMap::new(), open: Arc::clone(&open) };
        let node = |children: &[&str]| Node {
            data: Some(Bytes::new()),
            acl: Arc::clone(&open),
            czxid: 0,
            mzxid: 0,
            ctime: 0,
            mtime: 0,
            version: 0,
            creations: 0,
            aversion: 0,
            owner: 0,
            pzxid: 0,
            children: children.iter().map(|c| Box::from(*c)).collect(),
        };
        tree.nodes.insert("/".into(), node(&["zookeeper"]));
        tree.nodes.insert("/zookeeper".into(), node(&["config", "quota"]));
        tree.nodes.insert("/zookeeper/quota".into(), node(&[]));
        let config = Node { acl: Arc::new([Acl::new(perms::READ, "world", "anyone")]), aversion: -1, ..node(&[]) };
        tree.nodes.insert("/zookeeper/config".into(), config);
        tree
    }

    /// The empty path names the root, as in ZooKeeper's table.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(if path.is_empty() { "/" } else { path })
    }

    /// How many znodes there are, the root among them.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    pub fn nodes(&self) -> impl Iterator<Item = (&Arc<str>, &Node)> {
        self.nodes.iter()
    }

    /// How many nodes are below `path`.
    pub fn count_below(&self, path: &str) -> usize {
        if path == "/" {
            return self.nodes.len() - 1;
        }
        let below = |other: &&Arc<str>| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        self.nodes.keys().filter(below).count()
    }

    pub fn ephemerals_of(&self, session: SessionId) -> impl Iterator<Item = &Arc<str>> {
        self.ephemerals.get(&session).into_iter().flatten()
    }

    pub fn ephemerals_count(&self) -> usize {
        self.ephemerals.values().map(BTreeSet::len).sum()
    }

    pub fn apply(&mut self, change: &Change, zxid: i64, time: Millis) -> Result<Undo, Misfit> {
        match change {
            Change::Create { path, data, acl, owner } => self.create(path, data.clone(), acl, *owner, zxid, time),
            Change::Delete { path } => self.delete(path, zxid),
            Change::SetData { path, data } => {
                let node = self.node_mut(path)?;
                let undo = Undo::SetData {
                    path: Arc::clone(path),
                    data: std::mem::replace(&mut node.data, data.clone()),
                    version: node.version,
                    mzxid: node.mzxid,
                    mtime: node.mtime,
                };
                node.version = next_version(node.version);
                node.mzxid = zxid;
                node.mtime = time;
                Ok(undo)
            }
            Change::SetAcl { path, acl } => {
                let node = self.node_mut(path)?;
                let acl = std::mem::replace(&mut node.acl, Arc::clone(acl));
                let undo = Undo::SetAcl { path: Arc::clone(path), acl, aversion: node.aversion };
                node.aversion = next_version(node.aversion);
                Ok(undo)
            }
        }
    }

    fn create(
        &mut self,
        path: &Arc<str>,
        data: Option<Bytes>,
        acl: &Arc<[Acl]>,
        owner: SessionId,
        zxid: i64,
        time: Millis,
    ) -> Result<Undo, Misfit> {
        if self.nodes.contains_key(path) || !path.starts_with('/') {
            return Err(Misfit { path: path.to_string() });
        }
        let parent = self.node_mut(parent_of(path))?;
        parent.children.insert(name_of(path).into());
        parent.creations = parent.creations.wrapping_add(1);
        let parent_pzxid = std::mem::replace(&mut parent.pzxid, zxid);
        let node = Node {
            data,
            acl: Arc::clone(acl),
            czxid: zxid,
            mzxid: zxid,
            ctime: time,
            mtime: time,
            version: 0,
            creations: 0,
            aversion: 0,
            owner,
            pzxid: zxid,
            children: BTreeSet::new(),
        };
        self.insert(path, node);
        Ok(Undo::Create { path: Arc::clone(path), parent_pzxid })
    }

    fn delete(&mut self, path: &Arc<str>, zxid: i64) -> Result<Undo, Misfit> {
        let leaf = self.nodes.get(path).is_some_and(|n| n.children.is_empty());
        if !leaf || &**path == "/" {
            return Err(Misfit { path: path.to_string() });
        }
        let parent = self.node_mut(parent_of(path))?;
        parent.children.remove(name_of(path));
        let parent_pzxid = std::mem::replace(&mut parent.pzxid, zxid);
        let node = self.remove(path)?;
        Ok(Undo::Delete { path: Arc::clone(path), node, parent_pzxid })
    }

    /// Takes changes back; the last one first.
    pub fn undo(&mut self, undo: Undo) -> Result<(), Misfit> {
        match undo {
            Undo::Create { path, parent_pzxid } => {
                self.remove(&path)?;
                let parent = self.node_mut(parent_of(&path))?;
                parent.children.remove(name_of(&path));
                parent.creations = parent.creations.wrapping_sub(1);
                parent.pzxid = parent_pzxid;
            }
            Undo::Delete { path, node, parent_pzxid } => {
                let parent = self.node_mut(parent_of(&path))?;
                parent.children.insert(name_of(&path).into());
                parent.pzxid = parent_pzxid;
                self.insert(&path, node);
            }
            Undo::SetData { path, data, version, mzxid, mtime } => {
                let node = self.node_mut(&path)?;
                *node = Node { data, version, mzxid, mtime, ..node.clone() };
            }
            Undo::SetAcl { path, acl, aversion } => {
                let node = self.node_mut(&path)?;
                node.acl = acl;
                node.aversion = aversion;
            }
        }
        Ok(())
    }

    fn node_mut(&mut self, path: &str) -> Result<&mut Node, Misfit> {
        self.nodes.get_mut(path).ok_or_else(|| Misfit { path: path.to_owned() })
    }

    fn insert(&mut self, path: &Arc<str>, mut node: Node) {
        if *node.acl == *self.open {
            node.acl = Arc::clone(&self.open);
        }
        if node.owner != 0 {
            self.ephemerals.entry(node.owner).or_default().insert(Arc::clone(path));
        }
        self.nodes.insert(Arc::clone(path), node);
    }

    fn remove(&mut self, path: &str) -> Result<Node, Misfit> {
        let node = self.nodes.remove(path).ok_or_else(|| Misfit { path: path.to_owned() })?;
        if let Some(paths) = self.ephemerals.get_mut(&node.owner) {
            paths.remove(path);
            if paths.is_empty() {
                self.ephemerals.remove(&node.owner);
            }
        }
        Ok(node)
    }

    /// A tree of nodes from a snapshot. Their `children` are found here.
    pub fn from_nodes(nodes: impl IntoIterator<Item = (Arc<str>, Node)>) -> Result<Self, Misfit> {
        let mut tree = Self::reserved();
        tree.nodes.clear();
        for (path, node) in nodes {
            tree.insert(&path, Node { children: BTreeSet::new(), ..node });
        }
        let paths: Vec<Arc<str>> = tree.nodes.keys().filter(|path| &***path != "/").cloned().collect();
        for path in paths {
            tree.node_mut(parent_of(&path))?.children.insert(name_of(&path).into());
        }
        Ok(tree)
    }

    /// Names a broken invariant, if there is one.
    #[cfg(test)]
    pub(super) fn check(&self) -> Result<(), String> {
        for (path, node) in &self.nodes {
            for name in &node.children {
                let child = if &**path == "/" { format!("/{name}") } else { format!("{path}/{name}") };
                if !self.nodes.contains_key(child.as_str()) {
                    return Err(format!("{child} is a name without a node"));
                }
            }
            if &**path != "/" {
                let parent = self.get(parent_of(path)).ok_or_else(|| format!("{path} has no parent"))?;
                if !parent.children.contains(name_of(path)) {
                    return Err(format!("{path} is a node without a name"));
                }
                if parent.pzxid < node.czxid {
                    return Err(format!("{path} is younger than its parent's pzxid"));
                }
            }
            let owned = node.owner != 0 && !node.children.is_empty();
            if owned || node.mzxid < node.czxid || (node.children.len() as i32) > node.creations + 2 {
                return Err(format!("{path}: {node:?}"));
            }
            if node.owner != 0 && !self.ephemerals.get(&node.owner).is_some_and(|paths| paths.contains(path)) {
                return Err(format!("{path} is not among the ephemerals of its owner"));
            }
        }
        for (session, paths) in &self.ephemerals {
            for path in paths {
                if self.get(path).map(|n| n.owner) != Some(*session) {
                    return Err(format!("{path} is not an ephemeral of {session:#x}"));
                }
            }
        }
        Ok(())
    }
}
