//! Connections: how many, how long, and how they end.

use std::{io, sync::Arc};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tower::Service;

use crate::{
    App,
    limits::{
        ACCEPT_PAUSE, CONNECTIONS_MAX, DRAIN_TIME_MAX, HEAD_BYTES_MAX, HEAD_TIME_MAX, HEADERS_MAX,
    },
};

/// Serves until `shutdown` is done; then no new connections, streams end, requests may finish for
/// [`DRAIN_TIME_MAX`].
pub(crate) async fn serve(
    app: &Arc<App>,
    router: Router,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &places) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, place)) => {
                let stopped = app.stopped.subscribe();
                connections.spawn(serve_connection(router.clone(), stream, stopped, place));
            }
            Err(error) => {
                tracing::debug!(%error, "a connection wasn't accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    app.stopped.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIME_MAX, drained).await.is_err() {
        tracing::debug!(
            open = connections.len(),
            "cutting connections that didn't end"
        );
    }
    Ok(())
}

/// Waits for a place first: over the cap, connections wait in the system's queue.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = places
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

async fn serve_connection(
    router: Router,
    stream: TcpStream,
    mut stopped: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    // Events are small and shall not wait for more.
    let _ = stream.set_nodelay(true);
    let service =
        service_fn(move |request: Request<Incoming>| router.clone().call(request.map(Body::new)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let node_stops = async { stopped.wait_for(|stopped| *stopped).await.is_ok() };
    let result = tokio::select! {
        result = &mut connection => result,
        _ = node_stops => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::trace!(%error, "a connection ended early");
    }
}
