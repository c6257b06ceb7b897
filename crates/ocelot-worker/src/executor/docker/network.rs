//! One network per slot, so that two jobs never meet on one. Making one costs time, so it is kept between jobs.

use std::net::Ipv4Addr;

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;

use super::{Docker, label};
use crate::executor::error::engine_words;
use crate::executor::{ExecutorError, Place};

/// Prefix length of a slot's network: 13 containers.
const SUBNET: u8 = 28;

impl Docker {
    /// The network of this attempt: its slot's, when nobody else is on it.
    pub(super) async fn network(&self, place: &Place) -> Result<String, ExecutorError> {
        let name = self.name_of_slot(place.slot);
        // A container that could not be removed yet keeps the slot's network to itself.
        let occupied = self.is_occupied(place).await?;
        let name = if occupied { format!("{name}-{}", place.attempt) } else { name };
        self.have_network(name, place.slot).await
    }

    /// The network that a slot has from job to job.
    pub(super) async fn slot_network(&self, slot: u32) -> Result<String, ExecutorError> {
        self.have_network(self.name_of_slot(slot), slot).await
    }

    fn name_of_slot(&self, slot: u32) -> String {
        format!("ocelot-{}-{}-slot-{slot}", self.0.config.instance, self.0.config.worker)
    }

    async fn have_network(&self, name: String, slot: u32) -> Result<String, ExecutorError> {
        let _one_at_a_time = self.0.networks.lock().await;
        match self.0.api.inspect_network(&name, None).await {
            Ok(there) if self.is_own(there.labels.as_ref()) => Ok(name),
            Ok(_) => {
                Err(ExecutorError::Refused(format!("a network {name} is there that is not this worker's")))
            }
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {
                self.make_network(&name, slot).await?;
                Ok(name)
            }
            Err(error) => Err(ExecutorError::engine("looking for the slot's network")(error)),
        }
    }

    /// Whether containers of another attempt have this slot.
    async fn is_occupied(&self, place: &Place) -> Result<bool, ExecutorError> {
        let on_slot = self.containers(Some(format!("{}={}", label::SLOT, place.slot))).await?;
        let own = place.attempt.to_string();
        Ok(on_slot.iter().any(|(_, labels)| labels.get(label::ATTEMPT) != Some(&own)))
    }

    fn is_own(&self, labels: Option<&std::collections::HashMap<String, String>>) -> bool {
        self.own_labels()
            .iter()
            .all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
    }

    async fn make_network(&self, name: &str, slot: u32) -> Result<(), ExecutorError> {
        let mut labels = self.own_labels();
        labels.insert(label::SLOT.to_owned(), slot.to_string());
        let (first, prefix) = self.0.config.subnets;
        for subnet in subnets(first, prefix) {
            let range = IpamConfig { subnet: Some(subnet), ..IpamConfig::default() };
            let request = NetworkCreateRequest {
                name: name.to_owned(),
                driver: Some("bridge".into()),
                ipam: Some(Ipam { config: Some(vec![range]), ..Ipam::default() }),
                labels: Some(labels.clone()),
                ..NetworkCreateRequest::default()
            };
            match self.0.api.create_network(request).await {
                Ok(made) => {
                    if !made.warning.is_empty() {
                        tracing::warn!("Docker Engine, making the network {name}: {}", made.warning);
                    }
                    return Ok(());
                }
                Err(error) if engine_words(&error).to_lowercase().contains("overlap") => {}
                Err(error) => return Err(ExecutorError::engine("making the slot's network")(error)),
            }
        }
        Err(ExecutorError::Refused(format!(
            "no free subnet in {first}/{prefix}: give the worker another range"
        )))
    }

    /// This worker's networks: name and whether a container is on it.
    pub(super) async fn networks(&self) -> Result<Vec<(String, bool)>, ExecutorError> {
        let options = ListNetworksOptionsBuilder::new().filters(&self.own_filter(None)).build();
        let failed = "listing networks";
        let list = self.0.api.list_networks(Some(options)).await.map_err(ExecutorError::engine(failed))?;
        let mut networks = Vec::new();
        for name in list.into_iter().filter_map(|network| network.name) {
            let there =
                self.0.api.inspect_network(&name, None).await.map_err(ExecutorError::engine(failed))?;
            networks.push((name, there.containers.is_some_and(|on| !on.is_empty())));
        }
        Ok(networks)
    }

    /// Removes a network; one that is gone already is fine.
    pub(super) async fn remove_network(&self, name: &str) -> Result<(), ExecutorError> {
        match self.0.api.remove_network(name).await {
            Ok(()) | Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {
                Ok(())
            }
            Err(error) => Err(ExecutorError::engine(format!("removing the network {name}"))(error)),
        }
    }
}

/// All small networks of a range, in order.
fn subnets(first: Ipv4Addr, prefix: u8) -> impl Iterator<Item = String> {
    let step = 1_u32 << (32 - u32::from(SUBNET));
    let count = 1_u32.checked_shl(u32::from(SUBNET.saturating_sub(prefix))).unwrap_or(u32::MAX);
    let base = u32::from(first) & !(step - 1);
    (0..count).map_while(move |at| {
        Some(format!("{}/{SUBNET}", Ipv4Addr::from(base.checked_add(at.checked_mul(step)?)?)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let check = |prefix: u8, count: usize, last: &str| {
            let all: Vec<String> = subnets(Ipv4Addr::new(10, 209, 0, 0), prefix).collect();
            assert_eq!((all.len(), all.last().map(String::as_str)), (count, Some(last)));
        };
        check(16, 4096, "10.209.255.240/28");
        check(24, 16, "10.209.0.240/28");
        check(28, 1, "10.209.0.0/28");
        check(30, 1, "10.209.0.0/28");
    }
}
