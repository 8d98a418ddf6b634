//! Waiting for something to become true at a node.

use std::time::Duration;

use anyhow::Context as _;
use engine::Node;
use tokio::time::timeout;

/// Three nodes on one machine need well under a second; a small computer under load some more.
const WITHIN: Duration = Duration::from_secs(30);

/// Looks again at each event until there is something. `what` names it if it never comes.
pub(super) async fn until<T>(
    node: &Node,
    what: &str,
    mut look: impl FnMut() -> engine::Result<Option<T>>,
) -> anyhow::Result<T> {
    // Before the first look, so that nothing falls between the two.
    let mut events = node.subscribe(None);
    timeout(WITHIN, async {
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            events.next().await.context("the node stopped")?;
        }
    })
    .await
    .with_context(|| format!("waited {} s for {what} in vain", WITHIN.as_secs()))?
}
