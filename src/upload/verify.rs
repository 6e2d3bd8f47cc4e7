//! Proving that a part which OSS has is made of the file's bytes.

use std::collections::BTreeMap;

use super::plan::Plan;
use super::source::Source;
use super::workers::{self, News};
use super::{Context, Stop};
use crate::part::{Part, Parts, Piece};

/// A part that OSS has, and what it would prove it to be ours.
pub(super) struct Claim {
    pub(super) piece: Piece,
    /// Without quotes.
    pub(super) etag: Box<str>,
    pub(super) proof: Proof,
}

pub(super) enum Proof {
    Crc64(u64),
    /// The ETag is the MD5, unless the part is encrypted; then nothing is proven.
    Md5,
}

/// By number.
pub(super) type Claims = BTreeMap<u32, Claim>;

/// Recorded parts are claimed by the CRC-64 that they had.
pub(super) fn claims(parts: &Parts, plan: &Plan) -> Claims {
    let mut claims = Claims::new();
    for part in parts.iter() {
        if let Some(piece) = plan.piece(part.number) {
            let proof = Proof::Crc64(part.crc64);
            claims.insert(piece.number, Claim { piece, etag: part.etag.clone(), proof });
        }
    }
    claims
}

impl Context<'_> {
    /// Reads the claimed pieces, by as many threads as send parts; gives those that are proven.
    pub(super) fn proven(&self, claims: &Claims, source: &Source) -> Result<Parts, Stop> {
        let mut parts = Parts::default();
        workers::run(
            &mut claims.values().map(|claim| claim.piece),
            self.settings.routines,
            &self.line.switch(),
            &|piece, _| self.prove(&claims[&piece.number], source),
            &mut |news| {
                if let News::Done(Some(part)) = news {
                    parts.insert(part);
                }
                Ok(())
            },
        )?;
        Ok(parts)
    }

    /// Runs on a worker.
    fn prove(&self, claim: &Claim, source: &Source) -> Result<Option<Part>, Stop> {
        let with_md5 = matches!(claim.proof, Proof::Md5);
        let (crc64, md5) = source.digest(claim.piece, with_md5, &self.line)?;
        let proven = match (&claim.proof, md5) {
            (Proof::Crc64(wanted), _) => *wanted == crc64,
            (Proof::Md5, Some(md5)) => md5.is_etag(&claim.etag),
            (Proof::Md5, None) => false,
        };
        Ok(proven.then(|| Part { number: claim.piece.number, etag: claim.etag.clone(), crc64 }))
    }
}
