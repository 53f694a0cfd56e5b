//! What can travel to a worker.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What can be a task's argument or result: it can travel to a worker process and back.
///
/// The one bound of the library; implemented for everything that it covers, never by hand.
///
/// ```
/// use concurrent_futures_core::{ExecutorExt, SerialExecutor};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Point { x: f64, y: f64 }
///
/// let ex = SerialExecutor::new();
/// let norm = ex.submit(|p: Point| p.x.hypot(p.y), Point { x: 3.0, y: 4.0 });
/// assert_eq!(norm.result().unwrap(), 5.0);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a task's argument or result: it cannot travel to a worker process",
    label = "cannot travel to a worker",
    note = "own types: `#[derive(serde::Serialize, serde::Deserialize)]`; `&str` and other borrowed data: send the owned form (`String`, `Vec<u8>`, `PathBuf`)",
    note = "a task that returns `Result<T, E>` with an error that is not serde: use `submit_fallible` or `map_fallible`",
    note = "something that only threads can share (`Arc<Mutex<_>>`, channels, sockets): use `ThreadPoolExecutor::spawn`"
)]
pub trait Portable: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T> Portable for T where T: Serialize + DeserializeOwned + Send + 'static {}
