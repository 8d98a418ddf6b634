//! The own feed of a space that was left.
//!
//! Leaving deletes what a space holds, texts included. But a device that came back and began its
//! feed anew would sign other entries at the same places: it would have forked, and everybody
//! would drop it. So the headers of the own entries are kept, 44 bytes each, with their
//! signatures and the first entry whole; on coming back they are the feed again, and the bodies
//! are holes that whoever has them fills.

use proto::{
    DeviceId, Millis, SpaceId,
    limits::{CHECKPOINT_BYTES, CHECKPOINT_ENTRIES},
    run::{BodyPart, Run},
    verify::{Outcome, verify_run},
};
use store::{Error, ImportError, Setting, Txn};

/// The key of one checkpoint's worth of headers; sorts by number.
fn key(space: SpaceId, number: usize) -> String {
    format!("own-feed/{space}/{number:08}")
}

/// Keeps the headers of the own feed; to be called before the space is left.
pub(crate) fn keep(txn: &mut Txn<'_>, device: DeviceId, space: SpaceId) -> Result<(), Error> {
    forget(txn, space)?;
    let mut from = 0;
    for number in 0.. {
        let (entries_max, bytes_max) = (CHECKPOINT_ENTRIES as usize, CHECKPOINT_BYTES as usize);
        let Some(served) = txn.run(space, device, from, entries_max, bytes_max)? else {
            return Ok(());
        };
        let Ok(mut run) = Run::decode(&served.bytes) else {
            return Err(Error::Refused("the own feed can't be read".to_owned()));
        };
        for (seq, item) in (run.start..).zip(&mut run.items) {
            if seq > 0 {
                let (len, hash) = (item.body.len(), item.body.hash());
                item.body = BodyPart::Absent { len, hash };
            }
        }
        txn.put_setting(&key(space, number), &Setting(run.encode()))?;
        from = served.end;
    }
    Ok(())
}

/// Makes the kept headers the own feed again; to be called when the space is held again.
pub(crate) fn restore(
    txn: &mut Txn<'_>,
    device: DeviceId,
    space: SpaceId,
    now: Millis,
) -> Result<(), Error> {
    let refused = |what: String| Error::Refused(format!("the own feed can't be restored: {what}"));
    let context = txn.context(space)?.ok_or(Error::UnknownSpace)?;
    for number in 0.. {
        let Some(Setting(bytes)) = txn.setting(&key(space, number))? else {
            break;
        };
        let facts = txn.facts(space, device)?;
        let outcome = verify_run(&context, &facts, bytes);
        let Outcome::Continues(run) = outcome.map_err(|reject| refused(reject.to_string()))? else {
            break;
        };
        match txn.import(space, run, now) {
            Ok(_) => {}
            Err(ImportError::Store(error)) => return Err(error),
            Err(ImportError::Reject(reject)) => return Err(refused(reject.to_string())),
        }
    }
    forget(txn, space)
}

fn forget(txn: &mut Txn<'_>, space: SpaceId) -> Result<(), Error> {
    for number in 0.. {
        if !txn.remove_setting(&key(space, number))? {
            break;
        }
    }
    Ok(())
}
