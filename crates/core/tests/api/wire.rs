//! An executor that sends its tasks as bytes, to a worker that is in this process and goes step by step.

use concurrent_futures_core::codec::{Buffer, Content, Message, Parts, Stream};
use concurrent_futures_core::task::{
    Call, Context, Remote, Reply, Served, Status, Stop, StoredContext, Verdict, WorkerEnv, serve,
};
use concurrent_futures_core::{
    CodecStep, Death, Ending, Executor, ExecutorExt, Handle, Refusal, Shutdown, Task, TaskError, TaskErrorKind,
};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};

const QUEUED: u8 = 0;
const STARTED: u8 = 1;
const REVOKED: u8 = 2;

/// What the parent knows of a task that is at the worker.
#[derive(Debug)]
struct Slot {
    word: AtomicU8,
    stops: Mutex<Vec<(Stop, u32)>>,
}

impl Slot {
    fn new() -> Self {
        Slot { word: AtomicU8::new(QUEUED), stops: Mutex::default() }
    }

    fn step(&self, to: u8) -> bool {
        let stepped = self.word.compare_exchange(QUEUED, to, Ordering::AcqRel, Ordering::Acquire);
        stepped.map_or_else(|now| now == to, |_| true)
    }
}

impl Remote for Slot {
    fn try_revoke(&self, _mark: u64) -> bool {
        self.step(REVOKED)
    }

    fn started(&self, _mark: u64) -> bool {
        self.word.load(Ordering::Acquire) == STARTED
    }

    fn stop(&self, _mark: u64, why: Stop, attempt: u32) {
        self.stops.lock().unwrap().push((why, attempt));
    }
}

/// A task that was sent.
pub struct Sent {
    task: Task,
    call: Call,
    slot: Arc<Slot>,
}

impl Sent {
    /// The worker starts it; false when it has been revoked.
    pub fn start(&self) -> bool {
        if self.slot.started(0) {
            return true;
        }
        let started = self.slot.step(STARTED);
        if started {
            self.task.begin_attempt();
        }
        started
    }

    /// How the worker was told to stop it.
    pub fn stops(&self) -> Vec<(Stop, u32)> {
        self.slot.stops.lock().unwrap().clone()
    }
}

/// Encodes tasks at submission and serves them when told to.
#[derive(Clone, Debug, Default)]
pub struct Wire(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    sent: VecDeque<Sent>,
    contexts: HashMap<u64, StoredContext>,
    context_bytes: usize,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("sent", &self.sent.len()).finish_non_exhaustive()
    }
}

impl Wire {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn queued(&self) -> usize {
        self.0.lock().unwrap().sent.len()
    }

    /// How many bytes of contexts were sent.
    pub fn context_bytes(&self) -> usize {
        self.0.lock().unwrap().context_bytes
    }

    pub fn take(&self) -> Sent {
        self.take_any().expect("a task was submitted")
    }

    /// What was over before it came here is not there.
    pub fn take_any(&self) -> Option<Sent> {
        self.0.lock().unwrap().sent.pop_front()
    }

    /// The worker runs the task and answers.
    pub fn answer(&self, sent: Sent) {
        if !sent.start() {
            return;
        }
        let mut out = Message::default();
        let Served { status, again, .. } = self.serve(&sent.call, &mut out);
        let Content { stream: bytes, parts } = carried(&out.stream, &out.parts);
        let reply = Reply { status, bytes, parts, again, handles: None };
        match sent.task.judge(&reply) {
            Some(_) => self.send_again(sent),
            None => sent.task.complete(reply),
        }
    }

    /// The worker dies of the task.
    pub fn die(&self, sent: Sent) {
        match sent.task.retry_after(Verdict::Died) {
            Some(_) => self.send_again(sent),
            None => {
                let ending = Ending::Signal { number: 9, core_dumped: false };
                sent.task.fail(TaskErrorKind::WorkerDied(Death::new(7, ending)).into());
            }
        }
    }

    fn send_again(&self, mut sent: Sent) {
        sent.slot = Arc::new(Slot::new());
        if sent.task.set_remote(sent.slot.clone(), 0) {
            self.0.lock().unwrap().sent.push_back(sent);
        }
    }

    /// Answers everything that was sent.
    pub fn answer_all(&self) {
        while self.queued() > 0 {
            self.answer(self.take());
        }
    }

    fn serve(&self, call: &Call, out: &mut Message) -> Served {
        let id = call.context.as_ref().map(|context| context.id);
        let mut context = id.and_then(|id| self.0.lock().unwrap().contexts.remove(&id));
        let mut env = Env { context: context.as_mut(), judge: call.judge };
        // SAFETY: the call was made by this very program, and its addresses are those of this process.
        let served = unsafe {
            serve(
                call.entry,
                &mut carried(&call.input, call.parts.as_deref().unwrap_or(&Parts::default())),
                &mut env,
                out,
            )
        };
        if let (Some(id), Some(context)) = (id, context) {
            self.0.lock().unwrap().contexts.insert(id, context);
        }
        served
    }
}

