use super::*;

#[test]
fn a_client_that_waits_for_retry_after_finds_room() {
    for (wait_ms, seconds) in [(0, 1), (1, 1), (999, 1), (1_000, 1), (1_001, 2), (5_000, 5)] {
        let retry_after = Duration::from_millis(wait_ms);
        assert_eq!(whole_seconds(retry_after), seconds, "{wait_ms} ms");
        let refused = ApiError::TooMany {
            what: "posts",
            setting: "limits.posts",
            retry_after,
        };
        let response = refused.error_response();
        let sent = response.headers().get(header::RETRY_AFTER);
        assert_eq!(
            sent.map(header::HeaderValue::as_bytes),
            Some(seconds.to_string().as_bytes())
        );
        assert!(refused.to_string().contains(&format!("in {seconds} s,")));
    }
}
