//! Every bound of the HTTP side, with its unit and its reason.

use std::time::Duration;

/// Bytes of a request's body: a text of 64 KiB whose every byte was escaped as six in JSON, and its title.
pub(crate) const BODY_BYTES_MAX: usize = 512 * 1024;
/// Bytes of a request's line and headers together; ours need under 2 KiB.
pub(crate) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Headers of a request; browsers send about 20.
pub(crate) const HEADERS_MAX: usize = 64;
/// Time for a request's head to arrive, also the time that an idle connection is kept.
pub(crate) const HEAD_TIME_MAX: Duration = Duration::from_secs(20);
/// Time for a request's body to arrive and for the answer to begin. A commit to a slow disk takes a second.
pub(crate) const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// The same where everything that is held is checked: minutes for tens of millions of entries.
pub(crate) const CHECK_UP_TIME_MAX: Duration = Duration::from_secs(1_200);
/// Connections at once. A browser keeps about six; the rest is for tools.
pub(crate) const CONNECTIONS_MAX: usize = 256;
/// Connections from the network at once: some phones. They have places of their own, so that nobody
/// there takes those of this machine.
pub(crate) const LAN_CONNECTIONS_MAX: usize = 64;
/// And of one address: a browser or two.
pub(crate) const LAN_CONNECTIONS_PER_SOURCE_MAX: usize = 16;
/// Live streams at once, so that they leave connections to requests.
pub(crate) const STREAMS_MAX: usize = 64;
/// Events that wait for one slow reader before its stream makes the engine's own queue wait.
pub(crate) const STREAM_QUEUE_MAX: usize = 64;
/// Between two comments on a silent stream; proxies and phones cut at 30 to 60 seconds.
pub(crate) const STREAM_KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Time for open requests to end when the node stops. The whole node has 5 seconds.
pub(crate) const DRAIN_TIME_MAX: Duration = Duration::from_secs(3);
/// Pause after the system refused a connection (no file descriptors left), so that it isn't asked in a busy loop.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Milliseconds for which a sign-in link is good: long enough to walk to another machine.
pub(crate) const SIGN_IN_MS_MAX: u64 = 10 * 60 * 1_000;
/// Sign-in links at once; the oldest goes first.
pub(crate) const SIGN_IN_LINKS_MAX: usize = 16;
/// Milliseconds after which a session that is in use is written down again.
pub(crate) const SESSION_WRITE_EVERY_MS: u64 = 6 * 3_600 * 1_000;
/// Sessions at once; the one that was idle longest goes first.
pub(crate) const SESSIONS_MAX: usize = 32;
/// Milliseconds without a request after which a session ends: 30 days.
pub(crate) const SESSION_IDLE_MS_MAX: u64 = 30 * 24 * 3_600 * 1_000;
/// Characters of a browser's self-description that are kept for the list of sessions.
pub(crate) const AGENT_CHARS_MAX: usize = 120;

/// Items on a page of a list, in the dashboard and by default in the API.
pub(crate) const PAGE_ITEMS: usize = 100;
/// Items on a page that the API may be asked for.
pub(crate) const PAGE_ITEMS_MAX: usize = 500;
/// Messages on a page of a conversation.
pub(crate) const MESSAGES_PER_PAGE: usize = 50;
/// Conversations whose unread messages are counted for the navigation: the newest ones hold nearly all of them.
pub(crate) const NAV_CONVERSATIONS: usize = 20;
/// Pages of a topic that are looked through to find the one with a given entry.
pub(crate) const LOCATE_PAGES_MAX: usize = 20;
/// Entries that one request can mark as read.
pub(crate) const MARK_READ_MAX: usize = 500;
/// Characters of a search.
pub(crate) const SEARCH_CHARS_MAX: usize = 200;
/// Replies are moved in up to this depth; deeper ones stand below each other, so that a phone's width suffices.
pub(crate) const INDENT_DEPTH_MAX: usize = 6;

/// Bytes of rendered texts that are kept. An idle node shall stay small.
pub(crate) const RENDER_CACHE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Parser steps (a line, an inline or a node each) for one text; an honest text of 64 KiB needs about 40,000.
pub(crate) const RENDER_STEPS_MAX: u32 = 400_000;
/// Nesting of a parsed text.
pub(crate) const RENDER_DEPTH_MAX: usize = 64;
/// Bytes of HTML made of one text: a hundred times what escaping can need, and far below what tables can blow up to.
pub(crate) const RENDER_BYTES_MAX: usize = 1024 * 1024;
/// A time before 2024-01-01 comes from a clock that was never set.
pub(crate) const CLOCK_EARLIEST_MS: u64 = 1_704_067_200_000;
