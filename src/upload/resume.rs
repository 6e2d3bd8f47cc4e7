//! Finding what an earlier call has done, and what of it still holds.

use std::collections::BTreeSet;

use super::checkpoint::{CheckpointState, Loaded};
use super::progress::{ProgressEvent, RestartReason};
use super::unfinished;
use super::verify::{Claim, Claims, Proof, claims};
use super::{Context, Origin, Session, Stop, Target, Upload, Uploaded};
use crate::client::{Failed, Message};
use crate::part::{Parts, Piece};
use crate::protocol::list_parts::{self, ListedPart};

pub(super) enum Resumed {
    Session(Box<Session>),
    /// Nothing is left to do: the earlier call had completed it.
    Complete(Box<Uploaded>),
}

/// What OSS says of an upload's parts.
pub(super) enum Listing {
    Parts(Vec<ListedPart>),
    /// We may not ask.
    Denied,
    NoSuchUpload,
}

impl Upload<'_, '_> {
    pub(super) fn resume_or_begin(&mut self) -> Result<Resumed, Stop> {
        let record = match self.checkpoint.load()? {
            Loaded::State(record) => *record,
            Loaded::Damaged => {
                let event = ProgressEvent::Restarted(RestartReason::CheckpointDamaged);
                return self.begin(event).map(Resumed::Session);
            }
            Loaded::Nothing if self.context.settings.adopt_unfinished => {
                return self.adopt().map(Resumed::Session);
            }
            Loaded::Nothing => return self.begin(ProgressEvent::Started).map(Resumed::Session),
        };
        let identity = self.context.identity();
        if let Some(reason) = identity.mismatch(&record.identity) {
            self.context.abort_soon(&record);
            let begun = self.begin(ProgressEvent::Restarted(reason)).map(Resumed::Session);
            return begun.map_err(|stop| self.give_up(&record, stop));
        }
        let doubtful = identity.needs_verification(&record.identity);
        let session = Box::new(Session {
            may_be_complete: record.completing.is_some(),
            record: CheckpointState { identity, ..record },
            parts_resumed: 0,
            origin: Origin::Recorded,
            trusted_alone: false,
        });
        self.carry_on(session, doubtful)
    }

    fn carry_on(&mut self, mut session: Box<Session>, doubtful: bool) -> Result<Resumed, Stop> {
        let verify = doubtful || self.context.settings.verify_on_resume;
        match self.context.reconcile(&mut session, verify) {
            Ok(Reconciled::Parts) => {}
            Ok(Reconciled::Complete(uploaded)) => {
                self.checkpoint.remove();
                let upload_id = uploaded.upload_id.as_deref();
                self.reporter.begin(ProgressEvent::Resumed, upload_id, uploaded.parts, uploaded.size);
                return Ok(Resumed::Complete(uploaded));
            }
            Ok(Reconciled::StartOver(reason)) => {
                return self.start_over(&session, reason).map(Resumed::Session);
            }
            Err(stop) => return Err(self.tidy_up(&session, stop)),
        }
        self.resumed(session).map(Resumed::Session)
    }

    fn resumed(&mut self, mut session: Box<Session>) -> Result<Box<Session>, Stop> {
        session.parts_resumed = session.record.parts.len();
        self.checkpoint.mark_dirty();
        let bytes = session.bytes(&self.context.plan);
        let upload_id = Some(session.record.upload_id.as_str());
        self.reporter.begin(ProgressEvent::Resumed, upload_id, session.parts_resumed, bytes);
        match self.check_panicked() {
            Ok(()) => Ok(session),
            Err(stop) => Err(self.tidy_up(&session, stop)),
        }
    }

    /// No record is at hand: takes over the newest unfinished upload of this very key.
    fn adopt(&mut self) -> Result<Box<Session>, Stop> {
        let Target { bucket, key, .. } = *self.context.target;
        let headers = self.context.settings.headers.plain();
        let newest = match unfinished::list(&self.context.line, bucket, key, headers) {
            Ok(uploads) => {
                uploads.into_iter().filter(|upload| upload.key == key).max_by_key(|upload| upload.initiated)
            }
            Err(Failed::Error { error, .. }) if error.service_code() == Some("AccessDenied") => {
                log::warn!("unfinished uploads can't be looked for: {error}");
                None
            }
            Err(failed) => return Err(self.context.stop(failed)),
        };
        let Some(upload) = newest else { return self.begin(ProgressEvent::Started) };
        let record = CheckpointState {
            identity: self.context.identity(),
            upload_id: upload.upload_id,
            initiated: upload.initiated,
            parts: Parts::default(),
            completing: None,
        };
        let mut session = Session {
            record,
            parts_resumed: 0,
            origin: Origin::Adopted,
            may_be_complete: false,
            trusted_alone: false,
        };
        match self.context.reconcile(&mut session, false) {
            Ok(Reconciled::Parts) => {}
            // Not ours to abort.
            Ok(_) => return self.begin(ProgressEvent::Started),
            Err(stop) => return Err(self.tidy_up(&session, stop)),
        }
        if let Err(error) = self.checkpoint.save(&session.record) {
            return Err(Stop::Error(error));
        }
        self.resumed(Box::new(session))
    }

