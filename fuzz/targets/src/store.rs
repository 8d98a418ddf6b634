//! Rows as a disk may hand them out: one that is read is written so that it reads the same again.

use crate::seeds;

/// Reads the rest as a row of the kind that the first byte names.
///
/// # Panics
/// Where what was written reads otherwise.
pub fn run(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else {
        return;
    };
    let kind = kind % store::fuzz::ROWS;
    if let Some(written) = store::fuzz::row(kind, bytes) {
        assert!(written.len() <= bytes.len() && written.first() == bytes.first());
        assert_eq!(store::fuzz::row(kind, &written), Some(written));
    }
}

/// A row of each kind, put together by hand: each begins with its version.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let id = [7; 32];
    let certificate: Vec<u8> = seeds::certificate(1).encode();
    let own = [&[10, 1, 0xc5, 1][..], &certificate, &[3], b"Ana", &[1]];
    let feed = [
        &[2, 1, 1][..],
        &id,
        &[1],
        &id,
        &[0, 3],
        &id,
        &[9, 0, 5, 1, 2],
        &id,
        &[1],
        &id,
        &[2],
        &id,
        &[0],
    ];
    let device = [
        &id[..],
        &[1, 4, 127, 0, 0, 1, 0x1c, 0xac, 1, 2, b'h', b's', 2, 8, 8, 1],
        &id,
    ];
    let contact = [
        &[5, 1, 3][..],
        b"Ben",
        &[1, 1, b'B', 3, 2, 1],
        &id,
        &[5, 1, 6, 1, 1, 4],
        b"note",
        &[0, 1, 2, 3, 1],
        &id,
        &device.concat(),
    ];
    let invite = [
        &[6, 1][..],
        &[2; 16],
        &[1],
        &id,
        &[4],
        b"link",
        &[1, 0, 9, 8, 0, 1],
        &id,
        &[0, 1],
    ];
    vec![
        [&[0, 1][..], &id, &[1, 1, 2, 9, 9, 0, 1, 4, 5]].concat(),
        [&[0, 1][..], &id, &[4, 0, 1], &id, &id, &[0, 5]].concat(),
        vec![1, 1, 1, 2, 3, 4, 5],
        feed.concat(),
        [
            &[3, 1, 1, 0][..],
            &id,
            &[1, 1, 2, 3, 4, 5, 6, 2, 0, 3, 1, 2],
        ]
        .concat(),
        [&[4, 1][..], &[5; 576]].concat(),
        contact.concat(),
        invite.concat(),
        [&[7, 1, 2, 3, 3, 0][..], &id, &[5, 1]].concat(),
        vec![8, 1, 2, 3, 3, 1, 4, 5],
        vec![9, 1, 5],
        own.concat(),
        [&[11, 1, 5, 1][..], &id, &id].concat(),
        [&[12, 1][..], &id, &[9, 8, 2, 1, 3, 1, 4, 5, 6, 7, 2]].concat(),
        vec![13, 1, 2, 3, 4],
    ]
}
