//! Captured standard output and error.

mod support;

use concurrent_futures_core::{Executor, ExecutorExt, Shutdown};
use concurrent_futures_process::{ProcessPoolBuilder, ProcessPoolExecutor};
use std::io::Write;
use support::*;

fn capturing(builder: ProcessPoolBuilder) -> ProcessPoolExecutor {
    builder.max_workers(2).capture_output(true).build().unwrap()
}

fn speak(n: u32) -> u32 {
    // Without a newline: it is written out all the same, before the result.
    print!("out {n}");
    eprintln!("err {n}");
    n
}

/// Writes past Rust's buffers, as a C library may.
fn flood(bytes: usize) {
    let block = vec![b'.'; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let len = left.min(block.len());
        std::io::stderr().write_all(&block[..len]).unwrap();
        left -= len;
    }
    eprintln!("the end");
}

#[test]
fn each_task_has_what_it_printed() {
    with_both(|builder| {
        let pool = capturing(builder);
        let futures: Vec<_> = (0..100).map(|n| pool.submit(speak, n)).collect();
        for (n, future) in futures.into_iter().enumerate() {
            eventually("it is done", || future.done());
            let output = future.output().unwrap();
            assert_eq!(
                (output.stdout_text(), output.stderr_text()),
                (format!("out {n}").into(), format!("err {n}\n").into())
            );
            assert!(!output.truncated);
            assert_eq!(outcome(future).unwrap(), n as u32);
        }
        let silent = pool.submit(|()| (), ());
        eventually("it is done", || silent.done());
        assert!(silent.output().unwrap().stdout.is_empty());
    });
}

#[test]
fn what_is_printed_before_the_first_task_is_nobody_s() {
    with_both(|builder| {
        let pool = capturing(builder.initializer(|()| println!("hello"), ()).preload(|()| println!("once"), ()));
        let future = pool.submit(speak, 7);
        eventually("it is done", || future.done());
        assert_eq!(future.output().unwrap().stdout_text(), "out 7");
    });
}

#[test]
fn errors_carry_it_too() {
    with_both(|builder| {
        let pool = capturing(builder);
        let panics = pool.submit::<(), ()>(
            |()| {
                print!("so far");
                panic!("no further")
            },
            (),
        );
        let error = outcome(panics).unwrap_err();
        let output = error.output().unwrap();
        assert_eq!(output.stdout_text(), "so far");

        let dies = pool.submit::<(), ()>(
            |()| {
                println!("last will");
                for n in 0..100 {
                    eprintln!("line {n}");
                }
                std::process::abort()
            },
            (),
        );
        let error = outcome(dies).unwrap_err();
        assert_eq!(error.output().unwrap().stdout_text(), "last will\n");
        assert!(error.output().unwrap().stderr_text().starts_with("line 0\nline 1\n"));
        let tail = error.death().unwrap().stderr_tail().unwrap();
        assert!(tail.starts_with("line 80\n") && tail.ends_with("line 99"), "{tail}");
    });
}

#[test]
fn a_flood_is_cut_and_blocks_nobody() {
    with_both(|builder| {
        let pool = capturing(builder);
        let floods: Vec<_> = (0..2).map(|_| pool.submit(flood, 50 << 20)).collect();
        let small: Vec<_> = (0..20).map(|n| pool.submit(speak, n)).collect();
        for flood in floods {
            eventually("it is done", || flood.done());
            let output = flood.output().unwrap();
            assert!(output.truncated && output.stderr.len() == 1 << 20, "{}", output.stderr.len());
            assert!(output.stderr.ends_with(b"..the end\n"));
            outcome(flood).unwrap();
        }
        for future in small {
            outcome(future).unwrap();
        }
    });
}

#[test]
fn programs_of_a_task_are_captured_and_what_is_left_of_them_harms_nobody() {
    with_both(|builder| {
        let pool = capturing(builder);
        let echo = |()| assert!(std::process::Command::new("echo").arg("from a program").status().unwrap().success());
        let future = pool.submit(echo, ());
        eventually("it is done", || future.done());
        assert_eq!(future.output().unwrap().stdout, b"from a program\n");
        // This one goes on to print for ever, into a pipe that is read as long as its worker lives.
        let leave =
            |()| assert!(std::process::Command::new("sh").args(["-c", "yes & exit 0"]).status().unwrap().success());
        outcome(pool.submit(leave, ())).unwrap();
        for n in 0..20 {
            assert_eq!(outcome(pool.submit(speak, n)).unwrap(), n);
        }
        let workers = pool.worker_pids();
        in_time("shutdown", move || pool.shutdown(Shutdown::WAIT));
        for worker in workers {
            assert!(is_gone(worker));
        }
    });
}

#[test]
fn what_a_task_printed_before_it_ran_out_of_time_comes_when_its_worker_is_gone() {
    with_both(|builder| {
        let pool = capturing(builder);
        fn hang(_: ()) {
            println!("I wait");
            loop {
                std::thread::park();
            }
        }
        // On a busy machine its time may be up before it has said a word.
        let limits = [50, 200, 1000, 5000, 25_000].map(std::time::Duration::from_millis);
        assert!(limits.into_iter().any(|limit| {
            let late = pool.task(hang, ()).timeout(limit).submit();
            eventually("it is done", || late.done());
            eventually("the output is there", || late.output().is_some());
            let output = late.output().unwrap();
            assert!(outcome(late).unwrap_err().is_timeout());
            assert!(["I wait\n", ""].contains(&&*output.stdout_text()));
            !output.stdout.is_empty()
        }));
    });
}
