//! The settings file: what is understood is within its bounds, what isn't is named with its line.

use crate::config;

/// Reads a settings file.
///
/// # Panics
/// Where a setting is out of bounds, or a problem points nowhere.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match config::parse(text) {
        Ok(settings) => {
            assert!(settings.relays.len() <= 16 && settings.hosts.len() <= 32);
            assert!(
                settings
                    .bind
                    .is_none_or(|bind| (1..=16).contains(&bind.len()))
            );
            assert!(
                settings
                    .listen
                    .is_none_or(|at| at.loopback.ip().is_loopback())
            );
            for relay in &settings.relays {
                assert!(
                    relay.starts_with("https://") && relay.is_ascii(),
                    "{relay:?}"
                );
            }
            for host in &settings.hosts {
                assert!(
                    !host.contains(char::is_whitespace) && !host.contains('/'),
                    "{host:?}"
                );
                assert_eq!(*host, host.to_ascii_lowercase());
            }
        }
        Err(problems) => {
            let lines = text.split('\n').count();
            assert!(!problems.is_empty());
            for problem in &problems {
                assert!((1..=lines).contains(&problem.line), "{problem:?}");
                assert!(!problem.text.is_empty() && !problem.text.contains('\n'));
            }
        }
    }
}

/// A whole file, and slips of the pen.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "[links]\ninternet = \"relay\"\nrelays = [\"https://relay.example.org\"]\nbind = [\"127.0.0.1:0\", \"[::1]:7341\"]\n\n[dashboard]\nlisten = \"127.0.0.1:0\"\nhosts = [\"camp-pi.local\", \"Box:8443\"]\n",
        "links.internet = 'off' # why\ndashboard = { listen = \"[::1]:80\" }\n",
        "[links]\nintrnet = 1\nlan = true\n[[dashboard]]\n",
        "[links\nrelays = [1, \"http://a\", \"\"\"x\ny\"\"\"]\n",
        "x = 1979-05-27T07:32:00Z\ny = 0x7f_ff\nz = +inf\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
