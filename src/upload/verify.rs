//! Proving that a part which OSS has is made of the file's bytes.

use super::plan::Plan;
use super::workers::{self, News};
use super::{Context, Stop};
use crate::part::{Part, Piece};

/// A part that OSS has, and what it would prove it to be ours.
pub(super) struct Claim {
    pub(super) piece: Piece,
    /// Without quotes.
    pub(super) etag: String,
    pub(super) proof: Proof,
}

pub(super) enum Proof {
    Crc64(u64),
    /// The ETag is the MD5, unless the part is encrypted; then nothing is proven.
    Md5,
}

impl Claim {
    /// Recorded parts, by the CRC-64 that they had.
    pub(super) fn all<'a>(parts: impl Iterator<Item = &'a Part>, plan: &Plan) -> Vec<Claim> {
        let claim = |part: &Part| {
            Some(Claim {
                piece: plan.piece(part.number)?,
                etag: part.etag.clone(),
                proof: Proof::Crc64(part.crc64),
            })
        };
        parts.filter_map(claim).collect()
    }
}

impl Context<'_> {
    /// Reads the claimed pieces, by as many threads as send parts; gives those that are proven.
    pub(super) fn proven(&self, claims: Vec<Claim>) -> Result<Vec<Part>, Stop> {
        let mut parts = Vec::with_capacity(claims.len());
        if claims.is_empty() {
            return Ok(parts);
        }
        workers::run(
            claims,
            self.settings.routines,
            &self.line.switch(),
            |claim, _| self.prove(claim),
            |news| {
                if let News::Done(Some(part)) = news {
                    parts.push(part);
                }
                Ok(())
            },
        )?;
        Ok(parts)
    }

    /// Runs on a worker.
    fn prove(&self, claim: Claim) -> Result<Option<Part>, Stop> {
        let with_md5 = matches!(claim.proof, Proof::Md5);
        let (crc64, md5) = self.source.digest(claim.piece, with_md5, &self.line)?;
        let proven = match (claim.proof, md5) {
            (Proof::Crc64(wanted), _) => wanted == crc64,
            (Proof::Md5, Some(md5)) => claim.etag.eq_ignore_ascii_case(&format!("{:x}", md5::Digest(md5))),
            (Proof::Md5, None) => false,
        };
        Ok(proven.then_some(Part { number: claim.piece.number, etag: claim.etag, crc64 }))
    }
}
