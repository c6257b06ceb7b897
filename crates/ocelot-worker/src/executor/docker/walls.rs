//! Whether the engine keeps networks apart. It does so by rules of the machine's packet filter, which somebody can
//! remove or switch off without the engine noticing. So it is tried out: one container listens, another knocks.
//!
//! A single packet proves nothing: Docker Engine 20.10 takes its rules away and puts them back, for some
//! milliseconds, whenever anybody makes a network. What counts is a conversation.

use std::sync::atomic::Ordering;

use super::container::{body, host_config, shim_volume};
use super::{Docker, SHIM, label};
use crate::executor::{ExecutorError, SetupLog};

/// Where the listening container listens.
const PORT: &str = "4711";

/// What stands in the logs of the worker and of its jobs.
const OPEN: &str = "the Docker Engine does not keep networks apart: jobs that run at the same time can reach each other. \
     Its packet filter rules are gone or switched off; start the engine again, and see that its option `iptables` is on";

impl Docker {
    /// Looks whether jobs on two networks of this worker can meet, and remembers it for the logs of jobs. Does nothing
    /// when there are no two networks, or before the engine has an image.
    pub(in crate::executor) async fn look_at_walls(&self) -> Result<(), ExecutorError> {
        let networks = self.networks().await?;
        if let [(one, _), (other, _), ..] = &networks[..] {
            self.look_between(one, other).await?;
        }
        Ok(())
    }

    /// The same for these two networks. Answers whether they are apart.
    pub async fn look_between(&self, one: &str, other: &str) -> Result<bool, ExecutorError> {
        if self.0.prepared.lock().await.is_none() {
            return Ok(true);
        }
        let image = self.some_image().await?;
        let listener = self.start_on(&image, one, &["listen", PORT]).await?;
        let met = self.knock(&image, &listener, one, other).await;
        self.remove_container(&listener).await?;
        let met = met?;
        if met {
            tracing::error!("{OPEN}");
        }
        self.0.open_walls.store(met, Ordering::Relaxed);
        Ok(!met)
    }

    /// Says in a job's log that it is not alone, if so.
    pub(super) async fn warn_of_open_walls(&self, log: &SetupLog) {
        if self.0.open_walls.load(Ordering::Relaxed) {
            let _ = log.send(format!("Warning: {OPEN}\n").into_bytes()).await;
        }
    }

    async fn knock(
        &self,
        image: &str,
        listener: &str,
        there: &str,
        from: &str,
    ) -> Result<bool, ExecutorError> {
        let what = self.0.api.inspect_container(listener, None).await;
        let what = what.map_err(ExecutorError::engine("looking at a container"))?;
        let networks = what.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let address = networks.get(there).and_then(|network| network.ip_address.clone()).unwrap_or_default();
        let knocker = self.start_on(image, from, &["knock", &format!("{address}:{PORT}")]).await?;
        let code = self.wait(&knocker).await;
        self.remove_container(&knocker).await?;
        match code? {
            0 => Ok(true),
            1 => Ok(false),
            code => Err(ExecutorError::Lost(format!("the container that knocks ended with {code}"))),
        }
    }

    async fn start_on(&self, image: &str, network: &str, words: &[&str]) -> Result<String, ExecutorError> {
        let failed = "looking whether networks are apart";
        let mut labels = self.own_labels();
        labels.insert(label::ROOM.to_owned(), ".walls".to_owned());
        let mut host = host_config(vec![shim_volume(true)]);
        host.network_mode = Some(network.to_owned());
        let words = words.iter().map(|&word| word.to_owned()).collect();
        let mut request = body(image, labels, SHIM, words);
        request.host_config = Some(host);
        let made = self.0.api.create_container(None, request).await.map_err(ExecutorError::engine(failed))?;
        if let Err(error) = self.0.api.start_container(&made.id, None).await {
            self.remove_container(&made.id).await?;
            return Err(ExecutorError::engine(failed)(error));
        }
        Ok(made.id)
    }
}
