//! A promise may be the last owner of the value that was set.

use concurrent_futures_core::Promise;

struct Looks<'a>(&'a str);

impl Drop for Looks<'_> {
    fn drop(&mut self) {
        println!("{}", self.0);
    }
}

fn main() {
    let outlives: Promise<Looks<'static>>;
    {
        let text = String::from("gone before the promise");
        let (promise, future) = Promise::<Looks<'_>>::pair();
        promise.set_result(Looks(&text)).unwrap();
        drop(future);
        outlives = promise;
    }
    drop(outlives);
}
