// The events of a run, from where the page stands: each becomes a DOM event, and what the server
// renders (state, stages, results) is asked for again by htmx when it has changed.
const STATUS = ["state", "stage", "queue", "rewind", "endpoint", "end"]
const RESULTS = ["table", "samples", "heatmap", "plot", "artifact", "end"]
const OWN = ["points", "progress", "log", "rewind"]
const RETRY_MS = 3000

class RunStream extends HTMLElement {
  #source = null
  #seen = ""
  #retry = null
  #lost = false

  connectedCallback() {
    if ("over" in this.dataset) return
    document.addEventListener("visibilitychange", this.#look)
    this.#open()
  }

  disconnectedCallback() {
    document.removeEventListener("visibilitychange", this.#look)
    this.#close()
  }

  #open() {
    this.#close()
    const address = new URL(this.dataset.src, location)
    if (this.#seen) address.searchParams.set("after", this.#seen)
    this.#source = new EventSource(address)
    this.#source.onopen = () => this.#connected(true)
    this.#source.onerror = () => this.#failed()
    for (const name of new Set([...STATUS, ...RESULTS, ...OWN])) this.#source.addEventListener(name, this.#heard)
  }

  #close() {
    clearTimeout(this.#retry)
    this.#source?.close()
    this.#source = null
  }

  #heard = event => {
    this.#seen = event.lastEventId || this.#seen
    const detail = JSON.parse(event.data)
    if (OWN.includes(event.type)) this.#tell(event.type, detail)
    if (STATUS.includes(event.type)) this.#tell("status", detail)
    if (RESULTS.includes(event.type)) this.#tell("results", detail)
    if (event.type !== "end") return
    this.dataset.over = ""
    document.removeEventListener("visibilitychange", this.#look)
    this.#close()
  }

  #tell(name, detail) { this.dispatchEvent(new CustomEvent(`run:${name}`, { detail, bubbles: true })) }

  // The browser reconnects by itself, but gives up when a server answers with an error.
  #failed() {
    this.#connected(false)
    if (this.#source?.readyState === EventSource.CLOSED) this.#retry = setTimeout(() => this.#open(), RETRY_MS)
  }

  #connected(now) {
    if (now === !this.#lost) return
    this.#lost = !now
    document.dispatchEvent(new CustomEvent("toast", { detail: now ? this.dataset.found : this.dataset.lost }))
  }

  // A browser holds few connections to one server: a hidden page gives its own back.
  #look = () => { if (document.hidden) this.#close(); else this.#open() }
}

customElements.define("run-stream", RunStream)
