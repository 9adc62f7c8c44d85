//! The list of boards.

use reqwest::header::LINK;

use crate::{Client, ClientError, ListedBoard, refusal, wire::BoardsPage};

impl Client {
    /// Returns the boards that the client may read, by name.
    ///
    /// # Errors
    /// If the server cannot be reached, or refuses the request.
    pub async fn boards(&self) -> Result<Vec<ListedBoard>, ClientError> {
        let mut boards: Vec<ListedBoard> = Vec::new();
        loop {
            let mut url = self.url("/api/v1/boards");
            if let Some(last) = boards.last() {
                url.query_pairs_mut().append_pair("after", &last.name);
            }
            let response = self.authorized(self.http.get(url)).send().await?;
            if !response.status().is_success() {
                return Err(refusal(response).await);
            }
            let has_more = response.headers().contains_key(LINK);
            let mut page: BoardsPage = response.json().await?;
            boards.append(&mut page.boards);
            if !has_more {
                return Ok(boards);
            }
        }
    }
}
