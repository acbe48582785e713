"use strict";

// What a cell sorts by: its first number; for an exact bound a hair below or above; what is not a number comes last.
function valueOf(text) {
  const plain = text.replaceAll("\u2212", "-").replaceAll("\u00a0", " ").trim();
  if (plain.startsWith("\u221e")) return Infinity;
  if (plain.startsWith("-\u221e")) return -Infinity;
  const found = plain.match(/^([<>]?) ?\(?([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)/i);
  if (!found) return NaN;
  return Number(found[2]) + { "<": -1e-9, ">": 1e-9, "": 0 }[found[1]];
}

function sorted(rows, column, isText, direction) {
  const key = (row) => row.cells[column].textContent;
  if (isText) {
    const order = new Intl.Collator("en", { numeric: true });
    return [...rows].sort((a, b) => direction * order.compare(key(a), key(b)));
  }
  const number = new Map(rows.map((row) => [row, valueOf(key(row))]));
  return [...rows].sort((a, b) => {
    const [x, y] = [number.get(a), number.get(b)];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return x === y ? 0 : direction * (x < y ? -1 : 1);
  });
}

// Up, down, and back to the order of the sweep.
const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

function makeSortable(table) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  if (original.length < 3) return;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    if (!button.textContent.trim()) return;
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const way = NEXT[head.getAttribute("aria-sort")];
      for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", way);
      const isText = head.classList.contains("text");
      body.append(...(way === "none" ? original : sorted(original, column, isText, way === "ascending" ? 1 : -1)));
    });
  });
}

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

function makeCopyButton(block) {
  const button = document.createElement("button");
  const label = `Copy ${block.dataset.copy}`;
  button.type = "button";
  button.textContent = label;
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", async () => {
    try {
      await copy([...block.children].map((part) => part.textContent.trim()).join("\n\n"));
      button.textContent = "Copied";
    } catch {
      button.textContent = "Copying is not allowed here";
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  });
  const tools = document.createElement("p");
  tools.className = "tools";
  tools.append(button);
  block.after(tools);
}

// A link into what is closed opens it.
function reveal() {
  const target = document.getElementById(location.hash.slice(1));
  if (!target) return;
  let closed = false;
  for (let one = target.closest("details"); one; one = one.parentElement.closest("details")) {
    closed ||= !one.open;
    one.open = true;
  }
  if (closed) target.scrollIntoView();
}

// Paper holds everything but the lists of trials, which are closed until somebody opens them.
function printWhole() {
  for (const detail of document.querySelectorAll("main details:not([open]):not(.trials)")) {
    detail.open = true;
    addEventListener("afterprint", () => { detail.open = false; }, { once: true });
  }
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("[data-copy]").forEach(makeCopyButton);
const wide = matchMedia("(min-width: 76rem)");
const contents = document.querySelector("nav details");
contents.open = wide.matches;
wide.addEventListener("change", () => { contents.open = wide.matches; });
addEventListener("hashchange", reveal);
addEventListener("beforeprint", printWhole);
reveal();
