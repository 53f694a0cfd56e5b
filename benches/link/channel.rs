//! ipc-channel's channel of bytes, one each way.

use crate::Link;
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender, bytes_channel};
use std::env::current_exe;
use std::process::{Child, Command};

pub const ECHO: &str = "echo-over-ipc-channel";

/// What the other process tells first: where to send to it, and where to receive from it.
type Hello = (IpcBytesSender, IpcBytesReceiver);

/// Our ends, and the process at the others.
pub struct Channel {
    /// Closed before the child is waited for.
    ends: Option<Hello>,
    child: Child,
}

impl Channel {
    pub fn new() -> Channel {
        let (server, name) = IpcOneShotServer::<Hello>::new().expect("a server");
        let mut command = Command::new(current_exe().expect("a path to this program"));
        let child = command.args([ECHO, &name]).spawn().expect("a second process");
        let (_, ends) = server.accept().expect("the echo connects");
        Channel { ends: Some(ends), child }
    }
}

impl Link for Channel {
    fn send(&mut self, body: &[u8]) {
        let (sender, _) = self.ends.as_ref().expect("open until dropped");
        sender.send(body).expect("the echo listens");
    }

    fn receive(&mut self) -> Vec<u8> {
        let (_, receiver) = self.ends.as_ref().expect("open until dropped");
        receiver.recv().expect("the echo answers")
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.ends = None;
        assert!(self.child.wait().expect("our child").success());
    }
}

/// What the other process does.
pub fn echo(name: String) {
    let (to_us, inbound) = bytes_channel().expect("a channel");
    let (outbound, from_us) = bytes_channel().expect("a channel");
    let parent = IpcSender::<Hello>::connect(name).expect("the parent listens");
    parent.send((to_us, from_us)).expect("the parent listens");
    // At the end the parent has closed its ends.
    while let Ok(body) = inbound.recv() {
        outbound.send(&body).expect("the parent listens");
    }
}
