//! Owns faults that tests let the disk have. In production every question is answered with "none", at compile time.

use std::io;

/// What is about to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Open,
    Create,
    Read,
    Write,
    Truncate,
    Sync,
    Rename,
    Remove,
    SetTime,
    List,
}

impl Op {
    /// The system call behind it, or the one that waits longest.
    pub fn call(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Create => "create",
            Self::Read => "read",
            Self::Write => "write",
            Self::Truncate => "ftruncate",
            Self::Sync => "fdatasync",
            Self::Rename => "rename",
            Self::Remove => "unlink",
            Self::SetTime => "utimensat",
            Self::List => "getdents64",
        }
    }
}

#[cfg(not(test))]
#[inline(always)]
#[allow(clippy::unnecessary_wraps, reason = "tests let it fail")]
pub(super) fn check(_op: Op) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) fn check(op: Op) -> io::Result<()> {
    testing::check(op)
}

/// Faults of this thread's disk work.
#[cfg(test)]
pub mod testing {
    use super::Op;
    use std::cell::RefCell;
    use std::io;

    type Rule = Box<dyn FnMut(Op) -> Option<i32>>;

    thread_local! {
        static RULE: RefCell<Option<Rule>> = const { RefCell::new(None) };
    }

    /// Faults end when it is dropped.
    #[must_use]
    pub struct Faults;

    impl Drop for Faults {
        fn drop(&mut self) {
            RULE.with(|rule| rule.borrow_mut().take());
        }
    }

    /// `rule` says with which system error number an operation fails.
    pub fn inject(rule: impl FnMut(Op) -> Option<i32> + 'static) -> Faults {
        RULE.with(|known| *known.borrow_mut() = Some(Box::new(rule)));
        Faults
    }

    impl Op {
        /// Whether it changes what is on the disk.
        pub fn changes(self) -> bool {
            !matches!(self, Self::Open | Self::Read | Self::List)
        }

        /// Whether it needs room.
        pub fn takes_room(self) -> bool {
            matches!(self, Self::Create | Self::Write)
        }
    }

    /// Lets `steps` changes through and none after that: the disk stays as a process leaves it that is killed there.
    pub fn crash_after(steps: usize) -> Faults {
        let mut left = steps;
        inject(move |op| {
            if !op.changes() {
                return None;
            }
            match left.checked_sub(1) {
                Some(fewer) => {
                    left = fewer;
                    None
                }
                None => Some(libc::EIO),
            }
        })
    }

    pub(in crate::disk) fn check(op: Op) -> io::Result<()> {
        let code = RULE.with(|rule| rule.borrow_mut().as_mut().and_then(|rule| rule(op)));
        code.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
    }
}
