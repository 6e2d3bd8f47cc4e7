//! A parser of rules, for the command line: `ResetAfterApply,on=UploadPart,part=2`.

use std::fmt::Display;
use std::str::FromStr;

use crate::faults::{Fault, Operation, Rule};

const OPERATIONS: [Operation; 11] = [
    Operation::InitiateMultipartUpload,
    Operation::UploadPart,
    Operation::ListParts,
    Operation::CompleteMultipartUpload,
    Operation::AbortMultipartUpload,
    Operation::ListMultipartUploads,
    Operation::PutObject,
    Operation::GetObject,
    Operation::HeadObject,
    Operation::DeleteObject,
    Operation::Other,
];

/// Parses the name of a fault, followed by fields such as `on=UploadPart`, `part=2`, `nth=3`,
/// `times=5` or `times=forever`, and by the fields of the fault, all separated by commas.
impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Rule, String> {
        let (fault, rest) = text.split_once(',').unwrap_or((text, ""));
        let mut fields = Fields::parse(rest)?;
        let mut rule = Rule::new(parse_fault(fault, &mut fields)?);
        if let Some(name) = fields.take("on") {
            let named = |operation: &&Operation| format!("{operation:?}") == name;
            let operation = OPERATIONS.iter().find(named);
            rule = rule.on(*operation.ok_or_else(|| format!("unknown operation {name:?}"))?);
        }
        if let Some(number) = fields.parsed("part")? {
            rule = rule.part(number);
        }
        if let Some(n) = fields.parsed("nth")? {
            rule = rule.nth(n);
        }
        if let Some(times) = fields.take("times") {
            rule = if times == "forever" {
                rule.forever()
            } else {
                rule.times(parse("times", times)?)
            };
        }
        match fields.fields.first() {
            None => Ok(rule),
            Some((field, _)) => Err(format!("the fault {fault:?} has no field {field:?}")),
        }
    }
}

fn parse_fault(name: &str, fields: &mut Fields<'_>) -> Result<Fault, String> {
    Ok(match name {
        "Reset" => Fault::Reset,
        "ResetMidBody" => Fault::ResetMidBody,
        "ResetAfterApply" => Fault::ResetAfterApply,
        "CloseAfterApply" => Fault::CloseAfterApply,
        "CloseBeforeResponse" => Fault::CloseBeforeResponse,
        "Stall" => Fault::Stall,
        "StallMidBody" => Fault::StallMidBody,
        "StallBeforeResponse" => Fault::StallBeforeResponse,
        "StallAfterApply" => Fault::StallAfterApply,
        "Slow" => Fault::Slow {
            bytes_per_second: fields.required("bytes_per_second")?,
        },
        "Delay" => Fault::Delay(fields.required::<humantime::Duration>("time")?.into()),
        "Status" => Fault::Status {
            status: fields.status()?,
            code: fields.parsed("code")?.unwrap_or_default(),
            retry_after: fields.parsed("retry_after")?,
        },
        "EarlyStatus" => Fault::EarlyStatus {
            status: fields.status()?,
            code: fields.required("code")?,
        },
        "StatusBeforeContinue" => Fault::StatusBeforeContinue {
            status: fields.status()?,
            code: fields.required("code")?,
        },
        "Redirect" => Fault::Redirect {
            status: fields.status()?,
            location: fields.required("location")?,
        },
        "TruncateResponse" => Fault::TruncateResponse,
        "TruncateXml" => Fault::TruncateXml,
        "Html" => Fault::Html,
        "HugeResponse" => Fault::HugeResponse(fields.required("bytes")?),
        "InvalidHttp" => Fault::InvalidHttp,
        "NoEtag" => Fault::NoEtag,
        "WrongEtag" => Fault::WrongEtag,
        "WeakEtag" => Fault::WeakEtag,
        "WithoutHeaders" => Fault::without_headers(fields.required::<String>("names")?.split(';')),
        "ExtraHeaders" => {
            let text = fields.required::<String>("headers")?;
            let headers: Option<Vec<_>> = text.split(';').map(|h| h.split_once(':')).collect();
            Fault::extra_headers(headers.ok_or("a header in headers has no colon")?)
        }
        "ShiftLastModified" => Fault::ShiftLastModified(fields.required("seconds")?),
        "Throttled" => Fault::Throttled {
            status: fields.status()?,
            code: fields.required("code")?,
            delay_ms: fields.required("delay_ms")?,
        },
        "NoCrc" => Fault::NoCrc,
        "WrongCrc" => Fault::WrongCrc,
        "CorruptBody" => Fault::CorruptBody,
        "ErrorInside200" => Fault::ErrorInside200 {
            code: fields.required("code")?,
        },
        "ExpireUpload" => Fault::ExpireUpload,
        "SkewClock" => Fault::SkewClock(fields.required("seconds")?),
        "ExpireToken" => Fault::ExpireToken,
        other => return Err(format!("unknown fault {other:?}")),
    })
}

