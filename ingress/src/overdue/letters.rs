//! Dead letters whose job's end nobody said, and those that are void.

use std::time::Duration;

use jiff::Timestamp;
use proto::{JobId, State};
use queue::{Closed, DeadLetter, Position, QueueError, Since};

use super::{Halt, SEEN_WITHIN, Watch};
use crate::{
    letters::{death_in, id_in},
    timeline::told_since_in,
};

/// A letter older than this is left alone: the history may have forgotten its job's end.
const LETTERS_SINCE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Who closes a letter that is void, where nobody did.
const LONGSHORE: &str = "longshore";

impl Watch {
    /// Every letter is of a job whose end is `dead`: where nobody said so, it is said; where the job ended otherwise
    /// or was replayed, the letter is void and closed.
    pub(super) async fn account_for(&mut self, letters: Vec<DeadLetter>, head: Position) -> Result<(), Halt> {
        self.accounted.retain(|known| letters.iter().any(|letter| letter.id == *known));
        let (replayed, since) = (self.ingress.view.replayed(), Timestamp::now() - LETTERS_SINCE);
        let mut unknown = Vec::new();
        for letter in letters.into_iter().filter(|letter| letter.died_at >= since) {
            let Some(id) = id_in(&letter) else { continue };
            if let Some(by) = replayed.get(&id) {
                self.close(&letter, Closed::Replayed { by: *by }).await?;
                continue;
            }
            if self.accounted.contains(&letter.id) {
                continue;
            }
            if let Some(end) = self.ingress.view.state(id).filter(|state| state.is_end()) {
                self.account_for_one(&letter, Some(end)).await?;
            } else {
                unknown.push((id, letter));
            }
        }
        self.look_up(unknown, head).await
    }

    /// Accounts for letters of jobs whose ends have to be sought in the history.
    async fn look_up(&mut self, unknown: Vec<(JobId, DeadLetter)>, head: Position) -> Result<(), Halt> {
        let mut wanted: Vec<_> =
            unknown.iter().map(|(id, letter)| (*id, told_since_in(*id, letter))).collect();
        wanted.sort_unstable_by_key(|(_, time)| *time);
        let wanted = wanted.into_iter().map(|(id, time)| (id, Since::Time(time))).collect();
        let traces = self.traces(wanted, head).await?;
        for (id, letter) in &unknown {
            if let Some(trace) = traces.get_or_put_off(*id) {
                self.account_for_one(letter, trace.and_then(|trace| trace.end)).await?;
            }
        }
        Ok(())
    }

    async fn account_for_one(&mut self, letter: &DeadLetter, end: Option<State>) -> Result<(), Halt> {
        match (end, death_in(letter)) {
            (Some(State::Dead), _) | (None, None) => _ = self.accounted.insert(letter.id),
            (Some(_), _) => self.close(letter, Closed::Discarded { by: Some(LONGSHORE.to_owned()) }).await?,
            (None, Some(event)) => {
                let why = &letter.reason.text;
                tracing::warn!(job = %event.job_id(), why, "a job was laid aside, and nobody said so");
                if let Err(error) = self.ingress.intake.chronicle().say(&event, SEEN_WITHIN).await {
                    self.go_on_without("that a job is dead could not be said", error.into())?;
                }
            }
        }
        Ok(())
    }

    async fn close(&mut self, letter: &DeadLetter, how: Closed) -> Result<(), Halt> {
        if let Err(error) = self.close_in_turn(letter, how).await {
            self.go_on_without("a dead letter that is void could not be closed", error.into())?;
        }
        Ok(())
    }

    async fn close_in_turn(&self, letter: &DeadLetter, how: Closed) -> Result<(), QueueError> {
        let _turn = self.ingress.letters.turn().await;
        tracing::info!(letter = %letter.id, ?how, "a dead letter is void and closed");
        self.ingress.letters.close(std::slice::from_ref(letter), &how).await.map(drop)
    }
}
