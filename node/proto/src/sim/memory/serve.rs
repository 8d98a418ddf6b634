//! What a session reads of a [`Memory`].

use super::*;
use crate::{body::rule::Removal, session::EndProof, verify::End};

impl SpaceStore for Memory {
    type Error = ();

    fn context(&self, space: SpaceId) -> Result<Option<SpaceContext>, ()> {
        Ok(self.spaces.get(&space).map(|space| space.context.clone()))
    }

    fn digest(&self, space: SpaceId) -> Result<Hash, ()> {
        let leaves: Vec<_> = self
            .feeds(space)
            .filter_map(|(device, frontier)| Some((device, frontier.leaf()?)))
            .collect();
        Ok(merkle::hash_of(&leaves, 0))
    }

    fn node(&self, space: SpaceId, prefix: &Prefix) -> Result<Node, ()> {
        let held = |f: &Frontier| f.leaf().is_some() && prefix.contains(&f.device);
        let frontiers: Vec<Frontier> = self.feeds(space).map(|(_, f)| f).filter(held).collect();
        if frontiers.len() <= merkle::BUCKET_FEEDS_MAX {
            return Ok(Node::Bucket(frontiers));
        }
        let mut children = Box::new([merkle::EMPTY; merkle::FANOUT]);
        for (digit, child) in children.iter_mut().enumerate() {
            let prefix = prefix.child(digit as u8).unwrap();
            let leaves: Vec<_> = frontiers
                .iter()
                .filter(|f| prefix.contains(&f.device))
                .map(|f| (f.device, f.leaf().unwrap()))
                .collect();
            *child = merkle::hash_of(&leaves, prefix.depth());
        }
        Ok(Node::Branch(children))
    }

    fn frontier(&self, space: SpaceId, device: DeviceId) -> Result<Option<Frontier>, ()> {
        Ok(self.feed(space, device).map(|feed| feed.frontier(device)))
    }

    fn frontiers(
        &self,
        space: SpaceId,
        prefix: &Prefix,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Vec<Frontier>, ()> {
        let listed = self
            .feeds(space)
            .map(|(_, f)| f)
            .filter(|f| f.leaf().is_some() && prefix.contains(&f.device) && Some(f.device) > after);
        Ok(listed.take(limit).collect())
    }

    fn facts(&self, space: SpaceId, device: DeviceId) -> Result<FeedFacts, ()> {
        let feed = self.feed(space, device);
        let head = feed.map_or(Head::EMPTY, Feed::head);
        let end = feed.and_then(Feed::end);
        Ok(FeedFacts {
            device,
            author: feed.and_then(|feed| feed.author),
            head,
            tail: feed.and_then(Feed::tail_facts),
            fork: match end {
                Some(End::Fork(fork)) => Some(fork),
                _ => None,
            },
            revoked: match end {
                Some(End::Revoked(last)) => Some(last),
                _ => None,
            },
        })
    }

    fn run(&self, space: SpaceId, device: DeviceId, from: u64) -> Result<Option<ServedRun>, ()> {
        let Some(feed) = self.feed(space, device) else {
            return Ok(None);
        };
        let held = feed.frontier(device).end_above(from);
        let signed = feed.signatures.range(from..held.max(from)).next();
        let end = signed.map_or(held, |(seq, _)| seq + 1);
        let entries = feed.range(from, end);
        let Some((_, first, _)) = entries.first() else {
            return Ok(None);
        };
        let mut run = Run::new(from, first.backlink);
        for (_, header, body) in entries {
            run.items.push(item(header, body.as_deref()));
        }
        if let Some(signature) = feed.signatures.get(&(end - 1)) {
            run.signatures.push(((end - 1 - from) as u32, *signature));
        }
        Ok(Some(ServedRun {
            bytes: run.encode(),
            end,
        }))
    }

    fn tail(
        &self,
        space: SpaceId,
        device: DeviceId,
        (from, end): (u64, Option<u64>),
        bytes_max: usize,
    ) -> Result<Option<ServedTail>, ()> {
        let Some(feed) = self.feed(space, device).filter(|feed| feed.end().is_none()) else {
            return Ok(None);
        };
        let frontier = feed.frontier(device);
        let newest = frontier.tail.map_or(frontier.base, |tail| tail.end);
        let end = end.unwrap_or(newest);
        let lowest = match frontier.tail {
            Some(tail) if end > tail.start => tail.start,
            _ => 1,
        };
        if end == 0 || frontier.end_above(end - 1) < end {
            return Ok(None);
        }
        let (mut start, mut bytes) = (end, 0);
        while start > from.max(lowest) {
            bytes += feed
                .entry(start - 1)
                .map_or(0, |(_, header, _)| header.body_len);
            if bytes as usize > bytes_max && start < end {
                break;
            }
            start -= 1;
        }
        let entries = feed.range(start, end);
        let Some((_, first, _)) = entries.first() else {
            return Ok(None);
        };
        let mut run = Run::new(start, first.backlink);
        for (_, header, body) in entries {
            run.items.push(item(header, body.as_deref()));
        }
        for (seq, signature) in feed.signatures.range(start..end) {
            run.signatures.push(((seq - start) as u32, *signature));
        }
        Ok(Some(ServedTail {
            bytes: run.encode(),
            start,
            entries: end - start,
        }))
    }

    fn end_proof(&self, space: SpaceId, device: DeviceId) -> Result<Option<EndProof>, ()> {
        Ok(self.feed(space, device).and_then(Feed::end_proof))
    }

    fn counts(&self, _: SpaceId, _: &Removal) -> Result<bool, ()> {
        // No circles here.
        Ok(false)
    }

    fn body(&self, space: SpaceId, device: DeviceId, seq: u64) -> Result<Option<Vec<u8>>, ()> {
        Ok(self
            .feed(space, device)
            .and_then(|feed| feed.entry(seq)?.2.clone()))
    }

    fn holes(&self, space: SpaceId, device: DeviceId, limit: usize) -> Result<Vec<u64>, ()> {
        let feed = self.feed(space, device).into_iter();
        Ok(feed.flat_map(Feed::holes).take(limit).collect())
    }
}
