// Makes the pages live. Everything is readable without it: the server renders the pages whole, this
// only asks for the changed parts again when the event stream says that something happened.
"use strict";

// In the server's words (`ocelot_model::duration::took`), for what goes on.
const seconds = (ms) => {
  const s = Math.max(0, ms / 1000), whole = Math.round(s), minutes = Math.round(s / 60);
  if (s < 9.95) return s.toFixed(1) + " s";
  if (whole < 60) return whole + " s";
  if (whole < 3600) return Math.floor(whole / 60) + " min " + (whole % 60) + " s";
  return Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
};

// The server's clock, so that a wrong clock here does not show.
const skew = Date.now() - Number(document.body.dataset.now || Date.now());
const tick = () => {
  for (const it of document.querySelectorAll("[data-since]")) it.textContent = seconds(Date.now() - skew - Number(it.dataset.since));
};
setInterval(tick, 1000);

// Calls `work` soon after the first of many calls, never twice at once, and less often when it takes long.
const calm = (work, ms) => {
  let due = false, busy = false, pause = ms;
  const go = async () => {
    due = false; busy = true;
    const begin = performance.now();
    try { await work(); } catch { /* the next event tries again */ }
    pause = Math.max(ms, 2 * (performance.now() - begin));
    busy = false;
    if (due) setTimeout(go, pause);
  };
  return () => {
    if (due) return;
    due = true;
    if (!busy) setTimeout(go, pause);
  };
};

// Makes `old` like `now` with as few changes as it takes, so that focus, selection and what a reader opened stay.
// Children with an id are known by it; what has data-keep looks after itself.
const morph = (old, now) => {
  if (old.nodeName !== now.nodeName) return old.replaceWith(document.importNode(now, true));
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== now.data) old.data = now.data;
    return;
  }
  if (old.hasAttribute("data-keep")) return;
  for (const { name, value } of now.attributes) {
    if (name === "open" && old.dataset.touched) continue;
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (name !== "open" && name !== "data-touched" && !now.hasAttribute(name)) old.removeAttribute(name);
  }
  let at = old.firstChild;
  for (const child of [...now.childNodes]) {
    const same = child.id ? [...old.children].find((it) => it.id === child.id) : at && !at.id ? at : null;
    if (!same) {
      old.insertBefore(document.importNode(child, true), at);
      continue;
    }
    if (same === at) at = at.nextSibling;
    else old.insertBefore(same, at);
    morph(same, child);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
};

// Fetches the page again and changes what has changed.
const refresh = async (url) => {
  const answer = await fetch(url, { headers: { accept: "text/html" } });
  // Signed out meanwhile, most likely.
  if (answer.redirected) return location.reload();
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  morph(document.querySelector("main"), fresh.querySelector("main"));
  document.title = fresh.title;
  document.body.dataset.ended = fresh.body.dataset.ended;
  tick();
};

const offline = document.getElementById("offline");
const listen = (url, open, on) => {
  const source = new EventSource(url);
  source.onopen = () => { offline.hidden = true; open(); };
  source.onerror = () => {
    offline.hidden = false;
    if (source.readyState !== EventSource.CLOSED) return;
    // The browser gives up on an answer that is no stream: a proxy's while the server starts, or that we are signed out.
    setTimeout(() => { open(); listen(url, open, on); }, 3000);
  };
  for (const [name, work] of Object.entries(on)) {
    source.addEventListener(name, (event) => work(JSON.parse(event.data), source));
  }
};

// ---- one stage's log: asks for the lines after those it has ----
const logs = new Map();
const logOf = (id) => {
  if (logs.has(id)) return logs.get(id);
  const box = document.getElementById("log-" + id);
  if (!box) return null;
  const more = calm(async () => {
    // Nobody sees it: its lines come when it is opened.
    if (box.closest("details:not([open])")) return;
    for (;;) {
      const { next, line, style } = box.dataset;
      const from = next === undefined ? "" : `?offset=${next}&line=${line}&style=${encodeURIComponent(style)}`;
      const answer = await fetch(box.dataset.url + from);
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
const openLogs = (root) => {
  for (const it of root.querySelectorAll("details.stage[open]")) logOf(it.dataset.stage)?.();
};

// Follows the end of the log while the reader stands there.
const follow = (box) => {
  const running = box.closest("details").querySelector(".badge.running");
  return running && window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 40;
};

document.addEventListener("toggle", (event) => {
  if (event.target.matches?.("details") && event.target.open) openLogs(event.target.parentElement);
}, true);
// Puts the lines before those that are there in the place of the way to them; the reader's place stays.
const earlier = async (link) => {
  const row = link.closest(".earlier");
  const box = row.closest(".log");
  if (row.dataset.busy) return;
  row.dataset.busy = "yes";
  const answer = await fetch(`${box.dataset.url}?before=${link.dataset.before}`).catch(() => null);
  delete row.dataset.busy;
  if (!answer?.ok) return;
  const below = document.documentElement.scrollHeight - window.scrollY;
  const inside = box.scrollHeight - box.scrollTop;
  row.insertAdjacentHTML("afterend", await answer.text());
  row.remove();
  box.scrollTop = box.scrollHeight - inside;
  window.scrollTo(0, document.documentElement.scrollHeight - below);
};
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("[data-before]");
  if (link && !event.metaKey && !event.ctrlKey) {
    event.preventDefault();
    earlier(link);
  }
  const opened = event.target.closest?.("summary")?.parentElement;
  if (opened) opened.dataset.touched = "yes";
});

const page = document.body.dataset.page;
if (page === "builds") {
  const again = calm(() => refresh(location.href), 300);
  listen("/api/v1/events", again, { build: again });
} else if (page === "build") {
  const number = document.body.dataset.build;
  const again = calm(async () => {
    await refresh(`/builds/${number}?part=status`);
    openLogs(document);
  }, 100);
  if (document.body.dataset.ended !== "true") {
    listen(`/api/v1/builds/${number}/events?log=offsets`, again, {
      build: again, job: again, stage: again,
      log: (it) => logOf(String(it.stage))?.(),
      end: (_, source) => { source.close(); again(); },
    });
  }
}
