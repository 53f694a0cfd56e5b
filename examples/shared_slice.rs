//! A large table that all workers read in place, and results that come back without a copy.
//!
//! ```sh
//! cargo run --release --example shared_slice
//! ```

use concurrent_futures::prelude::*;
use concurrent_futures::{SharedBytes, SharedSlice, SharedSliceMut};
use serde::{Deserialize, Serialize};

const WIDTH: usize = 4096;
const HEIGHT: usize = 2048;

/// Part of a task's argument like any other field.
#[derive(Serialize, Deserialize)]
struct Stripe {
    number: usize,
    image: SharedSlice<f32>,
}

#[derive(Serialize, Deserialize)]
struct Rendered {
    number: usize,
    mean: f64,
    pixels: SharedBytes,
}

fn render(stripe: Stripe) -> Rendered {
    let mean = stripe.image.iter().map(|value| f64::from(*value)).sum::<f64>() / stripe.image.len() as f64;
    let pixels = stripe.image.iter().map(|value| (value * 255.0) as u8).collect();
    Rendered { number: stripe.number, mean, pixels }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Filled in place, in memory that can be shared; then it does not change any more.
    let mut image = SharedSliceMut::<f32>::zeroed(WIDTH * HEIGHT)?;
    for (y, row) in image.chunks_mut(WIDTH).enumerate() {
        row.fill(y as f32 / HEIGHT as f32);
    }
    let image = image.freeze();

    let pool = ProcessPoolExecutor::new(4)?;
    let rows = HEIGHT / 8;
    let stripe = |number: usize| image.slice(number * rows * WIDTH..(number + 1) * rows * WIDTH);
    let stripes: Vec<Stripe> = (0..8).map(|number| Stripe { number, image: stripe(number) }).collect();
    for rendered in pool.map(render, stripes) {
        let Rendered { number, mean, pixels } = rendered?;
        println!(
            "stripe {number}: mean {mean:.3}, {} pixels from {} to {}",
            pixels.len(),
            pixels[0],
            pixels[pixels.len() - 1]
        );
    }

    // One that every task reads travels best as their context.
    let table = SharedSliceMut::from_fn(1 << 20, |n| (n as u64).pow(2))?.freeze();
    let squares = pool.with_context(table).map(|table: &SharedSlice<u64>, n: usize| table[n], [3, 500, 1_000_000]);
    println!("squares: {:?}", squares.collect::<Result<Vec<_>, _>>()?);
    Ok(())
}
