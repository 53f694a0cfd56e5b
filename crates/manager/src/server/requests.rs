//! What each request does that needs no wait.

use super::State;
use super::machines::{Barrier, Condition, Event, Lock, Queue, Request, Semaphore};
use super::object::{Body, Object};
use super::session::{Answer, Content, machine, request};
use crate::client::RawHandle;
use crate::entry::{Entry, Failure};
use crate::nesting::Incoming;
use crate::wire::{Frame, MAX_FDS, Op, Status, WAIT};
use concurrent_futures_core::attach::{Arrived, Attachment};
use parking_lot::Mutex;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What is to be done with a request.
pub(super) enum Outcome {
    Nothing,
    Answer(Answer),
    /// This object knows, and it may take time.
    Machine(Arc<Object>, Request),
}

pub(super) fn serve(state: &Arc<State>, op: Op, frame: Frame) -> Outcome {
    if frame.descriptors.len() < frame.announced {
        let words = "its descriptors did not arrive: the manager may not have more (RLIMIT_NOFILE)";
        return Outcome::Answer(Answer::words(Status::Scarce, words));
    }
    let references: Option<Vec<_>> = frame.references.iter().map(|id| state.find(*id)).collect();
    let Some(references) = references else { return Outcome::Answer(Answer::of(Status::NoSuchObject)) };
    let answer = match op {
        Op::Call => call(state, frame, references),
        Op::Make => make(state, frame, references),
        Op::NewLock => machine(state, Body::Lock(Lock::new(frame.number == 1))),
        Op::NewSemaphore => {
            machine(state, Body::Other(Box::new(Semaphore::new(frame.number, frame.flags & WAIT != 0))))
        }
        Op::NewEvent => machine(state, Body::Other(Box::<Event>::default())),
        Op::NewCondition => match state.find(frame.object).map(Condition::new) {
            Some(Some(condition)) => machine(state, Body::Other(Box::new(condition))),
            Some(None) => Answer::words(Status::Invalid, "the condition's lock is no lock"),
            None => Answer::of(Status::NoSuchObject),
        },
        Op::NewBarrier => match Barrier::new(frame.number) {
            Some(barrier) => machine(state, Body::Other(Box::new(barrier))),
            None => Answer::words(Status::Invalid, "a barrier is for one or more parties"),
        },
        Op::NewQueue => machine(state, Body::Other(Box::new(Queue::new(frame.number)))),
        Op::Publish | Op::Lookup | Op::Unpublish => names(state, op, frame),
        Op::Objects => Answer { number: state.objects.lock().len() as u64, ..Answer::of(Status::Done) },
        // The grant was quicker; its reply is all that there is to say.
        Op::Cancel => return Outcome::Nothing,
        // Nobody could get it: on the way back each reference has a descriptor, too.
        Op::Put if frame.descriptors.len() + references.len() > MAX_FDS => Answer::of(Status::TooLarge),
        _ => {
            return match state.find(frame.object) {
                Some(object) => Outcome::Machine(object, request(op, frame, references)),
                None => Outcome::Answer(Answer::of(Status::NoSuchObject)),
            };
        }
    };
    Outcome::Answer(answer)
}

fn call(state: &Arc<State>, frame: Frame, references: Vec<Arc<Object>>) -> Answer {
    let Some(object) = state.find(frame.object) else { return Answer::of(Status::NoSuchObject) };
    let Some(value) = object.value() else { return Answer::words(Status::WrongType, object.type_name()) };
    let args = incoming(state, &frame.value, frame.descriptors, references);
    let called = {
        let _here = Calling::begin(frame.callers, Some((state.id(), object.id())));
        Entry::at(frame.number).and_then(|entry| entry.call(state.id(), value, args))
    };
    let outgoing = match called {
        Ok(outgoing) => outgoing,
        Err(failure) => return refusal(failure, &object),
    };
    let references = outgoing.handles.iter().map(|handle| state.find(handle.object())).collect::<Option<Vec<_>>>();
    let Some(references) = references else { return Answer::of(Status::NoSuchObject) };
    let content = Content { attachments: outgoing.attachments, references };
    Answer { value: outgoing.value, content, ..Answer::of(Status::Done) }
}

