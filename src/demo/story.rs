//! What the three write: a bike trip to a lake, and the camp there.

use engine::{EntryId, IdentityId, Node, SpaceId};

use super::wait::until;

/// Everybody writes; each waits until they can read what they answer.
pub(super) async fn play(ana: &Node, ben: &Node, cem: &Node) -> anyhow::Result<()> {
    let forum = share_forum(ana, ben, cem).await?;
    packing(ana, ben, cem, forum).await?;
    route(ana, ben, cem, forum).await?;
    let kitchen = cem
        .create_thread(forum, KITCHEN_TITLE, KITCHEN)
        .await?
        .topic
        .id;
    arrives(ana, kitchen).await?;
    ana.reply(kitchen, KITCHEN_ANA, None).await?;
    blogs(ana, ben, cem).await?;
    messages(ana, ben, cem).await
}

async fn share_forum(ana: &Node, ben: &Node, cem: &Node) -> anyhow::Result<SpaceId> {
    let forum = ana.create_forum(FORUM, FORUM_ABOUT).await?.id;
    hand_on(ana, ben, forum).await?;
    hand_on(ben, cem, forum).await?;
    Ok(forum)
}

/// One offers a forum, the other accepts.
async fn hand_on(from: &Node, to: &Node, forum: SpaceId) -> anyhow::Result<()> {
    from.offer(forum, own_id(to)?).await?;
    let offer = until(to, "an offer to arrive", || {
        Ok(to.offers()?.into_iter().find(|offer| offer.space == forum))
    })
    .await?;
    to.accept_offer(&offer.id).await?;
    Ok(())
}

async fn packing(ana: &Node, ben: &Node, cem: &Node, forum: SpaceId) -> anyhow::Result<()> {
    let thread = ana
        .create_thread(forum, PACKING_TITLE, PACKING)
        .await?
        .topic
        .id;
    arrives(ben, thread).await?;
    let stove = ben.reply(thread, PACKING_BEN, None).await?.id;
    arrives(cem, stove).await?;
    let tarp = cem.reply(thread, PACKING_CEM, Some(stove)).await?.id;
    cem.react(thread, "👍", true).await?;
    arrives(ana, tarp).await?;
    ana.reply(thread, PACKING_ANA, Some(tarp)).await?;
    ana.react(tarp, "❤️", true).await?;
    Ok(())
}

async fn route(ana: &Node, ben: &Node, cem: &Node, forum: SpaceId) -> anyhow::Result<()> {
    let thread = ben.create_thread(forum, ROUTE_TITLE, ROUTE).await?.topic.id;
    arrives(ana, thread).await?;
    let question = ana.reply(thread, ROUTE_ANA, None).await?.id;
    arrives(cem, question).await?;
    let answer = cem.reply(thread, ROUTE_CEM, Some(question)).await?.id;
    arrives(ben, answer).await?;
    ben.reply(thread, ROUTE_BEN, Some(answer)).await?;
    Ok(())
}

async fn blogs(ana: &Node, ben: &Node, cem: &Node) -> anyhow::Result<()> {
    let river = ana
        .publish(RIVER_TITLE, RIVER, &tags(&["cycling", "river"]))
        .await?
        .id;
    let wheel = ben
        .publish(WHEEL_TITLE, WHEEL, &tags(&["repairs"]))
        .await?
        .id;
    cem.publish(BREAD_TITLE, BREAD, &tags(&["camp", "cooking"]))
        .await?;
    arrives(ben, river).await?;
    let comment = ben.reply(river, RIVER_BEN, None).await?.id;
    arrives(ana, comment).await?;
    ana.reply(river, RIVER_ANA, Some(comment)).await?;
    arrives(cem, wheel).await?;
    cem.reply(wheel, WHEEL_CEM, None).await?;
    cem.reblog(wheel, WHEEL_REBLOG).await?;
    Ok(())
}

async fn messages(ana: &Node, ben: &Node, cem: &Node) -> anyhow::Result<()> {
    let lift = ana.send_message(own_id(ben)?, LIFT, None).await?.id;
    arrives(ben, lift).await?;
    let answer = ben
        .send_message(own_id(ana)?, LIFT_BEN, Some(lift))
        .await?
        .id;
    arrives(ana, answer).await?;
    ana.send_message(own_id(ben)?, LIFT_ANA, None).await?;
    let cake = cem.send_message(own_id(ben)?, CAKE, None).await?.id;
    arrives(ben, cake).await
}

