//! Carries calls through everything but sockets, for counting instructions: `valgrind --tool=callgrind
//! --collect-atstart=no --toggle-collect='*measured*' one-call`. See `bench/instructions.py`.

use std::hint::black_box;
use tidegate_bench::call::{Call, Worker};
use tidegate_inspect::Engine;

/// Calls counted of each kind, after as many to warm up.
const CALLS: u32 = 3;

/// One function for each kind of call: the profile tells them apart by name.
macro_rules! kinds {
    ($($name:ident $bytes:literal $planted:literal,)*) => {
        $(
            #[inline(never)]
            fn $name(worker: &mut Worker<'_>, call: &Call) {
                black_box(($bytes, $planted)); // or equal functions would become one
                black_box(worker.carry(black_box(call)));
            }
        )*
        const KINDS: &[(fn(&mut Worker<'_>, &Call), usize, bool)] = &[$(($name, $bytes, $planted),)*];
    };
}

kinds! {
    measured_1k 1_024 false,
    measured_1k_planted 1_024 true,
    measured_16k 16_384 false,
    measured_128k 131_072 false,
}

fn main() {
    let engine = match Engine::builtin() {
        Ok(engine) => engine,
        Err(error) => {
            eprintln!("one-call: {error}");
            std::process::exit(2);
        }
    };
    let mut worker = Worker::new(&engine);
    for (measured, bytes, planted) in KINDS {
        let call = Call::new(*bytes, *planted);
        for _ in 0..CALLS {
            worker.carry(&call);
        }
        for _ in 0..CALLS {
            measured(&mut worker, &call);
        }
    }
}
