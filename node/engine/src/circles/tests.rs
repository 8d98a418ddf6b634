//! Circles between nodes on loopback: who gets what, and who doesn't.

use std::time::Duration;

use proto::{IdentityId, SpaceId, admission::Chain};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::{
    Config, Error, Internet, LinkConfig, Node, Radios, StorageConfig, clock, records, spaces,
    view::{CircleStanding, ContactState, NewInvite, PageQuery, Relation},
};

mod clearing;

/// Nothing here takes longer unless it hangs.
const DEADLINE: Duration = Duration::from_secs(30);

struct Bench {
    dir: TempDir,
    /// None while it starts again.
    node: Option<Node>,
}

async fn start(dir: &TempDir) -> Node {
    let config = Config {
        data_dir: dir.path().join("data"),
        links: LinkConfig {
            internet: Internet::Off,
            internet_fixed: true,
            bind: vec!["127.0.0.1:0".parse().unwrap()],
            radios: Radios::none(),
            ..LinkConfig::default()
        },
        storage: StorageConfig::default(),
    };
    Node::start(config).await.unwrap()
}

async fn bench(name: &str) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let node = start(&dir).await;
    node.set_up(name).await.unwrap();
    let node = Some(node);
    Bench { dir, node }
}

impl std::ops::Deref for Bench {
    type Target = Node;

    fn deref(&self) -> &Node {
        self.node.as_ref().unwrap()
    }
}

impl Bench {
    fn id(&self) -> IdentityId {
        self.0.ready().unwrap().identity.id()
    }

    async fn restart(&mut self) {
        self.shutdown().await;
        self.node = None;
        self.node = Some(start(&self.dir).await);
    }

    /// Waits for something, asked again at each event.
    async fn until(&self, what: &str, mut holds: impl FnMut(&Node) -> bool) {
        let mut events = self.subscribe(None);
        let wait = async {
            while !holds(self) {
                events.next().await.expect("the node runs");
            }
        };
        let waited = timeout(DEADLINE, wait).await;
        waited.unwrap_or_else(|_| panic!("waited for {what}"));
    }

    async fn meets(&self, other: &Self) {
        let invite = self.create_invite(NewInvite::default()).await.unwrap();
        other.join(&invite.link).await.unwrap();
        for (one, whom) in [(self, other.id()), (other, self.id())] {
            one.until("a contact", |node| {
                let contacts = node.contacts(&PageQuery::default()).unwrap().items;
                contacts.iter().any(|contact| {
                    contact.id == whom && contact.state == ContactState::Ready && contact.online
                })
            })
            .await;
        }
    }

    async fn lets_in(&self, circle: SpaceId, other: &Self) {
        self.offer(circle, other.id()).await.unwrap();
        other
            .until("an invitation", |node| !node.offers().unwrap().is_empty())
            .await;
        let offer = other.offers().unwrap().remove(0);
        assert_eq!(other.accept_offer(&offer.id).await.unwrap(), circle);
        self.until("a member", |node| {
            standing(node, circle, other.id()) == Some(CircleStanding::Member)
        })
        .await;
    }

    async fn posts(&self, circle: SpaceId, title: &str) {
        self.create_circle_thread(circle, title, "Words")
            .await
            .unwrap();
    }

    async fn reads(&self, circle: SpaceId, title: &str) {
        self.until(title, |node| {
            titles(node, circle).iter().any(|known| known == title)
        })
        .await;
    }
}

fn titles(node: &Node, circle: SpaceId) -> Vec<String> {
    let threads = node.circle_threads(circle, &PageQuery::default());
    let threads = threads.map_or_else(|_| Vec::new(), |page| page.items);
    threads.into_iter().map(|thread| thread.title).collect()
}

fn standing(node: &Node, circle: SpaceId, who: IdentityId) -> Option<CircleStanding> {
    let members = node.circle_members(circle).ok()?;
    let member = members.into_iter().find(|member| member.person.id == who);
    member.map(|member| member.standing)
}

/// Ana knows Ben and Cem, who don't know each other.
async fn three() -> (Bench, Bench, Bench, SpaceId) {
    let (ana, ben, cem) = (bench("Ana").await, bench("Ben").await, bench("Cem").await);
    ana.meets(&ben).await;
    ana.meets(&cem).await;
    let circle = ana.create_circle("Quiet", "Between us").await.unwrap().id;
    ana.lets_in(circle, &ben).await;
    ana.lets_in(circle, &cem).await;
    (ana, ben, cem, circle)
}

