//! The same things done with the bare Docker API: what Ocelot is measured against.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptions, RemoveContainerOptionsBuilder,
    StartContainerOptions,
};
use futures_util::StreamExt;

/// The local engine.
pub(crate) async fn connect() -> Result<Docker> {
    let docker = Docker::connect_with_local_defaults()?;
    docker
        .negotiate_version()
        .await
        .context("no Docker Engine answers: apt-get install -y docker.io, then dockerd")
}

fn body(image: &str, command: &[&str], driver: Option<&str>) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(command.iter().map(|s| (*s).to_owned()).collect()),
        attach_stdout: Some(true),
        host_config: Some(HostConfig {
            log_config: driver.map(|typ| HostConfigLogConfig { typ: Some(typ.to_owned()), config: None }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn remove(docker: &Docker, id: &str) -> Result<()> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    Ok(docker.remove_container(id, Some(options)).await?)
}

/// Create + start + one exec of `true` + remove. The time of the whole, and of the exec alone.
pub(crate) async fn create_start_exec_remove(docker: &Docker, image: &str) -> Result<(Duration, Duration)> {
    let begin = Instant::now();
    let id = docker
        .create_container(None::<CreateContainerOptions>, body(image, &["sleep", "1000"], None))
        .await?
        .id;
    docker.start_container(&id, None::<StartContainerOptions>).await?;
    let before_exec = Instant::now();
    let exec = docker
        .create_exec(
            &id,
            CreateExecOptions { cmd: Some(vec!["true"]), attach_stdout: Some(true), ..Default::default() },
        )
        .await?
        .id;
    if let StartExecResults::Attached { mut output, .. } = docker.start_exec(&exec, None).await? {
        while output.next().await.is_some() {}
    }
    let code = docker.inspect_exec(&exec).await?.exit_code;
    let exec_time = before_exec.elapsed();
    remove(docker, &id).await?;
    if code != Some(0) {
        bail!("exec ended with {code:?}");
    }
    Ok((begin.elapsed(), exec_time))
}

/// Attaches to a container with the engine's default json-file driver and reads what `script` writes: bytes and time
/// from start to the end of the stream.
pub(crate) async fn attach_stream(docker: &Docker, image: &str, script: &str) -> Result<(u64, Duration)> {
    let id = docker
        .create_container(
            None::<CreateContainerOptions>,
            body(image, &["/bin/sh", "-c", script], Some("json-file")),
        )
        .await?
        .id;
    let options = AttachContainerOptionsBuilder::default().stdout(true).stream(true).build();
    let mut attached = docker.attach_container(&id, Some(options)).await?;
    let begin = Instant::now();
    docker.start_container(&id, None::<StartContainerOptions>).await?;
    let mut bytes = 0;
    while let Some(piece) = attached.output.next().await {
        if let LogOutput::StdOut { message } = piece? {
            bytes += message.len() as u64;
        }
    }
    let time = begin.elapsed();
    remove(docker, &id).await?;
    Ok((bytes, time))
}
