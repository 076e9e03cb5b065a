//! Sessions of the legacy era: an unguessable id each, a bound on their number.

use ring::rand::{SecureRandom, SystemRandom};
use std::collections::HashMap;
use tokio::sync::watch;

/// Most sessions; the one idle for longest makes room for a new one.
const SESSIONS_MAX: usize = 1024;

#[derive(Default)]
pub(super) struct Sessions {
    open: HashMap<String, Session>,
    /// Counts uses, so that the idlest session can be told without a clock.
    uses: u64,
}

struct Session {
    last_use: u64,
    /// Dropped with the session, which ends its streams.
    alive: watch::Sender<()>,
}

impl Sessions {
    /// A new session's id; `None` when the system has no randomness.
    pub fn create(&mut self) -> Option<String> {
        let mut bytes = [0; 16];
        SystemRandom::new().fill(&mut bytes).ok()?;
        let id: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        if self.open.len() >= SESSIONS_MAX
            && let Some(idlest) = self.open.iter().min_by_key(|(_, s)| s.last_use).map(|(id, _)| id.clone())
        {
            self.open.remove(&idlest);
        }
        self.uses += 1;
        self.open.insert(id.clone(), Session { last_use: self.uses, alive: watch::Sender::new(()) });
        debug_assert!(self.open.len() <= SESSIONS_MAX);
        Some(id)
    }

    /// Notes a use. The receiver's `changed` fails once the session is over; `None` when there is no such session.
    pub fn touch(&mut self, id: &str) -> Option<watch::Receiver<()>> {
        self.uses += 1;
        let session = self.open.get_mut(id)?;
        session.last_use = self.uses;
        Some(session.alive.subscribe())
    }

    pub fn remove(&mut self, id: &str) {
        self.open.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idlest_session_makes_room() {
        let mut sessions = Sessions::default();
        let ids: Vec<String> = (0..SESSIONS_MAX).map(|_| sessions.create().expect("randomness")).collect();
        let first = sessions.touch(&ids[0]).expect("open");
        let second = sessions.open[&ids[1]].alive.subscribe();
        sessions.create().expect("randomness");
        assert_eq!(sessions.open.len(), SESSIONS_MAX);
        assert!(sessions.touch(&ids[0]).is_some(), "used since");
        assert!(sessions.touch(&ids[1]).is_none(), "idle for longest");
        assert!(first.has_changed().is_ok(), "its streams live on");
        assert!(second.has_changed().is_err(), "its streams end");
    }
}
