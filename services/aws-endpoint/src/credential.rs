//! The claim of who signed a request and for which service, read without believing it.

use form_urlencoded::parse;
use http::header::AUTHORIZATION;
use http::request::Parts;

/// Where the signature is and how it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `Authorization: AWS4-HMAC-SHA256 …` or `AWS …`.
    Header,
    /// `X-Amz-Signature=…`.
    PresignedV4,
    /// `AWSAccessKeyId=…&Signature=…`, as boto3 still makes them.
    PresignedV2,
}

/// What a signed request says of its signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) access_key: String,
    /// From the credential's scope; version 2 has none.
    pub(crate) service: Option<String>,
    pub(crate) scheme: Scheme,
}

impl Credential {
    /// The credential of a request; none if it is not signed, or not in a way we know.
    pub(crate) fn of(parts: &Parts) -> Option<Self> {
        if let Some(header) = parts.headers.get(AUTHORIZATION) {
            return from_header(header.to_str().ok()?);
        }
        let query = parts.uri.query()?;
        let value = |wanted: &str| {
            let mut pairs = parse(query.as_bytes());
            pairs.find_map(|(name, value)| (name == wanted).then(|| value.into_owned()))
        };
        if value("X-Amz-Signature").is_some() {
            return from_scope(&value("X-Amz-Credential")?, Scheme::PresignedV4);
        }
        value("Signature")?;
        Some(Self {
            access_key: value("AWSAccessKeyId")?,
            service: None,
            scheme: Scheme::PresignedV2,
        })
    }
}

fn from_header(header: &str) -> Option<Credential> {
    if let Some(version2) = header.strip_prefix("AWS ") {
        let (access_key, _signature) = version2.split_once(':')?;
        return Some(Credential {
            access_key: access_key.to_owned(),
            service: None,
            scheme: Scheme::Header,
        });
    }
    let fields = header.strip_prefix("AWS4-")?.split_once(' ')?.1;
    let scope = fields
        .split(',')
        .find_map(|field| field.trim().strip_prefix("Credential="))?;
    from_scope(scope, Scheme::Header)
}

/// `<access key>/<date>/<region>/<service>/aws4_request`; a key may have slashes.
fn from_scope(scope: &str, scheme: Scheme) -> Option<Credential> {
    let mut fields = scope.rsplitn(5, '/');
    let (_terminator, service) = (fields.next()?, fields.next()?);
    let access_key = fields.nth(2)?;
    Some(Credential {
        access_key: access_key.to_owned(),
        service: Some(service.to_owned()),
        scheme,
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn a_credential_is_found_wherever_a_client_puts_it() {
        let v4 = "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=ab";
        let presigned = "/b/k?X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Signature=ab";
        let cases = [
            ("/", Some(v4), Some(("AK", Some("sqs"), Scheme::Header))),
            ("/", Some("AWS AK:sig"), Some(("AK", None, Scheme::Header))),
            ("/", Some("Bearer token"), None),
            (
                presigned,
                None,
                Some(("AK", Some("s3"), Scheme::PresignedV4)),
            ),
            (
                "/b/k?AWSAccessKeyId=AK&Signature=s%3D&Expires=1",
                None,
                Some(("AK", None, Scheme::PresignedV2)),
            ),
            ("/b/k", None, None),
            ("/b/k?X-Amz-Signature=ab", None, None),
        ];
        for (uri, header, expected) in cases {
            let mut request = Request::get(uri);
            if let Some(header) = header {
                request = request.header(AUTHORIZATION, header);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let expected = expected.map(|(key, service, scheme)| Credential {
                access_key: key.to_owned(),
                service: service.map(str::to_owned),
                scheme,
            });
            assert_eq!(Credential::of(&parts), expected, "{uri} {header:?}");
        }
    }
}
