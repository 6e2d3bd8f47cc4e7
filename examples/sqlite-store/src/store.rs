//! Checkpoints of unfinished uploads, one row each.

use std::io;
use std::path::Path;
use std::time::Duration;

use oss_upload::CheckpointStore;
use rusqlite::{Connection, OptionalExtension, params};

const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS uploads (job TEXT PRIMARY KEY, checkpoint TEXT NOT NULL) STRICT";
/// How long to wait while another process writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The row of one job. It is not locked between two statements, so the program has to make sure
/// that it does not run the same job twice at the same time.
pub struct Row {
    database: Connection,
    job: String,
}

impl Row {
    /// Opens the database, and creates it if it is missing.
    pub fn open(path: &Path, job: &str) -> rusqlite::Result<Row> {
        let database = Connection::open(path)?;
        database.busy_timeout(BUSY_TIMEOUT)?;
        // A write returns only when it has reached the disk.
        database.pragma_update(None, "synchronous", "FULL")?;
        database.execute(TABLE, [])?;
        Ok(Row {
            database,
            job: job.to_owned(),
        })
    }

    fn query(&self) -> rusqlite::Result<Option<String>> {
        let sql = "SELECT checkpoint FROM uploads WHERE job = ?1";
        self.database
            .query_row(sql, [&self.job], |row| row.get(0))
            .optional()
    }
}

impl CheckpointStore for Row {
    fn load(&mut self) -> io::Result<Option<String>> {
        self.query().map_err(io::Error::other)
    }

    fn save(&mut self, text: &str) -> io::Result<()> {
        let sql = "INSERT INTO uploads (job, checkpoint) VALUES (?1, ?2)
            ON CONFLICT (job) DO UPDATE SET checkpoint = excluded.checkpoint";
        self.database
            .execute(sql, params![self.job, text])
            .map_err(io::Error::other)?;
        Ok(())
    }

    fn remove(&mut self) -> io::Result<()> {
        let sql = "DELETE FROM uploads WHERE job = ?1";
        self.database
            .execute(sql, [&self.job])
            .map_err(io::Error::other)?;
        Ok(())
    }
}
