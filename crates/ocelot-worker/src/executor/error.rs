//! What can go wrong in an executor, said so that it can stand in a build's `reason`.

/// An executor could not do what was asked. The text is one sentence for the person who reads the build.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// No engine answered; the text says what to install or start.
    #[error("{0}")]
    NoEngine(String),
    /// The image cannot be had; `message` holds the engine's and the registry's own words.
    #[error("image {image}: {message}")]
    Image {
        /// The image as the file names it.
        image: String,
        /// Why not.
        message: String,
        /// The registry or the network failed, so that another try may help.
        transient: bool,
    },
    /// The job asks for what this executor does not do.
    #[error("{0}")]
    Refused(String),
    /// The engine said no.
    #[error("{what}: {message}")]
    Engine {
        /// What was being done.
        what: String,
        /// The engine's words.
        message: String,
    },
    /// The room or its first process is gone.
    #[error("{0}")]
    Lost(String),
    /// What a stage left in the job's folder is not what was written there.
    #[error("{0}")]
    Tampered(String),
    /// A file or process of this machine.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl ExecutorError {
    /// False when the job itself is at fault and another attempt would end the same way.
    pub fn is_infrastructure(&self) -> bool {
        match self {
            Self::Image { transient, .. } => *transient,
            Self::Refused(_) | Self::Tampered(_) => false,
            Self::NoEngine(_) | Self::Engine { .. } | Self::Lost(_) | Self::Io { .. } => true,
        }
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn engine(what: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Self {
        let what = what.into();
        move |error| Self::Engine { what, message: engine_words(&error) }
    }
}

/// The engine's own sentence, without the client library's wrapping.
pub(crate) fn engine_words(error: &bollard::errors::Error) -> String {
    if let bollard::errors::Error::DockerResponseServerError { message: words, .. }
    | bollard::errors::Error::DockerStreamError { error: words } = error
    {
        words.trim().to_owned()
    } else {
        error.to_string()
    }
}
