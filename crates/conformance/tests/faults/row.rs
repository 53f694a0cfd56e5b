//! Rows: tests that run in programs of their own.
//!
//! A test starts this test program once more, with its own name as the filter and a mark in the environment; there the row's
//! body runs, between two looks at everything that belongs to that process ([`Belongings`]). The test itself sees to it that
//! the program ends, that nothing with its mark is left alive, and that its temporary directory is empty.
//!
//! A row that needs a whole program to end, or to be killed, starts itself once more as a [`Scene`]: the same function, which
//! asks [`scene`] what it is to play.

use crate::aftermath::{Belongings, MARK, files, marked};
use crate::ground::Ground;
use concurrent_futures_conformance::{Program, Stage, Ticket, until};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A program that has not ended by then hangs; it notices itself before.
const HANGS: Duration = Duration::from_secs(240);

/// Makes a `#[test]` of each row for both start methods, with and without handles; with `only` for one start method. Those
/// in which it matters what carries the bytes (`links`) are also run with a socket.
#[macro_export]
macro_rules! rows {
    (only ForkServer { $($row:ident),* $(,)? }) => {
        $crate::rows!(@ground forkserver_only_bytes ForkServer Bytes: $($row)*);
        $crate::rows!(@ground forkserver_only_handles ForkServer Handles: $($row)*);
    };
    (links { $($row:ident),* $(,)? }) => {
        $crate::rows!($($row),*);
        $crate::rows!(@ground socket_bytes Socket Bytes: $($row)*);
    };
    ($($row:ident),* $(,)?) => {
        $crate::rows!(@ground forkserver_bytes ForkServer Bytes: $($row)*);
        $crate::rows!(@ground forkserver_handles ForkServer Handles: $($row)*);
        $crate::rows!(@ground spawn_bytes Spawn Bytes: $($row)*);
        $crate::rows!(@ground spawn_handles Spawn Handles: $($row)*);
    };
    (@ground $module:ident $kind:ident $path:ident: $($row:ident)*) => {
        mod $module {
            $(
                #[test]
                fn $row() {
                    let ground = $crate::ground::Ground {
                        kind: concurrent_futures_conformance::Kind::$kind,
                        lane: $crate::ground::Lane::$path,
                    };
                    $crate::row::run(concat!(module_path!(), "::", stringify!($row)), ground, super::$row);
                }
            )*
        }
    };
}

/// Which scene a program plays, and the stage that hears it.
const SCENE: &str = "CONCURRENT_FUTURES_FAULTS_SCENE";
const STAGE: &str = "CONCURRENT_FUTURES_FAULTS_STAGE";

/// The row that this program is for.
static ROW: OnceLock<&str> = OnceLock::new();

/// Runs a row in a program of its own, or, in that program, the row itself.
pub fn run(name: &'static str, ground: Ground, row: fn(Ground)) {
    // The test program calls a test by its path below the crate.
    let (_, name) = name.split_once("::").expect("a path in this crate");
    if std::env::var_os(MARK).is_none() {
        return in_a_program(name);
    }
    ROW.set(name).expect("one row in a program");
    if scene().is_some() {
        return row(ground);
    }
    concurrent_futures_conformance::run(move || {
        ground.warm_up();
        until("the first pool is gone", || Belongings::now().has_no_processes());
        let before = Belongings::now();
        row(ground);
        before.are_all();
    });
}

fn in_a_program(name: &str) {
    static PROGRAMS: AtomicU32 = AtomicU32::new(0);
    let mark = format!("{}-{}", std::process::id(), PROGRAMS.fetch_add(1, Ordering::Relaxed));
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let mut command = this_program(name);
    command.env(MARK, &mark).env("TMPDIR", temporary.path());
    let ended = Program::run(command).wait_at_most(HANGS);
    let output = format!("{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.status.success(), "{}: {output}", ended.status);
    assert!(output.contains("1 passed"), "the row has not run: {output}");
    until("everything has ended that the row has started", || marked(&mark).is_empty());
    assert_eq!(files(temporary.path()), Default::default(), "files are left");
}

fn this_program(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command
}

/// A program that plays a scene of this row.
#[derive(Debug)]
pub struct Scene(Command);

impl Scene {
    pub fn new(scene: &str) -> Self {
        let mut command = this_program(ROW.get().expect("a row runs"));
        command.env(SCENE, scene);
        Scene(command)
    }

    /// Another file of the same program.
    pub fn of_the_file(self, program: &Path) -> Self {
        let mut command = Command::new(program);
        command.args(self.0.get_args());
        self.replace(command)
    }

    /// What the scene's tasks say is heard on this stage.
    pub fn heard_by(mut self, stage: &Stage) -> Self {
        self.0.env(STAGE, stage.name());
        self
    }

    /// Whether [`with_pids_of_its_own`](Self::with_pids_of_its_own) can be had here: one must be root, or nearly so.
    pub fn can_have_pids_of_its_own() -> bool {
        let tried = Self::own_pids().args(["sh", "-c", "echo 1000 > /proc/sys/kernel/ns_last_pid"]).output();
        tried.is_ok_and(|tried| tried.status.success())
    }

    /// In a name space of process numbers of its own, with the `/proc` of that.
    pub fn with_pids_of_its_own(self) -> Self {
        let mut command = Self::own_pids();
        command.arg(self.0.get_program()).args(self.0.get_args());
        self.replace(command)
    }

    /// By another command, with the same environment.
    fn replace(mut self, mut command: Command) -> Self {
        for (name, value) in self.0.get_envs() {
            command.env(name, value.expect("none is removed"));
        }
        self.0 = command;
        self
    }

    fn own_pids() -> Command {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
        command
    }

    /// In a process group of its own.
    pub fn in_a_group(mut self) -> Self {
        std::os::unix::process::CommandExt::process_group(&mut self.0, 0);
        self
    }

    pub fn start(self) -> Program {
        Program::run(self.0)
    }
}

/// The scene that this program is to play; none in the row itself.
pub fn scene() -> Option<String> {
    std::env::var(SCENE).ok()
}

/// In a scene: the stage that hears it.
pub fn ticket() -> Ticket {
    Ticket::of(std::env::var(STAGE).expect("this scene has a stage"))
}
