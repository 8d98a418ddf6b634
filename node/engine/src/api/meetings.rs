//! Who is connected over what, the meetings that there were, and meeting now.

use std::time::Duration;

use proto::IdentityId;
use store::{MetEnd, Snapshot};

use super::{Node, bad_cursor, limit};
use crate::{
    Error, Result,
    event::EventKind,
    events::About,
    inner::about_contact,
    records::{self, ContactState as Row},
    view::{
        Behind, Contact, Cursor, Encounters, Exchanged, Meeting, MeetingEnd, Pace, Page, PageQuery,
    },
};

/// Connected contacts in the node's state.
const ONLINE_SHOWN_MAX: usize = 100;
/// Meetings in the node's state.
const MEETINGS_SHOWN: usize = 5;

/// How long a contact who was reached may take to say hello.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

impl Node {
    /// Contacts that are connected, at most 100, by name.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn online(&self) -> Result<Vec<Contact>> {
        let snapshot = self.0.store.read()?;
        let rows = snapshot.contacts()?;
        let ids: std::collections::BTreeSet<_> = self
            .0
            .meetings()
            .values()
            .filter(|meeting| meeting.is_online())
            .map(|meeting| meeting.contact)
            .collect();
        let online = rows.iter().filter(|(id, _)| ids.contains(id));
        let mut online = online
            .take(ONLINE_SHOWN_MAX)
            .map(|(id, row)| self.shown_contact(&snapshot, *id, row, &rows))
            .collect::<Result<Vec<_>>>()?;
        online.sort_by_key(|contact| {
            let name = contact.nickname.as_ref().unwrap_or(&contact.name);
            (name.to_lowercase(), contact.id)
        });
        Ok(online)
    }

    /// Who is here, who was, and what is still to come. Works before set-up.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn encounters(&self) -> Result<Encounters> {
        let online = self.online()?;
        let newest = PageQuery {
            limit: MEETINGS_SHOWN,
            ..PageQuery::default()
        };
        let have = self.0.store.read()?.spaces()?;
        let have = have.iter().map(|space| space.counts.entries).sum();
        Ok(Encounters {
            behind: behind_all(&online, have),
            online,
            meetings: match self.0.keys() {
                Some(_) => self.meetings(None, &newest)?.items,
                None => Vec::new(),
            },
            charging: self.charging(),
        })
    }

    /// Meetings that ended, with one contact or with all, newest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] for nobody's, [`Error::Invalid`] for a bad cursor.
    pub fn meetings(&self, of: Option<IdentityId>, query: &PageQuery) -> Result<Page<Meeting>> {
        self.0.ready()?;
        let snapshot = self.0.store.read()?;
        if let Some(of) = of
            && snapshot.contact(&of)?.is_none()
        {
            return Err(Error::NotFound {
                what: "the contact",
            });
        }
        let before = match &query.cursor {
            None => u64::MAX,
            Some(Cursor(text)) => text.parse().map_err(|_| bad_cursor())?,
        };
        let limit = limit(query)?;
        let mut rows = snapshot.meetings(of, before, limit + 1)?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more);
        Ok(Page {
            next: next.map(|(number, _)| Cursor(number.to_string())),
            items: rows
                .iter()
                .map(|(_, met)| self.shown_meeting(&snapshot, met))
                .collect::<Result<_>>()?,
        })
    }

    fn shown_meeting(&self, snapshot: &Snapshot, met: &store::Met) -> Result<Meeting> {
        Ok(Meeting {
            contact: self.person(snapshot, met.contact)?,
            began_ms: proto::Millis(met.ended.0.saturating_sub(met.lasted_ms)),
            ended_ms: met.ended,
            lasted_ms: met.lasted_ms,
            links: met
                .links
                .iter()
                .filter_map(|number| records::link_at(*number))
                .collect(),
            dialed: met.dialed,
            exchanged: Exchanged {
                entries_in: met.entries_in,
                entries_out: met.entries_out,
                bytes_in: met.bytes_in,
                bytes_out: met.bytes_out,
            },
            end: match met.end {
                MetEnd::Lost => MeetingEnd::Lost,
                MetEnd::Theirs => MeetingEnd::Theirs,
                MetEnd::Ours => MeetingEnd::Ours,
                MetEnd::Replaced => MeetingEnd::Replaced,
                MetEnd::Misbehaved => MeetingEnd::Misbehaved,
                MetEnd::Disk => MeetingEnd::Disk,
            },
        })
    }

    /// Forgets the meetings that ended, with one contact or with all.
    ///
    /// # Errors
    /// [`Error::NotFound`] for nobody's.
    pub async fn forget_meetings(&self, of: Option<IdentityId>) -> Result<()> {
        self.0.ready()?;
        if let Some(of) = of
            && self.0.store.read()?.contact(&of)?.is_none()
        {
            return Err(Error::NotFound {
                what: "the contact",
            });
        }
        self.0
            .store
            .write(move |txn| txn.forget_meetings(of))
            .await?;
        let about = of.map_or_else(About::default, about_contact);
        self.0.events.emit(EventKind::Presence, about);
        Ok(())
    }

    /// Calls a contact now, over every link that is on, also those that are called by hand only.
    /// Returns when they are connected.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`] for who isn't a contact yet, [`Error::Unreachable`].
    pub async fn meet(&self, id: IdentityId) -> Result<Contact> {
        self.0.ready()?;
        let row = self.0.store.read()?.contact(&id)?.ok_or(Error::NotFound {
            what: "the contact",
        })?;
        let supervisor = self.0.supervisor(id);
        let Some(supervisor) = supervisor.filter(|_| row.state == Row::Ready) else {
            return Err(Error::Conflict {
                detail: "they aren't your contact yet: one side has to accept first".into(),
            });
        };
        let mut events = self.0.events.subscribe(None);
        if self.0.online_meetings(id).is_empty() {
            let called = supervisor.call(&self.0, id).await;
            called.map_err(|error| {
                self.0.note_error(id, &error);
                Error::Unreachable {
                    detail: format!("{} didn't answer: {error}", row.name),
                }
            })?;
            let answered = async {
                while self.0.online_meetings(id).is_empty() {
                    events.next().await?;
                }
                Some(())
            };
            if !matches!(
                tokio::time::timeout(ANSWER_WAIT, answered).await,
                Ok(Some(()))
            ) {
                return Err(Error::Unreachable {
                    detail: format!("{} was reached but said nothing", row.name),
                });
            }
        }
        self.contact(id)
    }

    /// How far catching up with one contact is.
    pub(crate) fn behind(&self, id: IdentityId, have: u64) -> Behind {
        let meetings = self.0.online_meetings(id);
        let most = meetings
            .iter()
            .max_by_key(|meeting| meeting.want.load(std::sync::atomic::Ordering::Relaxed));
        let Some(meeting) = most else {
            return Behind {
                have,
                ..Behind::default()
            };
        };
        Behind {
            have,
            want: meeting.want.load(std::sync::atomic::Ordering::Relaxed),
            pace: meeting.pace().map(|told| Pace {
                got: told.got,
                per_s: told.per_s,
                left_s: told.left_s,
            }),
        }
    }
}

/// How far catching up is, over all contacts: several may have the same, so the one from whom it
/// takes longest counts.
fn behind_all(online: &[Contact], have: u64) -> Behind {
    let slowest = online
        .iter()
        .map(|contact| contact.behind)
        .filter(|behind| behind.want > 0)
        .max_by_key(|behind| {
            let left_s = behind.pace.and_then(|pace| pace.left_s);
            (left_s, behind.want)
        });
    Behind {
        have,
        ..slowest.unwrap_or_default()
    }
}
