// Building the page. Whatever comes from the node goes in as text, never as
// markup: events, sessions and reasons are written by strangers.

/** el makes an element. Attributes that are functions are listeners ("onclick"),
 * true and false set or leave out a bare attribute. Children are nodes or text. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value)
    else if (value === true) node.setAttribute(name, "")
    else if (value !== false && value != null) node.setAttribute(name, value)
  }
  node.append(...children.flat().filter(child => child != null && child !== ""))
  return node
}

export const byId = id => document.getElementById(id)

/** say sets a node's text, and leaves a node alone that says so already: a
 * reader's selection and a screen reader's place stay. */
export function say(node, text) {
  text = String(text)
  if (node.textContent !== text) node.textContent = text
}

/** put gives a node these children, unless they are the ones it has. */
export function put(parent, ...children) {
  children = children.flat().filter(child => child != null)
  const same = children.length === parent.childNodes.length && children.every((child, i) => child === parent.childNodes[i])
  if (!same) parent.replaceChildren(...children)
}

/** mark sets an attribute, or takes it away for null and false. */
export function mark(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name)
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value)
}

/** List keeps the children of a node in step with items: a child stays the same
 * element as long as its key is there, with its focus and what is opened in it.
 * make(item) returns {node, update(item)}. */
export class List {
  #parent; #key; #make; #parts = new Map()

  constructor(parent, key, make) {
    this.#parent = parent
    this.#key = key
    this.#make = make
  }

  update(items) {
    const parts = new Map()
    for (const item of items) {
      const key = this.#key(item)
      const part = this.#parts.get(key) ?? this.#make(item)
      part.update?.(item)
      parts.set(key, part)
    }
    for (const [key, part] of this.#parts) if (!parts.has(key)) part.node.remove()
    let after = null
    for (const { node } of parts.values()) {
      const place = after ? after.nextSibling : this.#parent.firstChild
      if (place !== node) this.#parent.insertBefore(node, place)
      after = node
    }
    this.#parts = parts
  }
}

/** table makes a table whose rows are arrays of cells (nodes or text). A column
 * is a title, or {title, number: true}. */
export function table(caption, columns, rows) {
  const number = columns.map(c => c.number === true)
  const cell = (content, i) => el("td", { class: number[i] ? "number" : null, "data-title": columns[i].title ?? columns[i] },
    content == null || content === "" ? null : el("div", {}, content)) // beside its title on a narrow page
  return el("table", {},
    el("caption", { class: "unseen" }, caption),
    el("thead", {}, el("tr", {}, columns.map((c, i) => el("th", { scope: "col", class: number[i] ? "number" : null }, c.title ?? c)))),
    el("tbody", {}, rows.map(row => el("tr", {}, row.map(cell)))))
}

/** facts makes pairs for a <dl class="facts">; a pair without a value is left out. */
export function facts(pairs) {
  return pairs.filter(([, value]) => value != null && value !== "")
    .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))
}

const kept = new WeakMap()

/** keepFacts brings the pairs of a <dl> up to date in place; values are text. */
export function keepFacts(dl, pairs) {
  if (!kept.has(dl)) {
    kept.set(dl, new List(dl, ([name]) => name, ([name]) => {
      const value = el("dd")
      return { node: el("div", {}, el("dt", {}, name), value), update: ([, text]) => say(value, text) }
    }))
  }
  kept.get(dl).update(pairs.filter(([, value]) => value != null && value !== ""))
}
