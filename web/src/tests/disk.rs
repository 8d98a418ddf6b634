//! A disk with little room: what others write waits with them, what is written here goes out, and
//! everything goes on by itself.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use engine::{StorageConfig, view::PageQuery};
use serde_json::json;

use super::{
    Bench,
    two::{is_ready, until},
};

fn finds(bench: &Bench, text: &str) -> bool {
    let query = PageQuery::default();
    !bench.node.search(text, &query).unwrap().items.is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_little_room_only_what_is_written_here_is_kept_and_sent() {
    let free = Arc::new(AtomicU64::new(1_000));
    let says = Arc::clone(&free);
    let eva = Bench::on(StorageConfig {
        free_min_bytes: 2_000,
        free: Some(Arc::new(move || Ok(says.load(Ordering::SeqCst)))),
    })
    .await;
    eva.node.set_up("Eva").await.unwrap();
    let ana = Bench::ana().await;
    let low = |bench: &Bench| bench.node.status().unwrap().disk.advice().is_some();
    until(&eva.node, "the disk's state", || low(&eva)).await;
    assert!(!low(&ana));

    let invite = ana.post("/invites", json!({"note": ""})).await;
    let link = json!({"link": invite["link"]});
    let joined = eva
        .call(axum::http::Method::POST, "/contacts/join", Some(link))
        .await;
    assert!(joined.status.is_success(), "{}", joined.body);
    until(&eva.node, "Ana as a contact", || is_ready(&eva)).await;
    until(&ana.node, "Eva as a contact", || is_ready(&ana)).await;
    for (bench, text) in [(&ana, "Anaswords"), (&eva, "Evaswords")] {
        let article = json!({"title": "News", "body": text, "tags": []});
        bench.post("/blog/articles", article).await;
    }
    until(&ana.node, "Eva's article", || finds(&ana, "Evaswords")).await;
    assert!(!finds(&eva, "Anaswords"));
    assert!(is_ready(&eva), "the meeting goes on");

    let status = eva.get("/status").await;
    assert_eq!(
        (&status["disk"]["state"], &status["disk"]["free_bytes"]),
        (&json!("low"), &json!(1_000))
    );
    let page = eva.browser().await.page("/").await;
    assert!(page.contains("The disk is nearly full."), "{page}");

    free.store(5_000, Ordering::SeqCst);
    until(&eva.node, "Ana's article", || finds(&eva, "Anaswords")).await;
    assert_eq!(eva.get("/status").await["disk"]["state"], "fine");
    assert!(!eva.browser().await.page("/").await.contains("The disk is"));
}