/// What arrives of a message.
fn carried(stream: &[u8], parts: &Parts) -> Content {
    let parts = parts.iter().map(|(bytes, unit)| {
        let mut buffer = Buffer::new(unit).expect("a size of numbers");
        buffer.try_reserve(bytes.len()).expect("memory");
        buffer.extend_from_slice(bytes);
        buffer
    });
    Content { stream: stream.to_vec().into(), parts: parts.collect() }
}

struct Env<'a> {
    context: Option<&'a mut StoredContext>,
    judge: Option<usize>,
}

impl WorkerEnv for Env<'_> {
    fn context(&mut self) -> Option<&mut StoredContext> {
        self.context.as_deref_mut()
    }

    fn judge(&self) -> Option<usize> {
        self.judge
    }
}

impl Executor for Wire {
    fn submit_task(&self, task: Task) {
        let call = match task.send(None, &mut Vec::new()) {
            Ok(call) => call,
            Err(error) => return task.fail(error),
        };
        let slot = Arc::new(Slot::new());
        if !task.set_remote(slot.clone(), 0) {
            return;
        }
        let mut state = self.0.lock().unwrap();
        if let Some(Context { id, bytes, .. }) = call.context.as_deref()
            && !state.contexts.contains_key(id)
        {
            state.context_bytes += bytes.len();
            state.contexts.insert(*id, StoredContext::new(bytes.to_vec().into()));
        }
        state.sent.push_back(Sent { task, call, slot });
    }

    fn try_submit_task(&self, task: Task) -> Result<(), (Task, Refusal)> {
        self.submit_task(task);
        Ok(())
    }

    fn num_workers(&self) -> usize {
        1
    }

    fn shutdown(&self, _how: Shutdown) {}

    fn handle(&self) -> Handle {
        Handle::new(self.clone())
    }
}

#[test]
fn a_task_makes_the_whole_way() {
    let ex = Wire::new();
    let future = ex.submit(|(a, b): (u32, String)| format!("{a}{b}"), (4, "2".to_string()));
    assert!(!future.done() && !future.running());
    let sent = ex.take();
    assert!(sent.start() && future.running() && !future.cancel());
    ex.answer(sent);
    assert!(future.done() && !future.running());
    assert_eq!(future.result().unwrap(), "42");
}

#[test]
fn a_task_that_is_only_buffered_can_be_cancelled() {
    let ex = Wire::new();
    let future = ex.submit(|x: u8| x, 1);
    assert!(!future.running(), "it is at the worker, which has not started it");
    assert!(future.cancel() && future.cancelled());
    assert!(!ex.take().start(), "the worker must not start it any more");
    assert!(future.result().unwrap_err().is_cancelled());
}

#[test]
fn what_is_no_number_is_an_error_for_whoever_looks_or_listens() {
    let ex = Wire::new();
    let (heard, looked) = (ex.submit(|x: u8| x, 1), ex.submit(|x: u8| x, 2));
    let (tell, told) = mpsc::channel();
    heard.add_done_callback(move |outcome| tell.send(outcome.as_ref().err().map(TaskError::codec).is_some()).unwrap());
    for _ in 0..2 {
        let sent = ex.take();
        assert!(sent.start());
        let bytes = Stream::copy_of(&[0xff; 9]);
        sent.task.complete(Reply { status: Status::Value, bytes, parts: Vec::new(), again: false, handles: None });
    }
    assert!(told.recv().unwrap());
    for future in [heard, looked] {
        assert!(future.done());
        assert_eq!(future.result().unwrap_err().codec().unwrap().step(), CodecStep::DecodeResult);
    }
}

#[test]
fn a_number_comes_too_late_for_a_task_that_is_aborted() {
    let ex = Wire::new();
    let future = ex.submit(|x: u64| x, 1);
    let sent = ex.take();
    assert!(sent.start() && future.abort());
    ex.answer(sent);
    assert!(future.result().unwrap_err().is_aborted());
}

/// A worker that dies, having started nothing, while it is asked; the executor takes the task back.
struct Dying(Mutex<Weak<Task>>);

impl Remote for Dying {
    fn try_revoke(&self, _mark: u64) -> bool {
        false
    }

    fn started(&self, _mark: u64) -> bool {
        let task = self.0.lock().unwrap().upgrade().unwrap();
        task.clear_remote();
        true
    }
}

#[test]
fn what_is_answered_where_the_task_is_no_longer_counts_for_nothing() {
    let ex = Wire::new();
    let future = ex.submit(|x: u64| x, 1);
    let task = Arc::new(ex.take().task);
    let link_it = || assert!(task.set_remote(Arc::new(Dying(Mutex::new(Arc::downgrade(&task)))), 0));
    link_it();
    assert!(!future.running(), "it is in the queue");
    link_it();
    assert_eq!(future.attempts(), 0);
    assert!(future.cancel());
}
