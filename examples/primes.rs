//! The classic from Python's documentation: which of some large numbers are prime, found out by
//! worker processes.
//!
//! Shows: `map`, which gives the results in the order of the input, and a pool that ends with its
//! block.
//!
//! ```text
//! cargo run --release --example primes
//! ```

use concurrent_futures::prelude::*;

const NUMBERS: [u64; 6] = [
    112_272_535_095_293,
    112_582_705_942_171,
    112_272_535_095_293,
    115_280_095_190_773,
    115_797_848_077_099,
    1_099_726_899_285_419,
];

fn is_prime(n: u64) -> bool {
    if n < 2 || n.is_multiple_of(2) {
        return n == 2;
    }
    (3..=n.isqrt()).step_by(2).all(|divisor| !n.is_multiple_of(divisor))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let executor = ProcessPoolExecutor::builder().build()?; // as many workers as there are CPUs
    for (number, prime) in NUMBERS.into_iter().zip(executor.map(is_prime, NUMBERS)) {
        println!("{number} is prime: {}", prime?);
    }
    Ok(())
}
