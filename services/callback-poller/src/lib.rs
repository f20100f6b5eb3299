//! Receives status reports and owns a job's timeline until it ends or times out.
