//! A future may be the last owner of its value, so the compiler would have to know that it drops one.

use concurrent_futures_core::Future;

struct Looks<'a>(&'a str);

impl Drop for Looks<'_> {
    fn drop(&mut self) {
        println!("{}", self.0);
    }
}

fn main() {
    let future;
    {
        let text = String::from("gone before the future");
        future = Future::ready(Ok(Looks(&text)));
    }
    drop(future);
}
