//! Listening, and who sits on a port that we want.

use std::{fs, io, net::SocketAddr, path::Path};

use anyhow::anyhow;
use tokio::net::TcpListener;

/// Listens, or says in words why that can't be.
pub(crate) async fn bind(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => {
                let holder = holder(Path::new("/proc"), addr.port())
                    .map(|who| format!(" by {who}"))
                    .unwrap_or_default();
                anyhow!(
                    "port {port} is taken{holder}: choose another with --listen {ip}:PORT \
                 (port 0 takes any free one)",
                    port = addr.port(),
                    ip = bracketed(addr),
                )
            }
            _ => anyhow!("cannot listen on {addr}: {error}; choose another address with --listen"),
        })
}

fn bracketed(addr: SocketAddr) -> String {
    match addr {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}

/// Processes whose open files are looked at; a machine with more keeps its secret.
const PROCESSES_MAX: usize = 20_000;

/// The process that listens on a port, as far as `/proc` tells; its own user's processes only.
fn holder(proc: &Path, port: u16) -> Option<String> {
    let inode = ["net/tcp", "net/tcp6"].iter().find_map(|table| {
        let table = fs::read_to_string(proc.join(table)).ok()?;
        listening_inode(&table, port).map(str::to_owned)
    })?;
    let wanted = format!("socket:[{inode}]");
    for process in fs::read_dir(proc).ok()?.flatten().take(PROCESSES_MAX) {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(files) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = files.flatten().any(|file| {
            fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str())
        });
        if holds {
            let comm = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            let comm = crate::output::plain(comm.trim());
            return Some(format!("{comm} (process {pid})"));
        }
    }
    None
}

/// The socket that listens on `port`, from the text of `/proc/net/tcp`.
fn listening_inode(table: &str, port: u16) -> Option<&str> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?;
        let (_, hex) = local.rsplit_once(':')?;
        (state == LISTEN && u16::from_str_radix(hex, 16) == Ok(port)).then_some(inode)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1CAC 00000000:0000 01 00000000:00000000 00:00000000 00000000  1000        0 11 1 0\n   \
            1: 0100007F:1CAC 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0\n";
        assert_eq!(listening_inode(table, 7340), Some("4242"));
        assert_eq!(listening_inode(table, 7341), None);
        assert_eq!(listening_inode("", 7340), None);
        assert_eq!(listening_inode("head\nbroken line\n", 7340), None);
    }

    #[test]
    fn our_own_listener_is_named() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        if Path::new("/proc/net/tcp").exists() {
            let who = holder(Path::new("/proc"), port).unwrap();
            assert!(who.contains(&std::process::id().to_string()), "{who}");
        }
    }
}
