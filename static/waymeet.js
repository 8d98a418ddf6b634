// What the pages can do beyond plain forms: live updates, read markers, keys. Nothing depends on it.
"use strict";

(() => {
  const body = document.body;
  const subject = body.dataset.subject || "";
  const csrf = body.dataset.csrf || "";

  // The sign-in page needs no second click.
  const auto = document.querySelector("form[data-auto]");
  if (auto) {
    auto.submit();
    return;
  }

  // Times in the reader's own zone.
  const localTimes = (root) => {
    for (const time of root.querySelectorAll("time")) {
      const date = new Date(time.dateTime);
      if (!Number.isNaN(date.getTime()) && !time.title.startsWith("their")) {
        time.title = date.toLocaleString(undefined, { dateStyle: "long", timeStyle: "short" });
      }
    }
  };
  localTimes(document);

  for (const field of document.querySelectorAll("[data-copy]")) {
    field.addEventListener("focus", () => field.select());
    if (!navigator.clipboard) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(field.value);
      button.textContent = "Copied";
    });
    field.after(button);
  }

  if (!csrf || body.classList.contains("bare")) return;

  // Read markers: what stood in view for a while has been read.
  const SEEN_MS = 1500;
  const REPORT_MS = 1000;
  const seen = new Set();
  const timers = new Map();
  let reporting = 0;
  const report = async () => {
    reporting = 0;
    const ids = [...seen];
    seen.clear();
    if (ids.length === 0) return;
    const form = new URLSearchParams([["csrf", csrf], ...ids.map((id) => ["id", id])]);
    try {
      const answer = await fetch("/entries/read", { method: "POST", body: form });
      if (answer.ok) updateCounts();
    } catch {
      // The node is away; the next visit marks them.
    }
  };
  const observer = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) {
      const id = target.dataset.unread;
      if (!id) continue;
      if (!isIntersecting || document.hidden) {
        clearTimeout(timers.get(id));
        timers.delete(id);
      } else if (!timers.has(id)) {
        timers.set(id, setTimeout(() => {
          observer.unobserve(target);
          delete target.dataset.unread;
          seen.add(id);
          reporting ||= setTimeout(report, REPORT_MS);
        }, SEEN_MS));
      }
    }
  }, { threshold: 0.3 });
  const watchUnread = (root) => {
    for (const post of root.querySelectorAll("[data-unread]")) observer.observe(post);
  };
  watchUnread(document);

  // Figures in the navigation.
  const plainTitle = document.title.replace(/^\(\d+\) /, "");
  const updateCounts = async () => {
    try {
      const counts = await (await fetch("/counts")).json();
      for (const name of ["unread", "messages", "offers"]) {
        const badge = document.getElementById(`count-${name}`);
        badge.hidden = counts[name] === 0;
        badge.querySelector("b").textContent = counts[name];
      }
      document.title = counts.unread > 0 ? `(${counts.unread}) ${plainTitle}` : plainTitle;
    } catch {
      // The node is away; the stream tries again.
    }
  };

  // Regions that say which events concern them are fetched anew.
  const refresh = async (kinds) => {
    const regions = [...document.querySelectorAll("[data-live]")].filter((region) =>
      region.dataset.live.split(" ").some((kind) => kinds.has(kind)) && !region.contains(document.activeElement));
    if (regions.length === 0) return;
    const answer = await fetch(location.href);
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const region of regions) {
      const replacement = fresh.getElementById(region.id);
      if (!replacement || replacement.isEqualNode(region)) continue;
      const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 80;
      region.replaceWith(document.adoptNode(replacement));
      localTimes(replacement);
      watchUnread(replacement);
      if (atEnd && region.id === "live-conversation") scrollTo(0, document.documentElement.scrollHeight);
    }
  };

  let fresh = 0;
  const showBar = () => {
    const live = document.getElementById("live");
    const button = document.createElement("button");
    button.className = "primary";
    button.textContent = fresh === 1 ? "1 new post, show" : `${fresh} new posts, show`;
    button.addEventListener("click", () => location.reload());
    live.replaceChildren(button);
  };

  const REFRESH_MS = 300;
  let kinds = new Set();
  let pending = 0;
  const concerns = (event) =>
    subject === "home" || subject === event.topic || subject === event.space
    || (subject === "forums" || subject === "circles" || subject === "blogs") && event.topic;
  const hear = (message) => {
    const event = JSON.parse(message.data);
    kinds.add(event.kind);
    if (event.kind === "entry" && concerns(event) && !document.getElementById("live-conversation")) {
      fresh += 1;
      showBar();
    }
    pending ||= setTimeout(async () => {
      pending = 0;
      const heard = kinds;
      kinds = new Set();
      if (heard.has("entry") || heard.has("offer") || heard.has("reset")) updateCounts();
      try {
        await refresh(heard);
      } catch {
        // The node is away; the stream tries again.
      }
    }, REFRESH_MS);
  };
  // A browser keeps six connections to a node for all its tabs, so only the visible one listens.
  let stream = null;
  const listen = () => {
    if (stream) return;
    stream = new EventSource("/events");
    for (const kind of ["entry", "contact", "offer", "delivery", "presence", "sync", "nearby", "disk", "reset"]) {
      stream.addEventListener(kind, hear);
    }
  };
  const hang = () => {
    stream?.close();
    stream = null;
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      hang();
    } else {
      listen();
      updateCounts();
      refresh(new Set(["entry", "contact", "offer", "delivery", "presence", "sync", "nearby", "disk"])).catch(() => {});
    }
  });
  addEventListener("pagehide", hang);
  if (!document.hidden) listen();

  // Keys. They can be switched off, and never act while somebody types.
  const KEYS = "waymeet-keys";
  const places = { h: "/", f: "/forums", i: "/circles", b: "/blogs", m: "/messages", c: "/contacts", l: "/links", s: "/settings" };
  const help = [
    ["?", "this help"], ["j / k", "next, previous"], ["o or Enter", "open"], ["u", "up"],
    ["r", "reply"], ["q", "quote"], ["c", "write something new"], ["/", "search"],
    ["Shift + L", "first unread"], ["g then h f i b m c l s", "home, forums, circles, blogs, messages, contacts, links, settings"],
  ];
  let keysOn = localStorage.getItem(KEYS) !== "off";
  const setting = document.getElementById("keys-on");
  if (setting) {
    document.getElementById("keys-setting").hidden = false;
    setting.checked = keysOn;
    setting.addEventListener("change", () => {
      keysOn = setting.checked;
      localStorage.setItem(KEYS, keysOn ? "on" : "off");
    });
  }

  const toggleHelp = () => {
    const open = document.querySelector("dialog");
    if (open) {
      open.close();
      return;
    }
    const dialog = document.createElement("dialog");
    dialog.setAttribute("aria-label", "Keyboard shortcuts");
    const title = document.createElement("h2");
    title.textContent = "Keyboard shortcuts";
    const list = document.createElement("dl");
    for (const [keys, meaning] of help) {
      const term = document.createElement("dt");
      const key = document.createElement("kbd");
      key.textContent = keys;
      term.append(key);
      const what = document.createElement("dd");
      what.textContent = meaning;
      list.append(term, what);
    }
    const close = document.createElement("button");
    close.textContent = "Close";
    close.addEventListener("click", () => dialog.close());
    dialog.append(title, list, close);
    dialog.addEventListener("close", () => dialog.remove());
    body.append(dialog);
    dialog.showModal();
  };

  let selected = null;
  const select = (step) => {
    const items = [...document.querySelectorAll("[data-item]")];
    if (items.length === 0) return;
    const at = items.indexOf(selected);
    const next = items[Math.max(0, Math.min(items.length - 1, at < 0 ? 0 : at + step))];
    selected?.classList.remove("selected");
    selected = next;
    next.classList.add("selected");
    next.scrollIntoView({ block: "nearest" });
  };
  const follow = (link) => {
    if (!link) return false;
    if (link.matches("input, textarea, summary")) link.focus();
    else link.click();
    return true;
  };
  const within = (selector) => follow((selected ?? document).querySelector(selector));

  const commands = {
    "?": () => (toggleHelp(), true),
    j: () => (select(1), true),
    k: () => (select(-1), true),
    o: () => within(".title a, a.title"),
    Enter: () => selected !== null && document.activeElement === body && within(".title a, a.title"),
    u: () => {
      if (!body.dataset.up) return false;
      location.assign(body.dataset.up);
      return true;
    },
    r: () => (selected && within("[data-reply]")) || follow(document.getElementById("reply-body")),
    q: () => within("[data-quote]"),
    c: () => follow(document.querySelector("[data-compose]")) || follow(document.getElementById("reply-body")),
    "/": () => (location.assign("/search"), true),
    L: () => follow(document.querySelector("[data-first-unread]")),
  };
  let goesUntil = 0;
  const GO_MS = 1500;
  document.addEventListener("keydown", (event) => {
    if (!keysOn || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
    const going = event.timeStamp < goesUntil;
    goesUntil = 0;
    if (going && places[event.key]) {
      event.preventDefault();
      location.assign(places[event.key]);
    } else if (event.key === "g") {
      goesUntil = event.timeStamp + GO_MS;
    } else if (commands[event.key]?.()) {
      event.preventDefault();
    }
  });
})();