/// The `name=value` pairs that have not been taken yet.
struct Fields<'a> {
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Fields<'a> {
    fn parse(text: &'a str) -> Result<Fields<'a>, String> {
        let mut fields: Vec<(&str, &str)> = Vec::new();
        for field in text.split(',').filter(|field| !field.is_empty()) {
            let (name, value) = field
                .split_once('=')
                .ok_or_else(|| format!("{field:?} has no value"))?;
            if fields.iter().any(|(earlier, _)| *earlier == name) {
                return Err(format!("the field {name:?} is given twice"));
            }
            fields.push((name, value));
        }
        Ok(Fields { fields })
    }

    fn take(&mut self, name: &str) -> Option<&'a str> {
        let index = self.fields.iter().position(|(field, _)| *field == name)?;
        Some(self.fields.remove(index).1)
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, String> {
        self.take(name).map(|value| parse(name, value)).transpose()
    }

    fn required<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<T, String> {
        self.parsed(name)?
            .ok_or_else(|| format!("the field {name:?} is missing"))
    }

    fn status(&mut self) -> Result<u16, String> {
        let status = self.required("status")?;
        if (200..=599).contains(&status) {
            Ok(status)
        } else {
            Err(format!("{status} is not an HTTP status from 200 to 599"))
        }
    }
}

fn parse<T: FromStr<Err: Display>>(name: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|error| format!("{name}={value}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rule_parsing() {
        let shown = |text: &str| format!("{:?}", text.parse::<Rule>().expect(text));
        let rule = |rule: Rule| format!("{rule:?}");
        assert_eq!(shown("Stall"), rule(Rule::new(Fault::Stall)));
        assert_eq!(
            shown("ResetAfterApply,on=UploadPart,part=2,nth=3,times=4"),
            rule(
                Rule::new(Fault::ResetAfterApply)
                    .on(Operation::UploadPart)
                    .part(2)
                    .nth(3)
                    .times(4)
            ),
        );
        let busy = Fault::Status {
            status: 503,
            code: "SlowDown".to_owned(),
            retry_after: Some(7),
        };
        assert_eq!(
            shown("Status,status=503,code=SlowDown,retry_after=7,times=forever"),
            rule(Rule::new(busy).forever()),
        );
        assert_eq!(
            shown("Delay,time=1500ms"),
            rule(Rule::new(Fault::Delay(Duration::from_millis(1500))))
        );
        assert_eq!(
            shown("WithoutHeaders,names=etag;x-oss-request-id"),
            rule(Rule::new(Fault::without_headers([
                "etag",
                "x-oss-request-id"
            ]))),
        );
        assert_eq!(
            shown("ExtraHeaders,headers=a:b;c:d"),
            rule(Rule::new(Fault::extra_headers([("a", "b"), ("c", "d")]))),
        );
        let throttled = Fault::Throttled {
            status: 429,
            code: "QpsLimitExceeded".to_owned(),
            delay_ms: 7,
        };
        assert_eq!(
            shown("Throttled,status=429,code=QpsLimitExceeded,delay_ms=7"),
            rule(Rule::new(throttled)),
        );
        for wrong in [
            "",
            "ExtraHeaders,headers=a",
            "stall",
            "Stall,on=Upload",
            "Stall,part",
            "Stall,part=x",
            "Stall,status=500",
            "Status",
            "Status,status=99",
            "Delay,time=soon",
            "Delay,time=1s,time=1s",
        ] {
            assert!(wrong.parse::<Rule>().is_err(), "{wrong}");
        }
    }
}
