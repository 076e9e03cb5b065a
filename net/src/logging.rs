//! The process's own log, on stderr: text for people or JSON lines. It never holds bytes of messages; those who log
//! see to that, nothing here could.

use std::io::IsTerminal;
use tidegate_core::config::LogConfig;
use tracing_subscriber::EnvFilter;

/// Why the log cannot be as asked.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is no directive.
    #[error("log.level is not understood: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// There is a log already.
    #[error("the log is set up already")]
    Twice,
}

/// The running log; its level can be changed by a reload, its format cannot.
pub struct Logging {
    set_filter: Box<dyn Fn(EnvFilter) + Send + Sync>,
}

impl std::fmt::Debug for Logging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Logging")
    }
}

impl Logging {
    /// Starts the log of this process; works once.
    pub fn start(config: &LogConfig) -> Result<Logging, LoggingError> {
        let builder = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::try_new(&config.level)?)
            .with_writer(std::io::stderr)
            .with_ansi(!config.json && std::io::stderr().is_terminal());
        let twice = |_| LoggingError::Twice;
        // A handle whose log is gone can change nothing, and nobody is left to tell.
        let set_filter: Box<dyn Fn(EnvFilter) + Send + Sync> = if config.json {
            let builder = builder.json().flatten_event(true).with_current_span(false).with_span_list(false);
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            tracing::subscriber::set_global_default(builder.finish()).map_err(twice)?;
            Box::new(move |filter| drop(handle.reload(filter)))
        } else {
            let builder = builder.with_filter_reloading();
            let handle = builder.reload_handle();
            tracing::subscriber::set_global_default(builder.finish()).map_err(twice)?;
            Box::new(move |filter| drop(handle.reload(filter)))
        };
        Ok(Logging { set_filter })
    }

    /// Changes the level while running.
    pub fn set_level(&self, level: &str) -> Result<(), LoggingError> {
        (self.set_filter)(EnvFilter::try_new(level)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_can_be_changed_and_a_bad_one_is_refused() {
        let config = |level: &str| LogConfig { level: level.to_owned(), json: true };
        assert!(matches!(Logging::start(&config("tidegate=loud")), Err(LoggingError::Level(_))));
        let logging = Logging::start(&config("error")).expect("the first one");
        assert!(!tracing::enabled!(tracing::Level::INFO));
        logging.set_level("info,tidegate=debug").expect("a right level");
        assert!(tracing::enabled!(tracing::Level::INFO));
        assert!(logging.set_level("tidegate=loud").is_err());
        assert!(matches!(Logging::start(&config("info")), Err(LoggingError::Twice)));
    }
}
