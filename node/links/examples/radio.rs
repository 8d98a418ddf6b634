//! One Bluetooth adapter by hand, for tests on a real Bluetooth stack: says what it sees, a line an
//! event, and does what it is told.
//!
//! `radio ADAPTER serve` announces itself and sends back every frame. `radio ADAPTER watch` does
//! nothing at all. `radio ADAPTER meet COUNT BYTES` looks for one that serves, sends it so many frames and
//! checks what comes back. `radio ADAPTER stranger silent|garbage|oversized|unread|flood` connects to whoever
//! is announced first and behaves like that. An adapter `-` is any.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

#[cfg(all(feature = "bluetooth", target_os = "linux"))]
mod by_hand {
    use std::{env, future::poll_fn, io, sync::Arc, time::Duration};

    use links::bluetooth::{
        bluez,
        radio::{ANNOUNCED_BYTES, Address, Channel, FRAME_BYTES_MAX, Listening, Radio, State},
    };
    use tokio::time::{Instant, sleep, timeout};

    /// An emulated computer is slow.
    const PATIENCE: Duration = Duration::from_secs(60);

    struct Clock(Instant);

    impl Clock {
        fn say(&self, text: &str) {
            println!("[{:7.3}] {text}", self.0.elapsed().as_secs_f64());
        }
    }

    async fn send(channel: &dyn Channel, frame: &[u8]) -> io::Result<()> {
        poll_fn(|cx| channel.poll_send(cx, frame)).await
    }

