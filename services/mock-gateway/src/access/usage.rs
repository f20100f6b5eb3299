//! How much the holder of an API key has called: a bucket of tokens for the rate, a counter
//! for the quota. In memory: a restart begins anew.

use std::collections::HashMap;
use std::time::Instant;

use app_model::{Period, UsagePlan};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::response::Refusal;

/// By the key's value. Only keys that are declared get here, which bounds it.
#[derive(Debug, Default)]
pub(super) struct Usage(HashMap<String, Used>);

#[derive(Debug)]
struct Used {
    /// Requests that may come at once, and when that was reckoned.
    tokens: f64,
    at: Instant,
    /// Requests in this period.
    period: i64,
    count: u64,
}

impl Usage {
    /// Counts a request, unless it is one too many.
    pub(super) fn take(
        &mut self,
        key: &str,
        plan: &UsagePlan,
        now: Instant,
        date: Timestamp,
    ) -> Result<(), Refusal> {
        let period = plan.quota.map_or(0, |quota| number(quota.period, date));
        let bucket = |rate: f64| plan.burst.map_or(rate.max(1.0), f64::from);
        let used = self.0.entry(key.to_owned()).or_insert_with(|| Used {
            tokens: plan.rate.map_or(0.0, bucket),
            at: now,
            period,
            count: 0,
        });
        if let Some(rate) = plan.rate {
            let passed = now.saturating_duration_since(used.at).as_secs_f64();
            used.tokens = (used.tokens + passed * rate).min(bucket(rate));
            used.at = now;
            if used.tokens < 1.0 {
                return Err(Refusal::TooManyRequests);
            }
        }
        if let Some(quota) = plan.quota {
            if used.period != period {
                used.period = period;
                used.count = 0;
            }
            if used.count >= quota.limit {
                return Err(Refusal::LimitExceeded);
            }
            used.count += 1;
        }
        if plan.rate.is_some() {
            used.tokens -= 1.0;
        }
        Ok(())
    }
}

/// Which day, week or month a moment is in.
fn number(period: Period, date: Timestamp) -> i64 {
    let days = date.as_second().div_euclid(86_400);
    match period {
        Period::Day => days,
        // The first of January 1970 was a Thursday.
        Period::Week => (days + 3).div_euclid(7),
        Period::Month => {
            let date = date.to_zoned(TimeZone::UTC);
            i64::from(date.year()) * 12 + i64::from(date.month())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use app_model::Quota;

    use super::*;

    #[test]
    fn a_bucket_refills_with_time() {
        let plan = UsagePlan {
            rate: Some(2.0),
            burst: Some(3),
            ..UsagePlan::default()
        };
        let (start, date) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let mut usage = Usage::default();
        let mut take = |key: &str, millis| {
            let now = start + Duration::from_millis(millis);
            usage.take(key, &plan, now, date)
        };
        for _ in 0..3 {
            assert_eq!(take("a", 0), Ok(()));
        }
        assert_eq!(take("a", 0), Err(Refusal::TooManyRequests));
        assert_eq!(take("b", 0), Ok(()), "each key has its own");
        assert_eq!(take("a", 499), Err(Refusal::TooManyRequests));
        assert_eq!(take("a", 501), Ok(()));
        assert_eq!(take("a", 501), Err(Refusal::TooManyRequests));
        for _ in 0..3 {
            assert_eq!(take("a", 60_000), Ok(()), "no more than the burst");
        }
        assert_eq!(take("a", 60_000), Err(Refusal::TooManyRequests));
    }

    #[test]
    fn a_quota_begins_anew_with_its_period() {
        for (period, same, next) in [
            (Period::Day, "2025-11-21T23:59:59Z", "2025-11-22T00:00:00Z"),
            (Period::Week, "2025-11-23T23:59:59Z", "2025-11-24T00:00:00Z"),
            (
                Period::Month,
                "2025-11-30T23:59:59Z",
                "2025-12-01T00:00:00Z",
            ),
        ] {
            let plan = UsagePlan {
                quota: Some(Quota { limit: 2, period }),
                ..UsagePlan::default()
            };
            let mut usage = Usage::default();
            let mut take =
                |date: &str| usage.take("a", &plan, Instant::now(), date.parse().unwrap());
            assert_eq!(take("2025-11-21T00:00:00Z"), Ok(()));
            assert_eq!(take(same), Ok(()));
            assert_eq!(take(same), Err(Refusal::LimitExceeded), "{period:?}");
            assert_eq!(take(next), Ok(()), "{period:?}");
        }
    }
}
