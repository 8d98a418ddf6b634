//! The handshake of a channel, before anything of QUIC passes.

use std::{future::poll_fn, sync::Arc, time::Duration};

use proto::{
    EndpointId,
    bluetooth::{
        Acceptor, CHALLENGE_BYTES, ChannelKey, Dialler, Established, Guests, Meant, Reject,
    },
};
use tokio::time::timeout;

use super::{
    hub::OpenError,
    radio::{Channel, FRAME_BYTES_MAX},
};
use crate::crypto;

/// How long a handshake may take, from the channel to the welcome: three short frames, while the
/// radio does other things.
pub const GREETING_WAIT: Duration = Duration::from_secs(5);

/// What the accepting side goes by at the moment of the answer.
pub(super) struct House {
    pub(super) own: Option<EndpointId>,
    pub(super) contacts: Arc<[(EndpointId, ChannelKey)]>,
    pub(super) nearby: Option<EndpointId>,
}

/// Runs the dialling side.
pub(super) async fn dial(
    channel: &dyn Channel,
    own: EndpointId,
    meant: Meant,
) -> Result<Established, OpenError> {
    let nonce = nonce()?;
    within(async {
        let challenge = recv(channel).await?;
        let (answered, answer) = Dialler::new(own, meant).answer(&challenge, nonce)?;
        send(channel, &answer).await?;
        Ok(answered.welcome(&recv(channel).await?)?)
    })
    .await
}

/// Runs the accepting side. True with it where somebody came to meet somebody new.
pub(super) async fn accept(
    channel: &dyn Channel,
    house: impl FnOnce() -> House,
) -> Result<(Established, bool), OpenError> {
    let nonce = nonce()?;
    within(async {
        let (acceptor, challenge) = Acceptor::new(nonce);
        send(channel, &challenge).await?;
        let answer = recv(channel).await?;
        let house = house();
        let guests = Guests {
            own: house.own.ok_or(Reject::Stranger)?,
            contacts: &house.contacts,
            nearby: house.nearby,
        };
        let welcomed = acceptor.welcome(&answer, guests)?;
        send(channel, &welcomed.reply).await?;
        Ok((welcomed.channel, welcomed.nearby))
    })
    .await
}

async fn within<T>(handshake: impl Future<Output = Result<T, OpenError>>) -> Result<T, OpenError> {
    let passed = timeout(GREETING_WAIT, handshake).await;
    passed.unwrap_or(Err(OpenError::Silent))
}

fn nonce() -> Result<[u8; CHALLENGE_BYTES], OpenError> {
    let mut nonce = [0; CHALLENGE_BYTES];
    let random = crypto::provider().secure_random;
    random
        .fill(&mut nonce)
        .map_err(|_| OpenError::Radio("the system has no random bytes".to_owned()))?;
    Ok(nonce)
}

async fn send(channel: &dyn Channel, frame: &[u8]) -> Result<(), OpenError> {
    let sent = poll_fn(|cx| channel.poll_send(cx, frame)).await;
    sent.map_err(|error| OpenError::Radio(error.to_string()))
}

async fn recv(channel: &dyn Channel) -> Result<Vec<u8>, OpenError> {
    let mut frame = vec![0; FRAME_BYTES_MAX];
    match poll_fn(|cx| channel.poll_recv(cx, &mut frame)).await {
        Ok(0) => Err(OpenError::Radio("the other side closed".to_owned())),
        Ok(length) => {
            frame.truncate(length);
            Ok(frame)
        }
        Err(error) => Err(OpenError::Radio(error.to_string())),
    }
}
