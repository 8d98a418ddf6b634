//! The test vectors of `docs/vectors.txt`: what this program makes from the inputs named there, and
//! what it reads back from the file, are both compared with the file's bytes.

mod bluetooth;
mod letter;
mod meet;
mod nearby;
mod session;
mod spaces;

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;

use crate::{
    admission::{Certificate, Role},
    keys::{DeviceKey, IdentityKey},
};

const FILE: &str = include_str!("../../../../docs/vectors.txt");

/// Reads bytes of the file and encodes what they mean again.
type Reread = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A line of the file, or a remark.
enum Line {
    Remark(String),
    Vector(String, Vec<u8>, Option<Reread>),
}

/// All lines, in the file's order.
#[derive(Default)]
struct Lines(Vec<Line>);

impl Lines {
    fn remark(&mut self, text: &str) {
        self.0.push(Line::Remark(text.to_owned()));
    }

    /// Bytes that are computed and never read back: hashes, keys, signatures.
    fn made(&mut self, name: &str, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref().to_vec();
        self.0.push(Line::Vector(name.to_owned(), bytes, None));
    }

    /// Bytes that are read back.
    fn both(
        &mut self,
        name: &str,
        bytes: impl AsRef<[u8]>,
        reread: impl Fn(&[u8]) -> Vec<u8> + 'static,
    ) {
        let (bytes, reread) = (bytes.as_ref().to_vec(), Box::new(reread));
        self.0
            .push(Line::Vector(name.to_owned(), bytes, Some(reread)));
    }

    fn text(&self) -> String {
        let lines = self.0.iter().map(|line| match line {
            Line::Remark(text) if text.is_empty() => "\n".to_owned(),
            Line::Remark(text) => format!("# {text}\n"),
            Line::Vector(name, bytes, _) => format!("{name} = {}\n", HEXLOWER.encode(bytes)),
        });
        lines.collect()
    }
}

/// A person of the vectors, whose keys grow from bytes that are all alike.
struct Person {
    identity: IdentityKey,
    device: DeviceKey,
    certificate: Certificate,
}

fn person(seed: u8) -> Person {
    let identity = IdentityKey::from_seed(&[seed; 32]);
    let device = DeviceKey::from_seed(&[seed + 1; 32]);
    let certificate = Certificate::sign(&identity, &device, 1, Role::Main);
    Person {
        identity,
        device,
        certificate,
    }
}

fn all() -> Lines {
    let mut lines = Lines::default();
    lines
        .remark("Test vectors of the Waymeet protocol, version 1; PROTOCOL.md says what they are.");
    lines.remark(
        "A line is a name, an equals sign and bytes in hexadecimal. Inputs that are not lines",
    );
    lines.remark("are in the remarks; \"32 x 0a\" is 32 bytes 0a. Texts are UTF-8.");
    spaces::add(&mut lines);
    session::add(&mut lines);
    meet::add(&mut lines);
    nearby::add(&mut lines);
    bluetooth::add(&mut lines);
    letter::add(&mut lines);
    lines
}

fn of_file() -> BTreeMap<&'static str, Vec<u8>> {
    let lines = FILE.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (name, hex) = line.split_once(" = ").expect("name = hex");
            (name, HEXLOWER.decode(hex.as_bytes()).expect(name))
        })
        .collect()
}

/// Every vector is made and read back to the bytes of the file. Where that is meant to change, the
/// file's new text stands between the marks.
#[test]
fn the_file_says_what_the_program_makes_and_reads() {
    let file = of_file();
    let lines = all();
    let mut names = Vec::new();
    let mut differ = Vec::new();
    for line in &lines.0 {
        let Line::Vector(name, bytes, reread) = line else {
            continue;
        };
        let known = file.get(name.as_str()).filter(|known| *known == bytes);
        let reread = reread.as_ref();
        let same = |known: &Vec<u8>| reread.is_none_or(|reread| reread(known) == *known);
        if !known.is_some_and(same) {
            differ.push(name.clone());
        }
        names.push(name.as_str());
    }
    let unknown: Vec<_> = file.keys().filter(|name| !names.contains(name)).collect();
    let text = lines.text();
    assert!(
        differ.is_empty() && unknown.is_empty() && FILE == text,
        "differ: {differ:?}, not made: {unknown:?}, else remarks\n----8<----\n{text}----8<----",
    );
}
