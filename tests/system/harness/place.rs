//! Where a node runs and those who speak to it stand: on this machine as it is, or in a network
//! namespace of its own.
//!
//! It refuses to know what the network there looks like; `crate::net` makes that. Enter at
//! [`Place::inside`].

use std::{
    os::fd::{AsFd as _, OwnedFd},
    panic::resume_unwind,
    sync::Arc,
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network to run something in.
#[derive(Clone, Default)]
pub(crate) struct Place(Option<Arc<OwnedFd>>);

impl Place {
    /// The namespace that this handle (`/proc/PID/ns/net`) stands for.
    pub(crate) fn namespace(handle: OwnedFd) -> Self {
        Self(Some(Arc::new(handle)))
    }

    /// Does something there. Processes that it starts and sockets that it opens stay there.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let Some(handle) = &self.0 else {
            return work();
        };
        // Only the thread moves, so it's one that ends with the work.
        thread::scope(|scope| {
            let there = scope.spawn(|| {
                move_into_link_name_space(handle.as_fd(), Some(LinkNameSpaceType::Network))
                    .unwrap();
                work()
            });
            there.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }
}
