// Makes the pages live. Everything is readable without it: the server renders the pages whole, this
// only asks for the changed parts again when the event stream says that something happened.
"use strict";

const seconds = (ms) => {
  const s = Math.max(0, ms / 1000);
  if (s < 10) return s.toFixed(1) + " s";
  if (s < 60) return Math.floor(s) + " s";
  if (s < 3600) return Math.floor(s / 60) + " m " + (Math.floor(s) % 60) + " s";
  return Math.floor(s / 3600) + " h " + (Math.floor(s / 60) % 60) + " m";
};

// The server's clock, so that a wrong clock here does not show.
const skew = Date.now() - Number(document.body.dataset.now || Date.now());
const tick = () => {
  for (const it of document.querySelectorAll("[data-since]")) it.textContent = seconds(Date.now() - skew - Number(it.dataset.since));
};
setInterval(tick, 1000);

// Calls `work` soon after the first of many calls, never twice at once.
const calm = (work, ms) => {
  let due = false, busy = false;
  const go = async () => {
    due = false; busy = true;
    try { await work(); } catch { /* the next event tries again */ }
    busy = false;
    if (due) setTimeout(go, ms);
  };
  return () => {
    if (due) return;
    due = true;
    if (!busy) setTimeout(go, ms);
  };
};

// Fetches the page again and replaces what is marked as live and changed.
const refresh = async (url) => {
  const answer = await fetch(url, { headers: { accept: "text/html" } });
  if (!answer.ok) return null;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(old.id);
    if (now && now.outerHTML !== old.outerHTML) old.replaceWith(document.importNode(now, true));
  }
  tick();
  return fresh;
};

const offline = document.getElementById("offline");
const listen = (url, handlers) => {
  const source = new EventSource(url);
  source.onopen = () => { offline.hidden = true; handlers.open?.(); };
  source.onerror = () => { offline.hidden = source.readyState === EventSource.CLOSED && handlers.ended?.() === true; };
  for (const [name, work] of Object.entries(handlers.on)) {
    source.addEventListener(name, (event) => work(JSON.parse(event.data), source));
  }
  return source;
};

// ---- one stage's log: asks for the lines after those it has ----
const logs = new Map();
const logOf = (id) => {
  if (logs.has(id)) return logs.get(id);
  const box = document.getElementById("log-" + id);
  if (!box) return null;
  const more = calm(async () => {
    if (!box.closest("details").open) return;
    for (;;) {
      const { next, line, style } = box.dataset;
      const answer = await fetch(`${box.dataset.url}?offset=${next}&line=${line}&style=${encodeURIComponent(style)}`);
      if (!answer.ok) return;
      const html = await answer.text();
      const bottom = follow(box);
      box.querySelector(":scope > .open")?.remove();
      box.insertAdjacentHTML("beforeend", html);
      box.dataset.next = answer.headers.get("ocelot-next");
      box.dataset.line = answer.headers.get("ocelot-line");
      box.dataset.style = answer.headers.get("ocelot-style") || "";
      if (bottom) window.scrollTo(0, document.documentElement.scrollHeight);
      if (answer.headers.get("ocelot-more") !== "true") return;
    }
  }, 60);
  logs.set(id, more);
  return more;
};

// Follows the end of the log while the reader stands there.
const follow = (box) => {
  const running = box.closest("details").querySelector(".badge.running");
  return running && window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 40;
};

document.addEventListener("toggle", (event) => {
  if (event.target.matches?.("details.stage") && event.target.open) logOf(event.target.dataset.stage)?.();
}, true);

const page = document.body.dataset.page;
if (page === "builds") {
  const again = calm(() => refresh(location.href), 300);
  listen("/api/v1/events", { open: again, on: { build: again } });
} else if (page === "build") {
  const number = document.body.dataset.build;
  const url = `/builds/${number}?part=status`;
  const stages = (root) => [...root.querySelectorAll("details.stage")].map((it) => it.id).join();
  const again = calm(async () => {
    const fresh = await refresh(url);
    if (fresh && stages(fresh) !== stages(document)) return location.reload();
    for (const it of document.querySelectorAll("details.stage")) {
      const open = fresh?.getElementById(it.id)?.open;
      if (open && !it.open && !it.dataset.touched) it.open = true;
    }
  }, 100);
  document.addEventListener("click", (event) => {
    const stage = event.target.closest?.("summary")?.parentElement;
    if (stage) stage.dataset.touched = "yes";
  });
  if (document.body.dataset.ended !== "true") {
    listen(`/api/v1/builds/${number}/events?log=offsets`, {
      open: () => { again(); for (const it of document.querySelectorAll("details.stage[open]")) logOf(it.dataset.stage)?.(); },
      on: {
        build: again, job: again, stage: (it) => { again(); logOf(String(it.stage))?.(); },
        log: (it) => logOf(String(it.stage))?.(),
        end: (_, source) => { source.close(); again(); },
      },
    });
  }
}
