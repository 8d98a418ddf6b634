//! Ports, addresses, and the end.

use std::{net::UdpSocket, time::Instant};

use tokio::runtime::Runtime;

use links::{CloseCode, CloseReason, Protocol};

use crate::support::{Node, config, connect, pair, within};

#[tokio::test]
async fn a_port_is_taken_again_and_another_one_if_it_is_busy() {
    let first = Node::start(1).await;
    let bound = first.links.bound();
    assert_eq!(bound.len(), 1);
    assert_eq!(first.links.addrs(), bound);
    first.links.shutdown().await;
    drop(first);

    let mut remembered = config(1);
    remembered.bind.clone_from(&bound);
    let second = Node::on_the_same_ports(remembered).await;

    let mut busy = config(2);
    busy.bind.clone_from(&bound);
    let third = Node::with(busy).await;
    assert_ne!(third.links.bound(), bound);
    assert_eq!(third.links.bound()[0].ip(), bound[0].ip());
    drop(second);
}

#[tokio::test]
async fn addresses_that_the_machine_lacks_are_left_out() {
    let mut both = config(1);
    both.bind.push("192.0.2.1:0".parse().unwrap());
    let node = Node::with(both).await;
    assert_eq!(node.links.bound().len(), 1);

    let mut v6 = config(2);
    v6.bind.push("[::1]:0".parse().unwrap());
    let node = Node::with(v6).await;
    let expected = 1 + usize::from(UdpSocket::bind("[::1]:0").is_ok());
    assert_eq!(node.links.bound().len(), expected);

    let mut none = config(3);
    none.bind = vec!["192.0.2.1:0".parse().unwrap()];
    let error = links::Links::bind(none, links::Admission::new()).await;
    assert!(matches!(error, Err(links::Error::Bind { .. })));
}

#[tokio::test]
async fn addresses_are_watched_and_shutdown_ends_everything() {
    let (a, mut b) = pair().await;
    let mut watch = b.links.watch_addrs();
    assert_eq!(
        within("the first addresses", watch.changed()).await,
        Some(b.links.addrs())
    );
    let (conn, _accepted) = connect(&a, &mut b).await;
    within("shutdown", b.links.shutdown()).await;
    assert_eq!(
        within("the end", conn.closed()).await,
        CloseReason::Remote(CloseCode::Shutdown)
    );
    assert!(within("no arrival", b.arrivals.recv()).await.is_none());
    assert_eq!(within("no address", watch.changed()).await, None);
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_endpoint() {
    let (a, mut b) = pair().await;
    let (conn, accepted) = connect(&a, &mut b).await;
    let Node {
        links,
        mut arrivals,
        ..
    } = b;
    drop(links);
    assert!(within("no arrival", arrivals.recv()).await.is_none());
    within("the end", conn.closed()).await;
    assert!(accepted.close_reason().is_some());
}

#[tokio::test]
async fn of_too_many_connections_the_oldest_gives_way() {
    let (a, mut b) = pair().await;
    let mut conns = Vec::new();
    for _ in 0..5 {
        conns.push(connect(&a, &mut b).await);
    }
    let (oldest, _) = &conns[0];
    within("the oldest", oldest.closed()).await;
    let newest = a.dial(&b, Protocol::Sync).await;
    b.arrival().await;
    assert!(newest.close_reason().is_none());
    assert!(conns[4].0.close_reason().is_none());
}

/// A node on a runtime of its own, which ends without a word when the runtime does.
fn apart(config: links::Config, permitted: proto::EndpointId) -> (Runtime, Node) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let node = runtime.block_on(Node::with(config));
        node.admission.permit(permitted);
        (runtime, node)
    })
    .join()
    .unwrap()
}

#[tokio::test]
async fn a_peer_that_died_without_a_word_is_found_again() {
    let mut a = Node::start(1).await;
    a.admission.permit(config(2).secret.id());
    let mut kept = Vec::new();
    let (runtime, b) = apart(config(2), a.id());
    let mut same_port = config(2);
    same_port.bind = b.links.bound();
    kept.push(a.dial(&b, Protocol::Sync).await);
    runtime.shutdown_background();
    drop(b);

    let start = Instant::now();
    let (runtime, b) = within("the port", async {
        loop {
            let (runtime, b) = apart(same_port.clone(), a.id());
            if b.links.bound() == same_port.bind {
                return (runtime, b);
            }
            runtime.shutdown_background();
        }
    })
    .await;
    kept.push(a.dial(&b, Protocol::Sync).await);
    eprintln!("same port: {:?}", start.elapsed());
    runtime.shutdown_background();
    drop(b);

    // At another port its old connections stand in the way, until they are found silent.
    let start = Instant::now();
    let (runtime, b) = apart(config(2), a.id());
    let (links, addrs, id) = (b.links.clone(), a.links.addrs(), a.id());
    // Held until it has arrived: one that ends sooner may never be handed on.
    let dialled = runtime
        .spawn(async move { links.dial(id, &addrs, None, Protocol::Sync).await })
        .await
        .unwrap()
        .unwrap();
    within("its own dial", a.arrivals.recv()).await.unwrap();
    drop(dialled);
    eprintln!("it dials from another port: {:?}", start.elapsed());
    let start = Instant::now();
    kept.push(a.dial(&b, Protocol::Sync).await);
    eprintln!("it is dialled at another port: {:?}", start.elapsed());
    assert!(kept[2].close_reason().is_none());
    runtime.shutdown_background();
}
