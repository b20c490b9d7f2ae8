//! What servers have been seen to do, and what a caller gets: all of it, or the test fails.

use vertex_chat_tests::behaviours::behaviours;

#[tokio::test]
async fn every_upstream_behaviour_reaches_the_caller_as_it_must() {
    let behaviours = behaviours();
    assert_eq!(behaviours.len(), 46);
    let mut failed = Vec::new();
    for behaviour in &behaviours {
        let outcome = behaviour.replay("hello", "ya29.token").await;
        let differences = behaviour.differences(&outcome);
        if !differences.is_empty() {
            failed.push(format!("{}:\n    {}", behaviour.id(), differences.join("\n    ")));
        }
    }
    assert!(failed.is_empty(), "{} of 46 fail:\n{}", failed.len(), failed.join("\n"));
}
