//! What only a container has: an image, limits, a user, a network, an end that can be seen in a list.

use ocelot_model::pipeline::spec::{Pull, Resources};
use ocelot_worker::executor::{DockerConfig, Executor, ExecutorError, Outcome, RoomSpec, Sharing, User};

use crate::image::{BUSYBOX, NO_SHELL, ODD};
use crate::world::{self, check, command, no_sharing, script, spec, until};

#[tokio::test]
async fn an_open_room_is_fenced_in() {
    world::docker(async |world| {
        let place = world.place();
        let resources = Resources { cpu: Some(1.5), memory: Some(256 << 20) };
        let (room, log) = world.try_open(&place, &RoomSpec { resources, ..spec("main") }).await.unwrap();
        assert!(log.starts_with(&format!("Image {BUSYBOX} (")), "{log}");
        let secret = world::Stage {
            env: vec![("SECRET".into(), "hunter2".into())],
            ..script("echo $SECRET $IMAGE_VARIABLE $HOME")
        };
        assert_eq!(secret.run(&room, "1").await.0, "hunter2 from_the_image /root\n");
        // CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID NET_BIND_SERVICE
        check(
            &room,
            "2",
            "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status | tr -s '\\t' ' '",
            "CapEff: 00000000000004fb\nCapBnd: 00000000000004fb\nNoNewPrivs: 1\n",
            Outcome::Code(0),
        )
        .await;
        check(
            &room,
            "3",
            "ls /var/run/docker.sock /run/docker.sock 2>/dev/null | wc -l",
            "0\n",
            Outcome::Code(0),
        )
        .await;
        check(
            &room,
            "4",
            "touch /ocelot/shim/x 2>/dev/null || echo read-only",
            "read-only\n",
            Outcome::Code(0),
        )
        .await;
        check(
            &room,
            "5",
            "ls -d /proc/[0-9]* | wc -l | grep -qE '^[1-9]$' && tr '\\0' ' ' < /proc/1/cmdline",
            "/ocelot/shim/shim serve /ocelot/io 0 0 ",
            Outcome::Code(0),
        )
        .await;

        let engine = world.engine().await;
        let filter = [("label".to_owned(), vec![format!("ocelot.instance={}", world.config.instance)])];
        let options =
            bollard::query_parameters::ListContainersOptionsBuilder::new().filters(&filter.into()).build();
        let list = engine.list_containers(Some(options)).await.unwrap();
        let [one] = &list[..] else { panic!("{list:?}") };
        let what = engine.inspect_container(one.id.as_deref().unwrap(), None).await.unwrap();
        let text = serde_json::to_string(&what).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("docker.sock"), "{text}");
        let host = what.host_config.unwrap();
        assert_eq!(
            (host.memory, host.nano_cpus, host.pids_limit),
            (Some(256 << 20), Some(1_500_000_000), Some(4096))
        );
        assert_eq!(
            (host.privileged, host.init, host.log_config.unwrap().typ.as_deref()),
            (Some(false), Some(false), Some("none"))
        );
        assert_eq!(host.network_mode, Some(format!("ocelot-{}-w1-slot-1", world.config.instance)));
        let labels = one.labels.as_ref().unwrap();
        let label = |name: &str| labels.get(name).map(String::as_str);
        let all = ["ocelot.worker", "ocelot.job", "ocelot.attempt", "ocelot.slot", "ocelot.room"].map(label);
        assert_eq!(all, ["w1", "7", "1", "1", "main"].map(Some));

        room.close().await.unwrap();
        assert!(engine.inspect_container(one.id.as_deref().unwrap(), None).await.is_err());
        room.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_stage_runs_as_another_user() {
    world::docker(runs_as_another_user).await;
    world::docker_with(no_sharing, async |world| {
        runs_as_another_user(world).await;
        // What is copied into the container is the user's as well.
        let place = world.place();
        std::fs::write(place.workspace().join("file"), "").unwrap();
        let room = world.open(&place).await;
        room.bring_workspace(User { uid: 1000, gid: 50 }).await.unwrap();
        check(&room, "1", "stat -c %u:%g . file", "1000:50\n1000:50\n", Outcome::Code(0)).await;
        room.close().await.unwrap();
    })
    .await;
}

async fn runs_as_another_user(world: &world::World) {
    let room = world.open(&world.place()).await;
    let as_user =
        |text: &str, user: &str| world::Stage { user: Some(User::parse(user).unwrap()), ..script(text) };
    let (out, _) =
        as_user("id -u; id -g; id -G; echo $HOME; grep CapEff /proc/self/status | tr '\\t' ' '", "1000:50")
            .run(&room, "1")
            .await;
    assert_eq!(out, "1000\n50\n50\n/home/me\nCapEff: 0000000000000000\n");
    let (out, _) = as_user("cat /ocelot/io/1.log /ocelot/io/1.exit 2>/dev/null || echo no", "1000:50")
        .run(&room, "2")
        .await;
    assert_eq!(out, "no\n");
    let (out, _) = as_user(
        "ls /ocelot/io >/dev/null 2>&1 || echo no; ls /root >/dev/null 2>&1 || echo no; \
         kill -9 1 2>/dev/null || echo no",
        "2000",
    )
    .run(&room, "3")
    .await;
    assert_eq!(out, "no\nno\nno\n");
    room.close().await.unwrap();
}

#[tokio::test]
async fn an_image_without_a_shell() {
    for change in [|_: &mut DockerConfig| (), no_sharing] {
        world::docker_with(change, async |world| {
            let place = world.place();
            let (room, _) = world
                .try_open(&place, &RoomSpec { image: Some(NO_SHELL.into()), ..spec("main") })
                .await
                .unwrap();
            let (_, exit) = script("true").run(&room, "1").await;
            assert_eq!(exit.outcome, Outcome::NotStarted("/bin/sh not found in image".into()));
            let (out, exit) = command(&["/tool/busybox", "echo", "a  b"]).run(&room, "2").await;
            assert_eq!((out.as_str(), exit.outcome), ("a  b\n", Outcome::Code(0)));
            room.close().await.unwrap();
        })
        .await;
    }
}

/// USER, ENTRYPOINT, WORKDIR, VOLUME and HEALTHCHECK of an image change nothing, and its volumes go with the container.
#[tokio::test]
async fn an_image_with_a_mind_of_its_own() {
    for change in [|_: &mut DockerConfig| (), no_sharing] {
        world::docker_with(change, async |world| {
            let place = world.place();
            std::fs::write(place.workspace().join("here"), "").unwrap();
            let (room, _) =
                world.try_open(&place, &RoomSpec { image: Some(ODD.into()), ..spec("main") }).await.unwrap();
            room.bring_workspace(User::ROOT).await.unwrap();
            let text = "id -u; pwd; ls; touch /data/x; echo $HOME";
            check(&room, "1", text, "0\n/ocelot/workspace\nhere\n/root\n", Outcome::Code(0)).await;
            let engine = world.engine().await;
            let containers = world.containers().await;
            let what = engine.inspect_container(&containers[0], None).await.unwrap();
            assert!(
                what.state.unwrap().health.is_none_or(|health| health.failing_streak.is_none_or(|n| n == 0))
            );
            let volumes: Vec<_> = what.mounts.unwrap().into_iter().filter_map(|mount| mount.name).collect();
            let own: Vec<_> = volumes.iter().filter(|name| !name.starts_with("ocelot-shim-")).collect();
            assert!(!own.is_empty(), "{volumes:?}");
            room.close().await.unwrap();
            for name in own {
                assert!(engine.inspect_volume(name).await.is_err(), "{name} is left");
            }
        })
        .await;
    }
}

/// A room that is given up while it opens, at whatever point, leaves nothing behind.
#[tokio::test]
async fn a_room_that_is_given_up_leaves_nothing() {
    world::docker(async |world| {
        world.executor.get_ready(2, world.data.path()).await.unwrap();
        for wait_ms in (0..16).map(|n| n * 4) {
            let mut place = world.place();
            place.slot = 1;
            let (spec, log) = (spec("main"), tokio::sync::mpsc::channel(99).0);
            let opening = world.executor.open(&place, &spec, &log);
            let _ = tokio::time::timeout(std::time::Duration::from_millis(wait_ms), opening).await;
            for room in world.executor.reattach(&place).await.unwrap() {
                room.close().await.unwrap();
            }
            assert_eq!(world.containers().await, Vec::<String>::new(), "given up after {wait_ms} ms");
        }
    })
    .await;
}

#[tokio::test]
async fn images_that_cannot_be_had() {
    world::docker(async |world| {
        let check = async |image: Option<&str>, want: &[&str], infrastructure: bool| {
            let place = world.place();
            let error = world
                .try_open(&place, &RoomSpec { image: image.map(str::to_owned), ..spec("main") })
                .await
                .unwrap_err();
            let text = error.to_string();
            assert!(want.iter().any(|want| text.contains(want)), "{text}");
            assert_eq!(error.is_infrastructure(), infrastructure, "{text}");
        };
        // The words of a registry that cannot be reached.
        check(Some("127.0.0.1:1/none"), &["image 127.0.0.1:1/none: ", "connection refused"], true).await;
        check(Some("UPPER CASE"), &["invalid reference format"], false).await;
        check(None, &["the job names no `image`"], false).await;
        let place = world.place();
        let error = world
            .try_open(
                &place,
                &RoomSpec { pull: Pull::Always, image: Some("127.0.0.1:1/none".into()), ..spec("main") },
            )
            .await;
        assert!(matches!(error, Err(ExecutorError::Image { transient: true, .. })));
    })
    .await;
}

#[tokio::test]
async fn limits_hold() {
    world::docker_with(
        |config| config.pids = 40,
        async |world| {
            let place = world.place();
            let resources = Resources { cpu: None, memory: Some(48 << 20) };
            let (room, _) = world.try_open(&place, &RoomSpec { resources, ..spec("main") }).await.unwrap();
            let (_, exit) =
                script("head -c 200m /dev/zero | tail -n 1 | wc -c; exit 3").run(&room, "1").await;
            assert!(exit.oom, "{exit:?}");
            let bomb = "bomb() { while :; do bomb & done; }; bomb";
            let stage = script(bomb).start(&room, "2").await;
            let mut frames = stage.frames(0);
            // Its complaints that it cannot fork.
            let frame = tokio::time::timeout(world::DEADLINE, frames.next()).await.unwrap().unwrap();
            assert!(frame.is_some());
            room.kill("2", std::time::Duration::ZERO).await.unwrap();
            let exit = tokio::time::timeout(world::DEADLINE, stage.exit()).await.unwrap().unwrap();
            assert!(matches!(exit.outcome, Outcome::Signal(_) | Outcome::Code(_)), "{exit:?}");
            check(
                &room,
                "3",
                "ls -d /proc/[0-9]* | wc -l | grep -qE '^[1-9]$' && echo calm",
                "calm\n",
                Outcome::Code(0),
            )
            .await;
            room.close().await.unwrap();
        },
    )
    .await;
}

#[tokio::test]
async fn slots_have_networks_of_their_own() {
    world::docker(async |world| {
        let (one, two) = (world.place(), world.place());
        let (a, b) = (world.open(&one).await, world.open(&two).await);
        let (second, _) = world.try_open(&one, &spec("second")).await.unwrap();
        let address = async |room: &ocelot_worker::executor::Room| {
            let (out, _) = script("ip -4 addr show eth0 | grep -o 'inet [0-9.]*' | cut -d' ' -f2").run(room, "ip").await;
            out.trim().to_owned()
        };
        let at_a = address(&a).await;
        assert!(at_a.starts_with("10.217."), "{at_a}");
        let listen = script(
            "mkdir -p /www/cgi-bin; cd /www\n\
             printf '%s\\n' '#!/bin/sh' 'printf \"Content-Type: text/plain\\n\\n\"' \\\n\
                 'for i in 1 2 3 4 5; do echo $i; sleep 0.1; done; echo met' > cgi-bin/talk\n\
             chmod +x cgi-bin/talk; httpd -f -p 8080 -h /www &\n\
             until wget -q -O /dev/null http://127.0.0.1:8080/cgi-bin/talk; do sleep 0.01; done; echo ready; wait",
        );
        let stage = listen.start(&a, "listen").await;
        until(&mut stage.frames(0), "ready\n").await;
        // One packet proves nothing: the engine takes its rules away and puts them back while a network is made, as
        // other tests do now. A conversation of half a second does not fit through such a hole.
        let visit = script(&format!("timeout 2 wget -q -O - http://{at_a}:8080/cgi-bin/talk || echo apart"));
        assert_eq!(visit.run(&second, "near").await.0, "1\n2\n3\n4\n5\nmet\n");
        let far = |out: String| assert!(out.ends_with("apart\n"), "{out}");
        far(visit.run(&b, "far").await.0);
        // Somebody else's attempt is still on the slot: not the same network.
        let mut squeezed = world.place();
        squeezed.slot = one.slot;
        let third = world.open(&squeezed).await;
        far(visit.run(&third, "far").await.0);
        for room in [a, b, second, third] {
            room.close().await.unwrap();
        }
        // The makeshift network goes, those of the slots stay until the worker leaves.
        let name = format!("network ocelot-{}-w1-slot-1-3", world.config.instance);
        assert_eq!(world.executor.sweep(&[]).await.unwrap(), [name]);
    })
    .await;
}

#[tokio::test]
async fn walls_that_are_open_are_noticed_and_said() {
    world::docker(async |world| {
        let Executor::Docker(docker) = &world.executor else { panic!("not Docker") };
        world.executor.get_ready(2, world.data.path()).await.unwrap();
        let slot = |n: u32| format!("ocelot-{}-w1-slot-{n}", world.config.instance);
        assert!(docker.look_between(&slot(0), &slot(1)).await.unwrap());
        let open = async || world.try_open(&world.place(), &spec("main")).await.unwrap();
        let (room, log) = open().await;
        assert!(!log.contains("Warning"), "{log}");
        room.close().await.unwrap();
        // On one network they meet, as they would on two without the engine's rules.
        assert!(!docker.look_between(&slot(0), &slot(0)).await.unwrap());
        let (room, log) = open().await;
        assert!(log.contains("Warning: the Docker Engine does not keep networks apart"), "{log}");
        room.close().await.unwrap();
        world.executor.look_at_walls().await.unwrap();
        let (room, log) = open().await;
        assert!(!log.contains("Warning"), "{log}");
        room.close().await.unwrap();
    })
    .await;
}

/// While a network is made the engine may let jobs meet, so those of all slots are there before any job.
#[tokio::test]
async fn the_first_job_makes_no_network() {
    world::docker(async |world| {
        let Executor::Docker(docker) = &world.executor else { panic!("not Docker") };
        world.executor.get_ready(3, world.data.path()).await.unwrap();
        assert_eq!(*docker.sharing().borrow(), Some(Sharing::Same));
        let networks = async || {
            let filter = [("label".to_owned(), vec![format!("ocelot.instance={}", world.config.instance)])];
            let options =
                bollard::query_parameters::ListNetworksOptionsBuilder::new().filters(&filter.into()).build();
            let list = world.engine().await.list_networks(Some(options)).await.unwrap();
            let mut ids: Vec<_> = list.into_iter().filter_map(|network| network.id).collect();
            ids.sort();
            ids
        };
        let before = networks().await;
        assert_eq!(before.len(), 3);
        let room = world.open(&world.place()).await;
        assert_eq!(networks().await, before);
        room.close().await.unwrap();
        assert!(
            std::fs::read_dir(world.data.path())
                .unwrap()
                .all(|entry| { !entry.unwrap().file_name().to_string_lossy().starts_with("probe") })
        );
    })
    .await;
}

#[tokio::test]
async fn files_are_shared_with_an_engine_on_this_machine() {
    world::docker(async |world| {
        let place = world.place();
        let room = world.open(&place).await;
        let Executor::Docker(docker) = &world.executor else { panic!("not Docker") };
        assert_eq!(*docker.sharing().borrow(), Some(Sharing::Same));
        check(&room, "1", "echo out > out", "", Outcome::Code(0)).await;
        assert_eq!(std::fs::read_to_string(place.workspace().join("out")).unwrap(), "out\n");
        room.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn no_engine_says_how_to_get_one() {
    let mut config = DockerConfig::new("none", "none");
    config.docker_host = Some("unix:///nowhere/docker.sock".into());
    let error = Executor::docker(config).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no Docker Engine answers at unix:///nowhere/docker.sock"), "{text}");
    assert!(text.contains("apt-get install -y docker.io") && text.contains("dockerd &"), "{text}");
}
