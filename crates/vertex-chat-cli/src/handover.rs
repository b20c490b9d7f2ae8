//! A listening socket that goes from one process to the next, so that no connection is lost between them.
//!
//! Both processes have the same socket for a while: what the old one does not accept any more, the new one does. The socket
//! is passed through a Unix domain socket (`SCM_RIGHTS`), which only its owner can open. Two sockets at the same port
//! (`SO_REUSEPORT`) would not do: connections that wait at the old one are reset when it is closed.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::net::TcpListener;
use vertex_chat::auth::shown_path;

use crate::serve::{bind, cannot_listen};
use crate::{Failure, out};

/// How long a process may take to hand its socket over.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a process that cannot take an heir's connection waits before it tries again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The socket of the process that offers it at this path; a new one where there is none.
pub(crate) async fn take(path: &Path, address: SocketAddr) -> Result<TcpListener, Failure> {
    let own = path.to_owned();
    // Away from the workers: the other process may take its time.
    let taking = tokio::task::spawn_blocking(move || {
        check(&own)?;
        let Ok(stream) = UnixStream::connect(own) else { return Ok(Offered::Nothing) };
        stream.set_read_timeout(Some(HANDOVER_TIMEOUT))?;
        Ok(receive(&stream)?.map_or(Offered::Ended, Offered::Socket))
    });
    let cannot = |error: &dyn std::fmt::Display| Failure::Local(format!("{}: {error}", shown_path(path)));
    let offered: std::io::Result<Offered> = taking.await.map_err(|error| cannot(&error))?;
    let socket = match offered.map_err(|error| cannot(&error))? {
        Offered::Socket(socket) => socket,
        Offered::Nothing => return bind(address).map_err(|error| cannot_listen(address, &error)),
        // The other process drains, and closes its own socket in a moment.
        Offered::Ended => return bind_soon(address).await,
    };
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true).map_err(|error| cannot(&error))?;
    out::note(format_args!("took the listening socket over from the process at {}", shown_path(path)));
    TcpListener::from_std(listener).map_err(|error| cannot(&error))
}

/// What a process at the path has for its successor.
enum Offered {
    Socket(OwnedFd),
    /// It offered one, and is ending.
    Ended,
    /// There is none.
    Nothing,
}

/// A new listening socket, as soon as the address is free.
async fn bind_soon(address: SocketAddr) -> Result<TcpListener, Failure> {
    let tries = HANDOVER_TIMEOUT.as_millis() / ACCEPT_PAUSE.as_millis();
    for _ in 0..tries {
        match bind(address) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            bound => return bound.map_err(|error| cannot_listen(address, &error)),
        }
    }
    bind(address).map_err(|error| cannot_listen(address, &error))
}

/// Refuses a path where there is something else than a socket, which would be lost.
fn check(path: &Path) -> std::io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => Err(std::io::Error::other(
            "there is something that is no socket; it is left alone; give --handover another path",
        )),
        _ => Ok(()),
    }
}

/// A listening socket on offer at a path. When this is dropped, it is not any more.
pub(crate) struct Offer(Arc<Mutex<Option<OwnedFd>>>);

impl Offer {
    /// Offers the socket at this path, in the place of whoever offered one there before.
    pub(crate) async fn make(path: &Path, listener: &TcpListener) -> Result<Self, Failure> {
        let cannot = |error: &dyn std::fmt::Display| Failure::Local(format!("{}: {error}", shown_path(path)));
        let socket = listener.as_fd().try_clone_to_owned().map_err(|error| cannot(&error))?;
        let socket = Arc::new(Mutex::new(Some(socket)));
        let (own, shared) = (path.to_owned(), Arc::clone(&socket));
        let making = tokio::task::spawn_blocking(move || offer_at(&own, shared));
        making.await.map_err(|error| cannot(&error))?.map_err(|error| cannot(&error))?;
        Ok(Self(socket))
    }
}

/// Puts a socket at the path, and a thread behind it that hands the listening socket over.
fn offer_at(path: &Path, socket: Arc<Mutex<Option<OwnedFd>>>) -> std::io::Result<()> {
    check(path)?;
    // Made beside it and moved there, so that there is always one, and nobody else's for a moment.
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = Path::new(&beside);
    check(beside)?;
    let _ = std::fs::remove_file(beside);
    let offers = UnixListener::bind(beside)?;
    std::fs::set_permissions(beside, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(beside, path)?;
    std::thread::spawn(move || {
        for stream in offers.incoming() {
            let Ok(stream) = stream else {
                // Out of file descriptors, most likely, which passes.
                std::thread::sleep(ACCEPT_PAUSE);
                continue;
            };
            let socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(socket) = socket.as_ref() else { return };
            if let Err(error) = send(&stream, socket) {
                out::note(format_args!("the listening socket could not be handed over: {error}"));
            }
        }
    });
    Ok(())
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn send(stream: &UnixStream, socket: &OwnedFd) -> std::io::Result<()> {
    let sockets = [socket.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&sockets));
    sendmsg(stream, &[IoSlice::new(b"!")], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

fn receive(stream: &UnixStream) -> std::io::Result<Option<OwnedFd>> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let sockets = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    Ok(sockets)
}
