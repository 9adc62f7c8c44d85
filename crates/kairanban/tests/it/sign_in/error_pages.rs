//! What the pages of errors say to one who is signed in.

use super::{HTML, get, sign_in, with_a_secret};
use crate::node::Database;

crate::on_both!(no_page_of_an_error_offers_to_sign_in_again);

fn no_page_of_an_error_offers_to_sign_in_again(database: Database) {
    let (node, admin) = with_a_secret(database, &[]);
    let session = sign_in(&node, &admin);
    for (path, status) in [
        ("/nowhere", 404),
        ("/b/nothing", 404),
        ("/b/secret/topics?before=x", 400),
        ("/logout", 405),
    ] {
        let page = get(&node, path, &session);
        let is_named = page.body.contains("logout?next=") && page.body.contains(">ann<");
        assert!(
            page.status == status && is_named && !page.body.contains("&#x2f;login"),
            "{path}: {page:?}"
        );
        assert_eq!(
            page.header("cache-control"),
            Some("private, no-store"),
            "{path}"
        );
        // What another site's page embeds lends no session, and shows no name.
        let headers = [HTML, ("Cookie", &session), ("Sec-Fetch-Site", "cross-site")];
        let embedded = node.get_with(path, &headers);
        assert!(!embedded.body.contains(">ann<"), "{path}: {embedded:?}");
        let anonymous = node.get_with(path, &[HTML]);
        assert!(anonymous.body.contains("&#x2f;login"), "{path}");
    }
}
