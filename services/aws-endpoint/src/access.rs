//! Who may do what: everyone everything, except that signatures made with the access key
//! we hand out are verified, and headers that ask for what is not modelled are refused.

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

use crate::Credentials;
use crate::s3::ACCOUNT;

/// Knows one secret. Requests with another access key do not get here: their signature
/// cannot be verified and is taken off before.
#[derive(Debug)]
pub(crate) struct OneKey(pub(crate) Credentials);

#[async_trait::async_trait]
impl S3Auth for OneKey {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.0.access_key {
            return Ok(SecretKey::from(self.0.secret_key.as_str()));
        }
        // Form uploads carry their key in the body, where we do not look.
        Err(s3_error!(
            InvalidAccessKeyId,
            "Sign form uploads with the access key `{}`: the secret of `{access_key}` is not known here.",
            self.0.access_key
        ))
    }
}

/// Refuses what would otherwise be accepted and ignored.
#[derive(Debug)]
pub(crate) struct NothingIgnored;

/// Headers by how they begin, and what they ask for.
const REFUSED: [(&str, &str); 7] = [
    (
        "x-amz-server-side-encryption-customer-",
        "Encryption with keys of the customer",
    ),
    (
        "x-amz-copy-source-server-side-encryption-customer-",
        "Encryption with keys of the customer",
    ),
    ("x-amz-object-lock-", "Object Lock"),
    ("x-amz-bucket-object-lock-", "Object Lock"),
    ("x-amz-grant-", "Access control by grants"),
    ("x-amz-write-offset-bytes", "Appending to objects"),
    ("x-amz-mfa", "Multi-factor authentication"),
];

#[async_trait::async_trait]
impl S3Access for NothingIgnored {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        for (name, value) in context.headers() {
            let name = name.as_str();
            // Saying that a feature is off asks for nothing.
            if value == "false" {
                continue;
            }
            let refused = REFUSED.iter().find(|(start, _)| name.starts_with(start));
            if let Some((_, feature)) = refused {
                return Err(s3_error!(
                    NotImplemented,
                    "{feature} ({name}) is not implemented here."
                ));
            }
            let owner = matches!(
                name,
                "x-amz-expected-bucket-owner" | "x-amz-source-expected-bucket-owner"
            );
            if owner && value != ACCOUNT {
                return Err(s3_error!(
                    AccessDenied,
                    "All buckets here belong to the account {ACCOUNT}."
                ));
            }
        }
        Ok(())
    }
}
