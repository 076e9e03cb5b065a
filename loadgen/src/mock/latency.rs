//! How long the mock takes: a distribution, sampled with a seed. No I/O.

use crate::payload::Rng;
use crate::units;
use std::time::Duration;

/// Longest latency: no measurement lasts longer.
const LATENCY_NS_MAX: f64 = 600e9;
/// How many standard deviations above the median 99 % of a normal distribution lie.
const NORMAL_P99: f64 = 2.326_347_874;

/// A distribution of latencies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latency {
    /// As fast as possible.
    None,
    /// Always the same.
    Fixed {
        /// In nanoseconds.
        ns: f64,
    },
    /// Anything between two bounds alike.
    Uniform {
        /// Shortest, in nanoseconds.
        from: f64,
        /// Longest, in nanoseconds.
        to: f64,
    },
    /// Exponential: many short, few long.
    Exponential {
        /// In nanoseconds.
        mean: f64,
    },
    /// Log-normal: what real services look like.
    LogNormal {
        /// Logarithm of the median in nanoseconds.
        mu: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
}

impl std::str::FromStr for Latency {
    type Err = String;

    fn from_str(text: &str) -> Result<Latency, String> {
        const HELP: &str = "write fixed:1ms, uniform:1ms..5ms, exp:2ms or lognormal:2ms,20ms (median, 99 %)";
        let (shape, times) = text.split_once(':').ok_or_else(|| format!("{text:?}: {HELP}"))?;
        let ns = |text: &str| {
            let ns = units::duration(text).map(|d: Duration| d.as_nanos() as f64)?;
            if ns <= LATENCY_NS_MAX { Ok(ns) } else { Err(format!("{text:?}: at most 600s")) }
        };
        let pair = |separator| {
            let (a, b) = times.split_once(separator).ok_or_else(|| format!("{text:?}: {HELP}"))?;
            Ok::<_, String>((ns(a)?, ns(b)?))
        };
        match shape {
            "fixed" => Ok(Latency::Fixed { ns: ns(times)? }),
            "exp" => Ok(Latency::Exponential { mean: ns(times)? }),
            "uniform" => match pair("..")? {
                (from, to) if from <= to => Ok(Latency::Uniform { from, to }),
                _ => Err(format!("{text:?}: the first time must not be above the second")),
            },
            "lognormal" => match pair(",")? {
                (p50, p99) if 0.0 < p50 && p50 <= p99 => {
                    Ok(Latency::LogNormal { mu: p50.ln(), sigma: (p99 / p50).ln() / NORMAL_P99 })
                }
                _ => Err(format!("{text:?}: the median must be above 0 and not above the 99 %")),
            },
            _ => Err(format!("{text:?}: {HELP}")),
        }
    }
}

impl Latency {
    /// The next latency in nanoseconds.
    pub fn sample(&self, rng: &mut Rng) -> u64 {
        // In (0, 1]: the logarithm of zero is not a time.
        let mut unit = || ((rng.bits() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        let ns = match *self {
            Latency::None => 0.0,
            Latency::Fixed { ns } => ns,
            Latency::Uniform { from, to } => from + (to - from) * unit(),
            Latency::Exponential { mean } => -mean * unit().ln(),
            Latency::LogNormal { mu, sigma } => {
                let normal = (-2.0 * unit().ln()).sqrt() * (std::f64::consts::TAU * unit()).cos();
                (mu + sigma * normal).exp()
            }
        };
        ns.min(LATENCY_NS_MAX) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(text: &str) -> Vec<u64> {
        let latency: Latency = text.parse().expect(text);
        let mut rng = Rng::new(3);
        let mut all: Vec<u64> = (0..50_000).map(|_| latency.sample(&mut rng)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn distributions_are_what_they_say() {
        assert_eq!(sorted("fixed:1ms")[49_999], 1_000_000);
        let u = sorted("uniform:1ms..3ms");
        assert!(u[0] >= 1_000_000 && u[49_999] <= 3_000_000);
        assert!((1_950_000..2_050_000).contains(&u[25_000]), "{}", u[25_000]);
        let e = sorted("exp:2ms");
        let mean = e.iter().sum::<u64>() / 50_000;
        assert!((1_950_000..2_050_000).contains(&mean), "{mean}");
        let l = sorted("lognormal:2ms,20ms");
        assert!((1_930_000..2_070_000).contains(&l[25_000]), "{}", l[25_000]);
        assert!((18_000_000..22_000_000).contains(&l[49_500]), "{}", l[49_500]);
    }

    #[test]
    fn what_is_no_distribution() {
        for text in [
            "",
            "1ms",
            "fixed:",
            "fixed:1",
            "uniform:3ms..1ms",
            "uniform:1ms",
            "lognormal:0,1ms",
            "exp:1h",
            "fixed:601s",
            "zipf:1",
        ] {
            assert!(text.parse::<Latency>().is_err(), "{text}");
        }
    }
}
