//! Who sees what of something that could not be sent. The words of a far side, the names of credentials and the addresses of people
//! are for those who administer the repository; whoever else may read it sees that something was not delivered. No I/O.

use ocelot_store::{FailingNotice, PostKind, Undelivered};

const UNSAID: &str = "who administers the repository sees why";

/// As it is for one who administers the repository, or does not.
pub fn undelivered_for(administers: bool, row: Undelivered) -> Undelivered {
    if administers {
        return row;
    }
    let context = match row.kind {
        // `ocelot/<job>` is no secret.
        PostKind::Status | PostKind::Comment => row.context,
        PostKind::Notice(_) => String::new(),
    };
    Undelivered { context, error: UNSAID.to_owned(), ..row }
}

/// The same of a notification.
pub fn notice_for(administers: bool, row: FailingNotice) -> FailingNotice {
    if administers {
        return row;
    }
    FailingNotice { place: String::new(), error: UNSAID.to_owned(), ..row }
}
