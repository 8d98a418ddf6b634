//! Every bound that the protocol keeps, with its unit and its reason.
//!
//! Over a bound: a clear error to our own user, a counted rejection to a peer. Lengths are
//! checked before anything is allocated.

/// Bytes of a text: a post, an article, a message. Long enough for an essay.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Characters of a title.
pub const TITLE_CHARS_MAX: usize = 200;
/// Characters of a person's or a space's name.
pub const NAME_CHARS_MAX: usize = 64;
/// Characters of a space's description.
pub const DESCRIPTION_CHARS_MAX: usize = 500;
/// Characters of one tag.
pub const TAG_CHARS_MAX: usize = 40;
/// Tags of one article.
pub const TAGS_MAX: usize = 16;
/// Characters of a reaction; one emoji can be a sequence of many.
pub const REACTION_CHARS_MAX: usize = 16;
/// Bytes of an encoded body: a text, its title, and room for what a reblog embeds.
pub const BODY_BYTES_MAX: usize = 160 * 1024;
/// Nesting of arrays and maps in a body.
pub const BODY_DEPTH_MAX: usize = 8;
/// A checkpoint stands at every so many entries of a feed.
pub const CHECKPOINT_ENTRIES: u64 = 256;
/// And where the bodies since the last checkpoint pass so many bytes.
pub const CHECKPOINT_BYTES: u64 = 256 * 1024;
/// Bytes of one frame on a meeting's stream.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Entries that one import commits at once.
pub const BATCH_ENTRIES_MAX: usize = 4_096;
/// Bytes of bodies that one import commits at once (and one entry more).
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Spaces that a node holds.
pub const SPACES_MAX: usize = 1_024;
/// Feeds in one space.
pub const FEEDS_PER_SPACE_MAX: usize = 100_000;
/// Contacts of a person.
pub const CONTACTS_MAX: usize = 1_000;
/// Admissions from a forum's creator down to a member.
pub const ADMISSION_DEPTH_MAX: usize = 32;
/// People that one member can let into a space: nobody has more contacts.
pub const ADMISSIONS_PER_INVITER_MAX: usize = CONTACTS_MAX;
/// Open invites of a node.
pub const INVITES_MAX: usize = 64;
/// Uses of one invite.
pub const INVITE_USES_MAX: u32 = 200;
/// How long an invite may be valid, in seconds: a month.
pub const INVITE_EXPIRY_S_MAX: u64 = 30 * 24 * 3_600;
/// How long an invite is valid by default, in seconds: 48 hours.
pub const INVITE_EXPIRY_S_DEFAULT: u64 = 48 * 3_600;
/// Characters of an invite's link.
pub const INVITE_LINK_CHARS_MAX: usize = 1_200;
/// Addresses in a contact card or an invite.
pub const ADDRS_MAX: usize = 12;
/// Offers that one contact can leave unanswered.
pub const OFFERS_PER_CONTACT_MAX: usize = 64;
/// Introductions by one contact that wait for an answer or a meeting.
pub const INTRODUCTIONS_PER_CONTACT_MAX: usize = 32;
/// How long an introduction is good, in milliseconds: 14 days.
pub const INTRODUCTION_EXPIRY_MS: u64 = 14 * 24 * 3_600 * 1_000;
/// Devices of one identity.
pub const DEVICES_PER_IDENTITY_MAX: usize = 16;
/// A claimed time further ahead of our own than this is shown as doubtful, in milliseconds.
pub const CLOCK_AHEAD_MS_MAX: u64 = 10 * 60 * 1_000;
/// A claimed time before 2024-01-01 comes from a clock that was never set.
pub const CLOCK_EARLIEST_MS: u64 = 1_704_067_200_000;
/// Letters that a node carries for others, and tags in one frame.
pub const CARRIED_MAX: usize = 10_000;
/// Bytes of letters that a node carries for others.
pub const CARRIED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of them that one contact may leave with it.
pub const CARRIED_BYTES_PER_CONTACT_MAX: u64 = 4 * 1024 * 1024;
/// Letters that one contact may leave with it.
pub const CARRIED_PER_CONTACT_MAX: usize = 1_000;
/// How long a letter is good, in days: until then its receiver keeps the key of last resort.
pub const LETTER_DAYS: u16 = 30;
/// How long a disappearing message stays, in seconds: a minute to a year.
pub const LIFETIME_S: std::ops::RangeInclusive<u32> = 60..=365 * 24 * 3_600;
/// How long a carrier keeps a letter by its own clock, in days: it bounds letters whose sender or carrier
/// doesn't know the date.
pub const CARRIED_DAYS_MAX: u64 = 2 * LETTER_DAYS as u64;
/// People in a circle, with those who haven't answered: a page of names that an owner can look over.
pub const MEMBERS_MAX: usize = 1_000;
/// People whom a hand-over names: those who left may be among them.
pub const NAMED_MAX: usize = 2 * MEMBERS_MAX;
/// Rules of one device that count in a circle: its first ones. All are looked at to know who owns it.
pub const RULES_MAX: usize = 4_096;
/// Hand-overs of one device that are looked at: each is long, and one that counts is the last of a term.
pub const HAND_OVERS_MAX: usize = 64;
/// Owners that a circle has one after the other.
pub const TERMS_MAX: usize = 64;
