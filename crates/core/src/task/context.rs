//! A value that every task of a batch may read, sent to a worker process once.

use super::serve::WorkerEnv;
use crate::attach::{self, Arrived, Attachment};
use crate::codec::Stream;
use crate::error::{CodecError, CodecStep, TaskErrorKind};
use crate::{Portable, codec};
use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The encoded context of a [`Call`](super::Call); the bytes are shared by all calls that use it.
///
/// An executor sends it to each worker once, before the first call that names it, and may have the worker forget it later.
#[derive(Clone)]
pub struct Context {
    /// Names the context in this process; never used twice.
    pub id: u64,
    /// What to make a [`StoredContext`] of.
    pub bytes: Arc<[u8]>,
    /// The descriptors that go with them.
    pub attachments: Arc<[Attachment]>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("id", &self.id).field("bytes", &self.bytes.len()).finish()
    }
}

/// A context in a worker: as bytes until the first task uses it, then as the value.
#[derive(Debug)]
pub struct StoredContext {
    bytes: Stream,
    arrived: Arrived,
    value: Option<Box<dyn Any + Send + Sync>>,
}

impl StoredContext {
    /// A context as it arrived.
    pub fn new(bytes: Stream) -> Self {
        StoredContext::with_attachments(bytes, Arrived::default())
    }

    /// With the descriptors that came with it.
    pub fn with_attachments(bytes: Stream, arrived: Arrived) -> Self {
        StoredContext { bytes, arrived, value: None }
    }
}

/// How a kind of function holds its context.
pub(crate) trait ContextHandle: Clone + Send + 'static {
    type Value;

    /// There is something to be sent.
    const IS_SENT: bool;

    fn value(&self) -> &Self::Value;

    fn encode(&self) -> Result<Option<Box<Context>>, TaskErrorKind>;

    /// The context of the call that `env` serves.
    fn load(env: &mut dyn WorkerEnv) -> Result<Self, TaskErrorKind>;
}

/// No context.
#[derive(Clone, Copy)]
pub(crate) struct Unbound;

impl ContextHandle for Unbound {
    type Value = ();

    const IS_SENT: bool = false;

    fn value(&self) -> &() {
        &()
    }

    fn encode(&self) -> Result<Option<Box<Context>>, TaskErrorKind> {
        Ok(None)
    }

    fn load(_env: &mut dyn WorkerEnv) -> Result<Self, TaskErrorKind> {
        Ok(Unbound)
    }
}

/// A context, shared by the tasks that use it.
pub(crate) struct Bound<C>(Arc<Shared<C>>);

struct Shared<C> {
    value: C,
    /// Encoded when the first task needs it.
    encoded: OnceLock<Result<Context, CodecError>>,
}

impl<C> Bound<C> {
    pub(crate) fn new(value: C) -> Self {
        Bound(Arc::new(Shared { value, encoded: OnceLock::new() }))
    }
}

impl<C> Clone for Bound<C> {
    fn clone(&self) -> Self {
        Bound(self.0.clone())
    }
}

impl<C: Portable + Sync> ContextHandle for Bound<C> {
    type Value = C;

    const IS_SENT: bool = true;

    fn value(&self) -> &C {
        &self.0.value
    }

    fn encode(&self) -> Result<Option<Box<Context>>, TaskErrorKind> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let fail = |message: &str| CodecError::new(CodecStep::EncodeArgument, std::any::type_name::<C>(), message);
        let encoded = self.0.encoded.get_or_init(|| {
            let (mut bytes, mut attachments) = (Vec::new(), Vec::new());
            let mut encode = || codec::encode(&self.0.value, &mut bytes);
            // It has descriptors of its own, if whoever encodes the task can send any.
            let encoded = if attach::is_collecting() { attach::collect(&mut attachments, encode) } else { encode() };
            match encoded {
                Ok(encoded) if encoded.known > 0 => {
                    Err(fail("a context cannot hold channel handles; send them as arguments"))
                }
                Ok(_) => Ok(Context {
                    id: NEXT.fetch_add(1, Ordering::Relaxed),
                    bytes: bytes.into(),
                    attachments: attachments.into(),
                }),
                Err(failure) => Err(fail(failure.message())),
            }
        });
        encoded.clone().map(|context| Some(Box::new(context))).map_err(TaskErrorKind::Codec)
    }

    fn load(env: &mut dyn WorkerEnv) -> Result<Self, TaskErrorKind> {
        let fail = |message: &str| {
            TaskErrorKind::Codec(CodecError::new(CodecStep::DecodeArgument, std::any::type_name::<C>(), message))
        };
        let stored = env.context().ok_or_else(|| fail("the worker has no such context"))?;
        if let Some(bound) = stored.value.as_ref().and_then(|value| value.downcast_ref::<Bound<C>>()) {
            return Ok(bound.clone());
        }
        let arrived = stored.arrived.clone();
        let value = if arrived.is_empty() {
            codec::decode::<C>(&stored.bytes)
        } else {
            attach::provide(arrived, || codec::decode::<C>(&stored.bytes))
        };
        let value = value.map_err(|failure| fail(failure.message()))?;
        let bound = Bound::new(value);
        stored.value = Some(Box::new(bound.clone()));
        stored.bytes = Stream::default();
        stored.arrived = Arrived::default();
        Ok(bound)
    }
}
