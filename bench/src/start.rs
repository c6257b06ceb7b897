//! A build with one `true` stage in Docker, from trigger to the news of its end, against create + start + exec +
//! remove on the bare Docker API; and what each further stage costs.

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use crate::report::{Figure, median, ms, write};
use crate::{docker, server};

const FURTHER: usize = 20;

fn yml(image: &str, stages: usize) -> String {
    let stages: String =
        (0..stages).fold(String::new(), |text, at| format!("{text}  - name: s{at}\n    script: ['true']\n"));
    format!("image: {image}\nstages:\n{stages}")
}

/// See the module.
pub(crate) async fn measure(ocelot: &Path, times: usize) -> Result<bool> {
    let image = ocelot_testkit::docker_image_busybox();
    let folder = tempfile::tempdir()?;
    let one = server::repository(folder.path(), "one", &yml(image, 1))?;
    let many = server::repository(folder.path(), "many", &yml(image, 1 + FURTHER))?;
    let up = server::up(ocelot, &folder.path().join("data"), &["--slots", "1"]).await?;
    up.has_worker().await?;
    let (one_repo, many_repo) = (up.add(&one, "one").await?, up.add(&many, "many").await?);
    let engine = docker::connect().await?;
    up.build(&one_repo, "main").await?;
    up.build(&many_repo, "main").await?;
    let (mut ours, mut bare, mut execs, mut further) = (vec![], vec![], vec![], vec![]);
    for at in 0..times {
        let (whole, exec) = docker::create_start_exec_remove(&engine, image).await?;
        bare.push(ms(whole));
        execs.push(ms(exec));
        server::touch(&one, &format!("round {at}"))?;
        let (_, first) = up.build(&one_repo, "main").await?;
        ours.push(ms(first));
        server::touch(&many, &format!("round {at}"))?;
        let (_, more) = up.build(&many_repo, "main").await?;
        further.push((ms(more) - ms(first)) / FURTHER as f64);
    }
    let ratios: Vec<f64> = ours.iter().zip(&bare).map(|(o, b)| o / b).collect();
    let figures = [
        Figure {
            name: "docker_build_ratio",
            value: median(&ratios),
            target: 1.3,
            more_is_better: false,
            unit: "ratio",
        },
        Figure {
            name: "further_stage",
            value: median(&further),
            target: 10.0,
            more_is_better: false,
            unit: "ms",
        },
    ];
    let raw = json!({"build_ms": ours, "bare_ms": bare, "bare_exec_ms": execs, "further_stage_ms": further});
    write("start", &figures, &raw)
}
