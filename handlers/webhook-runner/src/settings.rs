//! How a runner works: batch size, bounds and timeouts.

use std::num::NonZeroUsize;
use std::time::Duration;

use pipeline_contract::WebhookPayload;
use serde::de::DeserializeOwned;

use crate::event::BadRequest;
use crate::retry::RetryPolicy;

/// A runner's settings; [`RunnerSettings::REFERENCE`] has the reference's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerSettings {
    /// Records a batch covers.
    pub batch_size: NonZeroUsize,
    /// A batch is also closed once it has this many bytes, so that memory stays flat
    /// whatever the size of a record.
    pub batch_bytes: usize,
    /// A longer line is left out and reported, in bytes.
    pub longest_line: usize,
    /// How long the source may send nothing before the download counts as cut short.
    pub idle_timeout: Duration,
    /// How long the callback and the source may take to answer.
    pub answer_timeout: Duration,
    /// How reports are repeated.
    pub retry: RetryPolicy,
}

impl RunnerSettings {
    /// Batches of 500 records or 4 MiB, lines up to 6 MiB (Lambda's own bound on a
    /// payload), 30 s for the source's pauses and for answers.
    pub const REFERENCE: Self = Self {
        batch_size: NonZeroUsize::new(500).unwrap(),
        batch_bytes: 4 * 1024 * 1024,
        longest_line: 6 * 1024 * 1024,
        idle_timeout: Duration::from_secs(30),
        answer_timeout: Duration::from_secs(30),
        retry: RetryPolicy::REFERENCE,
    };

    /// The largest `batch_size` a payload may ask for.
    pub const LARGEST_BATCH: usize = 10_000;

    /// The reference's settings, with `settings.batch_size` of the payload if it has one.
    ///
    /// # Errors
    /// If it is not a whole number from 1 to [`RunnerSettings::LARGEST_BATCH`].
    pub fn from_payload(payload: &WebhookPayload) -> Result<Self, BadRequest> {
        let mut settings = Self::REFERENCE;
        if let Some(batch_size) = setting::<NonZeroUsize>(payload, "batch_size")? {
            if batch_size.get() > Self::LARGEST_BATCH {
                return Err(BadRequest::Setting {
                    name: "batch_size",
                    why: format!("at most {}", Self::LARGEST_BATCH),
                });
            }
            settings.batch_size = batch_size;
        }
        Ok(settings)
    }
}

/// Reads one entry of the payload's `settings`; absent and null are `None`. A number may
/// be written as a string, as web forms send it.
///
/// # Errors
/// [`BadRequest::Setting`] if it is no `T`.
pub fn setting<T: DeserializeOwned>(
    payload: &WebhookPayload,
    name: &'static str,
) -> Result<Option<T>, BadRequest> {
    let Some(value) = payload.settings.as_ref().and_then(|all| all.get(name)) else {
        return Ok(None);
    };
    let direct = serde_json::from_value(value.clone());
    let read = direct.or_else(|error| {
        let text = value
            .as_str()
            .ok_or(())
            .and_then(|text| serde_json::from_str(text.trim()).map_err(|_| ()));
        text.map_err(|()| error)
    });
    read.map_err(|error| BadRequest::Setting {
        name,
        why: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn payload(settings: &Value) -> WebhookPayload {
        serde_json::from_value(json!({
            "data_url": "d", "callback_url": "c", "webhook_id": "w", "settings": settings
        }))
        .unwrap()
    }

    #[test]
    fn the_payload_may_choose_the_batch_size() {
        for (settings, expected) in [
            (json!(null), Some(500)),
            (json!({}), Some(500)),
            (json!({"batch_size": null}), Some(500)),
            (json!({"batch_size": 7}), Some(7)),
            (json!({"batch_size": "7"}), Some(7)),
            (json!({"batch_size": 0}), None),
            (json!({"batch_size": -1}), None),
            (json!({"batch_size": "many"}), None),
            (json!({"batch_size": 10_001}), None),
        ] {
            let read = RunnerSettings::from_payload(&payload(&settings));
            let size = read.as_ref().ok().map(|read| read.batch_size.get());
            assert_eq!(size, expected, "{settings}: {read:?}");
        }
    }

    #[test]
    fn a_text_setting_is_taken_as_it_is() {
        let payload = payload(&json!({"data_key": "12"}));
        let key = setting::<String>(&payload, "data_key").unwrap();
        assert_eq!(key.as_deref(), Some("12"));
    }
}