#[tokio::test(flavor = "multi_thread")]
async fn members_who_are_no_contacts_read_each_other_and_nobody_else_does() {
    let (ana, mut ben, cem, circle) = three().await;
    let dan = bench("Dan").await;
    ana.meets(&dan).await;
    ben.posts(circle, "From Ben").await;
    cem.reads(circle, "From Ben").await;
    cem.posts(circle, "From Cem").await;
    ben.reads(circle, "From Cem").await;
    let members = ben.circle_members(circle).unwrap();
    let shown = members.iter().find(|member| member.person.id == cem.id());
    let shown = shown.unwrap();
    assert_eq!(shown.person.relation, Relation::Stranger);
    assert_eq!(shown.person.name, "Cem");
    assert_eq!(shown.let_in_by.as_ref().unwrap().id, ana.id());
    assert_eq!(members[0].standing, CircleStanding::Owner);
    let accepted = ana.withdraw_invitation(circle, ben.id()).await;
    assert!(
        matches!(accepted, Err(Error::NotFound { .. })),
        "{accepted:?}"
    );

    // Dan knows everything that there is to know of the circle, and is a contact of Ana's.
    let space = ana.0.store.read().unwrap().space(circle).unwrap().unwrap();
    let descriptor = space.descriptor.unwrap();
    dan.0
        .store
        .write(move |txn| {
            let record = spaces::described(&descriptor, Chain::root(), clock::now());
            txn.create_space(&record)?;
            records::bump_revs(txn)
        })
        .await
        .unwrap();
    dan.0.tell_audience();
    let forum = ana.create_forum("Open", "").await.unwrap().id;
    ana.offer(forum, dan.id()).await.unwrap();
    dan.until("an offer", |node| !node.offers().unwrap().is_empty())
        .await;
    let offer = dan.offers().unwrap().remove(0);
    dan.accept_offer(&offer.id).await.unwrap();
    let thread = ana.create_thread(forum, "Open", "to all").await.unwrap();
    dan.until("the forum", |node| {
        node.topic(thread.topic.id, &PageQuery::default()).is_ok()
    })
    .await;
    assert_eq!(titles(&dan, circle), [""; 0]);
    assert_eq!(dan.circle(circle).unwrap().entries, 0);
    assert_eq!(standing(&ana, circle, dan.id()), None);

    // Only the owner invites, and only contacts.
    let refused = ben.offer(circle, ana.id()).await;
    assert!(
        matches!(refused, Err(Error::NotAllowed { .. })),
        "{refused:?}"
    );
    let refused = ana.offer(circle, IdentityId([7; 32])).await;
    assert!(
        matches!(refused, Err(Error::NotFound { .. })),
        "{refused:?}"
    );
    // A node that was killed and opened again goes on.
    ben.restart().await;
    ana.posts(circle, "After the restart").await;
    ben.reads(circle, "After the restart").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_removed_gets_nothing_more_and_nothing_of_theirs_is_taken() {
    let (ana, ben, cem, circle) = three().await;
    cem.posts(circle, "Before").await;
    ben.reads(circle, "Before").await;
    ana.reads(circle, "Before").await;
    let refused = ben.remove_member(circle, cem.id()).await;
    assert!(
        matches!(refused, Err(Error::NotAllowed { .. })),
        "{refused:?}"
    );
    ana.remove_member(circle, cem.id()).await.unwrap();
    ana.posts(circle, "Without Cem").await;
    ben.reads(circle, "Without Cem").await;
    assert_eq!(
        standing(&ben, circle, cem.id()),
        Some(CircleStanding::Removed)
    );
    cem.until("the removal", |node| {
        node.circle(circle).unwrap().standing == CircleStanding::Removed
    })
    .await;
    // What was there before stays readable, to everybody.
    assert_eq!(titles(&cem, circle), ["Before"]);
    ben.reads(circle, "Before").await;
    let refused = cem.create_circle_thread(circle, "After", "Words").await;
    assert!(
        matches!(refused, Err(Error::Conflict { .. })),
        "{refused:?}"
    );
    let invited = ana.offer(circle, cem.id()).await;
    assert!(
        matches!(invited, Err(Error::NotAllowed { .. })),
        "{invited:?}"
    );
    // A new name goes to the other spaces, and nothing fails.
    cem.rename("Cem the second").await.unwrap();
    cem.leave(circle).await.unwrap();
    assert!(cem.circle(circle).is_err());
    assert_eq!(titles(&ana, circle).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_hand_over_the_new_owner_decides() {
    let (ana, ben, cem, circle) = three().await;
    let eva = bench("Eva").await;
    ben.meets(&eva).await;
    let refused = ana.leave(circle).await;
    assert!(
        matches!(refused, Err(Error::NotAllowed { .. })),
        "{refused:?}"
    );
    let over = ana.hand_over_circle(circle, ben.id()).await.unwrap();
    assert_eq!(over.owner.id, ben.id());
    assert_eq!(over.standing, CircleStanding::Member);
    for node in [&ben, &cem] {
        node.until("the hand-over", |node| {
            node.circle(circle).unwrap().owner.id == ben.id()
        })
        .await;
    }
    for refused in [
        ana.remove_member(circle, cem.id()).await,
        ana.close_circle(circle, None, true).await,
        ana.offer(circle, cem.id()).await,
    ] {
        assert!(
            matches!(refused, Err(Error::NotAllowed { .. })),
            "{refused:?}"
        );
    }
    // Eva is three steps from Cem, and let in by somebody who wasn't always the owner.
    ben.lets_in(circle, &eva).await;
    eva.posts(circle, "From Eva").await;
    cem.reads(circle, "From Eva").await;
    cem.posts(circle, "From Cem").await;
    eva.reads(circle, "From Cem").await;
    ben.close_circle(circle, None, true).await.unwrap();
    cem.until("the end", |node| node.circle(circle).unwrap().closed)
        .await;
    let refused = cem.create_circle_thread(circle, "Late", "Words").await;
    assert!(
        matches!(refused, Err(Error::Conflict { .. })),
        "{refused:?}"
    );
    ben.close_circle(circle, None, false).await.unwrap();
    cem.until("opening", |node| !node.circle(circle).unwrap().closed)
        .await;
    let thread = cem.create_circle_thread(circle, "Words", "x").await;
    let thread = thread.unwrap().topic.id;
    ben.reads(circle, "Words").await;
    ben.close_circle(circle, Some(thread), true).await.unwrap();
    cem.until("the end of a thread", |node| {
        let page = node.topic(thread, &PageQuery::default()).unwrap();
        page.topic.closed
    })
    .await;
    let refused = cem.reply(thread, "Once more", None).await;
    assert!(
        matches!(refused, Err(Error::Conflict { .. })),
        "{refused:?}"
    );
    // Ana leaves; the others see it, Cem by nobody else: he is Ana's contact only.
    ana.leave(circle).await.unwrap();
    ben.until("a goodbye", |node| {
        standing(node, circle, ana.id()) == Some(CircleStanding::Left)
    })
    .await;
}

/// Somebody who left comes back by a new invitation only, and their feed goes on.
#[tokio::test(flavor = "multi_thread")]
async fn who_left_comes_back_by_a_new_invitation() {
    let (ana, ben, _, circle) = three().await;
    ben.posts(circle, "The first time").await;
    ana.reads(circle, "The first time").await;
    ben.leave(circle).await.unwrap();
    ana.until("a goodbye", |node| {
        standing(node, circle, ben.id()) == Some(CircleStanding::Left)
    })
    .await;
    ana.posts(circle, "Without Ben").await;
    ana.lets_in(circle, &ben).await;
    ben.posts(circle, "Back again").await;
    ana.reads(circle, "Back again").await;
    ben.reads(circle, "Without Ben").await;
    ben.reads(circle, "The first time").await;
}

/// Nobody was there to hear the goodbye, so they are a member still for everybody else.
#[tokio::test(flavor = "multi_thread")]
async fn who_left_unheard_comes_back_by_a_new_invitation() {
    let (mut ana, ben, cem, circle) = three().await;
    ben.posts(circle, "The first time").await;
    ana.reads(circle, "The first time").await;
    ana.shutdown().await;
    ben.leave(circle).await.unwrap();
    ana.restart().await;
    assert_eq!(
        standing(&ana, circle, ben.id()),
        Some(CircleStanding::Member)
    );
    ana.lets_in(circle, &ben).await;
    // Who never left takes no notice.
    ana.offer(circle, cem.id()).await.unwrap();
    ben.posts(circle, "Back again").await;
    ana.reads(circle, "Back again").await;
    cem.reads(circle, "Back again").await;
    assert!(cem.offers().unwrap().is_empty());
}

/// An invitation that was taken back lets nobody in, also who says yes to it.
#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_can_be_taken_back() {
    let (ana, dan) = (bench("Ana").await, bench("Dan").await);
    ana.meets(&dan).await;
    let circle = ana.create_circle("Quiet", "").await.unwrap().id;
    ana.offer(circle, dan.id()).await.unwrap();
    assert_eq!(
        standing(&ana, circle, dan.id()),
        Some(CircleStanding::Invited)
    );
    dan.until("an invitation", |node| !node.offers().unwrap().is_empty())
        .await;
    ana.withdraw_invitation(circle, dan.id()).await.unwrap();
    assert_eq!(standing(&ana, circle, dan.id()), None);
    let again = ana.withdraw_invitation(circle, dan.id()).await;
    assert!(matches!(again, Err(Error::NotFound { .. })), "{again:?}");
    ana.posts(circle, "Alone").await;
    let offer = dan.offers().unwrap().remove(0);
    dan.accept_offer(&offer.id).await.unwrap();
    // Something else goes to and fro meanwhile.
    dan.send_message(ana.id(), "Hello", None).await.unwrap();
    ana.until("a message", |node| {
        let page = node.conversation(dan.id(), &PageQuery::default(), true);
        !page.unwrap().posts.items.is_empty()
    })
    .await;
    assert_eq!(titles(&dan, circle), [""; 0]);
    assert_eq!(standing(&ana, circle, dan.id()), None);
}
