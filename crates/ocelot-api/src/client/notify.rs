//! Notifications.

use reqwest::Method;

use super::{Client, Result};
use crate::body::{NewNotifyTest, Notification, NotifyTest, NotifyTests, Page};

impl Client {
    /// Notifications that could not be sent so far, those of the newest builds first; at most 500.
    pub async fn notifications(&self, repo: Option<&str>) -> Result<Vec<Notification>> {
        let page: Page<Notification> =
            self.get("notifications", &[("repo", repo), ("limit", Some("500"))]).await?;
        Ok(page.items)
    }

    /// Sends a test; what came of it at each place.
    pub async fn test_notifications(&self, asked: &NewNotifyTest) -> Result<Vec<NotifyTest>> {
        let tests: NotifyTests = self.send(Method::POST, "notifications/test", Some(asked)).await?;
        Ok(tests.items)
    }
}
