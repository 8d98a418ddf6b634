//! A node with its dashboard: started whole, stopped whole.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use engine::{Config, LinkConfig, Node, StorageConfig};
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};
use web::{LanConfig, Web, WebConfig};

use crate::{
    folder::{Folder, Lock},
    lan, listen, password,
};

/// Everything ends within this, open pages and meetings included. A service manager is promised
/// five seconds; the rest is for the process itself.
const STOP_WITHIN: Duration = Duration::from_millis(4_500);

/// How to start a node with its dashboard.
#[derive(Clone)]
pub(crate) struct Start {
    pub(crate) links: LinkConfig,
    pub(crate) storage: StorageConfig,
    pub(crate) listen: SocketAddr,
    pub(crate) hosts: Vec<String>,
    pub(crate) lan: LanConfig,
}

/// A node that runs and shows its dashboard.
pub(crate) struct Running {
    node: Node,
    web: Web,
    url: String,
    folder: Folder,
    ask_to_stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<std::io::Result<()>>,
    // Last, so that the folder becomes free when all else is gone.
    _lock: Lock,
}

impl Running {
    /// Starts on a folder that no other process uses.
    pub(crate) async fn start(folder: &Folder, start: Start) -> anyhow::Result<Self> {
        folder.make()?;
        let lock = folder.lock()?;
        password::required(folder, &start.lan)?;
        // A killed node leaves its address behind; nobody shall read it for ours.
        folder.remove_url().with_context(|| {
            format!(
                "cannot remove the old address in {}",
                folder.path().display()
            )
        })?;
        let token_file = folder.token_file();
        let api_token = engine::files::read_or_create_token(&token_file)
            .with_context(|| format!("cannot use the API's token in {}", token_file.display()))?;
        let node = Node::start(Config {
            data_dir: folder.path().to_owned(),
            links: start.links,
            storage: start.storage,
        })
        .await?;
        match Self::serve(
            &node,
            folder,
            start.listen,
            (start.hosts, start.lan),
            api_token,
        )
        .await
        {
            Ok((web, url, ask_to_stop, serving)) => Ok(Self {
                node,
                web,
                url,
                folder: folder.clone(),
                ask_to_stop: Some(ask_to_stop),
                serving,
                _lock: lock,
            }),
            Err(error) => {
                drop(timeout(STOP_WITHIN, node.shutdown()).await);
                Err(error)
            }
        }
    }

    async fn serve(
        node: &Node,
        folder: &Folder,
        addr: SocketAddr,
        (hosts, lan): (Vec<String>, LanConfig),
        api_token: String,
    ) -> anyhow::Result<Served> {
        let listener = listen::bind(addr).await?;
        let addr = listener.local_addr()?;
        let url = format!("http://{addr}");
        let config = WebConfig {
            api_token,
            hosts,
            port: addr.port(),
            lan,
        };
        let web = Web::new(node.clone(), config).with_context(|| {
            format!(
                "cannot read the password kept in {}",
                folder.path().display()
            )
        })?;
        let (ask_to_stop, asked) = oneshot::channel();
        let server = web.clone();
        let serving = tokio::spawn(async move {
            // On the network it ends at once, and it takes what is open there with it.
            let network = tokio::spawn(lan::attend(server.clone(), addr.port()));
            let served = server
                .serve(listener, async {
                    // A dropped sender asks as well.
                    drop(asked.await);
                    network.abort();
                })
                .await;
            network.abort();
            served
        });
        folder.write_url(&url).with_context(|| {
            format!(
                "cannot write the dashboard's address into {}",
                folder.path().display()
            )
        })?;
        Ok((web, url, ask_to_stop, serving))
    }

    pub(crate) const fn node(&self) -> &Node {
        &self.node
    }

    /// Where the dashboard is; no secret.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A fresh link that signs in once.
    pub(crate) fn sign_in_link(&self) -> String {
        self.web.sign_in_link(&self.url)
    }

    /// Returns only if the dashboard ends by itself.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        match (&mut self.serving).await {
            Ok(Ok(())) => anyhow::anyhow!("the dashboard ended by itself"),
            Ok(Err(error)) => anyhow::Error::new(error).context("the dashboard failed"),
            Err(error) => anyhow::Error::new(error).context("the dashboard failed"),
        }
    }

    /// Ends everything in order, within [`STOP_WITHIN`].
    pub(crate) async fn stop(mut self) {
        if let Err(error) = self.folder.remove_url() {
            tracing::warn!("cannot remove the dashboard's address: {error}");
        }
        if let Some(ask) = self.ask_to_stop.take() {
            // The server may have ended already.
            let _ = ask.send(());
        }
        let all = async {
            if !self.serving.is_finished()
                && let Err(error) = (&mut self.serving).await
            {
                tracing::warn!("the dashboard ended badly: {error}");
            }
            self.node.shutdown().await;
        };
        if timeout(STOP_WITHIN, all).await.is_err() {
            tracing::warn!("not everything ended in time; what was acknowledged is on the disk");
        }
    }
}

type Served = (
    Web,
    String,
    oneshot::Sender<()>,
    JoinHandle<std::io::Result<()>>,
);