    pub(super) fn check_panicked(&self) -> Result<(), Stop> {
        if self.reporter.has_panicked() { Err(Stop::Panicked) } else { Ok(()) }
    }
}

enum Reconciled {
    /// The session's parts are those that hold.
    Parts,
    Complete(Box<Uploaded>),
    StartOver(RestartReason),
}

impl Context<'_> {
    /// Leaves in the session the parts that OSS has and that are the file's.
    fn reconcile(&self, session: &mut Session, verify: bool) -> Result<Reconciled, Stop> {
        let claims = match self.list_parts(&session.record.upload_id)? {
            Listing::NoSuchUpload => return self.completed_earlier(session, verify),
            Listing::Denied if session.origin == Origin::Adopted => {
                return Ok(Reconciled::StartOver(RestartReason::UploadNotFound));
            }
            Listing::Denied if verify => {
                session.trusted_alone = true;
                claims(&session.record.parts, &self.plan)
            }
            Listing::Denied => {
                session.trusted_alone = true;
                session.record.parts.retain(|part| self.plan.piece(part.number).is_some());
                return Ok(Reconciled::Parts);
            }
            Listing::Parts(listed) => {
                // In a sequential upload what is there can't be replaced: all of it has to hold.
                let must_hold = if self.settings.sequential { distinct(&listed) } else { 0 };
                let (mut held, claims) = self.sort_out(&session.record.parts, listed, verify);
                held.append(self.proven(&claims, &self.source)?);
                if held.len() < must_hold {
                    return Ok(Reconciled::StartOver(RestartReason::PartDiffers));
                }
                session.record.parts = held;
                return Ok(Reconciled::Parts);
            }
        };
        session.record.parts = self.proven(&claims, &self.source)?;
        Ok(Reconciled::Parts)
    }

    /// Parts that hold as they are, and those that have to be proven. What the record and the server agree on holds.
    fn sort_out(&self, recorded: &Parts, listed: Vec<ListedPart>, verify: bool) -> (Parts, Claims) {
        let (mut held, mut claims) = (Parts::default(), Claims::new());
        for listed in listed {
            let fits = |piece: &Piece| piece.size == listed.size;
            let Some(piece) = self.plan.piece(listed.number).filter(fits) else { continue };
            let agreed = recorded.get(listed.number).filter(|part| {
                part.etag.eq_ignore_ascii_case(&listed.etag)
                    && listed.crc64.is_none_or(|crc64| crc64 == part.crc64)
            });
            match agreed {
                Some(part) if !verify => held.insert(part.clone()),
                _ => {
                    let crc64 = listed.crc64.or(agreed.map(|part| part.crc64));
                    let proof = crc64.map_or(Proof::Md5, Proof::Crc64);
                    claims.insert(piece.number, Claim { piece, etag: listed.etag.into(), proof });
                }
            }
        }
        (held, claims)
    }

    /// OSS does not know the upload. Had the earlier call sent Complete, it may have worked.
    fn completed_earlier(&self, session: &Session, verify: bool) -> Result<Reconciled, Stop> {
        let gone = Ok(Reconciled::StartOver(RestartReason::UploadNotFound));
        let Some(crc64) = session.record.completing else { return gone };
        if verify
            && self.proven(&claims(&session.record.parts, &self.plan), &self.source)?.len() < self.plan.count() as usize
        {
            return gone;
        }
        match self.find_object(crc64, session.record.initiated)? {
            Some(completed) => {
                let all = Session {
                    record: session.record.clone(),
                    parts_resumed: self.plan.count() as usize,
                    ..*session
                };
                Ok(Reconciled::Complete(Box::new(self.uploaded(completed, Some(&all)))))
            }
            None => gone,
        }
    }

    pub(super) fn list_parts(&self, upload_id: &str) -> Result<Listing, Stop> {
        let Target { bucket, key, .. } = *self.target;
        let (mut parts, mut marker) = (Vec::new(), 0);
        loop {
            let request = list_parts::request(bucket, key, upload_id, marker, self.settings.headers.plain());
            let page = self
                .line
                .call(&request, &mut Message::empty(), |response, _| list_parts::parse(response, marker));
            match page {
                Ok(page) => {
                    parts.extend(page.parts);
                    match page.next {
                        Some(next) => marker = next,
                        None => return Ok(Listing::Parts(parts)),
                    }
                }
                Err(Failed::Error { error, .. }) if error.service_code() == Some("NoSuchUpload") => {
                    return Ok(Listing::NoSuchUpload);
                }
                Err(Failed::Error { error, .. }) if error.service_code() == Some("AccessDenied") => {
                    log::warn!("the record is trusted alone: {error}");
                    return Ok(Listing::Denied);
                }
                Err(failed) => return Err(self.stop(failed)),
            }
        }
    }
}

fn distinct(listed: &[ListedPart]) -> usize {
    listed.iter().map(|part| part.number).collect::<BTreeSet<_>>().len()
}