/// Waits until an entry and its text are there.
async fn arrives(node: &Node, entry: EntryId) -> anyhow::Result<()> {
    until(node, "a post to arrive", || match node.entry(entry) {
        Ok(post) if !post.missing => Ok(Some(())),
        Ok(_) | Err(engine::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    })
    .await
}

fn own_id(node: &Node) -> engine::Result<IdentityId> {
    node.status()?
        .identity
        .map(|person| person.id)
        .ok_or(engine::Error::NotSetUp)
}

fn tags(tags: &[&str]) -> Vec<String> {
    tags.iter().map(|&tag| tag.to_owned()).collect()
}

const FORUM: &str = "Lake trip in August";
const FORUM_ABOUT: &str =
    "Three days by bike to the lake, and five at the camp. Bring a tent and an opinion.";

const PACKING_TITLE: &str = "Who brings what?";
const PACKING: &str = "\
Last year we had four frying pans and not one tin opener, so here is a list. Take a line by answering.

- [x] tent for three (me)
- [x] tin opener (also me, I bought two)
- [ ] stove and gas
- [ ] big pot
- [ ] something against rain for the kitchen corner
- [ ] cards, a ball, the small guitar

Anything that two people need at once is worth bringing twice. Everything else isn't.";
const PACKING_BEN: &str = "\
Stove and pot are mine. The stove is the old petrol one: it is loud, it smells, and it has never let us down.

If somebody has room for **500 g of coffee**, I have no room for 500 g of coffee.";
const PACKING_CEM: &str = "\
I have a tarp, 3 by 4 metres, with enough line to tie it to anything that stands still.

Coffee fits into the pot on Ben's rack. I measured it with lentils.";
const PACKING_ANA: &str = "\
> I measured it with lentils.

That is the most trustworthy sentence of this thread. I tick off the tarp.";

const ROUTE_TITLE: &str = "Route: along the canal or over the hill?";
const ROUTE: &str = "\
Both ways end at the same ice cream.

| | canal | hill |
|---|---|---|
| distance | 68 km | 51 km |
| climb | none | 640 m |
| shade | hardly any | forest all the way |
| water on the way | two locks with a tap | one spring |

With luggage I lean towards the canal, but the forecast says 31 degrees.";
const ROUTE_ANA: &str = "\
How is the surface after the second lock? In spring it was gravel the size of potatoes.";
const ROUTE_CEM: &str = "\
Rolled flat since June. I rode it on narrow tyres two weeks ago and arrived with both of them.

What about the canal until noon, then the forest road from the mill? That is 9 km more than the hill, \
200 m of climb, and shade for the hot half of the day.";
const ROUTE_BEN: &str = "\
The mill has a bakery. Decided.";

const KITCHEN_TITLE: &str = "The box at the kitchen tent";
const KITCHEN: &str = "\
There is no signal at the lake, so I'll hang the little computer from last year under the kitchen tent's roof. \
It runs off the solar panel and knows us all.

1. Come near it with your laptop, and it takes what you wrote and gives you what you missed.
2. Nothing else is needed. Don't reboot it when it seems slow; it is only thinking.
3. If the lamp is dark, turn the panel towards the sun.

Whoever cycles to the village for bread carries everybody's news there and back.";
const KITCHEN_ANA: &str = "\
I volunteer for the bread, and for the news. In that order.";

const RIVER_TITLE: &str = "Three days along the river";
const RIVER: &str = "\
I wanted to know whether one can follow the river from its spring to the sea without a map. One can't, but it is a fine way to fail.

## First day

The spring is a pipe in a wall behind a bus stop. A sign says that it is the spring; without the sign nobody would \
believe it. For the first twenty kilometres the path changes banks as often as it can, over bridges made for cows.

## Second day

Wind from ahead. I learned the names of four kinds of heron from a man who was mending a fence, and forgot one of them:

* grey heron
* night heron
* little bittern
* the other one

## Third day

The path ends at a ferry, and the ferry ends in September. It was October. A woman with a rowing boat took me over for an \
apple and the promise to write about it. **This is the promise, kept.**";
const RIVER_BEN: &str = "The other one is the purple heron. My grandfather mended fences.";
const RIVER_ANA: &str = "Then I owe him an apple too.";

const WHEEL_TITLE: &str = "How to true a wheel at a campsite";
const WHEEL: &str = "\
You need a spoke key, a cable tie and patience. A stand is a luxury; your frame is one already.

1. Turn the bike over and put the cable tie around the seat stay, its end just touching the rim.
2. Spin. Where it ticks, the rim leans to that side.
3. There, tighten the spoke from the *other* side by a quarter turn, and loosen its neighbour by as much.
4. Spin again. Shorten the gap, not your temper.

A quarter turn is a lot. If you don't know which way is tighter, look along the spoke from the rim: clockwise loosens, \
because the nipple is upside down from where you stand. I have known this for ten years and I still say it aloud.

Stop when it is good. Perfect is for wheels that don't go anywhere.";
const WHEEL_CEM: &str = "\
I did exactly this on the meadow behind the station, with a key the size of a coin, and the wheel held until home.";
const WHEEL_REBLOG: &str = "Ben wrote down what he showed me last summer. Keep this one; you'll need it where there is no signal.";

const BREAD_TITLE: &str = "Bread in a pot";
const BREAD: &str = "\
For a fire that has burned down to glowing coals.

- 500 g flour, any
- 350 g water
- 10 g salt
- as much yeast as sticks to a wet fingertip

Stir in the evening, leave it under a towel, and don't look until morning. Line the pot with baking paper, dough in, lid on, pot on \
the coals and a shovel of coals on the lid. **Forty minutes.** It is done when it sounds hollow and everybody is standing around it.";

const LIFT: &str = "Could you take my bike to the station on Friday? I come straight from work and the train won't have room for two.";
const LIFT_BEN: &str = "Sure. Is the lock still the one with my birthday?";
const LIFT_ANA: &str =
    "It is, and nobody has guessed it in six years. See you at the platform, 16:40.";
const CAKE: &str = "It's Ana's birthday on the second evening at the lake. I carry the flour, you carry the secret?";
