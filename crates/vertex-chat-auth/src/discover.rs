//! Who can be asked for the project and the universe of credentials that do not name them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use vertex_chat_transport::{Clock, Exchange, Request};

use crate::file::Fields;
use crate::gcloud::GcloudSource;
use crate::oauth::{Answer, ask, read_fields};
use crate::source::token_from;
use crate::{AuthError, AuthErrorKind, MetadataSource, TokenSource};

/// Who is asked.
#[derive(Clone, Debug)]
pub(crate) enum Discovery {
    Nobody,
    Metadata(Arc<MetadataSource>),
    Gcloud(Arc<GcloudSource>),
    ResourceManager(ResourceManager),
}

impl Discovery {
    /// The universe, where somebody knows it.
    pub(crate) async fn universe_domain(&self) -> Result<Option<String>, AuthError> {
        match self {
            Self::Metadata(metadata) => metadata.universe_domain().await.map(Some),
            Self::Nobody | Self::Gcloud(_) | Self::ResourceManager(_) => Ok(None),
        }
    }

    /// The project, where somebody knows it.
    pub(crate) async fn project_id(
        &self,
        source: &Arc<dyn TokenSource>,
    ) -> Result<Option<String>, AuthError> {
        match self {
            Self::Nobody => Ok(None),
            Self::Metadata(metadata) => metadata.project_id().await.map(Some),
            Self::Gcloud(gcloud) => gcloud.project_id().await,
            Self::ResourceManager(manager) => manager.project_id(source).await.map(Some),
        }
    }
}

/// Knows the names of projects whose numbers one has.
#[derive(Clone)]
pub(crate) struct ResourceManager {
    pub(crate) origin: String,
    pub(crate) number: String,
    pub(crate) exchange: Arc<dyn Exchange>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl fmt::Debug for ResourceManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceManager").field("number", &self.number).finish_non_exhaustive()
    }
}

impl ResourceManager {
    async fn project_id(&self, source: &Arc<dyn TokenSource>) -> Result<String, AuthError> {
        let token = token_from(&**source).await?;
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = format!("{}/v1/projects/{}", self.origin, self.number)
            .parse()
            .map_err(|_| AuthError::configuration("the resource manager's address is no URL"))?;
        request.headers_mut().insert(AUTHORIZATION, token.authorization().clone());
        let read = |answer: &Answer, _| {
            let fields = read_fields(answer)?;
            let project = fields.text("projectId").map(str::to_owned);
            project.ok_or_else(|| AuthError::new(AuthErrorKind::Unavailable, "the answer has no `projectId`"))
        };
        ask(&*self.exchange, &self.clock, request, read).await.map_err(|error| {
            let stage = format!("the name of project {}", self.number);
            error.in_stage(&stage).with_remedy("set GOOGLE_CLOUD_PROJECT, and nobody has to be asked")
        })
    }
}