fn make(state: &Arc<State>, frame: Frame, references: Vec<Arc<Object>>) -> Answer {
    let args = incoming(state, &frame.value, frame.descriptors, references);
    let made = {
        let _here = Calling::begin(frame.callers, None);
        Entry::at(frame.number).and_then(|entry| entry.make(args))
    };
    match made {
        Ok(made) => machine(state, Body::Data { value: Mutex::new(made.value), type_name: made.type_name }),
        Err(Failure::Panicked(panic)) => panicked(&panic),
        Err(Failure::Codec(words)) => Answer::words(Status::Codec, words),
        Err(_) => Answer::words(Status::Invalid, "no function of this program makes objects there"),
    }
}

fn incoming<'a>(
    state: &Arc<State>,
    value: &'a [u8],
    descriptors: Vec<OwnedFd>,
    references: Vec<Arc<Object>>,
) -> Incoming<'a> {
    let handles = references.into_iter().map(|object| RawHandle::here(&state.remote, object)).collect();
    let arrived = Arrived::all(descriptors.into_iter().map(Attachment::new).collect());
    Incoming { value, handles, arrived }
}

fn refusal(failure: Failure, object: &Object) -> Answer {
    match failure {
        Failure::Panicked(panic) => panicked(&panic),
        Failure::Codec(words) => Answer::words(Status::Codec, words),
        Failure::WrongType => Answer::words(Status::WrongType, object.type_name()),
        Failure::NoEntry => Answer::words(Status::Invalid, "no function of this program is called there"),
    }
}

fn panicked(panic: &concurrent_futures_core::Panic) -> Answer {
    Answer::words(Status::Panicked, format!("{}\0{}", panic.message(), panic.location().unwrap_or_default()))
}

fn names(state: &Arc<State>, op: Op, frame: Frame) -> Answer {
    let Ok(name) = String::from_utf8(frame.value) else {
        return Answer::words(Status::Invalid, "a name is a text");
    };
    match op {
        Op::Publish => match state.find(frame.object) {
            Some(object) => {
                // Whatever had the name goes when the lock is free again.
                let _before = state.names.lock().insert(name, object);
                Answer::of(Status::Done)
            }
            None => Answer::of(Status::NoSuchObject),
        },
        Op::Unpublish => {
            let gone = state.names.lock().remove(&name);
            Answer::of(if gone.is_some() { Status::Done } else { Status::NoSuchName })
        }
        _ => {
            let found = state.names.lock().get(&name).cloned();
            match found {
                Some(object) => {
                    let (number, value) = (object.kind() as u64, object.type_name().into_bytes());
                    Answer { number, value, ..Answer::object(object) }
                }
                None => Answer::of(Status::NoSuchName),
            }
        }
    }
}

pub(crate) use calling::{Calling, callers, is_calling};

/// Which objects the functions are on that run in this thread, and those that wait for them in other threads: to call one of them again
/// would be to wait for oneself.
mod calling {
    use crate::wire::Caller;
    use crate::wire::auth::ServerId;
    use std::cell::RefCell;

    thread_local! {
        static OBJECTS: RefCell<Vec<Caller>> = const { RefCell::new(Vec::new()) };
    }

    /// So many there were before.
    pub(crate) struct Calling(usize);

    impl Calling {
        pub(crate) fn begin(callers: Vec<Caller>, called: Option<Caller>) -> Self {
            OBJECTS.with_borrow_mut(|objects| {
                let before = objects.len();
                objects.extend(callers.into_iter().chain(called));
                Calling(before)
            })
        }
    }

    impl Drop for Calling {
        fn drop(&mut self) {
            OBJECTS.with_borrow_mut(|objects| objects.truncate(self.0));
        }
    }

    pub(crate) fn is_calling(server: ServerId, object: u64) -> bool {
        OBJECTS.with_borrow(|objects| objects.contains(&(server, object)))
    }

    /// For what is called from here.
    pub(crate) fn callers() -> Vec<Caller> {
        OBJECTS.with_borrow(Clone::clone)
    }
}
