//! Introductions of contacts to each other.

use engine::view;
use serde::Serialize;
use utoipa::ToSchema;

use super::Person;

/// What somebody said to an introduction.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IntroductionAnswer {
    /// Nothing yet.
    Waiting,
    /// Yes.
    Yes,
    /// Not now.
    No,
}

impl From<view::IntroductionAnswer> for IntroductionAnswer {
    fn from(answer: view::IntroductionAnswer) -> Self {
        match answer {
            view::IntroductionAnswer::Waiting => Self::Waiting,
            view::IntroductionAnswer::Yes => Self::Yes,
            view::IntroductionAnswer::No => Self::No,
        }
    }
}

/// How far an introduction is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IntroductionState {
    /// It waits for our answer.
    Asks,
    /// It waits for others' answers.
    Waits,
    /// Both said yes: their devices have to meet once.
    Meets,
    /// They are contacts; of one that we made, both said yes.
    Done,
    /// Somebody said no.
    Declined,
    /// It is too old.
    Expired,
}

/// An introduction that we made between two contacts, or that a contact made for us.
#[derive(Serialize, ToSchema)]
pub(crate) struct Introduction {
    /// The same on all three nodes.
    pub(crate) id: String,
    /// We made it.
    pub(crate) made: bool,
    /// Who introduces.
    pub(crate) by: Person,
    /// Who is introduced; we, where we didn't make it.
    pub(crate) one: Person,
    /// To whom.
    pub(crate) other: Person,
    /// What the introducer says about it.
    pub(crate) message: String,
    /// When it was made, or came.
    pub(crate) created_ms: u64,
    /// Until when it can be answered and carried out.
    pub(crate) expires_ms: u64,
    /// What the one said.
    pub(crate) one_says: IntroductionAnswer,
    /// What the other said.
    pub(crate) other_says: IntroductionAnswer,
    /// How far it is.
    pub(crate) state: IntroductionState,
}

impl From<view::Introduction> for Introduction {
    fn from(introduction: view::Introduction) -> Self {
        Self {
            id: introduction.id,
            made: introduction.made,
            by: introduction.by.into(),
            one: introduction.one.into(),
            other: introduction.other.into(),
            message: introduction.message,
            created_ms: introduction.at_ms.0,
            expires_ms: introduction.expires_ms.0,
            one_says: introduction.one_says.into(),
            other_says: introduction.other_says.into(),
            state: match introduction.state {
                view::IntroductionState::Asks => IntroductionState::Asks,
                view::IntroductionState::Waits => IntroductionState::Waits,
                view::IntroductionState::Meets => IntroductionState::Meets,
                view::IntroductionState::Done => IntroductionState::Done,
                view::IntroductionState::Declined => IntroductionState::Declined,
                view::IntroductionState::Expired => IntroductionState::Expired,
            },
        }
    }
}