    async fn receive(channel: &dyn Channel, frame: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| channel.poll_recv(cx, frame)).await
    }

    /// Frames that differ in length and in every byte.
    fn frame(number: u32, longest: usize) -> Vec<u8> {
        let bytes = blake3::hash(&number.to_be_bytes());
        let length = 1 + usize::from(bytes.as_bytes()[0]) * longest / 256;
        let mut frame = vec![0; length.max(1)];
        let mut reader = blake3::Hasher::new_keyed(bytes.as_bytes()).finalize_xof();
        reader.fill(&mut frame);
        frame
    }

    async fn ready(radio: &dyn Radio) -> State {
        let mut state = radio.state();
        let is_ready = |state: &State| matches!(state, State::Ready(_));
        let state = timeout(PATIENCE, state.wait_for(is_ready)).await;
        state.expect("the adapter isn't ready").unwrap().clone()
    }

    fn announce(radio: &dyn Radio) {
        let bytes = radio.port().map(|port| {
            let mut bytes = [0; ANNOUNCED_BYTES];
            bytes[0] = port;
            bytes[1..].copy_from_slice(b"by hand..");
            bytes
        });
        radio.announce(bytes);
    }

    pub(super) async fn run() {
        let clock = Arc::new(Clock(Instant::now()));
        let mut words = env::args().skip(1);
        let adapter = words.next().filter(|name| name != "-");
        let what = words.next().expect("a command");
        let rest: Vec<String> = words.collect();
        let radio = bluez::open(adapter);
        let told = (clock.clone(), radio.state());
        tokio::spawn(async move {
            let (clock, mut state) = told;
            loop {
                clock.say(&format!("state {:?}", &*state.borrow_and_update()));
                if state.changed().await.is_err() {
                    return;
                }
            }
        });
        match what.as_str() {
            "watch" => std::future::pending().await,
            "serve" => serve(&clock, &*radio).await,
            "meet" => {
                let (count, bytes) = (rest[0].parse().unwrap(), rest[1].parse().unwrap());
                meet(&clock, &*radio, count, bytes).await;
            }
            "stranger" => stranger(&clock, &*radio, &rest[0]).await,
            other => panic!("no such command: {other}"),
        }
    }

    async fn serve(clock: &Arc<Clock>, radio: &dyn Radio) {
        let (mut state, mut arrivals) = (radio.state(), radio.arrivals().unwrap());
        loop {
            announce(radio);
            tokio::select! {
                changed = state.changed() => changed.unwrap(),
                channel = arrivals.recv() => {
                    let channel = channel.unwrap();
                    clock.say(&format!("arrived {:?}", channel.remote()));
                    let clock = clock.clone();
                    tokio::spawn(async move {
                        let result = echo(&*channel).await;
                        clock.say(&format!("left {:?}: {result:?}", channel.remote()));
                    });
                }
            }
        }
    }

    async fn echo(channel: &dyn Channel) -> io::Result<u32> {
        let (mut frame, mut count) = ([0; FRAME_BYTES_MAX], 0);
        loop {
            let length = receive(channel, &mut frame).await?;
            if length == 0 {
                return Ok(count);
            }
            send(channel, &frame[..length]).await?;
            count += 1;
        }
    }

    async fn found(clock: &Clock, radio: &dyn Radio) -> (Address, u8) {
        ready(radio).await;
        let started = Instant::now();
        radio.listen(Listening::Eager);
        let mut heard = radio.heard().unwrap();
        let heard = timeout(PATIENCE, heard.recv()).await;
        let heard = heard.expect("nobody is announced").unwrap();
        radio.listen(Listening::Off);
        let after = started.elapsed().as_secs_f64();
        clock.say(&format!("heard {:?} after {after:.2} s", heard.from));
        (heard.from, heard.bytes[0])
    }

    async fn connected(clock: &Clock, radio: &dyn Radio) -> Arc<dyn Channel> {
        let (from, port) = found(clock, radio).await;
        let started = Instant::now();
        let channel = radio.connect(from, port).await.expect("connects");
        let after = started.elapsed().as_secs_f64();
        clock.say(&format!("connected {from:?} after {after:.2} s"));
        channel
    }

    async fn meet(clock: &Clock, radio: &dyn Radio, count: u32, longest: usize) {
        let channel = connected(clock, radio).await;
        let started = Instant::now();
        let sent: usize = (0..count).map(|number| frame(number, longest).len()).sum();
        let sender = channel.clone();
        let sending = tokio::spawn(async move {
            for number in 0..count {
                send(&*sender, &frame(number, longest)).await.unwrap();
            }
        });
        let mut back = [0; FRAME_BYTES_MAX];
        for number in 0..count {
            let length = timeout(PATIENCE, receive(&*channel, &mut back)).await;
            let length = length.expect("a frame is lost").unwrap();
            assert_eq!(back[..length], frame(number, longest), "frame {number}");
        }
        sending.await.unwrap();
        let took = started.elapsed().as_secs_f64();
        clock.say(&format!(
            "met: {count} frames, {sent} bytes each way, {took:.2} s"
        ));
        drop(channel);
        // Whether the connection below the channel goes too is for the test to see.
        sleep(Duration::from_millis(200)).await;
    }

    async fn stranger(clock: &Clock, radio: &dyn Radio, how: &str) {
        let (from, port) = found(clock, radio).await;
        let channels = if how == "flood" { 40 } else { 1 };
        let mut open = Vec::new();
        for number in 0..channels {
            match radio.connect(from, port).await {
                Ok(channel) => open.push(channel),
                Err(error) => clock.say(&format!("refused {number}: {error}")),
            }
        }
        clock.say(&format!("stranger {how}: {} channels", open.len()));
        let Some(channel) = open.first().cloned() else {
            return;
        };
        let mut frame = vec![0xA5; FRAME_BYTES_MAX];
        for round in 0_u32.. {
            let result = match how {
                "garbage" => {
                    let length = 1 + round as usize * 37 % FRAME_BYTES_MAX;
                    timeout(PATIENCE, send(&*channel, &frame[..length])).await
                }
                "oversized" => {
                    frame.resize(FRAME_BYTES_MAX + 1, 0);
                    timeout(PATIENCE, send(&*channel, &frame)).await
                }
                "unread" => {
                    sleep(PATIENCE).await;
                    continue;
                }
                _ => match timeout(PATIENCE, receive(&*channel, &mut frame)).await {
                    Ok(Ok(0)) => Ok(Err(io::ErrorKind::UnexpectedEof.into())),
                    Ok(Ok(length)) => {
                        clock.say(&format!("told {length} bytes"));
                        continue;
                    }
                    Ok(Err(error)) => Ok(Err(error)),
                    Err(late) => Err(late),
                },
            };
            match result {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    clock.say(&format!("cut off after {round} frames: {error}"));
                    return;
                }
                Err(_) => {
                    clock.say(&format!("still there after {round} frames"));
                    return;
                }
            }
        }
    }
}

#[cfg(all(feature = "bluetooth", target_os = "linux"))]
#[tokio::main]
async fn main() {
    by_hand::run().await;
}

#[cfg(not(all(feature = "bluetooth", target_os = "linux")))]
fn main() {}
